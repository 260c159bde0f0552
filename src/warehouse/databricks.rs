//! Databricks: the Thrift service that its SQL connectors speak, and the Statement Execution API.
//!
//! Source: Databricks REST API reference, "Statement Execution", and what databricks-sql-connector 4.4 sends. Results come in the
//! replies alone: those that lie in object storage (CloudFetch, `EXTERNAL_LINKS`) would pass by.

use hyper::Method;
use hyper::header::AUTHORIZATION;

use super::http::{Access, Asked, Call, Head, HttpWarehouse, Outgoing, Purpose, Refusal, Sessions, Told, Unread, Unusable, Whole};
use super::{Kind, Protocol, cli_service};
use crate::credential::{Login, LoginKind};
use crate::sql::Dialect;
use crate::sql::dialect::DATABRICKS as SQL;

mod statements;

/// Databricks.
pub const DATABRICKS: Kind = Kind {
    name: "databricks",
    dialect: Dialect::Other(&SQL),
    protocol: Protocol::Http(&Databricks),
    default_port: 443,
    logins: &[LoginKind::Token],
};

/// What is particular about Databricks.
#[derive(Debug)]
pub struct Databricks;

/// The workspace's own default catalog is known to the server alone.
const HOME: cli_service::Home = cli_service::Home { database: "", schema: "" };

/// What clients ask by the way, and can do without: how to log in there, and whether to send telemetry.
const BY_THE_WAY: &[&str] = &["/.well-known/databricks-config", "/telemetry-ext", "/telemetry-unauth"];
const FEATURE_FLAGS: &str = "/api/2.0/connector-service/feature-flags/";

/// Logins of another kind that clients may show beside the token.
const OTHER_LOGINS: &str = "x-databricks-azure-";

impl HttpWarehouse for Databricks {
    fn purpose(&self, head: &Head<'_>) -> Purpose {
        let is_known = cli_service::is_call(head) || statements::is_call(head) || is_by_the_way(head);
        if is_known { Purpose::Whole } else { Purpose::Other }
    }

    fn ask<'a>(&self, request: &'a Whole<'_>, sessions: &dyn Sessions) -> Result<Asked<'a>, &'static str> {
        if cli_service::is_call(&request.head) {
            return cli_service::ask(request, sessions, HOME);
        }
        if statements::is_call(&request.head) {
            return statements::ask(request, sessions);
        }
        let call = if is_by_the_way(&request.head) { Call::Answer(no_such_thing(&request.head)) } else { Call::Other };
        Ok(Asked { session: None, call, reader: Box::new(Unread) })
    }

    fn authorize(&self, request: &mut Outgoing, access: &Access<'_>) -> Result<(), Unusable> {
        let takes = "token";
        let token = match access.login {
            Login::Token(token) => token,
            Login::Password(_) => return Err(Unusable { given: "password", takes }),
            Login::ClientCertificate { .. } => return Err(Unusable { given: "client certificate", takes }),
            Login::AwsCredentials(_) => return Err(Unusable { given: "set of AWS keys", takes }),
            Login::Snowflake { .. } => return Err(Unusable { given: "login to Snowflake", takes }),
        };
        let others: Vec<_> = request.headers.keys().filter(|name| name.as_str().starts_with(OTHER_LOGINS)).cloned().collect();
        for name in others {
            request.headers.remove(name);
        }
        request.headers.insert(AUTHORIZATION, super::http::sensitive(&format!("Bearer {}", token.expose()), takes)?);
        request.body.as_mut().map(cli_service::keep_inline);
        Ok(())
    }

    /// A statement of the API by its name; an operation of the Thrift service by the call that its reply has made.
    fn cancel(&self, id: &str) -> Option<Outgoing> {
        Some(statements::cancel(id))
    }

    fn refusal(&self, told: &Told<'_>) -> Refusal {
        cli_service::refusal(told).unwrap_or_else(|| cli_service::with_message(statements::refusal(told), told))
    }
}

fn is_by_the_way(head: &Head<'_>) -> bool {
    let is_asked = *head.method == Method::GET || *head.method == Method::POST;
    is_asked && (BY_THE_WAY.contains(&head.path) || head.path.starts_with(FEATURE_FLAGS))
}

fn no_such_thing(head: &Head<'_>) -> Refusal {
    // Telemetry is taken, and goes nowhere.
    if *head.method == Method::POST {
        return Refusal::json(200, &serde_json::json!({}));
    }
    Refusal::json(404, &serde_json::json!({ "error_code": "ENDPOINT_NOT_FOUND", "message": "tollhouse passes this on to nobody" }))
}

#[cfg(test)]
mod tests;
