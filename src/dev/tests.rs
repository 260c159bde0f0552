//! The stand-ins and, over real sockets, the code that speaks to them.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tempfile::TempDir;

use crate::dev::{DevError, Settings, Stand, WORKLOAD_AUDIENCE};
use crate::identity::{Principal, Proof, kubernetes};
use crate::secret::Secret;
use crate::tls::ClientSettings;

mod certificates;
mod exchange;
mod identity;

/// Stand-ins on a free port, and the directory that they live in.
struct Rig {
    stand: Stand,
    directory: TempDir,
}

impl Rig {
    async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let stand = Stand::start(&settings(&directory)).await.unwrap();
        Self { stand, directory }
    }

    fn tls(&self) -> ClientSettings {
        ClientSettings { ca: Some(self.directory.path().join("ca.crt")), ..ClientSettings::default() }
    }

    fn identity(&self) -> kubernetes::Settings {
        self.stand.cluster().verifier_settings(&self.tls()).unwrap()
    }

    fn token(&self) -> Secret<String> {
        self.stand.cluster().projected_token().unwrap()
    }

    /// A proof as the identity source would give it, of the token that lies in the volume.
    fn proof(&self) -> Proof {
        let principal = Principal {
            issuer: self.stand.cluster().issuer().url().to_owned(),
            subject: self.stand.cluster().subject(),
            token_id: None,
            actors: Vec::new(),
            namespace: None,
            service_account: None,
            pod: None,
            pod_uid: None,
            labels: std::collections::BTreeMap::new(),
            proven_by: "test",
            expires_at: SystemTime::now() + Duration::from_secs(600),
        };
        Proof { principal: Arc::new(principal), token: self.token(), certificate: None }
    }
}

fn settings(directory: &TempDir) -> Settings {
    Settings {
        directory: directory.path().to_owned(),
        address: "127.0.0.1:0".parse().unwrap(),
        hostnames: vec!["localhost".to_owned()],
        namespace: "demo".to_owned(),
        service_account: "dbt-runner".to_owned(),
        role: "dbt_runner".to_owned(),
        clients: vec!["ada".to_owned()],
        audience: WORKLOAD_AUDIENCE.to_owned(),
        token_lifetime: Duration::from_secs(600),
        rotate: Duration::from_secs(600),
    }
}

/// An error with all that stands behind it, as a log would show it in the worst case.
fn everything(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = format!("{error:?}");
    let mut next = Some(error);
    while let Some(error) = next {
        text.push_str(&format!(" / {error}"));
        next = error.source();
    }
    text
}

#[tokio::test]
async fn an_address_that_others_can_reach_is_refused_and_nothing_is_written() {
    let directory = tempfile::tempdir().unwrap();
    let open = Settings { address: "0.0.0.0:0".parse().unwrap(), ..settings(&directory) };
    assert!(matches!(Stand::start(&open).await, Err(DevError::NotLoopback(_))));
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn stand_ins_that_cannot_listen_leave_no_marker_of_an_earlier_run() {
    let directory = tempfile::tempdir().unwrap();
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    std::fs::write(directory.path().join("ready"), "earlier").unwrap();
    let late = Settings { address: taken.local_addr().unwrap(), ..settings(&directory) };
    assert!(matches!(Stand::start(&late).await, Err(DevError::Bind(_))));
    assert!(!directory.path().join("ready").exists());
}
