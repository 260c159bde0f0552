//! A workload to exchange for, and the warehouse that it is for.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::credential::{Credential, ExchangeError, Step, exchange};
use crate::identity::{Principal, Proof};
use crate::secret::Secret;
use crate::target::{Opening, Target};
use crate::tls::Trust;

/// A JWT that nobody signed.
pub(super) fn jwt(claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.{}", part(&json!({ "alg": "ES256" })), part(claims), URL_SAFE_NO_PAD.encode("c2lnbmF0dXJl-hunter2"))
}

/// The end of the workload's token.
const EXP: u64 = 4_102_444_800;

/// The workload's token: for the audience `tollhouse`, until the end of the century. The same each time.
pub(super) fn proof() -> Proof {
    let expires_at = SystemTime::UNIX_EPOCH + Duration::from_secs(EXP);
    let subject = "system:serviceaccount:shop:dbt";
    let principal = Principal {
        issuer: "https://cluster.example".to_owned(),
        subject: subject.to_owned(),
        token_id: Some("proof-1".to_owned()),
        actors: Vec::new(),
        namespace: Some("shop".to_owned()),
        service_account: Some("dbt".to_owned()),
        pod: None,
        pod_uid: None,
        labels: BTreeMap::new(),
        proven_by: "stand_in",
        expires_at,
    };
    Proof {
        principal: Arc::new(principal),
        token: Secret::new(jwt(&json!({ "sub": subject, "aud": ["tollhouse"], "exp": EXP }))),
        certificate: None,
    }
}

/// The warehouse.
pub(super) fn target() -> Target {
    Target {
        name: "warehouse".to_owned(),
        kind: "postgresql",
        host: "wh.cluster-abc.eu-west-1.rds.amazonaws.com".to_owned(),
        port: 5432,
        opening: Opening::Plain,
    }
}

/// Runs steps once for the workload, as the role `dbt_runner`.
pub(super) async fn run(steps: Value) -> Result<Credential, ExchangeError> {
    let steps: Vec<Step> = serde_json::from_value(steps).unwrap();
    exchange(&steps, "dbt_runner", Trust::Development).unwrap().exchange(&proof(), &target(), &|_| {}).await
}

/// All that an error says, to whoever prints it in whatever way.
pub(super) fn everything(error: &ExchangeError) -> String {
    let mut text = format!("{error:?} {error} {:?}", error.fix);
    let mut next: Option<&(dyn std::error::Error + 'static)> = error.source.as_deref().map(|source| source as _);
    while let Some(cause) = next {
        text.push_str(&format!(" {cause} {cause:?}"));
        next = cause.source();
    }
    text
}
