//! Spark's Thrift server over HTTP, and what is like it (Kyuubi, HiveServer2): every call is a `POST` to one path.
//!
//! Source: Spark documentation, "Distributed SQL Engine", and the server of Spark 3.5. Sessions begin in Spark's own catalog and its
//! schema `default`, as they do where `spark.sql.defaultCatalog` is left alone; names are judged by that.

use hyper::header::AUTHORIZATION;

use super::http::{Access, Asked, Call, Head, HttpWarehouse, Outgoing, Purpose, Refusal, Sessions, Told, Unread, Unusable, Whole};
use super::{Kind, Protocol, cli_service};
use crate::credential::{Login, LoginKind};
use crate::sql::Dialect;
use crate::sql::dialect::DATABRICKS as SQL;

/// Spark.
pub const SPARK: Kind = Kind {
    name: "spark",
    dialect: Dialect::Other(&SQL),
    protocol: Protocol::Http(&Spark),
    default_port: 10001,
    logins: &[LoginKind::Password, LoginKind::Token],
};

/// What is particular about Spark.
#[derive(Debug)]
pub struct Spark;

const HOME: cli_service::Home = cli_service::Home { database: cli_service::ONLY_CATALOG, schema: "default" };

impl HttpWarehouse for Spark {
    fn purpose(&self, head: &Head<'_>) -> Purpose {
        if cli_service::is_call(head) { Purpose::Whole } else { Purpose::Other }
    }

    fn ask<'a>(&self, request: &'a Whole<'_>, sessions: &dyn Sessions) -> Result<Asked<'a>, &'static str> {
        if cli_service::is_call(&request.head) {
            return cli_service::ask(request, sessions, HOME);
        }
        Ok(Asked { session: None, call: Call::Other, reader: Box::new(Unread) })
    }

    /// The role is the user whose password it is: Spark knows a session's user by nothing else.
    fn authorize(&self, request: &mut Outgoing, access: &Access<'_>) -> Result<(), Unusable> {
        let takes = "password or a token";
        let authorization = match access.login {
            Login::Password(password) => super::http::basic(access.role, password.expose()),
            Login::Token(token) => format!("Bearer {}", token.expose()),
            Login::ClientCertificate { .. } => return Err(Unusable { given: "client certificate", takes }),
            Login::AwsCredentials(_) => return Err(Unusable { given: "set of AWS keys", takes }),
            Login::Snowflake { .. } => return Err(Unusable { given: "login to Snowflake", takes }),
        };
        request.headers.insert(AUTHORIZATION, super::http::sensitive(&authorization, takes)?);
        request.body.as_mut().map(cli_service::keep_inline);
        Ok(())
    }

    /// A cancel needs the secret of the handle, so the reply that shows it makes it.
    fn cancel(&self, _: &str) -> Option<Outgoing> {
        None
    }

    fn refusal(&self, told: &Told<'_>) -> Refusal {
        let by_http = || Refusal::json(told.status, &serde_json::json!({ "message": told.message }));
        cli_service::refusal(told).unwrap_or_else(|| cli_service::with_message(by_http(), told))
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use hyper::Method;
    use hyper::header::{AUTHORIZATION, HeaderMap, HeaderValue};

    use super::{SPARK, Spark};
    use crate::credential::Login;
    use crate::fault::Reason;
    use crate::secret::Secret;
    use crate::warehouse::http::{Access, Head, HttpWarehouse, Outgoing, Purpose, Told, Unusable};

    fn authorized(login: &Login) -> Result<HeaderMap, Unusable> {
        let headers = HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_static("Basic cGxhY2Vob2xkZXI="))]);
        let mut request = Outgoing { method: Method::POST, target: "/".to_owned(), headers, body: None };
        let access = Access { login, role: "dbt", authority: "host", secrets: &[], owner: "o", now: SystemTime::UNIX_EPOCH };
        Spark.authorize(&mut request, &access).map(|()| request.headers)
    }

    #[test]
    fn the_login_takes_the_place_of_the_clients() {
        for (login, expected) in [
            (Login::Password(Secret::new("pass".to_owned())), "Basic ZGJ0OnBhc3M="),
            (Login::Token(Secret::new("t0ken".to_owned())), "Bearer t0ken"),
        ] {
            assert!(SPARK.logins.contains(&login.kind()));
            let headers = authorized(&login).unwrap();
            assert_eq!(headers.get_all(AUTHORIZATION).iter().collect::<Vec<_>>(), [expected]);
            assert!(headers.get(AUTHORIZATION).unwrap().is_sensitive());
        }
        let key = rustls::pki_types::PrivatePkcs8KeyDer::from(vec![0]).into();
        assert!(authorized(&Login::ClientCertificate { chain: Vec::new(), key: Secret::new(key) }).is_err());
    }

    #[test]
    fn what_is_no_call_needs_an_http_rule_and_is_refused_in_json() {
        let (headers, method) = (HeaderMap::new(), Method::GET);
        let head = Head { method: &method, path: "/", query: None, headers: &headers };
        assert_eq!(Spark.purpose(&head), Purpose::Other);
        let (reason, sqlstate) = (Reason::PolicyDenied, "42501");
        let refused = Spark.refusal(&Told { head, body: b"", message: "no way", reason, sqlstate, status: 403, is_denial: true });
        assert_eq!((refused.status, refused.body), (403, r#"{"message":"no way"}"#.into()));
    }
}
