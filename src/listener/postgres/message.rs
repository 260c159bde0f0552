//! PostgreSQL messages: their type bytes, the few that we write ourselves, and careful reading of those that we must read.
//!
//! Source for every number here: PostgreSQL 18 documentation, chapter 54, "Frontend/Backend Protocol".

use bytes::{BufMut, BytesMut};

use crate::fault::Fault;

/// Request codes in the place of a protocol version (section 54.7, "Message Formats").
pub(super) mod request {
    /// CancelRequest.
    pub(in super::super) const CANCEL: u32 = 80_877_102;
    /// SSLRequest.
    pub(in super::super) const TLS: u32 = 80_877_103;
    /// GSSENCRequest.
    pub(in super::super) const GSSENC: u32 = 80_877_104;
    /// A minor version of protocol 3 in the place of a request code.
    pub(in super::super) const fn version_3(minor: u16) -> u32 {
        (3 << 16) | minor as u32
    }
}

/// Newest minor version of protocol 3 that we know. It differs from 3.0 in the length of cancel keys alone (section 54.1).
pub(super) const MINOR_VERSION_MAX: u16 = 2;

/// Longest startup packet that PostgreSQL itself reads (`MAX_STARTUP_PACKET_LENGTH` in its source).
pub(super) const STARTUP_BYTES_MAX: usize = 10_000;

/// Bytes before a message's body: the type and the length.
pub(super) const HEADER_BYTES: usize = 5;

/// The type byte and the length of the body that follows the header; `None` while the header is incomplete.
///
/// The inner `None` is a length field below its minimum of 4.
pub(super) fn header(bytes: &[u8]) -> Option<(u8, Option<usize>)> {
    let (kind, rest) = bytes.split_first()?;
    let length = rest.first_chunk::<4>()?;
    let body = u32::from_be_bytes(*length).checked_sub(4).and_then(|n| usize::try_from(n).ok());
    Some((*kind, body))
}

/// Reads values off the front of a message body; every reading can fail, none panics.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Fields<'a> {
    /// A string up to its NUL.
    pub(super) fn string(&mut self) -> Option<&'a [u8]> {
        let end = self.0.iter().position(|byte| *byte == 0)?;
        let (value, rest) = self.0.split_at_checked(end)?;
        self.0 = rest.get(1..)?;
        Some(value)
    }

    /// One byte.
    pub(super) fn byte(&mut self) -> Option<u8> {
        let (value, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*value)
    }

    /// A 32-bit integer.
    pub(super) fn int32(&mut self) -> Option<i32> {
        let (value, rest) = self.0.split_first_chunk::<4>()?;
        self.0 = rest;
        Some(i32::from_be_bytes(*value))
    }
}

/// Appends one message: type, length, and what `body` writes.
pub(super) fn write(out: &mut BytesMut, kind: u8, body: impl FnOnce(&mut BytesMut)) {
    out.put_u8(kind);
    write_untyped(out, body);
}

/// Appends a message without a type byte, as at startup.
pub(super) fn write_untyped(out: &mut BytesMut, body: impl FnOnce(&mut BytesMut)) {
    let start = out.len();
    out.put_u32(0);
    body(out);
    let length = u32::try_from(out.len() - start).unwrap_or(u32::MAX);
    if let Some(place) = out.get_mut(start..start + 4) {
        place.copy_from_slice(&length.to_be_bytes());
    }
}

/// Appends a string and its NUL; a NUL inside ends it early, as the protocol has no way to carry one.
pub(super) fn put_string(out: &mut BytesMut, text: &[u8]) {
    out.extend_from_slice(text.split(|byte| *byte == 0).next().unwrap_or_default());
    out.put_u8(0);
}

/// How grave an ErrorResponse is (section 54.8, "Error and Notice Message Fields").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Severity {
    /// The statement failed; the session goes on.
    Error,
    /// The session ends.
    Fatal,
}

impl Severity {
    /// How grave the server says that an error is. Servers before PostgreSQL 9.6 have only the field for people to read,
    /// which may be translated: what is not known to end the session is taken not to.
    pub(super) fn of(body: &[u8]) -> Self {
        match error_field(body, b'V').or_else(|| error_field(body, b'S')) {
            Some(b"FATAL" | b"PANIC") => Self::Fatal,
            Some(_) | None => Self::Error,
        }
    }
}

/// Appends the ErrorResponse for a fault: what the client is told, our reason code, the record, the remedy.
pub(super) fn write_error(out: &mut BytesMut, severity: Severity, fault: &Fault, record: Option<&str>) {
    let row = fault.reason.row();
    let level: &[u8] = match severity {
        Severity::Error => b"ERROR",
        Severity::Fatal => b"FATAL",
    };
    let detail = match record {
        Some(record) => format!("Reason {}, audit record {record}.", row.code),
        None => format!("Reason {}.", row.code),
    };
    let told = format!("tollhouse: {fault}");
    let fields: [(u8, &[u8]); 6] = [
        (b'S', level),
        (b'V', level),
        (b'C', row.sqlstate.as_bytes()),
        (b'M', told.as_bytes()),
        (b'D', detail.as_bytes()),
        (b'H', row.remedy.as_bytes()),
    ];
    write(out, b'E', |body| {
        for (code, text) in fields {
            body.put_u8(code);
            put_string(body, text);
        }
        body.put_u8(0);
    });
}

/// The value of one field of an ErrorResponse body; the body may be cut off behind it.
pub(super) fn error_field(body: &[u8], wanted: u8) -> Option<&[u8]> {
    let mut fields = Fields(body);
    loop {
        let code = fields.byte()?;
        if code == 0 {
            return None;
        }
        let value = fields.string()?;
        if code == wanted {
            return Some(value);
        }
    }
}

/// The number of rows that a command tag reports (`SELECT 5`, `INSERT 0 5`, `COPY 5`).
pub(super) fn rows_of_tag(tag: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(tag).ok()?;
    text.rsplit(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::{Fields, Severity, error_field, header, rows_of_tag, write_error};
    use crate::fault::{Fault, Reason};

    #[test]
    fn a_header_needs_five_bytes_and_a_length_of_at_least_four() {
        assert_eq!(header(b"Q\0\0\0"), None);
        assert_eq!(header(b"Q\0\0\0\x04"), Some((b'Q', Some(0))));
        assert_eq!(header(b"Q\0\0\0\x03"), Some((b'Q', None)));
    }

    #[test]
    fn an_error_names_sqlstate_reason_and_record() {
        let mut out = BytesMut::new();
        let fault = Fault::new(Reason::PolicyDenied).about("no rule allows select on demo.finance.salaries");
        write_error(&mut out, Severity::Error, &fault, Some("1f-7"));
        let (kind, length) = header(&out).unwrap();
        assert_eq!((kind, length), (b'E', Some(out.len() - 5)));
        let body = &out[5..];
        assert_eq!(error_field(body, b'C'), Some(&b"42501"[..]));
        assert!(String::from_utf8_lossy(error_field(body, b'M').unwrap()).contains("demo.finance.salaries"));
        assert_eq!(error_field(body, b'D'), Some(&b"Reason policy-denied, audit record 1f-7."[..]));
        assert_eq!(error_field(body, b'x'), None);
    }

    #[test]
    fn an_error_ends_the_session_when_the_server_says_so_in_the_field_that_is_never_translated() {
        assert_eq!(Severity::of(b"SFATAL\0VFATAL\0C57P01\0\0"), Severity::Fatal);
        assert_eq!(Severity::of(b"SPANIK\0VPANIC\0CXX000\0\0"), Severity::Fatal);
        assert_eq!(Severity::of(b"SFATAL\0VERROR\0C57014\0\0"), Severity::Error);
        assert_eq!(Severity::of(b"SFATAL\0C57P01\0\0"), Severity::Fatal);
        assert_eq!(Severity::of(b"\0"), Severity::Error);
    }

    #[test]
    fn rows_come_from_the_last_word_of_the_tag() {
        assert_eq!(rows_of_tag(b"SELECT 5"), Some(5));
        assert_eq!(rows_of_tag(b"INSERT 0 12"), Some(12));
        assert_eq!(rows_of_tag(b"CREATE TABLE"), None);
    }

    #[test]
    fn fields_stop_at_the_end_instead_of_panicking() {
        let mut fields = Fields(b"ab\0\x01\0");
        assert_eq!(fields.string(), Some(&b"ab"[..]));
        assert_eq!(fields.byte(), Some(1));
        assert_eq!(fields.int32(), None);
    }
}
