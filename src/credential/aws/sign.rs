//! AWS Signature Version 4: in headers, and in a query that somebody else will send.

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PercentEncodingMode, SignableBody, SignableRequest, SignatureLocation, SigningInstructions, SigningSettings, sign,
};
use aws_sigv4::sign::v4;
use tracing::subscriber::{NoSubscriber, with_default};

use crate::credential::value::AwsCredentials;
use crate::credential::{ExchangeError, answer};
use crate::fetch::endpoint::Endpoint;
use crate::secret::Secret;

/// What a signature is good for.
#[derive(Debug, Clone, Copy)]
pub struct Scope<'a> {
    /// The service's name in signatures.
    pub service: &'a str,
    /// The region's.
    pub region: &'a str,
    /// When it is made.
    pub time: SystemTime,
}

/// The headers that sign a POST with these other headers and this body.
///
/// # Errors
/// The keys, or what is signed, cannot be put in the form that is signed.
pub fn headers(
    keys: &AwsCredentials,
    scope: Scope<'_>,
    to: &Endpoint,
    headers: &[(&'static str, &str)],
    body: &[u8],
) -> Result<Vec<(&'static str, Secret<String>)>, ExchangeError> {
    let request =
        SignableRequest::new("POST", to.as_str(), headers.iter().copied(), SignableBody::Bytes(body)).map_err(answer::internal)?;
    let (made, _) = instructions(keys, scope, SigningSettings::default(), request)?.into_parts();
    Ok(made.iter().map(|header| (header.name(), Secret::from(header.value()))).collect())
}

/// The parameters that sign a GET of `url`, which may be sent until `life` from now. They may be secret.
pub(super) fn query(
    keys: &AwsCredentials,
    scope: Scope<'_>,
    url: &str,
    life: Duration,
) -> Result<Vec<(&'static str, Secret<String>)>, ExchangeError> {
    let mut settings = SigningSettings::default();
    settings.signature_location = SignatureLocation::QueryParams;
    settings.percent_encoding_mode = PercentEncodingMode::Double;
    settings.expires_in = Some(life);
    let request = SignableRequest::new("GET", url, std::iter::empty(), SignableBody::Bytes(b"")).map_err(answer::internal)?;
    let (_, made) = instructions(keys, scope, settings, request)?.into_parts();
    Ok(made.into_iter().map(|(name, value)| (name, Secret::new(value.into_owned()))).collect())
}

fn instructions(
    keys: &AwsCredentials,
    scope: Scope<'_>,
    settings: SigningSettings,
    request: SignableRequest<'_>,
) -> Result<SigningInstructions, ExchangeError> {
    let session_token = Some(keys.session_token.expose().clone());
    let identity =
        Credentials::new(keys.access_key_id.clone(), keys.secret_access_key.expose().clone(), session_token, None, "tollhouse").into();
    let parameters = v4::SigningParams::builder()
        .identity(&identity)
        .region(scope.region)
        .name(scope.service)
        .time(scope.time)
        .settings(settings)
        .build()
        .map_err(answer::internal)?
        .into();
    // At the level trace the library logs what it signs, and the session token is part of that.
    let signed = with_default(NoSubscriber::default(), || sign(request, &parameters));
    Ok(signed.map_err(answer::internal)?.into_parts().0)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use serde_json::Value;

    use super::{Scope, headers};
    use crate::credential::value::AwsCredentials;
    use crate::fetch::endpoint::Endpoint;
    use crate::secret::Secret;

    #[test]
    fn a_signed_call_has_botocores_signature() {
        let golden: Value = serde_json::from_str(include_str!("../../../tests/data/aws/signatures.json")).unwrap();
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(golden["unix_time"].as_u64().unwrap());
        let key = |place: usize| golden["keys"][place].as_str().unwrap();
        let keys = AwsCredentials {
            access_key_id: key(0).to_owned(),
            secret_access_key: Secret::from(key(1)),
            session_token: Secret::from(key(2)),
            expires_at: time,
        };
        for post in golden["posts"].as_array().unwrap() {
            let text = |name: &str| post[name].as_str().unwrap();
            let given = post["headers"].as_object().unwrap();
            let value = |name: &str| given.get(name).and_then(Value::as_str);
            let names = [("content-type", "Content-Type"), ("x-amz-target", "X-Amz-Target")];
            let given: Vec<_> = names.into_iter().filter_map(|(ours, theirs)| Some((ours, value(theirs)?))).collect();
            let scope = Scope { service: text("service"), region: text("region"), time };
            let made = headers(&keys, scope, &Endpoint::parse(text("url")).unwrap(), &given, text("body").as_bytes()).unwrap();
            let authorization = made.iter().find(|(name, _)| *name == "authorization").unwrap().1.expose();
            assert_eq!(authorization, text("authorization"));
        }
    }
}
