//! The program itself in a process of its own, where a test needs its signals or the limits of a process.

use std::fs::File;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use super::evidence::Evidence;
use super::http::get;
use super::proxy::{configuration, write_policy_in};
use super::warehouse::free_port;
use super::{eventually, within};

/// `tollhouse run`, until it is dropped.
pub(crate) struct Program {
    /// Where clients connect.
    pub(crate) address: SocketAddr,
    /// Health and metrics.
    pub(crate) admin: SocketAddr,
    directory: TempDir,
    child: Child,
}

impl Program {
    /// Starts the program by way of a shell that says `before` first, and waits until it is ready.
    pub(crate) async fn start(policy: &str, before: &str, change: impl FnOnce(&mut Value)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        write_policy_in(&directory, policy);
        let [address, admin, loopback] = [free_port(), free_port(), free_port()].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        let mut config = configuration(&directory);
        config["listeners"][0]["address"] = address.to_string().into();
        config["admin"]["address"] = admin.to_string().into();
        config["admin"]["loopback_address"] = loopback.to_string().into();
        change(&mut config);
        let file = directory.path().join("config.yaml");
        std::fs::write(&file, config.to_string()).unwrap();
        let log = directory.path().join("program.log");
        let mut child = Command::new("bash")
            .args(["-c", &format!(r#"{before}; exec "$0" run --config "$1""#), env!("CARGO_BIN_EXE_tollhouse")])
            .arg(file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        eventually(|| {
            let ended = child.try_wait().unwrap();
            assert_eq!(ended, None, "the program did not start: {}", std::fs::read_to_string(&log).unwrap());
            async { tokio::net::TcpStream::connect(admin).await.ok() }
        })
        .await;
        eventually(|| async { (get(admin, "/readyz").await.0 == 200).then_some(()) }).await;
        Self { address, admin, directory, child }
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Where its audit log is.
    pub(crate) fn audit_directory(&self) -> PathBuf {
        self.directory.path().join("audit")
    }

    /// Sends SIGTERM, waits for exit code 0, proves the log, and returns what it says.
    pub(crate) async fn terminate(mut self) -> Evidence {
        let sent = Command::new("kill").arg(self.id().to_string()).status().unwrap();
        assert!(sent.success());
        let status = eventually(|| {
            let ended = self.child.try_wait().unwrap();
            async move { ended }
        });
        assert_eq!(within(status).await.code(), Some(0));
        let directory = std::mem::replace(&mut self.directory, tempfile::tempdir().unwrap());
        Evidence::of_closed_log(&directory.path().join("audit"), directory)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ended_already = self.child.kill();
        let _reaped = self.child.wait();
    }
}
