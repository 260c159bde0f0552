//! CiliumNetworkPolicy and CiliumClusterwideNetworkPolicy as they are written (cilium.io/v2, as of Cilium 1.20).
//!
//! Every key of the grammar is here. Those that a sidecar cannot judge say so; a key that is not here is a problem.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::policy::grammar::{CidrRule, EndpointSelector, FqdnSelector, HttpRule, Metadata, PortProtocol, SecretReference};
use crate::policy::peer::Entity;

/// One policy document.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schemars(title = "CiliumNetworkPolicy")]
pub(in crate::policy) struct CiliumPolicy {
    /// The version of the grammar.
    pub(super) api_version: ApiVersion,
    /// Whether the policy belongs to a namespace.
    pub(super) kind: Kind,
    /// Its name and place.
    pub(super) metadata: Metadata,
    /// One rule.
    pub(super) spec: Option<Rule>,
    /// Several.
    pub(super) specs: Option<Vec<Rule>>,
    /// Written by Cilium; decides nothing.
    #[serde(rename = "status", skip_serializing)]
    pub(super) _status: Option<Value>,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema)]
pub(super) enum ApiVersion {
    #[serde(rename = "cilium.io/v2")]
    V2,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(super) enum Kind {
    CiliumNetworkPolicy,
    CiliumClusterwideNetworkPolicy,
}

/// Whom a rule selects, and what they may reach.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Rule {
    /// The pods that the rule is about; `{}` is all of its namespace.
    pub(super) endpoint_selector: Option<EndpointSelector>,
    /// The nodes that the rule is about. A workload is no node, so such a rule decides nothing here.
    pub(super) node_selector: Option<EndpointSelector>,
    /// What reaches the pods; decides nothing here, where connections only leave.
    pub(super) ingress: Option<Vec<Value>>,
    /// What must not reach the pods; decides nothing here.
    pub(super) ingress_deny: Option<Vec<Value>>,
    /// What the pods may reach.
    pub(super) egress: Option<Vec<Egress>>,
    /// What they must not reach, whatever else allows it.
    pub(super) egress_deny: Option<Vec<EgressDeny>>,
    /// Whether the rule closes what it does not allow; it does where it has rules of that direction.
    pub(super) enable_default_deny: Option<DefaultDeny>,
    /// For the reader; decides nothing.
    #[serde(rename = "labels", skip_serializing)]
    pub(super) _labels: Option<Vec<Value>>,
    /// For the reader; decides nothing.
    #[serde(rename = "description", skip_serializing)]
    pub(super) _description: Option<String>,
    /// What Cilium writes into its flows; decides nothing.
    #[serde(rename = "log", skip_serializing)]
    pub(super) _log: Option<Value>,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct DefaultDeny {
    #[serde(rename = "ingress", skip_serializing)]
    pub(super) _ingress: Option<bool>,
    pub(super) egress: Option<bool>,
}

/// Peers of one kind, ports, and what may be said there.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Egress {
    /// Pods by their labels; of an empty list nobody.
    #[serde(rename = "toEndpoints")]
    pub(super) to_endpoints: Option<Vec<EndpointSelector>>,
    /// Gone from Cilium; only an empty list is read.
    #[serde(rename = "toRequires")]
    #[schemars(length(max = 0))]
    pub(super) to_requires: Option<Vec<EndpointSelector>>,
    /// Addresses outside the cluster; of an empty list nobody.
    #[serde(rename = "toCIDR")]
    pub(super) to_cidr: Option<Vec<String>>,
    /// Addresses outside the cluster, without some; of an empty list nobody.
    #[serde(rename = "toCIDRSet")]
    pub(super) to_cidr_set: Option<Vec<CidrRule>>,
    /// Classes of endpoints; of an empty list nobody.
    #[serde(rename = "toEntities")]
    pub(super) to_entities: Option<Vec<Entity>>,
    /// Services of Kubernetes.
    #[serde(rename = "toServices")]
    pub(super) to_services: Option<Vec<Service>>,
    /// Groups of a cloud provider; which addresses those are, only Cilium knows.
    #[serde(rename = "toGroups")]
    pub(super) to_groups: Option<Vec<Value>>,
    /// Nodes by their labels; of an empty list nobody. No target is a node.
    #[serde(rename = "toNodes")]
    pub(super) to_nodes: Option<Vec<EndpointSelector>>,
    /// Names outside the cluster; Cilium reads an empty list as if it were not there, which is everybody.
    #[serde(rename = "toFQDNs")]
    pub(super) to_fqdns: Option<Vec<FqdnSelector>>,
    /// Ports, and what may be said there.
    #[serde(rename = "toPorts")]
    pub(super) to_ports: Option<Vec<PortRule>>,
    /// ICMP; no connection to a warehouse.
    pub(super) icmps: Option<Vec<Value>>,
    /// Authentication of pods to pods, by Cilium.
    pub(super) authentication: Option<Authentication>,
}

/// As [`Egress`], without what a denial cannot have.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct EgressDeny {
    /// As in `egress`.
    #[serde(rename = "toEndpoints")]
    pub(super) to_endpoints: Option<Vec<EndpointSelector>>,
    /// Gone from Cilium; only an empty list is read.
    #[serde(rename = "toRequires")]
    #[schemars(length(max = 0))]
    pub(super) to_requires: Option<Vec<EndpointSelector>>,
    /// As in `egress`.
    #[serde(rename = "toCIDR")]
    pub(super) to_cidr: Option<Vec<String>>,
    /// As in `egress`.
    #[serde(rename = "toCIDRSet")]
    pub(super) to_cidr_set: Option<Vec<CidrRule>>,
    /// As in `egress`.
    #[serde(rename = "toEntities")]
    pub(super) to_entities: Option<Vec<Entity>>,
    /// As in `egress`.
    #[serde(rename = "toServices")]
    pub(super) to_services: Option<Vec<Service>>,
    /// As in `egress`.
    #[serde(rename = "toGroups")]
    pub(super) to_groups: Option<Vec<Value>>,
    /// As in `egress`.
    #[serde(rename = "toNodes")]
    pub(super) to_nodes: Option<Vec<EndpointSelector>>,
    /// Ports.
    #[serde(rename = "toPorts")]
    pub(super) to_ports: Option<Vec<PortDenyRule>>,
    /// As in `egress`.
    pub(super) icmps: Option<Vec<Value>>,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Service {
    /// By name.
    pub(super) k8s_service: Option<NamedService>,
    /// By labels.
    pub(super) k8s_service_selector: Option<SelectedService>,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct NamedService {
    pub(super) service_name: String,
    pub(super) namespace: Option<String>,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SelectedService {
    pub(super) selector: EndpointSelector,
    pub(super) namespace: Option<String>,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PortRule {
    /// Where; Cilium reads a rule without ports as one for no port at all.
    #[schemars(length(max = 40))]
    pub(super) ports: Option<Vec<PortProtocol>>,
    /// TLS that ends at Cilium's proxy.
    #[serde(rename = "terminatingTLS")]
    pub(super) terminating_tls: Option<TlsContext>,
    /// TLS that Cilium's proxy begins.
    #[serde(rename = "originatingTLS")]
    pub(super) originating_tls: Option<TlsContext>,
    /// Names that TLS may ask for (SNI); a connection without one matches none.
    #[serde(rename = "serverNames")]
    #[schemars(length(min = 1))]
    pub(super) server_names: Option<Vec<String>>,
    /// A listener of Cilium's proxy; what it does is not known here.
    pub(super) listener: Option<Listener>,
    /// What may be said there.
    pub(super) rules: Option<L7Rules>,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PortDenyRule {
    /// Where.
    #[schemars(length(max = 40))]
    pub(super) ports: Option<Vec<PortProtocol>>,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct TlsContext {
    pub(super) secret: SecretReference,
    #[serde(rename = "trustedCA")]
    pub(super) trusted_ca: Option<String>,
    pub(super) certificate: Option<String>,
    pub(super) private_key: Option<String>,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Listener {
    pub(super) envoy_config: EnvoyConfig,
    pub(super) name: String,
    #[schemars(range(min = 1, max = 100))]
    pub(super) priority: Option<u8>,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct EnvoyConfig {
    pub(super) kind: Option<String>,
    pub(super) name: String,
}

/// One of `http` and `dns`.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct L7Rules {
    /// Requests; of an empty list, whatever is said.
    pub(super) http: Option<Vec<HttpRule>>,
    /// Names that may be looked up.
    pub(super) dns: Option<Vec<FqdnSelector>>,
    /// Gone from Cilium.
    pub(super) kafka: Option<Value>,
    /// Gone from Cilium.
    pub(super) l7proto: Option<Value>,
    /// Gone from Cilium.
    pub(super) l7: Option<Value>,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Authentication {
    pub(super) mode: AuthenticationMode,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum AuthenticationMode {
    Disabled,
    Required,
    TestAlwaysFail,
}
