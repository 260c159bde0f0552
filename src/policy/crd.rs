//! The CustomResourceDefinitions of our own kinds: the schema of the documents, as Kubernetes wants it written.
//!
//! Kubernetes leaves out what a schema does not know, and a rule without a key that was mistyped may allow more. So every
//! object of a policy keeps what is not known, for the sidecar to refuse.

use serde_json::{Map, Value, json};

use super::schema;

/// One of our kinds.
#[derive(Debug)]
pub struct Kind {
    /// The kind.
    pub name: &'static str,
    /// Its plural, in lower case, which addresses have.
    pub plural: &'static str,
    /// What people type.
    pub short: &'static str,
    /// Whether its objects belong to a namespace.
    pub scope: Scope,
    /// What an object is, in a sentence.
    pub description: &'static str,
    /// The type of its `spec` in the schema.
    pub spec: &'static str,
    /// A field that lists show, with its heading.
    pub column: (&'static str, &'static str),
    /// What must hold between the keys of an object, by the type that it is: an expression (CEL) and what to say.
    pub rules: &'static [(&'static str, &'static str, &'static str)],
}

/// Whether objects belong to a namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Each to one.
    Namespaced,
    /// To none.
    Cluster,
}

impl Scope {
    fn as_str(self) -> &'static str {
        match self {
            Self::Namespaced => "Namespaced",
            Self::Cluster => "Cluster",
        }
    }
}

const POLICY: Kind = Kind {
    name: "WarehousePolicy",
    plural: "warehousepolicies",
    short: "whp",
    scope: Scope::Namespaced,
    description: "What workloads may do at data warehouses, in the grammar of a CiliumNetworkPolicy.",
    spec: "Spec",
    column: ("Mode", ".spec.mode"),
    rules: RULES,
};

const KINDS: &[Kind] =
    &[POLICY, Kind { name: "ClusterWarehousePolicy", plural: "clusterwarehousepolicies", short: "cwhp", scope: Scope::Cluster, ..POLICY }];

const GROUP: &str = "tollhouse.dev";

/// What a schema of Kubernetes may say of a value (structural schemas, and the validations of values).
const KEPT: &[&str] = &[
    "type",
    "description",
    "required",
    "enum",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "maxProperties",
    "pattern",
];

/// Most entries of lists that have no bound of their own: what a rule costs at most is the product of all around it.
const ITEMS_MAX: &[(&str, u32)] = &[
    ("spec.egress", 64),
    ("spec.egressDeny", 64),
    ("toFQDNs", 64),
    ("toCIDRSet", 64),
    ("toPorts", 8),
    ("sql", 512),
    ("http", 64),
    ("headerMatches", 16),
];

/// What must hold between the keys of an object, by the type that it is: an expression (CEL) and what to say.
const RULES: &[(&str, &str, &str)] = &[
    ("FqdnSelector", "has(self.matchName) != has(self.matchPattern)", "expected exactly one of `matchName` and `matchPattern`"),
    (
        "CidrRule",
        "has(self.cidr) && !has(self.cidrGroupRef) && !has(self.cidrGroupSelector)",
        "write the block under `cidr`; groups are known to Cilium alone",
    ),
    ("Egress", "has(self.toFQDNs) || has(self.toCIDR) || has(self.toCIDRSet) || has(self.toPorts)", "an empty rule selects nothing"),
    (
        "Egress",
        "[has(self.toFQDNs), has(self.toCIDR), has(self.toCIDRSet)].filter(given, given).size() <= 1",
        "expected hosts of one kind: `toFQDNs`, `toCIDR` or `toCIDRSet`",
    ),
    ("PortProtocol", "type(self.port) == int || self.port.matches('^[0-9]+$')", "the names of ports are not known to a sidecar"),
    ("PortProtocol", "type(self.port) == int ? self.port > 0 : self.port != '0'", "expected a port of 1 or more"),
    (
        "PortProtocol",
        "!has(self.endPort) || (type(self.port) == int ? self.port : int(self.port)) <= self.endPort",
        "expected an `endPort` that is not below `port`",
    ),
    ("PortProtocol", "!has(self.protocol) || self.protocol in ['TCP', 'ANY']", "warehouses speak TCP"),
    ("Rules", "has(self.sql) || has(self.http)", "expected `sql` or `http`"),
    (
        "SqlRule",
        "!(has(self.tables) && has(self.functions)) && !(has(self.locations) && (has(self.tables) || has(self.functions) || has(self.schemas)))",
        "`tables`, `functions` and `locations` speak about different objects, and no location is in a schema",
    ),
    (
        "SqlRule",
        "!has(self.columns) || (has(self.actions) && !has(self.functions) && !has(self.locations))",
        "only inserts into tables and updates say which columns they are about; write them under `actions`",
    ),
    // Kubernetes holds a rule on each word of a list too costly among so many entries; the sidecar looks at all of them.
    (
        "SqlRule",
        "!has(self.columns) || self.actions[0] in ['insert', 'update'] && self.actions.size() < 3",
        "only inserts into tables and updates say which columns they are about",
    ),
    (
        "SqlRule",
        "!has(self.opaque) || !(has(self.actions) || has(self.schemas) || has(self.tables) || has(self.locations) || has(self.functions) || has(self.roles) || has(self.parameters))",
        "`opaque` speaks about effects of its own; write an entry for each",
    ),
    (
        "SqlRule",
        "!has(self.roles) || !(has(self.actions) || has(self.schemas) || has(self.tables) || has(self.locations) || has(self.functions) || has(self.parameters))",
        "`roles` speaks about effects of its own; write an entry for each",
    ),
    (
        "SqlRule",
        "!has(self.parameters) || !(has(self.actions) || has(self.schemas) || has(self.tables) || has(self.locations) || has(self.functions))",
        "`parameters` speaks about effects of its own; write an entry for each",
    ),
    ("HeaderMatch", "!has(self.mismatch) && !has(self.secret)", "no header is changed on the way, and no secret is read"),
];

/// Every definition, by the name of its file.
///
/// Lists have bounds here that a file has not, so that Kubernetes can tell what its validations cost.
pub fn definitions() -> Vec<(String, Value)> {
    let root = schema();
    KINDS.iter().map(|kind| kind.definition(&root)).collect()
}

impl Kind {
    /// The definition, by the name of its file, of a kind whose types `root` describes.
    pub fn definition(&self, root: &Value) -> (String, Value) {
        let column = |name: &str, kind: &str, path: &str| json!({ "name": name, "type": kind, "jsonPath": path });
        let about = json!({ "name": "About", "type": "string", "jsonPath": ".spec.description", "priority": 1 });
        let (heading, shown) = self.column;
        let definition = json!({
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": { "name": format!("{}.{GROUP}", self.plural) },
            "spec": {
                "group": GROUP,
                "names": {
                    "kind": self.name,
                    "listKind": format!("{}List", self.name),
                    "plural": self.plural,
                    "singular": self.name.to_lowercase(),
                    "shortNames": [self.short],
                    "categories": ["tollhouse"],
                },
                "scope": self.scope.as_str(),
                "versions": [{
                    "name": "v1alpha1",
                    "served": true,
                    "storage": true,
                    "subresources": { "status": {} },
                    "additionalPrinterColumns": [
                        column(heading, "string", shown),
                        column("Valid", "string", ".status.conditions[?(@.type==\"Valid\")].status"),
                        about,
                        column("Age", "date", ".metadata.creationTimestamp"),
                    ],
                    "schema": { "openAPIV3Schema": {
                        "type": "object",
                        "description": self.description,
                        "required": ["spec"],
                        "properties": {
                            "apiVersion": { "type": "string" },
                            "kind": { "type": "string" },
                            "metadata": { "type": "object" },
                            "spec": Structural { root, rules: self.rules }.named(self.spec, "spec"),
                            "status": status(),
                        },
                    } },
                }],
            },
        });
        (format!("{GROUP}_{}.yaml", self.plural), definition)
    }
}

/// What the controller says about an object.
fn status() -> Value {
    let word = |description: &str| json!({ "type": "string", "description": description });
    json!({
        "type": "object",
        "description": "What the controller says; written by nobody else.",
        "properties": {
            "observedGeneration": { "type": "integer", "description": "The generation that this is about." },
            "digest": word("The digest of the policies that are in force with it."),
            "serviceAccounts": {
                "type": "array",
                "description": "The service accounts that it concerns, as NAMESPACE/NAME.",
                "items": { "type": "string" },
            },
            "conditions": {
                "type": "array",
                "description": "Whether it is valid.",
                "items": {
                    "type": "object",
                    "required": ["type", "status", "reason", "message", "lastTransitionTime"],
                    "properties": {
                        "type": word("What is judged."),
                        "status": word("`True` or `False`."),
                        "reason": word("Why, in a word."),
                        "message": word("Why, in a sentence."),
                        "lastTransitionTime": word("When the status changed last."),
                    },
                },
            },
        },
    })
}

/// Rewrites schemas of the documents; none of them refers to itself.
struct Structural<'r> {
    root: &'r Value,
    rules: &'r [(&'r str, &'r str, &'r str)],
}

impl Structural<'_> {
    /// A type by its name, with what must hold of it.
    fn named(&self, name: &str, path: &str) -> Map<String, Value> {
        let written = self.root.get("$defs").and_then(|defs| defs.get(name)).unwrap_or(&Value::Null);
        let mut schema = self.of(written, path);
        let rules: Vec<Value> = self
            .rules
            .iter()
            .filter(|(of, _, _)| *of == name)
            .map(|(_, rule, message)| json!({ "rule": rule, "message": message }))
            .collect();
        if !rules.is_empty() {
            schema.insert("x-kubernetes-validations".to_owned(), rules.into());
        }
        schema
    }

    fn of(&self, written: &Value, path: &str) -> Map<String, Value> {
        if let Some(name) = written.get("$ref").and_then(Value::as_str).and_then(|reference| reference.rsplit('/').next()) {
            let mut schema = self.named(name, path);
            if let Some(description) = written.get("description") {
                schema.insert("description".to_owned(), description.clone());
            }
            return schema;
        }
        let mut schema = Map::new();
        let kept = written.as_object().into_iter().flatten().filter(|(keyword, _)| KEPT.contains(&keyword.as_str()));
        schema.extend(kept.map(|(keyword, value)| (keyword.clone(), value.clone())));
        if let Some(words) = words(written) {
            schema.insert("type".to_owned(), "string".into());
            schema.insert("enum".to_owned(), words);
        }
        if let Some(Value::Array(alternatives)) = written.get("anyOf") {
            int_or_string(&mut schema, alternatives);
        }
        if let Some(properties) = written.get("properties").and_then(Value::as_object) {
            let below = |key: &str| if path == "spec" { format!("spec.{key}") } else { key.to_owned() };
            let properties: Map<_, _> = properties.iter().map(|(key, value)| (key.clone(), self.of(value, &below(key)).into())).collect();
            schema.insert("properties".to_owned(), properties.into());
        }
        match written.get("additionalProperties") {
            // What is not known is kept: free form, or for the sidecar to refuse.
            Some(Value::Bool(_)) => {
                schema.insert("x-kubernetes-preserve-unknown-fields".to_owned(), true.into());
            }
            Some(values) => {
                schema.insert("additionalProperties".to_owned(), self.of(values, "").into());
            }
            None => {}
        }
        if let Some(items) = written.get("items") {
            schema.insert("items".to_owned(), self.of(items, "").into());
            if let Some((_, most)) = ITEMS_MAX.iter().find(|(key, _)| *key == path) {
                schema.entry("maxItems").or_insert_with(|| (*most).into());
            }
        }
        schema
    }
}

/// The words of a choice, where each is an alternative with its own description.
fn words(written: &Value) -> Option<Value> {
    let alternatives = written.get("oneOf")?.as_array()?;
    let mut words = Vec::new();
    for alternative in alternatives {
        match (alternative.get("const"), alternative.get("enum").and_then(Value::as_array)) {
            (Some(word), _) => words.push(word.clone()),
            (None, Some(several)) => words.extend(several.iter().cloned()),
            (None, None) => return None,
        }
    }
    Some(words.into())
}

/// A number or a string, with what holds of either: bounds are only about numbers, patterns only about strings.
fn int_or_string(schema: &mut Map<String, Value>, alternatives: &[Value]) {
    for alternative in alternatives.iter().filter_map(Value::as_object) {
        let kept = alternative.iter().filter(|(keyword, _)| KEPT.contains(&keyword.as_str()) && *keyword != "type");
        schema.extend(kept.map(|(keyword, value)| (keyword.clone(), value.clone())));
    }
    schema.insert("x-kubernetes-int-or-string".to_owned(), true.into());
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::{RULES, definitions};
    use crate::golden::expect_file;
    use crate::policy::{PolicySet, Source};

    /// Every schema below one, with its path.
    fn each(path: &str, schema: &Value, see: &mut dyn FnMut(&str, &Value)) {
        see(path, schema);
        for (key, value) in schema["properties"].as_object().into_iter().flatten() {
            each(&format!("{path}.{key}"), value, see);
        }
        for keyword in ["items", "additionalProperties"] {
            if schema[keyword].is_object() {
                each(&format!("{path}.{keyword}"), &schema[keyword], see);
            }
        }
    }

    fn root(definition: &Value) -> &Value {
        &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    }

    #[test]
    fn the_published_definitions_are_current() {
        for (file, definition) in definitions() {
            let head = "# Generated from the types in src/policy (`make schema`).\n";
            let text = serde_saphyr::to_string(&definition).unwrap();
            expect_file(&format!("deploy/kubernetes/crd/{file}"), &(head.to_owned() + &text));
        }
    }

    #[test]
    fn every_node_is_structural() {
        const KNOWN: &[&str] = &[
            "properties",
            "items",
            "additionalProperties",
            "x-kubernetes-validations",
            "x-kubernetes-preserve-unknown-fields",
            "x-kubernetes-int-or-string",
        ];
        for (file, definition) in definitions() {
            let mut nodes = 0;
            each("", root(&definition), &mut |path, schema| {
                nodes += 1;
                let typed = schema["type"].is_string() != (schema["x-kubernetes-int-or-string"] == true);
                assert!(typed, "{file}: {path} has no type");
                for keyword in schema.as_object().unwrap().keys() {
                    assert!(super::KEPT.contains(&keyword.as_str()) || KNOWN.contains(&keyword.as_str()), "{file}: {path} says {keyword}");
                }
                assert!(schema["properties"].is_null() || schema["additionalProperties"].is_null(), "{file}: {path}");
                assert_eq!(schema["type"] == "array", schema["items"].is_object(), "{file}: {path}");
            });
            assert!(nodes > 80, "{file}: {nodes} nodes");
        }
    }

    #[test]
    fn no_object_of_a_policy_forgets_a_key_that_it_does_not_know() {
        for (file, definition) in definitions() {
            each("", &root(&definition)["properties"]["spec"], &mut |path, schema| {
                let keeps = schema["x-kubernetes-preserve-unknown-fields"] == true;
                assert!(schema["properties"].is_null() || keeps, "{file}: {path} is pruned");
            });
        }
    }

    #[test]
    fn every_rule_stands_where_its_type_is() {
        let (_, definition) = definitions().swap_remove(0);
        let mut found = std::collections::BTreeSet::new();
        each("", root(&definition), &mut |_, schema| {
            let rules = schema["x-kubernetes-validations"].as_array().into_iter().flatten();
            found.extend(rules.map(|rule| rule["rule"].as_str().unwrap().to_owned()));
        });
        assert_eq!(found.len(), RULES.len());
    }

    fn documents(below: &str) -> Vec<(String, bool)> {
        let path = format!("{}/tests/data/crd/{below}", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(path).unwrap();
        let taken = |text: &str| PolicySet::parse(&[Source { file: below, text }]).is_ok();
        text.split("---\n").map(|text| (text.to_owned(), taken(text))).collect()
    }

    /// `tests/crd.sh` asks Kubernetes' own code about the same documents.
    #[test]
    fn a_sidecar_takes_what_kubernetes_takes_but_for_mistyped_keys() {
        for (file, count, expected) in
            [("accepted/everything.yaml", 2, true), ("accepted/mistyped.yaml", 3, false), ("refused/reasons.yaml", 28, false)]
        {
            let documents = documents(file);
            assert_eq!(documents.len(), count, "{file}");
            for (text, taken) in documents {
                assert_eq!(taken, expected, "{file}: {text}");
            }
        }
    }
}
