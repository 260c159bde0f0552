//! Whom a listener lets in, and whose credential a request is sent on with: the workload's, or the client's own.

use std::sync::Arc;

use crate::audit::ClientFacts;
use crate::credential::cache::{Cache, Lease};
use crate::credential::clients::Clients;
use crate::fault::{Fault, Reason};
use crate::identity::client::{Shown, TOKEN_BYTES_MAX, Verifier};
use crate::listener::{Authentication, Credentials};
use crate::secret::Secret;

/// How requests of a listener come to a credential.
pub(super) enum Entry {
    /// Whoever is let in is the workload.
    Workload {
        /// Who is let in.
        admits: Admits,
        /// What all of them are sent on with.
        credentials: Cache,
    },
    /// Each request is whose token it carries.
    Client {
        /// Verifies the token.
        verifier: Box<Verifier>,
        /// What each is sent on with.
        credentials: Clients,
    },
}

/// Whose connections are taken.
pub(super) enum Admits {
    /// Whoever reaches the listener's loopback address or socket.
    Anybody,
    /// Those with a certificate that the listener verified.
    Certificates,
    /// Processes of these users.
    Users(Vec<u32>),
}

impl Entry {
    /// The entry that the listener's settings describe.
    ///
    /// # Errors
    /// `Internal` where settings and credentials are not of one kind, or are not for this door.
    pub(super) fn new(settings: &Authentication, credentials: Credentials) -> Result<Self, Fault> {
        let admits = match (settings, credentials) {
            (Authentication::Token { .. }, Credentials::OfClients { verifier, credentials }) => {
                return Ok(Self::Client { verifier, credentials });
            }
            (Authentication::Trust, Credentials::OfWorkload(credentials)) => (Admits::Anybody, credentials),
            (Authentication::Certificate, Credentials::OfWorkload(credentials)) => (Admits::Certificates, credentials),
            (Authentication::Peer { uids }, Credentials::OfWorkload(credentials)) => (Admits::Users(uids.clone()), credentials),
            (_, Credentials::OfWorkload(_) | Credentials::OfClients { .. }) => {
                return Err(Fault::new(Reason::Internal).about("this way to let clients in is not one of HTTP's"));
            }
        };
        let (admits, credentials) = admits;
        Ok(Self::Workload { admits, credentials })
    }

    /// Whether a connection is taken.
    ///
    /// # Errors
    /// `ClientAuthentication`.
    pub(super) fn admit(&self, client: &ClientFacts) -> Result<(), Fault> {
        let refused = |what: &str| Err(Fault::new(Reason::ClientAuthentication).about(what));
        match self {
            Self::Client { .. } | Self::Workload { admits: Admits::Anybody, .. } => Ok(()),
            Self::Workload { admits: Admits::Certificates, .. } if client.certificate.is_some() => Ok(()),
            Self::Workload { admits: Admits::Certificates, .. } => refused("a client certificate is needed"),
            Self::Workload { admits: Admits::Users(uids), .. } => match client.process {
                Some(process) if uids.contains(&process.user_id) => Ok(()),
                Some(_) | None => refused("listeners[].authentication.uids"),
            },
        }
    }

    /// What a request is sent on with, and for whom: for the workload, or for whoever shows this token. Cancel safe.
    ///
    /// # Errors
    /// Why the client's token is not taken, or why there is no credential.
    pub(super) async fn lease(&self, shown: Option<Secret<String>>) -> Result<Lease, Fault> {
        match self {
            Self::Workload { credentials, .. } => Ok(credentials.get().await?),
            Self::Client { verifier, credentials } => {
                let shown = verify(verifier, shown).await?;
                let lease = credentials.cache(&shown).get().await?;
                Ok(of_shown(&shown, lease))
            }
        }
    }

    /// Another in place of one that the warehouse has just refused, if there can be one ([`Cache::replace`]). Cancel safe.
    pub(super) async fn replace(&self, refused: &Lease, shown: Option<Secret<String>>) -> Option<Lease> {
        match self {
            Self::Workload { credentials, .. } => credentials.replace(refused).await,
            Self::Client { verifier, credentials } => {
                let shown = verify(verifier, shown).await.ok()?;
                let lease = credentials.cache(&shown).replace(refused).await?;
                Some(of_shown(&shown, lease))
            }
        }
    }
}

async fn verify(verifier: &Verifier, token: Option<Secret<String>>) -> Result<Shown, Fault> {
    let token = token.filter(|token| (1..=TOKEN_BYTES_MAX).contains(&token.expose().len()));
    let token = token.ok_or_else(|| Fault::new(Reason::ClientAuthentication).about("a token is needed"))?;
    let shown = verifier.verify(token).await;
    shown.map_err(|error| Fault::new(error.reason).about("the token that the client shows").because(error))
}

/// Who has shown a token is who that very token says, whenever the credential was exchanged.
fn of_shown(shown: &Shown, lease: Lease) -> Lease {
    Lease { principal: Arc::clone(&shown.proof.principal), ..lease }
}
