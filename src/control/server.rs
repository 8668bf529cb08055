//! The agent's side of the control socket.
//!
//! A connection carries one request and lives for a limited time; how many there are at once
//! is limited too. So a client that sends nothing, or reads nothing, costs next to nothing.

use std::path::Path as FilePath;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query as Parameters, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Router, middleware};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::calls::{self, CallCounts};
use super::requests::{self, ENTRIES, Entry, Given};
pub use super::socket::{BindError, Bound, bind, refuse_if_taken};
use super::wire::{self, Code, ErrorBody};
use super::{Answer, Query, Request, cni};

/// What keeps clients from costing much.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Longest time until the agent has answered.
    pub answer: Duration,
    /// Longest time that a client may take to send its request's head.
    pub head: Duration,
    /// Longest life of a connection.
    pub connection: Duration,
    /// The most connections at once of all who are not root, together.
    pub connections: usize,
    /// The most of root: each pod that is being connected is one that waits.
    pub root_connections: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // A command gives up after 5 s unless told otherwise: this is for --timeout 20s.
            answer: Duration::from_secs(20),
            head: Duration::from_secs(5),
            connection: Duration::from_secs(30),
            connections: 32,
            root_connections: 512,
        }
    }
}

/// The longest that a question waits for something to happen, beyond the time for answers.
const MAX_WAIT: Duration = Duration::from_secs(cni::MAX_WAIT_SECONDS as u64);

/// The most octets of a request's head.
const MAX_HEAD: usize = 16 * 1024;

/// Who asks, as the kernel says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Caller {
    uid: u32,
}

impl Caller {
    /// Root and the agent's own user may change things, whoever else can open the socket may
    /// only look.
    pub(super) fn may_change(self) -> bool {
        self.uid == 0 || self.uid == nix::unistd::geteuid().as_raw()
    }
}

/// Listens at `path` and answers until `shutdown`. For an agent that wants to know early
/// whether it can have the socket, [`bind`] and [`serve_on`] do the same in two steps.
///
/// # Errors
/// If the socket cannot be had: see [`BindError`].
pub async fn serve(
    path: &FilePath,
    queries: mpsc::Sender<Request>,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    serve_on(bind(path)?, queries, shutdown, Limits::default(), CallCounts::default()).await;
    Ok(())
}

/// Answers on a socket until `shutdown`; then lets requests that run end, for at most a
/// second, and removes the socket's file. What is asked is counted in `calls`.
pub async fn serve_on(
    bound: Bound,
    queries: mpsc::Sender<Request>,
    shutdown: CancellationToken,
    limits: Limits,
    calls: CallCounts,
) {
    let (listener, file) = bound.into_parts();
    let router = router(Asker { queries, limit: limits.answer })
        .layer(middleware::from_fn_with_state(calls, calls::count));
    let of_root = Arc::new(Semaphore::new(limits.root_connections));
    let of_others = Arc::new(Semaphore::new(limits.connections));
    let tasks = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of descriptors or memory: others need the time more than we do.
                tracing::warn!(%error, "control socket cannot accept");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let Ok(credentials) = stream.peer_cred() else { continue };
        let caller = Caller { uid: credentials.uid() };
        let permits = if caller.uid == 0 { &of_root } else { &of_others };
        let Ok(permit) = permits.clone().try_acquire_owned() else {
            tracing::debug!(uid = caller.uid, "too many connections to the control socket");
            continue;
        };
        let router = router.clone().layer(Extension(caller));
        // Whoever may change things may also have to wait for them.
        let patience = if caller.may_change() { MAX_WAIT } else { Duration::ZERO };
        let limits = Limits { connection: limits.connection + patience, ..limits };
        let shutdown = shutdown.clone();
        tasks.spawn(async move {
            connection(stream, router, shutdown, limits).await;
            drop(permit);
        });
    }
    drop(listener);
    drop(file);
    tasks.close();
    let _ = tokio::time::timeout(Duration::from_secs(1), tasks.wait()).await;
}

/// Answers the one request of a connection.
pub(crate) async fn connection<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    router: Router,
    shutdown: CancellationToken,
    limits: Limits,
) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .max_buf_size(MAX_HEAD)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    tokio::pin!(connection);
    let life = tokio::time::sleep(limits.connection);
    tokio::pin!(life);
    let mut stopping = false;
    loop {
        tokio::select! {
            ended = &mut connection => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "connection");
                }
                return;
            }
            () = &mut life => return,
            () = shutdown.cancelled(), if !stopping => {
                stopping = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}

fn router(asker: Asker) -> Router {
    let table = |routes: Router<Asker>, entry: &Entry| {
        let &Entry { path, read } = entry;
        let ask = async move |State(asker): State<Asker>,
                              Extension(caller): Extension<Caller>,
                              peer: Option<Path<String>>,
                              given: Result<Parameters<Given>, QueryRejection>| {
            let given = match given {
                Ok(Parameters(given)) => given,
                Err(rejection) => return refuse(Code::Invalid, rejection.body_text()),
            };
            match requests::read(read, peer.map(|Path(peer)| peer), given) {
                Ok(query) => asker.ask(caller, query).await,
                Err(message) => refuse(Code::Invalid, message),
            }
        };
        let method = if entry.is_change() { post(ask) } else { get(ask) };
        routes.route(path, method)
    };
    cni::routes(ENTRIES.iter().fold(Router::new(), table))
        .fallback(async || refuse(Code::NotFound, "there is no such address; see /v1/status"))
        .method_not_allowed_fallback(async || {
            refuse(Code::WrongMethod, "reads are GET, changes are POST")
        })
        .with_state(asker)
}

/// The way to whoever answers.
#[derive(Clone)]
pub(super) struct Asker {
    queries: mpsc::Sender<Request>,
    limit: Duration,
}

impl Asker {
    pub(super) async fn ask(&self, caller: Caller, query: Query) -> Response {
        if query.is_change() {
            if !caller.may_change() {
                return self.not_permitted();
            }
            tracing::info!(uid = caller.uid, ?query, "asked over the control socket");
        }
        let limit = self.limit + query.waits();
        match tokio::time::timeout(limit, self.answer(query)).await {
            Ok(response) => response,
            Err(_) => refuse(
                Code::Unavailable,
                format!("the agent did not answer within {} s", limit.as_secs_f32()),
            ),
        }
    }

    pub(super) fn not_permitted(&self) -> Response {
        refuse(
            Code::NotPermitted,
            "only root may change things; reading needs no more than access to the socket",
        )
    }

    async fn answer(&self, query: Query) -> Response {
        let stopping = || refuse(Code::Unavailable, "the agent is stopping");
        let (reply, answer) = oneshot::channel();
        if self.queries.send((query, reply)).await.is_err() {
            return stopping();
        }
        match answer.await {
            Ok(Ok(answer)) => respond(&answer),
            Ok(Err(failure)) => error(&failure.into()),
            Err(_) => stopping(),
        }
    }
}

fn respond(answer: &Answer) -> Response {
    match wire::encode(answer) {
        Ok(json) => json_response(StatusCode::OK, json),
        Err(fault) => refuse(Code::Internal, format!("the answer cannot be written: {fault}")),
    }
}

pub(super) fn refuse(code: Code, message: impl Into<String>) -> Response {
    error(&ErrorBody::new(code, message))
}

fn error(body: &ErrorBody) -> Response {
    let status = match body.code {
        Code::Invalid => StatusCode::BAD_REQUEST,
        Code::NotPermitted => StatusCode::FORBIDDEN,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::WrongMethod => StatusCode::METHOD_NOT_ALLOWED,
        Code::Conflict => StatusCode::CONFLICT,
        Code::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
    };
    json_response(status, serde_json::to_vec(body).unwrap_or_default())
}

fn json_response(status: StatusCode, mut json: Vec<u8>) -> Response {
    json.push(b'\n');
    (status, [(header::CONTENT_TYPE, "application/json")], json).into_response()
}
