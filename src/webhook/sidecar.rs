//! What is put into a pod: the sidecar's container, its volumes, the guard, and where clients are told to connect.
//!
//! Every field that the API server would fill in is written, so that a pod that comes back is the one that was made.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::binding::WarehouseBinding;
use crate::document::Span;

/// The name of the sidecar's container.
pub const CONTAINER: &str = "tollhouse";
/// The name of the guard's container.
pub const GUARD: &str = "tollhouse-guard";
/// What the names of all our volumes begin with.
pub const VOLUME_PREFIX: &str = "tollhouse-";
/// Where the tokens lie, one file for each audience.
pub const TOKENS: &str = "/var/run/secrets/tollhouse";
/// Where configuration and policies lie.
pub const CONFIGURATION: &str = "/etc/tollhouse";
/// Where the audit log lies.
pub const AUDIT: &str = "/var/lib/tollhouse/audit";
/// Where the pod's labels lie, as the downward API writes them.
pub const POD_LABELS: &str = "/etc/podinfo";
/// Health and metrics, on the pod's address.
pub const ADMIN_PORT: u16 = 15020;

/// How a sidecar is made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// The image of the program.
    pub image: String,
    /// When it is pulled: `IfNotPresent`, `Always` or `Never`.
    pub image_pull_policy: String,
    /// Where the container stands.
    pub placement: Placement,
    /// The user that it runs as; no other container may, where there is a guard.
    pub user_id: u32,
    /// CPU that is asked for; there is no limit on CPU, which would only delay queries.
    pub cpu: String,
    /// Memory that is asked for.
    pub memory: String,
    /// The most memory that it may use.
    pub memory_max: String,
    /// Life of a projected token; the kubelet replaces it at four fifths. At least 10 minutes.
    pub token_lifetime: Span,
    /// The most that the audit log may take where a binding has no claim.
    pub audit_size: String,
    /// Closes the way around the sidecar, where given.
    pub guard: Option<Guard>,
}

/// Where the sidecar's container stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Placement {
    /// First among the init containers, restarted always: it is there before everybody else and a Job ends without it. Kubernetes 1.29
    /// or later.
    Native,
    /// First among the containers. Whoever ends last has to `POST /quitquitquit` to 127.0.0.1:15021, or a Job never ends.
    Container,
}

/// An init container that lets nobody but the sidecar's user reach the warehouses' ports. It alone gets NET_ADMIN.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Guard {
    /// An image with `nft` (nftables 0.9 or later).
    pub image: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            image: concat!("ghcr.io/tollhouse/tollhouse:", env!("CARGO_PKG_VERSION")).to_owned(),
            image_pull_policy: "IfNotPresent".to_owned(),
            placement: Placement::Native,
            user_id: 65532,
            cpu: "50m".to_owned(),
            memory: "64Mi".to_owned(),
            memory_max: "512Mi".to_owned(),
            token_lifetime: Span::seconds(3600),
            audit_size: "1Gi".to_owned(),
            guard: None,
        }
    }
}

impl Settings {
    /// The sidecar's container.
    pub fn container(&self) -> Value {
        let mut container = json!({
            "name": CONTAINER,
            "image": self.image,
            "imagePullPolicy": self.image_pull_policy,
            "args": ["run", "--config", format!("{CONFIGURATION}/tollhouse.yaml")],
            "ports": [{ "name": "tollhouse-admin", "containerPort": ADMIN_PORT, "protocol": "TCP" }],
            // Listens, has its policies, and can write the audit log; whether a warehouse answers is said to each client.
            "startupProbe": probe("/readyz", 1, 60),
            "livenessProbe": probe("/livez", 10, 3),
            "resources": {
                "requests": { "cpu": self.cpu, "memory": self.memory },
                "limits": { "memory": self.memory_max },
            },
            "securityContext": {
                "runAsUser": self.user_id,
                "runAsGroup": self.user_id,
                "runAsNonRoot": true,
                "readOnlyRootFilesystem": true,
                "allowPrivilegeEscalation": false,
                "capabilities": { "drop": ["ALL"] },
                "seccompProfile": { "type": "RuntimeDefault" },
            },
            "terminationMessagePath": "/dev/termination-log",
            "terminationMessagePolicy": "File",
            "volumeMounts": [
                { "name": "tollhouse-config", "mountPath": CONFIGURATION, "readOnly": true },
                { "name": "tollhouse-tokens", "mountPath": TOKENS, "readOnly": true },
                { "name": "tollhouse-audit", "mountPath": AUDIT },
                { "name": "tollhouse-podinfo", "mountPath": POD_LABELS, "readOnly": true },
                // The cluster's authority without the API token: a container with something at this path gets none mounted.
                { "name": "tollhouse-cluster", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount", "readOnly": true },
            ],
        });
        if let (Placement::Native, Some(fields)) = (self.placement, container.as_object_mut()) {
            fields.insert("restartPolicy".to_owned(), "Always".into());
        }
        container
    }

    /// The volumes, which no other container may mount.
    pub fn volumes(&self, binding: &WarehouseBinding) -> Vec<Value> {
        let lifetime = self.token_lifetime.0.as_secs();
        let token = |(audience, path): (&str, String)| json!({ "serviceAccountToken": { "audience": audience, "expirationSeconds": lifetime, "path": path } });
        let tokens: Vec<Value> = binding.token_files().into_iter().map(token).collect();
        let audit = match (&binding.spec.audit.claim, &binding.spec.audit.size) {
            (Some(claim), _) => json!({ "name": "tollhouse-audit", "persistentVolumeClaim": { "claimName": claim } }),
            (None, size) => json!({ "name": "tollhouse-audit", "emptyDir": { "sizeLimit": size.as_ref().unwrap_or(&self.audit_size) } }),
        };
        let files = binding.spec.files.keys().map(|name| json!({ "key": name, "path": name }));
        let items: Vec<Value> =
            [json!({ "key": "tollhouse.yaml", "path": "tollhouse.yaml" }), json!({ "key": "policy.yaml", "path": "policy/policy.yaml" })]
                .into_iter()
                .chain(files)
                .collect();
        vec![
            json!({ "name": "tollhouse-config", "configMap": { "name": binding.config_map(), "items": items, "defaultMode": 0o444 } }),
            json!({ "name": "tollhouse-tokens", "projected": { "sources": tokens, "defaultMode": 0o444 } }),
            audit,
            json!({ "name": "tollhouse-podinfo", "downwardAPI": {
                "items": [{ "path": "labels", "fieldRef": { "apiVersion": "v1", "fieldPath": "metadata.labels" } }], "defaultMode": 0o444 } }),
            json!({ "name": "tollhouse-cluster", "projected": {
                "sources": [{ "configMap": { "name": "kube-root-ca.crt", "items": [{ "key": "ca.crt", "path": "ca.crt" }], "optional": true } }],
                "defaultMode": 0o444 } }),
        ]
    }

    /// The guard's container, where there is to be one and a port that it can close. Port 443 is everybody's, and stays open.
    pub fn guard(&self, binding: &WarehouseBinding) -> Option<Value> {
        let guard = self.guard.as_ref()?;
        let ports: Vec<String> = binding.warehouse_ports().iter().filter(|port| **port != 443).map(ToString::to_string).collect();
        if ports.is_empty() {
            return None;
        }
        let rules = rules(&ports, self.user_id);
        Some(json!({
            "name": GUARD,
            "image": guard.image,
            "imagePullPolicy": self.image_pull_policy,
            "command": ["nft", rules],
            "resources": { "requests": { "cpu": "10m", "memory": "16Mi" }, "limits": { "memory": "64Mi" } },
            "securityContext": {
                "runAsUser": 0,
                "runAsGroup": 0,
                "runAsNonRoot": false,
                "readOnlyRootFilesystem": true,
                "allowPrivilegeEscalation": false,
                "capabilities": { "drop": ["ALL"], "add": ["NET_ADMIN"] },
                "seccompProfile": { "type": "RuntimeDefault" },
            },
            "terminationMessagePath": "/dev/termination-log",
            "terminationMessagePolicy": "File",
        }))
    }

    /// Where clients are told to connect: a host and a port at a time, since half a pair would lead elsewhere.
    pub fn environment(&self, binding: &WarehouseBinding) -> Vec<[(String, String); 2]> {
        let pair =
            |prefix: &str, port: u16| [(format!("{prefix}HOST"), "127.0.0.1".to_owned()), (format!("{prefix}PORT"), port.to_string())];
        let mut pairs = Vec::new();
        if let Some((_, port)) = binding.listeners().next() {
            pairs.extend([pair("DBT_", port), pair("PG", port)]);
        }
        pairs.extend(binding.listeners().map(|(target, port)| pair(&format!("DBT_{}_", variable(&target.name)), port)));
        pairs
    }
}

/// A probe of an admin endpoint.
fn probe(path: &str, period: u32, failures: u32) -> Value {
    json!({
        "httpGet": { "path": path, "port": ADMIN_PORT, "scheme": "HTTP" },
        "periodSeconds": period,
        "failureThreshold": failures,
        "successThreshold": 1,
        "timeoutSeconds": 1,
    })
}

/// What `nft` is told, the same after a restart: whoever is not the sidecar gets a reset at these ports, but for loopback.
fn rules(ports: &[String], user_id: u32) -> String {
    let ports = ports.join(", ");
    format!(
        "add table inet tollhouse; flush table inet tollhouse; \
         add chain inet tollhouse output {{ type filter hook output priority 0; policy accept; }}; \
         add rule inet tollhouse output oifname != \"lo\" meta skuid != {user_id} tcp dport {{ {ports} }} reject with tcp reset"
    )
}

/// A name as part of an environment variable.
fn variable(name: &str) -> String {
    name.chars().map(|letter| if letter.is_ascii_alphanumeric() { letter.to_ascii_uppercase() } else { '_' }).collect()
}
