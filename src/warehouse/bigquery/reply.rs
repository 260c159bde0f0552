//! What BigQuery's replies say of an execution.

use aws_lc_rs::digest;
use hyper::StatusCode;
use hyper::header::{HeaderMap, HeaderValue, LOCATION};
use openidconnect::url::{Url, form_urlencoded};

use super::address;
use crate::warehouse::http::json::{Field, Found, JsonReader, Reply, Treatment};
use crate::warehouse::http::{End, Progress, Reader, Reading};

const fn read(path: &'static [&'static str]) -> Field {
    Field { path, treatment: Treatment::Read }
}

/// Of a job: `jobs.insert`, `jobs.get`, `jobs.cancel` and the end of an upload.
const JOB: &[Field] = &[
    read(&["jobReference", "projectId"]),
    read(&["jobReference", "location"]),
    read(&["jobReference", "jobId"]),
    read(&["error", "status"]),
    read(&["status", "state"]),
    read(&["status", "errorResult", "reason"]),
    read(&["statistics", "query", "numDmlAffectedRows"]),
    read(&["statistics", "load", "outputRows"]),
    read(&["statistics", "copy", "copiedRows"]),
    read(&["configuration", "query", "destinationTable", "projectId"]),
    read(&["configuration", "query", "destinationTable", "datasetId"]),
    read(&["configuration", "query", "destinationTable", "tableId"]),
];

/// Of a page of rows: `jobs.query`, `jobs.getQueryResults` and `tabledata.list`.
const ROWS: &[Field] = &[
    read(&["jobReference", "projectId"]),
    read(&["jobReference", "location"]),
    read(&["jobReference", "jobId"]),
    read(&["error", "status"]),
    read(&["queryId"]),
    read(&["jobComplete"]),
    read(&["totalRows"]),
    Field { path: &["rows"], treatment: Treatment::Count },
    read(&["pageToken"]),
    read(&["numDmlAffectedRows"]),
];

/// Reads the reply to `jobs.insert`.
pub(super) fn inserted() -> Box<dyn Reader> {
    Box::new(JsonReader::new(JOB, "", |reply| began(reply, job(reply))))
}

/// Reads the reply to a request about a job.
pub(super) fn followed() -> Box<dyn Reader> {
    Box::new(JsonReader::new(JOB, "", job))
}

/// Reads the reply to `jobs.query`.
pub(super) fn queried() -> Box<dyn Reader> {
    Box::new(JsonReader::new(ROWS, "", |reply| {
        // Of a query for which no job was made there is nothing but this.
        let id = reply.found.get(4).and_then(Found::value).map(str::to_owned);
        began(reply, Progress { id, ..rows(reply) })
    }))
}

/// Reads a page of rows.
pub(super) fn page() -> Box<dyn Reader> {
    Box::new(JsonReader::new(ROWS, "", rows))
}

/// Reads the reply to a request that is done when it is answered.
pub(super) fn done() -> Box<dyn Reader> {
    Box::new(JsonReader::new(ROWS, "", |reply| {
        let end = if reply.status.is_success() { End::Completed } else { failed(reply) };
        Progress { end: Some(end), ..rows(reply) }
    }))
}

/// Reads the reply to the data of an upload.
pub(super) fn uploaded() -> Box<dyn Reader> {
    Box::new(JsonReader::new(JOB, "", |reply| match reply.status.as_u16() {
        // It was given up, and the client asked for that (Google's documentation of resumable uploads).
        499 => Progress { end: Some(End::Cancelled), ..Progress::default() },
        // These may be sent again.
        408 | 429 => Progress::default(),
        400..=498 => Progress { end: Some(failed(reply)), ..Progress::default() },
        _ => named(reply, job(reply)),
    }))
}

/// Reads the reply to `jobs.cancel`. BigQuery takes the wish to its notice and answers at once; what has ended says so.
pub(super) fn cancelled() -> Box<dyn Reader> {
    const FIELDS: &[Field] = &[read(&["job", "status", "state"]), read(&["job", "status", "errorResult", "reason"])];
    Box::new(JsonReader::new(FIELDS, "", |reply| match reply.found {
        [state, error] => Progress { end: ended(state, error), ..Progress::default() },
        _ => Progress::default(),
    }))
}

/// Reads the reply to the beginning of an upload, whose `Location` it makes lead to `near`.
pub(super) fn upload_begun(near: &str) -> Box<dyn Reader> {
    Box::new(UploadBegun { near: near.to_owned(), name: None })
}

/// The name of an execution whose data is uploaded. Whoever knows the upload's own id can send its data, so that goes into no record.
pub(super) fn upload_name(id: &str) -> String {
    let digest = digest::digest(&digest::SHA256, id.as_bytes());
    let hex: String = digest.as_ref().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    format!("upload:{hex}")
}

#[derive(Debug)]
struct UploadBegun {
    near: String,
    name: Option<String>,
}

impl Reader for UploadBegun {
    fn head(&mut self, status: StatusCode, headers: &mut HeaderMap) -> Reading {
        let location = headers.remove(LOCATION).filter(|_| status.is_success());
        let address = location.as_ref().and_then(|location| Url::parse(location.to_str().ok()?).ok());
        if let Some(address) = address {
            let near = format!("{}{}?{}", self.near, address.path(), address.query().unwrap_or_default());
            let id = form_urlencoded::parse(address.query().unwrap_or_default().as_bytes()).find(|(name, _)| name == "upload_id");
            if let (Some((_, id)), Ok(near)) = (id, HeaderValue::try_from(near)) {
                self.name = Some(upload_name(&id));
                headers.insert(LOCATION, near);
            }
        }
        Reading::Pass
    }

    fn progress(&mut self) -> Progress {
        Progress { id: self.name.take(), ..Progress::default() }
    }
}

/// What a job says of itself. Where its result lies in a hidden table, it is over when that has been read.
fn job(reply: &Reply<'_>) -> Progress {
    let [_, _, _, _, state, error, dml, loaded, copied, project, dataset, table] = reply.found else { return Progress::default() };
    let result = match (project.value(), dataset.value(), table.value()) {
        (Some(project), Some(dataset), Some(table)) if dataset.starts_with('_') => Some(address::result(project, dataset, table)),
        _ => None,
    };
    let end = ended(state, error).filter(|end| result.is_none() || *end != End::Completed);
    let changed = [dml, loaded, copied].into_iter().find_map(|count| count.value()?.parse().ok());
    Progress { changed, end: end.filter(|_| reply.is_whole), names: result.into_iter().collect(), ..Progress::default() }
}

fn ended(state: &Found, error: &Found) -> Option<End> {
    match (state.value(), error.value()) {
        (Some("DONE"), None) => Some(End::Completed),
        (Some("DONE"), Some("stopped")) => Some(End::Cancelled),
        (Some("DONE"), Some(reason)) => Some(End::Failed(Some(reason.to_owned()))),
        (Some(_) | None, _) => None,
    }
}

/// What a page of rows says. With the last one the execution is over.
fn rows(reply: &Reply<'_>) -> Progress {
    let [_, _, _, _, _, complete, total, rows, token, dml] = reply.found else { return Progress::default() };
    let has_more = token.value().is_some_and(|token| !token.is_empty() && token != "null");
    let count = rows.elements().unwrap_or(0);
    let is_known = complete.value() == Some("true") || (complete == &Found::Absent && total != &Found::Absent);
    let is_read = count > 0 || total.value().is_none_or(|total| total == "0");
    let end = match reply.status {
        // So a question for the result says that the query failed.
        StatusCode::BAD_REQUEST => Some(failed(reply)),
        status if status.is_success() && reply.is_whole && is_known && is_read && !has_more => Some(End::Completed),
        _ => None,
    };
    Progress { rows: count, changed: dml.value().and_then(|count| count.parse().ok()), end, ..Progress::default() }
}

/// The reply to a request that begins a job.
fn began(reply: &Reply<'_>, progress: Progress) -> Progress {
    if reply.status.is_success() { named(reply, progress) } else { Progress { end: Some(failed(reply)), ..progress } }
}

/// With the job's own name, as far as the reply says it.
fn named(reply: &Reply<'_>, progress: Progress) -> Progress {
    let [project, location, id, ..] = reply.found else { return progress };
    let name = project.value().zip(id.value()).and_then(|(project, id)| address::job(project, location.value(), id).ok());
    Progress { id: name.or(progress.id), ..progress }
}

fn failed(reply: &Reply<'_>) -> End {
    let error = reply.found.get(3).and_then(Found::value);
    End::Failed(Some(error.map_or_else(|| format!("HTTP_{}", reply.status.as_u16()), str::to_owned)))
}
