//! What AWS says when it refuses: a code, and never more of it.

use serde::Deserialize;

use crate::fetch::Answer;
use crate::fetch::endpoint::Endpoint;
use crate::fetch::failure::{self, Failure, Kind};

/// `ErrorResponse` of the query protocol.
#[derive(Deserialize)]
struct XmlRefusal {
    #[serde(rename = "Error")]
    error: XmlError,
}

#[derive(Deserialize)]
struct XmlError {
    #[serde(rename = "Code")]
    code: String,
}

/// The error of the JSON protocol.
#[derive(Deserialize)]
struct JsonRefusal {
    #[serde(rename = "__type")]
    kind: String,
}

/// Codes that mean to come again: throttles, and an issuer that STS could not reach.
const TRANSIENT: &[&str] = &[
    "BandwidthLimitExceeded",
    "EC2ThrottledException",
    "IDPCommunicationError",
    "InternalFailure",
    "InternalServerException",
    "LimitExceededException",
    "PriorRequestNotComplete",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "RequestThrottled",
    "RequestThrottledException",
    "ServiceUnavailable",
    "SlowDown",
    "ThrottledException",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
    "TransactionInProgressException",
];

/// The failure that an answer is, by its code.
pub(super) fn refused(from: &Endpoint, answer: &Answer) -> Failure {
    let text = std::str::from_utf8(answer.body.expose()).unwrap_or_default();
    let code = quick_xml::de::from_str::<XmlRefusal>(text).ok().map(|refusal| refusal.error.code);
    let code = code.or_else(|| serde_json::from_str::<JsonRefusal>(text).ok().map(|refusal| refusal.kind));
    coded(from, answer, code.as_deref().and_then(|code| code.rsplit('#').next()))
}

/// The failure that a code means.
pub(super) fn coded(from: &Endpoint, answer: &Answer, code: Option<&str>) -> Failure {
    let code = code.filter(|code| is_code(code));
    let named = match (code, answer.header("x-amzn-requestid").filter(|id| is_request_id(id))) {
        (Some(code), Some(id)) => Some(format!("{code} (request {id})")),
        (code, _) => code.map(str::to_owned),
    };
    let failure = failure::refused(from, answer, named.as_deref());
    let failure = match code {
        Some(code) if TRANSIENT.contains(&code) => Failure { kind: Kind::Away, ..failure },
        Some(_) | None => failure,
    };
    match code.and_then(fix) {
        Some(fix) => failure.fix(fix),
        None => failure,
    }
}

/// What to do about a code.
fn fix(code: &str) -> Option<&'static str> {
    Some(match code.strip_suffix("Fault").unwrap_or(code) {
        "AccessDenied" | "AccessDeniedException" => {
            "the role's trust policy or permissions do not allow this; check the conditions on `aud` and `sub`, and the actions it may use"
        }
        "ExpiredToken" | "ExpiredTokenException" => "the token or keys have expired; check that the token file is still refreshed",
        "InvalidIdentityToken" | "IDPRejectedClaim" => {
            "AWS does not take the token; check the IAM identity provider of its issuer, the audiences there, and that the token is not used up"
        }
        "IDPCommunicationError" => "AWS could not fetch the issuer's keys; check that the issuer can be reached from the internet",
        "InvalidClientTokenId" | "UnrecognizedClientException" => "AWS does not know the keys; check that they are for this partition",
        "SignatureDoesNotMatch" | "RequestExpired" | "InvalidSignatureException" => {
            "AWS does not take the signature; check this node's clock (AWS tolerates 5 minutes) and the region"
        }
        "RegionDisabledException" => "STS is not enabled in this region for the account",
        "ValidationError" | "ValidationException" | "InvalidParameterValue" => {
            "AWS does not take a parameter; check the durations against what the role allows, and the names"
        }
        "MalformedPolicyDocument" | "PackedPolicyTooLarge" => "the session policy cannot be used; check `policy` and `policy_arns`",
        "ClusterNotFound" | "ResourceNotFoundException" | "ResourceNotFound" => "AWS has nothing of that name in this region and account",
        "UnsupportedOperation" => "this cluster does not do that; use another `deployment`",
        "OutboundWebIdentityFederationDisabled" | "OutboundWebIdentityFederationDisabledException" => {
            "enable outbound web identity federation in the AWS account"
        }
        "SessionDurationEscalation" | "SessionDurationEscalationException" => {
            "the token would live longer than the keys that ask for it; lower `lifetime`"
        }
        "JWTPayloadSizeExceeded" | "JWTPayloadSizeExceededException" => "the token would be too large; ask for fewer audiences",
        _ => return None,
    })
}

fn is_code(code: &str) -> bool {
    (1..=64).contains(&code.len()) && code.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._".contains(&byte))
}

fn is_request_id(id: &str) -> bool {
    (1..=64).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-')
}
