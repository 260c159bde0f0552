//! `tollhouse dev`: stand-ins for token issuer, token endpoint and certificate authority, on loopback.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use serde::Deserialize;
use serde::de::IntoDeserializer;
use tokio::signal::unix::{SignalKind, signal};

use super::shield_memory;
use crate::dev::{Settings, Stand, WORKLOAD_AUDIENCE, write_certificates};
use crate::document::Span;

/// Stand in for a Kubernetes token issuer, an OAuth token endpoint and a certificate authority.
///
/// For a laptop and for tests only: every certificate says `Tollhouse NOT FOR PRODUCTION`, and a proxy refuses them
/// unless its configuration says `development: true`. Serves until SIGTERM or ctrl-c.
///
/// The directory then holds: `ca.crt` (what to trust for the servers), `client-ca.crt` (PostgreSQL's ssl_ca_file),
/// `warehouse/server.{crt,key}` (for a PostgreSQL with TLS), `token/token` (the projected token, kept fresh),
/// `scram-secret` (a random password), `clients/NAME` (a token for each client), and `ready` (the addresses as NAME=value lines, written last).
#[derive(Debug, clap::Args)]
pub(super) struct Command {
    /// Where certificates, keys and the token file go; made with mode 0700.
    #[arg(long, value_name = "DIR")]
    directory: PathBuf,
    /// Where to listen; only a loopback address is accepted.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:18080")]
    address: SocketAddr,
    /// Name in the server certificates; may be given more than once. The first is the host of every address.
    #[arg(long = "hostname", value_name = "NAME", default_value = "localhost")]
    hostnames: Vec<String>,
    /// Kubernetes namespace of the pretended workload.
    #[arg(long, default_value = "demo")]
    namespace: String,
    /// Kubernetes service account of the pretended workload.
    #[arg(long, value_name = "NAME", default_value = "dbt-runner")]
    service_account: String,
    /// The warehouse role that the workload gets certificates for.
    #[arg(long, default_value = "dbt_runner")]
    role: String,
    /// Subject of a client, such as a person or a job, that gets a token of its own in `clients/NAME`; may be given more than once.
    #[arg(long = "client", value_name = "NAME", value_parser = parse_file_name)]
    clients: Vec<String>,
    /// Audience of the projected token: what an issuer or a warehouse that is tried wants to find in it.
    #[arg(long, value_name = "NAME", default_value = WORKLOAD_AUDIENCE)]
    audience: String,
    /// Life of the projected token; it is replaced at 80 % of it, as the kubelet does.
    #[arg(long, value_name = "SPAN", default_value = "10m", value_parser = parse_span)]
    token_lifetime: Span,
    /// How often the cluster's issuer gets a new signing key; POST /kubernetes/rotate does it at once.
    #[arg(long, value_name = "SPAN", default_value = "10m", value_parser = parse_span)]
    rotate: Span,
    /// Write the certificates and exit.
    #[arg(long)]
    once: bool,
}

impl Command {
    /// Runs until told to stop.
    ///
    /// # Errors
    /// When the address cannot be listened on or the directory cannot be written.
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        shield_memory()?;
        let once = self.once;
        let settings = self.settings();
        if once {
            write_certificates(&settings).context("cannot write the certificates")?;
            writeln!(std::io::stdout(), "certificates are in {}", settings.directory.display())?;
            return Ok(ExitCode::SUCCESS);
        }
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        runtime.block_on(serve(&settings))
    }

    fn settings(self) -> Settings {
        Settings {
            directory: self.directory,
            address: self.address,
            hostnames: self.hostnames,
            namespace: self.namespace,
            service_account: self.service_account,
            role: self.role,
            clients: self.clients,
            audience: self.audience,
            token_lifetime: self.token_lifetime.0,
            rotate: self.rotate.0,
        }
    }
}

async fn serve(settings: &Settings) -> anyhow::Result<ExitCode> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut stand = Stand::start(settings).await.context("the stand-ins cannot start")?;
    write!(std::io::stdout(), "stand-ins listen on {} (NOT FOR PRODUCTION)\n{}", stand.address, stand.summary())?;
    tokio::select! {
        () = stand.run() => anyhow::bail!("the stand-ins ended by themselves"),
        _ = terminate.recv() => {}
        interrupted = tokio::signal::ctrl_c() => interrupted?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The shortest span that makes sense here; a zero would spin.
const SPAN_MIN: Span = Span::seconds(2);

fn parse_span(text: &str) -> Result<Span, String> {
    let span = Span::deserialize(text.into_deserializer()).map_err(|error: serde::de::value::Error| error.to_string())?;
    if span.0 < SPAN_MIN.0 { Err(format!("expected at least {SPAN_MIN}")) } else { Ok(span) }
}

/// The subject is the name of its token's file.
fn parse_file_name(text: &str) -> Result<String, String> {
    let is_plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_@".contains(&byte));
    if is_plain { Ok(text.to_owned()) } else { Err("expected letters, digits, `-`, `_` and `@`".to_owned()) }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::Command;
    use crate::document::Span;

    #[derive(Debug, clap::Parser)]
    struct Whole {
        #[command(flatten)]
        command: Command,
    }

    fn parse(arguments: &[&str]) -> Result<Command, clap::Error> {
        Whole::try_parse_from(["tollhouse"].iter().chain(arguments)).map(|whole| whole.command)
    }

    #[test]
    fn a_span_that_would_spin_is_refused() {
        assert_eq!(parse(&["--directory", "d", "--rotate", "1m"]).unwrap().rotate, Span::seconds(60));
        for span in ["0s", "1", "soon"] {
            assert!(parse(&["--directory", "d", "--rotate", span]).is_err(), "{span}");
        }
        assert!(parse(&[]).is_err(), "the directory has no default");
    }
}
