//! Runs `tests/data/policy/cilium-cases.yaml`, whose verdicts are Cilium's own, and what a sidecar adds to them.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::SystemTime;

use serde::Deserialize;
use serde_json::Value;

use crate::document::Problem;
use crate::identity::Principal;
use crate::policy::http::{HeaderEdit, HttpRequest};
use crate::policy::peer::Peer;
use crate::policy::{PolicySet, Source};

use super::{NetworkDecision, NetworkRequest, NetworkVerdict, Transport};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CaseFile {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    id: String,
    #[serde(rename = "why")]
    _why: String,
    policies: Vec<Value>,
    subject: Subject,
    admission: Option<BTreeMap<String, String>>,
    #[serde(default)]
    requests: Vec<Asked>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Subject {
    namespace: String,
    service_account: String,
    labels: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    to: To,
    port: u16,
    #[serde(default = "tcp")]
    proto: String,
    sni: Option<String>,
    http: Option<Http>,
    dns: Option<String>,
    expect: String,
    #[serde(rename = "note")]
    _note: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged, deny_unknown_fields)]
enum To {
    Name { fqdn: String },
    Address { ip: IpAddr },
    Pod { namespace: String, labels: BTreeMap<String, String> },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Http {
    method: String,
    path: String,
    host: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
}

fn tcp() -> String {
    "TCP".to_owned()
}

impl To {
    fn peer(&self) -> Peer<'_> {
        match self {
            Self::Name { fqdn } => Peer::Outside { name: Some(fqdn), address: None },
            Self::Address { ip } => Peer::Outside { name: None, address: Some(*ip) },
            Self::Pod { namespace, labels } => Peer::Pod { namespace, service: None, labels: Some(labels) },
        }
    }
}

impl Asked {
    fn decide(&self, set: &PolicySet, workload: &Principal) -> NetworkDecision {
        let headers: Vec<(&str, &str)> = self.http.iter().flat_map(|http| &http.headers).map(|(k, v)| (k.as_str(), v.as_str())).collect();
        let http =
            self.http.as_ref().map(|http| HttpRequest { method: &http.method, path: &http.path, host: &http.host, headers: &headers });
        let transport = match self.proto.as_str() {
            "TCP" => Transport::Tcp,
            "UDP" => Transport::Udp,
            "SCTP" => Transport::Sctp,
            other => panic!("no transport: {other}"),
        };
        set.network().decide(&NetworkRequest {
            workload,
            peer: self.to.peer(),
            port: self.port,
            transport,
            server_name: self.sni.as_deref(),
            http,
            dns: self.dns.as_deref(),
        })
    }
}

fn principal(namespace: &str, account: &str, labels: &BTreeMap<String, String>) -> Principal {
    Principal {
        issuer: "https://kubernetes.default.svc".to_owned(),
        subject: format!("system:serviceaccount:{namespace}:{account}"),
        token_id: None,
        actors: Vec::new(),
        namespace: Some(namespace.to_owned()),
        service_account: Some(account.to_owned()),
        pod: None,
        pod_uid: None,
        labels: labels.clone(),
        proven_by: "kubernetes",
        expires_at: SystemTime::UNIX_EPOCH,
    }
}

fn word(decision: &NetworkDecision) -> String {
    let edit = |edit: &HeaderEdit| match edit {
        HeaderEdit::Log { name } => format!("log {name}"),
        HeaderEdit::Add { name, value } => format!("add {name}: {value}"),
        HeaderEdit::Replace { name, value } => format!("replace {name}: {value}"),
        HeaderEdit::Delete { name } => format!("delete {name}"),
    };
    let edits: Vec<String> = decision.edits.iter().map(edit).collect();
    let word = match decision.verdict {
        NetworkVerdict::Allowed if decision.authentication => "allow+auth",
        NetworkVerdict::Allowed if !edits.is_empty() => return format!("allow{{{}}}", edits.join(", ")),
        NetworkVerdict::Allowed => "allow",
        NetworkVerdict::Unjudged => "unjudged",
        NetworkVerdict::NeedsAddress => "needs address",
        NetworkVerdict::Dropped => "l4-drop",
        NetworkVerdict::DroppedInDoubt => "l4-drop in doubt",
        NetworkVerdict::ServerName => "sni-deny",
        NetworkVerdict::Request => "l7-deny",
        NetworkVerdict::NotHttp => "~needs http",
        NetworkVerdict::NotDns => "~needs dns",
        NetworkVerdict::Conflict => "~conflict",
    };
    word.to_owned()
}

fn parse(policies: &[Value]) -> Result<PolicySet, Vec<Problem>> {
    let texts: Vec<String> = policies.iter().map(Value::to_string).collect();
    PolicySet::parse(&[Source { file: "case", text: &texts.join("\n---\n") }])
}

/// Cases, requests and refused documents of a file, and what is wrong with them.
fn run(file: &str) -> ((usize, usize, usize), Vec<String>) {
    let text = std::fs::read_to_string(format!("{}/tests/data/policy/{file}", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let file: CaseFile = serde_saphyr::from_str(&text).unwrap();
    let (mut asked, mut refused, mut wrong) = (0, 0, Vec::new());
    for case in &file.cases {
        let set = parse(&case.policies);
        if case.admission.iter().flatten().any(|(at, answer)| at != "l7_after_decode" && answer != "ok") {
            refused += 1;
            assert!(set.is_err(), "{} is taken", case.id);
            continue;
        }
        let set = set.unwrap_or_else(|problems| panic!("{}: {problems:?}", case.id));
        let workload = principal(&case.subject.namespace, &case.subject.service_account, &case.subject.labels);
        for (index, request) in case.requests.iter().enumerate() {
            asked += 1;
            let decision = request.decide(&set, &workload);
            if word(&decision) != request.expect {
                let (found, rule) = (word(&decision), &decision.rule);
                wrong.push(format!("{} request {index}: expected {}, found {found} by {rule:?}", case.id, request.expect));
            }
        }
    }
    ((file.cases.len(), asked, refused), wrong)
}

#[test]
fn every_case_is_decided_as_cilium_decides_it() {
    assert_eq!(run("cilium-cases.yaml"), ((16, 54, 3), Vec::new()));
}

#[test]
fn the_rest_of_the_grammar_is_decided_as_its_documentation_says() {
    assert_eq!(run("cilium-more.yaml"), ((44, 206, 9), Vec::new()));
}

#[test]
fn the_order_of_documents_decides_nothing() {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/policy/cilium-more.yaml")).unwrap();
    let file: CaseFile = serde_saphyr::from_str(&text).unwrap();
    for case in file.cases.iter().filter(|case| case.policies.len() > 1) {
        let backwards: Vec<Value> = case.policies.iter().rev().cloned().collect();
        let (one, other) = (parse(&case.policies).unwrap(), parse(&backwards).unwrap());
        let workload = principal(&case.subject.namespace, &case.subject.service_account, &case.subject.labels);
        assert_eq!(one.revision(), other.revision());
        for request in &case.requests {
            assert_eq!(request.decide(&one, &workload), request.decide(&other, &workload), "{}", case.id);
        }
    }
}

#[test]
fn a_host_says_whether_it_is_a_service() {
    let told = |host| match Peer::of_host(host) {
        Peer::Pod { namespace, service, labels: None } => format!("{}/{}", namespace, service.unwrap()),
        Peer::Pod { labels: Some(_), .. } => panic!("{host}: nobody told labels"),
        Peer::Outside { name, address } => format!("{name:?} {address:?}"),
    };
    assert_eq!(told("pg.analytics.svc"), "analytics/pg");
    assert_eq!(told("pg.analytics.svc.cluster.local."), "analytics/pg");
    assert_eq!(told("pg.analytics.example.com"), "Some(\"pg.analytics.example.com\") None");
    assert_eq!(told("192.0.2.1"), "None Some(192.0.2.1)");
}
