//! What WarehousePolicy and CiliumNetworkPolicy write alike: selectors, hosts, ports and HTTP rules.

use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What Kubernetes keeps about every object; name and namespace count, the rest decides nothing.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Metadata {
    /// Unique within the namespace.
    #[schemars(length(min = 1, max = 253))]
    pub(super) name: String,
    /// The namespace whose workloads the policy selects, if it belongs to one (`default` where left out).
    #[schemars(length(min = 1, max = 63))]
    pub(super) namespace: Option<String>,
    #[serde(default, rename = "labels", skip_serializing)]
    pub(super) _labels: BTreeMap<String, String>,
    #[serde(default, rename = "annotations", skip_serializing)]
    pub(super) _annotations: BTreeMap<String, String>,
    #[serde(rename = "uid", skip_serializing)]
    pub(super) _uid: Option<String>,
    #[serde(rename = "resourceVersion", skip_serializing)]
    pub(super) _resource_version: Option<String>,
    #[serde(rename = "generation", skip_serializing)]
    pub(super) _generation: Option<u64>,
    #[serde(rename = "creationTimestamp", skip_serializing)]
    pub(super) _creation_timestamp: Option<String>,
    #[serde(rename = "managedFields", skip_serializing)]
    pub(super) _managed_fields: Option<Vec<serde_json::Value>>,
    #[serde(rename = "ownerReferences", skip_serializing)]
    pub(super) _owner_references: Option<Vec<serde_json::Value>>,
    #[serde(rename = "finalizers", skip_serializing)]
    pub(super) _finalizers: Option<Vec<String>>,
}

/// Labels that must be there; all of them must match.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct EndpointSelector {
    /// Labels and their exact values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) match_labels: BTreeMap<String, String>,
    /// Conditions on single labels.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) match_expressions: Vec<MatchExpression>,
}

/// A condition on one label.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct MatchExpression {
    /// The label's key, with or without `any:` or `k8s:`.
    pub(super) key: String,
    /// What must hold of it.
    pub(super) operator: Operator,
    /// For `In` and `NotIn`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) values: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(super) enum Operator {
    In,
    NotIn,
    Exists,
    DoesNotExist,
}

/// Exactly one of the two keys.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct FqdnSelector {
    /// The whole name.
    #[schemars(length(min = 1, max = 255))]
    pub(super) match_name: Option<String>,
    /// A name where `*` stands for any part of one label, and a leading `**.` for one or more labels.
    #[schemars(length(min = 1, max = 255))]
    pub(super) match_pattern: Option<String>,
}

/// A block of addresses, or the name of a group of them.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct CidrRule {
    /// `10.0.0.0/8`; a single address is written with its whole prefix.
    pub(super) cidr: Option<String>,
    /// Blocks within `cidr` that are left out.
    #[serde(default)]
    pub(super) except: Vec<String>,
    /// A CiliumCIDRGroup; known to Cilium alone.
    pub(super) cidr_group_ref: Option<String>,
    /// CiliumCIDRGroups by their labels; known to Cilium alone.
    pub(super) cidr_group_selector: Option<EndpointSelector>,
}

/// A port, a range of ports or the name of one.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct PortProtocol {
    /// The port, or the first of a range.
    pub(super) port: Port,
    /// The last port of a range.
    pub(super) end_port: Option<u16>,
    /// What is carried there; any of TCP, UDP and SCTP where left out.
    pub(super) protocol: Option<Protocol>,
}

/// Which protocol a port rule is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum Protocol {
    Any,
    Tcp,
    Udp,
    Sctp,
    Icmp,
    Icmpv6,
    Vrrp,
    Igmp,
}

/// A port as a number or, as Cilium writes it, a string.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Port {
    /// 0 is every port.
    Number(u16),
    /// A name that the pod behind the address gives to one of its ports.
    Named(String),
}

impl Port {
    /// A number without leading zeros, which Cilium reads as octal; or an IANA service name (RFC 6335, section 5.1).
    fn parse(text: &str) -> Option<Self> {
        if text.bytes().all(|b| b.is_ascii_digit()) {
            return text.parse().ok().filter(|port: &u16| port.to_string() == text).map(Self::Number);
        }
        let fits = text.len() <= 15 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        let hyphens = !text.starts_with('-') && !text.ends_with('-') && !text.contains("--");
        let is_name = fits && hyphens && text.bytes().any(|b| b.is_ascii_alphabetic());
        is_name.then(|| Self::Named(text.to_ascii_lowercase()))
    }
}

impl Serialize for Port {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Number(port) => serializer.serialize_u16(*port),
            Self::Named(name) => serializer.serialize_str(name),
        }
    }
}

impl<'de> Deserialize<'de> for Port {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Number(u16),
            Text(String),
        }
        let port = match Written::deserialize(deserializer)? {
            Written::Number(port) => Some(Self::Number(port)),
            Written::Text(text) => Self::parse(&text),
        };
        port.ok_or_else(|| serde::de::Error::custom("expected a port from 0 to 65535, or the name of one"))
    }
}

impl JsonSchema for Port {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Port".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        const NUMBER_OR_NAME: &str = "^(0|[1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]|([0-9]+-?)*[a-zA-Z](-?[a-zA-Z0-9])*)$";
        json_schema!({
            "anyOf": [
                { "type": "integer", "minimum": 0, "maximum": 65535 },
                { "type": "string", "maxLength": 15, "pattern": NUMBER_OR_NAME, "x-expected": "a port from 0 to 65535, or the name of one" },
            ]
        })
    }
}

/// Requests that are let through: every key given must match, and no keys match every request.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct HttpRule {
    /// A regular expression (RE2) on the whole path, query string included.
    pub(super) path: Option<String>,
    /// A regular expression on the whole method; case counts.
    pub(super) method: Option<String>,
    /// A regular expression on the whole host, port included where the request names one.
    pub(super) host: Option<String>,
    /// `Name: value`, or `Name` for a header that must be there with whatever value.
    #[serde(default)]
    pub(super) headers: Vec<String>,
    /// Headers, and what becomes of a request that does not have them.
    #[serde(default)]
    pub(super) header_matches: Vec<HeaderMatch>,
}

/// A header that a request should have.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct HeaderMatch {
    /// The header; case does not count.
    #[schemars(length(min = 1))]
    pub(super) name: String,
    /// Its whole value; any where left out or empty.
    pub(super) value: Option<String>,
    /// A Kubernetes secret with the value. Secrets are not read here, so such a condition never holds.
    pub(super) secret: Option<SecretReference>,
    /// What to do where the header does not match; where left out, the rule does not match either.
    pub(super) mismatch: Option<MismatchAction>,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SecretReference {
    /// Where the secret lies.
    pub(super) namespace: Option<String>,
    /// Its name.
    pub(super) name: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum MismatchAction {
    Log,
    Add,
    Delete,
    Replace,
}
