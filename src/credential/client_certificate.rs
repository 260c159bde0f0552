//! A short-lived client certificate for a key that is made here and never leaves.
//!
//! Speaks step-ca's signing API: <https://smallstep.com/docs/step-ca/api/>.

use std::time::{Duration, SystemTime};

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

use crate::credential::Login;
use crate::credential::value::{Draft, Token};
use crate::document::Span;
use crate::fetch::endpoint::Endpoint;
use crate::fetch::failure::{self, Failure};
use crate::fetch::{Answer, Fetch};
use crate::secret::Secret;
use crate::tls::{ClientSettings, TlsError, Trust};

/// A certificate authority and the certificate to ask for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The whole address of the signing call, such as `https://ca.example/1.0/sign`.
    pub url: Endpoint,
    /// Common name to ask for: the role that the warehouse maps the certificate to.
    pub common_name: String,
    /// How long the certificate should live.
    #[serde(default = "lifetime_default")]
    pub lifetime: Span,
    /// How the certificate authority is reached.
    #[serde(default)]
    pub tls: ClientSettings,
}

fn lifetime_default() -> Span {
    Span::seconds(300)
}

/// One certificate authority.
#[derive(Debug)]
pub(super) struct ClientCertificate {
    fetch: Fetch,
    settings: Settings,
}

/// The call's body. `ott` is a one-time token to step-ca; ours is as short-lived.
#[derive(Serialize)]
struct SignRequest<'a> {
    csr: &'a str,
    ott: &'a str,
    #[serde(rename = "notAfter")]
    not_after: String,
}

#[derive(Deserialize)]
struct SignResponse {
    crt: String,
    #[serde(default)]
    ca: String,
    #[serde(rename = "certChain", default)]
    chain: Vec<String>,
}

impl ClientCertificate {
    pub(super) fn new(settings: &Settings, trust: Trust) -> Result<Self, TlsError> {
        Ok(Self { fetch: Fetch::new(&settings.tls, trust)?, settings: settings.clone() })
    }

    /// Has a new key certified once, on the word of the token.
    pub(super) async fn obtain(&self, token: &Token) -> Result<Draft, Failure> {
        let asked = Request::new(&self.settings.common_name)?;
        let request = SignRequest { csr: &asked.csr, ott: token.value.expose(), not_after: self.settings.lifetime.to_string() };
        let body = serde_json::to_vec(&request).map_err(failure::internal)?;
        let answer = self.fetch.post_json(&self.settings.url, body).await.map_err(failure::failed)?;
        if !answer.status.is_success() {
            return Err(failure::refused(&self.settings.url, &answer, None));
        }
        asked.certified(read_chain(&answer)?)
    }
}

/// A new key that waits for its certificate.
pub(super) struct Request<'a> {
    key: KeyPair,
    common_name: &'a str,
    /// The request to sign, in PEM.
    pub(super) csr: String,
}

impl<'a> Request<'a> {
    /// Makes a key, and the request to have it certified for a name.
    pub(super) fn new(common_name: &'a str) -> Result<Self, Failure> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(failure::internal)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, common_name);
        let csr = params.serialize_request(&key).and_then(|request| request.pem()).map_err(failure::internal)?;
        Ok(Self { key, common_name, csr })
    }

    /// The credential, if the chain, leaf first, is for the key and the name.
    pub(super) fn certified(self, chain: Vec<CertificateDer<'static>>) -> Result<Draft, Failure> {
        let issued = check(&chain, &self.key, self.common_name, SystemTime::now())?;
        let key = Secret::new(PrivateKeyDer::from(self.key));
        Ok(Draft { id: Some(issued.serial), login: Login::ClientCertificate { chain, key }, role: None, expires_at: issued.not_after })
    }
}

/// What a certificate says that passed [`check`].
struct Issued {
    serial: String,
    not_after: SystemTime,
}

/// The chain, leaf first; step-ca repeats it in two forms.
fn read_chain(answer: &Answer) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let response: SignResponse =
        serde_json::from_slice(answer.body.expose()).map_err(|_| failure::unusable("the answer is not a signing answer"))?;
    let text = if response.chain.is_empty() { format!("{}\n{}", response.crt, response.ca) } else { response.chain.join("\n") };
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
    chain.map_err(|_| failure::unusable("the answer holds no certificates"))
}

/// A certificate for another key or another name would fail at the warehouse, or worse, not fail.
fn check(chain: &[CertificateDer<'_>], key: &KeyPair, common_name: &str, now: SystemTime) -> Result<Issued, Failure> {
    let leaf = chain.first().ok_or_else(|| failure::unusable("the answer holds no certificates"))?;
    let (_, leaf) = X509Certificate::from_der(leaf).map_err(|_| failure::unusable("the certificate cannot be read"))?;
    if leaf.public_key().raw != key.subject_public_key_info() {
        return Err(failure::unusable("the certificate is for another key"));
    }
    let names: Vec<_> = leaf.subject().iter_common_name().map(|name| name.as_str()).collect();
    if names != [Ok(common_name)] {
        return Err(failure::unusable("the certificate is for another common name"));
    }
    let seconds = u64::try_from(leaf.validity().not_after.timestamp()).unwrap_or(0);
    let not_after = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds)).filter(|end| *end > now);
    let not_after = not_after.ok_or_else(|| failure::unusable("the certificate has already expired"))?;
    Ok(Issued { serial: format!("{:x}", leaf.serial), not_after })
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use hyper::StatusCode;
    use rcgen::{CertificateParams, DnType, KeyPair};
    use rustls::pki_types::CertificateDer;

    use super::{check, read_chain};
    use crate::fetch::Answer;
    use crate::fetch::failure::Kind;

    fn certificate(key: &KeyPair, names: &[&str]) -> CertificateDer<'static> {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        for (place, name) in names.iter().enumerate() {
            let kind = if place == 0 { DnType::CommonName } else { DnType::CustomDnType(vec![2, 5, 4, 3]) };
            params.distinguished_name.push(kind, *name);
        }
        params.self_signed(key).unwrap().into()
    }

    #[test]
    fn a_certificate_for_another_key_or_name_or_time_is_refused() {
        let (ours, other) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let (now, end_of_time) = (SystemTime::now(), SystemTime::UNIX_EPOCH + Duration::from_secs(100_000_000_000));
        let good = [certificate(&ours, &["dbt"])];
        assert!(check(&good, &ours, "dbt", now).unwrap().not_after > now);
        let refused = [
            (check(&good, &other, "dbt", now), "another key"),
            (check(&good, &ours, "postgres", now), "another common name"),
            (check(&[certificate(&ours, &[])], &ours, "dbt", now), "another common name"),
            (check(&[certificate(&ours, &["dbt", "postgres"])], &ours, "dbt", now), "another common name"),
            (check(&good, &ours, "dbt", end_of_time), "expired"),
            (check(&[], &ours, "dbt", now), "no certificates"),
            (check(&[CertificateDer::from(vec![0; 8])], &ours, "dbt", now), "cannot be read"),
        ];
        for (result, words) in refused {
            let error = result.err().unwrap();
            assert_eq!(error.kind, Kind::Unusable);
            assert!(error.source.unwrap().to_string().contains(words), "{words}");
        }
    }

    #[test]
    fn the_chain_is_read_from_either_form_of_the_answer() {
        let key = KeyPair::generate().unwrap();
        let pem = |name| {
            let mut params = CertificateParams::default();
            params.distinguished_name.push(DnType::CommonName, name);
            params.self_signed(&key).unwrap().pem()
        };
        let (leaf, authority) = (pem("leaf"), pem("authority"));
        let read = |body: serde_json::Value| read_chain(&Answer::new(StatusCode::OK, "application/json", body.to_string().into_bytes()));
        let long = read(serde_json::json!({ "crt": leaf, "ca": authority, "certChain": [leaf, authority] })).unwrap();
        let short = read(serde_json::json!({ "crt": leaf, "ca": authority })).unwrap();
        assert_eq!((long.len(), &long), (2, &short));
        assert!(read(serde_json::json!({ "certChain": [leaf] })).is_err());
    }
}
