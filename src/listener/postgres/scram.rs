//! SCRAM-SHA-256 as a server, for clients that insist on authenticating to the proxy.
//!
//! Source: RFC 5802 and RFC 7677; PostgreSQL documentation, section 54.3.1. Channel binding is not offered.

use std::num::NonZeroU32;

use aws_lc_rs::{constant_time, digest, hmac, pbkdf2, rand};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::secret::Secret;

/// PostgreSQL's own default (`scram_iterations`).
const ITERATIONS: NonZeroU32 = NonZeroU32::MIN.saturating_add(4095);

const KEY_BYTES: usize = 32;

/// The mechanism's name on the wire.
pub(super) const MECHANISM: &str = "SCRAM-SHA-256";

/// What a server has to know of a password to check proofs of it.
pub(super) struct Verifier {
    salt: [u8; 16],
    stored_key: [u8; KEY_BYTES],
    server_key: Secret<Vec<u8>>,
}

/// A conversation between the two messages of the client.
pub(super) struct Challenge {
    client_first_bare: String,
    nonce: String,
    /// What the client is asked (server-first-message).
    pub(super) server_first: String,
}

/// The client did not prove that it knows the password, or did not speak SCRAM.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the SCRAM conversation failed: {0}")]
pub(super) struct ScramError(&'static str);

impl Verifier {
    /// Derives the keys of a password. The password is used as it is: it is random, made by a machine.
    pub(super) fn new(password: &Secret<String>) -> Result<Self, ScramError> {
        let mut salt = [0; 16];
        rand::fill(&mut salt).map_err(|_| ScramError("no randomness"))?;
        let mut salted = [0; KEY_BYTES];
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, ITERATIONS, &salt, password.expose().as_bytes(), &mut salted);
        let client_key = mac(&salted, b"Client Key");
        let server_key = mac(&salted, b"Server Key");
        let stored_key = digest::digest(&digest::SHA256, &client_key);
        Ok(Self {
            salt,
            stored_key: stored_key.as_ref().try_into().map_err(|_| ScramError("wrong digest length"))?,
            server_key: Secret::new(server_key.to_vec()),
        })
    }

    /// Answers the client's first message.
    pub(super) fn challenge(&self, client_first: &str) -> Result<Challenge, ScramError> {
        // `y` means that the client could bind and believes that we cannot, which is true.
        let bare = client_first
            .strip_prefix("n,,")
            .or_else(|| client_first.strip_prefix("y,,"))
            .ok_or(ScramError("channel binding is not offered"))?;
        let client_nonce = bare
            .split(',')
            .find_map(|part| part.strip_prefix("r="))
            .filter(|nonce| !nonce.is_empty() && nonce.bytes().all(|b| b.is_ascii_graphic()))
            .ok_or(ScramError("no nonce"))?;
        let mut random = [0; 18];
        rand::fill(&mut random).map_err(|_| ScramError("no randomness"))?;
        let nonce = format!("{client_nonce}{}", BASE64.encode(random));
        let server_first = format!("r={nonce},s={},i={ITERATIONS}", BASE64.encode(self.salt));
        Ok(Challenge { client_first_bare: bare.to_owned(), nonce, server_first })
    }

    /// Checks the client's proof and returns the server's own (server-final-message).
    pub(super) fn finish(&self, challenge: &Challenge, client_final: &str) -> Result<String, ScramError> {
        let (without_proof, proof) = client_final.rsplit_once(",p=").ok_or(ScramError("no proof"))?;
        let mut parts = without_proof.split(',');
        let binding = parts.next().and_then(|part| part.strip_prefix("c=")).ok_or(ScramError("no channel binding data"))?;
        if !["biws", "eSws"].contains(&binding) {
            return Err(ScramError("wrong channel binding data"));
        }
        let nonce = parts.next().and_then(|part| part.strip_prefix("r="));
        if nonce != Some(challenge.nonce.as_str()) {
            return Err(ScramError("wrong nonce"));
        }
        let message = format!("{},{},{without_proof}", challenge.client_first_bare, challenge.server_first);
        let signature = mac(&self.stored_key, message.as_bytes());
        let proof = BASE64.decode(proof).map_err(|_| ScramError("the proof is not base64"))?;
        if proof.len() != KEY_BYTES {
            return Err(ScramError("the proof has the wrong length"));
        }
        let client_key: Vec<u8> = proof.iter().zip(&signature).map(|(a, b)| a ^ b).collect();
        let shown = digest::digest(&digest::SHA256, &client_key);
        constant_time::verify_slices_are_equal(shown.as_ref(), &self.stored_key).map_err(|_| ScramError("wrong proof"))?;
        let server_signature = mac(self.server_key.expose(), message.as_bytes());
        Ok(format!("v={}", BASE64.encode(server_signature)))
    }
}

fn mac(key: &[u8], message: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message).as_ref().to_vec()
}

#[cfg(test)]
mod tests {
    use postgres_protocol::authentication::sasl::{ChannelBinding, ScramSha256};

    use super::{Challenge, Verifier};
    use crate::secret::Secret;

    /// The other side is rust-postgres' own client code.
    fn converse(server_password: &str, client_password: &str) -> Result<(), String> {
        let verifier = Verifier::new(&Secret::from(server_password)).unwrap();
        let mut client = ScramSha256::new(client_password.as_bytes(), ChannelBinding::unsupported());
        let first = String::from_utf8(client.message().to_vec()).unwrap();
        let challenge: Challenge = verifier.challenge(&first).map_err(|e| e.to_string())?;
        client.update(challenge.server_first.as_bytes()).map_err(|e| e.to_string())?;
        let last = String::from_utf8(client.message().to_vec()).unwrap();
        let proof = verifier.finish(&challenge, &last).map_err(|e| e.to_string())?;
        client.finish(proof.as_bytes()).map_err(|e| e.to_string())
    }

    #[test]
    fn the_right_password_is_accepted_and_the_server_proves_itself() {
        assert_eq!(converse("s3cret", "s3cret"), Ok(()));
    }

    #[test]
    fn a_wrong_password_is_refused() {
        assert!(converse("s3cret", "guess").unwrap_err().contains("wrong proof"));
    }

    #[test]
    fn malformed_messages_are_refused() {
        let verifier = Verifier::new(&Secret::from("x")).unwrap();
        for first in ["", "p=tls-server-end-point,,n=,r=abc", "n,,n=", "n,,n=,r="] {
            assert!(verifier.challenge(first).is_err(), "{first}");
        }
        let challenge = verifier.challenge("n,,n=,r=abc").unwrap();
        let replayed = format!("c=biws,r={},p=AAAA", challenge.nonce);
        for last in ["", "c=biws,r=abc,p=", "c=biws,r=zzz,p=AAAA", replayed.as_str()] {
            assert!(verifier.finish(&challenge, last).is_err(), "{last}");
        }
    }
}
