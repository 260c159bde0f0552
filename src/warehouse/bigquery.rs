//! BigQuery: jobs by its REST API, results by following them, and requests that change datasets and tables without SQL.
//!
//! Source: BigQuery's REST reference, v2, and what google-cloud-bigquery 3.47 and dbt-bigquery 1.12 send.

use std::borrow::Cow;

use bytes::Bytes;
use hyper::Method;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, USER_AGENT};
use openidconnect::url::form_urlencoded;

use self::address::{Address, Endpoint};
use self::job::{Job, Kind as JobKind};
use self::resource::Deed;
use super::http::{
    Access, Asked, Call, Handle, Head, HttpWarehouse, Outgoing, Purpose, Reader, Refusal, Sessions, Statement, Text, Told, Unread,
    Unusable, Whole,
};
use super::{Kind, Protocol};
use crate::credential::{Login, LoginKind};
use crate::sql::dialect::BIGQUERY as SQL;
use crate::sql::{Dialect, Effect};

mod address;
mod effect;
mod job;
mod reply;
mod resource;

/// BigQuery.
pub const BIGQUERY: Kind =
    Kind { name: "bigquery", dialect: Dialect::Other(&SQL), protocol: Protocol::Http(&BigQuery), default_port: 443, logins: LOGINS };

const LOGINS: &[LoginKind] = &[LoginKind::Token];

/// What is particular about BigQuery.
#[derive(Debug)]
pub struct BigQuery;

/// With these a request would be another one than its first line says.
const OVERRIDES: &[&str] = &["x-http-method-override", "x-http-method", "x-method-override"];

/// The project whose quota and purse a request counts towards.
const USER_PROJECT: &str = "x-goog-user-project";

/// Credentials that Google's servers take from behind the path.
const CREDENTIALS: &[&str] = &["access_token", "oauth_token", "key"];

impl HttpWarehouse for BigQuery {
    fn purpose(&self, head: &Head<'_>) -> Purpose {
        match address::read(head) {
            Ok(None) => Purpose::Other,
            Ok(Some(Address { endpoint: Endpoint::Upload(_), .. })) => Purpose::Streamed,
            Ok(Some(_)) | Err(_) => Purpose::Whole,
        }
    }

    fn ask<'a>(&self, request: &'a Whole<'_>, _: &dyn Sessions) -> Result<Asked<'a>, &'static str> {
        let head = &request.head;
        if OVERRIDES.iter().any(|name| head.headers.contains_key(*name)) {
            return Err("a request's method is the one in its first line");
        }
        let Some(Address { project, endpoint }) = address::read(head)? else {
            return Ok(Asked { session: None, call: Call::Other, reader: reply::done() });
        };
        if head.headers.get_all(USER_PROJECT).iter().any(|named| named.as_bytes() != project.as_bytes()) {
            return Err("x-goog-user-project names another project than the path");
        }
        if !request.body.is_empty() && !is_json(head.headers) {
            return Err("the body of a request must be application/json, in UTF-8");
        }
        let (call, reader) = match endpoint {
            Endpoint::InsertJob => job(head, project, Job::inserted, request.body, reply::inserted())?,
            Endpoint::BeginUpload => job(head, project, Job::uploaded, request.body, reply::upload_begun(request.near))?,
            Endpoint::Query => job(head, project, Job::queried, request.body, reply::queried())?,
            Endpoint::Resource(resource) => {
                let Deed { subject, sql, effects } = Deed::of(&resource, &project, request.body)?;
                let text = match sql {
                    Some(sql) => Text::Sql(Cow::Owned(sql.into_bytes())),
                    None => Text::Call(format!("{} {subject}", resource.method())),
                };
                (Call::Run(Box::new(statement(head, project, text, effects))), reply::done())
            }
            Endpoint::Upload(id) => (follow(id, head.method == Method::DELETE), reply::uploaded()),
            Endpoint::Job(_) | Endpoint::Results(_) | Endpoint::Cancel(_) | Endpoint::ResultTable(_) | Endpoint::ResultRows(_)
                if !request.body.is_empty() =>
            {
                return Err("a request about a job has no body");
            }
            Endpoint::Job(id) => (follow(id, false), reply::followed()),
            Endpoint::Results(id) | Endpoint::ResultRows(id) => (follow(id, false), reply::page()),
            Endpoint::Cancel(id) => (follow(id, true), reply::cancelled()),
            Endpoint::ResultTable(id) => (follow(id, false), Box::new(Unread) as Box<dyn Reader>),
        };
        Ok(Asked { session: None, call, reader })
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
        let headers = &mut request.headers;
        // All but the names of the client's libraries say for whom a request is, who pays for it, or how it is to be read.
        let foreign: Vec<HeaderName> = headers.keys().filter(|name| is_foreign(name.as_str())).cloned().collect();
        for name in foreign {
            headers.remove(name);
        }
        headers.insert(AUTHORIZATION, super::http::sensitive(&format!("Bearer {}", token.expose()), takes)?);
        if let Some((path, query)) = request.target.split_once('?')
            && form_urlencoded::parse(query.as_bytes()).any(|(name, _)| CREDENTIALS.contains(&&*name))
        {
            let kept = form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| !CREDENTIALS.contains(&&**name));
            let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(kept).finish();
            request.target = format!("{path}?{query}");
        }
        Ok(())
    }

    fn cancel(&self, id: &str) -> Option<Outgoing> {
        let (project, job) = id.rsplit_once(':')?;
        let (location, job) = job.split_once('.')?;
        let target = format!("/bigquery/v2/projects/{project}/jobs/{job}/cancel?location={location}");
        Some(Outgoing { method: Method::POST, target, headers: HeaderMap::new(), body: Some(Bytes::new()) })
    }

    /// What clients try again they choose by the reason of an error, or by a status of 5xx: no refusal of ours has either. Nor has one
    /// the status 401, upon which they would renew a credential that they do not have.
    fn refusal(&self, told: &Told<'_>) -> Refusal {
        let (code, reason, status) =
            if told.is_denial { (403, "accessDenied", "PERMISSION_DENIED") } else { (400, "blocked", "FAILED_PRECONDITION") };
        let error = serde_json::json!({ "message": told.message, "domain": "global", "reason": reason });
        let body = serde_json::json!({
            "error": { "code": code, "message": told.message, "errors": [error], "status": status },
        });
        Refusal::json(code, &body)
    }
}

/// A request that begins a job, and what reads its reply.
fn job<'a>(
    head: &Head<'_>,
    project: String,
    read: fn(&[u8], &str) -> Result<Job, &'static str>,
    body: &[u8],
    reader: Box<dyn Reader>,
) -> Result<(Call<'a>, Box<dyn Reader>), &'static str> {
    let Job { kind, mut effects, dataset, name, invocation, is_dry } = read(body, &project)?;
    // Who pays, and where datasets without a project are: a variable of the system to SQL, and a matter of policy.
    effects.push(Effect::Set { parameter: "project_id".to_owned() });
    let text = match kind {
        JobKind::Query(sql) => Text::Sql(Cow::Owned(sql.into_bytes())),
        JobKind::Load => Text::Call("jobs.insert load".to_owned()),
        JobKind::Copy => Text::Call("jobs.insert copy".to_owned()),
        JobKind::Extract => Text::Call("jobs.insert extract".to_owned()),
    };
    let names = name.into_iter().collect();
    let statement = Statement { schema: dataset, names, invocation, ..statement(head, project, text, effects) };
    // Nothing is left of a job that was only asked about.
    Ok((Call::Run(Box::new(statement)), if is_dry { reply::done() } else { reader }))
}

fn statement<'a>(head: &Head<'_>, project: String, text: Text<'a>, effects: Vec<Effect>) -> Statement<'a> {
    let agent = head.headers.get(USER_AGENT).and_then(|agent| agent.to_str().ok());
    Statement {
        text,
        prepared: Vec::new(),
        database: project,
        schema: None,
        effects,
        application_name: agent.and_then(|agent| agent.split(' ').next()).map(str::to_owned),
        client_user: String::new(),
        names: Vec::new(),
        invocation: None,
    }
}

fn follow(id: String, ends: bool) -> Call<'static> {
    Call::Follow(Handle { id, ends })
}

/// Whether a body is read as JSON in UTF-8 by whoever goes by its head.
fn is_json(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(CONTENT_TYPE).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return false };
    let plain = value.to_str().unwrap_or_default().to_ascii_lowercase().replace(['"', ' '], "");
    matches!(plain.as_str(), "application/json" | "application/json;charset=utf-8")
}

fn is_foreign(name: &str) -> bool {
    OVERRIDES.contains(&name) || (name.starts_with("x-goog-") && name != "x-goog-api-client")
}

#[cfg(test)]
mod tests;
