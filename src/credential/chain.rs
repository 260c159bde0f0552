//! The steps from the workload's token to a credential, in order.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use crate::credential::client_certificate::ClientCertificate;
use crate::credential::password_file::PasswordFile;
use crate::credential::token_exchange::{Token, TokenExchange};
use crate::credential::{Credential, CredentialExchange, ExchangeError, Exchanging, Login, Step};
use crate::identity::Proof;
use crate::target::Target;
use crate::tls::{TlsError, Trust};

/// Token exchanges, any number of them, and the step that makes the credential.
#[derive(Debug)]
pub struct Chain {
    exchanges: Vec<TokenExchange>,
    ending: Ending,
    /// Names the credentials that have no name of their own.
    made: AtomicU64,
}

#[derive(Debug)]
enum Ending {
    ClientCertificate(Box<ClientCertificate>),
    PasswordFile(PasswordFile),
    TokenAsPassword,
}

impl Chain {
    /// The chain that the steps describe.
    ///
    /// # Errors
    /// When a step cannot be used, or the order is not "token exchanges, then one credential".
    pub fn new(steps: &[Step], trust: Trust) -> Result<Self, ChainError> {
        let Some((last, before)) = steps.split_last() else {
            return Err(ChainError { step: 0, problem: ChainProblem::Empty });
        };
        let mut exchanges = Vec::with_capacity(before.len());
        for (step, settings) in before.iter().enumerate() {
            let problem = match settings {
                Step::TokenExchange(settings) => match TokenExchange::new(settings, trust) {
                    Ok(made) => {
                        exchanges.push(made);
                        continue;
                    }
                    Err(problem) => problem,
                },
                Step::ClientCertificate(_) | Step::PasswordFile(_) | Step::TokenAsPassword {} => ChainProblem::EndsEarly,
            };
            return Err(ChainError { step, problem });
        }
        let ending = match last {
            Step::TokenExchange(_) => Err(ChainProblem::NoCredential),
            Step::ClientCertificate(settings) => {
                ClientCertificate::new(settings, trust).map(|made| Ending::ClientCertificate(Box::new(made))).map_err(ChainProblem::Tls)
            }
            Step::PasswordFile(settings) => Ok(Ending::PasswordFile(PasswordFile::new(settings))),
            Step::TokenAsPassword {} => Ok(Ending::TokenAsPassword),
        };
        match ending {
            Ok(ending) => Ok(Self { exchanges, ending, made: AtomicU64::new(0) }),
            Err(problem) => Err(ChainError { step: before.len(), problem }),
        }
    }

    async fn run(&self, proof: &Proof) -> Result<Credential, ExchangeError> {
        let mut token = Token { value: proof.token.clone(), id: proof.principal.token_id.clone(), expires_at: proof.principal.expires_at };
        for exchange in &self.exchanges {
            token = exchange.exchange(&token).await?;
        }
        match &self.ending {
            Ending::ClientCertificate(ending) => ending.obtain(&token).await,
            Ending::PasswordFile(ending) => ending.obtain(self.name()).await,
            Ending::TokenAsPassword => Ok(Credential {
                id: token.id.unwrap_or_else(|| self.name()),
                login: Login::Token(token.value),
                issued_at: SystemTime::now(),
                expires_at: token.expires_at,
            }),
        }
    }

    fn name(&self) -> String {
        format!("{}-{}", self.kind(), self.made.fetch_add(1, Ordering::Relaxed) + 1)
    }
}

impl CredentialExchange for Chain {
    fn kind(&self) -> &'static str {
        match &self.ending {
            Ending::ClientCertificate(_) => "client_certificate",
            Ending::PasswordFile(_) => "password_file",
            Ending::TokenAsPassword => "token_as_password",
        }
    }

    fn exchange<'a>(&'a self, proof: &'a Proof, _target: &'a Target) -> Exchanging<'a> {
        Box::pin(self.run(proof))
    }
}

/// Why steps do not make a chain.
#[derive(Debug, thiserror::Error)]
#[error("step {step} cannot be used")]
pub struct ChainError {
    /// Which step, from 0; the place in the configuration's list.
    pub step: usize,
    /// What is wrong with it.
    #[source]
    pub problem: ChainProblem,
}

/// What is wrong with a step.
#[derive(Debug, thiserror::Error)]
pub enum ChainProblem {
    /// There is no step.
    #[error("at least one step is needed, and the last must make a credential")]
    Empty,
    /// A step that makes a credential is followed by another.
    #[error("only the last step may make a credential; a step before it must be `token_exchange`")]
    EndsEarly,
    /// The last step makes only a token.
    #[error("the last step must make a credential: `client_certificate`, `password_file` or `token_as_password`")]
    NoCredential,
    /// Neither address nor issuer, or both.
    #[error("exactly one of `token_endpoint` and `issuer` is needed")]
    Endpoint,
    /// Its TLS settings cannot be used.
    #[error("its TLS settings cannot be used")]
    Tls(#[source] TlsError),
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Chain, ChainProblem};
    use crate::credential::{CredentialExchange, Step};
    use crate::tls::Trust;

    fn chain(steps: serde_json::Value) -> Result<Chain, (usize, ChainProblem)> {
        let steps: Vec<Step> = serde_json::from_value(steps).unwrap();
        Chain::new(&steps, Trust::Production).map_err(|error| (error.step, error.problem))
    }

    #[test]
    fn steps_in_the_wrong_order_are_named_by_their_place() {
        let exchange = json!({"kind": "token_exchange", "token_endpoint": "http://127.0.0.1/token", "tls": {"mode": "disable"}});
        let both = json!({"kind": "token_exchange", "token_endpoint": "http://127.0.0.1/token", "issuer": "http://127.0.0.1", "tls": {"mode": "disable"}});
        let password = json!({"kind": "password_file", "file": "/run/password"});
        assert!(matches!(chain(json!([])), Err((0, ChainProblem::Empty))));
        assert!(matches!(chain(json!([exchange])), Err((0, ChainProblem::NoCredential))));
        assert!(matches!(chain(json!([exchange, password, exchange])), Err((1, ChainProblem::EndsEarly))));
        assert!(matches!(chain(json!([both, password])), Err((0, ChainProblem::Endpoint))));
        assert_eq!(chain(json!([exchange, exchange, password])).unwrap().kind(), "password_file");
        assert_eq!(chain(json!([{"kind": "token_as_password"}])).unwrap().kind(), "token_as_password");
    }

    #[test]
    fn an_unknown_field_of_a_step_is_refused() {
        for step in
            [json!({"kind": "password_file", "file": "/run/password", "fille": 1}), json!({"kind": "token_as_password", "insecure": true})]
        {
            assert!(serde_json::from_value::<Step>(step.clone()).is_err(), "{step}");
        }
    }
}
