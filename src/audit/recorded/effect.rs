//! One effect, from the fields that `record::attempt` writes.

use serde::Deserialize;
use serde_json::Value;

use crate::sql::{Action, Effect, Object, ObjectKind, OpaqueClass, Signals};

/// Reads an effect. Its first key says which kind it is of; keys beside those known here are ignored.
///
/// # Errors
/// What is missing, or not known to this version: leaving an effect out would allow more than was asked.
pub(super) fn read(written: &Value) -> Result<Effect, String> {
    let has = |key: &str| written.get(key).is_some();
    match () {
        () if has("action") => read_as::<AccessLine>(written)?.into_effect(),
        () if has("call") => read_as::<CallLine>(written)?.into_effect(),
        () if has("opaque") => read_as::<OpaqueLine>(written)?.into_effect(),
        () if has("role") => Ok(Effect::Role { role: read_as::<RoleLine>(written)?.role }),
        () if has("set") => Ok(Effect::Set { parameter: read_as::<SetLine>(written)?.set }),
        () => Err("an effect of a kind that is not known here".to_owned()),
    }
}

fn read_as<'a, T: Deserialize<'a>>(written: &'a Value) -> Result<T, String> {
    T::deserialize(written).map_err(|error| format!("an effect: {error}"))
}

/// The one of `all` that is written so.
///
/// # Errors
/// None is.
pub(super) fn word<T: Copy>(all: &[T], as_str: fn(T) -> &'static str, written: &str) -> Result<T, String> {
    all.iter().copied().find(|word| as_str(*word) == written).ok_or_else(|| format!("`{written}` is not known here"))
}

#[derive(Deserialize)]
pub(super) struct ObjectLine {
    kind: String,
    database: Option<String>,
    schema: Option<String>,
    name: String,
}

impl ObjectLine {
    /// The object.
    ///
    /// # Errors
    /// Its kind is not known here.
    pub(super) fn into_object(self) -> Result<Object, String> {
        let kind = word(ObjectKind::ALL, ObjectKind::as_str, &self.kind)?;
        Ok(Object { kind, database: self.database, schema: self.schema, name: self.name })
    }
}

#[derive(Deserialize)]
struct AccessLine {
    action: String,
    object: ObjectLine,
    #[serde(default)]
    columns: Vec<String>,
}

impl AccessLine {
    fn into_effect(self) -> Result<Effect, String> {
        let action = word(Action::ALL, Action::as_str, &self.action)?;
        Ok(Effect::Access { action, object: self.object.into_object()?, columns: self.columns })
    }
}

#[derive(Deserialize)]
struct CallLine {
    call: ObjectLine,
    process_id: Option<i32>,
    #[serde(default)]
    own_session: bool,
}

impl CallLine {
    fn into_effect(self) -> Result<Effect, String> {
        let signals = match (self.process_id, self.own_session) {
            (None, _) => Signals::Unsaid,
            (Some(id), false) => Signals::Process(id),
            (Some(id), true) => Signals::OwnSession(id),
        };
        Ok(Effect::Call { function: self.call.into_object()?, signals })
    }
}

#[derive(Deserialize)]
struct RoleLine {
    role: Option<String>,
}

#[derive(Deserialize)]
struct SetLine {
    set: String,
}

#[derive(Deserialize)]
struct OpaqueLine {
    opaque: String,
    #[serde(default)]
    detail: String,
}

impl OpaqueLine {
    fn into_effect(self) -> Result<Effect, String> {
        Ok(Effect::Opaque { class: word(OpaqueClass::ALL, OpaqueClass::as_str, &self.opaque)?, detail: self.detail })
    }
}
