//! What is changed in a pod, as a JSON patch (RFC 6902): a pure function of the pod, its namespace's bindings and the settings.

use json_patch::jsonptr::PointerBuf;
use json_patch::{AddOperation, Patch, PatchOperation, RemoveOperation};
use serde_json::{Value, json};

use super::binding::{Selected, WarehouseBinding, select};
use super::sidecar::{self, CONTAINER, GUARD, Placement};

/// Label or annotation of a pod: `"true"` insists on the sidecar, `"false"` declines it.
pub const INJECT: &str = "tollhouse.dev/inject";
/// Annotation of a pod: the binding that it wants.
pub const BINDING: &str = "tollhouse.dev/binding";
/// Label that an injected pod carries, with the name of its binding: what monitors and people select by.
pub const INJECTED: &str = "tollhouse.dev/injected";

/// The fields that decide what a container does: whoever differs in one is not the container that we made.
pub(super) const DECISIVE: &[&str] = &[
    "image",
    "command",
    "args",
    "workingDir",
    "env",
    "envFrom",
    "restartPolicy",
    "securityContext",
    "volumeMounts",
    "volumeDevices",
    "lifecycle",
    "startupProbe",
];

/// What is to happen to a pod.
#[derive(Debug, Clone, PartialEq)]
pub enum Injection {
    /// It gets the sidecar of this binding. The patch is empty where it has it already.
    Injected {
        /// The binding's name.
        binding: String,
        /// The changes.
        patch: Patch,
        /// What was done, a line each, for people.
        done: Vec<String>,
    },
    /// It stays as it is, and this is why.
    Skipped(Skip),
    /// It must not run as it is, and this is why and what would help.
    Refused(Refusal),
}

/// Why a pod gets no sidecar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Skip {
    /// It declines.
    OptedOut,
    /// No binding is for its service account, and it asks for none.
    NoBinding,
}

/// Why a pod is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The word in metrics and audit annotations.
    pub reason: &'static str,
    /// What is wrong and what would help, for whoever made the pod.
    pub message: String,
}

impl Refusal {
    pub(super) fn new(reason: &'static str, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }
}

impl Skip {
    /// The word in metrics and audit annotations.
    pub fn reason(self) -> &'static str {
        match self {
            Self::OptedOut => "opted_out",
            Self::NoBinding => "no_binding",
        }
    }
}

/// What a pod says about injection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wish<'p> {
    /// `Some(true)` insists, `Some(false)` declines.
    pub(super) inject: Option<bool>,
    /// The binding that it names.
    pub(super) binding: Option<&'p str>,
    /// The service account that it runs as.
    pub(super) service_account: &'p str,
}

impl<'p> Wish<'p> {
    /// Reads it.
    ///
    /// # Errors
    /// The word behind [`INJECT`] is neither `true` nor `false`, or label and annotation contradict each other.
    pub(super) fn of(pod: &'p Value) -> Result<Self, Refusal> {
        let word = |place: &str| text(pod, &["metadata", place, INJECT]);
        let words = [word("annotations"), word("labels")];
        let mut inject = None;
        for said in words.into_iter().flatten() {
            let meant = match said {
                "true" => true,
                "false" => false,
                other => {
                    return Err(Refusal::new("invalid_word", format!("{INJECT} is {other:?}; write \"true\" or \"false\", in quotes")));
                }
            };
            if inject.is_some_and(|before| before != meant) {
                return Err(Refusal::new("contradiction", format!("label and annotation {INJECT} contradict each other; keep one")));
            }
            inject = Some(meant);
        }
        let account = text(pod, &["spec", "serviceAccountName"]).filter(|name| !name.is_empty());
        Ok(Self { inject, binding: text(pod, &["metadata", "annotations", BINDING]), service_account: account.unwrap_or("default") })
    }
}

/// The binding of a pod.
///
/// # Errors
/// A [`Refusal`]: it insists and there is none, it names one that is not there, or several are for its service account.
pub(super) fn binding_of<'b>(wish: &Wish<'_>, bindings: &'b [WarehouseBinding]) -> Result<Result<&'b WarehouseBinding, Skip>, Refusal> {
    if wish.inject == Some(false) {
        return Ok(Err(Skip::OptedOut));
    }
    match select(bindings, wish.binding, wish.service_account) {
        Selected::One(binding) => Ok(Ok(binding)),
        Selected::None if wish.inject == Some(true) => Err(Refusal::new(
            "no_binding",
            format!(
                "{INJECT} is \"true\" and no WarehouseBinding of this namespace is for service account {}; add it to `serviceAccounts` of one, or name one with the annotation {BINDING}",
                wish.service_account
            ),
        )),
        Selected::None => Ok(Err(Skip::NoBinding)),
        Selected::Missing(name, near) => {
            let near = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
            Err(Refusal::new("unknown_binding", format!("this namespace has no WarehouseBinding {name}{near}")))
        }
        Selected::Several(names) => Err(Refusal::new(
            "several_bindings",
            format!(
                "the WarehouseBindings {} are all for service account {}; name one with the annotation {BINDING}, or take the account out of the others",
                names.join(", "),
                wish.service_account
            ),
        )),
    }
}

/// Decides about a pod, and says what is to change. The same input gives the same patch; a pod that was patched needs none.
pub fn inject(pod: &Value, bindings: &[WarehouseBinding], settings: &sidecar::Settings) -> Injection {
    let binding = match Wish::of(pod).and_then(|wish| binding_of(&wish, bindings)) {
        Ok(Ok(binding)) => binding,
        Ok(Err(skip)) => return Injection::Skipped(skip),
        Err(refusal) => return Injection::Refused(refusal),
    };
    if pod.pointer("/spec/hostNetwork") == Some(&Value::Bool(true)) {
        return Injection::Refused(Refusal::new(
            "host_network",
            "the pod has hostNetwork, so that everybody on the node would reach its sidecar; leave hostNetwork out",
        ));
    }
    if pod.pointer("/spec/os/name").and_then(Value::as_str) == Some("windows") {
        return Injection::Refused(Refusal::new("windows", "the sidecar runs on Linux alone"));
    }
    let mut changes = Changes::default();
    changes.environment(pod, binding, settings);
    changes.volumes(pod, binding, settings);
    changes.containers(pod, binding, settings);
    changes.labels(pod, binding);
    Injection::Injected { binding: binding.metadata.name.clone(), patch: Patch(changes.operations), done: changes.done }
}

/// The changes so far, in the order in which they are made.
#[derive(Default)]
struct Changes {
    operations: Vec<PatchOperation>,
    done: Vec<String>,
}

impl Changes {
    fn add(&mut self, path: &[&str], value: Value) {
        self.operations.push(PatchOperation::Add(AddOperation { path: PointerBuf::from_tokens(path.iter().copied()), value }));
    }

    fn remove(&mut self, path: &[&str]) {
        self.operations.push(PatchOperation::Remove(RemoveOperation { path: PointerBuf::from_tokens(path.iter().copied()) }));
    }

    /// Makes a list where there is none.
    fn list(&mut self, pod: &Value, path: &[&str]) {
        if at(pod, path).is_none_or(Value::is_null) {
            self.add(path, json!([]));
        }
    }

    /// Tells every container that starts behind the sidecar where to connect, unless it says so itself.
    fn environment(&mut self, pod: &Value, binding: &WarehouseBinding, settings: &sidecar::Settings) {
        let wanted = settings.environment(binding);
        let lists: &[&str] = match settings.placement {
            Placement::Native => &["initContainers", "containers"],
            Placement::Container => &["containers"],
        };
        for list in lists {
            for (index, container) in each(pod, list).enumerate().filter(|(_, container)| !is_ours(container)) {
                let set = |name: &str| each_of(container, "env").any(|variable| text(variable, &["name"]) == Some(name));
                let missing: Vec<_> = wanted.iter().filter(|pair| !pair.iter().any(|(name, _)| set(name))).flatten().collect();
                if missing.is_empty() {
                    continue;
                }
                let index = index.to_string();
                self.list(pod, &["spec", list, &index, "env"]);
                for (name, value) in &missing {
                    self.add(&["spec", list, &index, "env", "-"], json!({ "name": name, "value": value }));
                }
                let names: Vec<&str> = missing.iter().map(|(name, _)| name.as_str()).collect();
                self.done.push(format!("container {}: set {}", name_of(container), names.join(", ")));
            }
        }
    }

    /// Adds our volumes, and puts right those that bear our names and are something else.
    fn volumes(&mut self, pod: &Value, binding: &WarehouseBinding, settings: &sidecar::Settings) {
        self.list(pod, &["spec", "volumes"]);
        for wanted in settings.volumes(binding) {
            let name = name_of(&wanted);
            match each(pod, "volumes").enumerate().find(|(_, volume)| name_of(volume) == name) {
                Some((_, volume)) if *volume == wanted => {}
                Some((index, _)) => {
                    let index = index.to_string();
                    self.remove(&["spec", "volumes", &index]);
                    self.done.push(format!("volume {name}: put right"));
                    self.add(&["spec", "volumes", &index], wanted);
                }
                None => {
                    self.done.push(format!("volume {name}: added"));
                    self.add(&["spec", "volumes", "-"], wanted);
                }
            }
        }
    }

    /// Puts the sidecar in its place, and the guard before it.
    fn containers(&mut self, pod: &Value, binding: &WarehouseBinding, settings: &sidecar::Settings) {
        let sidecar = settings.container();
        let guard = settings.guard(binding);
        let (in_init, in_containers) = match settings.placement {
            Placement::Native => (guard.into_iter().chain([sidecar]).collect(), Vec::new()),
            Placement::Container => (guard.into_iter().collect(), vec![sidecar]),
        };
        self.lead(pod, "initContainers", in_init);
        self.lead(pod, "containers", in_containers);
    }

    /// Has a list of containers begin with ours, in this order, and hold no other of our names.
    fn lead(&mut self, pod: &Value, list: &str, wanted: Vec<Value>) {
        let present: Vec<&Value> = each(pod, list).collect();
        let ours = present.iter().filter(|container| is_ours(container)).count();
        let leads = wanted.iter().zip(&present).all(|(wanted, present)| is_same(wanted, present));
        if leads && ours == wanted.len() {
            return;
        }
        for (index, container) in present.iter().enumerate().rev().filter(|(_, container)| is_ours(container)) {
            self.remove(&["spec", list, &index.to_string()]);
            self.done.push(format!("container {}: taken out to be put right", name_of(container)));
        }
        self.list(pod, &["spec", list]);
        for (index, container) in wanted.into_iter().enumerate() {
            self.done.push(format!("container {}: added to {list} at {index}", name_of(&container)));
            self.add(&["spec", list, &index.to_string()], container);
        }
    }

    fn labels(&mut self, pod: &Value, binding: &WarehouseBinding) {
        let name = &binding.metadata.name;
        if text(pod, &["metadata", "labels", INJECTED]) == Some(name) {
            return;
        }
        if at(pod, &["metadata", "labels"]).is_none_or(Value::is_null) {
            self.add(&["metadata", "labels"], json!({}));
        }
        self.add(&["metadata", "labels", INJECTED], json!(name));
        self.done.push(format!("label {INJECTED}: {name}"));
    }
}

/// Whether a container is the one that we would make, in all that decides. What the API server and other admission plugins add
/// elsewhere, such as limits, does not count.
pub(super) fn is_same(wanted: &Value, present: &Value) -> bool {
    name_of(wanted) == name_of(present) && differing(wanted, present).is_none()
}

/// The first decisive field in which two containers differ.
pub(super) fn differing(wanted: &Value, present: &Value) -> Option<&'static str> {
    let field = |container: &Value, name: &str| container.get(name).filter(|value| !value.is_null()).cloned();
    DECISIVE.iter().copied().find(|name| field(wanted, name) != field(present, name))
}

pub(super) fn is_ours(container: &Value) -> bool {
    [CONTAINER, GUARD].contains(&name_of(container))
}

/// The name of a container or volume; empty where it has none.
pub(super) fn name_of(thing: &Value) -> &str {
    text(thing, &["name"]).unwrap_or_default()
}

/// Each entry of a list of the pod's `spec`.
pub(super) fn each<'p>(pod: &'p Value, list: &str) -> impl Iterator<Item = &'p Value> + use<'p> {
    at(pod, &["spec", list]).and_then(Value::as_array).into_iter().flatten()
}

/// Each entry of a list of an object.
pub(super) fn each_of<'v>(object: &'v Value, list: &str) -> impl Iterator<Item = &'v Value> + use<'v> {
    object.get(list).and_then(Value::as_array).into_iter().flatten()
}

/// The value behind some keys and indexes.
pub(super) fn at<'v>(value: &'v Value, path: &[&str]) -> Option<&'v Value> {
    path.iter().try_fold(value, |value, key| match value {
        Value::Array(items) => items.get(key.parse::<usize>().ok()?),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => value.get(key),
    })
}

/// The text behind some keys.
pub(super) fn text<'v>(value: &'v Value, path: &[&str]) -> Option<&'v str> {
    at(value, path)?.as_str()
}
