//! Reads a few values of a Thrift message as it passes, in pieces of any size; holds no more than one of them.

use super::{DEPTH_MAX, EXCEPTION, NAME_BYTES_MAX, REPLY, Type, VERSION, VERSION_MASK};

/// Longest value, in bytes, that is held to be read.
const HELD_BYTES_MAX: usize = 1024;

/// In a path, what stands for the elements of a list, and for the keys and values of a map.
pub(in crate::warehouse) const WITHIN: i16 = i16::MIN;

/// What is found, and where: the numbers of the fields that lead to it, from the outside in.
pub(in crate::warehouse) trait Sink {
    /// A value, or the beginning of a list.
    fn found(&mut self, path: &[i16], leaf: Leaf<'_>);
}

/// A value that is found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::warehouse) enum Leaf<'a> {
    /// A truth value, or a whole number of any width.
    Number(i64),
    /// A number with a fraction.
    Double(f64),
    /// Bytes, or a string, at most [`HELD_BYTES_MAX`].
    Binary(&'a [u8]),
    /// Bytes that are too many to be held.
    Long,
    /// A list of so many elements, which follow.
    List(u64),
}

/// Reads one message that comes in pieces.
#[derive(Debug)]
pub(in crate::warehouse) struct Scan {
    step: Step,
    /// The containers that are open.
    open: Vec<Open>,
    path: Vec<i16>,
    /// The beginning of what the step needs, where it came in pieces.
    held: Vec<u8>,
    is_exception: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Version,
    NameLength,
    Name(usize),
    Sequence,
    FieldType,
    FieldId(Type),
    Number(Type),
    Length,
    Bytes(usize),
    Pass(u64),
    ListHead,
    MapHead,
    Whole,
    Broken,
}

#[derive(Debug, Clone, Copy)]
enum Open {
    Struct,
    /// So many elements are still to come.
    List(Type, u64),
    /// So many keys and values are still to come.
    Map(Type, Type, u64),
}

impl Scan {
    /// A message that has not begun.
    pub(in crate::warehouse) fn new() -> Self {
        Self { step: Step::Version, open: Vec::new(), path: Vec::new(), held: Vec::new(), is_exception: false }
    }

    /// Whether one whole message has passed, and nothing behind it.
    pub(in crate::warehouse) fn is_whole(&self) -> bool {
        self.step == Step::Whole
    }

    /// Whether the message says that no method was run.
    pub(in crate::warehouse) fn is_exception(&self) -> bool {
        self.is_exception
    }

    /// Reads a piece.
    pub(in crate::warehouse) fn pass(&mut self, mut piece: &[u8], sink: &mut impl Sink) {
        while !piece.is_empty() {
            let need = match self.step {
                Step::Broken => return,
                Step::Whole => {
                    self.step = Step::Broken;
                    return;
                }
                Step::Pass(left) => {
                    let here = usize::try_from(left).unwrap_or(usize::MAX).min(piece.len());
                    piece = piece.get(here..).unwrap_or_default();
                    let left = left.saturating_sub(u64::try_from(here).unwrap_or(u64::MAX));
                    if left == 0 {
                        self.value_ends()
                    } else {
                        self.step = Step::Pass(left)
                    }
                    continue;
                }
                Step::FieldType => 1,
                Step::FieldId(_) => 2,
                Step::Version | Step::NameLength | Step::Sequence | Step::Length => 4,
                Step::ListHead => 5,
                Step::MapHead => 6,
                Step::Number(type_) => type_.width().unwrap_or(1),
                Step::Name(length) | Step::Bytes(length) => length,
            };
            let missing = need.saturating_sub(self.held.len());
            if self.held.is_empty()
                && let Some((head, rest)) = piece.split_at_checked(need)
            {
                piece = rest;
                self.advance(head, sink);
            } else {
                let (head, rest) = piece.split_at_checked(missing).unwrap_or((piece, &[]));
                piece = rest;
                self.held.extend_from_slice(head);
                if self.held.len() >= need {
                    let mut held = std::mem::take(&mut self.held);
                    self.advance(&held, sink);
                    held.clear();
                    self.held = held;
                }
            }
        }
    }

    /// Takes the bytes that the step needs.
    fn advance(&mut self, bytes: &[u8], sink: &mut impl Sink) {
        self.step = match self.step {
            Step::Version => self.version(bytes),
            Step::NameLength => match length(bytes) {
                Some(0) => Step::Sequence,
                Some(length) if length <= NAME_BYTES_MAX => Step::Name(length),
                Some(_) | None => Step::Broken,
            },
            Step::Name(_) => Step::Sequence,
            Step::Sequence => return self.open(Open::Struct),
            Step::FieldType => match bytes {
                [0] => return self.close(),
                [number] => Type::of(*number).map_or(Step::Broken, Step::FieldId),
                _ => Step::Broken,
            },
            Step::FieldId(type_) => {
                self.path.push(i16::from_be_bytes(bytes.try_into().unwrap_or_default()));
                return self.begin(type_);
            }
            Step::Number(type_) => {
                sink.found(&self.path, number(type_, bytes));
                return self.value_ends();
            }
            Step::Length => match length(bytes) {
                Some(0) => {
                    sink.found(&self.path, Leaf::Binary(&[]));
                    return self.value_ends();
                }
                Some(length) if length <= HELD_BYTES_MAX && self.path.last() != Some(&WITHIN) => Step::Bytes(length),
                Some(length) => {
                    sink.found(&self.path, Leaf::Long);
                    Step::Pass(u64::try_from(length).unwrap_or(u64::MAX))
                }
                None => Step::Broken,
            },
            Step::Bytes(_) => {
                sink.found(&self.path, Leaf::Binary(bytes));
                return self.value_ends();
            }
            Step::ListHead => return self.list(bytes, sink),
            Step::MapHead => return self.map(bytes),
            Step::Pass(_) | Step::Whole | Step::Broken => Step::Broken,
        };
    }

    fn version(&mut self, bytes: &[u8]) -> Step {
        let first = u32::from_be_bytes(bytes.try_into().unwrap_or_default());
        let [_, _, _, kind] = first.to_be_bytes();
        self.is_exception = kind == EXCEPTION;
        if first & VERSION_MASK == VERSION && (kind == REPLY || kind == EXCEPTION) { Step::NameLength } else { Step::Broken }
    }

    /// A value of that type begins at the path.
    fn begin(&mut self, type_: Type) {
        self.step = match type_ {
            Type::Bool | Type::Byte | Type::I16 | Type::I32 | Type::I64 | Type::Double => Step::Number(type_),
            Type::Binary => Step::Length,
            Type::List => Step::ListHead,
            Type::Map => Step::MapHead,
            Type::Struct => return self.open(Open::Struct),
        };
    }

    fn open(&mut self, container: Open) {
        if self.open.len() >= DEPTH_MAX {
            self.step = Step::Broken;
            return;
        }
        self.open.push(container);
        if matches!(container, Open::Struct) {
            self.step = Step::FieldType;
        } else {
            self.path.push(WITHIN);
            self.next_element();
        }
    }

    fn list(&mut self, head: &[u8], sink: &mut impl Sink) {
        let Some((element, Some(count))) = head.split_first().map(|(element, count)| (*element, length(count))) else {
            self.step = Step::Broken;
            return;
        };
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        sink.found(&self.path, Leaf::List(count));
        match Type::of(element) {
            None if count > 0 => self.step = Step::Broken,
            Some(element) if count > 0 => match element.width() {
                // Numbers are counted, and nobody asks which.
                Some(width) => self.step = Step::Pass(count.saturating_mul(u64::try_from(width).unwrap_or(u64::MAX))),
                None => self.open(Open::List(element, count)),
            },
            Some(_) | None => self.value_ends(),
        }
    }

    fn map(&mut self, head: &[u8]) {
        let [key, value, count @ ..] = head else {
            self.step = Step::Broken;
            return;
        };
        match (Type::of(*key), Type::of(*value), length(count)) {
            (_, _, Some(0)) => self.value_ends(),
            (Some(key), Some(value), Some(count)) => {
                self.open(Open::Map(key, value, u64::try_from(count).unwrap_or(u64::MAX).saturating_mul(2)));
            }
            (_, _, _) => self.step = Step::Broken,
        }
    }

    /// The next element of a list or map, or its end.
    fn next_element(&mut self) {
        let next = match self.open.last_mut() {
            Some(Open::List(_, 0) | Open::Map(_, _, 0)) => None,
            Some(Open::List(element, left)) => {
                *left -= 1;
                Some(*element)
            }
            Some(Open::Map(key, value, left)) => {
                let next = if *left % 2 == 0 { *key } else { *value };
                *left -= 1;
                Some(next)
            }
            Some(Open::Struct) | None => {
                self.step = Step::Broken;
                return;
            }
        };
        match next {
            Some(type_) => self.begin(type_),
            None => {
                self.path.pop();
                self.close();
            }
        }
    }

    fn close(&mut self) {
        self.open.pop();
        if self.open.is_empty() { self.step = Step::Whole } else { self.value_ends() }
    }

    /// The value at the path has ended.
    fn value_ends(&mut self) {
        match self.open.last() {
            Some(Open::Struct) => {
                self.path.pop();
                self.step = Step::FieldType;
            }
            Some(Open::List(..) | Open::Map(..)) => self.next_element(),
            None => self.step = Step::Broken,
        }
    }
}

fn length(bytes: &[u8]) -> Option<usize> {
    usize::try_from(i32::from_be_bytes(bytes.try_into().ok()?)).ok()
}

fn number(type_: Type, bytes: &[u8]) -> Leaf<'static> {
    match (type_, bytes) {
        (Type::Double, _) => Leaf::Double(f64::from_be_bytes(bytes.try_into().unwrap_or_default())),
        (_, [byte]) => Leaf::Number(i8::from_be_bytes([*byte]).into()),
        (_, [a, b]) => Leaf::Number(i16::from_be_bytes([*a, *b]).into()),
        (_, [a, b, c, d]) => Leaf::Number(i32::from_be_bytes([*a, *b, *c, *d]).into()),
        (_, _) => Leaf::Number(i64::from_be_bytes(bytes.try_into().unwrap_or_default())),
    }
}
