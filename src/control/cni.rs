//! What our network plug-in asks: JSON bodies of one shape each, as [`crate::cni::protocol`] has
//! them.

use std::error::Error as _;

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, FailedToBufferBody};
use axum::extract::{DefaultBodyLimit, State};
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Query;
use super::server::{Asker, Caller, refuse};
use super::wire::Code;
use crate::cni::protocol::{Attach, Attached, Detach, Detached, NodeAnswer};

/// The longest that an attach may wait, in seconds: what the plug-in's configuration accepts.
pub const MAX_WAIT_SECONDS: u32 = 600;
/// The most octets of a body: far more than names and two addresses take.
const MAX_BODY: usize = 16 * 1024;

/// What our network plug-in asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CniQuery {
    /// What pods' interfaces are made with.
    Node,
    /// A pod has got an interface.
    Attach(Attach),
    /// A pod's interface is gone.
    Detach(Detach),
}

impl CniQuery {
    /// Whether it changes something.
    pub fn is_change(&self) -> bool {
        match self {
            CniQuery::Node => false,
            CniQuery::Attach(_) | CniQuery::Detach(_) => true,
        }
    }

    /// Where it is asked.
    pub(super) fn path(&self) -> &'static [&'static str] {
        match self {
            CniQuery::Node => &["cni", "node"],
            CniQuery::Attach(_) => &["cni", "attach"],
            CniQuery::Detach(_) => &["cni", "detach"],
        }
    }
}

/// What it is answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum CniAnswer {
    /// To [`CniQuery::Node`].
    Node(NodeAnswer),
    /// To [`CniQuery::Attach`].
    Attached(Attached),
    /// To [`CniQuery::Detach`].
    Detached(Detached),
}

type Body = Result<Bytes, BytesRejection>;

/// The addresses that the plug-in asks at.
pub(super) fn routes(router: Router<Asker>) -> Router<Asker> {
    let node = async |State(asker): State<Asker>, Extension(caller): Extension<Caller>| {
        asker.ask(caller, Query::Cni(CniQuery::Node)).await
    };
    let attach =
        async |State(asker): State<Asker>, Extension(caller): Extension<Caller>, body: Body| {
            change(asker, caller, body, CniQuery::Attach).await
        };
    let detach =
        async |State(asker): State<Asker>, Extension(caller): Extension<Caller>, body: Body| {
            change(asker, caller, body, CniQuery::Detach).await
        };
    let limit = DefaultBodyLimit::max(MAX_BODY);
    router
        .route("/v1/cni/node", get(node))
        .route("/v1/cni/attach", post(attach).layer(limit))
        .route("/v1/cni/detach", post(detach).layer(limit))
}

async fn change<T: DeserializeOwned>(
    asker: Asker,
    caller: Caller,
    body: Body,
    query: fn(T) -> CniQuery,
) -> Response {
    let read = match body {
        // Its errors name the field.
        Ok(body) => Json::from_bytes(&body).map(|Json(body)| body).map_err(|rejection| {
            let why = rejection.source().map(ToString::to_string);
            why.unwrap_or_else(|| rejection.body_text())
        }),
        Err(BytesRejection::FailedToBufferBody(FailedToBufferBody::LengthLimitError(_))) => {
            Err(format!("it has more than {MAX_BODY} octets"))
        }
        Err(rejection) => Err(rejection.body_text()),
    };
    match read {
        Ok(body) => asker.ask(caller, Query::Cni(query(body))).await,
        Err(why) if caller.may_change() => refuse(Code::Invalid, format!("the body: {why}")),
        Err(_) => asker.not_permitted(),
    }
}
