//! The task: takes changes and questions, and sees to it that the kernel follows.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;
use brindle_policy::compile::{self, Compiler, DenyLog};
use brindle_policy::readback::Installed;
use brindle_policy::ruleset::Plan;
use brindle_policy::{Change, Family, PodKey, Ruleset, World};
use tokio::sync::{mpsc, oneshot};
use tracing::{info, warn};

use super::audit::Tampering;
use super::automatic::Automatic;
use super::conntrack::Entry;
use super::dataplane::{Figures, Tuning};
use super::denied::{Heard, Listener};
use super::devices::Devices;
use super::hands::{Done, Hands};
use super::monitor::{Monitor, Notice};
use super::quarantine::Quarantine;
use super::recheck::{Affected, Trial};
use super::refused::Refused;
use super::roster::{Roster, Round};
use super::schedule::Schedule;
use super::status::Trigger;
use super::tenants::Tenants;
use super::tracker::Tracker;
use super::{
    Command, CountersError, EnforceSettings, EnforceStatus, EnforceView, EstablishedFlows, Flows,
};

mod connections;
mod interfaces;
mod kernel;

use interfaces::Interfaces;

/// Commands that are taken before the kernel gets its turn again.
const COMMANDS_A_TURN: usize = 256;
/// How long writing may take before it is said.
const LONG_WRITE: Duration = Duration::from_secs(5);
/// Warnings that are kept.
const MOST_WARNINGS: usize = 64;

/// The task's state: one owner, no locks.
pub(super) struct Enforcer {
    settings: EnforceSettings,
    world: World,
    tenants: Tenants,
    interfaces: Interfaces,
    automatic: Automatic,
    devices: Option<Devices>,
    /// Nothing before the sources are in sync and the kernel was read.
    compilers: BTreeMap<Family, Compiler>,
    /// Stand in for what is not compiled.
    nothing: [Ruleset; 2],
    hands: Hands,
    tracker: Tracker,
    monitor: Option<Monitor>,
    listener: Option<Listener>,
    flows: Arc<Flows>,
    roster: Roster,
    quarantine: Quarantine,
    refused: Refused,
    schedule: Schedule,
    /// What the kernel holds is not known: it is to be read before it is written.
    unknown: BTreeSet<Family>,
    /// It is to be read, for this reason, though it should be as it was left.
    suspected: Notice,
    /// Plans that wait to be carried out after those of the world's changes.
    waiting: BTreeMap<Family, Vec<Plan>>,
    /// What is being written.
    writing: Option<Writing>,
    /// Addresses whose connections may be denied once what is compiled is written.
    unsettled: Affected,
    /// Those whose connections may be denied now.
    affected: Affected,
    trial: Option<Trial>,
    guilty: Vec<Entry>,
    flush_tries: u32,
    /// What was found changed by others and is to be put right.
    repairs: Vec<Tampering>,
    asked: BTreeMap<Family, Vec<oneshot::Sender<Result<Installed, CountersError>>>>,
    /// Programs are to be looked for anew.
    is_moving: bool,
    /// The other backend holds nothing of ours.
    is_swept: bool,
    figures: Figures,
    status: EnforceStatus,
    published: Arc<ArcSwap<EnforceStatus>>,
}

/// What a turn at writing is about.
struct Writing {
    begun: (Instant, SystemTime),
    round: Round,
    affected: Affected,
    closing: BTreeSet<IpAddr>,
}

impl Enforcer {
    pub(super) fn new(
        settings: EnforceSettings,
        tuning: Tuning,
        published: Arc<ArcSwap<EnforceStatus>>,
        flows: Arc<Flows>,
    ) -> Self {
        Self {
            settings,
            world: World::default(),
            tenants: Tenants::default(),
            interfaces: Interfaces::default(),
            automatic: Automatic::default(),
            devices: None,
            compilers: BTreeMap::new(),
            nothing: Family::ALL.map(Ruleset::new),
            hands: Hands::new(tuning),
            tracker: Tracker::default(),
            monitor: None,
            listener: None,
            flows,
            roster: Roster::default(),
            quarantine: Quarantine::default(),
            refused: Refused::default(),
            schedule: Schedule::new(Instant::now()),
            unknown: BTreeSet::new(),
            suspected: Notice::default(),
            waiting: BTreeMap::new(),
            writing: None,
            unsettled: Affected::none(),
            affected: Affected::none(),
            trial: None,
            guilty: Vec::new(),
            flush_tries: 0,
            repairs: Vec::new(),
            asked: BTreeMap::new(),
            is_moving: false,
            is_swept: false,
            figures: Figures::default(),
            status: EnforceStatus::default(),
            published,
        }
    }

    /// Runs until told to stop, or until nobody is left to tell it anything. What is being
    /// written then is written to its end.
    pub(super) async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        self.listen();
        self.watch_devices().await;
        self.automatic.switch(self.settings.automatic_hosts);
        loop {
            self.turn();
            self.publish();
            let has_work = self.trial.is_some();
            let long_write = self.writing.as_ref().map(|writing| writing.begun.0 + LONG_WRITE);
            let others = [self.quarantine.next(), long_write];
            let next = self.schedule.next(Instant::now(), others);
            tokio::select! {
                command = commands.recv() => {
                    if self.take(command, &mut commands) {
                        break;
                    }
                }
                done = self.hands.done() => self.take_done(done),
                tracked = self.tracker.done() => self.take_tracked(tracked),
                notice = next_notice(&mut self.monitor) => {
                    self.suspected.families.extend(notice.families);
                    self.suspected.culprits.extend(notice.culprits);
                }
                heard = next_denied(&mut self.listener) => self.hear(heard),
                () = next_devices(&mut self.devices) => self.take_devices(Instant::now()),
                () = tokio::time::sleep_until(next.into()) => {}
                () = std::future::ready(()), if has_work => {}
            }
        }
        if self.hands.is_busy() {
            let done = self.hands.done().await;
            self.take_done(done);
            self.publish();
        }
    }

    /// Takes a command and those that wait behind it; whether that was the last.
    fn take(&mut self, first: Option<Command>, commands: &mut mpsc::Receiver<Command>) -> bool {
        let mut next = first;
        for _ in 0..COMMANDS_A_TURN {
            match next {
                None | Some(Command::Stop) => return true,
                Some(command) => self.obey(command),
            }
            match commands.try_recv() {
                Ok(command) => next = Some(command),
                Err(mpsc::error::TryRecvError::Empty) => return false,
                Err(mpsc::error::TryRecvError::Disconnected) => return true,
            }
        }
        match next {
            None | Some(Command::Stop) => true,
            Some(command) => {
                self.obey(command);
                false
            }
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Apply(changes, arrived) => {
                for change in changes {
                    for change in self.automatic.follow(change) {
                        self.apply(change, arrived);
                    }
                }
            }
            Command::Open(interface, answer) => self.await_open(interface, answer),
            Command::Missing(interface, answer) => _ = answer.send(self.missing(interface)),
            Command::Read(question) => {
                let Self { world, status, settings, .. } = &*self;
                let (rulesets, hosts) = (self.rulesets(), &settings.hosts);
                (question.0)(&EnforceView { world, rulesets, status, hosts });
            }
            Command::Counters(family, answer) => {
                self.asked.entry(family).or_default().push(answer);
            }
            Command::Configure(settings) => self.configure(*settings),
            Command::Stop => {}
        }
    }

    fn apply(&mut self, change: Change, arrived: Instant) {
        let trigger = Trigger::of(&change);
        let was_in_sync = self.world.is_in_sync();
        self.note_interface(&change, arrived);
        let pod = match &change {
            Change::PodApplied(pod) => Some(pod.key.clone()),
            Change::Attached(attachment) => attachment.pod.clone(),
            _ => None,
        };
        let is_whole = self.tenants.apply(&mut self.world, change, arrived);
        if is_whole && (was_in_sync || trigger == Trigger::InSync) {
            self.roster.arrived(trigger, arrived);
        }
        if let Some(pod) = pod {
            self.look_at_report(&pod);
        }
    }

    /// Begins to watch this host's interfaces.
    async fn watch_devices(&mut self) {
        match Devices::start().await {
            Ok(devices) => {
                self.devices = Some(devices);
                self.take_devices(Instant::now());
            }
            Err(error) => self.warn_once(format!(
                "cannot watch the host's interfaces; host endpoints without an interface name are \
                 not found: {error}"
            )),
        }
    }

    fn take_devices(&mut self, now: Instant) {
        if let Some(devices) = self.devices.as_mut().and_then(Devices::take) {
            self.apply(Change::Devices(devices), now);
        }
    }

    fn configure(&mut self, settings: EnforceSettings) {
        let now = Instant::now();
        let settings = EnforceSettings { node: Arc::clone(&self.settings.node), ..settings };
        let before = std::mem::replace(&mut self.settings, settings);
        if before == self.settings {
            return;
        }
        if before.flow_log.map(|log| log.group) != self.settings.flow_log.map(|log| log.group) {
            self.listen();
        }
        if before.backend != self.settings.backend {
            self.is_moving = true;
        }
        if before.audit != self.settings.audit && self.status.ready {
            self.schedule.audited(now, self.settings.audit);
        }
        for change in self.automatic.switch(self.settings.automatic_hosts) {
            self.apply(change, now);
        }
        self.follow(now);
        let wanted = self.compile_settings();
        for (family, compiler) in &mut self.compilers {
            let plan = compiler.set_settings(&self.world, wanted.clone());
            self.waiting.entry(*family).or_default().push(plan);
        }
        let is_strict = self.settings.established == EstablishedFlows::Recheck;
        if is_strict && before.hosts != self.settings.hosts && !self.compilers.is_empty() {
            self.unsettled.add(Affected::of_host(&self.world, &self.settings.node));
        }
    }

    /// What the kernel is to hold, as far as it is known.
    fn rulesets(&self) -> [&Ruleset; 2] {
        [Family::V4, Family::V6].map(|family| {
            let compiled = self.compilers.get(&family).map(Compiler::ruleset);
            compiled.unwrap_or(&self.nothing[usize::from(family == Family::V6)])
        })
    }

    fn compile_settings(&self) -> compile::Settings {
        compile::Settings {
            node: Arc::clone(&self.settings.node),
            pod_cidrs: self.settings.pod_cidrs.clone(),
            masquerade: self.settings.masquerade,
            deny_log: self
                .settings
                .flow_log
                .map(|log| DenyLog { group: log.group, per_second: log.per_second }),
            hosts: self.settings.hosts.clone(),
        }
    }

    /// Begins the next pieces of work, if there are any.
    fn turn(&mut self) {
        let now = Instant::now();
        self.track();
        if self.hands.is_busy() {
            return;
        }
        let families = self.hands.dataplane().map(|dataplane| dataplane.families());
        let Some(families) = families.filter(|_| !self.is_moving) else {
            if self.is_moving || self.schedule.may_detect(now) {
                self.is_moving = false;
                self.hands.detect(self.settings.backend);
            } else {
                self.answer_unavailable();
            }
            return;
        };
        if self.world.is_in_sync() && self.prepare(&families, now) {
            return;
        }
        let asked: BTreeSet<Family> = self.asked.keys().copied().collect();
        let is_doubted = self.schedule.is_audit_due(now) || !self.suspected.families.is_empty();
        if !asked.is_empty() {
            self.hands.read(asked);
        } else if self.status.ready && !self.is_swept {
            self.hands.sweep();
        } else if self.status.ready && is_doubted && self.unknown.is_empty() {
            self.hands.read(families.into_iter().collect());
        }
    }

    fn warn_once(&mut self, what: String) {
        if !self.status.warnings.contains(&what) {
            warn!("{what}");
            self.status.warnings.push(what);
            self.status.warnings.truncate(MOST_WARNINGS);
        }
    }

    /// What became of the work.
    fn take_done(&mut self, done: Done) {
        match done {
            Done::Detected(found) => self.detected(found.err()),
            Done::Read(found) => self.has_read(found),
            Done::Written(written) => self.has_written(written),
            Done::Swept(Ok(removed)) => {
                self.is_swept = true;
                if removed > 0 {
                    info!(removed, "removed what was left in the other iptables");
                }
            }
            Done::Swept(Err(error)) => {
                self.is_swept = true;
                self.warn_once(format!("cannot clear the iptables that is not used: {error}"));
            }
        }
    }

    fn answer_unavailable(&mut self) {
        let why = self.status.unavailable.clone().unwrap_or_default();
        for answer in std::mem::take(&mut self.asked).into_values().flatten() {
            let _ = answer.send(Err(CountersError::Unread(why.clone())));
        }
    }

    /// A write that takes so long is as good as one that fails.
    fn look_at_watch(&mut self) {
        let Some(Writing { begun: (begun, since), .. }) = &self.writing else { return };
        if self.status.failing.is_none() && begun.elapsed() >= LONG_WRITE {
            let what = "it takes long; another program may hold the xtables lock".to_owned();
            warn!("cannot write policies: {what}");
            self.status.failing = Some((*since, what));
        }
    }

    fn publish(&mut self) {
        self.look_at_watch();
        self.tell_open();
        let writing = self.writing.as_ref().map(|writing| &writing.round);
        let node = Some(&*self.settings.node);
        let is_here =
            |key: &&PodKey| self.world.pod(key).is_some_and(|p| p.node.as_deref() == node);
        let held = self.tenants.held().filter(is_here);
        self.roster.tell(&mut self.status, writing, held);
        self.status.programs = self.figures.read();
        self.status.refused = self.refused.cases();
        self.status.sizes = self.compilers.values().map(|c| sizes(c.ruleset())).collect();
        if **self.published.load() != self.status {
            self.published.store(Arc::new(self.status.clone()));
        }
    }
}

/// Chains, rules, sets and their members.
fn sizes(ruleset: &Ruleset) -> (Family, [usize; 4]) {
    let rules = ruleset.chains.values().map(|chain| chain.rules.len()).sum();
    let members = ruleset.sets.values().map(|set| set.members.len()).sum();
    (ruleset.family, [ruleset.chains.len(), rules, ruleset.sets.len(), members])
}

async fn next_notice(monitor: &mut Option<Monitor>) -> Notice {
    match monitor {
        Some(monitor) => monitor.next().await,
        None => std::future::pending().await,
    }
}

async fn next_devices(devices: &mut Option<Devices>) {
    match devices {
        Some(devices) => devices.changed().await,
        None => std::future::pending().await,
    }
}

async fn next_denied(listener: &mut Option<Listener>) -> std::io::Result<Heard> {
    match listener {
        Some(listener) => listener.next().await,
        None => std::future::pending().await,
    }
}
