//! A proxy of a test's own, in this process.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_postgres::{Client, NoTls};
use tollhouse::audit::read::Line;
use tollhouse::config::Config;
use tollhouse::serve::{ServeError, Server};

use super::evidence::{self, Evidence};
use super::warehouse::{ROLE, warehouse};
use super::wire::Wire;
use super::within;

/// A policy under which everything passes that can be judged and everything that cannot.
pub(crate) const ALLOW_ALL: &str = "sql: [{}]";

/// A running proxy with a directory, a policy file and an audit log of its own.
pub(crate) struct Proxy {
    /// Where clients connect: the first listener.
    pub(crate) address: SocketAddr,
    /// Health and metrics for the pod's network.
    pub(crate) pod_admin: SocketAddr,
    /// What answers to loopback only.
    pub(crate) loopback_admin: SocketAddr,
    directory: TempDir,
    stop: oneshot::Sender<()>,
    running: JoinHandle<Result<(), ServeError>>,
}

impl Proxy {
    /// A proxy under a policy: the text of `egress[0].toPorts[0].rules`, or a whole document.
    pub(crate) async fn start(policy: &str) -> Self {
        Self::with(policy, |_| {}).await
    }

    /// A proxy with a changed configuration.
    pub(crate) async fn with(policy: &str, change: impl FnOnce(&mut Value)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        write_policy_in(&directory, policy);
        let mut config = configuration(&directory);
        change(&mut config);
        let config = Config::parse("test.yaml", &config.to_string(), &|_| None).unwrap();
        let server = Server::bind(config).await.unwrap();
        let (address, admin) = (server.listener_addresses().unwrap()[0].tcp().unwrap(), server.admin_addresses().unwrap());
        let (stop, stopped) = oneshot::channel();
        let running = tokio::spawn(server.run(async {
            let _sent_or_dropped = stopped.await;
        }));
        Self { address, pod_admin: admin[0], loopback_admin: admin[1], directory, stop, running }
    }

    /// Replaces the policy file, in the way of an editor that saves.
    pub(crate) fn write_policy(&self, policy: &str) {
        write_policy_in(&self.directory, policy);
    }

    /// The policy file.
    pub(crate) fn policy_file(&self) -> PathBuf {
        self.directory.path().join("policy.yaml")
    }

    /// Settings of a client library for this proxy.
    pub(crate) fn client_config(&self) -> tokio_postgres::Config {
        let mut config = tokio_postgres::Config::new();
        config.host("127.0.0.1").port(self.address.port()).user("anybody").dbname("demo");
        config
    }

    /// A client library's session.
    pub(crate) async fn client(&self) -> Client {
        let (client, connection) = within(self.client_config().connect(NoTls)).await.unwrap();
        tokio::spawn(connection);
        client
    }

    /// The error of a client library that gets no session.
    pub(crate) async fn refused(&self) -> tokio_postgres::error::DbError {
        match within(self.client_config().connect(NoTls)).await {
            Ok(_) => panic!("the client got a session"),
            Err(error) => error.as_db_error().unwrap_or_else(|| panic!("not in the protocol: {error:?}")).clone(),
        }
    }

    /// A logged-in session that speaks bytes.
    pub(crate) async fn wire(&self) -> Wire {
        Wire::log_in(self.address).await
    }

    /// The records of one kind that are in the log now.
    pub(crate) fn records_of(&self, kind: &str) -> Vec<Line> {
        evidence::read(&self.audit_directory()).into_iter().filter(|line| line.kind == kind).collect()
    }

    /// Where the audit log is.
    pub(crate) fn audit_directory(&self) -> PathBuf {
        self.directory.path().join("audit")
    }

    /// Whether the proxy has ended by itself.
    pub(crate) fn has_ended(&self) -> bool {
        self.running.is_finished()
    }

    /// Asks the proxy to end, as SIGTERM does, and does not wait.
    pub(crate) fn begin_stop(self) -> Stopping {
        let _gone = self.stop.send(());
        Stopping { directory: self.directory, running: self.running }
    }

    /// Ends the proxy in order, proves its log, and returns what the log says.
    pub(crate) async fn stop(self) -> Evidence {
        self.begin_stop().ended().await
    }
}

/// A proxy that drains.
pub(crate) struct Stopping {
    directory: TempDir,
    running: JoinHandle<Result<(), ServeError>>,
}

impl Stopping {
    /// Waits for the end.
    pub(crate) async fn ended(self) -> Evidence {
        within(self.running).await.unwrap().unwrap();
        Evidence::of_closed_log(&self.directory.path().join("audit"), self.directory)
    }
}

/// Writes the policy file of a directory, whole or not at all.
pub(crate) fn write_policy_in(directory: &TempDir, policy: &str) {
    let new = directory.path().join("policy.new");
    std::fs::write(&new, document(policy)).unwrap();
    std::fs::rename(new, directory.path().join("policy.yaml")).unwrap();
}

/// The policy document around some rules.
fn document(policy: &str) -> String {
    if policy.starts_with("apiVersion") {
        return policy.to_owned();
    }
    let rules = policy.lines().map(|line| format!("            {line}\n")).collect::<String>();
    format!(
        "apiVersion: tollhouse.dev/v1alpha1\n\
         kind: WarehousePolicy\n\
         metadata: {{ name: it, namespace: demo }}\n\
         spec:\n\
         \x20 endpointSelector: {{ matchLabels: {{ app: dbt }} }}\n\
         \x20 egress:\n\
         \x20   - toFQDNs: [{{ matchName: localhost }}]\n\
         \x20     toPorts:\n\
         \x20       - rules:\n{rules}"
    )
}

/// The configuration of a sidecar in front of the shared warehouse, on free ports.
pub(crate) fn configuration(directory: &TempDir) -> Value {
    let warehouse = warehouse();
    let base = warehouse.stand.base();
    let tls = json!({ "ca": warehouse.file("ca.crt") });
    json!({
        "development": true,
        "listeners": [{ "address": "127.0.0.1:0", "target": "warehouse" }],
        "targets": [{
            "name": "warehouse",
            "kind": "postgresql",
            "host": "localhost",
            "port": warehouse.port,
            "role": ROLE,
            "tls": tls,
            "credential": [
                { "kind": "token_exchange", "issuer": format!("{base}/oauth"), "audience": "warehouse-ca", "tls": tls },
                { "kind": "client_certificate", "url": format!("{base}/1.0/sign"), "common_name": ROLE, "tls": tls },
            ],
        }],
        "identities": [{
            "kind": "kubernetes",
            "name": "pod",
            "token_file": warehouse.file("token/token"),
            "issuer": format!("{base}/kubernetes"),
            "audience": "tollhouse",
            "tls": tls,
            "labels": { "app": "dbt" },
        }],
        "policy": { "paths": [directory.path().join("policy.yaml")], "reload_interval": "100ms" },
        "audit": { "directory": directory.path().join("audit") },
        "admin": { "address": "127.0.0.1:0", "loopback_address": "127.0.0.1:0" },
        "limits": {},
        "shutdown": { "deadline": "2s" },
    })
}
