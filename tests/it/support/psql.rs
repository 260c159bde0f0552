//! psql, the client that every server is held against.

use std::path::Path;
use std::process::Command;

use super::within;

/// Runs a query with the settings of a connection string; what it printed, or its complaint.
pub(crate) async fn psql(connection: String, sql: &'static str) -> Result<String, String> {
    let run = move || {
        Command::new("psql")
            .args(["--no-psqlrc", "--no-password", "--tuples-only", "--no-align", "--command", sql])
            .arg(format!("user=anybody dbname=demo connect_timeout=15 {connection}"))
            .env_clear()
            .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
            // Certificates are looked for here where the settings name none.
            .env("HOME", "/nonexistent")
            .output()
            .unwrap()
    };
    let output = within(tokio::task::spawn_blocking(run)).await.unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap().trim().to_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

/// The words of a setting that names a file.
pub(crate) fn file(setting: &str, path: &Path) -> String {
    format!("{setting}={}", path.display())
}
