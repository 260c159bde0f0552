//! ClickHouse: statements by its HTTP interface, in the body, in `?query=`, or begun there and continued in the body.
//!
//! Source: ClickHouse documentation, "HTTP interface"; requests and replies as 18.16 (Debian's) and `HTTPHandler` up to 25.5 read and
//! write them. A session of several requests is the server's: it belongs to the user that logs in, whom principals may share, so
//! each principal's have names of their own.

mod insert;
mod parameter;
mod reply;

use std::borrow::Cow;

use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use hyper::{Method, StatusCode};

use self::parameter::{Parameters, ROLE, SUBSTITUTION};
use self::reply::StreamReader;
use super::http::{
    Access, Asked, Call, Head, HttpWarehouse, Outgoing, Purpose, Refusal, Sessions, Statement, Text, Told, Unread, Unusable, Whole,
    bearer_or_password,
};
use super::{Kind, Protocol};
use crate::credential::{Login, LoginKind};
use crate::secret::Secret;
use crate::sql::dialect::CLICKHOUSE as SQL;
use crate::sql::{Dialect, Effect};

/// ClickHouse.
pub const CLICKHOUSE: Kind =
    Kind { name: "clickhouse", dialect: Dialect::Other(&SQL), protocol: Protocol::Http(&ClickHouse), default_port: 8443, logins: LOGINS };

const LOGINS: &[LoginKind] = &[LoginKind::Token, LoginKind::Password, LoginKind::ClientCertificate];

/// What is particular about ClickHouse.
#[derive(Debug)]
pub struct ClickHouse;

const USER: HeaderName = HeaderName::from_static("x-clickhouse-user");
const KEY: HeaderName = HeaderName::from_static("x-clickhouse-key");
const CERTIFICATE: HeaderName = HeaderName::from_static("x-clickhouse-ssl-certificate-auth");
const DATABASE: HeaderName = HeaderName::from_static("x-clickhouse-database");
const QUERY_ID: HeaderName = HeaderName::from_static("x-clickhouse-query-id");

/// What the names of ClickHouse's own headers begin with, those that are passed on, and those of a login, which are not.
const HEADERS: &str = "x-clickhouse-";
const PASSED_HEADERS: &[&str] = &["x-clickhouse-format", "x-clickhouse-query-id"];
const LOGIN_HEADERS: &[&str] = &["x-clickhouse-user", "x-clickhouse-key", "x-clickhouse-quota", "x-clickhouse-ssl-certificate-auth"];

/// A client's login in the address, which is not passed on.
const LOGIN_PARAMETERS: &[&str] = &["user", "password", "quota_key"];

/// Parameters that are no settings, and settings of the kind that clients send with every request: how a result is written, when it
/// is sent, and how much or how long may be worked on it. None changes which objects a statement is about.
const HARMLESS: &[&str] = &[
    "alter_sync",
    "buffer_size",
    "cancel_http_readonly_queries_on_client_close",
    "cast_string_to_dynamic_use_inference",
    "client_protocol_version",
    "close_session",
    "compress",
    "database",
    "date_time_input_format",
    "date_time_output_format",
    "default_format",
    "enable_http_compression",
    "http_headers_progress_interval_ms",
    "http_zlib_compression_level",
    "insert_distributed_sync",
    "lightweight_deletes_sync",
    "log_comment",
    "max_block_size",
    "max_execution_time",
    "max_result_bytes",
    "max_result_rows",
    "max_threads",
    "mutations_sync",
    "output_format_json_named_tuples_as_objects",
    "output_format_json_quote_64bit_integers",
    "output_format_json_quote_denormals",
    "query",
    "query_id",
    "readonly",
    "replicated_deduplication_window",
    "send_progress_in_http_headers",
    "session_check",
    "session_id",
    "session_timeout",
    "stacktrace",
    "wait_end_of_query",
];

/// Settings with which the server would read another text than was judged.
const MISLEADING: &[&str] = &["allow_settings_after_format_in_insert", "dialect", "polyglot_dialect"];

impl HttpWarehouse for ClickHouse {
    fn purpose(&self, head: &Head<'_>) -> Purpose {
        let parameters = Parameters::parse(head.query.unwrap_or_default());
        match (asking(head), &parameters) {
            (Asking::Other, Ok(_)) => Purpose::Other,
            (Asking::Statement, Ok(parameters)) if !is_begun_as_insert(parameters) => Purpose::Whole,
            // What is wrong with the address is said without a look at the body.
            (Asking::Statement | Asking::Service | Asking::Other, Ok(_) | Err(_)) => Purpose::Streamed,
        }
    }

    fn ask<'a>(&self, request: &'a Whole<'_>, _: &dyn Sessions) -> Result<Asked<'a>, &'static str> {
        let parameters = Parameters::parse(request.head.query.unwrap_or_default())?;
        Ok(match asking(&request.head) {
            Asking::Statement => {
                let reader = StreamReader::new(chosen_id(&parameters, request.head.headers)?, is_awaited(&parameters));
                let statement = statement(request, &parameters)?;
                Asked { session: None, call: Call::Run(Box::new(statement)), reader: Box::new(reader) }
            }
            Asking::Service => Asked { session: None, call: Call::Service, reader: Box::new(Unread) },
            Asking::Other => Asked { session: None, call: Call::Other, reader: Box::new(Unread) },
        })
    }

    fn authorize(&self, request: &mut Outgoing, access: &Access<'_>) -> Result<(), Unusable> {
        let plain = Unusable { given: "address that can be read in two ways", takes: "a plain one" };
        let (path, query) = request.target.split_once('?').map_or((&*request.target, None), |(path, query)| (path, Some(query)));
        let mut parameters = Parameters::parse(query.unwrap_or_default()).map_err(|_| plain)?;
        parameters.remove(LOGIN_PARAMETERS);
        if let Some(session) = parameters.get("session_id").map(|session| format!("{}.{session}", access.owner)) {
            parameters.set("session_id", &session);
        }
        let headers = &mut request.headers;
        // Old servers do not know the header, and would be in another database than was judged.
        let database = headers.remove(&DATABASE);
        if let Some(database) = database.as_ref().and_then(|database| database.to_str().ok()).filter(|database| !database.is_empty()) {
            parameters.set("database", database);
        }
        request.target = match parameters.written() {
            written if written.is_empty() && query.is_none() => path.to_owned(),
            written => format!("{path}?{written}"),
        };
        let known = |name: &str| !name.starts_with(HEADERS) || PASSED_HEADERS.contains(&name);
        let unknown: Vec<HeaderName> = headers.keys().filter(|name| !known(name.as_str())).cloned().collect();
        for name in unknown.iter().chain([&AUTHORIZATION]) {
            headers.remove(name);
        }
        login(headers, access)
    }

    fn shown(&self, headers: &HeaderMap) -> Option<Secret<String>> {
        let key = || one(headers, &KEY).ok().flatten().map(|key| Secret::new(key.to_owned()));
        bearer_or_password(headers).or_else(key)
    }

    /// 516 is `AUTHENTICATION_FAILED`, for which the status may be 403.
    fn refuses_login(&self, status: StatusCode, headers: &HeaderMap) -> bool {
        status == StatusCode::UNAUTHORIZED || headers.get(reply::EXCEPTION_CODE).is_some_and(|code| code == "516")
    }

    /// There is none over HTTP. When the program ends its connections do, and the server gives up queries that only read where
    /// `cancel_http_readonly_queries_on_client_close` is set, which clickhouse-connect does.
    fn cancel(&self, _: &str) -> Option<Outgoing> {
        None
    }

    fn refusal(&self, told: &Told<'_>) -> Refusal {
        // `ErrorCodes.cpp`. Clients try 429, 503 and 504 again.
        let (code, name) = match told.status {
            403 => (497, "ACCESS_DENIED"),
            _ if told.is_denial => (36, "BAD_ARGUMENTS"),
            _ => (210, "NETWORK_ERROR"),
        };
        Refusal {
            status: told.status,
            content_type: "text/plain; charset=UTF-8",
            headers: vec![("x-clickhouse-exception-code", code.to_string())],
            body: format!("Code: {code}. DB::Exception: {}. ({name})\n", told.message).into(),
        }
    }
}

/// What a request is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asking {
    Statement,
    /// The server is asked whether it is there.
    Service,
    Other,
}

/// The server runs what is posted to it at any path that no handler of its configuration takes, and what it is asked to get at these.
fn asking(head: &Head<'_>) -> Asking {
    match (head.method, head.path, head.query) {
        (&Method::POST, ..) => Asking::Statement,
        (&Method::GET | &Method::HEAD, "/" | "/query", Some(_)) => Asking::Statement,
        (&Method::GET | &Method::HEAD, "/" | "/ping", _) => Asking::Service,
        _ => Asking::Other,
    }
}

/// Whether `?query=` is an `INSERT` up to its format, so that the body is its data alone.
fn is_begun_as_insert(parameters: &Parameters) -> bool {
    let query = parameters.get("query").unwrap_or_default().as_bytes();
    let data = insert::sql_length(query).and_then(|length| query.get(length..));
    data.is_some_and(|data| data.trim_ascii().is_empty())
}

fn statement<'a>(request: &'a Whole<'_>, parameters: &Parameters) -> Result<Statement<'a>, &'static str> {
    let headers = request.head.headers;
    if !matches!(request.head.path, "/" | "/query") {
        return Err("ClickHouse runs what is posted to any path: statements are posted to / here, and nothing to any other");
    }
    if headers.keys().any(|name| is_unknown(name.as_str())) {
        return Err("a header of ClickHouse's that is not known here");
    }
    if one(headers, &CONTENT_TYPE)?.is_some_and(|media| media.trim_start().to_ascii_lowercase().starts_with("multipart/")) {
        return Err("external tables and forms of several parts are not passed on");
    }
    let is_streamed = is_begun_as_insert(parameters);
    if !is_streamed && parameters.get("decompress").is_some_and(|value| value != "0") {
        return Err("a statement in ClickHouse's own compression cannot be read here: send it without `decompress`");
    }
    let mut effects = Vec::new();
    for parameter in parameters.iter() {
        match parameter.name.as_str() {
            ROLE => effects.push(Effect::Role { role: Some(parameter.value.clone()) }),
            name if MISLEADING.contains(&name) => return Err("a setting with which the server would read another text"),
            "decompress" => {}
            name if name.starts_with(SUBSTITUTION) || HARMLESS.contains(&name) || LOGIN_PARAMETERS.contains(&name) => {}
            name => effects.push(Effect::Set { parameter: name.to_owned() }),
        }
    }
    let sql = text(parameters.get("query").unwrap_or_default(), request.body);
    if sql.trim_ascii().is_empty() {
        return Err("there is no statement");
    }
    Ok(Statement {
        text: Text::Sql(sql),
        prepared: Vec::new(),
        database: String::new(),
        schema: database(parameters, headers)?,
        effects,
        application_name: one(headers, &USER_AGENT)?.map(str::to_owned),
        client_user: one(headers, &USER)?.or(parameters.get("user")).unwrap_or_default().to_owned(),
        names: Vec::new(),
        invocation: None,
    })
}

fn is_unknown(header: &str) -> bool {
    header.starts_with(HEADERS) && header != DATABASE.as_str() && !PASSED_HEADERS.contains(&header) && !LOGIN_HEADERS.contains(&header)
}

/// The SQL of a request: what stands in the address, a line's end and the body, without the data of an `INSERT`.
fn text<'a>(query: &str, body: &'a [u8]) -> Cow<'a, [u8]> {
    let length = |whole: &[u8]| insert::sql_length(whole).unwrap_or(whole.len());
    if query.is_empty() {
        return Cow::Borrowed(body.get(..length(body)).unwrap_or(body));
    }
    let mut whole = query.as_bytes().to_vec();
    if !body.is_empty() {
        whole.push(b'\n');
        whole.extend_from_slice(body);
    }
    whole.truncate(length(&whole));
    Cow::Owned(whole)
}

/// The database that names without one are in, which policy calls a schema.
fn database(parameters: &Parameters, headers: &HeaderMap) -> Result<Option<String>, &'static str> {
    let said = |value: Option<&str>| value.filter(|value| !value.is_empty()).map(str::to_owned);
    match (said(one(headers, &DATABASE)?), said(parameters.get("database"))) {
        (Some(header), Some(parameter)) if header != parameter => Err("the head and the address name different databases"),
        (header, parameter) => Ok(header.or(parameter)),
    }
}

/// The name that the client has chosen for the execution.
fn chosen_id(parameters: &Parameters, headers: &HeaderMap) -> Result<Option<String>, &'static str> {
    match (parameters.get("query_id"), one(headers, &QUERY_ID)?) {
        (Some(_), Some(_)) => Err("the head and the address both choose a query id"),
        (parameter, header) => Ok(parameter.or(header).filter(|id| !id.is_empty()).map(str::to_owned)),
    }
}

/// Whether the reply begins when the statement is over.
fn is_awaited(parameters: &Parameters) -> bool {
    parameters.get("wait_end_of_query").is_some_and(|value| value == "1")
}

fn login(headers: &mut HeaderMap, access: &Access<'_>) -> Result<(), Unusable> {
    let takes = "token, a client certificate or a password";
    let user = HeaderValue::from_str(access.role);
    let user = user.map_err(|_| Unusable { given: "role that no header can carry", takes: "a plain one" })?;
    match access.login {
        // Whom it is for says the token.
        Login::Token(token) => {
            headers.insert(AUTHORIZATION, super::http::sensitive(&format!("Bearer {}", token.expose()), takes)?);
        }
        Login::Password(password) => {
            headers.insert(USER, user);
            headers.insert(KEY, super::http::sensitive(password.expose(), takes)?);
        }
        Login::ClientCertificate { .. } => {
            headers.insert(USER, user);
            headers.insert(CERTIFICATE, HeaderValue::from_static("on"));
        }
        Login::AwsCredentials(_) => return Err(Unusable { given: "set of AWS keys", takes }),
        Login::Snowflake { .. } => return Err(Unusable { given: "login to Snowflake", takes }),
    }
    Ok(())
}

/// The value of a header that stands at most once.
fn one<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<Option<&'h str>, &'static str> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => value.to_str().map(Some).map_err(|_| "a header is not ASCII"),
        (Some(_), Some(_)) => Err("a header stands twice"),
    }
}

#[cfg(test)]
mod tests;
