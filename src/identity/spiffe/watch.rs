//! What the agent's stream of X.509-SVIDs tells before anybody asks: that the identity is gone, or has been renewed.

use std::sync::Arc;
use std::time::Duration;

use spiffe::transport::Endpoint;
use spiffe::{SpiffeId, WorkloadApiClient, X509Source, X509SourceError};

use super::Svid;
use crate::identity::{Change, Hears};

/// Pauses between attempts to reach an agent that is away or gives nothing: doubled each time, between these.
const RECONNECT_MIN: Duration = Duration::from_secs(1);
const RECONNECT_MAX: Duration = Duration::from_secs(10);

/// The workload's SVID as the stream last had it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    id: SpiffeId,
    leaf: Vec<u8>,
}

/// Tells `hears` of each change that the agent streams, for as long as it is polled; returns where the agent has no such stream.
/// Cancel safe.
///
/// The API streams X.509-SVIDs and no JWT-SVIDs. Both come of one registration, so the stream tells when either is withdrawn; that a
/// JWT-SVID could be had anew it does not tell.
pub(super) async fn follow(endpoint: &Endpoint, wanted: Option<&SpiffeId>, svid: Svid, hears: &Hears<'_>) {
    let source = match connected(endpoint.clone()).await {
        Ok(source) => source,
        Err(error) => {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(error, "the agent streams no X.509-SVIDs: a withdrawn identity is noticed when a credential is renewed");
            return;
        }
    };
    let look = || seen(&source, wanted);
    let (mut updates, mut before) = (source.updated(), look());
    while updates.changed().await.is_ok() {
        let now = look();
        if let Some(change) = change(before.as_ref(), now.as_ref(), svid) {
            hears(change);
        }
        before = now;
    }
}

/// A source that reconnects by itself, once the agent has given it the first SVIDs.
async fn connected(endpoint: Endpoint) -> Result<X509Source, X509SourceError> {
    let connect = move || {
        let endpoint = endpoint.clone();
        Box::pin(async move { WorkloadApiClient::connect(endpoint).await }) as _
    };
    X509Source::builder().client_factory(Arc::new(connect)).reconnect_backoff(RECONNECT_MIN, RECONNECT_MAX).build().await
}

/// The SVID that the workload is proven by, where the agent gives one.
fn seen(source: &X509Source, wanted: Option<&SpiffeId>) -> Option<Seen> {
    let given = source.state().context().ok()?;
    let svid = given.svids().iter().find(|svid| wanted.is_none_or(|id| id == svid.spiffe_id()))?;
    Some(Seen { id: svid.spiffe_id().clone(), leaf: svid.leaf().as_bytes().to_vec() })
}

fn change(before: Option<&Seen>, now: Option<&Seen>, svid: Svid) -> Option<Change> {
    match (before, now) {
        (Some(_), None) => Some(Change::Withdrawn),
        // Another identity has taken its place; what was made of the first is that one's.
        (Some(before), Some(now)) if before.id != now.id => Some(Change::Withdrawn),
        (Some(before), Some(now)) if svid == Svid::X509 && before.leaf != now.leaf => Some(Change::Renewed),
        (None, Some(_)) => Some(Change::Renewed),
        (Some(_), Some(_)) | (None, None) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{Seen, change};
    use crate::identity::Change;
    use crate::identity::spiffe::Svid;

    #[test]
    fn an_identity_that_is_gone_or_another_is_withdrawn_and_a_new_certificate_is_a_renewal() {
        let seen = |name: &str, leaf: u8| Some(Seen { id: format!("spiffe://example.org/{name}").parse().unwrap(), leaf: vec![leaf] });
        for (before, now, svid, expected) in [
            (seen("dbt", 1), None, Svid::X509, Some(Change::Withdrawn)),
            (seen("dbt", 1), None, Svid::Jwt, Some(Change::Withdrawn)),
            (seen("dbt", 1), seen("etl", 2), Svid::Jwt, Some(Change::Withdrawn)),
            (seen("dbt", 1), seen("dbt", 2), Svid::X509, Some(Change::Renewed)),
            (seen("dbt", 1), seen("dbt", 2), Svid::Jwt, None),
            (seen("dbt", 1), seen("dbt", 1), Svid::X509, None),
            (None, seen("dbt", 1), Svid::Jwt, Some(Change::Renewed)),
            (None, None, Svid::X509, None),
        ] {
            assert_eq!(change(before.as_ref(), now.as_ref(), svid), expected, "{before:?} {now:?} {svid:?}");
        }
    }
}
