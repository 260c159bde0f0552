//! What a reply of ClickHouse says: its head, and its last bytes. The rows between are passed on unread.
//!
//! A statement that fails when part of its result is on its way does so in the body. Since 25.11 what the server writes there is
//! marked with a tag that the head has named, and the connection breaks; before that it is only text at the end.

use std::collections::VecDeque;

use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::{HeaderMap, HeaderName};
use serde::Deserialize;

use crate::warehouse::http::{End, Progress, Reader, Reading};

/// The number of an error; 0 for none.
pub(super) const EXCEPTION_CODE: HeaderName = HeaderName::from_static("x-clickhouse-exception-code");
const EXCEPTION_TAG: HeaderName = HeaderName::from_static("x-clickhouse-exception-tag");
const SUMMARY: HeaderName = HeaderName::from_static("x-clickhouse-summary");

/// Bytes at the end of a body that are looked at.
const TAIL_BYTES_MAX: usize = 32 * 1024;

/// Reads a reply whose rows do not matter.
#[derive(Debug)]
pub(super) struct StreamReader {
    /// The server's name for the execution, or the client's.
    id: Option<String>,
    /// Whether the head comes when the statement is over, and its numbers are the last ones.
    is_awaited: bool,
    is_success: bool,
    code: Option<String>,
    tag: Option<String>,
    summary: Option<Summary>,
    tail: VecDeque<Bytes>,
    tail_bytes: usize,
}

/// Numbers are strings there.
#[derive(Debug, Deserialize)]
struct Summary {
    written_rows: Option<String>,
    result_rows: Option<String>,
}

impl StreamReader {
    /// For the execution that the client has given this name, if it has.
    pub(super) fn new(id: Option<String>, is_awaited: bool) -> Self {
        Self { id, is_awaited, is_success: false, code: None, tag: None, summary: None, tail: VecDeque::new(), tail_bytes: 0 }
    }

    /// The error that stands at the end of the body: `Some(None)` where it has no number.
    fn error(&self) -> Option<Option<String>> {
        let tail: Vec<u8> = self.tail.iter().flatten().copied().collect();
        match &self.tag {
            Some(tag) if self.is_success => {
                let end = format!("{tag}\r\n__exception__\r\n");
                let begin = format!("__exception__\r\n{tag}\r\n");
                let text = || place(&tail, begin.as_bytes()).and_then(|at| tail.get(at + begin.len()..));
                tail.ends_with(end.as_bytes()).then(|| text().and_then(number))
            }
            Some(_) | None => {
                let last = || (0..tail.len()).rev().find_map(|at| number(tail.get(at..)?)).filter(|_| tail.ends_with(b"\n"));
                number(&tail).filter(|_| !self.is_success).or_else(last).map(Some)
            }
        }
    }
}

impl Reader for StreamReader {
    fn head(&mut self, status: StatusCode, headers: &mut HeaderMap) -> Reading {
        let text = |name: &HeaderName| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        self.is_success = status.is_success();
        self.id = text(&super::QUERY_ID).filter(|id| !id.is_empty()).or(self.id.take());
        self.code = text(&EXCEPTION_CODE).filter(|code| code != "0");
        self.tag = text(&EXCEPTION_TAG);
        self.summary = text(&SUMMARY).and_then(|summary| serde_json::from_str(&summary).ok());
        Reading::Read
    }

    fn pass(&mut self, piece: Bytes) -> Bytes {
        self.tail_bytes += piece.len();
        self.tail.push_back(Bytes::clone(&piece));
        while let Some(first) = self.tail.front()
            && self.tail_bytes - first.len() >= TAIL_BYTES_MAX
        {
            self.tail_bytes -= first.len();
            self.tail.pop_front();
        }
        piece
    }

    fn progress(&mut self) -> Progress {
        let error = match &self.code {
            Some(code) => Some(Some(code.clone())),
            None => self.error(),
        };
        let end = match (self.is_success, error) {
            (_, Some(error)) => Some(End::Failed(error)),
            (true, None) => Some(End::Completed),
            // The status says all there is to know.
            (false, None) => None,
        };
        let count = |rows: Option<&String>| rows.and_then(|rows| rows.parse::<u64>().ok());
        let summary = self.summary.as_ref();
        let result = count(summary.and_then(|summary| summary.result_rows.as_ref())).filter(|_| self.is_awaited);
        Progress {
            id: self.id.take(),
            rows: result.unwrap_or(0),
            are_rows_uncounted: result.is_none(),
            changed: count(summary.and_then(|summary| summary.written_rows.as_ref())).filter(|rows| *rows > 0),
            end,
            ..Progress::default()
        }
    }
}

/// The number of the exception with which a text begins: `Code: 60. DB::Exception: ...`, or as older servers write it.
fn number(text: &[u8]) -> Option<String> {
    let rest = text.strip_prefix(b"Code: ")?;
    let digits = rest.iter().take(6).take_while(|byte| byte.is_ascii_digit()).count();
    let (number, rest) = rest.split_at_checked(digits).filter(|(number, _)| !number.is_empty())?;
    let is_exception = rest.starts_with(b". DB::") || rest.starts_with(b", e.displayText() = DB::");
    is_exception.then(|| String::from_utf8_lossy(number).into_owned())
}

fn place(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len()).rposition(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use hyper::StatusCode;
    use hyper::header::{HeaderMap, HeaderName, HeaderValue};

    use super::{StreamReader, TAIL_BYTES_MAX};
    use crate::warehouse::http::{End, Progress, Reader};

    fn read(status: u16, head: &[(&'static str, &'static str)], body: &[u8], cuts: &[usize], is_awaited: bool) -> Progress {
        let mut headers = HeaderMap::new();
        for (name, value) in head {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let mut reader = StreamReader::new(Some("chosen".to_owned()), is_awaited);
        reader.head(StatusCode::from_u16(status).unwrap(), &mut headers);
        let mut from = 0;
        for cut in cuts.iter().copied().chain([body.len()]) {
            let piece = Bytes::copy_from_slice(&body[from..cut]);
            assert_eq!(reader.pass(piece.clone()).as_ptr(), piece.as_ptr(), "passed on without a copy");
            from = cut;
        }
        reader.progress()
    }

    fn failed(code: &str) -> Option<End> {
        Some(End::Failed(Some(code.to_owned())))
    }

    #[test]
    fn the_head_says_name_rows_and_error() {
        let summary = ("x-clickhouse-summary", r#"{"read_rows":"3","written_rows":"5","result_rows":"3","elapsed_ns":"1"}"#);
        let told = read(200, &[("x-clickhouse-query-id", "q1"), summary], b"", &[], true);
        assert_eq!((told.id.as_deref(), told.rows, told.are_rows_uncounted, told.changed), (Some("q1"), 3, false, Some(5)));
        assert_eq!(told.end, Some(End::Completed));
        let told = read(200, &[summary], b"1\n", &[], false);
        assert_eq!((told.id.as_deref(), told.rows, told.are_rows_uncounted), (Some("chosen"), 0, true), "the head came before the rows");
        assert_eq!(read(403, &[("x-clickhouse-exception-code", "497")], b"Code: 497. DB::Exception: x\n", &[], false).end, failed("497"));
    }

    #[test]
    fn an_error_in_the_midst_of_the_result_is_seen_wherever_the_body_is_cut() {
        const TAGGED: &[u8] =
            b"1\n2\n\r\n__exception__\r\npvsehbnugohxocpe\r\nCode: 395. DB::Exception: no. (X)\n34 pvsehbnugohxocpe\r\n__exception__\r\n";
        const OLD: &[u8] = b"1\t2\nCode: 153, e.displayText() = DB::Exception: Division by zero, e.what() = DB::Exception\n";
        let tag = ("x-clickhouse-exception-tag", "pvsehbnugohxocpe");
        for cut in 0..=TAGGED.len() {
            assert_eq!(read(200, &[tag], TAGGED, &[cut], false).end, failed("395"), "cut at {cut}");
        }
        for cut in 0..=OLD.len() {
            assert_eq!(read(200, &[], OLD, &[cut], false).end, failed("153"), "cut at {cut}");
            assert_eq!(read(500, &[], OLD, &[cut], false).end, failed("153"), "cut at {cut}");
        }
        assert_eq!(read(500, &[], b"<html>", &[], false).end, None);
    }

    #[test]
    fn rows_that_look_like_an_error_are_none_where_the_server_marks_its_errors() {
        let tag = ("x-clickhouse-exception-tag", "pvsehbnugohxocpe");
        for rows in [
            &b"Code: 395. DB::Exception: told by a row\n"[..],
            b"\r\n__exception__\r\nother\r\nCode: 1. DB::E\n3 other\r\n__exception__\r\n",
        ] {
            assert_eq!(read(200, &[tag], rows, &[], false).end, Some(End::Completed));
        }
    }

    #[test]
    fn no_more_than_the_end_of_a_long_result_is_held() {
        let mut reader = StreamReader::new(None, false);
        reader.head(StatusCode::OK, &mut HeaderMap::new());
        for _ in 0..1000 {
            reader.pass(Bytes::from(vec![b'1'; 8 * 1024]));
            assert!(reader.tail_bytes <= TAIL_BYTES_MAX + 8 * 1024);
        }
        reader.pass(Bytes::from_static(b"\nCode: 241. DB::Exception: Memory limit\n"));
        assert_eq!(reader.progress().end, failed("241"));
    }
}
