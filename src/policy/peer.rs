//! The other side of a connection: what rules say about it, and what is known of it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::cidr::Block;
use super::pattern::Host;
use super::selector::{Labels, Selector};
use super::truth::Truth;

/// Where a connection goes.
#[derive(Debug, Clone, Copy)]
pub enum Peer<'a> {
    /// A host outside the cluster.
    Outside {
        /// The name that it is connected to by.
        name: Option<&'a str>,
        /// Its address, as far as it is known.
        address: Option<IpAddr>,
    },
    /// A pod of the cluster, or the pods behind a service.
    Pod {
        /// Their namespace.
        namespace: &'a str,
        /// The service's name.
        service: Option<&'a str>,
        /// Their labels, as far as they are known.
        labels: Option<&'a BTreeMap<String, String>>,
    },
}

impl<'a> Peer<'a> {
    /// What a configured host says about itself: `name.namespace.svc`, alone or with the cluster's domain behind it, is
    /// a service; an address or any other name lies outside.
    pub fn of_host(host: &'a str) -> Self {
        if let Ok(address) = host.parse::<IpAddr>() {
            return Self::Outside { name: None, address: Some(address) };
        }
        let mut labels = host.trim_end_matches('.').split('.');
        match (labels.next(), labels.next(), labels.next()) {
            (Some(service), Some(namespace), Some("svc")) => Self::Pod { namespace, service: Some(service), labels: None },
            _ => Self::Outside { name: Some(host), address: None },
        }
    }

    /// The same once the connection has an address; it tells nothing new about a service.
    pub fn at(self, found: IpAddr) -> Self {
        match self {
            Self::Outside { name, address: _ } => Self::Outside { name, address: Some(found) },
            Self::Pod { .. } => self,
        }
    }
}

/// Classes of endpoints that Cilium knows by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Entity {
    /// Every endpoint.
    All,
    /// Everything outside the cluster.
    World,
    /// The same, by IPv4.
    #[serde(rename = "world-ipv4")]
    WorldIpv4,
    /// The same, by IPv6.
    #[serde(rename = "world-ipv6")]
    WorldIpv6,
    /// Everything in the cluster.
    Cluster,
    /// The node of the pod itself.
    Host,
    /// The other nodes.
    RemoteNode,
    /// The API server.
    KubeApiserver,
    /// Cilium's own ingress.
    Ingress,
    /// Pods that have no identity yet.
    Init,
    /// Cilium's health endpoints.
    Health,
    /// Pods that Cilium does not manage.
    Unmanaged,
    /// Nobody.
    None,
}

/// One way in which a rule names peers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum PeerSelector {
    /// By the name that is connected to.
    Fqdn(Host),
    /// By labels.
    Endpoints(Selector),
    /// By address; only outside the cluster.
    Cidr(Block),
    Entity(Entity),
    /// By the name of a service, where that is given, and its namespace.
    Service {
        name: Option<String>,
        namespace: Option<String>,
    },
    /// Addresses outside that only Cilium knows.
    Groups,
    /// Nodes, by their labels.
    Nodes,
}

/// The peers of a rule.
#[derive(Debug, Clone)]
pub(super) enum Peers {
    /// Any; the rule names none.
    Anyone,
    /// These alone; of an empty list, nobody.
    Each(Vec<PeerSelector>),
}

impl Peers {
    /// Is the peer one of them?
    pub(super) fn hold(&self, peer: &Peer<'_>) -> Truth {
        match self {
            Self::Anyone => Truth::Yes,
            Self::Each(selectors) => Truth::any(selectors.iter().map(|selector| selector.selects(peer))),
        }
    }
}

impl PeerSelector {
    /// Does it select the peer?
    pub(super) fn selects(&self, peer: &Peer<'_>) -> Truth {
        match (self, peer) {
            (Self::Fqdn(host), Peer::Outside { name, .. }) => name.is_some_and(|name| host.matches(name)).into(),
            (Self::Cidr(block), Peer::Outside { address: Some(address), .. }) => block.contains(*address).into(),
            // A name has addresses of one family or both; whichever it is, nothing outside is left out.
            (Self::Cidr(block), Peer::Outside { address: None, .. }) if block.is_everything() => Truth::Yes,
            (Self::Cidr(_), Peer::Outside { address: None, .. }) => Truth::Address,
            (Self::Endpoints(selector), Peer::Outside { .. }) => selector.matches(&Labels::of_outside()),
            (Self::Endpoints(selector), Peer::Pod { namespace, labels, .. }) => selector.matches(&Labels::of_pod(namespace, *labels)),
            (Self::Entity(entity), _) => entity.holds(peer),
            (Self::Service { name, namespace }, Peer::Pod { namespace: own, service, .. }) => service_is(name, namespace, own, *service),
            (Self::Groups, Peer::Outside { .. }) | (Self::Service { .. }, Peer::Outside { .. }) => Truth::Unknown,
            (Self::Fqdn(_) | Self::Cidr(_) | Self::Groups, Peer::Pod { .. }) | (Self::Nodes, _) => Truth::No,
        }
    }
}

impl Entity {
    fn holds(self, peer: &Peer<'_>) -> Truth {
        match (self, peer) {
            (Self::All, _) | (Self::World, Peer::Outside { .. }) | (Self::Cluster, Peer::Pod { .. }) => Truth::Yes,
            (Self::WorldIpv4, Peer::Outside { address: Some(address), .. }) => address.to_canonical().is_ipv4().into(),
            (Self::WorldIpv6, Peer::Outside { address: Some(address), .. }) => address.to_canonical().is_ipv6().into(),
            (Self::WorldIpv4 | Self::WorldIpv6, Peer::Outside { address: None, .. }) => Truth::Address,
            (Self::World | Self::WorldIpv4 | Self::WorldIpv6, Peer::Pod { .. }) | (Self::Cluster, Peer::Outside { .. }) => Truth::No,
            (
                Self::Host
                | Self::RemoteNode
                | Self::KubeApiserver
                | Self::Ingress
                | Self::Init
                | Self::Health
                | Self::Unmanaged
                | Self::None,
                Peer::Outside { .. } | Peer::Pod { .. },
            ) => Truth::No,
        }
    }
}

fn service_is(name: &Option<String>, namespace: &Option<String>, own: &str, service: Option<&str>) -> Truth {
    if namespace.as_ref().is_some_and(|namespace| namespace != own) {
        return Truth::No;
    }
    match (name, service) {
        (Some(name), Some(service)) => (name == service).into(),
        (None, _) | (_, None) => Truth::Unknown,
    }
}
