//! Ports, ranges and protocols: where a rule applies.

use super::grammar::{Port, PortProtocol, Protocol};
use super::network::Transport;
use super::peer::Peer;
use super::truth::Truth;

/// A compiled entry of `ports`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PortMatch {
    place: Place,
    transport: Option<Transport>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    /// Inclusive.
    Range(u16, u16),
    Named(String),
}

impl PortMatch {
    /// Compiles an entry; `Ok(None)` is one for a protocol without ports, which nothing here speaks.
    ///
    /// # Errors
    /// A range that ends before it begins.
    pub(super) fn compile(written: &PortProtocol) -> Result<Option<Self>, String> {
        let place = match (&written.port, written.end_port) {
            (Port::Number(0), _) => Place::Range(0, u16::MAX),
            (Port::Number(port), None | Some(0)) => Place::Range(*port, *port),
            (Port::Number(first), Some(last)) if *first <= last => Place::Range(*first, last),
            (Port::Number(_), Some(_)) => return Err("expected a port that is not below `port`".to_owned()),
            (Port::Named(name), _) => Place::Named(name.clone()),
        };
        let transport = match written.protocol {
            None | Some(Protocol::Any) => None,
            Some(Protocol::Tcp) => Some(Transport::Tcp),
            Some(Protocol::Udp) => Some(Transport::Udp),
            Some(Protocol::Sctp) => Some(Transport::Sctp),
            Some(Protocol::Icmp | Protocol::Icmpv6 | Protocol::Vrrp | Protocol::Igmp) => return Ok(None),
        };
        Ok(Some(Self { place, transport }))
    }

    /// Does the entry hold the port? What a pod calls its ports is not known here; hosts outside have no names for them.
    pub(super) fn holds(&self, port: u16, transport: Transport, peer: &Peer<'_>) -> Truth {
        if self.transport.is_some_and(|only| only != transport) {
            return Truth::No;
        }
        match (&self.place, peer) {
            (Place::Range(first, last), Peer::Outside { .. } | Peer::Pod { .. }) => (*first <= port && port <= *last).into(),
            (Place::Named(_), Peer::Outside { .. }) => Truth::No,
            (Place::Named(_), Peer::Pod { .. }) => Truth::Unknown,
        }
    }

    /// The [`PortMatch::place_key`] of every port.
    pub(super) fn every_key() -> String {
        format!("0-{}", u16::MAX)
    }

    /// The port, where it is just one.
    pub(super) fn single(&self) -> Option<u16> {
        match self.place {
            Place::Range(first, last) if first == last => Some(first),
            Place::Range(..) | Place::Named(_) => None,
        }
    }

    /// Is there a port and a protocol that both hold?
    pub(super) fn meets(&self, other: &Self) -> bool {
        let transport = self.transport == other.transport || self.transport.is_none() || other.transport.is_none();
        let place = match (&self.place, &other.place) {
            (Place::Range(first, last), Place::Range(other_first, other_last)) => first <= other_last && other_first <= last,
            (one @ Place::Named(_), other) | (one, other @ Place::Named(_)) => one == other,
        };
        transport && place
    }

    /// Does it hold every port that the other holds?
    pub(super) fn covers(&self, other: &Self) -> bool {
        let place = match (&self.place, &other.place) {
            (Place::Range(first, last), Place::Range(other_first, other_last)) => first <= other_first && other_last <= last,
            (one @ Place::Named(_), other) | (one, other @ Place::Named(_)) => one == other,
        };
        place && (self.transport.is_none() || self.transport == other.transport)
    }

    /// Is it every port?
    pub(super) fn is_every(&self) -> bool {
        self.place == Place::Range(0, u16::MAX)
    }

    /// Is TCP the only protocol?
    pub(super) fn is_tcp(&self) -> bool {
        self.transport == Some(Transport::Tcp)
    }

    /// The same whatever the protocol: Cilium keeps each protocol's rules apart, and those of `ANY` with all.
    pub(super) fn place_key(&self) -> String {
        match &self.place {
            Place::Range(first, last) => format!("{first}-{last}"),
            Place::Named(name) => name.clone(),
        }
    }
}
