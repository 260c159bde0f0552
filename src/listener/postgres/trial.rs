//! One login at a warehouse and its end, to say whether sessions could log in.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;

use super::login::send;
use super::message::{HEADER_BYTES, error_field, write};
use super::upstream::{self, LoginFailure, Upstream, Wish};
use crate::credential::Credential;
use crate::fault::Fault;
use crate::target::Target;
use crate::tls::Client;
use crate::warehouse::postgres::{Method, Negotiation};

/// A warehouse and how sessions log in there.
pub struct Trial {
    /// The warehouse.
    pub target: Arc<Target>,
    /// The role, unless the credential names another.
    pub role: String,
    /// The database; the role's name where absent.
    pub database: Option<String>,
    /// How the warehouse is verified.
    pub tls: Client,
    /// How TLS begins.
    pub negotiation: Negotiation,
    /// The ways to log in that the server may ask for.
    pub methods: Vec<Method>,
    /// Startup parameters about the login.
    pub login_parameters: BTreeMap<String, String>,
    /// Bound on reaching the server, and on the login after that.
    pub connect_timeout: Duration,
}

/// How a login ended that the warehouse accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// With a session.
    Session,
    /// There is no database of that name (SQLSTATE 3D000, which PostgreSQL finds out behind AuthenticationOk).
    NoDatabase,
}

impl Trial {
    /// Logs in, sends nothing to run, and hangs up.
    ///
    /// # Errors
    /// Why no session could start, but for a database that does not exist.
    pub async fn run(self, credential: &Credential) -> Result<Admission, Fault> {
        let role = credential.role.as_deref().unwrap_or(&self.role);
        let upstream = Upstream {
            target: self.target,
            tls: self.tls,
            negotiation: self.negotiation,
            methods: self.methods,
            login_parameters: self.login_parameters,
            connect_timeout: self.connect_timeout,
        };
        let wish = Wish { role, database: self.database.as_deref().unwrap_or(role), parameters: &[], minor: 0 };
        let ready = upstream::log_in(&upstream, credential, &wish, &|_| Ok(())).await;
        let mut ready = match ready {
            Ok(ready) => ready,
            Err(failure) if lacks_database(&failure) => return Ok(Admission::NoDatabase),
            Err(LoginFailure { fault, .. }) => return Err(fault),
        };
        let mut goodbye = BytesMut::new();
        write(&mut goodbye, b'X', |_| {});
        send(&mut ready.wire, &goodbye).await?;
        Ok(Admission::Session)
    }
}

/// Whether the server let us in and has no such database. Poolers say the same of a login that they did not look at.
fn lacks_database(failure: &LoginFailure) -> bool {
    let body = failure.server_error.as_ref().and_then(|message| message.get(HEADER_BYTES..));
    failure.is_logged_in && body.and_then(|body| error_field(body, b'C')) == Some(b"3D000")
}
