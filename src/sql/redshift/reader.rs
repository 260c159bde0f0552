//! Reads the tokens of one statement from left to right.

use super::token::Token;
use crate::sql::{Object, ObjectKind};

/// What is left of a statement.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a, 't> {
    rest: &'a [Token<'t>],
}

impl<'a, 't> Reader<'a, 't> {
    pub(super) fn new(tokens: &'a [Token<'t>]) -> Self {
        Self { rest: tokens }
    }

    pub(super) fn is_done(&self) -> bool {
        self.rest.is_empty()
    }

    pub(super) fn peek(&self) -> Option<&'a Token<'t>> {
        self.rest.first()
    }

    pub(super) fn next(&mut self) -> Option<&'a Token<'t>> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(first)
    }

    /// Do these words and signs follow?
    pub(super) fn sees(&self, phrase: &[&str]) -> bool {
        let is_next = |(token, wanted): (&Token<'_>, &&str)| !token.is_string() && token.text.eq_ignore_ascii_case(wanted);
        self.rest.len() >= phrase.len() && self.rest.iter().zip(phrase).all(is_next)
    }

    /// Takes these words and signs, if they follow.
    pub(super) fn eat(&mut self, phrase: &[&str]) -> bool {
        let sees = self.sees(phrase);
        if sees {
            self.rest = self.rest.get(phrase.len()..).unwrap_or_default();
        }
        sees
    }

    /// Takes one of these words, if one follows.
    pub(super) fn eat_one_of(&mut self, words: &[&str]) -> bool {
        words.iter().any(|word| self.eat(&[word]))
    }

    /// Takes a string whose value is beyond doubt.
    pub(super) fn string(&mut self) -> Option<String> {
        let string = self.peek()?.string()?;
        self.next();
        Some(string)
    }

    /// Takes a name with up to two qualifiers.
    pub(super) fn relation(&mut self) -> Option<Object> {
        self.object(ObjectKind::Relation)
    }

    /// Takes a name with up to two qualifiers.
    pub(super) fn object(&mut self, kind: ObjectKind) -> Option<Object> {
        let mut path = vec![self.name()?];
        while self.eat(&["."]) {
            path.push(self.name()?);
        }
        let mut parts = path.into_iter().rev();
        let (name, schema, database) = (parts.next()?, parts.next(), parts.next());
        parts.next().is_none().then_some(Object { kind, database, schema, name })
    }

    /// Takes a name without qualifier.
    pub(super) fn name(&mut self) -> Option<String> {
        let name = self.peek()?.name()?;
        self.next();
        Some(name)
    }

    /// Takes a pair of brackets and returns what is between them.
    pub(super) fn group(&mut self) -> Option<&'a [Token<'t>]> {
        let inside = self.rest.split_first().filter(|(first, _)| first.text == "(")?.1;
        let mut depth = 1_usize;
        for (place, token) in inside.iter().enumerate() {
            match token.text {
                "(" => depth += 1,
                ")" => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                self.rest = inside.get(place + 1..).unwrap_or_default();
                return inside.get(..place);
            }
        }
        None
    }

    /// Takes a pair of brackets with nothing but names between them.
    pub(super) fn names(&mut self) -> Option<Vec<String>> {
        let mut ahead = *self;
        let group = ahead.group()?;
        let names: Option<Vec<String>> = group.split(|token| token.text == ",").map(only_name).collect();
        self.rest = ahead.rest;
        names
    }
}

fn only_name(tokens: &[Token<'_>]) -> Option<String> {
    match tokens {
        [name] => name.name(),
        _ => None,
    }
}
