//! Channel binding: what ties a login to the TLS connection that it runs over.
//!
//! Source: RFC 5929, section 4.1 (`tls-server-end-point`). The other binding types are not used by PostgreSQL.

use aws_lc_rs::digest;
use rustls::pki_types::CertificateDer;
use x509_parser::certificate::X509Certificate;
use x509_parser::der_parser::oid::Oid;
use x509_parser::oid_registry::{
    OID_HASH_SHA1, OID_NIST_HASH_SHA256, OID_NIST_HASH_SHA384, OID_NIST_HASH_SHA512, OID_PKCS1_MD5WITHRSAENC, OID_PKCS1_SHA1WITHRSA,
    OID_PKCS1_SHA224WITHRSA, OID_PKCS1_SHA256WITHRSA, OID_PKCS1_SHA384WITHRSA, OID_PKCS1_SHA512WITHRSA, OID_SIG_ECDSA_WITH_SHA224,
    OID_SIG_ECDSA_WITH_SHA256, OID_SIG_ECDSA_WITH_SHA384, OID_SIG_ECDSA_WITH_SHA512,
};
use x509_parser::prelude::FromDer;
use x509_parser::signature_algorithm::SignatureAlgorithm;
use x509_parser::x509::AlgorithmIdentifier;

/// The hash of a server's certificate that both ends of its connections can compute.
///
/// `None` where RFC 5929 defines none: the signature has no single hash function (Ed25519), or is unknown to us.
pub(crate) fn server_end_point(certificate: &CertificateDer<'_>) -> Option<Vec<u8>> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let algorithm = hash_of(&parsed.signature_algorithm)?;
    Some(digest::digest(algorithm, certificate).as_ref().to_vec())
}

fn hash_of(signature: &AlgorithmIdentifier<'_>) -> Option<&'static digest::Algorithm> {
    let by_oid = |oid: &Oid<'_>| HASHES.iter().find(|(oids, _)| oids.contains(oid)).map(|(_, algorithm)| *algorithm);
    match SignatureAlgorithm::try_from(signature) {
        Ok(SignatureAlgorithm::RSASSA_PSS(parameters)) => by_oid(parameters.hash_algorithm_oid()),
        // What the parser does not know is told apart by its identifier just as well.
        Ok(_) | Err(_) => by_oid(&signature.algorithm),
    }
}

/// MD5 and SHA-1 count as SHA-256 (RFC 5929, section 4.1).
const HASHES: [(&[Oid<'static>], &digest::Algorithm); 4] = [
    (
        &[
            OID_PKCS1_MD5WITHRSAENC,
            OID_PKCS1_SHA1WITHRSA,
            OID_HASH_SHA1,
            OID_PKCS1_SHA256WITHRSA,
            OID_SIG_ECDSA_WITH_SHA256,
            OID_NIST_HASH_SHA256,
        ],
        &digest::SHA256,
    ),
    (&[OID_PKCS1_SHA224WITHRSA, OID_SIG_ECDSA_WITH_SHA224], &digest::SHA224),
    (&[OID_PKCS1_SHA384WITHRSA, OID_SIG_ECDSA_WITH_SHA384, OID_NIST_HASH_SHA384], &digest::SHA384),
    (&[OID_PKCS1_SHA512WITHRSA, OID_SIG_ECDSA_WITH_SHA512, OID_NIST_HASH_SHA512], &digest::SHA512),
];

#[cfg(test)]
mod tests {
    use aws_lc_rs::digest;
    use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, SignatureAlgorithm};

    use super::server_end_point;

    fn hashed(algorithm: &'static SignatureAlgorithm, by: &'static digest::Algorithm) -> (Option<Vec<u8>>, Vec<u8>) {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let certificate = CertificateParams::new(["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
        (server_end_point(certificate.der()), digest::digest(by, certificate.der()).as_ref().to_vec())
    }

    #[test]
    fn the_hash_is_the_one_of_the_certificates_signature() {
        for (algorithm, by) in [(&PKCS_ECDSA_P256_SHA256, &digest::SHA256), (&PKCS_ECDSA_P384_SHA384, &digest::SHA384)] {
            let (found, expected) = hashed(algorithm, by);
            assert_eq!(found, Some(expected));
        }
    }

    #[test]
    fn a_signature_without_a_hash_function_and_what_is_no_certificate_bind_nothing() {
        assert_eq!(hashed(&PKCS_ED25519, &digest::SHA512).0, None);
        assert_eq!(server_end_point(&b"not a certificate".to_vec().into()), None);
    }
}
