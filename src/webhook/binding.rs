//! WarehouseBinding: which warehouses the pods of a service account get, as whom, and by which exchange.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::document::{nearest, schema};
use crate::policy::crd::{Kind, Scope};
use crate::warehouse;

/// The group and version of the kind.
pub const API_VERSION: &str = "tollhouse.dev/v1alpha1";
/// The kind.
pub const KIND: &str = "WarehouseBinding";
/// The port of the first target on loopback, where a binding names none; each further target gets the next.
const FIRST_PORT: u16 = 15432;

/// What must hold between the keys of a binding.
const RULES: &[(&str, &str, &str)] = &[
    (
        "BindingSpec",
        "self.identities.size() == 1 || self.targets.all(target, has(target.identity))",
        "where there are several identities, each target says which",
    ),
    (
        "BindingSpec",
        "!has(self.files) || self.files.all(name, name.matches('^[-._a-zA-Z0-9]+$') && !(name in ['tollhouse.yaml', 'policy.yaml', 'policy']))",
        "expected names of files, other than tollhouse.yaml, policy.yaml and policy",
    ),
    ("BindingAudit", "!(has(self.claim) && has(self.size))", "a claim has a size of its own"),
];

/// The CustomResourceDefinition, by the name of its file.
pub fn definition() -> (String, Value) {
    let kind = Kind {
        name: KIND,
        plural: "warehousebindings",
        short: "whb",
        scope: Scope::Namespaced,
        description: "Which warehouses the pods of a service account get, as whom, and by which exchange.",
        spec: "BindingSpec",
        column: ("Accounts", ".spec.serviceAccounts"),
        rules: RULES,
    };
    kind.definition(&schema::<Whole>())
}

/// What the schema is made of.
#[derive(JsonSchema)]
struct Whole {
    #[expect(dead_code, reason = "only its type counts")]
    spec: Spec,
}

/// A WarehouseBinding object.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WarehouseBinding {
    /// The version of the kind.
    pub api_version: String,
    /// `WarehouseBinding`.
    pub kind: String,
    /// Its name and place.
    pub metadata: Metadata,
    /// What it gives.
    pub spec: Spec,
}

/// What counts of what Kubernetes keeps about every object.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Metadata {
    /// Unique within the namespace.
    pub name: String,
    /// Its namespace; `default` where none is written.
    #[serde(default = "Metadata::default_namespace")]
    pub namespace: String,
    /// Counts the changes of its `spec`.
    #[serde(default)]
    pub generation: i64,
}

impl Metadata {
    fn default_namespace() -> String {
        "default".to_owned()
    }
}

/// What a binding gives, and to whom.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schemars(rename = "BindingSpec")]
pub struct Spec {
    /// For the reader; decides nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Service accounts of the namespace whose pods get this binding without naming it. Two bindings must not share one.
    #[serde(default)]
    #[schemars(length(max = 64))]
    pub service_accounts: Vec<String>,
    /// The tokens that prove who the pod is: one is projected for each audience, and mounted in the sidecar alone.
    #[schemars(length(min = 1, max = 8))]
    pub identities: Vec<Identity>,
    /// The warehouses, each at a port of its own on the pod's loopback. The first is what `PGHOST` and `DBT_HOST` lead to.
    #[schemars(length(min = 1, max = 16))]
    pub targets: Vec<Target>,
    /// Files that lie beside the sidecar's configuration in /etc/tollhouse, such as a warehouse's certificate authority. Never a secret:
    /// they are kept in a ConfigMap.
    #[serde(default)]
    #[schemars(extend("maxProperties" = 16))]
    pub files: BTreeMap<String, String>,
    /// Where the audit log lies.
    #[serde(default)]
    pub audit: Audit,
    /// Further sections of the sidecar's configuration, as config/tollhouse.yaml has them: `limits`, `log`, `shutdown`, `dbt`.
    #[serde(default)]
    pub settings: BTreeMap<String, Value>,
}

/// A token of the pod's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schemars(rename = "BindingIdentity")]
pub struct Identity {
    /// What targets call it by.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
    /// Whom the token is for.
    #[schemars(length(min = 1, max = 253))]
    pub audience: String,
    /// `iss` of the cluster's tokens; what the controller is told where absent.
    #[serde(default)]
    pub issuer: Option<String>,
    /// Further settings of an identity of kind `kubernetes`: `jwks_uri`, `discovery_uri`, `algorithms`, `tls`.
    #[serde(default)]
    pub settings: BTreeMap<String, Value>,
}

/// A warehouse.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schemars(rename = "BindingTarget")]
pub struct Target {
    /// Its name in records and metrics, and in `DBT_<NAME>_HOST`.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
    /// The kind of warehouse.
    #[schemars(length(min = 1, max = 63))]
    pub kind: String,
    /// DNS name or address.
    #[schemars(length(min = 1, max = 253))]
    pub host: String,
    /// The port; the kind's usual one where absent.
    #[serde(default)]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<u16>,
    /// The role that sessions log in as.
    #[schemars(length(min = 1, max = 253))]
    pub role: String,
    /// The identity that is exchanged; the only one there is where absent.
    #[serde(default)]
    pub identity: Option<String>,
    /// The steps from the identity's token to a credential, as config/credentials.yaml has them.
    #[schemars(length(min = 1, max = 16))]
    pub credential: Vec<BTreeMap<String, Value>>,
    /// The port on loopback; 15432 for the first target where absent, and the next for each after it.
    #[serde(default)]
    #[schemars(range(min = 1024, max = 65535))]
    pub listen: Option<u16>,
    /// Further settings of a target: `tls`, `login_parameters`, `authentication_methods`.
    #[serde(default)]
    pub settings: BTreeMap<String, Value>,
}

/// Where the audit log lies.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schemars(rename = "BindingAudit")]
pub struct Audit {
    /// A PersistentVolumeClaim, which outlives the pod. Without one the log lives in an `emptyDir` and ends with the pod: ship it, or
    /// lose it.
    #[serde(default)]
    pub claim: Option<String>,
    /// The most that an `emptyDir` may hold (`1Gi`); at the bound the kubelet ends the pod. The webhook's setting where absent.
    #[serde(default)]
    pub size: Option<String>,
}

impl WarehouseBinding {
    /// Reads an object.
    ///
    /// # Errors
    /// What is wrong with it, in a sentence.
    pub fn parse(object: Value) -> Result<Self, String> {
        let binding: Self = serde_json::from_value(object).map_err(|error| format!("not a {KIND}: {error}"))?;
        if binding.api_version != API_VERSION || binding.kind != KIND {
            return Err(format!("expected kind {KIND} of {API_VERSION}, found {} of {}", binding.kind, binding.api_version));
        }
        Ok(binding)
    }

    /// The ConfigMap with the sidecar's configuration and policies.
    pub fn config_map(&self) -> String {
        format!("tollhouse-{}", self.metadata.name)
    }

    /// Each target with its port on loopback.
    pub fn listeners(&self) -> impl Iterator<Item = (&Target, u16)> {
        let usual = (FIRST_PORT..).take(self.spec.targets.len());
        self.spec.targets.iter().zip(usual).map(|(target, usual)| (target, target.listen.unwrap_or(usual)))
    }

    /// Each audience once, with the name of its token's file.
    pub fn token_files(&self) -> BTreeMap<&str, String> {
        self.spec.identities.iter().map(|identity| (identity.audience.as_str(), file_name(&identity.audience))).collect()
    }

    /// The ports where the warehouses listen; a target of an unknown kind without a port has none.
    pub fn warehouse_ports(&self) -> BTreeSet<u16> {
        let port = |target: &Target| target.port.or_else(|| Some(warehouse::kind(&target.kind)?.default_port));
        self.spec.targets.iter().filter_map(port).collect()
    }
}

/// An audience as the name of a file: what is not a letter, a digit, `.`, `_` or `-` becomes `-`.
pub fn file_name(audience: &str) -> String {
    let plain = |letter: char| if letter.is_ascii_alphanumeric() || "._-".contains(letter) { letter } else { '-' };
    audience.chars().map(plain).collect::<String>().trim_start_matches('.').to_owned()
}

/// Which binding a pod gets.
#[derive(Debug, Clone, PartialEq)]
pub enum Selected<'b> {
    /// This one.
    One(&'b WarehouseBinding),
    /// None has its service account, and it names none.
    None,
    /// It names one that is not there: which, and the nearest that is.
    Missing(String, Option<String>),
    /// Several have its service account: their names.
    Several(Vec<String>),
}

/// Selects among the bindings of the pod's namespace: by the name that the pod writes, or by its service account.
pub fn select<'b>(bindings: &'b [WarehouseBinding], named: Option<&str>, service_account: &str) -> Selected<'b> {
    if let Some(name) = named {
        return match bindings.iter().find(|binding| binding.metadata.name == name) {
            Some(binding) => Selected::One(binding),
            None => {
                let near = nearest(name, bindings.iter().map(|binding| binding.metadata.name.as_str()));
                Selected::Missing(name.to_owned(), near.map(ToOwned::to_owned))
            }
        };
    }
    let has = |binding: &&WarehouseBinding| binding.spec.service_accounts.iter().any(|account| account == service_account);
    let found: Vec<_> = bindings.iter().filter(has).collect();
    match found.as_slice() {
        [] => Selected::None,
        [one] => Selected::One(one),
        several => Selected::Several(several.iter().map(|binding| binding.metadata.name.clone()).collect()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Selected, WarehouseBinding, definition, file_name, select};
    use crate::golden::expect_file;

    #[test]
    fn the_published_definition_is_current() {
        let (file, definition) = definition();
        let text = serde_saphyr::to_string(&definition).unwrap();
        expect_file(&format!("deploy/kubernetes/crd/{file}"), &format!("# Generated from src/webhook/binding.rs (`make schema`).\n{text}"));
    }

    fn binding(name: &str, accounts: &[&str]) -> WarehouseBinding {
        WarehouseBinding::parse(json!({
            "apiVersion": "tollhouse.dev/v1alpha1", "kind": "WarehouseBinding",
            "metadata": { "name": name, "namespace": "dbt" },
            "spec": {
                "serviceAccounts": accounts,
                "identities": [{ "name": "pod", "audience": "https://sts.example/a" }],
                "targets": [
                    { "name": "lake", "kind": "trino", "host": "trino.example", "role": "dbt", "credential": [{ "kind": "token_as_password" }] },
                    { "name": "shop", "kind": "postgresql", "host": "pg.example", "role": "dbt", "listen": 6000, "credential": [{ "kind": "token_as_password" }] },
                    { "name": "old", "kind": "redshift", "host": "rs.example", "port": 5555, "role": "dbt", "credential": [{ "kind": "token_as_password" }] },
                ],
            },
        }))
        .unwrap()
    }

    #[test]
    fn a_binding_is_selected_by_its_name_or_by_the_service_account() {
        let bindings = [binding("analytics", &["dbt", "report"]), binding("finance", &["report", "month-end"])];
        assert!(matches!(select(&bindings, None, "dbt"), Selected::One(one) if one.metadata.name == "analytics"));
        assert!(matches!(select(&bindings, Some("finance"), "dbt"), Selected::One(one) if one.metadata.name == "finance"));
        assert_eq!(select(&bindings, None, "default"), Selected::None);
        assert_eq!(select(&bindings, None, "report"), Selected::Several(vec!["analytics".to_owned(), "finance".to_owned()]));
        assert_eq!(select(&bindings, Some("finace"), "dbt"), Selected::Missing("finace".to_owned(), Some("finance".to_owned())));
    }

    #[test]
    fn ports_are_those_that_are_written_or_the_usual_ones() {
        let binding = binding("b", &[]);
        assert_eq!(
            binding.listeners().map(|(target, port)| (target.name.as_str(), port)).collect::<Vec<_>>(),
            [("lake", 15432), ("shop", 6000), ("old", 15434)]
        );
        assert_eq!(binding.warehouse_ports().into_iter().collect::<Vec<_>>(), [443, 5432, 5555]);
    }

    #[test]
    fn an_audience_becomes_a_plain_file_name() {
        assert_eq!(file_name("https://sts.example/a"), "https---sts.example-a");
        assert_eq!(file_name("../token"), "-token");
    }

    #[test]
    fn a_mistyped_key_of_a_binding_is_refused() {
        let object = json!({ "apiVersion": "tollhouse.dev/v1alpha1", "kind": "WarehouseBinding", "metadata": { "name": "b" },
            "spec": { "identities": [], "targets": [], "serviceAcounts": [] } });
        assert!(WarehouseBinding::parse(object).unwrap_err().contains("unknown field `serviceAcounts`"));
    }
}
