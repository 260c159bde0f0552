use proptest::prelude::*;

use super::scan::{Leaf, Scan, Sink, WITHIN};
use super::{CALL, Field, Malformed, REPLY, Struct, Type, Value, Writer, read};

fn message(body: &[u8]) -> Vec<u8> {
    [&[0x80, 1, 0, REPLY, 0, 0, 0, 1, b'm', 0, 0, 0, 7], body].concat()
}

fn why(body: &[u8]) -> &'static str {
    read(&message(body)).unwrap_err().0
}

#[test]
fn what_is_written_is_read() {
    let bytes = Writer::message(CALL, "Do", 9).begin(1).i32(2, -5).binary(3, b"text").boolean(4, true).begin(5).end().end().finish();
    let message = read(&bytes).unwrap();
    assert_eq!((message.kind, message.name, message.sequence), (CALL, "Do", 9));
    let Some(Value::Struct(argument)) = message.body.get(1) else { panic!("{message:?}") };
    assert_eq!(argument.get(2), Some(&Value::Number(-5)));
    assert_eq!(argument.get(3), Some(&Value::Binary(b"text")));
    assert_eq!(argument.get(5), Some(&Value::Struct(Struct::default())));
    let Some(Field { at, value: Value::Number(1), .. }) = argument.0.iter().find(|field| field.id == 4) else { panic!("{argument:?}") };
    assert_eq!(bytes[*at], 1, "the place of a value is where it stands");
}

#[test]
fn what_could_be_read_in_two_ways_is_refused() {
    assert_eq!(read(&message(&[0])).unwrap().body, Struct::default());
    assert_eq!(why(&[0, 0]), "bytes behind the end");
    assert_eq!(why(&[2, 0, 1, 1, 2, 0, 1, 0, 0]), "a field stands twice");
    assert_eq!(why(&[5, 0, 1, 0]), "a type that is none");
    assert_eq!(why(&[15, 0, 1, 99, 0, 0, 0, 0, 0]), "a type that is none");
    assert_eq!(why(&[11, 0, 1, 255, 255, 255, 255]), "a negative length");
    assert_eq!(why(&[11, 0, 1, 0, 0, 0, 9, 1]), "it ends early");
    assert_eq!(why(&[15, 0, 1, 2, 127, 255, 255, 255]), "it ends early");
    assert_eq!(why(&[13, 0, 1, 11, 11, 127, 255, 255, 255]), "it ends early");
    assert_eq!(why(&[12, 0, 1].repeat(100_000)), "it is nested too deeply");
    // The form of old has no version.
    let old = [&[0, 0, 0, 1, b'm', 1, 0, 0, 0, 7][..], &[0]].concat();
    assert_eq!(read(&old).unwrap_err(), Malformed("it does not begin with the version of the strict binary protocol"));
    assert!(read(b"").is_err());
}

/// What a scan finds, as owned values.
#[derive(Default, Debug, PartialEq)]
struct Seen(Vec<(Vec<i16>, String)>);

impl Sink for Seen {
    fn found(&mut self, path: &[i16], leaf: Leaf<'_>) {
        self.0.push((path.to_vec(), format!("{leaf:?}")));
    }
}

fn scan(bytes: &[u8], cuts: &[usize]) -> (Seen, bool) {
    let (mut scan, mut seen, mut from) = (Scan::new(), Seen::default(), 0);
    for &cut in cuts.iter().chain([&bytes.len()]) {
        scan.pass(&bytes[from..cut], &mut seen);
        from = cut;
    }
    (seen, scan.is_whole())
}

/// The same from the whole reader.
fn leaves(within: &Struct<'_>, path: &mut Vec<i16>, seen: &mut Seen) {
    for field in &within.0 {
        path.push(field.id);
        leaf(&field.value, path, seen);
        path.pop();
    }
}

fn leaf(value: &Value<'_>, path: &mut Vec<i16>, seen: &mut Seen) {
    match value {
        Value::Number(number) => seen.0.push((path.clone(), format!("{:?}", Leaf::Number(*number)))),
        Value::Double(number) => seen.0.push((path.clone(), format!("{:?}", Leaf::Double(*number)))),
        Value::Binary(bytes) => {
            let is_long = bytes.len() > 1024 || (path.last() == Some(&WITHIN) && !bytes.is_empty());
            seen.0.push((path.clone(), format!("{:?}", if is_long { Leaf::Long } else { Leaf::Binary(bytes) })));
        }
        Value::Struct(fields) => leaves(fields, path, seen),
        Value::List(list) => {
            seen.0.push((path.clone(), format!("{:?}", Leaf::List(list.len() as u64))));
            path.push(WITHIN);
            list.iter().filter(|value| !matches!(value, Value::Number(_) | Value::Double(_))).for_each(|value| leaf(value, path, seen));
            path.pop();
        }
        Value::Map(pairs) => {
            path.push(WITHIN);
            pairs.iter().for_each(|(key, value)| {
                leaf(key, path, seen);
                leaf(value, path, seen);
            });
            path.pop();
        }
    }
}

/// A value of a type, as it is encoded.
fn encoded(type_: Type) -> BoxedStrategy<Vec<u8>> {
    let counted = |count: usize| i32::try_from(count).unwrap().to_be_bytes();
    match type_ {
        Type::Binary => {
            prop::collection::vec(any::<u8>(), 0..40).prop_map(move |bytes| [&counted(bytes.len())[..], &bytes].concat()).boxed()
        }
        Type::Struct => fields(2).boxed(),
        Type::List => (kind(), 0..4_usize)
            .prop_flat_map(move |(kind, count)| {
                let head = [&[kind.number()][..], &counted(count)].concat();
                prop::collection::vec(encoded(kind), count).prop_map(move |values| [head.clone(), values.concat()].concat())
            })
            .boxed(),
        Type::Map => (kind(), kind(), 0..3_usize)
            .prop_flat_map(move |(key, value, count)| {
                let head = [&[key.number(), value.number()][..], &counted(count)].concat();
                prop::collection::vec((encoded(key), encoded(value)), count).prop_map(move |pairs| {
                    let pairs: Vec<u8> = pairs.into_iter().flat_map(|(key, value)| [key, value].concat()).collect();
                    [head.clone(), pairs].concat()
                })
            })
            .boxed(),
        Type::Bool | Type::Byte | Type::I16 | Type::I32 | Type::I64 | Type::Double => {
            prop::collection::vec(any::<u8>(), type_.width().unwrap()).boxed()
        }
    }
}

/// A type whose values hold no other, so that what is made here ends.
fn kind() -> impl Strategy<Value = Type> {
    prop::sample::select(vec![Type::Bool, Type::Byte, Type::I16, Type::I32, Type::I64, Type::Double, Type::Binary])
}

fn fields(depth: u32) -> BoxedStrategy<Vec<u8>> {
    let types = vec![Type::Bool, Type::I16, Type::I64, Type::Double, Type::Binary, Type::List, Type::Map, Type::Struct];
    let type_ = prop::sample::select(types).prop_filter("depth", move |type_| depth > 0 || *type_ != Type::Struct);
    let field = type_.prop_flat_map(move |type_| {
        let value = if type_ == Type::Struct { fields(depth - 1) } else { encoded(type_) };
        value.prop_map(move |value| (type_, value))
    });
    prop::collection::vec(field, 0..4)
        .prop_map(|fields| {
            let mut bytes = Vec::new();
            for (id, (type_, value)) in fields.into_iter().enumerate() {
                bytes.push(type_.number());
                bytes.extend(i16::try_from(id).unwrap().to_be_bytes());
                bytes.extend(value);
            }
            bytes.push(0);
            bytes
        })
        .boxed()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn both_readers_find_the_same_wherever_a_message_is_cut(
        body in fields(3), first in any::<prop::sample::Index>(), second in any::<prop::sample::Index>(),
    ) {
        let bytes = message(&body);
        let mut expected = Seen::default();
        leaves(&read(&bytes).unwrap().body, &mut Vec::new(), &mut expected);
        let mut cuts = [first.index(bytes.len()), second.index(bytes.len())];
        cuts.sort_unstable();
        prop_assert_eq!(scan(&bytes, &cuts), (expected, true));
        let every: Vec<usize> = (1..bytes.len()).collect();
        prop_assert_eq!(scan(&bytes, &every), scan(&bytes, &[]));
        // Short of its end it is not whole, and with more behind it neither.
        prop_assert!(!scan(&bytes[..bytes.len() - 1], &[]).1);
        prop_assert!(!scan(&[&bytes[..], &[0]].concat(), &[]).1);
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let whole = message(&bytes);
        let is_message = read(&whole).is_ok();
        // Among what only one of them minds: a field that stands twice.
        prop_assert!(!is_message || scan(&whole, &[]).1);
        let _neither_breaks = (read(&bytes).is_ok(), scan(&bytes, &[]));
    }
}

#[test]
fn long_lists_and_texts_are_passed_over_and_counted() {
    let count = 100_000_u32;
    let strings: Vec<u8> = (0..count).flat_map(|_| [0, 0, 0, 3, b'a', b'b', b'c']).collect();
    let numbers = vec![0_u8; count as usize * 8];
    let list = |kind: u8, id: u8, values: &[u8]| [&[15, 0, id, kind][..], &count.to_be_bytes(), values].concat();
    let long = [&[11, 0, 3][..], &2000_u32.to_be_bytes(), &[b'x'; 2000]].concat();
    let bytes = message(&[list(11, 1, &strings), list(10, 2, &numbers), long, vec![0]].concat());
    let (seen, is_whole) = scan(&bytes, &[5, 100, 70_000]);
    assert!(is_whole);
    let named: Vec<_> = seen.0.iter().filter(|(path, _)| path.last() != Some(&WITHIN)).collect();
    assert_eq!(named, [&(vec![1], "List(100000)".to_owned()), &(vec![2], "List(100000)".to_owned()), &(vec![3], "Long".to_owned())]);
}
