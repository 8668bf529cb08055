//! What the cluster is told about: Events on its objects. Whoever notices something says it
//! here and goes on; saying it is somebody else's work, and is lost rather than waited for.

use std::sync::Arc;

use brindle_policy::PolicyId;
use tokio::sync::mpsc;

use super::bgp::BgpKey;

/// The object that something is said about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// The Node of this name.
    Node(Arc<str>),
    /// A policy.
    Policy(PolicyId),
    /// An object about BGP.
    Bgp(BgpKey),
}

/// What happened, as `reason` of an Event has it (operations 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// A session ended.
    PeerDown,
    /// A session came up.
    PeerUp,
    /// A peer announced what is not its own.
    PrefixRefused,
    /// A Node claims a range that another has.
    RangeRefused,
    /// A new configuration file is wrong.
    ConfigRefused,
    /// What others changed in the kernel was put right.
    DataplaneRepaired,
    /// Policies cannot be written into the kernel.
    DataplaneFailing,
    /// A policy is wrong.
    PolicyInvalid,
    /// An object about BGP is wrong.
    BgpInvalid,
    /// There is no session that an object asks for.
    PeerSkipped,
    /// More objects than is likely vanished at once; they are kept for a while.
    DeletionsHeld,
}

impl Reason {
    /// As the API has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::PeerDown => "PeerDown",
            Reason::PeerUp => "PeerUp",
            Reason::PrefixRefused => "PrefixRefused",
            Reason::RangeRefused => "RangeRefused",
            Reason::ConfigRefused => "ConfigRefused",
            Reason::DataplaneRepaired => "DataplaneRepaired",
            Reason::DataplaneFailing => "DataplaneFailing",
            Reason::PolicyInvalid => "PolicyInvalid",
            Reason::BgpInvalid => "BGPInvalid",
            Reason::PeerSkipped => "PeerSkipped",
            Reason::DeletionsHeld => "DeletionsHeld",
        }
    }

    /// Whether somebody should look: the Event's type is `Warning`, otherwise `Normal`.
    pub fn is_warning(self) -> bool {
        !matches!(self, Reason::PeerUp | Reason::DataplaneRepaired)
    }
}

/// Something that is said.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Report {
    /// What about.
    pub subject: Subject,
    /// What kind of thing.
    pub reason: Reason,
    /// A sentence.
    pub message: String,
}

/// Where to say it. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Reporter {
    reports: Option<mpsc::Sender<Report>>,
}

impl Reporter {
    /// Reports that may wait to be taken.
    const QUEUE: usize = 256;

    /// One that nobody listens to: there is no cluster to tell.
    pub fn none() -> Self {
        Self::default()
    }

    /// One, and where its reports arrive.
    pub fn new() -> (Self, mpsc::Receiver<Report>) {
        let (reports, taken) = mpsc::channel(Self::QUEUE);
        (Self { reports: Some(reports) }, taken)
    }

    /// Says something; never waits.
    pub fn report(&self, subject: Subject, reason: Reason, message: impl Into<String>) {
        if let Some(reports) = &self.reports {
            // Full means that the API server does not take them: later ones say the same.
            let _ = reports.try_send(Report { subject, reason, message: message.into() });
        }
    }
}
