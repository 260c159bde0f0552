//! CiliumNetworkPolicy and CiliumClusterwideNetworkPolicy as they are written (cilium.io/v2, as of Cilium 1.20).
//!
//! Every key of the grammar is here. Those that a sidecar cannot judge say so; a key that is not here is a problem.

use std::sync::Arc;

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
    pub(in crate::policy) api_version: ApiVersion,
    /// Whether the policy belongs to a namespace.
    pub(in crate::policy) kind: Kind,
    /// Its name and place.
    pub(in crate::policy) metadata: Metadata,
    /// One rule.
    pub(in crate::policy) spec: Option<Rule>,
    /// Several.
    pub(in crate::policy) specs: Option<Vec<Rule>>,
    /// Written by Cilium; decides nothing.
    #[serde(rename = "status", skip_serializing)]
    pub(in crate::policy) _status: Option<Value>,
}

impl CiliumPolicy {
    /// `kind namespace/name`, or `kind name` of a cluster-wide one.
    pub(in crate::policy) fn name(&self) -> Arc<str> {
        let Metadata { name, namespace, .. } = &self.metadata;
        match self.kind {
            Kind::CiliumNetworkPolicy => format!("CiliumNetworkPolicy {}/{name}", namespace.as_deref().unwrap_or("default")).into(),
            Kind::CiliumClusterwideNetworkPolicy => format!("CiliumClusterwideNetworkPolicy {name}").into(),
        }
    }
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema)]
pub(in crate::policy) enum ApiVersion {
    #[serde(rename = "cilium.io/v2")]
    V2,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(in crate::policy) enum Kind {
    CiliumNetworkPolicy,
    CiliumClusterwideNetworkPolicy,
}

/// Whom a rule selects, and what they may reach.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(in crate::policy) struct Rule {
    /// The pods that the rule is about; `{}` is all of its namespace.
    pub(in crate::policy) endpoint_selector: Option<EndpointSelector>,
    /// The nodes that the rule is about. A workload is no node, so such a rule decides nothing here.
    pub(in crate::policy) node_selector: Option<EndpointSelector>,
    /// What reaches the pods; decides nothing here, where connections only leave.
    pub(in crate::policy) ingress: Option<Vec<Value>>,
    /// What must not reach the pods; decides nothing here.
    pub(in crate::policy) ingress_deny: Option<Vec<Value>>,
    /// What the pods may reach.
    pub(in crate::policy) egress: Option<Vec<Egress>>,
    /// What they must not reach, whatever else allows it.
    pub(in crate::policy) egress_deny: Option<Vec<EgressDeny>>,
    /// Whether the rule closes what it does not allow; it does where it has rules of that direction.
    pub(in crate::policy) enable_default_deny: Option<DefaultDeny>,
    /// For the reader; decides nothing.
    #[serde(rename = "labels", skip_serializing)]
    pub(in crate::policy) _labels: Option<Vec<Value>>,
    /// For the reader; decides nothing.
    #[serde(rename = "description", skip_serializing)]
    pub(in crate::policy) _description: Option<String>,
    /// What Cilium writes into its flows; decides nothing.
    #[serde(rename = "log", skip_serializing)]
    pub(in crate::policy) _log: Option<Value>,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::policy) struct DefaultDeny {
    #[serde(rename = "ingress", skip_serializing)]
    pub(in crate::policy) _ingress: Option<bool>,
    pub(in crate::policy) egress: Option<bool>,
}

/// Peers of one kind, ports, and what may be said there.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::policy) struct Egress {
    /// Pods by their labels; of an empty list nobody.
    #[serde(rename = "toEndpoints")]
    pub(in crate::policy) to_endpoints: Option<Vec<EndpointSelector>>,
    /// Gone from Cilium; only an empty list is read.
    #[serde(rename = "toRequires")]
    #[schemars(length(max = 0))]
    pub(in crate::policy) to_requires: Option<Vec<EndpointSelector>>,
    /// Addresses outside the cluster; of an empty list nobody.
    #[serde(rename = "toCIDR")]
    pub(in crate::policy) to_cidr: Option<Vec<String>>,
    /// Addresses outside the cluster, without some; of an empty list nobody.
    #[serde(rename = "toCIDRSet")]
    pub(in crate::policy) to_cidr_set: Option<Vec<CidrRule>>,
    /// Classes of endpoints; of an empty list nobody.
    #[serde(rename = "toEntities")]
    pub(in crate::policy) to_entities: Option<Vec<Entity>>,
    /// Services of Kubernetes.
    #[serde(rename = "toServices")]
    pub(in crate::policy) to_services: Option<Vec<Service>>,
    /// Groups of a cloud provider; which addresses those are, only Cilium knows.
    #[serde(rename = "toGroups")]
    pub(in crate::policy) to_groups: Option<Vec<Value>>,
    /// Nodes by their labels; of an empty list nobody. No target is a node.
    #[serde(rename = "toNodes")]
    pub(in crate::policy) to_nodes: Option<Vec<EndpointSelector>>,
    /// Names outside the cluster; Cilium reads an empty list as if it were not there, which is everybody.
    #[serde(rename = "toFQDNs")]
    pub(in crate::policy) to_fqdns: Option<Vec<FqdnSelector>>,
    /// Ports, and what may be said there.
    #[serde(rename = "toPorts")]
    pub(in crate::policy) to_ports: Option<Vec<PortRule>>,
    /// ICMP; no connection to a warehouse.
    pub(in crate::policy) icmps: Option<Vec<Value>>,
    /// Authentication of pods to pods, by Cilium.
    pub(in crate::policy) authentication: Option<Authentication>,
}

/// As [`Egress`], without what a denial cannot have.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::policy) struct EgressDeny {
    /// As in `egress`.
    #[serde(rename = "toEndpoints")]
    pub(in crate::policy) to_endpoints: Option<Vec<EndpointSelector>>,
    /// Gone from Cilium; only an empty list is read.
    #[serde(rename = "toRequires")]
    #[schemars(length(max = 0))]
    pub(in crate::policy) to_requires: Option<Vec<EndpointSelector>>,
    /// As in `egress`.
    #[serde(rename = "toCIDR")]
    pub(in crate::policy) to_cidr: Option<Vec<String>>,
    /// As in `egress`.
    #[serde(rename = "toCIDRSet")]
    pub(in crate::policy) to_cidr_set: Option<Vec<CidrRule>>,
    /// As in `egress`.
    #[serde(rename = "toEntities")]
    pub(in crate::policy) to_entities: Option<Vec<Entity>>,
    /// As in `egress`.
    #[serde(rename = "toServices")]
    pub(in crate::policy) to_services: Option<Vec<Service>>,
    /// As in `egress`.
    #[serde(rename = "toGroups")]
    pub(in crate::policy) to_groups: Option<Vec<Value>>,
    /// As in `egress`.
    #[serde(rename = "toNodes")]
    pub(in crate::policy) to_nodes: Option<Vec<EndpointSelector>>,
    /// Ports.
    #[serde(rename = "toPorts")]
    pub(in crate::policy) to_ports: Option<Vec<PortDenyRule>>,
    /// As in `egress`.
    pub(in crate::policy) icmps: Option<Vec<Value>>,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(in crate::policy) struct Service {
    /// By name.
    pub(in crate::policy) k8s_service: Option<NamedService>,
    /// By labels.
    pub(in crate::policy) k8s_service_selector: Option<SelectedService>,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(in crate::policy) struct NamedService {
    pub(in crate::policy) service_name: String,
    pub(in crate::policy) namespace: Option<String>,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::policy) struct SelectedService {
    pub(in crate::policy) selector: EndpointSelector,
    pub(in crate::policy) namespace: Option<String>,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::policy) struct PortRule {
    /// Where; Cilium reads a rule without ports as one for no port at all.
    #[schemars(length(max = 40))]
    pub(in crate::policy) ports: Option<Vec<PortProtocol>>,
    /// TLS that ends at Cilium's proxy.
    #[serde(rename = "terminatingTLS")]
    pub(in crate::policy) terminating_tls: Option<TlsContext>,
    /// TLS that Cilium's proxy begins.
    #[serde(rename = "originatingTLS")]
    pub(in crate::policy) originating_tls: Option<TlsContext>,
    /// Names that TLS may ask for (SNI); a connection without one matches none.
    #[serde(rename = "serverNames")]
    #[schemars(length(min = 1))]
    pub(in crate::policy) server_names: Option<Vec<String>>,
    /// A listener of Cilium's proxy; what it does is not known here.
    pub(in crate::policy) listener: Option<Listener>,
    /// What may be said there.
    pub(in crate::policy) rules: Option<L7Rules>,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::policy) struct PortDenyRule {
    /// Where.
    #[schemars(length(max = 40))]
    pub(in crate::policy) ports: Option<Vec<PortProtocol>>,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(in crate::policy) struct TlsContext {
    pub(in crate::policy) secret: SecretReference,
    #[serde(rename = "trustedCA")]
    pub(in crate::policy) trusted_ca: Option<String>,
    pub(in crate::policy) certificate: Option<String>,
    pub(in crate::policy) private_key: Option<String>,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(in crate::policy) struct Listener {
    pub(in crate::policy) envoy_config: EnvoyConfig,
    pub(in crate::policy) name: String,
    #[schemars(range(min = 1, max = 100))]
    pub(in crate::policy) priority: Option<u8>,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::policy) struct EnvoyConfig {
    pub(in crate::policy) kind: Option<String>,
    pub(in crate::policy) name: String,
}

/// One of `http` and `dns`.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::policy) struct L7Rules {
    /// Requests; of an empty list, whatever is said.
    pub(in crate::policy) http: Option<Vec<HttpRule>>,
    /// Names that may be looked up.
    pub(in crate::policy) dns: Option<Vec<FqdnSelector>>,
    /// Gone from Cilium.
    pub(in crate::policy) kafka: Option<Value>,
    /// Gone from Cilium.
    pub(in crate::policy) l7proto: Option<Value>,
    /// Gone from Cilium.
    pub(in crate::policy) l7: Option<Value>,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::policy) struct Authentication {
    pub(in crate::policy) mode: AuthenticationMode,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(in crate::policy) enum AuthenticationMode {
    Disabled,
    Required,
    TestAlwaysFail,
}
