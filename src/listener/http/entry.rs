//! Whom a listener lets in, and whose credential a request is sent on with: the workload's, or the client's own.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::header::{AUTHORIZATION, HeaderMap};

use crate::audit::ClientFacts;
use crate::credential::cache::{Cache, Lease};
use crate::credential::clients::Clients;
use crate::fault::{Fault, Reason};
use crate::identity::client::{TOKEN_BYTES_MAX, Verifier};
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

    /// What a request is sent on with, and for whom. Cancel safe.
    ///
    /// # Errors
    /// Why the client's token is not taken, or why there is no credential.
    pub(super) async fn lease(&self, headers: &HeaderMap) -> Result<Lease, Fault> {
        match self {
            Self::Workload { credentials, .. } => Ok(credentials.get().await?),
            Self::Client { verifier, credentials } => {
                let token = token(headers).ok_or_else(|| Fault::new(Reason::ClientAuthentication).about("a token is needed"))?;
                let shown = verifier.verify(token).await;
                let shown = shown.map_err(|error| Fault::new(error.reason).about("the token that the client shows").because(error))?;
                let lease = credentials.cache(&shown).get().await?;
                // Who has shown a token is who that very token says, whenever the credential was exchanged.
                Ok(Lease { principal: Arc::clone(&shown.proof.principal), ..lease })
            }
        }
    }
}

/// The token that a client shows: as a bearer token (RFC 6750), or as the password (RFC 7617) where its library has no other place.
fn token(headers: &HeaderMap) -> Option<Secret<String>> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let (scheme, rest) = value.to_str().ok()?.split_once(' ')?;
    let token = if scheme.eq_ignore_ascii_case("bearer") {
        Secret::new(rest.trim().to_owned())
    } else if scheme.eq_ignore_ascii_case("basic") {
        let decoded = Secret::new(String::from_utf8(STANDARD.decode(rest.trim()).ok()?).ok()?);
        Secret::new(decoded.expose().split_once(':')?.1.to_owned())
    } else {
        return None;
    };
    (1..=TOKEN_BYTES_MAX).contains(&token.expose().len()).then_some(token)
}

#[cfg(test)]
mod tests {
    use hyper::header::{HeaderMap, HeaderValue};

    use super::token;

    #[test]
    fn a_token_is_read_as_bearer_or_as_the_password() {
        for (value, expected) in [
            ("Bearer abc.def", Some("abc.def")),
            ("bearer abc.def", Some("abc.def")),
            ("Basic dXNlcjphYmMuZGVm", Some("abc.def")),
            ("Basic dXNlcg==", None),
            ("Basic !", None),
            ("Bearer ", None),
            ("Digest abc", None),
            ("abc", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert("authorization", HeaderValue::from_str(value).unwrap());
            assert_eq!(token(&headers).map(|token| token.expose().clone()).as_deref(), expected, "{value}");
            headers.append("authorization", HeaderValue::from_static("Bearer other"));
            assert!(token(&headers).is_none(), "which of two counts is not for us to say");
        }
        assert!(token(&HeaderMap::new()).is_none());
    }
}
