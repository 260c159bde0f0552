//! Whether a pod may run: with the sidecar as it was made, without a way around it, and without a warehouse password.

use serde_json::Value;

use super::binding::WarehouseBinding;
use super::patch::{INJECT, Refusal, Skip, Wish, binding_of, differing, each, each_of, is_ours, name_of, text};
use super::sidecar::{self, CONTAINER, GUARD, Placement, VOLUME_PREFIX};

/// Variables that hold a secret of a warehouse, and whose they are. A `*` stands for anything.
///
/// dbt hides values of `DBT_ENV_SECRET_*` from its own log, so projects keep credentials there:
/// <https://docs.getdbt.com/docs/build/environment-variables#handling-secrets>.
const PASSWORDS: &[(&str, &str)] = &[
    ("PGPASSWORD", "libpq"),
    ("PGPASSFILE", "libpq"),
    ("DBT_PASSWORD", "dbt"),
    ("DBT_ENV_SECRET_*", "dbt"),
    ("DBT_*_PASSWORD", "dbt"),
    ("DBT_*_TOKEN", "dbt"),
    ("POSTGRES_PASSWORD", "PostgreSQL"),
    ("REDSHIFT_PASSWORD", "Redshift"),
    ("SNOWFLAKE_PASSWORD", "Snowflake"),
    ("SNOWFLAKE_PRIVATE_KEY*", "Snowflake"),
    ("SNOWSQL_PWD", "Snowflake"),
    ("DATABRICKS_TOKEN", "Databricks"),
    ("DATABRICKS_CLIENT_SECRET", "Databricks"),
    ("TRINO_PASSWORD", "Trino"),
];

/// A password that a project keeps in its environment for something else than a warehouse is named here, by the pod.
pub const ALLOWED: &str = "tollhouse.dev/allow-variables";

/// Judges a pod as it would be stored.
///
/// # Errors
/// Every [`Refusal`], each with what would help.
pub fn validate(pod: &Value, bindings: &[WarehouseBinding], settings: &sidecar::Settings) -> Result<Option<Skip>, Vec<Refusal>> {
    let binding = match Wish::of(pod).and_then(|wish| binding_of(&wish, bindings)) {
        Ok(Ok(binding)) => binding,
        Ok(Err(skip)) => return Ok(Some(skip)),
        Err(refusal) => return Err(vec![refusal]),
    };
    let mut refusals = Vec::new();
    refusals.extend(sidecar_as_made(pod, binding, settings));
    refusals.extend(volumes_as_made(pod, binding, settings));
    for container in others(pod) {
        refusals.extend(password(pod, container));
        refusals.extend(reaches_into_the_sidecar(container, settings));
    }
    refusals.extend(token_beside_the_sidecar(pod, binding));
    refusals.extend(hidden_processes(pod));
    if refusals.is_empty() { Ok(None) } else { Err(refusals) }
}

/// The sidecar is there, in its place, and in all that decides the one that was made; so is the guard.
fn sidecar_as_made(pod: &Value, binding: &WarehouseBinding, settings: &sidecar::Settings) -> Vec<Refusal> {
    let sidecar_list = match settings.placement {
        Placement::Native => "initContainers",
        Placement::Container => "containers",
    };
    let guard = settings.guard(binding);
    let wanted = [(sidecar_list, CONTAINER, Some(settings.container())), ("initContainers", GUARD, guard)];
    let judge = |(list, name, made): &(&str, &str, Option<Value>)| {
        let made = made.as_ref()?;
        let Some(present) = each(pod, list).find(|container| name_of(container) == *name) else {
            return Some(Refusal::new(
                "not_injected",
                format!(
                    "the pod is to run with the sidecar and has no container {name} in {list}: another webhook took it out, or the mutating webhook was not asked; create the pod anew, or decline with {INJECT}: \"false\""
                ),
            ));
        };
        let field = differing(made, present)?;
        Some(Refusal::new(
            "tampered",
            format!(
                "container {name} is not the one that was made: `{field}` differs; leave the container out of the pod, and it is added"
            ),
        ))
    };
    let first = each(pod, "initContainers")
        .take_while(|container| !is_ours(container))
        .find(|container| text(container, &["restartPolicy"]).is_none());
    let late = first.filter(|_| sidecar_list == "initContainers" && each(pod, sidecar_list).any(is_ours)).map(|container| {
        let message = format!("init container {} would run before the sidecar; let the sidecar come first", name_of(container));
        Refusal::new("not_first", message)
    });
    wanted.iter().filter_map(judge).chain(late).collect()
}

/// The volumes that the sidecar trusts are the ones that were made.
fn volumes_as_made(pod: &Value, binding: &WarehouseBinding, settings: &sidecar::Settings) -> Vec<Refusal> {
    let made = settings.volumes(binding);
    let is_made = |volume: &Value| made.iter().any(|made| made == volume);
    each(pod, "volumes")
        .filter(|volume| name_of(volume).starts_with(VOLUME_PREFIX) && !is_made(volume))
        .map(|volume| {
            let message = format!(
                "volume {} is not the one that was made; names with {VOLUME_PREFIX} are the sidecar's, choose another",
                name_of(volume)
            );
            Refusal::new("tampered", message)
        })
        .collect()
}

/// Every container that is not ours, those that debuggers add included.
fn others(pod: &Value) -> impl Iterator<Item = &Value> {
    ["initContainers", "containers", "ephemeralContainers"]
        .into_iter()
        .flat_map(|list| each(pod, list))
        .filter(|container| !is_ours(container))
}

/// Variables that hold a warehouse's password.
fn password(pod: &Value, container: &Value) -> Vec<Refusal> {
    let allowed = text(pod, &["metadata", "annotations", ALLOWED]).unwrap_or_default();
    let is_allowed = |name: &str| allowed.split(',').any(|word| word.trim() == name);
    each_of(container, "env")
        .filter_map(|variable| {
            let name = text(variable, &["name"])?;
            let (_, whose) = PASSWORDS.iter().find(|(pattern, _)| matches(pattern, name))?;
            let holds = text(variable, &["value"]).is_some_and(|value| !value.is_empty())
                || variable.pointer("/valueFrom/secretKeyRef").is_some()
                || variable.pointer("/valueFrom/configMapKeyRef").is_some();
            (holds && !is_allowed(name)).then(|| {
                let message = format!(
                    "container {}: variable {name} hands a secret of {whose} to the container; take it out, since the sidecar logs in by itself. If it is not a warehouse's, name it in the annotation {ALLOWED}",
                    name_of(container)
                );
                Refusal::new("password", message)
            })
        })
        .collect()
}

/// Mounts of our volumes, and the sidecar's own user where that user may pass the guard.
fn reaches_into_the_sidecar(container: &Value, settings: &sidecar::Settings) -> Vec<Refusal> {
    let name = name_of(container);
    let mounts = each_of(container, "volumeMounts").map(name_of).filter(|volume| volume.starts_with(VOLUME_PREFIX));
    let mut refusals: Vec<Refusal> = mounts
        .map(|volume| {
            Refusal::new("mounts_ours", format!("container {name} mounts {volume}, which is the sidecar's alone; take the mount out"))
        })
        .collect();
    let user = container.pointer("/securityContext/runAsUser").and_then(Value::as_u64);
    if settings.guard.is_some() && user == Some(u64::from(settings.user_id)) {
        let message =
            format!("container {name} runs as user {}, whom the guard lets pass as the sidecar; choose another", settings.user_id);
        refusals.push(Refusal::new("user_of_the_sidecar", message));
    }
    refusals
}

/// A volume of the pod's own that projects a token for one of the sidecar's audiences.
fn token_beside_the_sidecar(pod: &Value, binding: &WarehouseBinding) -> Vec<Refusal> {
    let files = binding.token_files();
    let audiences = |volume: &'_ Value| -> Vec<String> {
        let sources = volume.pointer("/projected/sources").and_then(Value::as_array).cloned().unwrap_or_default();
        sources.iter().filter_map(|source| text(source, &["serviceAccountToken", "audience"]).map(ToOwned::to_owned)).collect()
    };
    let own = each(pod, "volumes").filter(|volume| !name_of(volume).starts_with(VOLUME_PREFIX));
    own.flat_map(|volume| audiences(volume).into_iter().map(move |audience| (name_of(volume), audience)))
        .filter(|(_, audience)| files.contains_key(audience.as_str()))
        .map(|(volume, audience)| {
            let message = format!(
                "volume {volume} projects a token for {audience}, with which a container would log in without the sidecar; take it out"
            );
            Refusal::new("token_beside", message)
        })
        .collect()
}

/// Containers that see each other's processes see the sidecar's files, too.
fn hidden_processes(pod: &Value) -> Option<Refusal> {
    (pod.pointer("/spec/shareProcessNamespace") == Some(&Value::Bool(true))).then(|| {
        Refusal::new(
            "shared_processes",
            "the pod has shareProcessNamespace, through which a container reads the sidecar's tokens; leave shareProcessNamespace out",
        )
    })
}

/// Whether a name fits a pattern with at most one `*`.
fn matches(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((head, tail)) => name.len() >= head.len() + tail.len() && name.starts_with(head) && name.ends_with(tail),
    }
}
