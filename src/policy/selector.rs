//! Label selectors: which workloads a policy is about, and which pods it lets them reach.

use std::collections::BTreeMap;

use crate::identity::Principal;

use super::grammar::{EndpointSelector, MatchExpression, Operator};
use super::truth::Truth;

/// Labels of Cilium that say where a workload runs and as whom. They come from the proven identity alone.
pub(super) const NAMESPACE: &str = "io.kubernetes.pod.namespace";
pub(super) const SERVICE_ACCOUNT: &str = "io.cilium.k8s.policy.serviceaccount";

/// The labels of a pod's namespace, as Cilium derives them.
pub(super) const NAMESPACE_LABELS: &str = "io.cilium.k8s.namespace.labels.";

/// Prefixes of labels that Cilium derives and that are not known here.
const DERIVED: &[&str] = &[NAMESPACE_LABELS, "io.cilium.k8s.policy.cluster"];

/// A compiled selector; every condition must hold.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Selector(Vec<Condition>);

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Condition {
    source: Source,
    key: String,
    test: Test,
}

/// Where a label comes from, as Cilium writes it before the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Source {
    Any,
    Kubernetes,
    /// What Cilium itself says of endpoints that are no pods.
    Reserved,
    /// A source that neither pods nor hosts outside have.
    Other,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Test {
    In(Vec<String>),
    NotIn(Vec<String>),
    Exists,
    DoesNotExist,
}

/// What is known of the labels of one endpoint.
#[derive(Debug, Clone, Copy)]
pub(super) struct Labels<'a> {
    namespace: Option<&'a str>,
    service_account: Account<'a>,
    /// `None` where the pod's own labels are not known.
    own: Option<&'a BTreeMap<String, String>>,
    /// The endpoint lies outside the cluster, and has the label `reserved:world`.
    outside: bool,
}

#[derive(Debug, Clone, Copy)]
enum Account<'a> {
    Known(Option<&'a str>),
    Unknown,
}

impl<'a> Labels<'a> {
    /// The labels of a workload. Namespace and service account are proven; a label of the same name cannot claim them.
    pub(super) fn of_principal(principal: &'a Principal) -> Self {
        Self {
            namespace: principal.namespace.as_deref(),
            service_account: Account::Known(principal.service_account.as_deref()),
            own: Some(&principal.labels),
            outside: false,
        }
    }

    /// The labels of any pod of a service account, whose own labels are not known.
    pub(super) fn of_account(namespace: &'a str, service_account: &'a str) -> Self {
        Self { namespace: Some(namespace), service_account: Account::Known(Some(service_account)), own: None, outside: false }
    }

    /// The labels of a pod that is connected to; `None` where only its namespace is known.
    pub(super) fn of_pod(namespace: &'a str, own: Option<&'a BTreeMap<String, String>>) -> Self {
        let account = own.and_then(|labels| labels.get(SERVICE_ACCOUNT));
        let service_account = account.map_or(Account::Unknown, |account| Account::Known(Some(account)));
        Self { namespace: Some(namespace), service_account, own, outside: false }
    }

    /// The labels of a host outside the cluster.
    pub(super) fn of_outside() -> Self {
        Self { namespace: None, service_account: Account::Known(None), own: None, outside: true }
    }

    /// The label's value, or `Err` where it is not known whether the endpoint has it.
    fn value(&self, source: Source, key: &str) -> Result<Option<&'a str>, ()> {
        match source {
            Source::Other => return Ok(None),
            Source::Reserved | Source::Any if self.outside => return Ok((key == "world").then_some("")),
            Source::Reserved => return Ok(None),
            Source::Any | Source::Kubernetes => {}
        }
        if self.outside {
            return Ok(None);
        }
        match (key, self.service_account, self.own) {
            (NAMESPACE, _, _) => Ok(self.namespace),
            (SERVICE_ACCOUNT, Account::Known(account), _) => Ok(account),
            (SERVICE_ACCOUNT, Account::Unknown, _) | (_, _, None) => Err(()),
            (key, _, Some(own)) => match own.get(key) {
                Some(value) => Ok(Some(value)),
                None if is_derived(key) => Err(()),
                None => Ok(None),
            },
        }
    }
}

impl Selector {
    /// Compiles a selector.
    ///
    /// # Errors
    /// Every problem, with the path below the selector.
    pub(super) fn compile(written: &EndpointSelector) -> Result<Self, Vec<(String, String)>> {
        let (mut conditions, mut problems) = (Vec::new(), Vec::new());
        for (key, value) in &written.match_labels {
            match source_and_key(key) {
                Ok((source, key)) => conditions.push(Condition { source, key, test: Test::In(vec![value.clone()]) }),
                Err(why) => problems.push((format!("matchLabels[{key:?}]"), why)),
            }
        }
        for (index, expression) in written.match_expressions.iter().enumerate() {
            match condition(expression) {
                Ok(condition) => conditions.push(condition),
                Err((key, why)) => problems.push((format!("matchExpressions[{index}].{key}"), why)),
            }
        }
        conditions.sort();
        if problems.is_empty() { Ok(Self(conditions)) } else { Err(problems) }
    }

    /// What a sidecar cannot judge in a selector, by the path below it: as a negative condition it would always hold.
    pub(super) fn unknown_here(written: &EndpointSelector) -> Vec<(String, String)> {
        let labels = written.match_labels.keys().map(|key| (format!("matchLabels[{key:?}]"), key));
        let expressions = written.match_expressions.iter().enumerate();
        let keys = labels.chain(expressions.map(|(index, expression)| (format!("matchExpressions[{index}].key"), &expression.key)));
        keys.filter_map(|(path, key)| match source_and_key(key) {
            Ok((Source::Any | Source::Kubernetes, key)) if is_derived(&key) => Some((
                path,
                "this label is not known to a sidecar; select by the pod's own labels, namespace or service account".to_owned(),
            )),
            Ok((Source::Reserved | Source::Other, _)) => Some((path, "expected a label key, alone or after `any:` or `k8s:`".to_owned())),
            Ok((Source::Any | Source::Kubernetes, _)) | Err(_) => None,
        })
        .collect()
    }

    /// The same, and a label of Kubernetes with this value.
    pub(super) fn with(mut self, key: &str, value: Option<&str>) -> Self {
        let test = value.map_or(Test::Exists, |value| Test::In(vec![value.to_owned()]));
        self.0.push(Condition { source: Source::Kubernetes, key: key.to_owned(), test });
        self.0.sort();
        self
    }

    /// The selector as a document writes it.
    pub(super) fn written(&self) -> EndpointSelector {
        let expression = |condition: &Condition| {
            let prefix = match condition.source {
                Source::Any | Source::Other => "",
                Source::Kubernetes => "k8s:",
                Source::Reserved => "reserved:",
            };
            let (operator, values) = match &condition.test {
                Test::In(values) => (Operator::In, values.clone()),
                Test::NotIn(values) => (Operator::NotIn, values.clone()),
                Test::Exists => (Operator::Exists, Vec::new()),
                Test::DoesNotExist => (Operator::DoesNotExist, Vec::new()),
            };
            MatchExpression { key: format!("{prefix}{}", condition.key), operator, values }
        };
        EndpointSelector { match_labels: BTreeMap::new(), match_expressions: self.0.iter().map(expression).collect() }
    }

    /// Labels that it asks for, each with the first value that it would take.
    pub(super) fn asked(&self) -> BTreeMap<String, String> {
        let asked = self.0.iter().filter_map(|condition| match &condition.test {
            Test::In(values) => Some((condition.key.clone(), values.first()?.clone())),
            Test::Exists => Some((condition.key.clone(), String::new())),
            Test::NotIn(_) | Test::DoesNotExist => None,
        });
        asked.collect()
    }

    /// Is it about labels that Cilium itself gives?
    pub(super) fn is_reserved(&self) -> bool {
        self.0.iter().any(|condition| condition.source == Source::Reserved)
    }

    /// Does it ask for a label of Kubernetes with such a key?
    pub(super) fn asks_for(&self, is_meant: impl Fn(&str) -> bool) -> bool {
        self.0.iter().any(|condition| matches!(condition.source, Source::Any | Source::Kubernetes) && is_meant(&condition.key))
    }

    /// Does it select whatever the other selects, by asking for nothing that the other does not ask for?
    pub(super) fn covers(&self, other: &Self) -> bool {
        self.0.iter().all(|condition| other.0.contains(condition))
    }

    /// Does it select the principal?
    ///
    /// # Errors
    /// The key of the first label that does not match.
    pub(super) fn selects<'s>(&'s self, principal: &Principal) -> Result<(), &'s str> {
        let labels = Labels::of_principal(principal);
        let unmet = self.0.iter().find(|condition| condition.holds(&labels) != Truth::Yes);
        unmet.map_or(Ok(()), |condition| Err(condition.key.as_str()))
    }

    /// Does it select an endpoint with these labels?
    pub(super) fn matches(&self, labels: &Labels<'_>) -> Truth {
        Truth::all(self.0.iter().map(|condition| condition.holds(labels)))
    }
}

impl Condition {
    /// `NotIn` holds of a label that is absent, as in Kubernetes.
    fn holds(&self, labels: &Labels<'_>) -> Truth {
        let Ok(value) = labels.value(self.source, &self.key) else { return Truth::Unknown };
        Truth::from(match &self.test {
            Test::In(values) => value.is_some_and(|value| values.iter().any(|v| v == value)),
            Test::NotIn(values) => value.is_none_or(|value| values.iter().all(|v| v != value)),
            Test::Exists => value.is_some(),
            Test::DoesNotExist => value.is_none(),
        })
    }
}

fn condition(expression: &MatchExpression) -> Result<Condition, (&'static str, String)> {
    let (source, key) = source_and_key(&expression.key).map_err(|why| ("key", why))?;
    let some = || match expression.values.as_slice() {
        [] => Err(("values", "expected 1 or more entries for `In` and `NotIn`".to_owned())),
        values => Ok(values.to_vec()),
    };
    let none = |test| match expression.values.as_slice() {
        [] => Ok(test),
        _ => Err(("values", "expected no values for `Exists` and `DoesNotExist`".to_owned())),
    };
    let test = match expression.operator {
        Operator::In => Test::In(some()?),
        Operator::NotIn => Test::NotIn(some()?),
        Operator::Exists => none(Test::Exists)?,
        Operator::DoesNotExist => none(Test::DoesNotExist)?,
    };
    Ok(Condition { source, key, test })
}

fn source_and_key(written: &str) -> Result<(Source, String), String> {
    let (source, key) = match written.split_once(':') {
        None | Some(("any", _)) => (Source::Any, written.strip_prefix("any:").unwrap_or(written)),
        Some(("k8s", key)) => (Source::Kubernetes, key),
        Some(("reserved", key)) => (Source::Reserved, key),
        Some((_, key)) => (Source::Other, key),
    };
    if key.is_empty() || key.contains(':') {
        return Err("expected a label key, alone or after `any:` or `k8s:`".to_owned());
    }
    Ok((source, key.to_owned()))
}

fn is_derived(key: &str) -> bool {
    DERIVED.iter().any(|prefix| key.starts_with(prefix))
}
