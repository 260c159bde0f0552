//! A workload's token against a real issuer: every way in which it can be wrong.

use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{EncodingKey, Header};
use serde_json::{Value, json};

use super::{Rig, everything};
use crate::dev::cluster::unix_seconds;
use crate::dev::issuer::{Issuer, KeyKind};
use crate::fault::Reason;
use crate::fetch::endpoint::Endpoint;
use crate::identity::jwks::Pace;
use crate::identity::kubernetes::{Settings, Source, Verifier};
use crate::identity::token::Algorithm;
use crate::identity::{IdentityError, IdentitySource, Principal, SettingsError, oidc};
use crate::secret::Secret;
use crate::tls::{TlsError, Trust};

const QUICK: Pace = Pace { refetch: Duration::ZERO, retry: Duration::ZERO, keep: Duration::from_secs(60) };

async fn verify(settings: &Settings, token: &Secret<String>) -> Result<Principal, IdentityError> {
    Verifier::new(settings, Trust::Development, QUICK).unwrap().verify(token).await
}

/// Signs the cluster's usual claims after a change to them.
fn changed(rig: &Rig, change: impl FnOnce(&mut Value)) -> Secret<String> {
    let mut claims = rig.stand.cluster().claims().unwrap();
    change(&mut claims);
    rig.stand.cluster().issuer().sign(&claims).unwrap()
}

fn encode(part: &Value) -> String {
    URL_SAFE_NO_PAD.encode(part.to_string())
}

/// Verifies and insists that the reason is right and that no part of the token is in the error.
async fn assert_refused(settings: &Settings, token: &Secret<String>, reason: Reason, case: &str) {
    let error = verify(settings, token).await.unwrap_err();
    assert_eq!(error.reason, reason, "{case}: {}", everything(&error));
    let said = everything(&error);
    for part in token.expose().split('.').filter(|part| part.len() > 8) {
        assert!(!said.contains(part), "{case}: {said}");
    }
    for private in ["dbt-runner", "elsewhere", "intruder"] {
        assert!(!said.contains(private), "{case}: {said}");
    }
}

#[tokio::test]
async fn a_projected_token_proves_the_service_account_and_its_pod() {
    let rig = Rig::start().await;
    let labels = rig.directory.path().join("labels");
    std::fs::write(&labels, "app=\"dbt\"\nteam=\"finance\"\n").unwrap();
    let mut settings = Settings { labels_file: Some(labels.clone()), ..rig.identity() };
    settings.labels.insert("team".to_owned(), "data".to_owned());
    let source = Source::new(&settings, Trust::Development).unwrap();

    let proof = source.prove().await.unwrap();
    let who = &proof.principal;
    assert_eq!(who.subject, "system:serviceaccount:demo:dbt-runner");
    assert_eq!((who.namespace.as_deref(), who.service_account.as_deref()), (Some("demo"), Some("dbt-runner")));
    assert_eq!(who.pod.as_deref(), Some("dbt-runner-0"));
    assert!(who.pod_uid.is_some() && who.token_id.is_some());
    assert_eq!(who.labels, [("app", "dbt"), ("team", "data")].map(|(k, v)| (k.to_owned(), v.to_owned())).into());
    let life = who.expires_at.duration_since(SystemTime::now()).unwrap().as_secs();
    assert!((590..=600).contains(&life), "{life}");

    std::fs::write(&labels, "app=dbt").unwrap();
    assert_eq!(source.prove().await.unwrap_err().reason, Reason::LabelsUnreadable);
}

#[tokio::test]
async fn every_claim_that_is_wrong_has_its_own_reason() {
    let rig = Rig::start().await;
    let settings = rig.identity();
    let now = unix_seconds(SystemTime::now());
    let cases: Vec<(&str, Reason, Secret<String>)> = vec![
        ("expired", Reason::TokenExpired, changed(&rig, |claims| claims["exp"] = json!(now - 31))),
        ("not yet valid", Reason::TokenNotYetValid, changed(&rig, |claims| claims["nbf"] = json!(now + 35))),
        ("wrong audience", Reason::TokenWrongAudience, changed(&rig, |claims| claims["aud"] = json!(["warehouse"]))),
        ("wrong issuer", Reason::TokenWrongIssuer, changed(&rig, |claims| claims["iss"] = json!("https://elsewhere"))),
        ("warnafter", Reason::TokenWrongAudience, changed(&rig, |claims| claims["kubernetes.io"]["warnafter"] = json!(now))),
        ("other account", Reason::TokenClaims, changed(&rig, |claims| claims["sub"] = json!("system:serviceaccount:demo:intruder"))),
        ("other namespace", Reason::TokenClaims, changed(&rig, |claims| claims["kubernetes.io"]["namespace"] = json!("elsewhere"))),
        ("endless", Reason::TokenClaims, changed(&rig, |claims| claims["exp"] = json!(1e19))),
        ("several issuers", Reason::TokenClaims, changed(&rig, |claims| claims["iss"] = json!([settings.issuer.as_str()]))),
    ];
    for (case, reason, token) in cases {
        assert_refused(&settings, &token, reason, case).await;
    }
    for claim in ["exp", "iss", "aud", "sub", "kubernetes.io"] {
        let token = changed(&rig, |claims| drop(claims.as_object_mut().unwrap().remove(claim)));
        assert_refused(&settings, &token, Reason::TokenClaims, claim).await;
    }
}

#[tokio::test]
async fn a_wrong_audience_is_shown_beside_the_right_one_and_an_unknown_algorithm_by_its_name() {
    let rig = Rig::start().await;
    let cause = |error: IdentityError| error.source.unwrap().to_string();
    let other = changed(&rig, |claims| claims["aud"] = json!(["https://kubernetes.default.svc"]));
    let error = verify(&rig.identity(), &other).await.unwrap_err();
    assert!(cause(error).ends_with(r#"expected "tollhouse", got ["https://kubernetes.default.svc"]"#));
    for (algorithm, shown) in [
        ("ES512", "cannot be verified here"),
        ("ML-DSA-65", "cannot be verified here"),
        ("HS256", "a shared secret"),
        ("none", "it is unsigned"),
        ("PS512", "PS512, which is not among the configured"),
        ("surprise", "the algorithm of its header"),
    ] {
        let token = format!("{}.{}.c2ln", encode(&json!({ "alg": algorithm })), encode(&json!({})));
        let error = verify(&rig.identity(), &Secret::new(token)).await.unwrap_err();
        assert_eq!(error.reason, Reason::TokenAlgorithm, "{algorithm}");
        assert!(cause(error).contains(shown), "{algorithm}");
    }
}

#[tokio::test]
async fn a_token_that_was_not_written_to_its_end_is_cut_off_and_not_forged() {
    let rig = Rig::start().await;
    let whole = rig.token();
    let dot = whole.expose().rfind('.').unwrap();
    for end in [10, dot - 20, dot, dot + 1, dot + 100] {
        let part = Secret::from(&whole.expose()[..end]);
        assert_refused(&rig.identity(), &part, Reason::TokenIncomplete, &format!("{end} of {} bytes", whole.expose().len())).await;
    }
}

#[tokio::test]
async fn an_older_token_that_is_put_back_is_refused_though_it_has_not_expired() {
    let rig = Rig::start().await;
    let file = rig.directory.path().join("put-back");
    let settings = Settings { token_file: Some(file.clone()), ..rig.identity() };
    let source = Source::new(&settings, Trust::Development).unwrap();
    let older = changed(&rig, |claims| claims["iat"] = json!(claims["iat"].as_u64().unwrap() - 60));
    for (token, expected) in [(&older, Ok(())), (&rig.token(), Ok(())), (&older, Err(Reason::TokenOlder))] {
        std::fs::write(&file, token.expose()).unwrap();
        assert_eq!(source.prove().await.map(|_| ()).map_err(|error| error.reason), expected);
    }
    std::fs::write(&file, "").unwrap();
    assert_eq!(source.prove().await.unwrap_err().reason, Reason::TokenEmpty);
}

#[tokio::test]
async fn clocks_may_differ_by_the_leeway_and_other_audiences_do_not_matter() {
    let rig = Rig::start().await;
    let now = unix_seconds(SystemTime::now());
    for token in [
        changed(&rig, |claims| claims["exp"] = json!(now - 20)),
        changed(&rig, |claims| claims["nbf"] = json!(now + 20)),
        changed(&rig, |claims| claims["aud"] = json!(["elsewhere", "tollhouse"])),
        changed(&rig, |claims| claims["aud"] = json!("tollhouse")),
        changed(&rig, |claims| drop(claims.as_object_mut().unwrap().remove("nbf"))),
    ] {
        assert!(verify(&rig.identity(), &token).await.is_ok());
    }
}

#[tokio::test]
async fn the_leeway_does_not_stretch_a_token_that_is_shown_to_others() {
    let rig = Rig::start().await;
    let file = rig.directory.path().join("ending");
    let settings = Settings { token_file: Some(file.clone()), ..rig.identity() };
    let source = Source::new(&settings, Trust::Development).unwrap();
    let now = unix_seconds(SystemTime::now());
    let [ended, ending] = [now - 1, now + 20].map(|exp| changed(&rig, |claims| claims["exp"] = json!(exp)));
    assert!(verify(&settings, &ended).await.is_ok(), "a token that is judged here");
    for (token, expected) in [(&ended, Err(Reason::TokenExpired)), (&ending, Ok(()))] {
        std::fs::write(&file, token.expose()).unwrap();
        assert_eq!(source.prove().await.map(|_| ()).map_err(|error| error.reason), expected);
    }
}

#[tokio::test]
async fn a_token_that_is_not_signed_by_the_issuer_is_refused_whatever_its_header_says() {
    let rig = Rig::start().await;
    let settings = rig.identity();
    let genuine = rig.token();
    let parts: Vec<&str> = genuine.expose().split('.').collect();
    let key_id = serde_json::from_slice::<Value>(&URL_SAFE_NO_PAD.decode(parts[0]).unwrap()).unwrap()["kid"].clone();
    let forged = encode(&changed_claims(&rig, "intruder"));

    let unsigned = format!("{}.{forged}.", encode(&json!({ "alg": "none", "kid": key_id })));
    assert_refused(&settings, &Secret::new(unsigned), Reason::TokenAlgorithm, "alg none").await;

    // The public key as the secret of an HMAC: what a verifier accepts that believes the header.
    let modulus = rig.stand.cluster().issuer().key_set()["keys"][0]["n"].as_str().unwrap().to_owned();
    for secret in [modulus.as_bytes().to_vec(), URL_SAFE_NO_PAD.decode(&modulus).unwrap()] {
        let mut header = Header::new(jsonwebtoken::Algorithm::HS256);
        header.kid = Some(key_id.as_str().unwrap().to_owned());
        let token = jsonwebtoken::encode(&header, &changed_claims(&rig, "intruder"), &EncodingKey::from_secret(&secret)).unwrap();
        assert_refused(&settings, &Secret::new(token), Reason::TokenAlgorithm, "HS256").await;
    }
    assert!(serde_json::from_value::<Algorithm>(json!("HS256")).is_err() && serde_json::from_value::<Algorithm>(json!("none")).is_err());

    // Allowed by the configuration, but the key is for another one.
    let elliptic = format!("{}.{forged}.{}", encode(&json!({ "alg": "ES256", "kid": key_id })), parts[2]);
    assert_refused(&settings, &Secret::new(elliptic), Reason::TokenUnknownKey, "ES256 with an RSA key").await;

    let swapped = format!("{}.{forged}.{}", parts[0], parts[2]);
    assert_refused(&settings, &Secret::new(swapped), Reason::TokenSignature, "claims swapped").await;

    let stranger = Issuer::new(settings.issuer.as_str().to_owned(), KeyKind::Rsa, Duration::ZERO).unwrap();
    let token = stranger.sign(&rig.stand.cluster().claims().unwrap()).unwrap();
    assert_refused(&settings, &token, Reason::TokenUnknownKey, "a stranger's key").await;

    let only_elliptic = Settings { algorithms: vec![Algorithm::ES256], ..rig.identity() };
    assert_refused(&only_elliptic, &genuine, Reason::TokenAlgorithm, "RS256 not configured").await;
}

fn changed_claims(rig: &Rig, service_account: &str) -> Value {
    let mut claims = rig.stand.cluster().claims().unwrap();
    claims["sub"] = json!(format!("system:serviceaccount:demo:{service_account}"));
    claims["kubernetes.io"]["serviceaccount"]["name"] = json!(service_account);
    claims
}

#[tokio::test]
async fn what_is_no_token_or_asks_for_unknown_extensions_is_refused_before_any_key_is_fetched() {
    // Nobody listens there: a fetch would say IssuerUnreachable.
    let rig = Rig::start().await;
    let settings = Settings { jwks_uri: Some(Endpoint::parse("https://127.0.0.1:9/keys").unwrap()), ..rig.identity() };
    let payload = encode(&json!({ "sub": "intruder" }));
    for text in ["x", "a.b", "e30.e30.e30", "a.b.c.d", "..", "e30..x", &format!("{}.{payload}.x.y.z", encode(&json!({ "alg": "RS256" })))] {
        assert_refused(&settings, &Secret::from(text), Reason::TokenMalformed, text).await;
    }
    for crit in [json!(["exp"]), json!([]), json!(null), json!("b64")] {
        let token = format!("{}.{payload}.c2ln", encode(&json!({ "alg": "RS256", "crit": crit })));
        assert_refused(&settings, &Secret::new(token), Reason::TokenCritical, "crit").await;
    }
    assert_refused(&settings, &rig.token(), Reason::IssuerUnreachable, "a good token").await;
}

#[tokio::test]
async fn an_issuer_whose_documents_do_not_fit_is_told_from_one_that_is_away() {
    let rig = Rig::start().await;
    let token = rig.token();
    let at = |path: &str| Some(Endpoint::parse(&format!("{}{path}", rig.stand.base())).unwrap());
    let other_issuer = Settings { discovery_uri: at("/oauth/.well-known/openid-configuration"), ..rig.identity() };
    assert_refused(&other_issuer, &token, Reason::IssuerInvalid, "discovery of another issuer").await;
    let no_document = Settings { discovery_uri: at("/nothing"), ..rig.identity() };
    assert_refused(&no_document, &token, Reason::IssuerInvalid, "no discovery document").await;
    let no_keys = Settings { jwks_uri: at("/kubernetes/.well-known/openid-configuration"), ..rig.identity() };
    assert_refused(&no_keys, &token, Reason::IssuerInvalid, "not a key set").await;
    let other_keys = Settings { jwks_uri: at("/oauth/jwks"), ..rig.identity() };
    assert_refused(&other_keys, &token, Reason::TokenUnknownKey, "keys of another issuer").await;
    let distrusted = Settings {
        tls: crate::tls::ClientSettings { ca: Some(rig.directory.path().join("client-ca.crt")), ..rig.tls() },
        ..rig.identity()
    };
    assert_refused(&distrusted, &token, Reason::IssuerUnreachable, "an authority that did not sign the server").await;
}

#[tokio::test]
async fn a_rotated_key_and_a_swapped_token_file_are_seen_without_a_restart() {
    let rig = Rig::start().await;
    let verifier = Verifier::new(&rig.identity(), Trust::Development, QUICK).unwrap();
    let before = rig.token();
    assert!(verifier.verify(&before).await.is_ok());

    let link = rig.directory.path().join("token/..data");
    let old_target = std::fs::read_link(&link).unwrap();
    rig.stand.cluster().issuer().rotate().unwrap();
    rig.stand.cluster().project_token().unwrap();
    assert_ne!(std::fs::read_link(&link).unwrap(), old_target, "the volume is swapped, not written into");
    let after = rig.token();
    assert_ne!(before.expose(), after.expose());
    assert!(verifier.verify(&after).await.is_ok(), "signed with a key that was fetched before it existed");
    assert!(verifier.verify(&before).await.is_ok(), "keys overlap");

    let source = Source::new(&rig.identity(), Trust::Development).unwrap();
    let first = source.prove().await.unwrap();
    rig.stand.cluster().project_token().unwrap();
    let second = source.prove().await.unwrap();
    assert_ne!(first.token.expose(), second.token.expose());
    std::fs::remove_file(rig.directory.path().join("token/token")).unwrap();
    assert_eq!(source.prove().await.unwrap_err().reason, Reason::TokenUnreadable);
}

#[tokio::test]
async fn a_development_authority_is_not_trusted_in_production() {
    let rig = Rig::start().await;
    let refused = Source::new(&rig.identity(), Trust::Production);
    assert!(matches!(refused, Err(SettingsError::Tls(TlsError::NotForProduction { .. }))), "{refused:?}");
}

#[tokio::test]
async fn a_token_of_an_openid_provider_proves_its_subject_through_discovery() {
    let rig = Rig::start().await;
    let form = crate::dev::tests::exchange::form(&rig.token(), "warehouse-ca");
    let answer = crate::dev::tests::exchange::post_token(&rig, &form).await;
    let token_file = rig.directory.path().join("access-token");
    std::fs::write(&token_file, answer.1["access_token"].as_str().unwrap()).unwrap();
    let settings: oidc::Settings = serde_json::from_value(json!({
        "name": "ci",
        "token_file": token_file,
        "issuer": format!("{}/oauth", rig.stand.base()),
        "audience": "warehouse-ca",
        "tls": { "ca": rig.directory.path().join("ca.crt") },
    }))
    .unwrap();
    let proof = oidc::Source::new(&settings, Trust::Development).unwrap().prove().await.unwrap();
    assert_eq!(proof.principal.subject, "system:serviceaccount:demo:dbt-runner");
    assert_eq!((proof.principal.namespace.as_deref(), proof.principal.proven_by), (None, "oidc"));

    // The cluster's document has no authorization_endpoint: an OpenID provider must.
    let cluster = oidc::Settings { issuer: rig.identity().issuer, ..settings };
    let error = oidc::Source::new(&cluster, Trust::Development).unwrap().prove().await.unwrap_err();
    assert_eq!(error.reason, Reason::IssuerInvalid);
}
