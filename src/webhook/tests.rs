//! Pods as they reach a webhook, and what becomes of them, held against `tests/data/webhook`.

use serde_json::{Value, json};

use super::Settings;
use super::binding::WarehouseBinding;
use super::patch::{Injection, inject};
use super::sidecar::{self, Guard, Placement};
use super::validate::validate;
use crate::document::{self, parts};
use crate::golden::expect_file;

fn read(path: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(format!("{}/tests/data/webhook/{path}", env!("CARGO_MANIFEST_DIR"))).unwrap();
    parts(path, &text).unwrap().iter().map(|part| part.value().clone()).collect()
}

fn bindings() -> Vec<WarehouseBinding> {
    read("bindings.yaml").into_iter().map(|object| WarehouseBinding::parse(object).unwrap()).collect()
}

fn pod(name: &str) -> Value {
    read(&format!("pods/{name}.yaml")).remove(0)
}

fn settings() -> sidecar::Settings {
    sidecar::Settings { image: "registry.example.com/tollhouse:1".to_owned(), ..sidecar::Settings::default() }
}

fn guarded() -> sidecar::Settings {
    sidecar::Settings { guard: Some(Guard { image: "registry.example.com/nft:1".to_owned() }), ..settings() }
}

/// The pod as it would be stored.
fn injected(pod: &Value, settings: &sidecar::Settings) -> Value {
    let Injection::Injected { patch, .. } = inject(pod, &bindings(), settings) else { panic!("not injected: {pod}") };
    let mut patched = pod.clone();
    json_patch::patch(&mut patched, &patch.0).unwrap();
    patched
}

fn patch_of(pod: &Value, settings: &sidecar::Settings) -> String {
    match inject(pod, &bindings(), settings) {
        Injection::Injected { patch, .. } => serde_json::to_string(&patch).unwrap(),
        other @ (Injection::Skipped(_) | Injection::Refused(_)) => panic!("{other:?}"),
    }
}

fn reasons(pod: &Value, settings: &sidecar::Settings) -> Vec<&'static str> {
    validate(pod, &bindings(), settings).err().unwrap_or_default().iter().map(|refusal| refusal.reason).collect()
}

const INJECTED: &[&str] = &["job", "cronjob", "argo", "airflow", "own-init", "planted"];
const LEFT: &[&str] = &["declined", "unbound", "insists", "contradiction", "word", "mistyped-binding", "two-bindings", "host-network"];

#[test]
fn each_pod_gets_what_is_written_beside_it() {
    for name in [INJECTED, LEFT].concat() {
        let said = match inject(&pod(name), &bindings(), &settings()) {
            Injection::Injected { binding, patch, done } => {
                format!("injected: {binding}\n{}\n\n{}\n", done.join("\n"), serde_json::to_string_pretty(&patch).unwrap())
            }
            Injection::Skipped(skip) => format!("skipped: {}\n", skip.reason()),
            Injection::Refused(refusal) => format!("refused: {}\n{}\n", refusal.reason, refusal.message),
        };
        assert_eq!(said.starts_with("injected"), INJECTED.contains(&name), "{name}: {said}");
        expect_file(&format!("tests/data/webhook/pods/{name}.expected"), &said);
    }
}

#[test]
fn a_pod_that_was_patched_needs_no_patch_and_passes_validation() {
    let fallback = sidecar::Settings { placement: Placement::Container, ..settings() };
    for settings in [settings(), guarded(), fallback] {
        for name in INJECTED {
            let patched = injected(&pod(name), &settings);
            assert_eq!(patch_of(&patched, &settings), "[]", "{name}");
            assert_eq!(validate(&patched, &bindings(), &settings), Ok(None), "{name}");
        }
    }
}

#[test]
fn the_native_sidecar_is_first_and_starts_everybody_else_only_when_it_can_serve() {
    for name in INJECTED {
        let patched = injected(&pod(name), &settings());
        let first = &patched["spec"]["initContainers"][0];
        assert_eq!((&first["name"], &first["restartPolicy"]), (&json!("tollhouse"), &json!("Always")), "{name}");
        assert_eq!(first["startupProbe"]["httpGet"]["path"], "/readyz");
        assert!(first["resources"]["limits"]["cpu"].is_null(), "no limit on CPU");
    }
}

#[test]
fn nobody_but_the_sidecar_mounts_a_volume_of_ours() {
    for name in INJECTED {
        let patched = injected(&pod(name), &guarded());
        let lists = ["initContainers", "containers"].map(|list| patched["spec"][list].as_array().unwrap().clone()).concat();
        for container in lists.iter().filter(|container| container["name"] != "tollhouse") {
            assert!(!container["volumeMounts"].to_string().contains("tollhouse-"), "{name}: {container}");
        }
    }
}

#[test]
fn one_token_is_projected_for_each_audience() {
    let patched = injected(&pod("airflow"), &settings());
    let volume = patched["spec"]["volumes"].as_array().unwrap().iter().find(|volume| volume["name"] == "tollhouse-tokens").unwrap();
    let audiences: Vec<_> =
        volume["projected"]["sources"].as_array().unwrap().iter().map(|source| &source["serviceAccountToken"]["audience"]).collect();
    assert_eq!(audiences, ["lake", "shop"]);
}

#[test]
fn what_a_container_says_of_one_address_is_left_alone_whole() {
    let patched = injected(&pod("cronjob"), &settings());
    let names: Vec<_> =
        patched["spec"]["containers"][0]["env"].as_array().unwrap().iter().map(|variable| variable["name"].as_str().unwrap()).collect();
    assert_eq!(
        names,
        ["DBT_HOST", "DBT_TARGET", "PGHOST", "PGPORT", "DBT_WAREHOUSE_HOST", "DBT_WAREHOUSE_PORT"],
        "no DBT_PORT beside a foreign DBT_HOST"
    );
}

#[test]
fn the_guard_comes_first_and_leaves_https_open() {
    let patched = injected(&pod("job"), &guarded());
    let guard = &patched["spec"]["initContainers"][0];
    assert_eq!(guard["name"], "tollhouse-guard");
    assert_eq!(guard["securityContext"]["capabilities"]["add"], json!(["NET_ADMIN"]));
    assert!(guard["command"][1].as_str().unwrap().contains("meta skuid != 65532 tcp dport { 5432 } reject"), "{guard}");
    let airflow = injected(&pod("airflow"), &guarded());
    assert!(airflow["spec"]["initContainers"][0]["command"][1].as_str().unwrap().contains("{ 5555 }"));
}

#[test]
fn a_sidecar_that_was_taken_out_or_changed_is_refused() {
    let patched = injected(&pod("job"), &settings());
    let changed = |change: &dyn Fn(&mut Value)| {
        let mut pod = patched.clone();
        change(&mut pod);
        reasons(&pod, &settings())
    };
    assert_eq!(changed(&|_| {}), Vec::<&str>::new());
    assert_eq!(changed(&|pod| pod["spec"]["initContainers"] = json!([])), ["not_injected"]);
    for (field, value) in [
        ("image", json!("registry.example.com/forged:1")),
        ("args", json!(["--help"])),
        ("command", json!(["sh"])),
        ("env", json!([{ "name": "LD_PRELOAD", "value": "/x" }])),
        ("restartPolicy", json!("OnFailure")),
        ("lifecycle", json!({ "postStart": { "exec": { "command": ["sh"] } } })),
    ] {
        assert_eq!(changed(&|pod| pod["spec"]["initContainers"][0][field] = value.clone()), ["tampered"], "{field}");
    }
    assert_eq!(
        changed(&|pod| pod["spec"]["initContainers"][0]["resources"]["limits"]["cpu"] = json!("1")),
        Vec::<&str>::new(),
        "a LimitRange may"
    );
    let last = |pod: &mut Value| {
        let sidecar = pod["spec"]["initContainers"][0].clone();
        pod["spec"]["initContainers"] = json!([{ "name": "early", "image": "alpine" }, sidecar]);
    };
    assert_eq!(changed(&last), ["not_first"]);
    let volume = |pod: &mut Value| {
        let volumes = pod["spec"]["volumes"].as_array_mut().unwrap();
        volumes.iter_mut().find(|volume| volume["name"] == "tollhouse-config").unwrap()["configMap"]["name"] = json!("mine");
    };
    assert_eq!(changed(&volume), ["tampered"]);
}

#[test]
fn a_way_around_the_sidecar_is_refused_with_the_fix() {
    let patched = injected(&pod("job"), &guarded());
    let said = |change: &dyn Fn(&mut Value)| {
        let mut pod = patched.clone();
        change(&mut pod);
        let refusals = validate(&pod, &bindings(), &guarded()).unwrap_err();
        assert_eq!(refusals.len(), 1, "{refusals:?}");
        format!("{}: {}", refusals[0].reason, refusals[0].message)
    };
    type Case<'a> = (&'a str, &'a str, &'a dyn Fn(&mut Value));
    let cases: &[Case<'_>] = &[
        ("mounts_ours", "container dbt mounts tollhouse-tokens", &|pod| {
            pod["spec"]["containers"][0]["volumeMounts"] = json!([{ "name": "tollhouse-tokens", "mountPath": "/t" }]);
        }),
        ("mounts_ours", "container debugger mounts tollhouse-audit", &|pod| {
            pod["spec"]["ephemeralContainers"] =
                json!([{ "name": "debugger", "image": "a", "volumeMounts": [{ "name": "tollhouse-audit", "mountPath": "/t" }] }]);
        }),
        ("user_of_the_sidecar", "runs as user 65532", &|pod| {
            pod["spec"]["containers"][0]["securityContext"] = json!({ "runAsUser": 65532 })
        }),
        ("token_beside", "volume mine projects a token for https://sts.example.com/warehouse", &|pod| {
            let source = json!({ "serviceAccountToken": { "audience": "https://sts.example.com/warehouse", "path": "t" } });
            pod["spec"]["volumes"].as_array_mut().unwrap().push(json!({ "name": "mine", "projected": { "sources": [source] } }));
        }),
        ("shared_processes", "leave shareProcessNamespace out", &|pod| pod["spec"]["shareProcessNamespace"] = json!(true)),
        ("password", "container dbt: variable PGPASSWORD", &|pod| {
            pod["spec"]["containers"][0]["env"] = json!([{ "name": "PGPASSWORD", "value": "hunter2" }]);
        }),
        ("password", "variable DBT_ENV_SECRET_SNOWFLAKE_PASSWORD hands a secret of dbt", &|pod| {
            pod["spec"]["containers"][0]["env"] =
                json!([{ "name": "DBT_ENV_SECRET_SNOWFLAKE_PASSWORD", "valueFrom": { "secretKeyRef": { "name": "s", "key": "k" } } }]);
        }),
    ];
    for (reason, words, change) in cases {
        let said = said(change);
        assert!(said.starts_with(&format!("{reason}: ")) && said.contains(words), "{said}");
        assert!(!said.contains("hunter2"), "no value is shown");
    }
}

#[test]
fn a_variable_that_is_empty_or_named_as_harmless_passes() {
    let mut pod = injected(&pod("job"), &settings());
    pod["spec"]["containers"][0]["env"] = json!([{ "name": "PGPASSWORD", "value": "" }, { "name": "PGUSER", "value": "dbt" }]);
    assert_eq!(reasons(&pod, &settings()), Vec::<&str>::new());
    pod["spec"]["containers"][0]["env"] = json!([{ "name": "DBT_SLACK_TOKEN", "value": "x" }]);
    assert_eq!(reasons(&pod, &settings()), ["password"]);
    pod["metadata"]["annotations"] = json!({ "tollhouse.dev/allow-variables": "OTHER, DBT_SLACK_TOKEN" });
    assert_eq!(reasons(&pod, &settings()), Vec::<&str>::new());
}

#[test]
fn the_published_schema_is_current() {
    expect_file("config/schema/webhook.json", &format!("{:#}\n", super::schema()));
}

#[test]
fn the_annotated_example_shows_the_defaults() {
    let read = |text: &str| serde_json::to_value(document::read::<Settings>("w.yaml", text, &|_| None).unwrap()).unwrap();
    let all = read(include_str!("../../config/webhook.yaml"));
    let least = read("certificate: { directory: d, own: { names: [a] } }");
    for (key, value) in least.as_object().unwrap().iter().filter(|(key, _)| *key != "certificate") {
        assert_eq!(&all[key], value, "{key}");
    }
    assert_eq!(all["certificate"]["own"]["lifetime"], least["certificate"]["own"]["lifetime"]);
}
