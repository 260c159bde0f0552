//! What a request is about, by its method, its path and what stands behind `?`.
//!
//! Source: BigQuery's REST reference, v2, and its discovery document. Google's servers read a path decoded, so one that is written in
//! another way than a client would is refused: it could be a request that is judged, in a form in which it is not known.

use hyper::Method;
use openidconnect::url::form_urlencoded;

use crate::warehouse::http::Head;

const API: &str = "/bigquery/v2/projects/";
const UPLOAD: &str = "/upload/bigquery/v2/projects/";
/// Several requests in the body of one; and another way to begin a job with an upload.
const REFUSED: &[&str] = &["/batch", "/resumable/"];

/// Where a job runs that says nothing of it, and where one is looked for.
const LOCATION: &str = "US";

/// What a request is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address {
    /// The project that it is sent to: jobs run there and are paid by it, and datasets without a project are there.
    pub(super) project: String,
    /// What is asked there.
    pub(super) endpoint: Endpoint,
}

/// A method of the API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Endpoint {
    /// `jobs.insert`.
    InsertJob,
    /// `jobs.query`.
    Query,
    /// `jobs.insert` of a load job whose data comes with requests that follow.
    BeginUpload,
    /// The data of an upload, by the execution's name.
    Upload(String),
    /// `jobs.get`, by the execution's name.
    Job(String),
    /// `jobs.getQueryResults`, by the execution's name.
    Results(String),
    /// `jobs.cancel`, by the execution's name.
    Cancel(String),
    /// The table that holds a query's result in a hidden dataset, by the name that the execution has from it.
    ResultTable(String),
    /// The rows of such a table.
    ResultRows(String),
    /// Metadata, or rows without a job.
    Resource(Resource),
}

/// A thing in a project, and what is done to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Resource {
    /// What is done.
    pub(super) verb: Verb,
    /// What it is.
    pub(super) kind: Kind,
    /// The dataset; none for the list of datasets, or for one that is made.
    pub(super) dataset: Option<String>,
    /// Its own name; none for lists, for what is made and for a dataset.
    pub(super) name: Option<String>,
}

impl Resource {
    /// The API's method, as in `tables.delete`.
    pub(super) fn method(&self) -> String {
        let kind = match self.verb {
            Verb::ListRows | Verb::InsertRows => "tabledata",
            Verb::List | Verb::Get | Verb::Insert | Verb::Patch | Verb::Update | Verb::Delete => self.kind.as_str(),
        };
        format!("{kind}.{}", self.verb.as_str())
    }
}

/// A kind of resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Dataset,
    Table,
    Routine,
}

/// What is done to a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    List,
    Get,
    Insert,
    Patch,
    Update,
    Delete,
    /// `tabledata.list`.
    ListRows,
    /// `tabledata.insertAll`.
    InsertRows,
}

/// The address of a request; `None` for what is not known here.
///
/// # Errors
/// What is wrong with it: it must not be passed on, whatever policy says.
pub(super) fn read(head: &Head<'_>) -> Result<Option<Address>, &'static str> {
    plain(head.path)?;
    if REFUSED.iter().any(|refused| head.path.starts_with(refused)) {
        return Err("this endpoint is not served: what it runs cannot be told from its path");
    }
    if let Some(rest) = head.path.strip_prefix(UPLOAD) {
        return upload(head, rest).map(Some);
    }
    let Some(rest) = head.path.strip_prefix(API) else { return Ok(None) };
    let mut segments = rest.split('/');
    let project = segments.next().unwrap_or_default();
    let segments: Vec<&str> = segments.collect();
    let Some(asked) = Asked::of(head.method, &segments) else { return Ok(None) };
    let project = self::project(project)?;
    let parameters = Parameters::read(head.query)?;
    let location = parameters.location.as_deref();
    let endpoint = match asked {
        Asked::InsertJob => Endpoint::InsertJob,
        Asked::Query => Endpoint::Query,
        Asked::Job(id) => Endpoint::Job(job(&project, location, id)?),
        Asked::Results(id) => Endpoint::Results(job(&project, location, id)?),
        Asked::Cancel(id) => Endpoint::Cancel(job(&project, location, id)?),
        Asked::Resource(verb, kind, names) => resource(&project, verb, kind, names)?,
    };
    Ok(Some(Address { project, endpoint }))
}

/// A request by its path's words, with names still as they came.
enum Asked<'a> {
    InsertJob,
    Query,
    Job(&'a str),
    Results(&'a str),
    Cancel(&'a str),
    Resource(Verb, Kind, [Option<&'a str>; 2]),
}

impl<'a> Asked<'a> {
    fn of(method: &Method, segments: &[&'a str]) -> Option<Self> {
        let (verb, kind, names) = match (method.as_str(), segments) {
            ("POST", ["jobs"]) => return Some(Self::InsertJob),
            ("POST", ["queries"]) => return Some(Self::Query),
            ("GET", ["jobs", id]) => return Some(Self::Job(id)),
            ("GET", ["queries", id]) => return Some(Self::Results(id)),
            ("POST", ["jobs", id, "cancel"]) => return Some(Self::Cancel(id)),
            ("GET", ["datasets"]) => (Verb::List, Kind::Dataset, [None; 2]),
            ("POST", ["datasets"]) => (Verb::Insert, Kind::Dataset, [None; 2]),
            (method, ["datasets", dataset]) => (Verb::of(method)?, Kind::Dataset, [Some(*dataset), None]),
            ("GET", ["datasets", dataset, kind]) => (Verb::List, Kind::of(kind)?, [Some(*dataset), None]),
            ("POST", ["datasets", dataset, kind @ ("tables" | "routines")]) => (Verb::Insert, Kind::of(kind)?, [Some(*dataset), None]),
            ("GET", ["datasets", dataset, "tables", table, "data"]) => (Verb::ListRows, Kind::Table, [Some(*dataset), Some(*table)]),
            ("POST", ["datasets", dataset, "tables", table, "insertAll"]) => {
                (Verb::InsertRows, Kind::Table, [Some(*dataset), Some(*table)])
            }
            (method, ["datasets", dataset, kind, name]) => (Verb::of(method)?, Kind::of(kind)?, [Some(*dataset), Some(*name)]),
            _ => return None,
        };
        Some(Self::Resource(verb, kind, names))
    }
}

impl Verb {
    fn of(method: &str) -> Option<Self> {
        match method {
            "GET" => Some(Self::Get),
            "PATCH" => Some(Self::Patch),
            "PUT" => Some(Self::Update),
            "DELETE" => Some(Self::Delete),
            _ => None,
        }
    }

    /// The API's word for it.
    fn as_str(self) -> &'static str {
        match self {
            Self::List | Self::ListRows => "list",
            Self::Get => "get",
            Self::Insert => "insert",
            Self::Patch => "patch",
            Self::Update => "update",
            Self::Delete => "delete",
            Self::InsertRows => "insertAll",
        }
    }
}

impl Kind {
    fn of(word: &str) -> Option<Self> {
        match word {
            "tables" => Some(Self::Table),
            "routines" => Some(Self::Routine),
            _ => None,
        }
    }

    /// The API's word for them.
    fn as_str(self) -> &'static str {
        match self {
            Self::Dataset => "datasets",
            Self::Table => "tables",
            Self::Routine => "routines",
        }
    }
}

fn resource(project: &str, verb: Verb, kind: Kind, names: [Option<&str>; 2]) -> Result<Endpoint, &'static str> {
    let [dataset, name] = names;
    let dataset = dataset.map(self::dataset).transpose()?;
    let name = name.map(decoded).transpose()?;
    let name = match (kind, name) {
        (Kind::Table, Some(name)) => Some(table(&name)?.to_owned()),
        (Kind::Dataset | Kind::Routine, Some(name)) => Some(self::dataset(&name)?),
        (Kind::Dataset | Kind::Table | Kind::Routine, None) => None,
    };
    // Results of queries lie in datasets that are hidden because their names begin so; nobody else can put a table there.
    if let (Some(hidden), Kind::Table, Some(table)) = (dataset.as_deref().filter(|name| name.starts_with('_')), kind, &name) {
        let result = result(project, hidden, table);
        match verb {
            Verb::Get => return Ok(Endpoint::ResultTable(result)),
            Verb::ListRows => return Ok(Endpoint::ResultRows(result)),
            Verb::List | Verb::Insert | Verb::Patch | Verb::Update | Verb::Delete | Verb::InsertRows => {}
        }
    }
    Ok(Endpoint::Resource(Resource { verb, kind, dataset, name }))
}

fn upload(head: &Head<'_>, rest: &str) -> Result<Address, &'static str> {
    let Some(project) = rest.strip_suffix("/jobs") else { return Err("nothing but load jobs can be uploaded to") };
    let project = self::project(project)?;
    let parameters = Parameters::read(head.query)?;
    if parameters.upload_type.as_deref() != Some("resumable") || head.headers.contains_key("x-goog-upload-protocol") {
        return Err("only resumable uploads are served: uploadType=resumable");
    }
    let endpoint = match (head.method, parameters.upload_id) {
        (&Method::POST, None) => Endpoint::BeginUpload,
        (&Method::PUT | &Method::DELETE, Some(id)) => Endpoint::Upload(super::reply::upload_name(&id)),
        _ => return Err("a resumable upload begins with POST and goes on with PUT to where it was sent"),
    };
    Ok(Address { project, endpoint })
}

/// What may stand behind `?`, as far as it has to be known.
#[derive(Debug, Default)]
struct Parameters {
    location: Option<String>,
    upload_type: Option<String>,
    upload_id: Option<String>,
}

/// Parameters that choose a page, a form of values or an amount of detail, and nothing else.
const HARMLESS: &[&str] = &[
    "accessPolicyVersion",
    "all",
    "autodetect_schema",
    "datasetView",
    "deleteContents",
    "filter",
    "formatOptions.timestampOutputFormat",
    "formatOptions.useInt64Timestamp",
    "maxResults",
    "pageToken",
    "prettyPrint",
    "projection",
    "readMask",
    "selectedFields",
    "startIndex",
    "timeoutMs",
    "updateMode",
    "view",
];

impl Parameters {
    fn read(query: Option<&str>) -> Result<Self, &'static str> {
        let (mut read, mut seen) = (Self::default(), Vec::new());
        for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            if seen.contains(&name) {
                return Err("a parameter stands twice behind the path");
            }
            match &*name {
                "location" => read.location = Some(value.into_owned()),
                "uploadType" => read.upload_type = Some(value.into_owned()),
                "upload_id" => read.upload_id = Some(value.into_owned()),
                "alt" if value == "json" => {}
                // Of a reply without it nobody knows whether it was the last page.
                "fields" if value.split(',').any(|field| field == "pageToken") || !value.contains("rows") => {}
                known if HARMLESS.contains(&known) => {}
                _ => return Err("a parameter behind the path is not known, or has a value that is not served"),
            }
            seen.push(name);
        }
        Ok(read)
    }
}

/// Refuses a path that Google's servers could read as another one.
fn plain(path: &str) -> Result<(), &'static str> {
    let has_needless_escape = path.split('%').skip(1).any(|rest| {
        let digits = rest.get(..2).filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
        let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        byte.is_none_or(|byte| byte.is_ascii_alphanumeric() || b"-._~/\\%;?#:".contains(&byte) || byte.is_ascii_control())
    });
    let is_odd = ["//", "/./", "/../", "\\", ";"].iter().any(|odd| path.contains(odd)) || (path.len() > 1 && path.ends_with(['/', '.']));
    if has_needless_escape || is_odd { Err("the path is not written in its plain form") } else { Ok(()) }
}

fn decoded(name: &str) -> Result<String, &'static str> {
    // These mean nothing in a path, but something to the decoder.
    if name.contains(['+', '&', '=']) {
        return Err("a name in the path has a character that none can have");
    }
    let decoded = form_urlencoded::parse(name.as_bytes()).next().map(|(name, _)| name.into_owned());
    decoded.filter(|name| !name.contains('\u{fffd}')).ok_or("a name in the path is not UTF-8")
}

/// The name of a project.
///
/// # Errors
/// It is none, or a number: one project would have two names.
pub(super) fn project(name: &str) -> Result<String, &'static str> {
    let is_plain = (1..=100).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte));
    let is_number = name.bytes().all(|byte| byte.is_ascii_digit());
    if is_plain && !is_number { Ok(name.to_owned()) } else { Err("a project is named by its id") }
}

/// The name of a dataset or a routine.
///
/// # Errors
/// It is none.
pub(super) fn dataset(name: &str) -> Result<String, &'static str> {
    let is_plain = (1..=1024).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    if is_plain { Ok(name.to_owned()) } else { Err("the name of a dataset has a character that none can have") }
}

/// The name of a table, without the partition (`$`) or the moment (`@`) that stands behind it.
///
/// # Errors
/// It is none.
pub(super) fn table(name: &str) -> Result<&str, &'static str> {
    let name = name.split(['$', '@']).next().unwrap_or_default();
    let may_stand = |c: char| if c.is_ascii() { c.is_ascii_alphanumeric() || "-_ ".contains(c) } else { !c.is_control() };
    let is_plain = (1..=1024).contains(&name.len()) && name.chars().all(may_stand);
    if is_plain { Ok(name) } else { Err("the name of a table has a character that none can have") }
}

/// The name of an execution: `PROJECT:LOCATION.JOB`, as BigQuery writes it. Jobs of one name are different ones in different places, so
/// where the client names no place, it is looked for in none but the default.
///
/// # Errors
/// The job's name or its location is none.
pub(super) fn job(project: &str, location: Option<&str>, id: &str) -> Result<String, &'static str> {
    let is_plain =
        |word: &str| (1..=1024).contains(&word.len()) && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    let location = location.unwrap_or(LOCATION);
    if !is_plain(id) || !is_plain(location) {
        return Err("the name of a job or its location has a character that none can have");
    }
    // Multi-regions are written in capitals, regions are not.
    let location = if location.len() == 2 { location.to_ascii_uppercase() } else { location.to_ascii_lowercase() };
    Ok(format!("{project}:{location}.{id}"))
}

/// The name that an execution has from the table of its result.
pub(super) fn result(project: &str, dataset: &str, table: &str) -> String {
    format!("{project}:{dataset}.{table}")
}
