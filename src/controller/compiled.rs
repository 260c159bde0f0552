//! What the sidecars of a binding mount: their configuration, the policies around them, and files.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::config::Config;
use crate::document::Problem;
use crate::policy::{PolicySet, Source};
use crate::webhook::binding::{WarehouseBinding, file_name};
use crate::webhook::sidecar;

/// Most that a ConfigMap may hold, with some room for its metadata: etcd takes no object over 1.5 MiB, Kubernetes no data over 1 MiB.
const DATA_BYTES_MAX: usize = 1000 * 1024;

/// A policy as the API server has it.
pub(super) struct Document {
    object: Value,
    /// What a sidecar reads of it.
    text: Result<String, String>,
}

impl Document {
    pub(super) fn new(object: Value) -> Self {
        let part = |path: &str| object.pointer(path).cloned();
        let mut kept = json!({ "apiVersion": part("/apiVersion"), "kind": part("/kind"), "metadata": { "name": part("/metadata/name") } });
        if let Some(fields) = kept.as_object_mut() {
            fields.extend(["spec", "specs"].into_iter().filter_map(|key| Some((key.to_owned(), object.get(key)?.clone()))));
        }
        if let (Some(metadata), Some(namespace)) =
            (kept.pointer_mut("/metadata").and_then(Value::as_object_mut), part("/metadata/namespace"))
        {
            metadata.insert("namespace".to_owned(), namespace);
        }
        Self { text: serde_saphyr::to_string(&kept).map_err(|error| error.to_string()), object }
    }

    pub(super) fn object(&self) -> &Value {
        &self.object
    }

    pub(super) fn is_ours(&self) -> bool {
        self.word("/apiVersion").is_some_and(|version| version.starts_with("tollhouse.dev/"))
    }

    /// The policy alone.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub(super) fn compiled(&self) -> Result<PolicySet, Vec<String>> {
        let name = self.name();
        let text = self.text.as_ref().map_err(|why| vec![format!("{name}: {why}")])?;
        PolicySet::parse(&[Source { file: &name, text }]).map_err(lines)
    }

    /// Whether it concerns pods of a namespace: it belongs to it, or to none.
    fn concerns(&self, namespace: &str) -> bool {
        self.word("/metadata/namespace").is_none_or(|own| own == namespace)
    }

    fn name(&self) -> String {
        let namespace = self.word("/metadata/namespace").map(|namespace| format!("{namespace}/")).unwrap_or_default();
        let word = |path: &str| self.word(path).unwrap_or_default();
        format!("{} {namespace}{}", word("/kind"), word("/metadata/name"))
    }

    fn word(&self, path: &str) -> Option<&str> {
        self.object.pointer(path)?.as_str()
    }
}

/// The data of a ConfigMap.
pub(super) struct Compiled {
    /// By the names of files.
    pub(super) data: BTreeMap<String, String>,
    /// The digest of the policies.
    pub(super) revision: Arc<str>,
}

/// Compiles a binding with every policy that concerns its namespace; which of them select a pod the sidecar finds out by the pod's
/// labels.
///
/// # Errors
/// Everything that is wrong with the binding or with one of the policies.
pub(super) fn compile(binding: &WarehouseBinding, policies: &[Document], issuer: &str) -> Result<Compiled, Vec<String>> {
    let mut problems = Vec::new();
    let written = configuration(binding, issuer);
    let text = serde_saphyr::to_string(&written).map_err(|error| vec![error.to_string()])?;
    let checked = serde_saphyr::to_string(&without_authorities(written)).map_err(|error| vec![error.to_string()])?;
    if let Err(found) = Config::parse("configuration", &checked, &|_| None) {
        problems.extend(found.into_iter().map(|Problem { path, message, .. }| format!("{path}: {message}")));
    }
    if binding.token_files().values().collect::<std::collections::BTreeSet<_>>().len() < binding.token_files().len() {
        problems.push("two audiences differ only in signs that the name of a file cannot have; change one".to_owned());
    }
    let concerned: Vec<&Document> = policies.iter().filter(|policy| policy.concerns(&binding.metadata.namespace)).collect();
    problems.extend(concerned.iter().filter_map(|policy| policy.compiled().err()).flatten());
    if !problems.is_empty() {
        return Err(problems);
    }
    let texts: Vec<&str> = concerned.iter().filter_map(|policy| policy.text.as_deref().ok()).collect();
    let together = texts.join("---\n");
    let set = PolicySet::parse(&[Source { file: "policy.yaml", text: &together }]).map_err(lines)?;
    let mut data = binding.spec.files.clone();
    data.insert("tollhouse.yaml".to_owned(), text);
    data.insert("policy.yaml".to_owned(), together);
    let size: usize = data.values().map(String::len).sum();
    if size > DATA_BYTES_MAX {
        return Err(vec![format!("configuration and policies have {size} bytes together, and a ConfigMap holds {DATA_BYTES_MAX}")]);
    }
    Ok(Compiled { data, revision: Arc::clone(set.revision()) })
}

/// The configuration of a binding's sidecars. What a binding writes under `settings` stands beside what is made here, and never in its
/// place.
fn configuration(binding: &WarehouseBinding, issuer: &str) -> Value {
    let identities = binding.spec.identities.iter().map(|identity| {
        let made = json!({
            "kind": "kubernetes",
            "name": identity.name,
            "audience": identity.audience,
            "issuer": identity.issuer.as_deref().unwrap_or(issuer),
            "token_file": format!("{}/{}", sidecar::TOKENS, file_name(&identity.audience)),
            "labels_file": format!("{}/labels", sidecar::POD_LABELS),
        });
        let cluster = json!({ "tls": { "ca": "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt" } });
        over(over(cluster, &identity.settings), &fields(made))
    });
    let targets = binding.spec.targets.iter().map(|target| {
        let mut made = json!({
            "name": target.name, "kind": target.kind, "host": target.host, "role": target.role, "credential": target.credential,
        });
        if let Some(made) = made.as_object_mut() {
            made.extend(target.port.map(|port| ("port".to_owned(), port.into())));
            made.extend(target.identity.as_ref().map(|identity| ("identity".to_owned(), identity.as_str().into())));
        }
        over(json!({}), &target.settings.clone().into_iter().chain(fields(made)).collect())
    });
    let listeners = binding.listeners().map(|(target, port)| json!({ "address": format!("127.0.0.1:{port}"), "target": target.name }));
    let made = json!({
        "listeners": listeners.collect::<Vec<_>>(),
        "targets": targets.collect::<Vec<_>>(),
        "identities": identities.collect::<Vec<_>>(),
        "policy": { "paths": [format!("{}/policy", sidecar::CONFIGURATION)] },
        "audit": { "directory": sidecar::AUDIT },
        "admin": { "address": format!("0.0.0.0:{}", sidecar::ADMIN_PORT) },
    });
    over(over(json!({}), &binding.spec.settings), &fields(made))
}

/// A configuration that names no certificate authority: those lie in the pod, and whether they can be used is the sidecar's to say.
fn without_authorities(written: Value) -> Value {
    match written {
        Value::Object(fields) => {
            let mut kept = Map::new();
            for (key, mut field) in fields {
                if let (true, Some(tls)) = (key == "tls", field.as_object_mut()) {
                    tls.remove("ca");
                }
                kept.insert(key, without_authorities(field));
            }
            kept.into()
        }
        Value::Array(items) => items.into_iter().map(without_authorities).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => written,
    }
}

/// An object with some of its fields replaced.
fn over(object: Value, fields: &BTreeMap<String, Value>) -> Value {
    let mut object: Map<String, Value> = object.as_object().cloned().unwrap_or_default();
    object.extend(fields.clone());
    object.into()
}

fn fields(object: Value) -> BTreeMap<String, Value> {
    object.as_object().cloned().unwrap_or_default().into_iter().collect()
}

fn lines(problems: Vec<Problem>) -> Vec<String> {
    problems.iter().map(ToString::to_string).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{Document, compile};
    use crate::document::parts;
    use crate::golden::expect_file;
    use crate::webhook::binding::WarehouseBinding;

    const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

    fn bindings() -> Vec<WarehouseBinding> {
        let text = include_str!("../../tests/data/webhook/bindings.yaml");
        parts("b", text).unwrap().iter().map(|part| WarehouseBinding::parse(part.value().clone()).unwrap()).collect()
    }

    fn policy(namespace: &str, name: &str, spec: Value) -> Document {
        Document::new(json!({
            "apiVersion": "tollhouse.dev/v1alpha1", "kind": "WarehousePolicy",
            "metadata": { "name": name, "namespace": namespace, "uid": "u", "managedFields": [], "generation": 3 },
            "spec": spec, "status": { "conditions": [] },
        }))
    }

    fn read_only() -> Value {
        json!({ "endpointSelector": {}, "egress": [{ "toPorts": [{ "rules": { "sql": [{ "actions": ["select"] }] } }] }] })
    }

    #[test]
    fn the_sidecars_configuration_is_what_is_written_beside_the_binding() {
        let mut page = String::new();
        for binding in bindings() {
            let compiled = compile(&binding, &[policy("dbt", "read-only", read_only())], ISSUER).unwrap();
            for (file, text) in compiled.data {
                page.push_str(&format!("# {}: {file}\n{text}\n", binding.config_map()));
            }
        }
        expect_file("tests/data/webhook/config-maps.expected", &page);
    }

    #[test]
    fn policies_of_other_namespaces_stay_out_and_their_faults_concern_nobody_else() {
        let policies = [policy("dbt", "read-only", read_only()), policy("web", "broken", json!({ "endpointSelectr": {} }))];
        let compiled = compile(&bindings()[0], &policies, ISSUER).unwrap();
        assert!(compiled.data["policy.yaml"].contains("read-only") && !compiled.data["policy.yaml"].contains("broken"));
    }

    #[test]
    fn a_policy_that_is_not_valid_leaves_the_last_configuration_in_force() {
        let policies = [policy("dbt", "read-only", read_only()), policy("dbt", "broken", json!({ "endpointSelectr": {} }))];
        let problems = compile(&bindings()[0], &policies, ISSUER).err().unwrap();
        assert!(
            problems.iter().any(|problem| problem.contains("WarehousePolicy dbt/broken") && problem.contains("endpointSelectr")),
            "{problems:?}"
        );
    }

    #[test]
    fn what_a_binding_cannot_mean_is_told_by_its_place() {
        let mut binding = bindings().remove(0);
        binding.spec.targets[0].kind = "postgres".to_owned();
        binding.spec.settings.insert("limit".to_owned(), json!({}));
        let problems = compile(&binding, &[], ISSUER).err().unwrap();
        assert!(problems[0].contains("limit"), "{problems:?}");
        binding.spec.settings.clear();
        let problems = compile(&binding, &[], ISSUER).err().unwrap();
        assert_eq!(problems, ["targets[0].kind: unknown kind `postgres`; did you mean `postgresql`?"]);
    }

    #[test]
    fn settings_never_take_the_place_of_what_is_made() {
        let mut binding = bindings().remove(0);
        binding.spec.settings.insert("policy".to_owned(), json!({ "paths": ["/tmp"] }));
        binding.spec.targets[0].settings.insert("host".to_owned(), json!("elsewhere.example.com"));
        let compiled = compile(&binding, &[], ISSUER).unwrap();
        let text = &compiled.data["tollhouse.yaml"];
        assert!(text.contains("/etc/tollhouse/policy") && !text.contains("/tmp") && !text.contains("elsewhere"), "{text}");
    }
}
