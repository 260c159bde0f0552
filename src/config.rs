//! What the operator wrote, checked: [`File`] is what was typed, [`Config`] is what it means.

mod check;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::document::{self, Problem, Span};
use crate::target::Target;
use crate::tls::{ClientSettings, Trust};
use crate::warehouse::Kind;
use crate::warehouse::postgres::{Method, Negotiation};
use crate::{admin, audit, credential, identity, listener, log};

/// The configuration of `tollhouse run`, as it is written in YAML. `${NAME}` and `${NAME:-default}` in values are
/// filled in from the environment. Unknown keys are errors.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// Accept certificates that `tollhouse dev` made. Never set this in production.
    #[serde(default)]
    pub development: bool,
    /// Where clients connect.
    pub listeners: Vec<listener::Settings>,
    /// The warehouses.
    pub targets: Vec<TargetFile>,
    /// How this workload proves who it is.
    pub identities: Vec<identity::Settings>,
    /// What it may do.
    pub policy: PolicyFile,
    /// What dbt's claims about statements are held against.
    #[serde(default)]
    pub dbt: Option<DbtFile>,
    /// The evidence.
    pub audit: audit::Settings,
    /// Health, metrics and introspection.
    #[serde(default)]
    pub admin: admin::Settings,
    /// Bounds on what clients may ask for.
    #[serde(default)]
    pub limits: listener::Limits,
    /// The ordinary log.
    #[serde(default)]
    pub log: log::Settings,
    /// How the program stops.
    #[serde(default)]
    pub shutdown: Shutdown,
}

/// A warehouse.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TargetFile {
    /// The name in listeners, policy records and metrics.
    pub name: String,
    /// The kind of warehouse: `postgresql`, `redshift` or `trino`.
    pub kind: String,
    /// DNS name or address; what its certificate must carry, and what `toFQDNs` matches.
    pub host: String,
    /// The port; the kind's usual one where absent.
    #[serde(default)]
    pub port: Option<u16>,
    /// The role that sessions log in as, whatever user name the client writes.
    pub role: String,
    /// The identity that is exchanged; the only one there is where absent.
    #[serde(default)]
    pub identity: Option<String>,
    /// The steps from the identity's token to a credential, the last of which makes the credential.
    pub credential: Vec<credential::Step>,
    /// How the warehouse is verified.
    #[serde(default)]
    pub tls: ClientSettings,
    /// How TLS with it begins: `postgres` asks for it first, `direct` (PostgreSQL 17 or later) does not.
    #[serde(default)]
    pub tls_negotiation: Negotiation,
    /// The ways to log in that the warehouse may ask for; every one that its kind has where absent. Whatever stands here,
    /// a secret is shown in clear only behind TLS or within the machine.
    #[serde(default)]
    pub authentication_methods: Option<Vec<Method>>,
    /// Startup parameters about the login, where the kind has any (`redshift`: `idp_type`, `token_type`, ...). A client's own
    /// are left out: they could have the credential read as somebody else's.
    #[serde(default)]
    pub login_parameters: BTreeMap<String, String>,
}

/// Where policies come from.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyFile {
    /// Files, and directories whose `.yaml` and `.yml` files are read in the order of their names.
    pub paths: Vec<PathBuf>,
    /// How often the files are looked at for changes.
    #[serde(default = "PolicyFile::default_reload_interval")]
    pub reload_interval: Span,
}

impl PolicyFile {
    const fn default_reload_interval() -> Span {
        Span::seconds(2)
    }
}

/// What dbt's claims about statements are held against.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DbtFile {
    /// The project's `target/manifest.json`, from the build of the image: never dbt's own writable one. Looked at for changes
    /// as often as policies are.
    pub manifest: PathBuf,
}

/// How the program stops.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Shutdown {
    /// Time for running queries to finish; then they are cancelled at the warehouse.
    pub deadline: Span,
}

impl Default for Shutdown {
    fn default() -> Self {
        Self { deadline: Span::seconds(25) }
    }
}

/// A checked configuration: every name resolves and every setting can be used.
#[derive(Debug)]
pub struct Config {
    /// As written.
    pub file: File,
    /// Listeners with what they refer to, in the file's order.
    pub routes: Vec<Route>,
    /// Which certificates count.
    pub trust: Trust,
    /// Digest of the file with its substitutions.
    pub digest: String,
}

/// A listener with what it refers to.
#[derive(Debug, Clone)]
pub struct Route {
    /// The listener.
    pub listener: listener::Settings,
    /// Its target.
    pub target: Arc<Target>,
    /// The kind of the target.
    pub kind: &'static Kind,
    /// The role that sessions log in as.
    pub role: String,
    /// How the target is verified.
    pub tls: ClientSettings,
    /// How TLS with it begins.
    pub negotiation: Negotiation,
    /// The ways to log in that the target may ask for.
    pub methods: Vec<Method>,
    /// Startup parameters about the login there.
    pub login_parameters: BTreeMap<String, String>,
    /// What is exchanged.
    pub identity: identity::Settings,
    /// How it is exchanged.
    pub credential: Vec<credential::Step>,
}

impl Config {
    /// Reads and checks a configuration file.
    ///
    /// # Errors
    /// Every problem at once, each with its place in the file.
    pub fn load(path: &Path, env: &document::Env<'_>) -> Result<Self, Vec<Problem>> {
        let name = path.display().to_string();
        let problem = |message: String| vec![Problem::at(&name, "", message)];
        let text = std::fs::read_to_string(path).map_err(|error| problem(format!("cannot be read: {error}")))?;
        Self::parse(&name, &text, env)
    }

    /// Checks a configuration; `name` is the file's name in problems.
    ///
    /// # Errors
    /// Every problem at once, each with its place in the file.
    pub fn parse(name: &str, text: &str, env: &document::Env<'_>) -> Result<Self, Vec<Problem>> {
        check::check(name, document::read::<File>(name, text, env)?)
    }

    /// The configuration as JSON with the values of free-form fields left out, for `/config`.
    pub fn redacted(&self) -> String {
        let mut value = serde_json::to_value(&self.file).unwrap_or_default();
        redact(&mut value);
        value.to_string()
    }
}

/// The JSON schema of [`File`].
pub fn schema() -> serde_json::Value {
    document::schema::<File>()
}

/// Replaces the values under `extra`, the one place where an operator can write what we do not know the meaning of.
fn redact(value: &mut serde_json::Value) {
    match value {
        serde_json::Value::Object(fields) => {
            for (key, field) in fields {
                match field.as_object_mut() {
                    Some(extra) if key == "extra" => extra.values_mut().for_each(|value| *value = "(redacted)".into()),
                    Some(_) | None => redact(field),
                }
            }
        }
        serde_json::Value::Array(items) => items.iter_mut().for_each(redact),
        serde_json::Value::Null | serde_json::Value::Bool(_) | serde_json::Value::Number(_) | serde_json::Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::{Config, File, schema};
    use crate::document::{self, Problem};
    use crate::golden::expect_file;

    fn paths_and_messages(text: &str) -> Vec<String> {
        let problems = Config::parse("c.yaml", text, &|_| None).unwrap_err();
        problems.iter().map(|Problem { path, message, .. }| format!("{path}: {message}")).collect()
    }

    /// The minimal configuration with one place changed.
    fn changed(from: &str, to: &str) -> Vec<String> {
        let minimal = include_str!("../config/minimal.yaml");
        assert!(minimal.contains(from), "{from}");
        paths_and_messages(&minimal.replace(from, to))
    }

    #[test]
    fn the_examples_are_valid() {
        // Parts of socket addresses keep their defaults.
        let given = |name: &str| name.starts_with("TOLLHOUSE_") && !name.ends_with("PORT") && name != "TOLLHOUSE_ADMIN_HOST";
        let env = |name: &str| given(name).then(|| "https://localhost:1".to_owned());
        for (name, text) in [
            ("tollhouse.yaml", include_str!("../config/tollhouse.yaml")),
            ("minimal.yaml", include_str!("../config/minimal.yaml")),
            ("dev.yaml", include_str!("../config/dev.yaml")),
        ] {
            let read = document::read::<File>(name, text, &env);
            assert!(read.is_ok(), "{:#?}", read.err());
        }
        assert!(Config::parse("minimal.yaml", include_str!("../config/minimal.yaml"), &env).is_ok());
    }

    #[test]
    fn the_annotated_example_shows_the_defaults() {
        let read = |text| serde_json::to_value(document::read::<File>("c.yaml", text, &|_| None).unwrap()).unwrap();
        let (all, minimal) = (read(include_str!("../config/tollhouse.yaml")), read(include_str!("../config/minimal.yaml")));
        for key in ["limits", "admin", "log", "shutdown"] {
            assert_eq!(all[key], minimal[key], "{key}");
        }
        assert_eq!(all["policy"]["reload_interval"], minimal["policy"]["reload_interval"]);
        for (key, value) in minimal["audit"].as_object().unwrap() {
            assert_eq!(&all["audit"][key], value, "audit.{key}");
        }
    }

    #[test]
    fn the_published_schema_is_current() {
        expect_file("config/schema/config.json", &format!("{:#}\n", schema()));
    }

    #[test]
    fn names_that_do_not_resolve_come_with_the_nearest_word() {
        assert_eq!(
            changed("target: warehouse", "target: warehose"),
            ["listeners[0].target: unknown target `warehose`; did you mean `warehouse`?"]
        );
        assert_eq!(changed("kind: postgresql", "kind: postgres"), ["targets[0].kind: unknown kind `postgres`; did you mean `postgresql`?"]);
    }

    #[test]
    fn every_problem_is_reported_at_once() {
        let problems = changed("address: 127.0.0.1:15432\n    target: warehouse", "address: 0.0.0.0:15432\n    target: lake");
        assert_eq!(problems.len(), 2, "{problems:?}");
        assert!(problems[0].starts_with("listeners[0].authentication: `trust` lets everybody in"), "{problems:?}");
        assert_eq!(problems[1], "listeners[0].target: unknown target `lake`; there are: warehouse");
    }

    #[test]
    fn what_a_target_cannot_have_is_named() {
        assert_eq!(
            changed("kind: postgresql", "kind: postgresql\n    tls: { mode: disable }\n    tls_negotiation: direct")
                .iter()
                .filter(|problem| problem.contains("negotiation"))
                .collect::<Vec<_>>(),
            ["targets[0].tls_negotiation: `direct` needs TLS, and `tls.mode` disables it"]
        );
        assert_eq!(
            changed("kind: postgresql", "kind: redshift\n    login_parameters: { token_typ: EXT_JWT }"),
            ["targets[0].login_parameters: unknown parameter `token_typ`; did you mean `token_type`?"]
        );
    }

    #[test]
    fn nothing_that_may_be_secret_stands_in_the_debug_output_of_a_configuration() {
        let minimal = include_str!("../config/minimal.yaml");
        let step = "{ kind: token_exchange, token_endpoint: \"https://sts.example\", extra: { api_key: \"${KEY}\" } }";
        let text = minimal.replace("    credential:\n", &format!("    credential:\n      - {step}\n"));
        let env = |name: &str| (name == "KEY").then(|| "hunter2".to_owned());
        let config = Config::parse("c.yaml", &text, &env).unwrap();
        assert!(serde_json::to_string(&config.file).unwrap().contains("hunter2"), "it is there");
        let (printed, shown) = (format!("{config:?} {config:#?}"), config.redacted());
        assert!(printed.contains("api_key") && !printed.contains("hunter2"), "{printed}");
        assert!(shown.contains("api_key") && !shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn a_login_that_the_target_cannot_use_is_refused_where_it_is_made() {
        let minimal = include_str!("../config/minimal.yaml");
        let (before, rest) = minimal.split_once("    credential:\n").unwrap();
        let (_, after) = rest.split_once("identities:").unwrap();
        let problems = |kind: &str, extra: &str, steps: &str| {
            let text = format!("{before}    credential: {steps}\n{extra}identities:{after}").replace("kind: postgresql", kind);
            Config::parse("c.yaml", &text, &|_| None).map(|_| ()).map_err(|problems| {
                problems.into_iter().map(|Problem { path, message, .. }| format!("{path}: {message}")).collect::<Vec<_>>()
            })
        };
        let (postgresql, redshift, trino) = ("kind: postgresql", "kind: redshift", "kind: trino");
        let sigv4 = "[{ kind: aws_pod_identity }, { kind: aws_sigv4 }]";
        let password = "[{ kind: password_file, file: /run/p }]";
        let token = "[{ kind: token_as_password }]";
        assert_eq!(
            problems(postgresql, "", sigv4).unwrap_err(),
            [
                "targets[0].credential[1]: `aws_sigv4` makes AWS keys that sign each request, and a target of kind `postgresql` takes one of: \
              a password, a token, a client certificate"
            ]
        );
        for (kind, steps) in [(redshift, "[{ kind: snowflake_oauth }]"), (trino, "[{ kind: snowflake_workload_identity }]"), (trino, sigv4)]
        {
            let said = problems(kind, "", steps).unwrap_err();
            assert!(
                said.len() == 1 && said[0].contains(&format!("a target of {} takes one of", kind.replace(": ", " `") + "`")),
                "{said:?}"
            );
        }
        let tokens_only = "    authentication_methods: [oauthbearer]\n";
        assert_eq!(
            problems(postgresql, tokens_only, password).unwrap_err(),
            ["targets[0].credential[0]: `password_file` makes a password, which none of `authentication_methods` shows"]
        );
        assert_eq!(problems(postgresql, tokens_only, token), Ok(()));
        for (kind, steps) in [(postgresql, password), (postgresql, token), (redshift, token), (trino, password), (trino, token)] {
            assert_eq!(problems(kind, "", steps), Ok(()), "{kind} {steps}");
        }
    }

    #[test]
    fn clients_are_let_in_only_by_ways_that_go_with_the_address() {
        let listener = |lines: &str| changed("address: 127.0.0.1:15432\n", lines);
        assert_eq!(
            listener("address: /run/t/s\n    authentication: { mode: peer, uids: [] }\n"),
            ["listeners[0].authentication: `peer` with no `uids` would let nobody in"]
        );
        assert_eq!(
            listener("address: 127.0.0.1:15432\n    authentication: { mode: peer, uids: [1] }\n"),
            ["listeners[0].authentication: `peer` needs a Unix-domain socket as the address"]
        );
        assert_eq!(
            listener("address: 0.0.0.0:15432\n    authentication: { mode: certificate }\n"),
            ["listeners[0].authentication: `certificate` needs `tls` with `mode: require` and `client_ca`"]
        );
        for local in ["address: /run/t/s\n", "address: /run/t/s\n    authentication: { mode: peer, uids: [1] }\n"] {
            let minimal = include_str!("../config/minimal.yaml").replace("address: 127.0.0.1:15432\n", local);
            assert!(Config::parse("c.yaml", &minimal, &|_| None).is_ok(), "{local}");
        }
    }

    /// The minimal configuration whose listener takes the clients' own tokens, with one place changed.
    fn with_tokens(from: &str, to: &str) -> Result<(), Vec<String>> {
        let clients = "identities:\n  - { kind: oidc, name: clients, issuer: \"https://id.example\", audience: tollhouse }\n";
        let text = include_str!("../config/minimal.yaml")
            .replace("identities:\n", clients)
            .replace("address: 127.0.0.1:15432\n", "address: 127.0.0.1:15432\n    authentication: { mode: token, identity: clients }\n");
        assert!(text.contains(from), "{from}");
        let problems = Config::parse("c.yaml", &text.replace(from, to), &|_| None).map(|_| ());
        problems.map_err(|problems| problems.into_iter().map(|it| format!("{}: {}", it.path, it.message)).collect())
    }

    #[test]
    fn clients_show_tokens_only_where_nobody_listens_and_to_an_identity_that_is_not_the_workloads() {
        assert_eq!(with_tokens("kind: postgresql", "kind: postgresql"), Ok(()));
        let path = "listeners[0].authentication";
        for (from, to, problem) in [
            ("address: 127.0.0.1:15432", "address: 0.0.0.0:15432", format!("{path}: `token` shows the token in clear")),
            ("identity: clients", "identity: pod", format!("{path}.identity: `pod` has a token of the workload")),
            ("identity: clients", "identity: client", format!("{path}.identity: unknown identity `client`; did you mean `clients`?")),
            ("kind: postgresql", "kind: postgresql\n    identity: clients", "targets[0].identity: `clients` proves nothing".to_owned()),
            ("audience: tollhouse }", "audience: tollhouse, labels: { tollhouse.dev/subject: x } }", "identities[0]: the label".to_owned()),
        ] {
            let problems = with_tokens(from, to).unwrap_err();
            assert_eq!(problems.len(), 1, "{problems:?}");
            assert!(problems[0].starts_with(&problem), "{problems:?}");
        }
    }

    #[test]
    fn a_certificate_is_shown_as_it_is_and_a_token_is_not_shown_as_one() {
        let step = "{ kind: client_certificate, url: \"https://ca.example.com/1.0/sign\", common_name: dbt_runner }";
        let minimal = include_str!("../config/minimal.yaml");
        let (before, rest) = minimal.split_once("  - kind: kubernetes\n").unwrap();
        let (_, behind) = rest.split_once("policy:\n").unwrap();
        let spiffe = "  - { kind: spiffe, name: agent, endpoint_socket: \"unix:///run/agent.sock\", svid: x509 }\npolicy:\n";
        let with_certificate = format!("{before}{spiffe}{behind}");
        assert!(Config::parse("c.yaml", &with_certificate.replace(step, "{ kind: x509_svid }"), &|_| None).is_ok());
        let problems = paths_and_messages(&with_certificate);
        assert!(problems[0].starts_with("targets[0].credential: `agent` is a certificate and has no token"), "{problems:?}");
        let problems = changed(step, "{ kind: x509_svid }");
        assert!(problems[0].starts_with("targets[0].credential: `x509_svid` needs an identity of kind `spiffe`"), "{problems:?}");
    }

    #[test]
    fn a_chain_that_makes_no_credential_is_found_at_its_step() {
        let exchange = "kind: token_exchange, token_endpoint: \"https://sts.example.com/token\" }";
        let problems = changed("kind: client_certificate, url: \"https://ca.example.com/1.0/sign\", common_name: dbt_runner }", exchange);
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].starts_with("targets[0].credential[0]: the last step must make a credential"), "{problems:?}");
    }

    #[test]
    fn introspection_must_stay_on_loopback() {
        let problems = changed("audit:\n", "admin: { loopback_address: \"0.0.0.0:15021\" }\naudit:\n");
        assert_eq!(problems, ["admin.loopback_address: must be a loopback address: it shows configuration and stops the program"]);
    }

    #[test]
    fn free_form_fields_are_not_shown() {
        let text = include_str!("../config/minimal.yaml").replace(
            "    credential:\n",
            "    credential:\n      - { kind: token_exchange, token_endpoint: \"https://sts.example.com/token\", extra: { pin: hunter2 } }\n",
        );
        let config = Config::parse("c.yaml", &text, &|_| None).unwrap();
        assert!(config.redacted().contains("(redacted)"));
        assert!(!config.redacted().contains("hunter2"));
    }
}
