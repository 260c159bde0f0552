//! `GRANT` and `REVOKE` on objects.

use pg_query::NodeEnum;
use pg_query::protobuf::{GrantStmt, GrantTargetType, Node, ObjectType};

use super::name;
use super::walk::Walk;
use crate::sql::{Action, Object, ObjectKind, OpaqueClass};

impl Walk {
    pub(super) fn grant(&mut self, grant: &GrantStmt) {
        match grant.targtype() {
            GrantTargetType::AclTargetObject => {}
            // Which objects those are cannot be seen here, so no rule about one of them could be honoured.
            GrantTargetType::AclTargetAllInSchema => {
                return self.opaque(OpaqueClass::Authorization, "privileges on all objects of a schema");
            }
            GrantTargetType::AclTargetDefaults | GrantTargetType::Undefined => {
                return self.opaque(OpaqueClass::Authorization, "default privileges");
            }
        }
        let action = if grant.is_grant { Action::Grant } else { Action::Revoke };
        let Some(kind) = kind(grant.objtype()) else {
            return self.opaque(OpaqueClass::Authorization, "privileges on objects of this kind");
        };
        for object in &grant.objects {
            self.access_or_opaque(action, granted(kind, object));
        }
    }
}

fn granted(kind: ObjectKind, node: &Node) -> Option<Object> {
    match (kind, node.node.as_ref()?) {
        (_, NodeEnum::RangeVar(relation)) => Some(name::existing(relation)),
        (_, NodeEnum::ObjectWithArgs(function)) => name::at_path(kind, &function.objname),
        (_, NodeEnum::List(path)) => name::at_path(kind, &path.items),
        (_, NodeEnum::TypeName(r#type)) => name::at_path(kind, &r#type.names),
        (ObjectKind::Schema, NodeEnum::String(schema)) => Some(name::schema(&schema.sval)),
        (ObjectKind::Database, NodeEnum::String(database)) => Some(name::database(&database.sval)),
        _ => None,
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "privileges on any other kind of object are opaque")]
fn kind(objects: ObjectType) -> Option<ObjectKind> {
    match objects {
        ObjectType::ObjectTable | ObjectType::ObjectSequence => Some(ObjectKind::Relation),
        ObjectType::ObjectSchema => Some(ObjectKind::Schema),
        ObjectType::ObjectDatabase => Some(ObjectKind::Database),
        ObjectType::ObjectFunction | ObjectType::ObjectProcedure | ObjectType::ObjectRoutine => Some(ObjectKind::Function),
        ObjectType::ObjectType | ObjectType::ObjectDomain => Some(ObjectKind::Type),
        _ => None,
    }
}
