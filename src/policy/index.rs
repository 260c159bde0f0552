//! Entries filed by the exact names they ask for, so that a decision costs the same among ten as among ten thousand.
//!
//! The index only narrows the search: whatever it finds is held against the whole entry, so a key that is too wide
//! costs time and never changes an answer. Entries whose patterns have wildcards everywhere are scanned.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::Arc;

use crate::sql::{Effect, Object, ObjectKind, OpaqueClass};

use super::attribution::Attributed;
use super::entry::{Entry, Reading, Subject, holds_rows, schema_of};
use super::pattern::{Dotted, Glob};
use super::{AccessRequest, RuleRef};

/// Entries in the order in which they are tried, and where to look for those that an effect may match.
#[derive(Debug, Default)]
pub(super) struct Index {
    entries: Vec<(RuleRef, Arc<Entry>)>,
    hasher: RandomState,
    /// Positions by the hash of a [`Key`]; two keys with one hash only add candidates.
    filed: HashMap<u64, Positions>,
    /// Entries that no key leads to.
    scanned: Positions,
    /// Entries that ask for tables: each may be about one in a schema or database that is taken as a whole.
    tabled: Positions,
    /// Entries that ask for one schema and any name; where the schema is not certain, each of them may be meant.
    schema_wide: Positions,
}

/// Ascending positions in the list of entries.
type Positions = Vec<usize>;

/// What an entry is filed under, and an effect looked up by.
#[derive(Debug, Clone, Copy, Hash)]
enum Key<'a> {
    /// A relation or function; `None` is a part that the pattern leaves open.
    Named {
        space: Space,
        database: Option<&'a str>,
        schema: Option<&'a str>,
        name: &'a str,
    },
    /// A relation or function by name alone, for names whose schema is not certain.
    Unresolved {
        space: Space,
        name: &'a str,
    },
    /// Whatever lies in a schema.
    Schema {
        database: Option<&'a str>,
        schema: &'a str,
    },
    /// Whatever lies in a database, that is accessed.
    Database(&'a str),
    /// Whatever a node of dbt's project may have, where that is all an entry asks for in exact names.
    Node(&'a str),
    Opaque(OpaqueClass),
    Role(&'a str),
    Parameter(&'a str),
}

/// What a name is the name of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Space {
    Relation,
    Function,
}

impl Index {
    /// Files entries in the order in which they are to be tried.
    pub(super) fn new(entries: Vec<(RuleRef, Arc<Entry>)>) -> Self {
        let mut index = Self::default();
        for (position, (_, entry)) in entries.iter().enumerate() {
            index.file(position, entry);
            if entry.tables.is_some() {
                index.tabled.push(position);
            }
        }
        index.entries = entries;
        index
    }

    /// The first entry that matches.
    pub(super) fn first_match(&self, effect: &Effect, request: &AccessRequest<'_>, reading: Reading) -> Option<&RuleRef> {
        let mut search = Search { index: self, effect, request, reading, found: None };
        search.among(&self.scanned);
        if let Some(node) = request.dbt.and_then(|claim| claim.attribution.node.as_deref()) {
            search.by(Key::Node(node));
        }
        match effect {
            Effect::Access { action, object, columns: _ } => {
                search.object(object);
                if reading == Reading::Possible && holds_rows(*action, object.kind) {
                    search.among(&self.tabled);
                }
            }
            Effect::Call { function, signals: _ } => search.named(Space::Function, function, function.schema.as_deref()),
            Effect::Opaque { class, detail: _ } => search.by(Key::Opaque(*class)),
            Effect::Role { role } => search.by(Key::Role(role.as_deref().unwrap_or(request.role))),
            Effect::Set { parameter } => search.by(Key::Parameter(parameter)),
        }
        search.found.map(|(_, rule)| rule)
    }

    /// Does an entry ask for this node of dbt's project by its exact name?
    pub(super) fn names_node(&self, node: &str) -> bool {
        self.filed.contains_key(&self.hasher.hash_one(Key::Node(node)))
    }

    fn file(&mut self, position: usize, entry: &Entry) {
        if let Some(nodes) = entry.dbt.as_ref().and_then(Attributed::exact_nodes) {
            return nodes.iter().for_each(|node| self.put(position, Key::Node(node)));
        }
        match entry.subject {
            Subject::Everything | Subject::Builtin => self.scan(position),
            Subject::Accesses | Subject::Calls => self.file_object(position, entry),
            Subject::Opaque => self.file_each(position, entry.opaque.as_deref(), |class| Some(Key::Opaque(*class))),
            Subject::Roles => self.file_each(position, entry.roles.as_deref(), |role| role.exact().map(Key::Role)),
            Subject::Parameters => {
                let names: Option<Vec<_>> = entry.parameters.as_ref().map(|globs| globs.iter().map(Dotted::exact).collect());
                self.file_each(position, names.as_deref(), |name| name.as_deref().map(Key::Parameter));
            }
        }
    }

    /// Files under the narrowest names there are: tables or functions, else schemas, else databases.
    fn file_object(&mut self, position: usize, entry: &Entry) {
        let database = match entry.databases.as_deref() {
            Some([only]) => only.exact(),
            Some(_) | None => None,
        };
        if let Some(tables) = &entry.tables {
            for table in tables {
                let within = table.database.exact().or(database);
                self.file_named(position, Space::Relation, within, (&table.schema, &table.table));
            }
        } else if let Some(functions) = &entry.functions {
            for function in functions {
                self.file_named(position, Space::Function, database, (&function.schema, &function.name));
            }
        } else if let Some(schemas) = &entry.schemas {
            for schema in schemas {
                self.file_schema(position, database, schema);
            }
        } else {
            self.file_each(position, entry.databases.as_deref(), |database| database.exact().map(Key::Database));
        }
    }

    fn file_named(&mut self, position: usize, space: Space, database: Option<&str>, (schema, name): (&Glob, &Glob)) {
        match name.exact() {
            Some(name) => {
                self.put(position, Key::Named { space, database, schema: schema.exact(), name });
                self.put(position, Key::Unresolved { space, name });
            }
            None => self.file_schema(position, database, schema),
        }
    }

    fn file_schema(&mut self, position: usize, database: Option<&str>, schema: &Glob) {
        match schema.exact() {
            Some(schema) => {
                self.put(position, Key::Schema { database, schema });
                add(&mut self.schema_wide, position);
            }
            None => self.scan(position),
        }
    }

    /// An entry without the list is about all there is.
    fn file_each<'e, T>(&mut self, position: usize, list: Option<&'e [T]>, key: impl Fn(&'e T) -> Option<Key<'e>>) {
        let Some(list) = list else { return self.scan(position) };
        for item in list {
            match key(item) {
                Some(key) => self.put(position, key),
                None => self.scan(position),
            }
        }
    }

    fn put(&mut self, position: usize, key: Key<'_>) {
        add(self.filed.entry(self.hasher.hash_one(key)).or_default(), position);
    }

    fn scan(&mut self, position: usize) {
        add(&mut self.scanned, position);
    }
}

/// Adds a position once; positions come in ascending order.
fn add(positions: &mut Positions, position: usize) {
    if positions.last() != Some(&position) {
        positions.push(position);
    }
}

/// One search for the first entry that matches.
struct Search<'i, 'q> {
    index: &'i Index,
    effect: &'q Effect,
    request: &'q AccessRequest<'q>,
    reading: Reading,
    found: Option<(usize, &'i RuleRef)>,
}

impl Search<'_, '_> {
    fn by(&mut self, key: Key<'_>) {
        if let Some(positions) = self.index.filed.get(&self.index.hasher.hash_one(key)) {
            self.among(positions);
        }
    }

    fn among(&mut self, positions: &[usize]) {
        let before = self.found.map_or(usize::MAX, |(position, _)| position);
        for position in positions.iter().copied().take_while(|position| *position < before) {
            let Some((rule, entry)) = self.index.entries.get(position) else { continue };
            if entry.matches(self.effect, self.request, self.reading).is_ok() {
                self.found = Some((position, rule));
                return;
            }
        }
    }

    fn object(&mut self, object: &Object) {
        let schema = schema_of(object, self.request);
        match object.kind {
            ObjectKind::Relation => self.named(Space::Relation, object, schema),
            ObjectKind::Function => self.named(Space::Function, object, schema),
            ObjectKind::Schema | ObjectKind::Type => self.within(object.database.as_deref(), schema),
            ObjectKind::Database => self.by(Key::Database(&object.name)),
            // Entries about locations are few and their patterns long; those that name databases are filed by them.
            ObjectKind::Location => self.by(Key::Database(self.request.database)),
        }
    }

    fn named(&mut self, space: Space, object: &Object, schema: Option<&str>) {
        let name = &object.name;
        let database = object.database.as_deref().unwrap_or(self.request.database);
        match (schema, self.reading) {
            (None, Reading::Possible) => self.by(Key::Unresolved { space, name }),
            (None, Reading::Certain) => {
                self.by(Key::Named { space, database: Some(database), schema: None, name });
                self.by(Key::Named { space, database: None, schema: None, name });
            }
            (Some(_), Reading::Certain | Reading::Possible) => {
                self.by(Key::Named { space, database: Some(database), schema, name });
                self.by(Key::Named { space, database: None, schema, name });
                self.by(Key::Named { space, database: Some(database), schema: None, name });
                self.by(Key::Named { space, database: None, schema: None, name });
            }
        }
        self.within(object.database.as_deref(), schema);
    }

    fn within(&mut self, database: Option<&str>, schema: Option<&str>) {
        let database = database.unwrap_or(self.request.database);
        self.by(Key::Database(database));
        match (schema, self.reading) {
            (Some(schema), Reading::Certain | Reading::Possible) => {
                self.by(Key::Schema { database: Some(database), schema });
                self.by(Key::Schema { database: None, schema });
            }
            (None, Reading::Possible) => {
                let index = self.index;
                self.among(&index.schema_wide);
            }
            (None, Reading::Certain) => {}
        }
    }
}
