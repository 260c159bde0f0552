//! The login of a session, in which the client's own login is replaced, and its renewal.

use bytes::Bytes;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value, json};

use super::parameters::{self, folded};
use super::placeholder::{Placeholder, Token};
use super::{application_name, unusable};
use crate::credential::{Authenticator, Login};
use crate::secret::Secret;
use crate::sql::{Effect, OpaqueClass};
use crate::warehouse::http::{Access, Call, Statement, Text, Unusable, Whole};

const OPTIONS: &[&str] = &["request_id", "requestId", "request_guid", "databaseName", "schemaName", "warehouse", "roleName"];

/// The body of a login. What is not known here is refused, and so is a key that stands twice.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LoginRequest {
    data: LoginData,
}

#[derive(Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE", deny_unknown_fields)]
struct LoginData {
    client_app_id: Option<String>,
    client_app_version: Option<String>,
    svn_revision: Option<String>,
    account_name: Option<String>,
    client_environment: Option<Map<String, Value>>,
    session_parameters: Option<Map<String, Value>>,
    secondary_roles: Option<String>,
    // The client's own login, of whatever kind: it goes no further.
    #[serde(rename = "LOGIN_NAME")]
    _login_name: Option<IgnoredAny>,
    #[serde(rename = "PASSWORD")]
    _password: Option<IgnoredAny>,
    #[serde(rename = "AUTHENTICATOR")]
    _authenticator: Option<IgnoredAny>,
    #[serde(rename = "TOKEN")]
    _token: Option<IgnoredAny>,
    #[serde(rename = "PROVIDER")]
    _provider: Option<IgnoredAny>,
    #[serde(rename = "OAUTH_TYPE")]
    _oauth_type: Option<IgnoredAny>,
    #[serde(rename = "PASSCODE")]
    _passcode: Option<IgnoredAny>,
    #[serde(rename = "EXT_AUTHN_DUO_METHOD")]
    _ext_authn_duo_method: Option<IgnoredAny>,
    #[serde(rename = "RAW_SAML_RESPONSE")]
    _raw_saml_response: Option<IgnoredAny>,
    #[serde(rename = "PROOF_KEY")]
    _proof_key: Option<IgnoredAny>,
    #[serde(rename = "BROWSER_MODE_REDIRECT_PORT")]
    _browser_mode_redirect_port: Option<IgnoredAny>,
    #[serde(rename = "SPCS_TOKEN")]
    _spcs_token: Option<IgnoredAny>,
}

/// What a login asks for.
///
/// # Errors
/// It is malformed, or asks for something that is not known here.
pub(super) fn login<'a>(request: &Whole<'_>) -> Result<Call<'a>, &'static str> {
    let options = parameters::query(&request.head, OPTIONS)?;
    let LoginRequest { data } = read(request.body)?;
    let mut effects = Vec::new();
    if let Some(role) = options.get("roleName") {
        effects.push(parameters::role(folded(role)));
    }
    if data.secondary_roles.is_some() {
        effects.push(Effect::Opaque { class: OpaqueClass::Authorization, detail: "SECONDARY_ROLES".to_owned() });
    }
    if options.contains_key("warehouse") {
        effects.push(parameters::set("warehouse".to_owned()));
    }
    effects.extend(parameters::effects(&data.session_parameters.unwrap_or_default()));
    Ok(Call::Run(Box::new(Statement {
        text: Text::Call("login".to_owned()),
        prepared: Vec::new(),
        database: options.get("databaseName").map(|name| folded(name)).unwrap_or_default(),
        schema: options.get("schemaName").map(|name| folded(name)),
        effects,
        application_name: application_name(request.head.headers),
        client_user: String::new(),
        invocation: None,
        names: Vec::new(),
    })))
}

fn read(body: &[u8]) -> Result<LoginRequest, &'static str> {
    serde_json::from_slice(body).map_err(|_| "the login is not one that is known here")
}

/// A login that was judged, with the sidecar's own in the place of the client's. It is written anew: nothing else of it goes on.
///
/// # Errors
/// [`Unusable`]: Snowflake has no use for that kind of login.
pub(super) fn rewritten(body: &[u8], access: &Access<'_>) -> Result<Bytes, Unusable> {
    let malformed = |_| Unusable { given: "malformed login", takes: "one that was judged" };
    let LoginRequest { data: theirs } = read(body).map_err(malformed)?;
    let (login, token) = match access.login {
        Login::Snowflake { authenticator, token } => (*authenticator, token),
        Login::Password(password) => return Ok(written(theirs, access, &json!({ "PASSWORD": password.expose() }))),
        Login::Token(_) | Login::ClientCertificate { .. } | Login::AwsCredentials(_) => return Err(unusable(access.login)),
    };
    let mut ours = json!({ "AUTHENTICATOR": login.as_str(), "TOKEN": token.expose() });
    if login == Authenticator::WorkloadIdentity
        && let Some(fields) = ours.as_object_mut()
    {
        fields.insert("PROVIDER".to_owned(), "OIDC".into());
    }
    Ok(written(theirs, access, &ours))
}

fn written(theirs: LoginData, access: &Access<'_>, ours: &Value) -> Bytes {
    let mut data = Map::new();
    let account = account(access.authority).or(theirs.account_name);
    for (name, text) in [
        ("CLIENT_APP_ID", theirs.client_app_id),
        ("CLIENT_APP_VERSION", theirs.client_app_version),
        ("SVN_REVISION", theirs.svn_revision),
        ("ACCOUNT_NAME", account),
        ("SECONDARY_ROLES", theirs.secondary_roles),
        ("LOGIN_NAME", Some(access.role.to_owned())),
    ] {
        data.extend(text.map(|text| (name.to_owned(), Value::from(text))));
    }
    for (name, map) in [("CLIENT_ENVIRONMENT", theirs.client_environment), ("SESSION_PARAMETERS", theirs.session_parameters)] {
        data.extend(map.map(|map| (name.to_owned(), Value::from(map))));
    }
    data.extend(ours.as_object().into_iter().flatten().map(|(name, value)| (name.clone(), value.clone())));
    Bytes::from(json!({ "data": data }).to_string())
}

/// The account that a host of Snowflake's own belongs to, so that no client logs in to another one with this login.
fn account(authority: &str) -> Option<String> {
    let host = authority.split(':').next()?.to_ascii_lowercase();
    let is_snowflakes = [".snowflakecomputing.com", ".snowflakecomputing.cn"].iter().any(|suffix| host.ends_with(suffix));
    is_snowflakes.then(|| host.split('.').next().unwrap_or_default().to_uppercase())
}

/// The body of a renewal.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RenewalRequest {
    old_session_token: String,
    request_type: String,
}

/// The session that is to be renewed: the head shows the placeholder of its master token, the body that of its session's.
///
/// # Errors
/// They are not of one session, or something else than a renewal is asked for.
pub(super) fn renewed(request: &Whole<'_>) -> Result<String, &'static str> {
    parameters::query(&request.head, OPTIONS)?;
    let asked: RenewalRequest = serde_json::from_slice(request.body).map_err(|_| "the renewal of the session is malformed")?;
    if asked.request_type != "RENEW" {
        return Err("a session can only be renewed");
    }
    let of_master = Placeholder::shown(request.head.headers).filter(|shown| shown.token == Token::Master);
    let of_session = Placeholder::of(&asked.old_session_token).filter(|old| old.token == Token::Session);
    match (of_master, of_session) {
        (Some(master), Some(session)) if master.id == session.id => Ok(session.id),
        (Some(_) | None, Some(_) | None) => Err("the two tokens are not those of one session"),
    }
}

/// A renewal with the session's own token in it.
pub(super) fn renewal(session: &Secret<String>) -> Bytes {
    Bytes::from(json!({ "oldSessionToken": session.expose(), "requestType": "RENEW" }).to_string())
}
