//! What must hold of texts that are made from those of the corpora, in every dialect.

use std::collections::BTreeMap;
use std::fs;
use std::sync::LazyLock;

use proptest::collection::vec;
use proptest::prelude::{ProptestConfig, Strategy, any};
use proptest::sample::{Index, select};
use proptest::{prop_assert, prop_assert_eq, proptest};

use super::{CORPORA, Dialect, Effect, Limits, OpaqueClass, analyze, case_files, cases};

/// Every text of every corpus, by dialect.
static TEXTS: LazyLock<Vec<(Dialect, Vec<String>)>> = LazyLock::new(|| {
    let read = |(directory, dialect, _): &(&str, Dialect, usize)| {
        let files: Vec<String> = case_files(directory).into_iter().map(|file| fs::read_to_string(file).unwrap()).collect();
        let texts = files.iter().flat_map(|file| cases(file)).map(|(_, sql)| sql.to_owned()).collect();
        (*dialect, texts)
    };
    CORPORA.iter().map(read).collect()
});

fn effects(dialect: Dialect, text: &str) -> Vec<Effect> {
    analyze(dialect, text, &Limits::default()).statements.into_iter().flat_map(|statement| statement.effects).collect()
}

/// May anything happen, for all that these effects say?
fn is_anything(effects: &[Effect]) -> bool {
    effects.iter().any(|effect| match effect {
        Effect::Opaque { class, detail: _ } => {
            matches!(class, OpaqueClass::Unparseable | OpaqueClass::TooDeep | OpaqueClass::TooLong | OpaqueClass::Script)
        }
        Effect::Access { .. } | Effect::Call { .. } | Effect::Role { .. } | Effect::Set { .. } => false,
    })
}

/// The effects of `part` that `whole` leaves out. Policy asks for the class of what is opaque, not for its words.
fn left_out<'e>(part: &'e [Effect], whole: &[Effect]) -> Vec<&'e Effect> {
    let is_in = |effect: &Effect| {
        whole.iter().any(|other| match (effect, other) {
            (Effect::Opaque { class, .. }, Effect::Opaque { class: other, .. }) => class == other,
            (effect, other) => effect == other,
        })
    };
    if is_anything(whole) { Vec::new() } else { part.iter().filter(|effect| !is_in(effect)).collect() }
}

/// The places of blanks that are surely outside of quotes and comments: those before the first sign of one.
fn blanks(text: &str) -> Vec<usize> {
    let plain = text.find(['\'', '"', '`', '$', '-', '/', '#', '@']).unwrap_or(text.len());
    text.match_indices(' ').map(|(place, _)| place).filter(|place| *place < plain).collect()
}

fn dialect() -> impl Strategy<Value = usize> {
    0..CORPORA.len()
}

/// A name that is a word in no dialect, in letters of both kinds.
fn name() -> impl Strategy<Value = String> {
    "[tT]_[a-zA-Z0-9]{1,8}"
}

/// The same path, with each part in one of the ways to write it that mean the same.
fn written(dialect: Dialect, path: &[String], quoted: &[bool]) -> String {
    let (quote, fold): (char, fn(&str) -> String) = match format!("{dialect:?}").as_str() {
        "Postgres" | "Redshift" => ('"', str::to_ascii_lowercase),
        "Other(snowflake)" => ('"', str::to_ascii_uppercase),
        "Other(bigquery)" | "Other(clickhouse)" => ('`', str::to_owned),
        "Other(databricks)" => ('`', str::to_ascii_uppercase),
        _ => ('"', str::to_ascii_uppercase),
    };
    let part = |(part, quoted): (&String, &bool)| if *quoted { format!("{quote}{}{quote}", fold(part)) } else { part.clone() };
    path.iter().zip(quoted).map(part).collect::<Vec<_>>().join(".")
}

const TEMPLATES: &[&str] = &[
    "select * from {a} x join {b} y on true",
    "insert into {a} select * from {b}",
    "delete from {a} where k in (select k from {b})",
    "update {a} set k = 1 where k in (select k from {b})",
    "create table {a} as select * from {b}",
    "with q as (select * from {a}) select * from q, {b}",
    "merge into {a} using {b} on true when matched then update set k = 1 when not matched then insert (k) values (1)",
    "drop table {a}; truncate table {b}",
];

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 384, ..ProptestConfig::default() })]

    #[test]
    fn two_texts_as_one_do_what_each_does(dialect in dialect(), picks in vec(any::<Index>(), 2..4), behind in select(&[";", "\n;", ";\n", " ; ;"][..])) {
        let (dialect, texts) = &TEXTS[dialect];
        let parts: Vec<&String> = picks.iter().map(|pick| pick.get(texts)).collect();
        // A line ends before the semicolon: a text may end with a comment.
        let whole = parts.iter().map(|part| format!("{part}\n{behind}")).collect::<Vec<_>>().join("\n");
        let all = effects(*dialect, &whole);
        for part in parts {
            let alone = effects(*dialect, part);
            // One that cannot be read may be read with another: a quote that it leaves open is closed there.
            if alone.iter().any(|effect| matches!(effect, Effect::Opaque { class: OpaqueClass::Unparseable, .. })) {
                continue;
            }
            prop_assert_eq!(left_out(&alone, &all), Vec::<&Effect>::new(), "{:?}: {}", dialect, whole);
        }
    }

    #[test]
    fn blanks_and_comments_take_no_effect_away(
        dialect in dialect(),
        pick in any::<Index>(),
        places in vec((any::<Index>(), select(&["\n", "\t", "  ", " /* x */ ", " -- from x\n", "\r\n", "/**/", " /* ' */ ", "\n--\n"][..])), 1..6),
    ) {
        let (dialect, texts) = &TEXTS[dialect];
        let text = pick.get(texts);
        let blanks = blanks(text);
        let chosen: BTreeMap<usize, &str> = places.iter().filter(|_| !blanks.is_empty()).map(|(place, blank)| (*place.get(&blanks), *blank)).collect();
        let mut mutated = format!("{text}\n--");
        // From the end, so that the places before stay where they are.
        for (place, blank) in chosen.into_iter().rev() {
            mutated.replace_range(place..=place, blank);
        }
        let (before, after) = (effects(*dialect, text), effects(*dialect, &mutated));
        prop_assert_eq!(left_out(&before, &after), Vec::<&Effect>::new(), "{:?}: {}", dialect, mutated);
        prop_assert!(is_anything(&before) || !is_anything(&after), "{:?} does not read {}", dialect, mutated);
    }

    #[test]
    fn names_mean_the_same_however_they_are_quoted(
        dialect in dialect(),
        template in select(TEMPLATES),
        a in vec(name(), 1..3),
        b in vec(name(), 1..3),
        quoted in vec(any::<bool>(), 8),
    ) {
        let (dialect, _) = &TEXTS[dialect];
        let text = |quoted: &[bool]| {
            let (first, second) = quoted.split_at(4);
            template.replace("{a}", &written(*dialect, &a, first)).replace("{b}", &written(*dialect, &b, second))
        };
        let (plain, other) = (text(&[false; 8]), text(&quoted));
        let effects_of_plain = effects(*dialect, &plain);
        prop_assert!(!is_anything(&effects_of_plain) && effects_of_plain.len() >= 2, "{:?}: {}", dialect, plain);
        prop_assert_eq!(&effects_of_plain, &effects(*dialect, &other), "{:?}: {} and {}", dialect, plain, other);
    }

    #[test]
    fn the_head_of_one_text_on_the_tail_of_another_breaks_nothing(
        dialect in dialect(),
        picks in (any::<Index>(), any::<Index>()),
        cuts in (any::<Index>(), any::<Index>()),
    ) {
        let (dialect, texts) = &TEXTS[dialect];
        let (head, tail): (Vec<char>, Vec<char>) = (picks.0.get(texts).chars().collect(), picks.1.get(texts).chars().collect());
        let cut = |cut: Index, text: &[char]| cut.index(text.len() + 1);
        let spliced: String = head[..cut(cuts.0, &head)].iter().chain(&tail[cut(cuts.1, &tail)..]).collect();
        let broke_down = effects(*dialect, &spliced).iter().any(|effect| effect.to_string().contains("broke down"));
        prop_assert!(!broke_down, "{:?}: {}", dialect, spliced);
    }
}
