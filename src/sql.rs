//! What a SQL text would do: statements and their effects, from the text alone.
//!
//! The promise is one-sided: the effects named here are at least what the statement does, or the statement
//! carries [`Effect::Opaque`]. Nothing here does I/O, reads a clock or awaits.

use std::sync::Arc;

pub mod cache;
#[cfg(test)]
mod corpus;
pub mod dialect;
mod display;
mod postgres;
mod redshift;
pub mod replication;
mod shape;

/// The SQL dialect of a warehouse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// PostgreSQL's own grammar, by `pg_query`.
    Postgres,
    /// Amazon Redshift, by PostgreSQL's grammar and readers for what only Redshift has.
    Redshift,
    /// The SQL of any other vendor, by `sqlparser`.
    Other(&'static dialect::Vendor),
}

/// Bounds over which a text is opaque instead of analyzed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Longest text, in bytes, that is parsed.
    pub statement_bytes_max: usize,
    /// Deepest parse tree that is analyzed, in nodes: `1 + 1 + 1` is two deep, a query in a query some three more.
    ///
    /// The parser has a limit of its own, at about 5000 in an optimized build.
    pub nesting_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { statement_bytes_max: 16 * 1024 * 1024, nesting_max: 2000 }
    }
}

/// What one SQL text would do. Empty for a text without statements.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Analysis {
    /// The statements of the text, in order.
    pub statements: Vec<Statement>,
}

/// One statement of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// What kind of statement, in the words of PostgreSQL's command tags (`SELECT`, `CREATE TABLE AS`).
    pub verb: &'static str,
    /// Everything it would do, without duplicates, in order of discovery.
    pub effects: Vec<Effect>,
    /// What it changes in the session that later analysis depends on.
    pub session: Session,
}

impl Statement {
    /// May unqualified names mean other objects after this statement? True whenever code ran that cannot be seen into.
    ///
    /// For [`Session::Executes`], [`may_change_search_path`] of the effects behind the name counts as well.
    pub fn may_change_search_path(&self) -> bool {
        self.session == Session::SearchPathUnknown || may_change_search_path(&self.effects)
    }
}

/// Does one of `effects` run code that may set the search path, or change the role that it may depend on?
pub fn may_change_search_path(effects: &[Effect]) -> bool {
    effects.iter().any(|effect| match effect {
        Effect::Call { function, signals: _ } => postgres::may_change_search_path(function),
        Effect::Role { .. } | Effect::Opaque { .. } => true,
        Effect::Access { .. } | Effect::Set { .. } => false,
    })
}

/// What a statement changes in the session.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Session {
    /// Nothing that matters here.
    #[default]
    Unchanged,
    /// The search path may be another one from now on (`SET search_path`, or code we cannot see into), and stays unknown
    /// after the end of the transaction, which may undo it, until the server reports it.
    SearchPathUnknown,
    /// `PREPARE name AS ...`: the effects of the statement behind the name. They are also effects of the `PREPARE`.
    ///
    /// A `PREPARE` that fails leaves an earlier one in force, and statements prepared by protocol have names of the same space.
    Prepares {
        /// The prepared statement's name.
        name: String,
        /// What every `EXECUTE name` will do.
        effects: Arc<[Effect]>,
    },
    /// `DEALLOCATE name`, or all of them without a name: what was behind it is gone, if this is carried out.
    Deallocates {
        /// The prepared statement's name.
        name: Option<String>,
    },
    /// `EXECUTE name`: whoever tracks the session adds the effects of the name, or [`OpaqueClass::Execute`].
    /// The effects of the statement itself are those of the arguments.
    Executes {
        /// The prepared statement's name.
        name: String,
    },
}

/// One thing that a statement does.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Effect {
    /// An action on an object of the warehouse.
    Access {
        /// What is done.
        action: Action,
        /// To what.
        object: Object,
        /// The columns, where the statement itself says so; empty means "not said", which is all of them.
        columns: Vec<String>,
    },
    /// A call of a function that is not known to be pure.
    Call {
        /// The function.
        function: Object,
        /// Whose server process it signals.
        signals: Signals,
    },
    /// A change of the acting role (`SET ROLE`, `SET SESSION AUTHORIZATION`), or a role of the cloud that the statement acts
    /// with outside of the warehouse (`IAM_ROLE`); `None` is a reset.
    Role {
        /// The role asked for.
        role: Option<String>,
    },
    /// A session parameter beyond the harmless ones is set.
    Set {
        /// The parameter's name, in lower case.
        parameter: String,
    },
    /// Something whose effects cannot be seen from the text.
    Opaque {
        /// Which kind of thing.
        class: OpaqueClass,
        /// What it was, in our own words; never text of the statement.
        detail: String,
    },
}

/// Whose server process a call signals (`pg_terminate_backend`, `pg_cancel_backend`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Signals {
    /// None, or one that the text does not say.
    #[default]
    Unsaid,
    /// The process of this number, which may be anybody's.
    Process(i32),
    /// The process of this number, which serves a live session of the principal that calls. No text can say so: whoever
    /// tracks the sessions puts it in the place of [`Signals::Process`].
    OwnSession(i32),
}

/// What is done to an object. The names are policy vocabulary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Action {
    /// Rows are read.
    Select,
    /// Rows are added.
    Insert,
    /// Rows are changed.
    Update,
    /// Rows are removed.
    Delete,
    /// All rows are removed at once.
    Truncate,
    /// The object is made.
    Create,
    /// The object's definition is changed (also `RENAME`, `COMMENT`, index changes).
    Alter,
    /// The object is removed.
    Drop,
    /// Privileges are granted on it.
    Grant,
    /// Privileges are taken from it.
    Revoke,
    /// `ANALYZE`, `VACUUM`, `REINDEX`, `CLUSTER`, `REFRESH MATERIALIZED VIEW`.
    Maintain,
    /// It is locked explicitly.
    Lock,
    /// Data goes from the warehouse to a location outside.
    Export,
    /// Data comes from a location outside, now or whenever the object made here is read.
    Import,
}

impl Action {
    /// Every action, in the order of the docs.
    pub const ALL: &'static [Action] = &[
        Action::Select,
        Action::Insert,
        Action::Update,
        Action::Delete,
        Action::Truncate,
        Action::Create,
        Action::Alter,
        Action::Drop,
        Action::Grant,
        Action::Revoke,
        Action::Maintain,
        Action::Lock,
        Action::Export,
        Action::Import,
    ];

    /// The word in policies and records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Select => "select",
            Self::Insert => "insert",
            Self::Update => "update",
            Self::Delete => "delete",
            Self::Truncate => "truncate",
            Self::Create => "create",
            Self::Alter => "alter",
            Self::Drop => "drop",
            Self::Grant => "grant",
            Self::Revoke => "revoke",
            Self::Maintain => "maintain",
            Self::Lock => "lock",
            Self::Export => "export",
            Self::Import => "import",
        }
    }
}

/// A kind of object of the warehouse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ObjectKind {
    /// A table, view, materialized view, index, sequence or foreign table.
    Relation,
    /// A schema; its `schema` is its own name.
    Schema,
    /// A database; its `database` is its own name.
    Database,
    /// A function or procedure.
    Function,
    /// A type or domain.
    Type,
    /// A place outside of the warehouse; its name is the URL as written (`s3://bucket/prefix`), without database and schema.
    Location,
}

impl ObjectKind {
    /// Every kind.
    pub const ALL: &'static [ObjectKind] =
        &[ObjectKind::Relation, ObjectKind::Schema, ObjectKind::Database, ObjectKind::Function, ObjectKind::Type, ObjectKind::Location];

    /// The word in records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Relation => "relation",
            Self::Schema => "schema",
            Self::Database => "database",
            Self::Function => "function",
            Self::Type => "type",
            Self::Location => "location",
        }
    }
}

/// An object as the statement names it; identifiers are folded as the server folds them.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Object {
    /// What it is.
    pub kind: ObjectKind,
    /// The database, where the statement says it.
    pub database: Option<String>,
    /// The schema where it is certain: written, a system catalog, or `pg_temp`; `None` is resolved by the search path.
    pub schema: Option<String>,
    /// Its own name.
    pub name: String,
}

/// A kind of statement whose effects cannot be seen. The names are policy vocabulary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum OpaqueClass {
    /// The parser does not accept the text.
    Unparseable,
    /// The text is over [`Limits::statement_bytes_max`].
    TooLong,
    /// The text is nested deeper than [`Limits::nesting_max`].
    TooDeep,
    /// A statement or clause that this analysis does not know.
    Unsupported,
    /// `DO`.
    Do,
    /// `CALL`.
    Call,
    /// `EXECUTE` of a name whose statement is not known.
    Execute,
    /// `COPY ... PROGRAM`.
    CopyProgram,
    /// `COPY` from or to a file of the server.
    CopyFile,
    /// Functions, procedures, triggers, rules, event triggers, operators, casts, aggregates, languages are defined or changed.
    RoutineDefinition,
    /// Extensions, libraries, `ALTER SYSTEM`, tablespaces, checkpoints, publications, subscriptions.
    System,
    /// Foreign servers, user mappings, foreign data wrappers and imports.
    ForeignData,
    /// Roles, role membership, default privileges, ownership, row security policies.
    Authorization,
    /// The protocol's FunctionCall message, which names a function by number.
    FunctionCall,
    /// A replication connection, and the commands on it beyond SQL: copies of the whole server past every other rule, whichever
    /// database the session names. Only an entry that names it allows it; an entry without keys does not.
    Replication,
    /// Scripting blocks and statements, and `EXECUTE IMMEDIATE` of a text that does not stand in the statement.
    Script,
    /// Tables by the beginning of their names (BigQuery's `events_*`); that their dataset is read is an effect besides.
    Wildcard,
}

impl OpaqueClass {
    /// Every class, in the order of the docs.
    pub const ALL: &'static [OpaqueClass] = &[
        OpaqueClass::Unparseable,
        OpaqueClass::TooLong,
        OpaqueClass::TooDeep,
        OpaqueClass::Unsupported,
        OpaqueClass::Do,
        OpaqueClass::Call,
        OpaqueClass::Execute,
        OpaqueClass::CopyProgram,
        OpaqueClass::CopyFile,
        OpaqueClass::RoutineDefinition,
        OpaqueClass::System,
        OpaqueClass::ForeignData,
        OpaqueClass::Authorization,
        OpaqueClass::FunctionCall,
        OpaqueClass::Replication,
        OpaqueClass::Script,
        OpaqueClass::Wildcard,
    ];

    /// The word in policies and records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unparseable => "unparseable",
            Self::TooLong => "too-long",
            Self::TooDeep => "too-deep",
            Self::Unsupported => "unsupported",
            Self::Do => "do",
            Self::Call => "call",
            Self::Execute => "execute",
            Self::CopyProgram => "copy-program",
            Self::CopyFile => "copy-file",
            Self::RoutineDefinition => "routine-definition",
            Self::System => "system",
            Self::ForeignData => "foreign-data",
            Self::Authorization => "authorization",
            Self::FunctionCall => "function-call",
            Self::Replication => "replication",
            Self::Script => "script",
            Self::Wildcard => "wildcard",
        }
    }
}

/// Says what `text` would do. Never fails: what it cannot judge is [`Effect::Opaque`].
pub fn analyze(dialect: Dialect, text: &str, limits: &Limits) -> Analysis {
    match dialect {
        Dialect::Postgres => postgres::analyze(text, limits, &postgres::kin::POSTGRESQL),
        Dialect::Redshift => redshift::analyze(text, limits),
        Dialect::Other(vendor) => vendor.analyze(text, limits),
    }
}

/// Says what setting a session parameter outside of SQL would do, as at the start of a session: the same as `SET`.
pub fn set_parameter(dialect: Dialect, name: &str, value: &str) -> Vec<Effect> {
    match dialect {
        Dialect::Postgres => postgres::set_parameter(name, value, &postgres::kin::POSTGRESQL),
        Dialect::Redshift => postgres::set_parameter(name, value, &redshift::KIN),
        Dialect::Other(_) => vec![Effect::Set { parameter: name.to_ascii_lowercase() }],
    }
}
