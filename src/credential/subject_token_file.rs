//! A token of somebody else's making that lies in a file: the subject of an exchange, and never the word on who is calling.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use openidconnect::url::Url;
use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::credential::chain::ChainProblem;
use crate::credential::value::{Token, TokenKind, UnverifiedClaims};
use crate::fetch::failure::{self, Failure};
use crate::secret::Secret;

/// Where a token lies that another system mounts, and what it is.
///
/// The principal stays the workload that the identity proved: policy and audit go by that. Nothing in this token is verified
/// here; whoever exchanges it does that, and only what comes of it at the warehouse is the subject's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The file, read at each exchange: one line, at most 64 KiB. A SAML 2.0 assertion lies there base64url-encoded.
    pub file: PathBuf,
    /// What the token is: `jwt`, `access_token`, `id_token`, `saml2`, or another URI.
    pub token_type: TokenKind,
}

impl Settings {
    /// Whether the type is one that an endpoint can be told.
    pub(super) fn check(&self) -> Result<(), ChainProblem> {
        match &self.token_type {
            TokenKind::Other(uri) if Url::parse(uri).is_err() => {
                let problem = format!("`{uri}` is none of `jwt`, `access_token`, `id_token` and `saml2`, and no URI");
                Err(ChainProblem::Setting { field: "token_type", problem })
            }
            TokenKind::Jwt | TokenKind::Access | TokenKind::Id | TokenKind::Saml2 | TokenKind::Other(_) => Ok(()),
        }
    }

    /// Reads the token.
    ///
    /// # Errors
    /// `ExchangeUnprepared` when the file holds no such token, or one that has ended. Cancel safe.
    pub(super) async fn obtain(&self) -> Result<Token, Failure> {
        let value = Secret::read(&self.file).await.map_err(failure::unprepared)?;
        let now = SystemTime::now();
        let (value, id, end) = match &self.token_type {
            TokenKind::Saml2 => {
                let end = end_of_assertion(&value)?;
                // RFC 7522, section 2.1: the encoding should not be padded.
                (Secret::from(value.expose().trim_end_matches('=')), None, end)
            }
            TokenKind::Jwt | TokenKind::Access | TokenKind::Id | TokenKind::Other(_) => match UnverifiedClaims::of(&value) {
                Some(claims) => {
                    let end = claims.exp.and_then(|exp| exp.time());
                    (value, claims.id(), end)
                }
                None => (value, None, None),
            },
        };
        if end.is_some_and(|end| end <= now) {
            let error = failure::unprepared(format!("the token in {} has ended", self.file.display()));
            return Err(error.fix("have whoever writes the file renew it"));
        }
        Ok(Token { value, kind: self.token_type.clone(), id, expires_at: end.unwrap_or(now + LIFE_DEFAULT) })
    }
}

/// Life of a token that does not say, as of one whose endpoint does not.
const LIFE_DEFAULT: Duration = Duration::from_secs(300);

/// Padding may be there or not; line breaks may not.
const BASE64URL: GeneralPurpose =
    GeneralPurpose::new(&URL_SAFE, GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent));

/// When an assertion ends by its own word: the first `NotOnOrAfter` of its conditions and confirmations (SAML 2.0 Core, sections
/// 2.4.1.2 and 2.5.1; RFC 7522, section 3 wants one). Only ever shortens what is believed.
///
/// # Errors
/// `ExchangeUnprepared` when it is no base64url of an assertion, or a time in it cannot be read; nothing of it is quoted.
fn end_of_assertion(assertion: &Secret<String>) -> Result<Option<SystemTime>, Failure> {
    let unfit = |what: &'static str| failure::unprepared(what).fix("mount one whole SAML 2.0 assertion, base64url-encoded on one line");
    let bytes = BASE64URL.decode(assertion.expose()).map(Secret::new).map_err(|_| unfit("the assertion is not base64url"))?;
    let mut reader = Reader::from_str(std::str::from_utf8(bytes.expose()).map_err(|_| unfit("the assertion is not UTF-8"))?);
    let mut end: Option<SystemTime> = None;
    let mut is_assertion = false;
    loop {
        match reader.read_event().map_err(|_| unfit("the assertion is not XML"))? {
            Event::Start(element) | Event::Empty(element) => {
                let name = element.local_name();
                if !is_assertion && name.as_ref() != ASSERTION {
                    return Err(unfit("the XML is not an assertion"));
                }
                is_assertion = true;
                if BOUNDED.contains(&name.as_ref()) {
                    let stated = not_on_or_after(&element).map_err(|()| unfit("a NotOnOrAfter of the assertion cannot be read"))?;
                    end = [end, stated].into_iter().flatten().min();
                }
            }
            Event::DocType(_) => return Err(unfit("the assertion has a document type")),
            Event::Eof if is_assertion => return Ok(end),
            Event::Eof => return Err(unfit("the XML is not an assertion")),
            Event::End(_) | Event::Text(_) | Event::CData(_) | Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::GeneralRef(_) => {
            }
        }
    }
}

/// The root of an assertion.
const ASSERTION: &str = "Assertion";
/// Elements whose `NotOnOrAfter` bounds an assertion.
const BOUNDED: [&str; 2] = ["Conditions", "SubjectConfirmationData"];

/// The attribute's time, where the element has it.
fn not_on_or_after(element: &BytesStart<'_>) -> Result<Option<SystemTime>, ()> {
    let Some(attribute) = element.try_get_attribute("NotOnOrAfter").map_err(|_| ())? else { return Ok(None) };
    failure::time(&attribute.value).map(Some).map_err(|_| ())
}
