//! Redshift's challenge and response by SHA-256 (authentication code 13).
//!
//! Documented nowhere: the layout follows the code of redshift_connector 2.1, and was not tried against Redshift.

use aws_lc_rs::digest::{Context, Digest, SHA256};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rand;
use bytes::{BufMut, BytesMut};

use super::message::{Fields, write};

/// The one algorithm in use.
const ALGORITHM_SHA256: i32 = 0;

/// What the server asks.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Challenge<'a> {
    salt: &'a [u8],
    server_nonce: &'a [u8],
}

impl<'a> Challenge<'a> {
    /// What follows the code in the authentication request.
    pub(super) fn parse(mut fields: Fields<'a>) -> Option<Self> {
        let algorithm = fields.int32()?;
        let challenge = Self { salt: counted(&mut fields)?, server_nonce: counted(&mut fields)? };
        (algorithm == ALGORITHM_SHA256).then_some(challenge)
    }

    /// Appends the answer: the digest, and the nonce that it was made with.
    pub(super) fn answer(&self, password: &[u8], client_nonce: &[u8], out: &mut BytesMut) {
        let salted = sha256(&[password, self.salt]);
        let digest = sha256(&[salted.as_ref(), self.server_nonce, client_nonce]);
        write(out, b'd', |body| {
            for part in [digest.as_ref(), client_nonce] {
                body.put_u32(u32::try_from(part.len()).unwrap_or(0));
                body.extend_from_slice(part);
            }
        });
    }
}

/// A nonce of digits, like the client library's own.
///
/// # Errors
/// The system has no randomness.
pub(super) fn nonce() -> Result<Vec<u8>, Unspecified> {
    let mut random = [0; 16];
    rand::fill(&mut random)?;
    Ok(format!("{}", u128::from_be_bytes(random)).into_bytes())
}

fn counted<'a>(fields: &mut Fields<'a>) -> Option<&'a [u8]> {
    let length = usize::try_from(fields.int32()?).ok()?;
    let (value, rest) = fields.0.split_at_checked(length)?;
    fields.0 = rest;
    Some(value)
}

fn sha256(parts: &[&[u8]]) -> Digest {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(part);
    }
    context.finish()
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::{Challenge, Fields};

    #[test]
    fn the_answer_is_that_of_the_client_library() {
        let challenge = Challenge::parse(Fields(b"\0\0\0\0\0\0\0\x04salt\0\0\0\x05nonce")).unwrap();
        assert_eq!(challenge, Challenge { salt: b"salt", server_nonce: b"nonce" });
        let mut out = BytesMut::new();
        challenge.answer(b"hunter2", b"1234567890123", &mut out);
        // Computed by the library's `ExtensibleDigest.encode`.
        let digest = [
            0xa7, 0x6e, 0xad, 0x41, 0xa8, 0x2e, 0xc8, 0xf2, 0x02, 0x2e, 0x19, 0xd5, 0x20, 0xb8, 0xf7, 0x6e, 0xdd, 0x3b, 0x58, 0x37, 0x4a,
            0x35, 0xcf, 0x49, 0xe3, 0xce, 0xc9, 0xe3, 0x21, 0xda, 0x7b, 0xe5,
        ];
        let expected = [b"d\0\0\0\x39\0\0\0\x20".as_slice(), &digest, b"\0\0\0\x0d1234567890123"].concat();
        assert_eq!(out, expected);
    }

    #[test]
    fn a_challenge_that_is_cut_off_or_of_another_algorithm_is_not_answered() {
        for body in [
            &b"\0\0\0\x01\0\0\0\x04salt\0\0\0\x05nonce"[..],
            b"\0\0\0\0\0\0\0\x04sal",
            b"\0\0\0\0\0\0\0\x04salt\0\0\0\x06nonce",
            b"\0\0\0\0\xff\xff\xff\xffsalt",
            b"",
        ] {
            assert_eq!(Challenge::parse(Fields(body)), None, "{body:?}");
        }
    }
}
