//! The controller: compiles each WarehouseBinding and the policies around it into what its sidecars mount, and says on every object
//! whether it is valid.
//!
//! It looks at everything again every few seconds and changes only what differs, so that nothing depends on having seen an event. One
//! replica is enough, and two at once do no harm: both write the same. Sidecars that run do not need it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::{Method, Request, StatusCode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::document::Span;
use crate::drain::{self, Stage};
use crate::http_server::{self, text};
use crate::kubernetes::{self, ApiError, ApiServer, PatchKind};
use crate::log;
use crate::policy::PolicySet;
use crate::webhook::binding::{API_VERSION, WarehouseBinding};

use compiled::{Compiled, Document, compile};
use status::Status;

mod compiled;
mod status;

/// After this, a ConfigMap is written again though nothing changed: somebody else may have changed it.
const REPAIR_INTERVAL: Duration = Duration::from_secs(300);

/// The configuration of `tollhouse controller`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// `iss` of the cluster's tokens, to the last slash; of identities that name no other.
    #[serde(default = "Settings::default_issuer")]
    pub issuer: String,
    /// How often everything is looked at. A change is in a ConfigMap after this, and in running sidecars when the kubelet has it there: a
    /// minute at most, as a rule.
    #[serde(default = "Settings::default_interval")]
    pub interval: Span,
    /// `/livez` and `/readyz`, in the clear.
    #[serde(default = "Settings::default_address")]
    pub address: SocketAddr,
    /// How the API server is reached.
    #[serde(default)]
    pub api_server: kubernetes::Settings,
    /// The ordinary log.
    #[serde(default)]
    pub log: log::Settings,
}

impl Settings {
    fn default_issuer() -> String {
        "https://kubernetes.default.svc.cluster.local".to_owned()
    }

    fn default_interval() -> Span {
        Span::seconds(5)
    }

    fn default_address() -> SocketAddr {
        SocketAddr::from(([0, 0, 0, 0], 15020))
    }
}

/// The JSON schema of [`Settings`].
pub fn schema() -> Value {
    crate::document::schema::<Settings>()
}

/// Why the controller did not start.
#[derive(Debug, thiserror::Error)]
pub enum ControllerError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}")]
    Bind {
        /// Which.
        address: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The API server cannot be used.
    #[error("the API server cannot be used")]
    Api(#[from] ApiError),
}

/// The kinds of policies, where they are listed, and whether the cluster may lack them.
const POLICIES: &[(&str, bool)] = &[
    ("/apis/tollhouse.dev/v1alpha1/warehousepolicies", false),
    ("/apis/tollhouse.dev/v1alpha1/clusterwarehousepolicies", false),
    ("/apis/cilium.io/v2/ciliumnetworkpolicies", true),
    ("/apis/cilium.io/v2/ciliumclusterwidenetworkpolicies", true),
];

const BINDINGS: &str = "/apis/tollhouse.dev/v1alpha1/warehousebindings";

/// A controller.
pub struct Controller {
    api: ApiServer,
    settings: Settings,
    /// What was written to each ConfigMap, and when.
    written: BTreeMap<String, (Value, Instant)>,
}

impl Controller {
    /// A controller as the settings say.
    ///
    /// # Errors
    /// The API server's address or authorities cannot be used.
    pub fn new(settings: Settings) -> Result<Self, ControllerError> {
        Ok(Self { api: ApiServer::new(&settings.api_server)?, settings, written: BTreeMap::new() })
    }

    /// Looks at everything again and again until `stop` is done. A failure is logged, and what is there stays.
    ///
    /// # Errors
    /// The address cannot be listened on.
    pub async fn run(mut self, stop: impl Future<Output = ()>) -> Result<(), ControllerError> {
        let address = self.settings.address;
        let socket = TcpListener::bind(address).await.map_err(|source| ControllerError::Bind { address, source })?;
        let (trigger, drain) = drain::channel();
        let health = tokio::spawn(http_server::serve(socket, None, drain, Stage::Draining, |request: Request<Bytes>| {
            std::future::ready(match (request.method(), request.uri().path()) {
                (&Method::GET, "/livez" | "/readyz") => text(StatusCode::OK, "ok\n"),
                _ => text(StatusCode::NOT_FOUND, "not found\n"),
            })
        }));
        let mut stop = std::pin::pin!(stop);
        loop {
            let looked = tokio::select! {
                () = &mut stop => break,
                looked = self.look() => looked,
            };
            if let Err(error) = looked {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "the cluster's policies could not be looked at; what is there stays"
                );
            }
            tokio::select! {
                () = &mut stop => break,
                () = tokio::time::sleep(self.settings.interval.0) => {}
            }
        }
        trigger.advance(Stage::Draining);
        // It has served its last answer; whether it ended by a panic changes nothing any more.
        let _ended = health.await;
        Ok(())
    }

    /// Looks at everything once, and changes what differs.
    ///
    /// # Errors
    /// Something could not be read. What could not be written is logged and tried again the next time.
    pub async fn look(&mut self) -> Result<(), ApiError> {
        let mut policies = Vec::new();
        for (path, may_lack) in POLICIES {
            match self.api.list(path).await {
                Err(error) if *may_lack && error.status() == Some(StatusCode::NOT_FOUND) => {}
                listed => policies.extend(listed?.into_iter().map(Document::new)),
            }
        }
        let bindings = self.api.list(BINDINGS).await?;
        let mut accounts = Vec::new();
        for object in &bindings {
            match WarehouseBinding::parse(object.clone()) {
                Ok(binding) => {
                    accounts
                        .extend(binding.spec.service_accounts.iter().map(|account| (binding.metadata.namespace.clone(), account.clone())));
                    self.bind(object, &binding, &policies).await;
                }
                Err(why) => self.tell(object, Status::invalid(vec![why])).await,
            }
        }
        for policy in policies.iter().filter(|policy| policy.is_ours()) {
            let status = match policy.compiled() {
                Ok(set) => Status::valid(set.revision(), selected(&set, &accounts)),
                Err(problems) => Status::invalid(problems),
            };
            self.tell(policy.object(), status).await;
        }
        Ok(())
    }

    /// Writes what the sidecars of a binding mount. While something in it is not valid the last that was stays: without an invalid deny
    /// rule they might do more.
    async fn bind(&mut self, object: &Value, binding: &WarehouseBinding, policies: &[Document]) {
        let status = match compile(binding, policies, &self.settings.issuer) {
            Ok(Compiled { data, revision }) => match self.write(object, binding, data).await {
                Ok(()) => {
                    let accounts = binding.spec.service_accounts.iter().map(|account| format!("{}/{account}", binding.metadata.namespace));
                    Status::valid(&revision, accounts.collect())
                }
                Err(error) => {
                    tracing::error!(
                        binding = binding.metadata.name,
                        error = &error as &dyn std::error::Error,
                        "a ConfigMap could not be written"
                    );
                    return;
                }
            },
            Err(problems) => Status::invalid(problems),
        };
        self.tell(object, status).await;
    }

    async fn write(&mut self, object: &Value, binding: &WarehouseBinding, data: BTreeMap<String, String>) -> Result<(), ApiError> {
        let (namespace, name) = (&binding.metadata.namespace, binding.config_map());
        let body = json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": name,
                "namespace": namespace,
                "labels": { "app.kubernetes.io/managed-by": "tollhouse" },
                // It goes when the binding goes.
                "ownerReferences": [{
                    "apiVersion": API_VERSION, "kind": binding.kind, "name": binding.metadata.name,
                    "uid": object.pointer("/metadata/uid"), "controller": true,
                }],
            },
            "data": data,
        });
        let path = format!("/api/v1/namespaces/{namespace}/configmaps/{name}");
        if self.written.get(&path).is_some_and(|(there, when)| *there == body && when.elapsed() < REPAIR_INTERVAL) {
            return Ok(());
        }
        self.api.patch(&path, PatchKind::Apply, &body).await?;
        tracing::info!(namespace, config_map = name, "written");
        self.written.insert(path, (body, Instant::now()));
        Ok(())
    }

    /// Writes an object's status where it says something else.
    async fn tell(&self, object: &Value, status: Status) {
        let Some(body) = status.change(object) else { return };
        let Some(path) = path_of(object) else { return };
        if let Err(error) = self.api.patch(&format!("{path}/status"), PatchKind::Merge, &body).await {
            tracing::warn!(path, error = &error as &dyn std::error::Error, "a status could not be written");
        }
    }
}

/// The service accounts that a policy could select, as NAMESPACE/NAME.
fn selected(set: &PolicySet, accounts: &[(String, String)]) -> Vec<String> {
    let selected = accounts.iter().filter(|(namespace, account)| set.may_select(namespace, account));
    selected.map(|(namespace, account)| format!("{namespace}/{account}")).collect()
}

/// Where an object of ours lies.
fn path_of(object: &Value) -> Option<String> {
    let plural = match object.get("kind")?.as_str()? {
        "WarehouseBinding" => "warehousebindings",
        "WarehousePolicy" => "warehousepolicies",
        "ClusterWarehousePolicy" => "clusterwarehousepolicies",
        _ => return None,
    };
    let name = object.pointer("/metadata/name")?.as_str()?;
    let namespace = object.pointer("/metadata/namespace").and_then(Value::as_str).map(|namespace| format!("namespaces/{namespace}/"));
    Some(format!("/apis/{API_VERSION}/{}{plural}/{name}", namespace.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::{Settings, path_of, schema};
    use crate::document;
    use crate::golden::expect_file;

    #[test]
    fn the_published_schema_is_current() {
        expect_file("config/schema/controller.json", &format!("{:#}\n", schema()));
    }

    #[test]
    fn the_annotated_example_shows_the_defaults() {
        let read = |text: &str| serde_json::to_value(document::read::<Settings>("c.yaml", text, &|_| None).unwrap()).unwrap();
        assert_eq!(read(include_str!("../config/controller.yaml")), read("{}"));
    }

    #[test]
    fn objects_lie_below_their_namespace_where_they_have_one() {
        let object = serde_json::json!({ "kind": "WarehousePolicy", "metadata": { "name": "p", "namespace": "dbt" } });
        assert_eq!(path_of(&object).unwrap(), "/apis/tollhouse.dev/v1alpha1/namespaces/dbt/warehousepolicies/p");
        let object = serde_json::json!({ "kind": "ClusterWarehousePolicy", "metadata": { "name": "p" } });
        assert_eq!(path_of(&object).unwrap(), "/apis/tollhouse.dev/v1alpha1/clusterwarehousepolicies/p");
    }
}
