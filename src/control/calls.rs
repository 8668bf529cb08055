//! How often the control socket was asked for what, and how long the answers took.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;

use crate::telemetry::Timings;

/// What stands for addresses that there are not: anybody could make up any number of them.
const UNKNOWN: &str = "unknown";

/// What was asked at one address so far (`api_requests_total`, `api_request_seconds`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Calls {
    /// How many answers had which status.
    pub codes: BTreeMap<u16, u64>,
    /// How long they took.
    pub timings: Timings,
}

/// Counts what is asked, by the pattern of the address: `/v1/peers/{peer}`, never the peer. Clones
/// share the counts.
#[derive(Clone, Debug, Default)]
pub struct CallCounts(Arc<Mutex<BTreeMap<String, Calls>>>);

impl CallCounts {
    /// What was asked so far, by pattern.
    pub fn all(&self) -> BTreeMap<String, Calls> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn add(&self, path: &str, code: u16, took: Duration) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let calls = all.entry(path.to_owned()).or_default();
        *calls.codes.entry(code).or_default() += 1;
        calls.timings.add(took);
    }
}

/// Has a request answered, and counts it. One whose asker does not wait for the answer is none.
pub(super) async fn count(
    State(counts): State<CallCounts>,
    request: Request,
    next: Next,
) -> Response {
    let path = request.extensions().get::<MatchedPath>().cloned();
    let begun = Instant::now();
    let response = next.run(request).await;
    let path = path.as_ref().map_or(UNKNOWN, MatchedPath::as_str);
    counts.add(path, response.status().as_u16(), begun.elapsed());
    response
}
