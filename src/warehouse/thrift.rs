//! Apache Thrift's binary protocol: whole messages read strictly, and small ones written.
//!
//! Source: Apache Thrift, "Thrift Binary protocol encoding". Strict: the old form without a version is refused, and so is
//! everything that two readers could take for different things: a field twice, bytes behind the end, a type that is none.

pub(super) mod scan;

/// Structs, lists and maps within each other that are followed.
pub(super) const DEPTH_MAX: usize = 32;
/// Longest name of a method, in bytes.
const NAME_BYTES_MAX: usize = 64;

/// What begins a message: the version, and below it the kind of message.
const VERSION: u32 = 0x8001_0000;
const VERSION_MASK: u32 = 0xffff_0000;

/// A kind of message that asks, and expects a reply.
pub(super) const CALL: u8 = 1;
/// A kind of message that replies.
pub(super) const REPLY: u8 = 2;
/// A kind of message that says that no method was run.
pub(super) const EXCEPTION: u8 = 3;

/// The type of a value on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    /// One byte.
    Bool,
    /// One byte.
    Byte,
    /// Eight bytes.
    Double,
    /// Two bytes.
    I16,
    /// Four bytes.
    I32,
    /// Eight bytes.
    I64,
    /// A length and so many bytes; a string is the same.
    Binary,
    /// Fields up to a stop.
    Struct,
    /// Pairs.
    Map,
    /// A list, or a set, which looks the same.
    List,
}

impl Type {
    /// The type of that number; `None` for a stop, and for what is no type.
    fn of(number: u8) -> Option<Self> {
        Some(match number {
            2 => Self::Bool,
            3 => Self::Byte,
            4 => Self::Double,
            6 => Self::I16,
            8 => Self::I32,
            10 => Self::I64,
            11 => Self::Binary,
            12 => Self::Struct,
            13 => Self::Map,
            14 | 15 => Self::List,
            _ => return None,
        })
    }

    /// The number of a type in a message that is written here.
    fn number(self) -> u8 {
        match self {
            Self::Bool => 2,
            Self::Byte => 3,
            Self::Double => 4,
            Self::I16 => 6,
            Self::I32 => 8,
            Self::I64 => 10,
            Self::Binary => 11,
            Self::Struct => 12,
            Self::Map => 13,
            Self::List => 15,
        }
    }

    /// The bytes of a number or a truth value.
    fn width(self) -> Option<usize> {
        match self {
            Self::Bool | Self::Byte => Some(1),
            Self::I16 => Some(2),
            Self::I32 => Some(4),
            Self::I64 | Self::Double => Some(8),
            Self::Binary | Self::Struct | Self::Map | Self::List => None,
        }
    }
}

/// A value of a message.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value<'a> {
    /// A truth value, or a whole number of any width.
    Number(i64),
    /// A number with a fraction.
    Double(f64),
    /// Bytes, or a string.
    Binary(&'a [u8]),
    /// A struct.
    Struct(Struct<'a>),
    /// Pairs.
    Map(Vec<(Value<'a>, Value<'a>)>),
    /// A list or a set.
    List(Vec<Value<'a>>),
}

/// The fields of a struct, each with its number, in the order of the message; none stands twice.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Struct<'a>(pub(super) Vec<Field<'a>>);

/// A field of a struct.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Field<'a> {
    /// Its number.
    pub(super) id: i16,
    /// Its value.
    pub(super) value: Value<'a>,
    /// Where its value begins in the message.
    pub(super) at: usize,
}

impl<'a> Struct<'a> {
    /// The field of that number.
    pub(super) fn get(&self, id: i16) -> Option<&Value<'a>> {
        self.0.iter().find(|field| field.id == id).map(|field| &field.value)
    }
}

/// A message.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Message<'a> {
    /// Its kind.
    pub(super) kind: u8,
    /// The method.
    pub(super) name: &'a str,
    /// What the reply will carry too.
    pub(super) sequence: i32,
    /// The arguments, or the result.
    pub(super) body: Struct<'a>,
}

/// A message that is not what it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a Thrift message: {0}")]
pub(super) struct Malformed(pub(super) &'static str);

/// The message that is all of `bytes`.
///
/// # Errors
/// It is not one, or could be read in two ways.
pub(super) fn read(bytes: &[u8]) -> Result<Message<'_>, Malformed> {
    let mut reader = Reader { bytes, at: 0 };
    let first = u32::from_be_bytes(reader.array()?);
    if first & VERSION_MASK != VERSION {
        return Err(Malformed("it does not begin with the version of the strict binary protocol"));
    }
    let [_, _, _, kind] = first.to_be_bytes();
    let length = reader.length()?;
    if length > NAME_BYTES_MAX {
        return Err(Malformed("the name of the method is too long"));
    }
    let name = std::str::from_utf8(reader.take(length)?).map_err(|_| Malformed("the name of the method is not UTF-8"))?;
    let sequence = i32::from_be_bytes(reader.array()?);
    let body = reader.fields(0)?;
    if reader.at != bytes.len() {
        return Err(Malformed("bytes behind the end"));
    }
    Ok(Message { kind, name, sequence, body })
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let end = self.at.checked_add(length).ok_or(Malformed("it ends early"))?;
        let taken = self.bytes.get(self.at..end).ok_or(Malformed("it ends early"))?;
        self.at = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        self.take(N)?.try_into().map_err(|_| Malformed("it ends early"))
    }

    fn byte(&mut self) -> Result<u8, Malformed> {
        self.array().map(|[byte]| byte)
    }

    fn length(&mut self) -> Result<usize, Malformed> {
        usize::try_from(i32::from_be_bytes(self.array()?)).map_err(|_| Malformed("a negative length"))
    }

    /// How many elements follow, each of which takes a byte at least.
    fn count(&mut self) -> Result<usize, Malformed> {
        let count = self.length()?;
        if count > self.bytes.len().saturating_sub(self.at) { Err(Malformed("it ends early")) } else { Ok(count) }
    }

    fn type_(&mut self) -> Result<Type, Malformed> {
        Type::of(self.byte()?).ok_or(Malformed("a type that is none"))
    }

    fn fields(&mut self, depth: usize) -> Result<Struct<'a>, Malformed> {
        let mut fields: Vec<Field<'a>> = Vec::new();
        loop {
            let number = self.byte()?;
            if number == 0 {
                return Ok(Struct(fields));
            }
            let type_ = Type::of(number).ok_or(Malformed("a type that is none"))?;
            let id = i16::from_be_bytes(self.array()?);
            if fields.iter().any(|field| field.id == id) {
                return Err(Malformed("a field stands twice"));
            }
            let at = self.at;
            fields.push(Field { id, value: self.value(type_, depth)?, at });
        }
    }

    fn value(&mut self, type_: Type, depth: usize) -> Result<Value<'a>, Malformed> {
        if depth >= DEPTH_MAX {
            return Err(Malformed("it is nested too deeply"));
        }
        Ok(match type_ {
            Type::Bool | Type::Byte => Value::Number(i8::from_be_bytes(self.array()?).into()),
            Type::I16 => Value::Number(i16::from_be_bytes(self.array()?).into()),
            Type::I32 => Value::Number(i32::from_be_bytes(self.array()?).into()),
            Type::I64 => Value::Number(i64::from_be_bytes(self.array()?)),
            Type::Double => Value::Double(f64::from_be_bytes(self.array()?)),
            Type::Binary => {
                let length = self.length()?;
                Value::Binary(self.take(length)?)
            }
            Type::Struct => Value::Struct(self.fields(depth + 1)?),
            Type::List => {
                let element = self.type_()?;
                let count = self.count()?;
                Value::List((0..count).map(|_| self.value(element, depth + 1)).collect::<Result<_, _>>()?)
            }
            Type::Map => self.map(depth)?,
        })
    }

    fn map(&mut self, depth: usize) -> Result<Value<'a>, Malformed> {
        let (key, value) = (self.byte()?, self.byte()?);
        let count = self.count()?;
        if count == 0 {
            return Ok(Value::Map(Vec::new()));
        }
        let none = Malformed("a type that is none");
        let (key, value) = (Type::of(key).ok_or(none)?, Type::of(value).ok_or(none)?);
        let pair = |_| Ok((self.value(key, depth + 1)?, self.value(value, depth + 1)?));
        (0..count).map(pair).collect::<Result<_, _>>().map(Value::Map)
    }
}

/// Writes a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Writer(Vec<u8>);

impl Writer {
    /// A message of that kind about a method, up to its body.
    pub(super) fn message(kind: u8, name: &str, sequence: i32) -> Self {
        let mut writer = Self((VERSION | u32::from(kind)).to_be_bytes().to_vec());
        writer.bytes(name.as_bytes());
        writer.0.extend_from_slice(&sequence.to_be_bytes());
        writer
    }

    /// A struct in a field, whose fields follow.
    pub(super) fn begin(mut self, id: i16) -> Self {
        self.field(Type::Struct, id);
        self
    }

    /// The end of a struct.
    pub(super) fn end(mut self) -> Self {
        self.0.push(0);
        self
    }

    /// A number.
    pub(super) fn i32(mut self, id: i16, number: i32) -> Self {
        self.field(Type::I32, id);
        self.0.extend_from_slice(&number.to_be_bytes());
        self
    }

    /// A truth value.
    pub(super) fn boolean(mut self, id: i16, is_true: bool) -> Self {
        self.field(Type::Bool, id);
        self.0.push(u8::from(is_true));
        self
    }

    /// Bytes, or a string.
    pub(super) fn binary(mut self, id: i16, bytes: &[u8]) -> Self {
        self.field(Type::Binary, id);
        self.bytes(bytes);
        self
    }

    /// The message, whose body ends here.
    pub(super) fn finish(self) -> Vec<u8> {
        self.end().0
    }

    fn field(&mut self, type_: Type, id: i16) {
        self.0.push(type_.number());
        self.0.extend_from_slice(&id.to_be_bytes());
    }

    /// What is longer than a length can say is left out; nothing that is written here is.
    fn bytes(&mut self, bytes: &[u8]) {
        let (length, bytes) = i32::try_from(bytes.len()).map_or((0, &[][..]), |length| (length, bytes));
        self.0.extend_from_slice(&length.to_be_bytes());
        self.0.extend_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests;
