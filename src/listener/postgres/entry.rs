//! Whom a listener lets in, and whose credential the session logs in with: the workload's, or the client's own.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::authentication::{self, Authentication};
use super::startup::Wire;
use crate::audit::ClientFacts;
use crate::credential::ExchangeError;
use crate::credential::cache::{Cache, Lease};
use crate::credential::clients::Clients;
use crate::fault::{Fault, Reason};
use crate::identity::Principal;
use crate::identity::client::{Shown, Verifier};
use crate::listener::{self, Credentials};

/// How clients of a listener come to a session.
pub(super) enum Entry {
    /// Whoever is let in is the workload.
    Workload {
        /// Who is let in.
        authentication: Authentication,
        /// What all of them log in with.
        credentials: Cache,
    },
    /// Each client is who its token says.
    Client {
        /// Verifies the token.
        verifier: Box<Verifier>,
        /// What each logs in with.
        credentials: Clients,
    },
}

/// A client that may have a session.
pub(super) struct Admitted {
    /// Who shows the token of its own, where it has to.
    pub(super) principal: Option<Arc<Principal>>,
    cache: Cache,
}

impl Entry {
    /// The entry that the listener's settings describe.
    ///
    /// # Errors
    /// `Internal` where settings and credentials are not of one kind.
    pub(super) fn new(settings: &listener::Authentication, credentials: Credentials) -> Result<Self, Fault> {
        let authentication = match settings {
            listener::Authentication::Trust => Authentication::Trust,
            listener::Authentication::Certificate => Authentication::Certificate,
            listener::Authentication::Peer { uids } => Authentication::Peer(uids.clone()),
            listener::Authentication::Scram { secret_file } => Authentication::Scram(secret_file.clone()),
            listener::Authentication::Token { .. } => {
                let Credentials::OfClients { verifier, credentials } = credentials else { return Err(mismatched()) };
                return Ok(Self::Client { verifier, credentials });
            }
        };
        let Credentials::OfWorkload(credentials) = credentials else { return Err(mismatched()) };
        Ok(Self::Workload { authentication, credentials })
    }

    /// Lets the client log in; `patience` bounds the wait for what it sends. On success it is waiting for AuthenticationOk.
    ///
    /// # Errors
    /// Why it is not let in.
    pub(super) async fn admit(&self, wire: &mut Wire, client: &ClientFacts, patience: Duration) -> Result<Admitted, Fault> {
        let late = |_| Fault::new(Reason::HandshakeTimeout).about("limits.handshake_timeout");
        match self {
            Self::Workload { authentication, credentials } => {
                timeout(patience, authentication::authenticate(wire, authentication, client)).await.map_err(late)??;
                Ok(Admitted { principal: None, cache: credentials.clone() })
            }
            Self::Client { verifier, credentials } => {
                let token = timeout(patience, authentication::token(wire)).await.map_err(late)??;
                let shown = verifier.verify(token).await;
                let shown = shown.map_err(|error| Fault::new(error.reason).about("the token that the client shows").because(error))?;
                Ok(Admitted { cache: credentials.cache(&shown), principal: Some(principal(shown)) })
            }
        }
    }
}

fn principal(shown: Shown) -> Arc<Principal> {
    shown.proof.principal
}

fn mismatched() -> Fault {
    Fault::new(Reason::Internal).about("the listener's authentication and credentials are not of one kind")
}

impl Admitted {
    /// What the session logs in with, and for whom: who has shown a token is who that very token says, whenever the credential
    /// was exchanged.
    ///
    /// # Errors
    /// Why there is no credential.
    pub(super) async fn lease(&self) -> Result<Lease, ExchangeError> {
        Ok(self.own(self.cache.get().await?))
    }

    /// The same, in place of a credential that the warehouse has refused; `None` where another would be no better.
    pub(super) async fn replace(&self, refused: &Lease) -> Option<Lease> {
        Some(self.own(self.cache.replace(refused).await?))
    }

    fn own(&self, lease: Lease) -> Lease {
        match &self.principal {
            Some(principal) => Lease { principal: Arc::clone(principal), ..lease },
            None => lease,
        }
    }
}
