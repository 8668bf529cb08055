//! The CNI plug-in: connects pods to their node, and what it agrees on with the agent.
//!
//! ```text
//! runtime ─ environment, standard input ─▶ request ─▶ verbs ─┬─ agent      control socket
//!         ◀──────── result or error object ──────────────────├─ store      records, addresses
//!                                                            └─ links      cable, routes
//!
//! ADD   agent: which ranges? ─▶ record written ─▶ cable laid, node's end down
//!       ─▶ agent: isolation is in the kernel ─▶ node's end up, routes to the pod
//! DEL   cable removed ─▶ record removed, addresses rest ─▶ agent told, if it listens
//! ```
//!
//! Whatever call is killed at whatever point, the pod is closed, and its addresses have a record
//! that ADD of the same container takes over and DEL and GC remove.

use std::io::{self, Read};

use serde_json::Value;

pub mod addresses;
pub mod agent;
pub mod caller;
pub mod configuration;
mod durable;
pub mod install;
pub mod links;
pub mod protocol;
pub mod record;
pub mod request;
pub mod result;
pub mod spec;
pub mod store;
mod verbs;

use request::{Environment, Request};
use spec::{Code, Failure};

/// The name that a network configuration's `type` calls the plug-in by.
pub const PLUGIN: &str = "brindle-cni";

/// The most octets of a network configuration, previous result and all.
const MAX_CONFIGURATION: u64 = 1 << 20;

/// What a call answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What goes to standard output; nothing where the verb has no result.
    pub output: Option<Value>,
    /// The call succeeded.
    pub is_success: bool,
}

/// Does what a runtime calls for, in the network namespace of this thread. Not to be called
/// inside of a tokio runtime.
pub fn answer(environment: &Environment, stdin: impl Read) -> Answer {
    let mut octets = Vec::new();
    // What VERSION answers depends on nothing: whoever types it at a terminal need not end it.
    let most = if environment.asks_for_version() { 0 } else { MAX_CONFIGURATION + 1 };
    let read = stdin.take(most).read_to_end(&mut octets);
    let version = request::version_to_answer_in(&octets);
    let outcome = whole(read, &octets).and_then(|octets| carry_out(environment, octets));
    match outcome {
        Ok(output) => Answer { output, is_success: true },
        Err(failure) => {
            let Failure { message, details, .. } = &failure;
            tracing::warn!(code = failure.code.number(), "{message} {details}");
            Answer { output: Some(failure.to_json(version)), is_success: false }
        }
    }
}

fn whole(read: io::Result<usize>, octets: &[u8]) -> Result<&[u8], Failure> {
    match read {
        Err(error) => Err(Failure::new(Code::Io, format!("cannot read standard input: {error}"))),
        Ok(length) if length as u64 > MAX_CONFIGURATION => {
            let message = format!(
                "the network configuration on standard input is too long; accepted are {MAX_CONFIGURATION} octets"
            );
            Err(Failure::new(Code::Decode, message))
        }
        Ok(_) => Ok(octets),
    }
}

fn carry_out(environment: &Environment, stdin: &[u8]) -> Result<Option<Value>, Failure> {
    match request::read(environment, stdin)? {
        Request::Add(attachment, sandbox, network) => {
            verbs::add(&attachment, &sandbox, &network).map(Some)
        }
        Request::Del(attachment, network) => verbs::del(&attachment, &network).map(|()| None),
        Request::Check(attachment, sandbox, network, previous) => {
            verbs::check(&attachment, &sandbox, &network, &previous).map(|()| None)
        }
        Request::Gc(valid, network) => verbs::collect(&valid, &network).map(|()| None),
        Request::Status(network) => verbs::status(&network).map(|()| None),
        Request::Version => Ok(Some(result::versions())),
    }
}
