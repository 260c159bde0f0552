//! A certificate authority whose certificates say that they are not for production.

use std::path::Path;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType, DnValue, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData, SerialNumber,
};
use time::{Duration, OffsetDateTime};
use x509_parser::pem::parse_x509_pem;

use crate::dev::DevError;
use crate::dev::directory::write;
use crate::secret::Secret;
use crate::tls::DEVELOPMENT_ORGANIZATION;

/// Life of the authority's own certificate and of server certificates.
const LONG_LIFE: Duration = Duration::days(30);
/// The longest life of a client certificate.
const CLIENT_LIFE_MAX: Duration = Duration::minutes(10);
/// Certificates begin a little in the past: clocks differ.
const BACKDATING: Duration = Duration::minutes(1);

/// A certificate authority.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: String,
}

impl Authority {
    /// Reads `<name>.crt` and `<name>.key`, so that a restart keeps what others have come to trust; makes them where
    /// they are missing, unusable or about to expire.
    ///
    /// # Errors
    /// When they cannot be made or written.
    pub fn load_or_make(directory: &Path, name: &str, common_name: &str) -> Result<Self, DevError> {
        let (certificate_path, key_path) = (directory.join(format!("{name}.crt")), directory.join(format!("{name}.key")));
        if let Some(loaded) = load(&certificate_path, &key_path) {
            return Ok(loaded);
        }
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = params(common_name, LONG_LIFE);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key)?.pem();
        write(&key_path, key.serialize_pem().as_bytes())?;
        write(&certificate_path, certificate.as_bytes())?;
        Ok(Self { issuer: Issuer::new(params, key), certificate })
    }

    /// The authority's own certificate, PEM.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// A server certificate for the names, and its key, both PEM.
    ///
    /// # Errors
    /// When a name is neither a DNS name nor an address.
    pub fn issue_server(&self, names: &[String]) -> Result<(String, Secret<String>), DevError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = params(names.first().map_or("localhost", String::as_str), LONG_LIFE);
        params.subject_alt_names = CertificateParams::new(names)?.subject_alt_names;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        Ok((self.sign(params, &key)?, Secret::new(key.serialize_pem())))
    }

    /// A client certificate for the key in the request, PEM. Nothing but the key is taken from the request; its name
    /// must be `role`.
    ///
    /// # Errors
    /// [`SigningError`] says what is wrong with the request.
    pub fn sign_client(&self, csr: &str, role: &str, lifetime: std::time::Duration) -> Result<String, SigningError> {
        let request = CertificateSigningRequestParams::from_pem(csr).map_err(|_| SigningError::Unreadable)?;
        if !asks_for(&request.params.distinguished_name, role) || !request.params.subject_alt_names.is_empty() {
            return Err(SigningError::Name);
        }
        let asked = Duration::try_from(lifetime).unwrap_or(CLIENT_LIFE_MAX);
        let mut params = params(role, asked.min(CLIENT_LIFE_MAX));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(params, &request.public_key).map_err(SigningError::Failed)
    }

    fn sign(&self, mut params: CertificateParams, key: &impl PublicKeyData) -> Result<String, DevError> {
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        let mut serial = [0; 16];
        aws_lc_rs::rand::fill(&mut serial).map_err(|_| DevError::Randomness)?;
        // Positive and never shorter (RFC 5280, section 4.1.2.2).
        serial[0] = serial[0] & 0x3f | 0x40;
        params.serial_number = Some(SerialNumber::from_slice(&serial));
        Ok(params.signed_by(key, &self.issuer)?.pem())
    }
}

/// Why a request is not signed.
#[derive(Debug, thiserror::Error)]
pub enum SigningError {
    /// It is no request, or its signature is wrong.
    #[error("the certificate request cannot be used")]
    Unreadable,
    /// It asks for a name that the token's subject does not have.
    #[error("the subject may not have this name")]
    Name,
    /// It could not be signed.
    #[error("the certificate could not be made")]
    Failed(#[source] DevError),
}

fn params(common_name: &str, life: Duration) -> CertificateParams {
    let now = OffsetDateTime::now_utc();
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, DEVELOPMENT_ORGANIZATION);
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.not_before = now - BACKDATING;
    params.not_after = now + life;
    params
}

fn asks_for(name: &DistinguishedName, role: &str) -> bool {
    let written: [Option<DnValue>; 2] = [Some(DnValue::Utf8String(role.to_owned())), role.try_into().ok().map(DnValue::PrintableString)];
    name.get(&DnType::CommonName).is_some_and(|asked| written.iter().flatten().any(|value| value == asked))
}

fn load(certificate_path: &Path, key_path: &Path) -> Option<Authority> {
    let certificate = std::fs::read_to_string(certificate_path).ok()?;
    let key = KeyPair::from_pem(&std::fs::read_to_string(key_path).ok()?).ok()?;
    let (_, pem) = parse_x509_pem(certificate.as_bytes()).ok()?;
    let parsed = pem.parse_x509().ok()?;
    let lasts = parsed.validity().time_to_expiration()? > Duration::days(1);
    let belongs = parsed.public_key().raw == key.subject_public_key_info();
    let issuer = Issuer::from_ca_cert_pem(&certificate, key).ok()?;
    (lasts && belongs).then_some(Authority { issuer, certificate })
}
