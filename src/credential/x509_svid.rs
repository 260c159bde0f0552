//! The workload's X.509-SVID itself, shown to the warehouse as the client certificate.

use crate::credential::value::{Draft, Token};
use crate::credential::{ExchangeError, Login};
use crate::fault::Reason;
use crate::identity::Certificate;
use crate::secret::Secret;

/// The credential that the identity's certificate is. `identity` names it and says when it ends.
///
/// # Errors
/// `Internal` where there is no certificate, which the check of the configuration rules out.
pub(super) fn obtain(certificate: Option<&Certificate>, identity: &Token) -> Result<Draft, ExchangeError> {
    let certificate = certificate.ok_or_else(|| ExchangeError::new(Reason::Internal, "the identity has no certificate"))?;
    Ok(Draft {
        id: identity.id.clone(),
        login: Login::ClientCertificate { chain: certificate.chain.clone(), key: Secret::new(certificate.key.expose().clone_key()) },
        role: None,
        expires_at: identity.expires_at,
    })
}
