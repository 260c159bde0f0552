//! SCRAM-SHA-256 as a server, for clients that insist on authenticating to the proxy.
//!
//! Source: RFC 5802 and RFC 7677; RFC 5929 for what a login is bound to; PostgreSQL documentation, section 54.3.1.

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

/// The name of the mechanism with channel binding.
pub(super) const MECHANISM_PLUS: &str = "SCRAM-SHA-256-PLUS";

/// The one kind of channel binding in use (RFC 5929, section 4.1).
const END_POINT_HEADER: &str = "p=tls-server-end-point,,";

/// What a conversation may be bound to.
#[derive(Debug, Clone, Copy)]
pub(super) enum Binding<'a> {
    /// To nothing: none was offered.
    NotOffered,
    /// To nothing: it was offered, and the client chose to do without.
    Declined,
    /// To the TLS connection, by the hash of our certificate.
    EndPoint(&'a [u8]),
}

impl Binding<'_> {
    /// Splits the client's first message behind its header (`gs2-header`), if the header is one that fits.
    fn split<'m>(&self, client_first: &'m str) -> Result<(&'m str, &'m str), ScramError> {
        let headers: &[_] = match self {
            // `y` means that the client could bind and believes that we cannot, which is true.
            Self::NotOffered => &["n,,", "y,,"],
            // Here it is not: somebody took the offer out of our message (RFC 5802, section 6).
            Self::Declined if client_first.starts_with("y,,") => {
                return Err(ScramError("the offer of channel binding was hidden from the client"));
            }
            Self::Declined => &["n,,"],
            Self::EndPoint(_) => &[END_POINT_HEADER],
        };
        let header = headers.iter().find(|header| client_first.starts_with(**header));
        header.and_then(|header| client_first.split_at_checked(header.len())).ok_or(ScramError("wrong kind of channel binding"))
    }

    fn data(&self) -> &[u8] {
        match self {
            Self::NotOffered | Self::Declined => &[],
            Self::EndPoint(hash) => hash,
        }
    }
}

/// What a server has to know of a password to check proofs of it.
pub(super) struct Verifier {
    salt: [u8; 16],
    stored_key: [u8; KEY_BYTES],
    server_key: Secret<Vec<u8>>,
}

/// A conversation between the two messages of the client.
pub(super) struct Challenge {
    client_first_bare: String,
    /// What the client must show of the channel: base64 of its header and the data it binds to.
    channel: String,
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
    pub(super) fn challenge(&self, client_first: &str, binding: Binding<'_>) -> Result<Challenge, ScramError> {
        let (header, bare) = binding.split(client_first)?;
        // An extension (`m=`) would stand in front of the name, and none is known.
        if !bare.starts_with("n=") {
            return Err(ScramError("no user name"));
        }
        let channel = BASE64.encode([header.as_bytes(), binding.data()].concat());
        let client_nonce = bare
            .split(',')
            .find_map(|part| part.strip_prefix("r="))
            .filter(|nonce| !nonce.is_empty() && nonce.bytes().all(|b| b.is_ascii_graphic()))
            .ok_or(ScramError("no nonce"))?;
        let mut random = [0; 18];
        rand::fill(&mut random).map_err(|_| ScramError("no randomness"))?;
        let nonce = format!("{client_nonce}{}", BASE64.encode(random));
        let server_first = format!("r={nonce},s={},i={ITERATIONS}", BASE64.encode(self.salt));
        Ok(Challenge { client_first_bare: bare.to_owned(), channel, nonce, server_first })
    }

    /// Checks the client's proof and returns the server's own (server-final-message).
    pub(super) fn finish(&self, challenge: &Challenge, client_final: &str) -> Result<String, ScramError> {
        let (without_proof, proof) = client_final.rsplit_once(",p=").ok_or(ScramError("no proof"))?;
        let mut parts = without_proof.split(',');
        let channel = parts.next().and_then(|part| part.strip_prefix("c=")).ok_or(ScramError("no channel binding data"))?;
        if channel != challenge.channel {
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

    use super::{Binding, Verifier};
    use crate::secret::Secret;

    /// The other side is rust-postgres' own client code.
    fn converse(passwords: [&str; 2], ours: Binding<'_>, theirs: ChannelBinding) -> Result<(), String> {
        let [server_password, client_password] = passwords;
        let verifier = Verifier::new(&Secret::from(server_password)).unwrap();
        let mut client = ScramSha256::new(client_password.as_bytes(), theirs);
        let first = String::from_utf8(client.message().to_vec()).unwrap();
        let challenge = verifier.challenge(&first, ours).map_err(|e| e.to_string())?;
        client.update(challenge.server_first.as_bytes()).map_err(|e| e.to_string())?;
        let last = String::from_utf8(client.message().to_vec()).unwrap();
        let proof = verifier.finish(&challenge, &last).map_err(|e| e.to_string())?;
        client.finish(proof.as_bytes()).map_err(|e| e.to_string())
    }

    #[test]
    fn the_right_password_is_accepted_and_the_server_proves_itself() {
        for theirs in [ChannelBinding::unsupported(), ChannelBinding::unrequested()] {
            assert_eq!(converse(["s3cret", "s3cret"], Binding::NotOffered, theirs), Ok(()));
        }
        assert_eq!(converse(["s3cret", "s3cret"], Binding::Declined, ChannelBinding::unsupported()), Ok(()));
    }

    #[test]
    fn a_wrong_password_is_refused() {
        let refused = converse(["s3cret", "guess"], Binding::NotOffered, ChannelBinding::unsupported());
        assert!(refused.unwrap_err().contains("wrong proof"));
    }

    #[test]
    fn a_login_is_bound_to_the_certificate_that_both_sides_saw() {
        let bound_to = |theirs: &[u8]| {
            converse(["s3cret", "s3cret"], Binding::EndPoint(b"our certificate"), ChannelBinding::tls_server_end_point(theirs.to_vec()))
        };
        assert_eq!(bound_to(b"our certificate"), Ok(()));
        assert!(bound_to(b"the certificate of somebody in between").unwrap_err().contains("wrong channel binding data"));
    }

    #[test]
    fn a_client_from_which_the_offer_of_channel_binding_was_hidden_is_refused() {
        let refused = converse(["s3cret", "s3cret"], Binding::Declined, ChannelBinding::unrequested());
        assert!(refused.unwrap_err().contains("hidden"));
    }

    #[test]
    fn a_client_that_binds_where_nothing_was_offered_or_chosen_is_refused() {
        for ours in [Binding::NotOffered, Binding::Declined] {
            assert!(converse(["s3cret", "s3cret"], ours, ChannelBinding::tls_server_end_point(b"x".to_vec())).is_err());
        }
        assert!(converse(["s3cret", "s3cret"], Binding::EndPoint(b"x"), ChannelBinding::unsupported()).is_err());
    }

    #[test]
    fn malformed_messages_are_refused() {
        let verifier = Verifier::new(&Secret::from("x")).unwrap();
        for first in ["", "p=tls-unique,,n=,r=abc", "n,,n=", "n,,n=,r=", "n,,m=x,n=,r=abc", "n,a=other,n=,r=abc"] {
            assert!(verifier.challenge(first, Binding::NotOffered).is_err(), "{first}");
        }
        let challenge = verifier.challenge("n,,n=,r=abc", Binding::NotOffered).unwrap();
        let [replayed, other_header] = ["biws", "eSws"].map(|channel| format!("c={channel},r={},p=AAAA", challenge.nonce));
        for last in ["", "c=biws,r=abc,p=", "c=biws,r=zzz,p=AAAA", replayed.as_str(), other_header.as_str()] {
            assert!(verifier.finish(&challenge, last).is_err(), "{last}");
        }
    }
}
