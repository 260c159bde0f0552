//! One login at a warehouse and its end, to say whether sessions could log in.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;

use super::login::send;
use super::message::write;
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

impl Trial {
    /// Logs in, sends nothing to run, and hangs up.
    ///
    /// # Errors
    /// Why no session could start.
    pub async fn run(self, credential: &Credential) -> Result<(), Fault> {
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
        let mut ready = ready.map_err(|LoginFailure { fault, .. }| fault)?;
        let mut goodbye = BytesMut::new();
        write(&mut goodbye, b'X', |_| {});
        send(&mut ready.wire, &goodbye).await
    }
}
