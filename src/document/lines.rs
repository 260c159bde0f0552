//! Which line of a text each path of its documents stands at.

use std::collections::BTreeMap;

use granit_parser::{Event, Parser};

use super::pointer::{push_index, push_key};

/// The lines of one document, counted from 1, by YAML path.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Lines(BTreeMap<String, usize>);

impl Lines {
    /// Those of what stands at a path, counted in the same text.
    pub(super) fn below(&self, path: &str) -> Self {
        let within = self.0.range(path.to_owned()..).map_while(|(whole, line)| Some((whole.strip_prefix(path)?, *line)));
        Self(within.map(|(rest, line)| (rest.strip_prefix('.').unwrap_or(rest).to_owned(), line)).collect())
    }

    /// The line of a path, or of what is nearest around it.
    pub(super) fn of(&self, path: &str) -> Option<usize> {
        let mut path = path;
        loop {
            if let Some(line) = self.0.get(path) {
                return Some(*line);
            }
            if path.is_empty() {
                return None;
            }
            path = path.rfind(['.', '[']).and_then(|end| path.get(..end)).unwrap_or_default();
        }
    }
}

/// A collection that is being read, and where.
enum Around {
    List { path: String, next: usize },
    Mapping { path: String, key: Option<String> },
}

/// The lines of every document that is not empty. A text that is no YAML has those up to its fault.
pub(super) fn lines(text: &str) -> Vec<Lines> {
    let mut documents = Vec::new();
    let (mut here, mut around) = (Lines::default(), Vec::<Around>::new());
    for next in Parser::new_from_str(text) {
        let Ok((event, span)) = next else { break };
        let line = span.start.line();
        match event {
            Event::DocumentStart(..) => here = Lines::default(),
            Event::DocumentEnd if !here.0.is_empty() => documents.push(std::mem::take(&mut here)),
            Event::Scalar(text, ..) => {
                if let Some(path) = place(&mut around, Some(&text)) {
                    here.0.entry(path).or_insert(line);
                }
            }
            Event::Alias(_) => {
                place(&mut around, None);
            }
            Event::SequenceStart(..) => {
                let path = place(&mut around, None).unwrap_or_default();
                here.0.entry(path.clone()).or_insert(line);
                around.push(Around::List { path, next: 0 });
            }
            Event::MappingStart(..) => {
                let path = place(&mut around, None).unwrap_or_default();
                here.0.entry(path.clone()).or_insert(line);
                around.push(Around::Mapping { path, key: None });
            }
            Event::SequenceEnd | Event::MappingEnd => {
                around.pop();
            }
            // These say nothing about where a value stands, and the enum is open to more.
            Event::StreamStart | Event::StreamEnd | Event::DocumentEnd | Event::Anchor(..) | Event::UnresolvedAlias(_) | _ => {}
        }
    }
    documents
}

/// The path of what comes next; of a scalar document of its own, none.
fn place(around: &mut [Around], scalar: Option<&str>) -> Option<String> {
    match around.last_mut()? {
        Around::List { path, next } => {
            let mut place = path.clone();
            push_index(&mut place, *next);
            *next = next.saturating_add(1);
            Some(place)
        }
        Around::Mapping { path, key } => match key.take() {
            Some(key) => {
                let mut place = path.clone();
                push_key(&mut place, &key);
                Some(place)
            }
            None => {
                let mut place = path.clone();
                push_key(&mut place, scalar.unwrap_or_default());
                *key = Some(scalar.unwrap_or_default().to_owned());
                Some(place)
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::lines;

    #[test]
    fn every_path_has_the_line_of_its_key_or_entry() {
        let text =
            "# one\n---\na:\n  b: 1\n  list:\n    - x\n    - {k: v,\n       l.m: w}\n---\n# nothing\n---\nc: &x [1]\nd: *x\ne: last\n";
        let [first, second] = lines(text).try_into().unwrap();
        for (path, line) in [
            ("", 3),
            ("a", 3),
            ("a.b", 4),
            ("a.list", 5),
            ("a.list[0]", 6),
            ("a.list[1].k", 7),
            ("a.list[1][\"l.m\"]", 8),
            ("a.list[9].absent", 5),
            ("absent", 3),
        ] {
            assert_eq!(first.of(path), Some(line), "{path}");
        }
        assert_eq!((second.of("c[0]"), second.of("d"), second.of("e")), (Some(12), Some(13), Some(14)));
    }

    #[test]
    fn a_text_that_is_no_yaml_has_no_lines_for_what_is_missing() {
        assert!(lines("").is_empty());
        assert!(lines("a: [1").is_empty());
    }
}
