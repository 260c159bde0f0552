//! The plain CiliumNetworkPolicy documents that policies of ours need beneath them, for the targets that they reach.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::policy::PolicySet;
use crate::policy::compile::Policy;
use crate::policy::peer::Peer;
use crate::target::{Opening, Target};

/// What stands above the documents.
const HEAD: &str = "\
# What Cilium has to let pass for the WarehousePolicies beside it: DNS, and the hosts and ports of the configured targets.
#
# A selected pod may reach nothing else, so whatever else it needs has to be allowed by another policy: the issuer of its
# tokens, the endpoints of credential exchanges.
#
# Cilium gives every set of labels an identity of its own, and `job-name` is new with every Job: the first packets of each run
# can be dropped until all nodes know it. Leave the label out of identities in Cilium's configuration:
#   labels: \"!job-name !batch\\\\.kubernetes\\\\.io/job-name\"
";

/// YAML with a document for each policy that reaches a target; of none, the head alone.
///
/// Only exact names are written, those that the targets are configured with: Cilium learns their addresses from the DNS
/// rule, so the pod has to look them up by these names through the cluster's DNS. Server names are asked for only where a
/// connection begins with TLS.
pub fn needed(set: &PolicySet, targets: &[&Target]) -> String {
    let mut text = HEAD.to_owned();
    for policy in &set.policies {
        let reached: Vec<&Target> =
            targets.iter().copied().filter(|target| policy.allow.iter().any(|reach| reach.reaches(target).is_ok())).collect();
        if !reached.is_empty() {
            text.push_str(&document(policy, &reached));
        }
    }
    text
}

fn document(policy: &Policy, targets: &[&Target]) -> String {
    let (kind, namespace) = match &policy.namespace {
        Some(namespace) => ("CiliumNetworkPolicy", format!("  namespace: {}\n", quoted(namespace))),
        None => ("CiliumClusterwideNetworkPolicy", String::new()),
    };
    let name = policy.name.rsplit('/').next().unwrap_or_default();
    let mut text = format!(
        "---\napiVersion: cilium.io/v2\nkind: {kind}\nmetadata:\n  name: {}\n{namespace}spec:\n  endpointSelector: {}\n  egress:\n",
        quoted(&format!("{name}-warehouses")),
        serde_json::to_value(policy.selector.written()).unwrap_or_default(),
    );
    let names: BTreeSet<&str> = targets.iter().map(|target| target.host.as_str()).filter(|host| host.parse::<IpAddr>().is_err()).collect();
    if !names.is_empty() {
        text.push_str(
            "    - toEndpoints:\n        - matchLabels: { \"k8s:io.kubernetes.pod.namespace\": kube-system, \"k8s:k8s-app\": kube-dns }\n\
             \x20     toPorts:\n        - ports: [{ port: \"53\", protocol: ANY }]\n          rules:\n            dns:\n",
        );
        for name in names {
            text.push_str(&format!("              - matchPattern: {}\n", quoted(name)));
        }
    }
    let rules: BTreeSet<String> = targets.iter().map(|target| rule(target)).collect();
    text.extend(rules);
    text
}

/// The rule for one target.
fn rule(target: &Target) -> String {
    let host = quoted(&target.host);
    let to = match Peer::of_host(&target.host) {
        Peer::Outside { address: Some(_), name: _ } => format!("toCIDR: [{host}]"),
        Peer::Outside { address: None, name: _ } => format!("toFQDNs: [{{ matchName: {host} }}]"),
        Peer::Pod { namespace, service, labels: _ } => {
            let service = quoted(service.unwrap_or_default());
            format!("toServices: [{{ k8sService: {{ serviceName: {service}, namespace: {} }} }}]", quoted(namespace))
        }
    };
    let mut text = format!("    - {to}\n      toPorts:\n        - ports: [{{ port: \"{}\", protocol: TCP }}]\n", target.port);
    if target.opening == Opening::Tls && target.host.parse::<IpAddr>().is_err() {
        text.push_str(&format!("          serverNames: [{host}]\n"));
    }
    text
}

/// A string of JSON is one of YAML.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::needed;
    use crate::golden::expect_file;
    use crate::policy::lint::lint;
    use crate::policy::{PolicySet, Source};
    use crate::target::{Opening, Target};

    const OURS: &str = "
apiVersion: tollhouse.dev/v1alpha1
kind: WarehousePolicy
metadata: {name: dbt, namespace: demo}
spec:
  endpointSelector: {matchLabels: {app: dbt}, matchExpressions: [{key: tier, operator: NotIn, values: [test]}]}
  egress:
    - toFQDNs: [{matchPattern: '**.example.com'}, {matchName: 192.0.2.7}, {matchName: pg.data.svc.cluster.local}]
      toPorts: [{rules: {sql: [{actions: [select]}]}}]
---
apiVersion: tollhouse.dev/v1alpha1
kind: ClusterWarehousePolicy
metadata: {name: elsewhere}
spec: {endpointSelector: {}, egress: [{toFQDNs: [{matchName: nowhere.example.org}], toPorts: [{rules: {sql: [{}]}}]}]}
";

    fn target(host: &str, port: u16, opening: Opening) -> Target {
        Target { name: host.to_owned(), kind: "postgresql", host: host.to_owned(), port, opening }
    }

    #[test]
    fn what_is_written_lets_pass_what_ours_reach_and_nothing_else_and_has_no_finding() {
        let set = PolicySet::parse(&[Source { file: "ours", text: OURS }]).unwrap();
        let reached = [
            target("pg.eu.example.com", 5432, Opening::Plain),
            target("acct.example.com", 443, Opening::Tls),
            target("192.0.2.7", 5439, Opening::Plain),
            target("pg.data.svc.cluster.local", 5432, Opening::Plain),
        ];
        let others = [target("pg.example.org", 5432, Opening::Plain), target("pg.eu.example.com", 5433, Opening::Plain)];
        let configured: Vec<&Target> = reached.iter().chain([&others[0]]).collect();
        let text = needed(&set, &configured);
        expect_file("tests/data/policy/needed.yaml", &text);
        let both = [Source { file: "ours", text: OURS }, Source { file: "cilium", text: &text }];
        let found: Vec<_> = lint(&both).into_iter().filter(|finding| finding.file == "cilium").collect();
        assert_eq!(found, []);
        let set = PolicySet::parse(&both).unwrap();
        let workload = crate::policy::tests::workload();
        for target in &reached {
            assert_eq!(set.admits(&workload, target).denial, None, "{}", target.host);
        }
        for target in &others {
            assert!(set.admits(&workload, target).denial.is_some(), "{}:{}", target.host, target.port);
        }
    }
}
