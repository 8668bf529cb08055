//! Health and metrics over HTTP, for probes and for Prometheus.

use std::fmt::Write as _;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::control::server::{Limits, connection};

/// What keeps askers from costing much. Anybody on the host may ask.
const LIMITS: Limits = Limits {
    answer: Duration::from_secs(5),
    head: Duration::from_secs(5),
    connection: Duration::from_secs(10),
    connections: 16,
    root_connections: 16,
};

/// The media type of what Prometheus reads.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// One thing that health depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What it is about, a word or two.
    pub name: String,
    /// Why it is not well, if so.
    pub problem: Option<String>,
}

impl Check {
    /// A check with its outcome.
    pub fn new(name: impl Into<String>, outcome: Result<(), String>) -> Self {
        Self { name: name.into(), problem: outcome.err() }
    }
}

/// How the agent is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// Whether it lives: what no restart would mend is not in here.
    pub live: Vec<Check>,
    /// Whether it does its work.
    pub ready: Vec<Check>,
    /// What should be otherwise and makes it neither less alive nor less ready; told with
    /// `?verbose` only.
    pub notes: Vec<String>,
}

/// Who knows how the agent is.
pub trait Teller: Send + Sync + 'static {
    /// How the agent is; must not wait for a part that may hang.
    fn health(&self) -> Pin<Box<dyn Future<Output = Health> + Send + '_>>;
    /// All metrics in OpenMetrics text.
    fn metrics(&self) -> Pin<Box<dyn Future<Output = String> + Send + '_>>;
}

/// Listens at `addresses`. What does not work does not keep the rest from working: it comes
/// back as a sentence each.
pub async fn bind(addresses: &[SocketAddr]) -> (Vec<TcpListener>, Vec<String>) {
    let (mut listeners, mut problems) = (Vec::new(), Vec::new());
    for address in addresses {
        match TcpListener::bind(address).await {
            Ok(listener) => listeners.push(listener),
            Err(error) => {
                let why = match error.kind() {
                    io::ErrorKind::AddrInUse => "another program listens there".to_owned(),
                    io::ErrorKind::AddrNotAvailable => "this host has no such address".to_owned(),
                    _ => error.to_string(),
                };
                problems.push(format!("health and metrics are not answered at {address}: {why}"));
            }
        }
    }
    (listeners, problems)
}

/// Answers until `shutdown`.
pub async fn serve(
    listeners: Vec<TcpListener>,
    teller: Arc<dyn Teller>,
    shutdown: CancellationToken,
) {
    let router = router(teller);
    let permits = Arc::new(Semaphore::new(LIMITS.connections));
    let tasks = TaskTracker::new();
    for listener in listeners {
        let (router, permits, shutdown) = (router.clone(), permits.clone(), shutdown.clone());
        let connections = tasks.clone();
        tasks.spawn(async move {
            while let Some(stream) = accept(&listener, &shutdown).await {
                let Ok(permit) = permits.clone().try_acquire_owned() else { continue };
                let (router, shutdown) = (router.clone(), shutdown.clone());
                connections.spawn(async move {
                    connection(stream, router, shutdown, LIMITS).await;
                    drop(permit);
                });
            }
        });
    }
    tasks.close();
    shutdown.cancelled().await;
    let _ = tokio::time::timeout(Duration::from_secs(1), tasks.wait()).await;
}

async fn accept(listener: &TcpListener, shutdown: &CancellationToken) -> Option<TcpStream> {
    loop {
        let accepted = tokio::select! {
            () = shutdown.cancelled() => return None,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => return Some(stream),
            Err(error) => {
                // Out of descriptors or memory: others need the time more than we do.
                tracing::warn!(%error, "health and metrics cannot accept");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

fn router(teller: Arc<dyn Teller>) -> Router {
    type Shared = State<Arc<dyn Teller>>;
    Router::new()
        .route(
            "/livez",
            get(async |State(teller): Shared, RawQuery(query)| {
                let health = teller.health().await;
                report(&[&health.live], &[], query)
            }),
        )
        .route(
            "/readyz",
            get(async |State(teller): Shared, RawQuery(query)| {
                let health = teller.health().await;
                report(&[&health.ready], &health.notes, query)
            }),
        )
        .route(
            "/healthz",
            get(async |State(teller): Shared, RawQuery(query)| {
                let health = teller.health().await;
                report(&[&health.live, &health.ready], &health.notes, query)
            }),
        )
        .route(
            "/metrics",
            get(async |State(teller): Shared| {
                ([(header::CONTENT_TYPE, OPEN_METRICS)], teller.metrics().await)
            }),
        )
        .fallback(async || {
            let text = "there are /livez, /readyz, /healthz?verbose and /metrics\n";
            (StatusCode::NOT_FOUND, text)
        })
        .with_state(teller)
}

/// `ok`, or what is wrong; with `?verbose` every check, as Kubernetes' components have it, and
/// what there is to note.
fn report(checks: &[&Vec<Check>], notes: &[String], query: Option<String>) -> Response {
    let checks = || checks.iter().copied().flatten();
    let is_verbose = query
        .is_some_and(|query| query.split('&').any(|key| matches!(key, "verbose" | "verbose=true")));
    let is_well = checks().all(|check| check.problem.is_none());
    let mut text = String::new();
    for Check { name, problem } in checks() {
        match problem {
            Some(problem) => {
                let problem = problem.replace(char::is_control, " ");
                writeln!(text, "[-]{name} failed: {problem}").expect("a String takes everything");
            }
            None if is_verbose => {
                writeln!(text, "[+]{name} ok").expect("a String takes everything");
            }
            None => {}
        }
    }
    for note in notes.iter().filter(|_| is_verbose) {
        let note = note.replace(char::is_control, " ");
        writeln!(text, "[!]{note}").expect("a String takes everything");
    }
    text.push_str(if is_well { "ok\n" } else { "not ok\n" });
    let status = if is_well { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, [(header::CACHE_CONTROL, "no-store")], text).into_response()
}

#[cfg(test)]
mod tests;
