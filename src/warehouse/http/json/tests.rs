use bytes::Bytes;
use proptest::prelude::*;

use super::{Field, Found, Tap, Treatment};

const FIELDS: &[Field] = &[
    Field { path: &["id"], treatment: Treatment::Read },
    Field { path: &["nextUri"], treatment: Treatment::Address },
    Field { path: &["data"], treatment: Treatment::Count },
    Field { path: &["stats", "state"], treatment: Treatment::Read },
    Field { path: &["updateCount"], treatment: Treatment::Read },
];

fn run(text: &str, cuts: &[usize]) -> (String, Vec<Found>, bool) {
    let mut tap = Tap::new(FIELDS, "http://near".to_owned());
    let mut out = Vec::new();
    let mut from = 0;
    for &cut in cuts.iter().chain([&text.len()]) {
        out.extend_from_slice(&tap.pass(Bytes::copy_from_slice(&text.as_bytes()[from..cut])));
        from = cut;
    }
    (String::from_utf8(out).unwrap(), tap.found().to_vec(), tap.is_whole())
}

const REPLY: &str = r#"{"id":"q1","nextUri" : "http://far:8080/v1/x\/1","columns":[{"id":"no"}],
    "data":[[1,"],{"],[2,"\"}"],[],{"id":5}],"stats":{"state":"RUNNING","nextUri":"http://far:8080/y"},"updateCount":12}"#;

#[test]
fn values_are_read_counted_and_replaced_at_their_places_alone() {
    let (out, found, is_whole) = run(REPLY, &[]);
    assert!(is_whole);
    assert_eq!(out, REPLY.replacen(r"http://far:8080/v1/x\/1", "http://near/v1/x/1", 1));
    let value = |text: &str| Found::Value(text.to_owned());
    assert_eq!(found, [value("q1"), value("http://far:8080/v1/x/1"), Found::Elements(4), value("RUNNING"), value("12")]);
}

#[test]
fn cut_anywhere_it_reads_and_writes_the_same() {
    let whole = run(REPLY, &[]);
    for first in 0..=REPLY.len() {
        assert_eq!(run(REPLY, &[first]), whole, "cut at {first}");
        for second in (first..=REPLY.len()).step_by(7) {
            assert_eq!(run(REPLY, &[first, second]), whole, "cut at {first} and {second}");
        }
    }
}

#[test]
fn what_needs_no_change_is_passed_on_without_a_copy() {
    let mut tap = Tap::new(FIELDS, "http://near".to_owned());
    let piece = Bytes::from_static(br#"{"data":[[1],[2]]}"#);
    let passed = tap.pass(piece.clone());
    assert_eq!(passed.as_ptr(), piece.as_ptr());
    assert_eq!(tap.found()[2], Found::Elements(2));
}

#[test]
fn an_address_of_another_shape_stays_and_one_without_end_is_not_passed_on() {
    let (out, ..) = run(r#"{"nextUri":"/x"}"#, &[]);
    assert_eq!(out, r#"{"nextUri":"/x"}"#);
    let (out, found, _) = run(r#"{"nextUri":null}"#, &[]);
    assert_eq!((out.as_str(), &found[1]), (r#"{"nextUri":null}"#, &Found::Value("null".to_owned())));
    let long = format!(r#"{{"nextUri":"http://far:8080/{}","id":"q"}}"#, "x".repeat(20_000));
    let (out, found, is_whole) = run(&long, &[]);
    assert_eq!(out, r#"{"nextUri":"","id":"q"}"#);
    assert_eq!((&found[0], &found[1], is_whole), (&Found::Value("q".to_owned()), &Found::Other, true));
}

#[test]
fn a_key_written_with_escapes_is_the_same_key() {
    let (out, ..) = run(r#"{"next\u0055ri":"http://far:8080/a"}"#, &[]);
    assert_eq!(out, r#"{"next\u0055ri":"http://near/a"}"#);
}

#[test]
fn what_is_not_one_json_value_is_passed_on_and_told_apart() {
    for text in ["", "<html>", "{", "}{", r#"{"id":"q"} x"#, "[1,2", &"[".repeat(20_000), r#"{"id"#] {
        let (out, _, is_whole) = run(text, &[]);
        assert_eq!((out.as_str(), is_whole), (text, false));
    }
}

fn json() -> impl Strategy<Value = serde_json::Value> {
    let key = prop_oneof![Just("id".to_owned()), Just("nextUri".to_owned()), Just("data".to_owned()), Just("stats".to_owned()), ".{0,6}"];
    let leaf = prop_oneof![
        any::<i32>().prop_map(serde_json::Value::from),
        ".{0,12}".prop_map(serde_json::Value::from),
        Just(serde_json::Value::from("http://far:8080/v1")),
        Just(serde_json::Value::Null),
    ];
    leaf.prop_recursive(4, 40, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(serde_json::Value::from),
            prop::collection::btree_map(key.clone(), inner, 0..6).prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_json_comes_out_as_a_parser_would_change_it(value in json(), pretty in any::<bool>(), cut in any::<prop::sample::Index>()) {
        let text = if pretty { serde_json::to_string_pretty(&value).unwrap() } else { value.to_string() };
        let cut = (0..=cut.index(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        let (out, found, is_whole) = run(&text, &[cut]);
        let mut expected = value.clone();
        if let Some(serde_json::Value::String(address)) = expected.get_mut("nextUri")
            && let Some(near) = super::back("http://near", address)
        {
            *address = near;
        }
        // A scalar alone has no end that can be seen.
        prop_assert!(is_whole || !(value.is_object() || value.is_array()));
        prop_assert_eq!(serde_json::from_str::<serde_json::Value>(&out).unwrap(), expected);
        let elements = value.get("data").and_then(|data| data.as_array()).map(|data| data.len() as u64);
        prop_assert_eq!(found[2].elements(), elements);
        let id = value.get("id").and_then(|id| id.as_str());
        prop_assert!(id.is_none() || found[0].value() == id);
    }
}
