//! Statements that make, change or remove objects.

use pg_query::NodeEnum;
use pg_query::protobuf::{
    AlterObjectSchemaStmt, CreateSchemaStmt, CreateTableAsStmt, CreatedbStmt, Node, ObjectType, RangeVar, RenameStmt, ViewStmt,
};

use super::name;
use super::opaque::class_of_object;
use super::walk::{Scope, Walk};
use crate::sql::{Action, Object, ObjectKind, OpaqueClass};

impl Walk {
    #[expect(clippy::wildcard_enum_match_arm, reason = "whatever is not listed is opaque")]
    pub(super) fn definition(&mut self, kind: &NodeEnum) {
        use NodeEnum as N;
        match kind {
            N::CreateStmt(s) => self.create_table(s),
            N::CreateTableAsStmt(s) => self.create_table_as(s),
            N::ViewStmt(s) => self.create_view(s),
            N::IndexStmt(s) => self.create_index(s),
            N::CreateSeqStmt(s) => self.sequence(Action::Create, s.sequence.as_ref(), &s.options),
            N::AlterSeqStmt(s) => self.sequence(Action::Alter, s.sequence.as_ref(), &s.options),
            N::CreateSchemaStmt(s) => self.create_schema(s),
            N::CreatedbStmt(s) => self.create_database(s),
            N::AlterDatabaseStmt(s) => self.access(Action::Alter, name::database(&s.dbname)),
            N::DropdbStmt(s) => self.access(Action::Drop, name::database(&s.dbname)),
            N::CompositeTypeStmt(s) => {
                let object = s.typevar.as_ref().map(|relation| Object { kind: ObjectKind::Type, ..name::made(relation) });
                self.access_or_opaque(Action::Create, object);
                self.nodes(&s.coldeflist, Scope::TOP);
            }
            N::CreateEnumStmt(s) => self.access_or_opaque(Action::Create, type_at(&s.type_name)),
            N::AlterEnumStmt(s) => self.access_or_opaque(Action::Alter, type_at(&s.type_name)),
            N::CreateDomainStmt(s) => {
                self.access_or_opaque(Action::Create, type_at(&s.domainname));
                self.type_name(s.type_name.as_ref(), Scope::TOP);
                self.nodes(&s.constraints, Scope::TOP);
            }
            N::AlterDomainStmt(s) => {
                self.access_or_opaque(Action::Alter, type_at(&s.type_name));
                self.maybe(s.def.as_deref(), Scope::TOP);
            }
            N::CreateStatsStmt(s) => {
                self.each_relation(Action::Alter, &s.relations);
                self.nodes(&s.exprs, Scope::TOP);
            }
            N::AlterTableStmt(s) => self.alter_table(s),
            N::DropStmt(s) => {
                for object in &s.objects {
                    self.on_object(Action::Drop, s.remove_type(), object);
                }
            }
            N::RenameStmt(s) => self.rename(s),
            N::AlterObjectSchemaStmt(s) => self.set_schema(s),
            N::CommentStmt(s) => match &s.object {
                Some(object) => self.on_object(Action::Alter, s.objtype(), object),
                None => self.opaque(OpaqueClass::Unsupported, "COMMENT without an object"),
            },
            other => self.opaque_statement(other),
        }
    }

    fn create_table_as(&mut self, create: &CreateTableAsStmt) {
        if let Some(into) = &create.into {
            self.into(into, Scope::TOP);
        }
        self.inner(create.query.as_deref());
    }

    /// Whoever makes a view lends its rights on everything beneath, so all of it is judged now.
    fn create_view(&mut self, create: &ViewStmt) {
        self.access_or_opaque(Action::Create, create.view.as_ref().map(name::made));
        self.inner(create.query.as_deref());
        self.nodes(&create.options, Scope::TOP);
    }

    fn sequence(&mut self, action: Action, sequence: Option<&RangeVar>, options: &[Node]) {
        self.access_or_opaque(action, sequence.map(if action == Action::Create { name::made } else { name::existing }));
        for option in options {
            let Some(NodeEnum::DefElem(option)) = &option.node else { continue };
            // `OWNED BY table.column`; a single word is NONE.
            let owner = option.arg.as_deref().filter(|_| option.defname == "owned_by").and_then(name::list);
            if let Some([table @ .., _]) = owner
                && !table.is_empty()
            {
                self.access_or_opaque(Action::Alter, name::existing_at_path(table));
            }
        }
    }

    fn create_schema(&mut self, create: &CreateSchemaStmt) {
        if create.authrole.is_some() {
            self.opaque(OpaqueClass::Authorization, "CREATE SCHEMA ... AUTHORIZATION");
        }
        if !create.schema_elts.is_empty() {
            self.opaque(OpaqueClass::Unsupported, "CREATE SCHEMA with the objects in it");
        }
        if !create.schemaname.is_empty() {
            self.access(Action::Create, name::schema(&create.schemaname));
        }
    }

    /// The new database starts as a copy of its template.
    fn create_database(&mut self, create: &CreatedbStmt) {
        self.access(Action::Create, name::database(&create.dbname));
        for option in &create.options {
            let Some(NodeEnum::DefElem(option)) = &option.node else { continue };
            match option.defname.as_str() {
                "template" => {
                    if let Some(template) = option.arg.as_deref().and_then(name::string) {
                        self.access(Action::Select, name::database(template));
                    }
                }
                "owner" => self.opaque(OpaqueClass::Authorization, "CREATE DATABASE ... OWNER"),
                _ => {}
            }
        }
    }

    /// An action on an object given by its name; kinds that have no actions are opaque.
    #[expect(clippy::wildcard_enum_match_arm, reason = "whatever is not listed is opaque")]
    fn on_object(&mut self, action: Action, kind: ObjectType, node: &Node) {
        use ObjectType as O;
        let object = match kind {
            O::ObjectTable | O::ObjectView | O::ObjectMatview | O::ObjectIndex | O::ObjectSequence | O::ObjectForeignTable => {
                name::list(node).and_then(name::existing_at_path)
            }
            // The last word is the column or constraint.
            O::ObjectColumn | O::ObjectTabconstraint => {
                name::list(node).and_then(|path| path.split_last()).and_then(|(_, table)| name::existing_at_path(table))
            }
            O::ObjectSchema => name::string(node).map(name::schema),
            O::ObjectDatabase => name::string(node).map(name::database),
            O::ObjectType | O::ObjectDomain => match &node.node {
                Some(NodeEnum::TypeName(r#type)) => type_at(&r#type.names),
                _ => None,
            },
            other => return self.opaque(class_of_object(other), "objects of this kind"),
        };
        self.access_or_opaque(action, object);
    }

    /// What is renamed disappears under one name and appears under another.
    #[expect(clippy::wildcard_enum_match_arm, reason = "whatever is not listed is opaque")]
    fn rename(&mut self, rename: &RenameStmt) {
        use ObjectType as O;
        let new = |old: Object| Object { name: rename.newname.clone(), ..old };
        let relation = rename.relation.as_ref().map(name::existing);
        match rename.rename_type() {
            O::ObjectTable | O::ObjectView | O::ObjectMatview | O::ObjectIndex | O::ObjectSequence | O::ObjectForeignTable => {
                self.access_or_opaque(Action::Alter, relation.clone());
                self.access_or_opaque(Action::Create, relation.map(new));
            }
            O::ObjectColumn | O::ObjectTabconstraint => self.access_or_opaque(Action::Alter, relation),
            O::ObjectAttribute => {
                self.access_or_opaque(Action::Alter, relation.map(|relation| Object { kind: ObjectKind::Type, ..relation }));
            }
            O::ObjectSchema => {
                self.access(Action::Alter, name::schema(&rename.subname));
                self.access(Action::Create, name::schema(&rename.newname));
            }
            O::ObjectDatabase => {
                self.access(Action::Alter, name::database(&rename.subname));
                self.access(Action::Create, name::database(&rename.newname));
            }
            O::ObjectType | O::ObjectDomain => {
                let old = rename.object.as_deref().and_then(name::list).and_then(type_at);
                self.access_or_opaque(Action::Alter, old.clone());
                self.access_or_opaque(Action::Create, old.map(new));
            }
            O::ObjectDomconstraint => {
                let domain = rename.object.as_deref().and_then(name::list).and_then(type_at);
                self.access_or_opaque(Action::Alter, domain);
            }
            other => self.opaque(class_of_object(other), "ALTER ... RENAME of an object of this kind"),
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "whatever is not listed is opaque")]
    fn set_schema(&mut self, alter: &AlterObjectSchemaStmt) {
        use ObjectType as O;
        let object = match alter.object_type() {
            O::ObjectTable | O::ObjectView | O::ObjectMatview | O::ObjectIndex | O::ObjectSequence | O::ObjectForeignTable => {
                alter.relation.as_ref().map(name::existing)
            }
            O::ObjectType | O::ObjectDomain => alter.object.as_deref().and_then(name::list).and_then(type_at),
            other => return self.opaque(class_of_object(other), "ALTER ... SET SCHEMA of an object of this kind"),
        };
        self.access_or_opaque(Action::Alter, object.clone());
        let moved = object.map(|old| Object { schema: Some(alter.newschema.clone()), ..old });
        self.access_or_opaque(Action::Create, moved);
    }
}

fn type_at(path: &[Node]) -> Option<Object> {
    name::at_path(ObjectKind::Type, path)
}
