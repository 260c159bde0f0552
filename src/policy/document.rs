//! WarehousePolicy and ClusterWarehousePolicy as they are written, in the grammar of a CiliumNetworkPolicy.
//!
//! Every key here is honoured; a key that is not here is a problem and never ignored. A list inside a SQL entry or a
//! `toPorts` must not be empty: left out it means "any", and an empty one would be read both ways.

use std::borrow::Cow;
use std::sync::Arc;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize};

use super::Mode;
use super::grammar::{CidrRule, EndpointSelector, FqdnSelector, HttpRule, Metadata, PortProtocol};

/// One policy document.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schemars(title = "WarehousePolicy")]
pub(super) struct WarehousePolicy {
    /// The version of the grammar.
    pub(super) api_version: ApiVersion,
    /// Whether the policy belongs to a namespace.
    pub(super) kind: Kind,
    /// Its name and place.
    pub(super) metadata: Metadata,
    /// Whom it selects and what they may do.
    pub(super) spec: Spec,
}

impl WarehousePolicy {
    /// `namespace/name`, or `name` of a cluster-wide one.
    pub(super) fn name(&self) -> Arc<str> {
        let Metadata { name, namespace, .. } = &self.metadata;
        match self.kind {
            Kind::WarehousePolicy => format!("{}/{name}", namespace.as_deref().unwrap_or("default")).into(),
            Kind::ClusterWarehousePolicy => name.as_str().into(),
        }
    }
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema)]
pub(super) enum ApiVersion {
    #[serde(rename = "tollhouse.dev/v1alpha1")]
    V1Alpha1,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(super) enum Kind {
    WarehousePolicy,
    ClusterWarehousePolicy,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Spec {
    /// For the reader; decides nothing.
    #[serde(rename = "description", skip_serializing)]
    pub(super) _description: Option<String>,
    /// `observe` lets pass what this policy alone would forbid, and records it.
    #[serde(default)]
    pub(super) mode: Mode,
    /// The workloads that the policy is about; `{}` is all of its namespace.
    pub(super) endpoint_selector: EndpointSelector,
    /// What they may do. What no rule allows is denied, and so is everything for a workload that no policy selects.
    /// (Without a policy Cilium allows.)
    #[serde(default)]
    pub(super) egress: Vec<Egress>,
    /// What they must not do, whatever else allows it.
    #[serde(default)]
    pub(super) egress_deny: Vec<Egress>,
}

/// Hosts, ports and statements that belong together.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Egress {
    /// The hosts of the warehouse, as the target's configuration names them; any host where left out, none where empty.
    /// (Cilium reads an empty list as any host.)
    #[serde(rename = "toFQDNs")]
    pub(super) to_fqdns: Option<Vec<FqdnSelector>>,
    /// The addresses of the warehouse, where the target is configured by its address. One that is configured by a name is
    /// in no block for `egress`, and in any for `egressDeny`.
    #[serde(rename = "toCIDR")]
    #[schemars(length(min = 1))]
    pub(super) to_cidr: Option<Vec<String>>,
    /// The same, without some addresses.
    #[serde(rename = "toCIDRSet")]
    #[schemars(length(min = 1))]
    pub(super) to_cidr_set: Option<Vec<CidrRule>>,
    /// The ports, and what may be said there; any port where left out.
    #[serde(rename = "toPorts")]
    #[schemars(length(min = 1))]
    pub(super) to_ports: Option<Vec<PortRule>>,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PortRule {
    /// Any port where left out.
    #[schemars(length(min = 1, max = 40))]
    pub(super) ports: Option<Vec<PortProtocol>>,
    /// The names that TLS to the warehouse may be verified for; any where left out.
    #[serde(rename = "serverNames")]
    #[schemars(length(min = 1))]
    pub(super) server_names: Option<Vec<String>>,
    /// Which statements. Where left out, `egress` allows the connection and no statement, `egressDeny` denies all.
    pub(super) rules: Option<Rules>,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Rules {
    /// The statements: one entry must match each effect. `[{}]` matches every statement, `[]` none.
    pub(super) sql: Option<Vec<SqlRule>>,
    /// The requests, at warehouses that speak HTTP: one entry must match. `[{}]` matches every request, `[]` none.
    pub(super) http: Option<Vec<HttpRule>>,
}

/// Effects of statements. Every key given must match, and no keys match every effect,
/// but for replication, which has to be named to be allowed.
///
/// `actions`, `databases`, `schemas`, `tables` and `columns` speak about accesses to objects, `locations` about export and import,
/// `functions` about calls (with `actions` about dropping and granting functions), `opaque`, `roles` and `parameters` each
/// about their own;
/// `databases` goes with all of them. A name whose schema is not certain is allowed only by a pattern for any schema,
/// and denied by every pattern that it could match.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SqlRule {
    /// What is done to an object.
    #[schemars(length(min = 1))]
    pub(super) actions: Option<Vec<ActionWord>>,
    /// Globs on the database.
    #[schemars(length(min = 1))]
    pub(super) databases: Option<Vec<String>>,
    /// Globs on the schema.
    #[schemars(length(min = 1))]
    pub(super) schemas: Option<Vec<String>>,
    /// Globs on `database.schema.table` or `schema.table`; `*` stays within one part.
    #[schemars(length(min = 1))]
    pub(super) tables: Option<Vec<String>>,
    /// Globs on the columns that are written. Goes with `actions` of `insert` and `update` alone: no other statement says
    /// which columns it is about, a `select` least of all. To allow, the statement has to name its columns, and one entry to
    /// match each of them; to deny, one column is enough, and so is a statement that does not name them.
    #[schemars(length(min = 1))]
    pub(super) columns: Option<Vec<String>>,
    /// Globs on the URL of a place outside of the warehouse; `*` stands for any run of characters, slashes too.
    #[schemars(length(min = 1))]
    pub(super) locations: Option<Vec<String>>,
    /// Globs on `schema.name` or `name` of a function that is called.
    #[schemars(length(min = 1))]
    pub(super) functions: Option<Vec<String>>,
    /// Classes of statements that cannot be seen into.
    #[schemars(length(min = 1))]
    pub(super) opaque: Option<Vec<OpaqueWord>>,
    /// Globs on the role of `SET ROLE`, or of the cloud (`IAM_ROLE`); a reset asks for the role of the login.
    #[schemars(length(min = 1))]
    pub(super) roles: Option<Vec<String>>,
    /// Globs on the name of a session parameter; `*` does not cross a dot.
    #[schemars(length(min = 1))]
    pub(super) parameters: Option<Vec<String>>,
    /// Named classes of what dbt does beside its nodes: `dbt-introspection`, the catalog relations that its adapter
    /// reads. Goes with `databases` and `dbt` alone.
    #[schemars(length(min = 1))]
    pub(super) builtin: Option<Vec<BuiltinWord>>,
    /// Only for these of dbt's statements. Goes with all other keys, under `egress` alone: who wants to get around a deny
    /// rule would claim another node.
    pub(super) dbt: Option<DbtRule>,
}

/// What dbt must say about a statement in its query comment. Every key given must match.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct DbtRule {
    /// Globs on the node's unique id, as `model.shop.orders`; `*` does not cross a dot.
    #[schemars(length(min = 1))]
    pub(super) nodes: Option<Vec<String>>,
    /// Globs on the name of dbt's target.
    #[schemars(length(min = 1))]
    pub(super) targets: Option<Vec<String>>,
    /// The statement is for no node: dbt lists relations, makes schemas, runs `on-run-start` hooks.
    #[serde(default)]
    pub(super) without_node: bool,
    /// The statement fits the node by the manifest that `dbt.manifest` of the configuration names; otherwise the node is
    /// only what the client says.
    #[serde(default)]
    pub(super) verified: bool,
}

/// A word of the policy vocabulary that `sql` defines: read from its `ALL`, so that a new word needs no change here.
macro_rules! vocabulary {
    ($name:ident, $type:ty) => {
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(super) struct $name(pub(super) $type);

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.0.as_str())
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let typed = Cow::<'de, str>::deserialize(deserializer)?;
                let word = <$type>::ALL.iter().copied().find(|word| word.as_str() == typed);
                word.map(Self).ok_or_else(|| serde::de::Error::custom("expected a word of the policy vocabulary"))
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                let words: Vec<&str> = <$type>::ALL.iter().map(|word| word.as_str()).collect();
                json_schema!({ "type": "string", "enum": words })
            }
        }
    };
}

vocabulary!(ActionWord, crate::sql::Action);
vocabulary!(OpaqueWord, crate::sql::OpaqueClass);
vocabulary!(BuiltinWord, super::builtin::Builtin);
