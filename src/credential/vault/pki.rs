//! A client certificate that Vault signs for a key that is made here and never leaves.
//!
//! <https://developer.hashicorp.com/vault/api-docs/secret/pki#sign-certificate>

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::credential::client_certificate::Request;
use crate::credential::value::{Draft, VaultToken};
use crate::credential::vault::Reply;
use crate::document::Span;
use crate::fetch::failure::{self, Failure};

/// A role of the engine and the certificate to ask for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Where the engine is mounted.
    #[serde(default = "mount_default")]
    pub mount: String,
    /// The role there.
    pub role: String,
    /// Common name to ask for; the target's role where absent.
    #[serde(default)]
    pub common_name: Option<String>,
    /// How long the certificate should live.
    #[serde(default = "lifetime_default")]
    pub lifetime: Span,
}

fn mount_default() -> String {
    "pki".to_owned()
}

fn lifetime_default() -> Span {
    Span::seconds(300)
}

#[derive(Deserialize)]
struct Signed {
    certificate: String,
    #[serde(default)]
    ca_chain: Vec<String>,
}

/// Has a new key certified once.
pub(in crate::credential) async fn obtain(settings: &Settings, token: &VaultToken, role: &str) -> Result<Draft, Failure> {
    let common_name = settings.common_name.as_deref().unwrap_or(role);
    let request = Request::new(common_name)?;
    let asked = json!({
        "csr": request.csr, "common_name": common_name, "format": "pem", "ttl": format!("{}s", settings.lifetime.0.as_secs()),
    });
    let path = format!("{}/sign/{}", settings.mount, settings.role);
    let signed: Reply<Signed> = token.server.post(&path, Some(&token.value), &asked).await?;
    let signed = signed.into_data()?;
    let text = std::iter::once(signed.certificate).chain(signed.ca_chain).collect::<Vec<_>>().join("\n");
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
    request.certified(chain.map_err(|_| failure::unusable("the answer holds no certificates"))?)
}
