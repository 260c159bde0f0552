//! Sees what the server is made to run, and holds it against policy and audit log at that very moment.

use std::collections::HashMap;
use std::path::Path;

use serde_json::Value;
use tollhouse::audit::read::Lines;
use tollhouse::policy::{AccessRequest, PolicySet, Verdict};
use tollhouse::sql::{self, Dialect, Limits, Session};

use super::stage::{principal, target_at};

/// How texts of several candidates behind one name are joined in a record.
const OR: &str = "\n/* or */\n";

/// Follows the log while sessions run.
pub(crate) struct Witness {
    lines: Lines,
    texts: HashMap<String, String>,
    /// The texts of this session's attempts, in order.
    attempts: Vec<String>,
    /// Attempts before this one are accounted for.
    seen: usize,
    policies: PolicySet,
}

impl Witness {
    pub(crate) fn new(log: &Path, policies: PolicySet) -> Self {
        Self { lines: Lines::open(log).unwrap(), texts: HashMap::new(), attempts: Vec::new(), seen: 0, policies }
    }

    /// Another session begins.
    pub(crate) fn begin(&mut self) {
        self.follow();
        self.attempts.clear();
        self.seen = 0;
    }

    /// The server begins to run `text`: the log must have an attempt for it by now, behind those of all that ran before.
    pub(crate) fn runs(&mut self, text: &[u8]) {
        let text = String::from_utf8_lossy(text);
        let is_this = |attempt: &String| *attempt == text || attempt.split(OR).any(|part| part == text);
        if !self.attempts[self.seen..].iter().any(is_this) {
            self.follow();
        }
        match self.attempts[self.seen..].iter().position(is_this) {
            Some(place) => self.seen += place + 1,
            None => panic!("it runs without a record: {text:?}; recorded: {:?}", &self.attempts[self.seen..]),
        }
    }

    /// What stands behind a text that runs must be allowed, whatever name it was hidden behind.
    pub(crate) fn allows(&self, text: &[u8]) {
        let text = std::str::from_utf8(text).expect("what is not UTF-8 cannot be judged, and is denied");
        let analysis = sql::analyze(Dialect::Postgres, text, &Limits::default());
        let (principal, target) = (principal(), target_at(1));
        for statement in &analysis.statements {
            let effects = match &statement.session {
                Session::Unchanged | Session::SearchPathUnknown | Session::Deallocates { .. } | Session::Executes { .. } => {
                    &statement.effects[..]
                }
                Session::Prepares { effects, .. } => effects,
            };
            let decision = self.policies.decide(&AccessRequest {
                principal: &principal,
                target: &target,
                database: "demo",
                role: "dbt_runner",
                // The most that the session could have known.
                unqualified_schema: Some("public"),
                effects,
                dbt: None,
            });
            assert_eq!(decision.verdict, Verdict::Allowed, "it runs although policy denies it: {text:?}");
        }
    }

    /// How many attempts the session has.
    fn follow(&mut self) {
        while let Some(line) = self.lines.next_line().unwrap() {
            let field = |name: &str| line.fields.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
            match line.kind.as_str() {
                "statement" => {
                    self.texts.insert(field("digest"), field("text"));
                }
                "attempt" => {
                    let digest = line.fields["sql"]["digest"].as_str().unwrap();
                    self.attempts.push(self.texts[digest].clone());
                }
                _ => {}
            }
        }
    }
}
