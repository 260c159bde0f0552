use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION};

use super::{UPLOAD, ask, ask_with, effects, headers, query, run};
use crate::warehouse::http::{Call, End, Progress, Reading};

/// What a reader makes of a reply that comes in two pieces.
fn told(line: &str, body: &str, status: u16, reply: &str, cut: usize) -> Progress {
    let (_, mut reader) = ask_with(line, body, &headers()).unwrap();
    let mut head = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=UTF-8"))]);
    let reading = reader.head(StatusCode::from_u16(status).unwrap(), &mut head);
    if reading == Reading::Read {
        for piece in [&reply[..cut], &reply[cut..]] {
            let passed = reader.pass(Bytes::copy_from_slice(piece.as_bytes()));
            assert_eq!(passed, piece.as_bytes(), "replies are not changed");
        }
        assert!(reader.finish().is_empty());
    }
    reader.progress()
}

const JOB: &str = r#"{"kind":"bigquery#job","id":"jaffle:j-1","jobReference":{"projectId":"jaffle","jobId":"j-1","location":"US"},"configuration":{"query":{"query":"select 1","destinationTable":{"projectId":"jaffle","datasetId":"_anon","tableId":"anon1"}}},"status":{"state":"DONE"},"statistics":{"query":{"totalBytesProcessed":"0"}}}"#;
const PAGE: &str = r#"{"jobReference":{"projectId":"jaffle","jobId":"j-1"},"jobComplete":true,"rows":[{"f":[{"v":"1"}]},{"f":[{"v":"jobComplete\":false"}]}],"totalRows":"2"}"#;

#[test]
fn replies_cut_anywhere_say_the_same() {
    for (line, body, reply) in [("POST jobs", query("").as_str(), JOB), ("GET jobs/j-1", "", JOB), ("GET queries/j-1", "", PAGE)] {
        let whole = format!("{:?}", told(line, body, 200, reply, 0));
        for cut in 1..=reply.len() {
            assert_eq!(format!("{:?}", told(line, body, 200, reply, cut)), whole, "{line} cut at {cut}");
        }
    }
}

#[test]
fn a_job_is_over_when_it_says_so_and_its_rows_have_been_read() {
    let failed = |name: &str| Some(End::Failed(Some(name.to_owned())));
    let made = JOB.replace("_anon", "analytics");
    let dml = made.replace(r#""totalBytesProcessed":"0""#, r#""numDmlAffectedRows":"5""#);
    let error = |state: &str, reason: &str| JOB.replace(r#""DONE""#, &format!(r#""{state}","errorResult":{{"reason":"{reason}"}}"#));
    let complete = |rest: &str| format!(r#"{{"jobReference":{{"projectId":"jaffle","jobId":"j-1"}},"jobComplete":true{rest}}}"#);
    for (line, status, reply, end, rows, changed) in [
        ("POST jobs", 200, JOB.to_owned(), None, 0, None),
        ("POST jobs", 200, made, Some(End::Completed), 0, None),
        ("POST jobs", 200, dml, Some(End::Completed), 0, Some(5)),
        ("POST jobs", 200, JOB.replace("DONE", "RUNNING"), None, 0, None),
        ("POST jobs", 200, error("DONE", "invalidQuery"), failed("invalidQuery"), 0, None),
        ("POST jobs", 409, r#"{"error":{"code":409,"status":"ALREADY_EXISTS"}}"#.to_owned(), failed("ALREADY_EXISTS"), 0, None),
        ("POST jobs", 503, "{}".to_owned(), failed("HTTP_503"), 0, None),
        ("POST jobs", 200, JOB[..JOB.len() - 1].replace("_anon", "analytics"), None, 0, None),
        ("GET jobs/j-1", 200, error("DONE", "stopped"), Some(End::Cancelled), 0, None),
        ("GET jobs/j-1", 404, r#"{"error":{"code":404,"status":"NOT_FOUND"}}"#.to_owned(), None, 0, None),
        ("GET queries/j-1", 200, PAGE.to_owned(), Some(End::Completed), 2, None),
        ("GET queries/j-1", 200, complete(r#","totalRows":"2","rows":[],"pageToken":"0""#), None, 0, None),
        ("GET queries/j-1", 200, complete(r#","totalRows":"2""#), None, 0, None),
        ("GET queries/j-1", 200, complete(r#","totalRows":"0","numDmlAffectedRows":"7""#), Some(End::Completed), 0, Some(7)),
        ("GET queries/j-1", 200, complete(r#","rows":[{}],"totalRows":"9","pageToken":"p""#), None, 1, None),
        ("GET queries/j-1", 200, r#"{"jobComplete":false}"#.to_owned(), None, 0, None),
        ("GET queries/j-1", 400, r#"{"error":{"status":"INVALID_ARGUMENT"}}"#.to_owned(), failed("INVALID_ARGUMENT"), 0, None),
        ("GET queries/j-1", 429, r#"{"error":{"status":"RESOURCE_EXHAUSTED"}}"#.to_owned(), None, 0, None),
        ("GET datasets/_anon/tables/anon1/data", 200, r#"{"totalRows":"1","rows":[{"f":[]}]}"#.to_owned(), Some(End::Completed), 1, None),
        ("GET datasets/_anon/tables/anon1", 200, r#"{"numRows":"1"}"#.to_owned(), None, 0, None),
        ("POST jobs/j-1/cancel", 200, format!(r#"{{"job":{JOB}}}"#), Some(End::Completed), 0, None),
        ("POST jobs/j-1/cancel", 200, format!(r#"{{"job":{}}}"#, JOB.replace("DONE", "RUNNING")), None, 0, None),
        ("GET datasets/a/tables/t/data", 200, r#"{"totalRows":"9","rows":[{}],"pageToken":"p"}"#.to_owned(), Some(End::Completed), 1, None),
        ("DELETE datasets/a/tables/t", 204, String::new(), Some(End::Completed), 0, None),
        ("DELETE datasets/a/tables/t", 404, r#"{"error":{"status":"NOT_FOUND"}}"#.to_owned(), failed("NOT_FOUND"), 0, None),
    ] {
        let body = if line == "POST jobs" { query("") } else { String::new() };
        let progress = told(line, &body, status, &reply, 0);
        assert_eq!((progress.end, progress.rows, progress.changed), (end, rows, changed), "{line} {status} {reply}");
        assert_eq!(progress.id.is_some(), line == "POST jobs" && status == 200, "{line} {status} {reply}");
    }
}

#[test]
fn the_names_of_a_job_come_from_the_reply_to_who_began_it_alone() {
    let progress = told("POST jobs", &query(""), 200, JOB, 0);
    assert_eq!((progress.id.as_deref(), progress.names), (Some("jaffle:US.j-1"), vec!["jaffle:_anon.anon1".to_owned()]));
    let elsewhere = JOB.replace(r#""US""#, r#""EU""#);
    assert_eq!(told("POST jobs", &query(""), 200, &elsewhere, 0).id.as_deref(), Some("jaffle:EU.j-1"));
    let dry = query("").replace(r#""configuration": {"#, r#""configuration": {"dryRun": true, "#);
    let progress = told("POST jobs", &dry, 200, JOB, 0);
    assert_eq!((progress.id, progress.names, progress.end), (None, Vec::new(), Some(End::Completed)));
    assert!(run("POST jobs", &dry).names.is_empty(), "a job that is not made lends nobody its name");
    let without_a_job = r#"{"queryId":"job_x!1","jobComplete":true,"rows":[{}],"totalRows":"1"}"#;
    let body = r#"{"query": "select 1", "useLegacySql": false}"#;
    let progress = told("POST queries", body, 200, without_a_job, 0);
    assert_eq!((progress.id.as_deref(), progress.rows, progress.end), (Some("job_x!1"), 1, Some(End::Completed)));
    assert_eq!(told("GET jobs/j-1", "", 200, &elsewhere, 0).id, None);
    assert_eq!(told(&format!("PUT {UPLOAD}?uploadType=resumable&upload_id=1"), "", 200, JOB, 0).id.as_deref(), Some("jaffle:US.j-1"));
}

#[test]
fn where_an_upload_goes_on_is_here_and_its_id_is_in_no_record() {
    let load = r#"{"configuration": {"load": {"destinationTable": {"projectId": "jaffle", "datasetId": "a", "tableId": "t"}}}}"#;
    let begin = format!("POST {UPLOAD}?uploadType=resumable");
    let far = "https://bigquery.googleapis.com/upload/bigquery/v2/projects/jaffle/jobs?uploadType=resumable&upload_id=s3cret";
    let begun = |location: &str| {
        let (_, mut reader) = ask_with(&begin, load, &headers()).unwrap();
        let mut head = HeaderMap::from_iter([(LOCATION, HeaderValue::from_str(location).unwrap())]);
        assert_eq!(reader.head(StatusCode::OK, &mut head), Reading::Pass);
        (head.get(LOCATION).map(|near| near.to_str().unwrap().to_owned()), reader.progress().id)
    };
    let (near, id) = begun(far);
    assert_eq!(near.as_deref(), Some(far.replace("https://bigquery.googleapis.com", "http://near:1").as_str()));
    let Ok(Call::Follow(handle)) = ask(&format!("PUT {UPLOAD}?uploadType=resumable&upload_id=s3cret"), "") else { panic!() };
    assert_eq!(id, Some(handle.id));
    assert_eq!(begun("https://elsewhere.example/x"), (None, None), "an address that does not lead back is not passed on");
    let put = format!("PUT {UPLOAD}?uploadType=resumable&upload_id=s3cret");
    for (status, end) in
        [(308, None), (503, None), (429, None), (499, Some(End::Cancelled)), (400, Some(End::Failed(Some("HTTP_400".to_owned()))))]
    {
        assert_eq!(told(&put, "", status, "{}", 0).end, end, "{status}");
    }
    let loaded = JOB.replace(r#""query":{"totalBytesProcessed":"0"}"#, r#""load":{"outputRows":"3"}"#).replace("_anon", "a");
    let progress = told(&put, "", 200, &loaded, 0);
    assert_eq!((progress.end, progress.changed), (Some(End::Completed), Some(3)));
}

/// An exchange of google-cloud-bigquery 3.47 and bqemulator 1.4, as a sniffer between them wrote it down; pages of rows are cut short.
#[derive(serde::Deserialize)]
struct Exchange {
    request: String,
    body: String,
    status: u16,
    content_type: String,
    #[serde(default)]
    location: String,
    reply: String,
}

impl Exchange {
    /// What it means, with the reply cut in two.
    fn meaning(&self, cut: usize) -> String {
        let (call, mut reader) = ask_with(&self.request, &self.body, &headers()).unwrap();
        let asked = match call {
            Call::Run(statement) => format!(
                "run {:?} in {}.{} as {:?}: {}",
                String::from_utf8_lossy(statement.text.as_bytes()),
                statement.database,
                statement.schema.as_deref().unwrap_or("-"),
                statement.names,
                effects(&statement).join(", ")
            ),
            other @ (Call::Move { .. } | Call::Follow(_) | Call::Service | Call::Answer(_) | Call::Other) => format!("{other:?}"),
        };
        let mut head = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_str(&self.content_type).unwrap())]);
        if !self.location.is_empty() {
            head.insert(LOCATION, HeaderValue::from_str(&self.location).unwrap());
        }
        if reader.head(StatusCode::from_u16(self.status).unwrap(), &mut head) == Reading::Read {
            for piece in [&self.reply[..cut], &self.reply[cut..]] {
                assert_eq!(reader.pass(Bytes::copy_from_slice(piece.as_bytes())), piece.as_bytes());
            }
        }
        let Progress { id, names, rows, changed, end, .. } = reader.progress();
        format!("{asked}\n    {} {id:?} {names:?}, {rows} rows, {changed:?} changed, {end:?}\n", self.status)
    }
}

#[test]
fn a_recorded_session_means_what_is_written_beside_it_however_its_replies_are_cut() {
    let data = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/http-bigquery"));
    let recorded = std::fs::read_to_string(data.join("session.jsonl")).unwrap();
    let mut found = String::new();
    for line in recorded.lines() {
        let exchange: Exchange = serde_json::from_str(line).unwrap();
        let whole = exchange.meaning(0);
        for cut in 1..=exchange.reply.len() {
            assert_eq!(exchange.meaning(cut), whole, "cut at {cut}");
        }
        found.push_str(&whole);
    }
    let expected = data.join("session.meaning");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&expected, &found).unwrap();
    }
    assert_eq!(std::fs::read_to_string(expected).unwrap(), found);
}
