//! `endpointSelector`: which workloads a policy is about.

use crate::identity::Principal;

use super::document::{EndpointSelector, MatchExpression, Operator};

/// Labels of Cilium that say where a workload runs and as whom. They come from the proven identity alone.
const NAMESPACE: &str = "io.kubernetes.pod.namespace";
const SERVICE_ACCOUNT: &str = "io.cilium.k8s.policy.serviceaccount";

/// Prefixes of labels that Cilium derives and that are not known here.
const UNKNOWN_HERE: &[&str] = &["io.cilium.k8s.namespace.labels.", "io.cilium.k8s.policy.cluster"];

/// A compiled selector; every condition must hold.
#[derive(Debug)]
pub(super) struct Selector(Vec<Condition>);

#[derive(Debug)]
struct Condition {
    key: String,
    test: Test,
}

#[derive(Debug)]
enum Test {
    In(Vec<String>),
    NotIn(Vec<String>),
    Exists,
    DoesNotExist,
}

impl Selector {
    /// Compiles a selector.
    ///
    /// # Errors
    /// Every problem, with the path below the selector.
    pub(super) fn compile(written: &EndpointSelector) -> Result<Self, Vec<(String, String)>> {
        let (mut conditions, mut problems) = (Vec::new(), Vec::new());
        for (key, value) in &written.match_labels {
            match bare_key(key) {
                Ok(key) => conditions.push(Condition { key, test: Test::In(vec![value.clone()]) }),
                Err(why) => problems.push((format!("matchLabels[{key:?}]"), why)),
            }
        }
        for (index, expression) in written.match_expressions.iter().enumerate() {
            match condition(expression) {
                Ok(condition) => conditions.push(condition),
                Err((key, why)) => problems.push((format!("matchExpressions[{index}].{key}"), why)),
            }
        }
        if problems.is_empty() { Ok(Self(conditions)) } else { Err(problems) }
    }

    /// Does it select the principal?
    ///
    /// # Errors
    /// The key of the first label that does not match.
    pub(super) fn selects<'s>(&'s self, principal: &Principal) -> Result<(), &'s str> {
        self.0.iter().find(|condition| !condition.holds(principal)).map_or(Ok(()), |condition| Err(condition.key.as_str()))
    }
}

impl Condition {
    /// `NotIn` holds of a label that is absent, as in Kubernetes.
    fn holds(&self, principal: &Principal) -> bool {
        let value = label(principal, &self.key);
        match &self.test {
            Test::In(values) => value.is_some_and(|value| values.iter().any(|v| v == value)),
            Test::NotIn(values) => value.is_none_or(|value| values.iter().all(|v| v != value)),
            Test::Exists => value.is_some(),
            Test::DoesNotExist => value.is_none(),
        }
    }
}

/// A label of the workload. Namespace and service account are proven; a label of the same name cannot claim them.
fn label<'p>(principal: &'p Principal, key: &str) -> Option<&'p str> {
    match key {
        NAMESPACE => principal.namespace.as_deref(),
        SERVICE_ACCOUNT => principal.service_account.as_deref(),
        key => principal.labels.get(key).map(String::as_str),
    }
}

fn condition(expression: &MatchExpression) -> Result<Condition, (&'static str, String)> {
    let key = bare_key(&expression.key).map_err(|why| ("key", why))?;
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
    Ok(Condition { key, test })
}

/// The key without its source. What is not known here is refused: as a negative condition it would always hold.
fn bare_key(key: &str) -> Result<String, String> {
    let bare = key.strip_prefix("any:").or_else(|| key.strip_prefix("k8s:")).unwrap_or(key);
    if bare.is_empty() || bare.contains(':') {
        return Err("expected a label key, alone or after `any:` or `k8s:`".to_owned());
    }
    if UNKNOWN_HERE.iter().any(|prefix| bare.starts_with(prefix)) {
        return Err("this label is not known to a sidecar; select by the pod's own labels, namespace or service account".to_owned());
    }
    Ok(bare.to_owned())
}
