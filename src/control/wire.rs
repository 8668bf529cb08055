//! How answers stand in JSON: `apiVersion` and `kind` at the top of each, items of lists below.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::view::{self, API_VERSION};
use super::{Answer, Failure, Page};

/// A view that stands alone, with its name.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Object<'a, T> {
    api_version: &'static str,
    kind: &'static str,
    #[serde(flatten)]
    view: &'a T,
}

/// A list of views, or a page of one.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct List<'a, T> {
    api_version: &'static str,
    kind: &'static str,
    items: &'a [T],
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<&'a str>,
}

/// A view that has a name of its own in JSON.
pub trait Kind: Serialize + DeserializeOwned {
    /// `kind` where it stands alone.
    const KIND: &'static str;
    /// `kind` of a list of them.
    const LIST: &'static str;

    /// The view with its name, ready to be written.
    fn object(&self) -> Object<'_, Self> {
        Object { api_version: API_VERSION, kind: Self::KIND, view: self }
    }
}

macro_rules! kinds {
    ($($view:ty: $kind:literal, $list:literal;)*) => {
        $(impl Kind for $view {
            const KIND: &'static str = $kind;
            const LIST: &'static str = $list;
        })*
    };
}

kinds! {
    view::Status: "Status", "StatusList";
    view::Peer: "Peer", "PeerList";
    view::Route: "Route", "RouteList";
    view::RouteChange: "RouteChange", "RouteChangeList";
    view::RouteChanges: "RouteChanges", "RouteChangesList";
    view::TableDump: "TableDump", "TableDumpList";
    view::Path: "Path", "PathList";
    view::Rejected: "RejectedRoute", "RejectedRouteList";
    view::KernelRoute: "KernelRoute", "KernelRouteList";
    view::Config: "Config", "ConfigList";
    view::Reload: "ConfigReload", "ConfigReloadList";
    view::Done: "Done", "DoneList";
    view::Drain: "Drain", "DrainList";
    view::Policy: "Policy", "PolicyList";
    view::PodPolicies: "PodPolicies", "PodPoliciesList";
    view::Matrix: "PolicyMatrix", "PolicyMatrixList";
    view::Finding: "PolicyFinding", "PolicyFindingList";
    view::RuleHits: "PolicyRuleHits", "PolicyRuleHitsList";
    view::Endpoint: "Endpoint", "EndpointList";
    view::Explanation: "Explanation", "ExplanationList";
    view::DeniedFlow: "DeniedFlow", "DeniedFlowList";
    view::PolicyTestReport: "PolicyTestReport", "PolicyTestReportList";
}

/// Writes an answer in JSON.
///
/// # Errors
/// If a view cannot be JSON, which none of ours does.
pub fn encode(answer: &Answer) -> serde_json::Result<Vec<u8>> {
    fn list<T: Kind>(items: &[T], next: Option<&str>) -> serde_json::Result<Vec<u8>> {
        serde_json::to_vec(&List { api_version: API_VERSION, kind: T::LIST, items, next })
    }
    fn page<T: Kind>(page: &Page<T>) -> serde_json::Result<Vec<u8>> {
        list(&page.items, page.next.as_deref())
    }
    match answer {
        Answer::Status(view) => serde_json::to_vec(&view.object()),
        Answer::Peers(items) => list(items, None),
        Answer::Peer(view) => serde_json::to_vec(&view.object()),
        Answer::Routes(items) => page(items),
        Answer::RouteChanges(view) => serde_json::to_vec(&view.object()),
        Answer::Dump(view) => serde_json::to_vec(&view.object()),
        Answer::Paths(items) => page(items),
        Answer::Rejected(items) => page(items),
        Answer::Kernel(items) => page(items),
        Answer::Config(view) => serde_json::to_vec(&view.object()),
        Answer::Reload(view) => serde_json::to_vec(&view.object()),
        Answer::Done(view) => serde_json::to_vec(&view.object()),
        Answer::Drain(view) => serde_json::to_vec(&view.object()),
        Answer::Policies(items) => page(items),
        Answer::Policy(view) => serde_json::to_vec(&view.object()),
        Answer::PodPolicies(view) => serde_json::to_vec(&view.object()),
        Answer::Matrix(view) => serde_json::to_vec(&view.object()),
        Answer::Findings(items) => list(items, None),
        Answer::Hits(items) => list(items, None),
        Answer::Endpoints(items) => list(items, None),
        Answer::Explanation(view) => serde_json::to_vec(&view.object()),
        Answer::Flows(items) => page(items),
        Answer::Cni(answer) => serde_json::to_vec(answer),
        Answer::TestReport(view) => serde_json::to_vec(&view.object()),
    }
}

/// Reads an answer; fields that are not known are passed over.
///
/// # Errors
/// If it is not JSON, of another version, or of a kind that is no answer.
pub fn decode(json: &[u8]) -> Result<Answer, BadAnswer> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Head {
        api_version: String,
        kind: String,
    }
    #[derive(Deserialize)]
    struct Items<T> {
        items: Vec<T>,
        next: Option<String>,
    }
    fn page<T: Kind>(json: &[u8]) -> serde_json::Result<Page<T>> {
        let Items { items, next } = serde_json::from_slice(json)?;
        Ok(Page { items, next })
    }
    fn is<T: Kind>(kind: &str) -> bool {
        kind == T::KIND
    }
    fn lists<T: Kind>(kind: &str) -> bool {
        kind == T::LIST
    }
    let head: Head = serde_json::from_slice(json)?;
    if head.api_version != API_VERSION {
        return Err(BadAnswer::Version(head.api_version));
    }
    Ok(match head.kind.as_str() {
        kind if is::<view::Status>(kind) => Answer::Status(serde_json::from_slice(json)?),
        kind if lists::<view::Peer>(kind) => Answer::Peers(page(json)?.items),
        kind if is::<view::Peer>(kind) => Answer::Peer(serde_json::from_slice(json)?),
        kind if lists::<view::Route>(kind) => Answer::Routes(page(json)?),
        kind if is::<view::RouteChanges>(kind) => {
            Answer::RouteChanges(serde_json::from_slice(json)?)
        }
        kind if is::<view::TableDump>(kind) => Answer::Dump(serde_json::from_slice(json)?),
        kind if lists::<view::Path>(kind) => Answer::Paths(page(json)?),
        kind if lists::<view::Rejected>(kind) => Answer::Rejected(page(json)?),
        kind if lists::<view::KernelRoute>(kind) => Answer::Kernel(page(json)?),
        kind if is::<view::Config>(kind) => Answer::Config(serde_json::from_slice(json)?),
        kind if is::<view::Reload>(kind) => Answer::Reload(serde_json::from_slice(json)?),
        kind if is::<view::Done>(kind) => Answer::Done(serde_json::from_slice(json)?),
        kind if is::<view::Drain>(kind) => Answer::Drain(serde_json::from_slice(json)?),
        kind if lists::<view::Policy>(kind) => Answer::Policies(page(json)?),
        kind if is::<view::Policy>(kind) => Answer::Policy(serde_json::from_slice(json)?),
        kind if is::<view::PodPolicies>(kind) => Answer::PodPolicies(serde_json::from_slice(json)?),
        kind if is::<view::Matrix>(kind) => Answer::Matrix(serde_json::from_slice(json)?),
        kind if lists::<view::Finding>(kind) => Answer::Findings(page(json)?.items),
        kind if lists::<view::RuleHits>(kind) => Answer::Hits(page(json)?.items),
        kind if lists::<view::Endpoint>(kind) => Answer::Endpoints(page(json)?.items),
        kind if is::<view::Explanation>(kind) => Answer::Explanation(serde_json::from_slice(json)?),
        kind if lists::<view::DeniedFlow>(kind) => Answer::Flows(page(json)?),
        kind if is::<view::PolicyTestReport>(kind) => {
            Answer::TestReport(serde_json::from_slice(json)?)
        }
        _ => return Err(BadAnswer::Kind(head.kind)),
    })
}

/// What came over the socket is no answer.
#[derive(Debug, thiserror::Error)]
pub enum BadAnswer {
    /// Not JSON, or not of the shape that its kind has.
    #[error("the answer is not what it should be: {0}")]
    Json(#[from] serde_json::Error),
    /// From an agent of another time.
    #[error("the agent speaks {0}, this command {API_VERSION}; use the command of its version")]
    Version(String),
    /// Something else.
    #[error("the answer is of the unknown kind {0:?}")]
    Kind(String),
}

/// Why there is no answer, as a word; the HTTP status says the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Code {
    /// 400: the question makes no sense.
    Invalid,
    /// 403: who asks may not.
    NotPermitted,
    /// 404: there is no such thing.
    NotFound,
    /// 405: asked in the wrong way (GET or POST).
    WrongMethod,
    /// 409: not in the present state.
    Conflict,
    /// 500: a fault in the agent.
    Internal,
    /// 503: no answer in time, or the agent is starting or stopping.
    Unavailable,
}

/// The body of an answer that is none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ErrorBody {
    api_version: String,
    kind: String,
    /// Why, in a word.
    pub code: Code,
    /// Why, in a sentence.
    pub message: String,
}

impl ErrorBody {
    /// An error with this reason.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { api_version: API_VERSION.to_owned(), kind: "Error".to_owned(), code, message }
    }
}

impl From<Failure> for ErrorBody {
    fn from(failure: Failure) -> Self {
        let code = match failure {
            Failure::NotFound(_) => Code::NotFound,
            Failure::Invalid(_) => Code::Invalid,
            Failure::Conflict(_) => Code::Conflict,
            Failure::Unavailable(_) => Code::Unavailable,
        };
        Self::new(code, failure.to_string())
    }
}
