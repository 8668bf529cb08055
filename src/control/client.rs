//! The command line's side of the control socket.

use std::env;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::body::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

use super::wire::{self, BadAnswer, Code, ErrorBody};
use super::{Answer, Query, requests};

/// The most octets of an answer: far more than a page takes.
const MAX_ANSWER: usize = 256 << 20;

/// Asks an agent. Every question is a connection of its own.
#[derive(Clone, Debug)]
pub struct Client {
    socket: PathBuf,
    timeout: Duration,
}

/// Why there is no answer; `Display` is a sentence with what to do.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// There is no agent at the socket.
    #[error("no agent at {socket}: {reason}")]
    Unreachable {
        /// Where it was looked for.
        socket: PathBuf,
        /// What happened and what to do.
        reason: String,
    },
    /// The agent did not answer in time.
    #[error(
        "the agent at {socket} did not answer within {} s; it may be stopped or overloaded: look at its log, or wait longer with --timeout",
        timeout.as_secs_f32()
    )]
    TooSlow {
        /// Where it was asked.
        socket: PathBuf,
        /// How long we waited.
        timeout: Duration,
    },
    /// The kernel or the agent says that we may not.
    #[error("{0}")]
    NotPermitted(String),
    /// The agent is there, and cannot answer that now.
    #[error("{0}")]
    Unavailable(String),
    /// The agent says no.
    #[error("{message}")]
    Refused {
        /// Why, in a word.
        code: Code,
        /// Why, in a sentence.
        message: String,
    },
    /// The agent's answer cannot be understood.
    #[error(transparent)]
    BadAnswer(#[from] BadAnswer),
}

impl Client {
    /// A client of the agent at `socket` that waits at most `timeout` for each answer.
    pub fn new(socket: impl Into<PathBuf>, timeout: Duration) -> Self {
        Self { socket: socket.into(), timeout }
    }

    /// Where the agent is asked.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Asks, and waits for the answer, for longer if the question is one that waits; one page of
    /// it where it comes in pages.
    ///
    /// # Errors
    /// See [`AskError`].
    pub async fn ask(&self, query: &Query) -> Result<Answer, AskError> {
        match tokio::time::timeout(self.timeout + query.waits(), self.answer(query)).await {
            Ok(answer) => answer,
            Err(_) => Err(AskError::TooSlow { socket: self.socket.clone(), timeout: self.timeout }),
        }
    }

    /// The same for callers outside of a tokio runtime; must not be called inside of one.
    ///
    /// # Errors
    /// See [`AskError`].
    pub fn ask_blocking(&self, query: &Query) -> Result<Answer, AskError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.map_err(|error| self.unreachable(&error))?.block_on(self.ask(query))
    }

    /// Asks for one page after another and hands each to `take`, until that says no or there
    /// are no more. The first page always comes, if empty. Not to be called inside of a
    /// tokio runtime.
    ///
    /// # Errors
    /// See [`AskError`].
    pub fn follow(
        &self,
        mut query: Query,
        mut take: impl FnMut(Answer) -> bool,
    ) -> Result<(), AskError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| self.unreachable(&error))?;
        loop {
            let mut answer = runtime.block_on(self.ask(&query))?;
            let next = answer.take_next();
            let goes_on = take(answer);
            let (Some(next), Some(page), true) = (next, query.page_mut(), goes_on) else {
                return Ok(());
            };
            if page.after.as_ref() == Some(&next) {
                let message = "the agent gives the same page again and again".to_owned();
                return Err(AskError::Refused { code: Code::Internal, message });
            }
            page.after = Some(next);
        }
    }

    /// Sends `body` (POST; GET without one) to `address` and reads the answer as JSON: for
    /// programs that ask something else than [`Query`]. Not to be called inside of a tokio
    /// runtime.
    ///
    /// # Errors
    /// See [`AskError`].
    pub fn call_blocking<T: DeserializeOwned>(
        &self,
        address: &str,
        body: Option<&impl Serialize>,
    ) -> Result<T, AskError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let method = if body.is_some() { Method::POST } else { Method::GET };
        let body = body.map(serde_json::to_vec).transpose().map_err(BadAnswer::from)?;
        let call = async {
            let exchange = self.exchange(method, address, body.unwrap_or_default().into());
            match tokio::time::timeout(self.timeout, exchange).await {
                Ok(answer) => answer,
                Err(_) => {
                    Err(AskError::TooSlow { socket: self.socket.clone(), timeout: self.timeout })
                }
            }
        };
        let runtime = runtime.map_err(|error| self.unreachable(&error))?;
        let (status, body) = runtime.block_on(call)?;
        self.refusal(status, &body)?;
        Ok(serde_json::from_slice(&body).map_err(BadAnswer::from)?)
    }

    async fn exchange(
        &self,
        method: Method,
        address: &str,
        body: Bytes,
    ) -> Result<(StatusCode, Bytes), AskError> {
        let stream =
            UnixStream::connect(&self.socket).await.map_err(|error| self.unreachable(&error))?;
        let broken = |error: hyper::Error| AskError::Unreachable {
            socket: self.socket.clone(),
            reason: format!(
                "it closed the connection ({error}); it may be stopping, or have too many connections: try again"
            ),
        };
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        let mut request =
            Request::builder().method(method).uri(address).header(hyper::header::HOST, "brindle");
        if !body.is_empty() {
            request = request.header(hyper::header::CONTENT_TYPE, "application/json");
        }
        let request =
            request.body(Full::new(body)).expect("an address made of escaped parts is one");
        let exchange = async {
            let response = sender.send_request(request).await.map_err(broken)?;
            let status = response.status();
            let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
            Ok::<_, AskError>((status, body))
        };
        tokio::pin!(exchange);
        // The connection moves only while it is polled; it may end before the answer is read.
        let (status, body) = tokio::select! {
            answer = &mut exchange => answer?,
            _ = connection => exchange.await?,
        };
        let body = body.map_err(|error| AskError::Unreachable {
            socket: self.socket.clone(),
            reason: format!("its answer broke off ({error}); try again"),
        })?;
        Ok((status, body.to_bytes()))
    }

    async fn answer(&self, query: &Query) -> Result<Answer, AskError> {
        let method = if query.is_change() { Method::POST } else { Method::GET };
        let address = requests::address(query);
        let (status, body) = self.exchange(method, &address, Bytes::new()).await?;
        self.refusal(status, &body)?;
        Ok(wire::decode(&body)?)
    }

    /// Fails if the answer is none.
    fn refusal(&self, status: StatusCode, body: &[u8]) -> Result<(), AskError> {
        if status.is_success() {
            return Ok(());
        }
        let ErrorBody { code, message, .. } =
            serde_json::from_slice(body).map_err(BadAnswer::from)?;
        Err(match code {
            Code::NotPermitted => {
                AskError::NotPermitted(format!("not permitted: {message}; try with sudo"))
            }
            Code::Unavailable => AskError::Unavailable(message),
            Code::Invalid
            | Code::NotFound
            | Code::WrongMethod
            | Code::Conflict
            | Code::Internal => AskError::Refused { code, message },
        })
    }

    fn unreachable(&self, error: &io::Error) -> AskError {
        let reason = match error.kind() {
            io::ErrorKind::PermissionDenied => {
                let who = env::var("USER").unwrap_or_else(|_| "USER".to_owned());
                return AskError::NotPermitted(format!(
                    "not permitted to open {}: try with sudo, or join the group (usermod -aG {} {who}, then log in again)",
                    self.socket.display(),
                    super::socket::GROUP,
                ));
            }
            io::ErrorKind::NotFound => {
                "there is no such socket; is the agent running (systemctl status brindle)? another socket is named with --socket or BRINDLE_SOCKET"
                    .to_owned()
            }
            io::ErrorKind::ConnectionRefused => {
                "nobody listens there any more; the agent has died or was killed: see journalctl -u brindle"
                    .to_owned()
            }
            _ => error.to_string(),
        };
        AskError::Unreachable { socket: self.socket.clone(), reason }
    }
}
