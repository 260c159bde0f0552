//! The token that Amazon RDS and Aurora take as a password (IAM database authentication).
//!
//! It is a presigned request that nobody sends: made here, without asking anybody.
//! <https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/UsingWithRDS.IAMDBAuth.html>

use std::time::{Duration, SystemTime};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::aws::{AwsCredentials, Region, sign};
use crate::credential::action::Context;
use crate::credential::value::Draft;
use crate::credential::{ExchangeError, Login};
use crate::fetch::form;
use crate::secret::Secret;

/// What the token is for, beside the target's host, port and role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The region of the database.
    pub region: Region,
    /// The instance's or cluster's own endpoint, where `targets[].host` is another name for it: the token is good for no other.
    #[serde(default)]
    pub host: Option<String>,
    /// The endpoint's own port, where `targets[].port` differs.
    #[serde(default)]
    pub port: Option<u16>,
}

/// For how long the token lets somebody log in.
const LIFE: Duration = Duration::from_secs(15 * 60);

/// Makes the token. The keys' own end ends it too.
pub(in crate::credential) fn make(settings: &Settings, keys: &AwsCredentials, context: Context<'_>) -> Result<Draft, ExchangeError> {
    let now = SystemTime::now();
    let token = token(settings, keys, context, now)?;
    Ok(Draft { id: None, login: Login::Password(token), role: None, expires_at: keys.expires_at.min(now + LIFE) })
}

fn token(settings: &Settings, keys: &AwsCredentials, context: Context<'_>, now: SystemTime) -> Result<Secret<String>, ExchangeError> {
    let host = settings.host.as_deref().unwrap_or(&context.target.host);
    let port = settings.port.unwrap_or(context.target.port);
    // botocore writes a space as %20, and the signature is over what is written.
    let asked = form(&[("Action", "connect"), ("DBUser", context.role)]).replace('+', "%20");
    let address = format!("{host}:{port}/?{asked}");
    let scope = sign::Scope { service: "rds-db", region: settings.region.as_str(), time: now };
    let mut signed = sign::query(keys, scope, &format!("https://{address}"), LIFE)?;
    // As botocore has it: the signature is the last.
    signed.sort_by_key(|(name, _)| *name == "X-Amz-Signature");
    let fields: Vec<_> = signed.iter().map(|(name, value)| (*name, value.expose().as_str())).collect();
    let signed = Secret::new(form(&fields));
    Ok(Secret::new(format!("{address}&{}", signed.expose())))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use serde_json::{Value, json};

    use super::{Settings, token};
    use crate::aws::AwsCredentials;
    use crate::credential::action::Context;
    use crate::credential::stand_in::{proof, target};
    use crate::credential::value::Token;
    use crate::secret::Secret;

    #[test]
    fn the_token_is_botocores_to_the_last_byte() {
        let golden: Value = serde_json::from_str(include_str!("../../../tests/data/aws/signatures.json")).unwrap();
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(golden["unix_time"].as_u64().unwrap());
        let key = |place: usize| golden["keys"][place].as_str().unwrap();
        let keys = AwsCredentials {
            access_key_id: key(0).to_owned(),
            secret_access_key: Secret::from(key(1)),
            session_token: Secret::from(key(2)),
            expires_at: time,
        };
        let proof = proof();
        for case in golden["rds"].as_array().unwrap() {
            let settings: Settings =
                serde_json::from_value(json!({ "region": case["region"], "host": case["host"], "port": case["port"] })).unwrap();
            let role = case["user"].as_str().unwrap();
            let context = Context { workload: &Token::of(&proof), principal: &proof.principal, certificate: None, target: &target(), role };
            let made = token(&settings, &keys, context, time).unwrap();
            assert_eq!(made.expose(), case["token"].as_str().unwrap());
        }
    }
}
