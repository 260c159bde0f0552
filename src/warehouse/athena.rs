//! Amazon Athena: calls in AWS's JSON protocol 1.1, each signed anew with the keys of the workload's role.
//!
//! Source: Amazon Athena API Reference; shapes as in the models of botocore 1.44, AWS's own client library. Results lie in S3: what
//! a client reads there it reads past the sidecar, and so are the tables' own data and Glue's catalog, where dbt-athena deletes.

mod request;

use std::borrow::Cow;

use hyper::Method;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, USER_AGENT};

use self::request::{Batch, Execution, Metadata, Prepared, Start};
use super::http::json::{Field, JsonReader, Reply, Treatment};
use super::http::{
    Access, Asked, Call, End, Handle, Head, HttpWarehouse, Outgoing, Progress, Purpose, Reader, Refusal, Sessions, Statement, Text, Told,
    Unread, Unusable, Whole, bearer_or_password,
};
use super::{Kind, Protocol};
use crate::aws::sign::{self, Scope};
use crate::credential::{Login, LoginKind};
use crate::fetch::endpoint::Endpoint;
use crate::secret::Secret;
use crate::sql::dialect::ATHENA as SQL;
use crate::sql::{Action, Dialect, Effect, Object, ObjectKind};

/// Amazon Athena.
pub const ATHENA: Kind =
    Kind { name: "athena", dialect: Dialect::Other(&SQL), protocol: Protocol::Http(&Athena), default_port: 443, logins: LOGINS };

const LOGINS: &[LoginKind] = &[LoginKind::AwsCredentials];

/// What is particular about Athena.
#[derive(Debug)]
pub struct Athena;

const TARGET: HeaderName = HeaderName::from_static("x-amz-target");
const SECURITY_TOKEN: HeaderName = HeaderName::from_static("x-amz-security-token");
const SERVICE: &str = "AmazonAthena.";
const MEDIA: &str = "application/x-amz-json-1.1";

/// What the names of AWS's own headers begin with, and those that are passed on.
const HEADERS: &str = "x-amz-";
const PASSED_HEADERS: &[&str] = &["x-amz-target", "x-amz-user-agent"];

/// Names without a catalog are in this one.
const CATALOG: &str = "awsdatacatalog";

/// Where results are.
const RESULTS: &str = "S3";

const STARTED: &[Field] =
    &[Field { path: &["QueryExecutionId"], treatment: Treatment::Read }, Field { path: &["__type"], treatment: Treatment::Read }];

const STATE: &[Field] = &[
    Field { path: &["QueryExecution", "Status", "State"], treatment: Treatment::Read },
    Field { path: &["QueryExecution", "Status", "AthenaError", "ErrorType"], treatment: Treatment::Read },
];

impl HttpWarehouse for Athena {
    /// Whatever is sent on is signed, and the body is part of that.
    fn purpose(&self, _: &Head<'_>) -> Purpose {
        Purpose::Whole
    }

    fn ask<'a>(&self, request: &'a Whole<'_>, _: &dyn Sessions) -> Result<Asked<'a>, &'static str> {
        let operation = operation(&request.head)?;
        let unread = |call| (call, Box::new(Unread) as Box<dyn Reader>);
        let reads = |call, fields, progress| (call, Box::new(JsonReader::always(fields, request.near, progress)) as Box<dyn Reader>);
        let (call, reader) = match operation {
            "StartQueryExecution" => reads(run(request, start(request.body)?)?, STARTED, started),
            "CreatePreparedStatement" | "UpdatePreparedStatement" => reads(run(request, prepare(request.body)?)?, STARTED, answered),
            "GetQueryExecution" => reads(follow(request.body, false)?, STATE, state),
            "GetQueryResults" | "GetQueryRuntimeStatistics" => unread(follow(request.body, false)?),
            "StopQueryExecution" => unread(follow(request.body, true)?),
            "BatchGetQueryExecution" => unread(Call::Follow(Handle { id: Batch::only(request.body)?, ends: false })),
            "GetDatabase" | "ListDatabases" | "GetTableMetadata" | "ListTableMetadata" => {
                reads(run(request, look(operation, request.body)?)?, STARTED, answered)
            }
            "GetWorkGroup" | "GetDataCatalog" | "ListDataCatalogs" | "ListEngineVersions" | "ListWorkGroups" => unread(Call::Service),
            _ => unread(Call::Other),
        };
        Ok(Asked { session: None, call, reader })
    }

    fn authorize(&self, request: &mut Outgoing, access: &Access<'_>) -> Result<(), Unusable> {
        let takes = "set of AWS keys";
        let keys = match access.login {
            Login::AwsCredentials(keys) => keys,
            Login::Token(_) => return Err(Unusable { given: "token", takes }),
            Login::Password(_) => return Err(Unusable { given: "password", takes }),
            Login::ClientCertificate { .. } => return Err(Unusable { given: "client certificate", takes }),
            Login::Snowflake { .. } => return Err(Unusable { given: "login to Snowflake", takes }),
        };
        let unsigned = |given| Unusable { given, takes: "a plain one" };
        let region = region(access.authority, &request.headers).ok_or(unsigned("request of no region"))?;
        let own: Vec<HeaderName> = request.headers.keys().filter(|name| is_own(name.as_str())).cloned().collect();
        for name in own.iter().chain([&AUTHORIZATION]) {
            request.headers.remove(name);
        }
        let body = request.body.as_deref().unwrap_or_default();
        let target = text(&request.headers, &TARGET).ok_or(unsigned("request without an operation"))?;
        let to = Endpoint::parse(&format!("https://{}/", access.authority)).map_err(|_| unsigned("host of another form"))?;
        let scope = Scope { service: "athena", region: &region, time: access.now };
        let signed = [("content-type", MEDIA), ("x-amz-target", target)];
        let made = sign::headers(keys, scope, &to, &signed, body).map_err(|_| unsigned("request that cannot be signed"))?;
        for (name, value) in made {
            request.headers.insert(HeaderName::from_static(name), super::http::sensitive(value.expose(), takes)?);
        }
        Ok(())
    }

    /// A client signs with keys, and has no place for a token but that of its session.
    fn shown(&self, headers: &HeaderMap) -> Option<Secret<String>> {
        bearer_or_password(headers).or_else(|| text(headers, &SECURITY_TOKEN).map(|token| Secret::new(token.to_owned())))
    }

    fn cancel(&self, id: &str) -> Option<Outgoing> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA));
        headers.insert(TARGET, HeaderValue::from_static("AmazonAthena.StopQueryExecution"));
        let body = serde_json::json!({ "QueryExecutionId": id }).to_string();
        Some(Outgoing { method: Method::POST, target: "/".to_owned(), headers, body: Some(body.into()) })
    }

    fn refusal(&self, told: &Told<'_>) -> Refusal {
        // 400 is not tried again by botocore, and neither is a name that dbt-athena does not know for a passing one.
        let (status, error) = match (told.is_denial, told.status) {
            (true, 403) => (400, "AccessDeniedException"),
            (true, _) => (400, "InvalidRequestException"),
            (false, status) => (status, "ServiceUnavailableException"),
        };
        let body = serde_json::json!({ "__type": error, "message": told.message, "Message": told.message });
        Refusal { content_type: MEDIA, headers: vec![("x-amzn-errortype", error.to_owned())], ..Refusal::json(status, &body) }
    }
}

/// The operation that a request names.
fn operation<'a>(head: &Head<'a>) -> Result<&'a str, &'static str> {
    if head.method != Method::POST || head.path != "/" || head.query.is_some() {
        return Err("Athena's API is called by POST / alone, without parameters in the address");
    }
    if text(head.headers, &CONTENT_TYPE) != Some(MEDIA) {
        return Err("the body of a call is application/x-amz-json-1.1");
    }
    let target = text(head.headers, &TARGET).ok_or("exactly one X-Amz-Target is needed")?;
    target.strip_prefix(SERVICE).ok_or("an operation of another service")
}

/// What is judged of a call.
struct Judged<'a> {
    text: Text<'a>,
    catalog: String,
    database: Option<String>,
    effects: Vec<Effect>,
}

fn run<'a>(request: &Whole<'_>, judged: Judged<'a>) -> Result<Call<'a>, &'static str> {
    let headers = request.head.headers;
    if judged.text.as_bytes().trim_ascii().is_empty() {
        return Err("there is no statement");
    }
    Ok(Call::Run(Box::new(Statement {
        text: judged.text,
        prepared: Vec::new(),
        database: judged.catalog,
        schema: judged.database,
        effects: judged.effects,
        application_name: text(headers, &USER_AGENT).map(str::to_owned),
        client_user: text(headers, &AUTHORIZATION).and_then(credential).map(|scope| scope.key.to_owned()).unwrap_or_default(),
        names: Vec::new(),
        invocation: None,
    })))
}

fn start(body: &[u8]) -> Result<Judged<'static>, &'static str> {
    let start: Start = request::read(body)?;
    start.check_parameters()?;
    let mut effects = Vec::new();
    if let Some(location) = start.output_location() {
        effects.push(access(Action::Export, Object { kind: ObjectKind::Location, database: None, schema: None, name: location }));
    }
    if start.work_group.is_some_and(|group| group != "primary") {
        effects.push(Effect::Set { parameter: "work_group".to_owned() });
    }
    let context = start.query_execution_context.unwrap_or_default();
    let name = |name: Option<String>| name.filter(|name| !name.is_empty()).map(|name| name.to_lowercase());
    Ok(Judged {
        text: Text::Sql(Cow::Owned(start.query_string.into_bytes())),
        catalog: name(context.catalog).unwrap_or_else(|| CATALOG.to_owned()),
        database: name(context.database),
        effects,
    })
}

/// What is prepared is judged as if it ran; `EXECUTE` of it is opaque all the same, since it is Athena that keeps it.
fn prepare(body: &[u8]) -> Result<Judged<'static>, &'static str> {
    let prepared: Prepared = request::read(body)?;
    let text = Text::Sql(Cow::Owned(prepared.query_statement.into_bytes()));
    Ok(Judged { text, catalog: CATALOG.to_owned(), database: None, effects: Vec::new() })
}

/// What looks at the catalog reads it, as `SHOW` does.
fn look(operation: &str, body: &[u8]) -> Result<Judged<'static>, &'static str> {
    let Metadata { catalog_name, database_name, table_name, .. } = request::read(body)?;
    let view = if operation.ends_with("TableMetadata") { "tables" } else { "schemata" };
    let catalog = catalog_name.to_lowercase();
    let path: Vec<&str> =
        [Some(&catalog_name), database_name.as_ref(), table_name.as_ref()].into_iter().flatten().map(String::as_str).collect();
    let object = Object {
        kind: ObjectKind::Relation,
        database: Some(catalog.clone()),
        schema: Some("information_schema".to_owned()),
        name: view.to_owned(),
    };
    Ok(Judged {
        text: Text::Call(format!("{operation} {}", path.join("."))),
        catalog,
        database: database_name.map(|name| name.to_lowercase()),
        effects: vec![access(Action::Select, object)],
    })
}

fn follow(body: &[u8], ends: bool) -> Result<Call<'static>, &'static str> {
    let execution: Execution = request::read(body)?;
    Ok(Call::Follow(Handle { id: execution.query_execution_id, ends }))
}

fn access(action: Action, object: Object) -> Effect {
    Effect::Access { action, object, columns: Vec::new() }
}

fn started(reply: &Reply<'_>) -> Progress {
    let [id, error, ..] = reply.found else { return Progress::default() };
    let end = (!reply.status.is_success()).then(|| failed(error.value()));
    Progress { id: id.value().map(str::to_owned), end, are_rows_uncounted: true, ..Progress::default() }
}

/// Of what is over when it is answered.
fn answered(reply: &Reply<'_>) -> Progress {
    let Progress { end, .. } = started(reply);
    Progress { end: end.or(Some(End::Completed)), ..Progress::default() }
}

fn failed(error: Option<&str>) -> End {
    // A name may have its namespace in front.
    End::Failed(error.map(|name| name.rsplit_once('#').map_or(name, |(_, name)| name).to_owned()))
}

/// How an execution does. Its rows are read afterwards, here or from S3.
fn state(reply: &Reply<'_>) -> Progress {
    let [state, error, ..] = reply.found else { return Progress::default() };
    let end = match state.value() {
        Some("SUCCEEDED") => Some(End::Completed),
        Some("FAILED") => Some(failed(error.value())),
        Some("CANCELLED") => Some(End::Cancelled),
        Some(_) | None => None,
    };
    Progress { out_of_band: end.is_some().then_some(RESULTS), end, are_rows_uncounted: true, ..Progress::default() }
}

fn is_own(header: &str) -> bool {
    header.starts_with(HEADERS) && !PASSED_HEADERS.contains(&header)
}

/// The region of Athena's host, `athena.REGION.amazonaws.com` and its kin; of another host, as a private endpoint may have one,
/// the region that the client signs for. A signature for a wrong one is of no use to anybody: it goes to this host alone. There, what
/// still runs when the program ends cannot be stopped, since no client asks for that.
fn region(authority: &str, headers: &HeaderMap) -> Option<String> {
    let host = authority.split(':').next().unwrap_or_default();
    let mut labels = host.split('.').skip_while(|label| !matches!(*label, "athena" | "athena-fips"));
    let named = labels.nth(1).filter(|_| host.contains(".amazonaws.com") || host.ends_with(".api.aws"));
    let region = match named {
        Some(region) => region,
        None => text(headers, &AUTHORIZATION).and_then(credential)?.region,
    };
    let is_name = !region.is_empty() && region.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    is_name.then(|| region.to_owned())
}

/// What the client's own signature says: `AWS4-HMAC-SHA256 Credential=KEY/DATE/REGION/SERVICE/aws4_request, ...`.
struct CredentialScope<'a> {
    key: &'a str,
    region: &'a str,
}

fn credential(authorization: &str) -> Option<CredentialScope<'_>> {
    let (_, rest) = authorization.strip_prefix("AWS4-HMAC-SHA256 ")?.split_once("Credential=")?;
    let mut parts = rest.split(',').next()?.split('/');
    Some(CredentialScope { key: parts.next()?, region: parts.nth(1)? })
}

/// The value of a header that stands once and is text.
fn text<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok(),
        (_, None | Some(_)) => None,
    }
}

#[cfg(test)]
mod tests;
