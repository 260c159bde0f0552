//! What the webhook proves itself with: a certificate of an authority of its own, renewed ahead of its end and made known to the API
//! server; or files that somebody else renews, such as cert-manager.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::StatusCode;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use time::OffsetDateTime;
use x509_parser::pem::Pem;

use crate::document::Span;
use crate::kubernetes::{ApiError, ApiServer, PatchKind};
use crate::metrics::Metrics;
use crate::secret::Secret;
use crate::tls::ServerSettings;

/// The authority lives this many times as long as a certificate.
const AUTHORITY_LIVES: i32 = 12;
/// Certificates begin a little in the past: clocks differ.
const BACKDATING: time::Duration = time::Duration::minutes(1);
/// How often somebody looks whether a certificate is due, at most.
const INTERVAL_MAX: Duration = Duration::from_secs(60);

/// What the webhook proves itself with.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Where `tls.crt` and `tls.key` lie; read again whenever they change.
    pub directory: PathBuf,
    /// An authority of our own, which writes them. Where absent, somebody else does.
    #[serde(default)]
    pub own: Option<Own>,
}

/// An authority of our own.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Own {
    /// The names that the API server reaches the webhook by: `tollhouse-webhook.NAMESPACE.svc`.
    pub names: Vec<String>,
    /// The Secret that all replicas share: `NAMESPACE/NAME`. It has to exist, and may be empty. Where absent, the directory alone keeps
    /// the authority, for one replica.
    #[serde(default)]
    pub secret: Option<String>,
    /// The MutatingWebhookConfigurations whose `caBundle` is kept current.
    #[serde(default)]
    pub mutating: Vec<String>,
    /// The ValidatingWebhookConfigurations whose `caBundle` is kept current.
    #[serde(default)]
    pub validating: Vec<String>,
    /// Life of a certificate; a new one is made at two thirds of it. The authority lives twelve times as long.
    #[serde(default = "Own::default_lifetime")]
    pub lifetime: Span,
}

impl Own {
    fn default_lifetime() -> Span {
        Span::seconds(30 * 24 * 3600)
    }
}

impl Settings {
    /// The files that are shown.
    pub fn files(&self) -> ServerSettings {
        ServerSettings { certificate: self.directory.join("tls.crt"), key: self.directory.join("tls.key") }
    }
}

/// Why a certificate is not there. Names files and objects, never what is in a key.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file cannot be read or written.
    #[error("cannot use {}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The setting is not `NAMESPACE/NAME`.
    #[error("`certificate.own.secret` is not NAMESPACE/NAME")]
    SecretName,
    /// The Secret is not there.
    #[error("Secret {0} is not there; make it, empty, so that the webhook needs no right to make Secrets")]
    SecretMissing(String),
    /// The API server did not do what it was asked.
    #[error("the API server cannot be used")]
    Api(#[from] ApiError),
    /// A certificate cannot be made.
    #[error("a certificate cannot be made")]
    Make(#[from] rcgen::Error),
}

/// An authority and a certificate of it.
#[derive(Debug, Clone)]
struct Material {
    /// The authority's certificate, and those of earlier ones that last; PEM, the newest first.
    bundle: String,
    authority_key: Secret<String>,
    certificate: String,
    key: Secret<String>,
}

/// Keeps the certificate in use.
pub(super) struct Keeper {
    settings: Settings,
    api: ApiServer,
    metrics: Arc<Metrics>,
}

impl Keeper {
    pub(super) fn new(settings: &Settings, api: ApiServer, metrics: Arc<Metrics>) -> Self {
        Self { settings: settings.clone(), api, metrics }
    }

    /// How often [`Keeper::tend`] is to be called.
    pub(super) fn interval(&self) -> Duration {
        let life = self.settings.own.as_ref().map_or(INTERVAL_MAX, |own| own.lifetime.0 / 30);
        life.clamp(Duration::from_secs(1), INTERVAL_MAX)
    }

    /// Makes a certificate where one is due, has the API server trust it, and shows it; in this order, so that nobody is shown what is
    /// not trusted yet. Doing it again changes nothing.
    ///
    /// # Errors
    /// [`CertificateError`]; what was in use stays in use. Where another replica was faster, its certificate is taken.
    pub(super) async fn tend(&self) -> Result<(), CertificateError> {
        if let Some(own) = &self.settings.own {
            let (kept, version) = self.kept(own).await?;
            let now = OffsetDateTime::now_utc();
            let material = match kept {
                Some(kept) if !kept.is_due(own, now) => kept,
                kept => {
                    let made = Material::make(kept.as_ref(), own, now)?;
                    self.trust(own, &made.bundle).await?;
                    match self.keep(own, &made, version).await {
                        Err(CertificateError::Api(error)) if error.status() == Some(StatusCode::CONFLICT) => {
                            self.kept(own).await?.0.unwrap_or(made)
                        }
                        kept => kept.map(|()| made)?,
                    }
                }
            };
            self.trust(own, &material.bundle).await?;
            self.write(&material)?;
            self.tell("authority", &material.bundle);
        }
        let path = self.settings.files().certificate;
        let shown = std::fs::read_to_string(&path).map_err(|source| CertificateError::File { path, source })?;
        self.tell("serving", &shown);
        Ok(())
    }

    /// What all replicas share, and its version.
    async fn kept(&self, own: &Own) -> Result<(Option<Material>, Value), CertificateError> {
        let Some(name) = &own.secret else {
            let directory = &self.settings.directory;
            let file = |name: &str| std::fs::read_to_string(directory.join(name)).ok();
            return Ok((Material::of(file), Value::Null));
        };
        let object = match self.api.get(&secret_path(name)?).await {
            Err(error) if error.status() == Some(StatusCode::NOT_FOUND) => return Err(CertificateError::SecretMissing(name.clone())),
            object => object?,
        };
        let entry = |key: &str| {
            let encoded = object.get("data")?.get(key)?.as_str()?;
            String::from_utf8(STANDARD.decode(encoded).ok()?).ok()
        };
        Ok((Material::of(entry), object.pointer("/metadata/resourceVersion").cloned().unwrap_or_default()))
    }

    async fn keep(&self, own: &Own, material: &Material, version: Value) -> Result<(), CertificateError> {
        let Some(name) = &own.secret else { return Ok(()) };
        let data: BTreeMap<&str, String> = material.entries().into_iter().map(|(key, text)| (key, STANDARD.encode(text))).collect();
        let body = json!({ "metadata": { "resourceVersion": version }, "data": data });
        self.api.patch(&secret_path(name)?, PatchKind::Merge, &body).await?;
        tracing::info!(secret = name, "a new certificate was made");
        Ok(())
    }

    /// Has the API server trust the bundle, in each webhook of each configuration.
    async fn trust(&self, own: &Own, bundle: &str) -> Result<(), CertificateError> {
        let kinds = [("mutatingwebhookconfigurations", &own.mutating), ("validatingwebhookconfigurations", &own.validating)];
        let encoded = Value::from(STANDARD.encode(bundle));
        let of_kind = |(kind, names): (&'static str, &Vec<String>)| names.iter().map(|name| (kind, name.clone())).collect::<Vec<_>>();
        for (kind, name) in kinds.into_iter().flat_map(of_kind) {
            let path = format!("/apis/admissionregistration.k8s.io/v1/{kind}/{name}");
            let object = self.api.get(&path).await?;
            let webhooks = object.get("webhooks").and_then(Value::as_array).into_iter().flatten().enumerate();
            let changes: Vec<Value> = webhooks
                .filter(|(_, webhook)| webhook.pointer("/clientConfig/caBundle") != Some(&encoded))
                .flat_map(|(index, webhook)| {
                    let same = json!({ "op": "test", "path": format!("/webhooks/{index}/name"), "value": webhook.get("name") });
                    [same, json!({ "op": "add", "path": format!("/webhooks/{index}/clientConfig/caBundle"), "value": encoded })]
                })
                .collect();
            if !changes.is_empty() {
                self.api.patch(&path, PatchKind::Json, &changes.into()).await?;
                tracing::info!(configuration = name, "the API server was told whom to trust");
            }
        }
        Ok(())
    }

    /// Writes the files that are shown, the key first; between the two the last good pair is shown.
    fn write(&self, material: &Material) -> Result<(), CertificateError> {
        let directory = &self.settings.directory;
        std::fs::create_dir_all(directory).map_err(|source| CertificateError::File { path: directory.clone(), source })?;
        let shared = self.settings.own.as_ref().is_some_and(|own| own.secret.is_some());
        for (name, text) in material.entries() {
            // The authority's key stays in the Secret, where there is one.
            if !(shared && name == "ca.key") {
                replace(&directory.join(name), text)?;
            }
        }
        Ok(())
    }

    fn tell(&self, which: &str, pem: &str) {
        if let Some((_, end)) = validity(pem) {
            self.metrics.webhook.certificate_expiry.with_label_values(&[which]).set(end.unix_timestamp() as f64);
        }
    }
}

/// Writes a file beside the one there is and puts it in its place, for its owner alone.
fn replace(path: &Path, text: &str) -> Result<(), CertificateError> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let fail = |source| CertificateError::File { path: path.to_owned(), source };
    if std::fs::read_to_string(path).is_ok_and(|there| there == text) {
        return Ok(());
    }
    let beside = path.with_extension("new");
    let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside).map_err(fail)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(fail)?;
    std::fs::rename(&beside, path).map_err(fail)
}

fn secret_path(name: &str) -> Result<String, CertificateError> {
    match name.split_once('/') {
        Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() => {
            Ok(format!("/api/v1/namespaces/{namespace}/secrets/{name}"))
        }
        Some(_) | None => Err(CertificateError::SecretName),
    }
}

impl Material {
    /// Takes it together from its entries; `None` where one is missing or no certificate.
    fn of(entry: impl Fn(&str) -> Option<String>) -> Option<Self> {
        let material = Self {
            bundle: entry("ca.crt")?,
            authority_key: Secret::new(entry("ca.key")?),
            certificate: entry("tls.crt")?,
            key: Secret::new(entry("tls.key")?),
        };
        validity(&material.bundle).and(validity(&material.certificate)).is_some().then_some(material)
    }

    fn entries(&self) -> [(&'static str, &str); 4] {
        [("ca.key", self.authority_key.expose()), ("ca.crt", &self.bundle), ("tls.key", self.key.expose()), ("tls.crt", &self.certificate)]
    }

    /// Whether two thirds of the certificate's or of the authority's life have passed, or it is for other names.
    fn is_due(&self, own: &Own, now: OffsetDateTime) -> bool {
        is_aged(&self.certificate, now) || is_aged(&self.bundle, now) || names(&self.certificate) != own.names
    }

    /// A new certificate, of the same authority while that has more than a third of its life; else of a new one, and the old one
    /// stays in the bundle until it ends.
    fn make(old: Option<&Self>, own: &Own, now: OffsetDateTime) -> Result<Self, rcgen::Error> {
        let life = time::Duration::try_from(own.lifetime.0).unwrap_or(time::Duration::days(30));
        let usable = old.filter(|old| !is_aged(&old.bundle, now));
        let (bundle, authority_key, issuer) = match usable.and_then(|old| Some((old, old.issuer().ok()?))) {
            Some((old, issuer)) => (old.bundle.clone(), old.authority_key.clone(), issuer),
            None => {
                let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
                let mut params = params("Tollhouse webhook authority", now, life * AUTHORITY_LIVES);
                params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
                params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
                let lasting = old.map(|old| lasting(&old.bundle, now)).unwrap_or_default();
                let bundle = params.self_signed(&key)?.pem() + &lasting;
                (bundle, Secret::new(key.serialize_pem()), Issuer::new(params, key))
            }
        };
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = params(own.names.first().map_or("tollhouse", String::as_str), now, life);
        params.subject_alt_names = CertificateParams::new(own.names.clone())?.subject_alt_names;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&key, &issuer)?.pem();
        Ok(Self { bundle, authority_key, certificate, key: Secret::new(key.serialize_pem()) })
    }

    fn issuer(&self) -> Result<Issuer<'static, KeyPair>, rcgen::Error> {
        Issuer::from_ca_cert_pem(&self.bundle, KeyPair::from_pem(self.authority_key.expose())?)
    }
}

fn params(common_name: &str, now: OffsetDateTime, life: time::Duration) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    // An authority that follows another needs a name of its own, or a bundle with both could be read as one.
    params.distinguished_name.push(DnType::CommonName, format!("{common_name} {}", now.unix_timestamp()));
    params.not_before = now - BACKDATING;
    params.not_after = now + life;
    params
}

/// Begin and end of the first certificate of a PEM text.
fn validity(pem: &str) -> Option<(OffsetDateTime, OffsetDateTime)> {
    let pem = Pem::iter_from_buffer(pem.as_bytes()).next()?.ok()?;
    let validity = pem.parse_x509().ok()?.validity().clone();
    Some((validity.not_before.to_datetime(), validity.not_after.to_datetime()))
}

/// Whether two thirds of the first certificate's life have passed; one that cannot be read is as good as ended.
fn is_aged(pem: &str, now: OffsetDateTime) -> bool {
    // It is as old as it is in use: what was put before its beginning is no part of its life.
    validity(pem).is_none_or(|(begin, end)| now - (begin + BACKDATING) >= (end - begin - BACKDATING) * 2 / 3)
}

/// The certificates of a bundle that have not ended.
fn lasting(bundle: &str, now: OffsetDateTime) -> String {
    const END: &str = "-----END CERTIFICATE-----\n";
    bundle.split_inclusive(END).filter(|pem| validity(pem).is_some_and(|(_, end)| end > now)).collect()
}

/// The DNS names and addresses that the first certificate is for, as they are configured.
fn names(pem: &str) -> Vec<String> {
    use x509_parser::extensions::GeneralName;
    let Some(Ok(pem)) = Pem::iter_from_buffer(pem.as_bytes()).next() else { return Vec::new() };
    let Ok(parsed) = pem.parse_x509() else { return Vec::new() };
    let Ok(Some(extension)) = parsed.subject_alternative_name() else { return Vec::new() };
    let address = |bytes: &[u8]| {
        let four = <[u8; 4]>::try_from(bytes).map(std::net::IpAddr::from);
        four.or_else(|_| <[u8; 16]>::try_from(bytes).map(std::net::IpAddr::from)).ok().map(|address| address.to_string())
    };
    let written = extension.value.general_names.iter().filter_map(|name| {
        if let GeneralName::DNSName(name) = name {
            Some((*name).to_owned())
        } else if let GeneralName::IPAddress(bytes) = name {
            address(bytes)
        } else {
            None
        }
    });
    written.collect()
}

#[cfg(test)]
mod tests {
    use time::{Duration, OffsetDateTime};

    use super::{Material, Own, Span, names, validity};

    fn own(names: &[&str]) -> Own {
        Own {
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            secret: None,
            mutating: Vec::new(),
            validating: Vec::new(),
            lifetime: Span::seconds(30 * 24 * 3600),
        }
    }

    #[test]
    fn a_certificate_is_renewed_at_two_thirds_and_its_authority_later() {
        let (own, now) = (own(&["tollhouse-webhook.tollhouse.svc", "127.0.0.1"]), OffsetDateTime::now_utc());
        let first = Material::make(None, &own, now).unwrap();
        assert_eq!(names(&first.certificate), own.names);
        assert!(!first.is_due(&own, now + Duration::days(19)));
        let later = now + Duration::days(20);
        assert!(first.is_due(&own, later));
        let second = Material::make(Some(&first), &own, later).unwrap();
        assert_eq!(second.bundle, first.bundle, "the authority stays");
        assert_ne!(second.certificate, first.certificate);
        assert!(!second.is_due(&own, later + Duration::days(1)));
    }

    #[test]
    fn an_old_authority_stays_in_the_bundle_until_it_ends() {
        let (own, now) = (own(&["a.example"]), OffsetDateTime::now_utc());
        let first = Material::make(None, &own, now).unwrap();
        let later = now + Duration::days(241);
        let second = Material::make(Some(&first), &own, later).unwrap();
        assert_eq!(second.bundle.matches("BEGIN CERTIFICATE").count(), 2);
        assert!(second.bundle.ends_with(&first.bundle), "the newest comes first");
        assert!(validity(&second.bundle).unwrap().1 > validity(&first.bundle).unwrap().1);
        let third = Material::make(Some(&second), &own, later + Duration::days(300)).unwrap();
        assert!(!third.bundle.contains(&first.bundle), "what has ended is left out");
    }

    #[test]
    fn a_certificate_of_seconds_is_not_due_at_its_birth() {
        let (own, now) = (Own { lifetime: Span::seconds(30), ..own(&["a.example"]) }, OffsetDateTime::now_utc());
        let made = Material::make(None, &own, now).unwrap();
        assert!(!made.is_due(&own, now + Duration::seconds(18)));
        assert!(made.is_due(&own, now + Duration::seconds(20)));
    }

    #[test]
    fn a_certificate_for_other_names_is_due() {
        let now = OffsetDateTime::now_utc();
        let made = Material::make(None, &own(&["a.example"]), now).unwrap();
        assert!(made.is_due(&own(&["b.example"]), now));
    }

    #[test]
    fn nothing_of_a_key_is_shown() {
        let made = Material::make(None, &own(&["a.example"]), OffsetDateTime::now_utc()).unwrap();
        let shown = format!("{made:?}");
        assert!(made.key.expose().contains("PRIVATE KEY") && !shown.contains("PRIVATE KEY"), "{shown}");
    }
}
