//! What the plug-in asks the agent of its node.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::protocol::{Attach, Attached, Detach, Detached, NodeAnswer};
use super::record::Record;
use super::spec::{Code, Failure};
use crate::control::client::{AskError, Client};

/// How long the agent may take to say what it knows.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// How much longer than it was told to wait the agent may take to say so.
const GRACE: Duration = Duration::from_secs(5);
/// How long a DEL waits for the agent, which learns of it in any case.
const FAREWELL_WITHIN: Duration = Duration::from_secs(2);

/// The agent of this node.
#[derive(Clone, Debug)]
pub struct Agent {
    socket: PathBuf,
}

impl Agent {
    /// The agent that listens at `socket`.
    pub fn at(socket: &Path) -> Self {
        Self { socket: socket.to_owned() }
    }

    /// Where this node's pods get their addresses from.
    ///
    /// # Errors
    /// In words, if the agent does not answer or has no such thing.
    pub fn node(&self) -> Result<NodeAnswer, String> {
        let none: Option<&()> = None;
        let answer: NodeAnswer = self
            .client(ANSWER_WITHIN)
            .call_blocking("/v1/cni/node", none)
            .map_err(|error| self.words(error))?;
        if let Some(problem) = answer.problem {
            return Err(format!(
                "the brindle agent of {} connects no pods now: {problem}",
                answer.node
            ));
        }
        if answer.pod_cidrs.is_empty() {
            return Err(format!(
                "node {} has no podCIDR yet; who gives nodes theirs is the cluster's controller manager (--allocate-node-cidrs)",
                answer.node
            ));
        }
        Ok(answer)
    }

    /// Has the isolation of a pod programmed, and waits for it.
    ///
    /// # Errors
    /// If it is not in the kernel in time.
    pub fn attach(&self, record: &Record, wait_seconds: u32) -> Result<(), Failure> {
        let attach = Attach {
            pod: record.pod.clone(),
            host_interface: record.host_interface.clone(),
            addresses: record.addresses.clone(),
            wait_seconds,
        };
        let limit = Duration::from_secs(wait_seconds.into()) + GRACE;
        let answer: Result<Attached, _> =
            self.client(limit).call_blocking("/v1/cni/attach", Some(&attach));
        let answer = answer.map_err(|error| closed(&self.words(error)))?;
        if answer.programmed {
            return Ok(());
        }
        let problem = answer.problem.unwrap_or_else(|| "the agent does not say why".to_owned());
        let addresses: Vec<String> = record.addresses.iter().map(IpAddr::to_string).collect();
        let message = format!(
            "the isolation of {} was not in the kernel within {wait_seconds} s: {problem}; the pod stays closed and is tried again",
            addresses.join(" and ")
        );
        Err(Failure::new(Code::NotProgrammed, message))
    }

    /// Says that an interface is gone. An agent that does not hear it sees it from the kernel.
    pub fn detach(&self, host_interface: &str) {
        let detach = Detach { host_interface: host_interface.to_owned() };
        let told: Result<Detached, _> =
            self.client(FAREWELL_WITHIN).call_blocking("/v1/cni/detach", Some(&detach));
        if let Err(error) = told {
            let why = self.words(error);
            tracing::warn!(host_interface, why, "the agent was not told that it is gone");
        }
    }

    fn client(&self, limit: Duration) -> Client {
        Client::new(&self.socket, limit)
    }

    /// Who reads this reads events of a pod, not our manual.
    fn words(&self, error: AskError) -> String {
        let socket = self.socket.display();
        let why = match error {
            AskError::Refused { message, .. } => {
                return format!("the brindle agent at {socket} refuses: {message}");
            }
            AskError::Unreachable { .. } if !self.socket.exists() => {
                "there is no such socket; is brindle running on this node?".to_owned()
            }
            AskError::Unreachable { reason, .. } | AskError::Unavailable(reason) => reason,
            AskError::TooSlow { timeout, .. } => {
                format!("not within {} s", timeout.as_secs())
            }
            AskError::NotPermitted(message) => message,
            AskError::BadAnswer(error) => error.to_string(),
        };
        format!("the brindle agent does not answer at {socket}: {why}")
    }
}

/// The failure of a call that the runtime makes again.
pub(super) fn closed(why: &str) -> Failure {
    let message = format!("{why}; the pod stays closed and is tried again");
    Failure::new(Code::TryAgainLater, message)
}
