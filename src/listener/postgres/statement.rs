//! What the texts of a session mean, given what came before in it.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use super::flow::{Closing, Flow};
use super::names::{Name, Prepared};
use super::session;
use crate::dbt::manifest::Manifest;
use crate::dbt::manifest::verify::{Asked, Standing};
use crate::dbt::{self, Attribution};
use crate::sql::cache::Cache;
use crate::sql::{self, Analysis, Dialect, Effect, OpaqueClass, Session, Statement};

/// What later statements of a session depend on.
pub(super) struct Context {
    /// The one schema of the search path, while it is known.
    search_path: Option<String>,
    /// What dbt said last: its transaction statements, among others, carry no comment of their own.
    dbt: Option<Arc<Attribution>>,
    database: String,
    dialect: Dialect,
    /// On a replication connection some texts are no SQL.
    replication: bool,
    limits: sql::Limits,
    cache: Arc<Cache>,
}

impl Context {
    /// The context of a session that has run nothing yet.
    pub(super) fn new(session: &session::Session, dialect: Dialect, limits: sql::Limits, cache: Arc<Cache>) -> Self {
        let (search_path, database) = (session.search_path.clone(), session.facts.database.clone());
        Self { search_path, dbt: None, database, dialect, replication: session.replication, limits, cache }
    }

    /// The schema of unqualified names, where known.
    pub(super) fn unqualified_schema(&self) -> Option<&str> {
        self.search_path.as_deref()
    }

    /// Analyzes a text, notes what dbt says in it, and holds that against the manifest, where there is one.
    pub(super) fn read(&mut self, text: &[u8], flow: &Flow, manifest: Option<&Manifest>) -> Prepared {
        let (sql, analysis) = match std::str::from_utf8(text) {
            Ok(sql) if flow.settings.reads_alike(sql, self.dialect) => (Cow::Borrowed(sql), self.analyze(sql)),
            Ok(sql) => (Cow::Borrowed(sql), opaque(OpaqueClass::Unparseable, "the server reads this text in another way")),
            Err(_) => (String::from_utf8_lossy(text), opaque(OpaqueClass::Unparseable, "the text is not UTF-8")),
        };
        if let Some(said) = dbt::attribute(&sql) {
            self.dbt = Some(Arc::new(said));
        }
        let standing = match (manifest, &self.dbt) {
            (Some(manifest), Some(said)) => manifest.verify(said, &self.asked(&sql, &analysis)),
            (None, _) | (_, None) => Standing::Claimed,
        };
        Prepared { sql: text.into(), analysis, dbt: self.dbt.clone(), standing }
    }

    fn asked<'a>(&'a self, text: &'a str, analysis: &'a Analysis) -> Asked<'a> {
        Asked { text, statements: &analysis.statements, database: &self.database, unqualified_schema: self.unqualified_schema() }
    }

    fn analyze(&self, sql: &str) -> Arc<Analysis> {
        let command = if self.replication { sql::replication::analyze(sql) } else { None };
        command.map_or_else(|| self.cache.analyze(self.dialect, sql, &self.limits), Arc::new)
    }

    /// Notes what an admitted text changes in the session, before it is forwarded.
    pub(super) fn admitted(&mut self, prepared: &Prepared, flow: &mut Flow) {
        for statement in &prepared.analysis.statements {
            if statement.may_change_search_path() {
                self.search_path = None;
            }
            match &statement.session {
                Session::Unchanged | Session::SearchPathUnknown | Session::Deallocates { .. } => {}
                // What is behind the name may be anything that was admitted.
                Session::Executes { .. } => self.search_path = None,
                Session::Prepares { name, effects } => {
                    let behind = Prepared {
                        sql: Arc::clone(&prepared.sql),
                        analysis: Arc::new(Analysis {
                            statements: vec![Statement { verb: "EXECUTE", effects: effects.to_vec(), session: Session::SearchPathUnknown }],
                        }),
                        dbt: prepared.dbt.clone(),
                        standing: prepared.standing.clone(),
                    };
                    let boundaries = flow.boundaries;
                    flow.statements.bind(Name::new(name.as_bytes()), Arc::new(behind), boundaries);
                }
            }
        }
    }
}

/// Every effect of an analysis, with those of the prepared names that it executes.
pub(super) fn effects<'a>(analysis: &'a Analysis, flow: &Flow) -> Cow<'a, [Effect]> {
    if let [Statement { effects, session, .. }] = analysis.statements.as_slice()
        && !matches!(session, Session::Executes { .. })
    {
        return Cow::Borrowed(effects);
    }
    let mut all = Vec::new();
    let mut prepared_here: HashMap<&str, &[Effect]> = HashMap::new();
    for statement in &analysis.statements {
        all.extend_from_slice(&statement.effects);
        match &statement.session {
            Session::Unchanged | Session::SearchPathUnknown | Session::Deallocates { .. } => {}
            Session::Prepares { name, effects } => {
                prepared_here.insert(name, effects);
            }
            Session::Executes { name } => {
                let here = prepared_here.get(name.as_str()).copied().unwrap_or_default();
                let known = flow.statements.find(&Name::new(name.as_bytes()), flow.boundaries);
                if known.is_empty() && !prepared_here.contains_key(name.as_str()) {
                    all.push(unknown_name());
                }
                all.extend_from_slice(here);
                all.extend(known.iter().flat_map(|prepared| prepared.effects()).cloned());
            }
        }
    }
    Cow::Owned(all)
}

/// The prepared statements that are gone once an analysis has been carried out (`DEALLOCATE`).
pub(super) fn closings(analysis: &Analysis, flow: &Flow) -> Vec<Closing> {
    let through = flow.statements.newest();
    let closing = |statement: &Statement| match &statement.session {
        Session::Deallocates { name: Some(name) } => Some(Closing::Statement(Name::new(name.as_bytes()), through)),
        Session::Deallocates { name: None } => Some(Closing::Statements(through)),
        Session::Unchanged | Session::SearchPathUnknown | Session::Prepares { .. } | Session::Executes { .. } => None,
    };
    analysis.statements.iter().filter_map(closing).collect()
}

/// The one statement that may stand behind a name, or all of them as one: which of them runs, only the server knows.
pub(super) fn any_of(mut candidates: Vec<Arc<Prepared>>) -> Arc<Prepared> {
    let Some(newest) = candidates.pop() else { return Arc::new(unknown()) };
    if candidates.is_empty() {
        return newest;
    }
    let dbt = newest.dbt.clone();
    candidates.push(newest);
    let unverified = candidates.iter().find(|prepared| prepared.standing != Standing::Verified);
    let standing = unverified.map_or(Standing::Verified, |prepared| prepared.standing.clone());
    let statements = candidates.iter().flat_map(|prepared| prepared.analysis.statements.iter().cloned()).collect();
    let texts: Vec<&[u8]> = candidates.iter().map(|prepared| &*prepared.sql).collect();
    Arc::new(Prepared { sql: texts.join(&b"\n/* or */\n"[..]).into(), analysis: Arc::new(Analysis { statements }), dbt, standing })
}

fn unknown() -> Prepared {
    let statements = vec![Statement { verb: "EXECUTE", effects: vec![unknown_name()], session: Session::SearchPathUnknown }];
    Prepared { sql: Arc::default(), analysis: Arc::new(Analysis { statements }), dbt: None, standing: Standing::Claimed }
}

fn unknown_name() -> Effect {
    Effect::Opaque { class: OpaqueClass::Execute, detail: "a name that was not prepared in this session".to_owned() }
}

/// The execution that a FunctionCall message asks for: a function by number, which nobody can judge.
pub(super) fn function_call() -> Prepared {
    let detail = "a FunctionCall message".to_owned();
    let statement = Statement {
        verb: "FUNCTION CALL",
        effects: vec![Effect::Opaque { class: OpaqueClass::FunctionCall, detail }],
        session: Session::SearchPathUnknown,
    };
    let analysis = Arc::new(Analysis { statements: vec![statement] });
    Prepared { sql: Arc::default(), analysis, dbt: None, standing: Standing::Claimed }
}

fn opaque(class: OpaqueClass, detail: &str) -> Arc<Analysis> {
    let effects = vec![Effect::Opaque { class, detail: detail.to_owned() }];
    Arc::new(Analysis { statements: vec![Statement { verb: "UNKNOWN", effects, session: Session::SearchPathUnknown }] })
}
