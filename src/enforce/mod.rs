//! The policy half: keeps this node's iptables chains and ipsets as the cluster's policies
//! want them.
//!
//! ```text
//!  changes ─► task: World ─► Compiler (one a family) ─► Plan ─► dataplane ─► iptables, ipset
//!               ▲                                                  ▲
//!   questions ──┘                 audit, ruleset events ───────────┘
//! ```
//!
//! The task owns the [`World`] and what is wanted; the dataplane carries plans out and knows
//! what the kernel holds. Neither knows where objects come from, or BGP.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use brindle_policy::model::HostSettings;
use brindle_policy::readback::Installed;
use brindle_policy::{Change, Cidr, Family, Interface, Ruleset, World};
use tokio::sync::{mpsc, oneshot};

mod attribution;
pub mod audit;
mod automatic;
mod by;
pub mod conntrack;
pub mod dataplane;
mod denied;
mod devices;
pub mod flows;
mod hands;
pub(crate) mod hosts;
pub mod monitor;
pub mod packet;
mod quarantine;
mod recheck;
mod refused;
mod roster;
mod schedule;
pub mod status;
mod task;
mod tenants;
mod tracker;

pub use by::By;
pub use dataplane::Tuning;
pub use flows::{Flow, FlowEnd, FlowOutcome, FlowPage, Flows};
pub use status::{EnforceStatus, Flushed, Trigger};

/// What the policy half is to do; from the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnforceSettings {
    /// This node's name: its pods are the local endpoints.
    pub node: Arc<str>,
    /// `node.podCIDRs` of the configuration; empty takes those of the Node object. Addresses
    /// in these ranges that no known pod has are closed.
    pub pod_cidrs: BTreeSet<Cidr>,
    /// `policy.backend`: which iptables.
    pub backend: BackendChoice,
    /// `policy.masquerade`: whether what pods send outside the pod ranges gets the node's
    /// address.
    pub masquerade: bool,
    /// `policy.establishedFlows`.
    pub established: EstablishedFlows,
    /// `policy.flowLog`: where denied packets are told; `None` if they are not.
    pub flow_log: Option<FlowLog>,
    /// `policy.auditInterval`: how often the kernel is compared with what is wanted without an
    /// event.
    pub audit: Duration,
    /// `policy.hostEndpoints`, with what the agent listens on.
    pub hosts: HostSettings,
    /// `policy.hostEndpoints.auto`: whether each node has a host endpoint by itself.
    pub automatic_hosts: bool,
}

/// Which iptables is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BackendChoice {
    /// The one that the host uses already, nft if none.
    #[default]
    Auto,
    /// iptables-nft.
    Nft,
    /// iptables-legacy.
    Legacy,
}

/// An iptables backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Backend {
    /// iptables-nft.
    Nft,
    /// iptables-legacy.
    Legacy,
}

/// What happens to connections that a policy change would not let begin any more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EstablishedFlows {
    /// They live on.
    #[default]
    Keep,
    /// They are cut: their conntrack entries, and no others, are deleted.
    Recheck,
}

/// Where denied packets are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowLog {
    /// The NFLOG group.
    pub group: u16,
    /// The most packets told a second, for each endpoint and direction.
    pub per_second: u16,
}

/// The way to the policy half. Cheap to clone; while one is left the task runs on.
#[derive(Clone, Debug)]
pub struct EnforceHandle {
    /// How it is doing; never waits.
    pub status: Arc<ArcSwap<EnforceStatus>>,
    /// The latest denied flows; never waits for the task.
    pub flows: Arc<Flows>,
    commands: mpsc::Sender<Command>,
}

/// What questions are answered from: the world as told so far, and what the kernel is to hold.
#[derive(Clone, Copy, Debug)]
pub struct EnforceView<'a> {
    /// All objects.
    pub world: &'a World,
    /// What is wanted, by [`Family::ALL`]'s order; changes that are not compiled yet are not in
    /// it. Empty before the sources are in sync.
    pub rulesets: [&'a Ruleset; 2],
    /// How the policy half is doing.
    pub status: &'a EnforceStatus,
    /// What holds on this host whatever policies say.
    pub hosts: &'a HostSettings,
}

impl<'a> EnforceView<'a> {
    /// What is wanted for one family.
    pub fn ruleset(&self, family: Family) -> &'a Ruleset {
        match family {
            Family::V4 => self.rulesets[0],
            Family::V6 => self.rulesets[1],
        }
    }
}

/// The policy half has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the policy half has ended")]
pub struct Gone;

/// Why it cannot be told what the kernel holds.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CountersError {
    /// The policy half has ended.
    #[error(transparent)]
    Gone(#[from] Gone),
    /// Reading failed; why.
    #[error("cannot read what the kernel holds: {0}")]
    Unread(String),
}

impl EnforceHandle {
    /// Hands over changes, in their order. Returns when they are taken, not when they are in
    /// the kernel: [`EnforceHandle::status`] tells what is. Nothing is written before
    /// [`Change::InSync`].
    ///
    /// # Errors
    /// [`Gone`] if the task has ended.
    pub async fn apply(&self, changes: Vec<Change>) -> Result<(), Gone> {
        let arrived = Instant::now();
        self.send(Command::Apply(changes, arrived)).await
    }

    /// Answers a question from the task's state; changes that were handed over before are in
    /// it. `ask` runs on the task's thread and holds up enforcement for as long as it takes: it
    /// is to take some milliseconds at most, so who asks about many flows asks in pieces.
    ///
    /// # Errors
    /// [`Gone`] if the task has ended.
    pub async fn read<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&EnforceView<'_>) -> T + Send + 'static,
    ) -> Result<T, Gone> {
        let (answer, answered) = oneshot::channel();
        // Whoever asked may have gone meanwhile.
        let question = Question(Box::new(move |view| _ = answer.send(ask(view))));
        self.send(Command::Read(question)).await?;
        answered.await.map_err(|_| Gone)
    }

    /// What the kernel holds of ours for one family right now, with counters. It waits for
    /// what is being written.
    ///
    /// # Errors
    /// If the task has ended, or the kernel cannot be read.
    pub async fn counters(&self, family: Family) -> Result<Installed, CountersError> {
        let (answer, answered) = oneshot::channel();
        self.send(Command::Counters(family, answer)).await?;
        answered.await.map_err(|_| Gone)?
    }

    /// Waits until everything that was told of a pod's interface so far is in the kernel, for
    /// at most `limit`; then it says what is missing. Whoever stops waiting costs nothing more.
    ///
    /// # Errors
    /// [`Gone`] if the task has ended.
    pub async fn open(
        &self,
        interface: Interface,
        limit: Duration,
    ) -> Result<Result<(), String>, Gone> {
        let (answer, answered) = oneshot::channel();
        self.send(Command::Open(interface, answer)).await?;
        if let Ok(answered) = tokio::time::timeout(limit, answered).await {
            return answered.map_err(|_| Gone).map(Ok);
        }
        let (answer, answered) = oneshot::channel();
        self.send(Command::Missing(interface, answer)).await?;
        answered.await.map_err(|_| Gone).map(|missing| missing.map_or(Ok(()), Err))
    }

    /// Other settings from now on. `node` cannot change: it is ignored.
    ///
    /// # Errors
    /// [`Gone`] if the task has ended.
    pub async fn set_settings(&self, settings: EnforceSettings) -> Result<(), Gone> {
        self.send(Command::Configure(Box::new(settings))).await
    }

    /// Ends the task, after what it is writing; everything stays in the kernel. Returns when
    /// it has ended.
    pub async fn stop(&self) {
        if self.send(Command::Stop).await.is_ok() {
            self.commands.closed().await;
        }
    }

    /// Whether the task has ended, in order or by a fault of ours.
    pub fn has_ended(&self) -> bool {
        self.commands.is_closed()
    }

    async fn send(&self, command: Command) -> Result<(), Gone> {
        self.commands.send(command).await.map_err(|_| Gone)
    }
}

/// What the task is told.
#[derive(Debug)]
enum Command {
    /// Changes, and when they came.
    Apply(Vec<Change>, Instant),
    /// A question.
    Read(Question),
    /// Asks to be told when a pod's interface is open.
    Open(Interface, oneshot::Sender<()>),
    /// Asks why it is not; `None` if it is.
    Missing(Interface, oneshot::Sender<Option<String>>),
    /// Asks for what the kernel holds.
    Counters(Family, oneshot::Sender<Result<Installed, CountersError>>),
    /// Other settings.
    Configure(Box<EnforceSettings>),
    /// The end.
    Stop,
}

/// A question with the way for its answer.
struct Question(Box<dyn FnOnce(&EnforceView<'_>) + Send>);

impl fmt::Debug for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Question")
    }
}

/// Commands that wait before a sender has to.
const COMMANDS: usize = 256;

/// Starts the policy half in the network namespace of the calling thread; the thread that it
/// runs on stays there. It always starts: what is missing is told by
/// [`EnforceStatus::unavailable`] and looked for again now and then.
///
/// # Panics
/// If no thread can be started.
pub fn start(settings: EnforceSettings) -> EnforceHandle {
    start_tuned(settings, Tuning::default())
}

/// As [`start`], with other programs or limits.
///
/// # Panics
/// As [`start`].
pub fn start_tuned(settings: EnforceSettings, tuning: Tuning) -> EnforceHandle {
    let (commands, inbox) = mpsc::channel(COMMANDS);
    let status = Arc::new(ArcSwap::from_pointee(EnforceStatus::default()));
    let flows = Arc::new(Flows::default());
    let handle = EnforceHandle { status: status.clone(), flows: flows.clone(), commands };
    let run = move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a process that has threads can have an event loop");
        // The task is no child of it: what it does not finish in time is not waited for.
        let task = task::Enforcer::new(settings, tuning, status, flows);
        runtime.block_on(task.run(inbox));
        runtime.shutdown_background();
    };
    let thread = std::thread::Builder::new().name("enforce".to_owned());
    drop(thread.spawn(run).expect("a process can have one thread more"));
    handle
}
