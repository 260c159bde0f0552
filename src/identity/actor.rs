//! Who acts for somebody else: the `act` claim (RFC 8693, section 4.1).

use serde_json::{Map, Value};

use crate::fault::Reason;
use crate::identity::IdentityError;

/// Deepest chain of actors that is read: an agent, its tool, its platform and one more. A longer one is refused.
pub const ACTORS_MAX: usize = 4;

/// One who acts for the principal, or for the actor before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// `iss` within the claim, where the actor is known to another issuer than the token's.
    pub issuer: Option<String>,
    /// `sub` within the claim.
    pub subject: String,
}

/// The actors that a verified token names: the one that acts now first, those before it behind.
///
/// # Errors
/// `TokenClaims` where an actor has no name, or the chain is longer than [`ACTORS_MAX`]: an actor that cannot be recorded must
/// not act.
pub(super) fn actors(claims: &Map<String, Value>) -> Result<Vec<Actor>, IdentityError> {
    let mut actors = Vec::new();
    let mut next = claims.get("act");
    while let Some(claim) = next {
        if actors.len() == ACTORS_MAX {
            return Err(refused("`act` is nested more than 4 deep"));
        }
        let subject = claim.get("sub").and_then(Value::as_str).filter(|subject| !subject.is_empty());
        let subject = subject.ok_or_else(|| refused("`act` names no actor by `sub`"))?.to_owned();
        let issuer = match claim.get("iss") {
            None => None,
            Some(Value::String(issuer)) => Some(issuer.clone()),
            Some(_) => return Err(refused("`iss` within `act` is no text")),
        };
        actors.push(Actor { issuer, subject });
        next = claim.get("act");
    }
    Ok(actors)
}

fn refused(why: &'static str) -> IdentityError {
    IdentityError::new(Reason::TokenClaims, why)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{Actor, actors};
    use crate::fault::Reason;

    fn read(claims: Value) -> Result<Vec<Actor>, Reason> {
        actors(claims.as_object().unwrap()).map_err(|error| error.reason)
    }

    fn nested(levels: usize) -> Value {
        (0..levels).fold(json!({}), |inner, level| {
            let mut act = json!({ "sub": format!("actor-{level}") });
            if let Some(inner) = inner.get("act") {
                act["act"] = inner.clone();
            }
            json!({ "act": act })
        })
    }

    #[test]
    fn the_actor_of_now_stands_before_those_that_it_acts_for() {
        let chain = read(json!({ "act": { "sub": "tool", "iss": "https://tools", "act": { "sub": "agent" } } })).unwrap();
        let actor = |issuer: Option<&str>, subject: &str| Actor { issuer: issuer.map(str::to_owned), subject: subject.to_owned() };
        assert_eq!(chain, [actor(Some("https://tools"), "tool"), actor(None, "agent")]);
        assert_eq!(read(json!({ "sub": "ada" })), Ok(Vec::new()));
        assert_eq!(read(nested(4)).unwrap().len(), 4);
    }

    #[test]
    fn an_actor_that_cannot_be_named_in_full_must_not_act() {
        for act in [json!(null), json!("agent"), json!({}), json!({ "sub": 7 }), json!({ "sub": "" }), json!({ "sub": "a", "iss": 7 })] {
            assert_eq!(read(json!({ "act": act })), Err(Reason::TokenClaims), "{act}");
        }
        assert_eq!(read(nested(5)), Err(Reason::TokenClaims));
    }
}
