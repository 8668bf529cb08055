//! The task: takes changes and questions, and sees to it that the kernel follows.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use arc_swap::ArcSwap;
use brindle_policy::compile::{self, Compiler, DenyLog};
use brindle_policy::diff::diff;
use brindle_policy::model::Side;
use brindle_policy::names::ChainName;
use brindle_policy::readback::Installed;
use brindle_policy::ruleset::{Match, Plan, Target};
use brindle_policy::{Family, Ruleset, World};
use tokio::sync::{mpsc, oneshot};
use tracing::{info, warn};

use super::attribution;
use super::audit::{Tampering, tampering};
use super::conntrack::Entry;
use super::dataplane::{Applied, ApplyError, Figures, Tuning, Unavailable};
use super::denied::{Heard, Listener};
use super::hands::{Done, Hands, Written};
use super::monitor::{Monitor, Notice};
use super::quarantine::Quarantine;
use super::recheck::{Affected, Trial};
use super::roster::{Roster, Round};
use super::schedule::Schedule;
use super::status::Trigger;
use super::tenants::Tenants;
use super::{
    Command, CountersError, EnforceSettings, EnforceStatus, EnforceView, EstablishedFlows, Flows,
};

/// Commands that are taken before the kernel gets its turn again.
const COMMANDS_A_TURN: usize = 256;
/// Connections that are judged before others get their turn.
const JUDGED_A_TURN: usize = 500;
/// How often removing the entries of an address that passes on is tried.
const FLUSH_TRIES: u32 = 3;
/// Warnings that are kept.
const MOST_WARNINGS: usize = 64;

/// The task's state: one owner, no locks.
pub(super) struct Enforcer {
    settings: EnforceSettings,
    world: World,
    tenants: Tenants,
    /// Nothing before the sources are in sync and the kernel was read.
    compilers: BTreeMap<Family, Compiler>,
    /// Stand in for what is not compiled.
    nothing: [Ruleset; 2],
    hands: Hands,
    monitor: Option<Monitor>,
    listener: Option<Listener>,
    flows: Arc<Flows>,
    roster: Roster,
    quarantine: Quarantine,
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
            compilers: BTreeMap::new(),
            nothing: Family::ALL.map(Ruleset::new),
            hands: Hands::new(tuning),
            monitor: None,
            listener: None,
            flows,
            roster: Roster::default(),
            quarantine: Quarantine::default(),
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
        loop {
            self.turn();
            self.publish();
            let has_work = self.trial.is_some();
            let next = self.schedule.next(Instant::now(), self.quarantine.next());
            tokio::select! {
                command = commands.recv() => {
                    if self.take(command, &mut commands) {
                        break;
                    }
                }
                done = self.hands.done() => self.take_done(done),
                notice = next_notice(&mut self.monitor) => {
                    self.suspected.families.extend(notice.families);
                    self.suspected.culprits.extend(notice.culprits);
                }
                heard = next_denied(&mut self.listener) => self.hear(heard),
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
                    let trigger = Trigger::of(&change);
                    let was_in_sync = self.world.is_in_sync();
                    let is_whole = self.tenants.apply(&mut self.world, change, arrived);
                    if is_whole && (was_in_sync || trigger == Trigger::InSync) {
                        self.roster.arrived(trigger, arrived);
                    }
                }
            }
            Command::Read(question) => {
                let Self { world, status, .. } = self;
                let rulesets = [Family::V4, Family::V6].map(|family| {
                    let compiled = self.compilers.get(&family).map(Compiler::ruleset);
                    compiled.unwrap_or(&self.nothing[usize::from(family == Family::V6)])
                });
                (question.0)(&EnforceView { world, rulesets, status });
            }
            Command::Counters(family, answer) => {
                self.asked.entry(family).or_default().push(answer);
            }
            Command::Configure(settings) => self.configure(*settings),
            Command::Stop => {}
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
        self.follow(now);
        let wanted = self.compile_settings();
        for (family, compiler) in &mut self.compilers {
            let plan = compiler.set_settings(&self.world, wanted.clone());
            self.waiting.entry(*family).or_default().push(plan);
        }
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
        }
    }

    /// Begins the next piece of work, if there is one.
    fn turn(&mut self) {
        let now = Instant::now();
        if let Some(trial) = &mut self.trial
            && let Some(guilty) = trial.go_on(&self.world, &self.settings.node, JUDGED_A_TURN)
        {
            self.guilty.extend(guilty);
            self.trial = None;
        }
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
        let may_write = self.world.is_in_sync() && self.schedule.may_write(now);
        if may_write && !self.prepare(&families, now) {
            return;
        }
        let asked: BTreeSet<Family> = self.asked.keys().copied().collect();
        let is_doubted = self.schedule.is_audit_due(now) || !self.suspected.families.is_empty();
        if !asked.is_empty() {
            self.hands.read(asked);
        } else if !self.status.ready {
            // Nothing else before everything is in the kernel once.
        } else if !self.tenants.to_flush().is_empty() {
            self.hands.flush(self.tenants.to_flush());
        } else if !self.guilty.is_empty() {
            self.hands.cut(std::mem::take(&mut self.guilty));
        } else if !self.affected.is_empty() && self.trial.is_none() {
            self.hands.entries(std::mem::replace(&mut self.affected, Affected::none()));
        } else if !self.is_swept {
            self.hands.sweep();
        } else if may_write && is_doubted {
            self.hands.read(families.into_iter().collect());
        }
    }

    /// Sees to it that the kernel is known and follows the world. Whether nothing had to be
    /// begun for that.
    fn prepare(&mut self, families: &[Family], now: Instant) -> bool {
        if self.compilers.is_empty() {
            self.unknown.extend(families);
        }
        if !self.unknown.is_empty() {
            self.hands.read(self.unknown.clone());
            return false;
        }
        if self.quarantine.release(&BTreeSet::new(), now) {
            self.requarantine();
        }
        self.follow(now);
        self.write()
    }

    /// Compiles what changed in the world.
    fn follow(&mut self, now: Instant) {
        let touched = self.world.take_touched();
        if self.compilers.is_empty() || touched.is_empty() {
            return;
        }
        if self.settings.established == EstablishedFlows::Recheck {
            self.unsettled.add(Affected::of(&self.world, &touched));
        }
        self.roster.touch(&self.world, &self.settings.node, &touched.endpoints);
        for (family, compiler) in &mut self.compilers {
            let plan = compiler.update(&self.world, &touched);
            self.waiting.entry(*family).or_default().push(plan);
        }
        if self.quarantine.release(&touched.policies, now) {
            self.requarantine();
        }
    }

    fn requarantine(&mut self) {
        for (family, compiler) in &mut self.compilers {
            let plan = compiler.quarantine(&self.world, self.quarantine.of(*family));
            self.waiting.entry(*family).or_default().push(plan);
        }
        self.status.broken = self.quarantine.cases();
    }

    /// Writes what waits; whether there was nothing, so that it is settled at once.
    fn write(&mut self) -> bool {
        let mut plans = std::mem::take(&mut self.waiting);
        plans.values_mut().for_each(|plans| plans.retain(|plan| !plan.is_empty()));
        plans.retain(|_, plans| !plans.is_empty());
        let writing = Writing {
            round: self.roster.take(),
            affected: std::mem::replace(&mut self.unsettled, Affected::none()),
            closing: self.tenants.closing(),
        };
        if plans.is_empty() {
            self.settle(writing, Instant::now());
            return true;
        }
        self.writing = Some(writing);
        self.hands.write(plans);
        false
    }

    /// It is in the kernel.
    fn settle(&mut self, writing: Writing, now: Instant) {
        self.roster.settle(writing.round, now);
        self.affected.add(writing.affected);
        self.tenants.close(&writing.closing);
        self.schedule.succeeded();
        if let Some((since, _)) = self.status.failing.take() {
            info!(?since, "policies are written again");
        }
        if !self.status.ready {
            let (endpoints, policies) = (self.world.pods().count(), self.world.policies().count());
            info!(pods = endpoints, policies, "all policies are in the kernel");
        }
        self.status.ready = true;
        for found in self.repairs.drain(..) {
            warn!("somebody changed what is ours, and it is put right: {found}");
            self.status.repairs += 1;
            *self.status.repaired.entry(found.kind.as_str()).or_default() += 1;
            self.status.last_repair = Some((SystemTime::now(), found.to_string()));
        }
    }

    fn fail(&mut self, what: String) {
        let now = Instant::now();
        self.schedule.failed(now);
        let since = self.status.failing.as_ref().map(|(since, _)| *since);
        if self.status.failing.as_ref().is_none_or(|(_, before)| *before != what) {
            warn!("cannot write policies: {what}");
        }
        self.status.failing = Some((since.unwrap_or_else(SystemTime::now), what));
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
            Done::Detected(found) => self.detected(found),
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
            Done::Flushed(addresses, flushed) => self.has_flushed(&addresses, flushed),
            Done::Entries(Ok(entries)) => self.trial = Some(Trial::new(entries)),
            Done::Cut(Ok(cut)) => self.status.flushed.denied += cut,
            Done::Entries(Err(error)) | Done::Cut(Err(error)) => {
                self.warn_once(format!("cannot cut connections that are denied now: {error}"));
            }
        }
    }

    fn detected(&mut self, found: Result<(), Unavailable>) {
        let Some(dataplane) = self.hands.dataplane().filter(|_| found.is_ok()) else {
            let missing = found.err().map(|missing| missing.to_string()).unwrap_or_default();
            if self.status.unavailable.as_ref() != Some(&missing) {
                warn!("policies are not enforced: {missing}");
            }
            self.status.unavailable = Some(missing);
            self.schedule.is_missing(Instant::now());
            return;
        };
        self.status.unavailable = None;
        self.status.backend = Some(dataplane.backend());
        self.figures = dataplane.figures().clone();
        self.unknown = dataplane.families().into_iter().collect();
        self.is_swept = false;
        match Monitor::start(dataplane.watched()) {
            Ok(monitor) => self.monitor = Some(monitor),
            Err(error) => {
                self.monitor = None;
                self.warn_once(format!("changes by others are found by the audit only: {error}"));
            }
        }
    }

    fn has_read(&mut self, found: BTreeMap<Family, Result<Installed, ApplyError>>) {
        let now = Instant::now();
        let mut have = Vec::new();
        for (family, read) in found {
            for answer in self.asked.remove(&family).unwrap_or_default() {
                let told = read.as_ref().map_err(|e| CountersError::Unread(e.to_string()));
                // Whoever asked may have gone meanwhile.
                let _ = answer.send(told.cloned());
            }
            match read {
                Ok(installed) => have.push(installed),
                Err(error) => self.fail(error.to_string()),
            }
        }
        if !self.world.is_in_sync() || !self.schedule.may_write(now) {
            return;
        }
        if self.compilers.is_empty() {
            self.begin(&have);
        }
        self.follow(now);
        let culprits = std::mem::take(&mut self.suspected).culprits;
        for have in have {
            let Some(compiler) = self.compilers.get(&have.family) else { continue };
            let waiting = self.waiting.entry(have.family).or_default();
            let is_known = !self.unknown.remove(&have.family);
            if is_known && waiting.iter().any(|plan| !plan.is_empty()) {
                // What is found is mixed with what is not written yet: the next audit tells.
                self.suspected.families.insert(have.family);
                self.suspected.culprits.extend(culprits.iter().cloned());
                continue;
            }
            let plan = diff(compiler.ruleset(), &have);
            if is_known {
                self.repairs.extend(tampering(&plan, &have, &culprits));
            }
            *waiting = vec![plan];
        }
        self.schedule.audited(now, self.settings.audit);
        if self.unknown.is_empty() {
            self.write();
        }
    }

    /// Compiles for the first time.
    fn begin(&mut self, have: &[Installed]) {
        let installed = have.iter().flat_map(dispatched).collect();
        self.tenants.settle(&mut self.world, installed);
        drop(self.world.take_touched());
        let node = Arc::clone(&self.settings.node);
        let local: Vec<_> = self.world.endpoints_on(&node).map(|pod| pod.key.clone()).collect();
        self.roster.touch(&self.world, &node, &local);
        let settings = self.compile_settings();
        for family in self.unknown.clone() {
            let compiler = Compiler::new(&self.world, settings.clone(), family);
            self.compilers.insert(family, compiler);
        }
    }

    fn has_written(&mut self, written: Vec<Written>) {
        let now = Instant::now();
        let Some(writing) = self.writing.take() else { return };
        let (mut failures, mut is_quarantined) = (Vec::new(), false);
        for Written { family, took, result } in written {
            self.status.applying.entry(family).or_default().add(took);
            self.status.applied[usize::from(result.is_err())] += 1;
            match result {
                Ok(applied) => {
                    if applied.is_astray {
                        self.unknown.insert(family);
                    }
                    match self.admit(family, &applied, now) {
                        Ok(is_new) => is_quarantined |= is_new,
                        Err(why) => failures.push(why),
                    }
                    applied.warnings.into_iter().for_each(|what| self.warn_once(what));
                }
                Err(error) => {
                    self.unknown.insert(family);
                    failures.push(error.to_string());
                }
            }
        }
        if is_quarantined {
            self.requarantine();
        }
        if failures.is_empty() && self.unknown.is_empty() {
            self.settle(writing, now);
        } else {
            self.roster.put_back(writing.round);
            self.unsettled.add(writing.affected);
        }
        if !failures.is_empty() {
            self.fail(failures.join("; "));
        }
    }

    /// Puts policies in quarantine that the kernel refused something of; whether there are
    /// new ones.
    ///
    /// # Errors
    /// Why, if it refused something and that is no policy's, or that of one in quarantine.
    fn admit(&mut self, family: Family, applied: &Applied, now: Instant) -> Result<bool, String> {
        let chains = applied
            .broken_chains
            .iter()
            .map(|broken| format!("{family} {} {}: {}", broken.table, broken.chain, broken.why));
        let sets =
            applied.broken_sets.iter().map(|broken| format!("{}: {}", broken.set, broken.why));
        let refused: Vec<String> = chains.chain(sets).collect();
        let Some(compiler) = self.compilers.get(&family).filter(|_| !refused.is_empty()) else {
            return Ok(false);
        };
        if self.quarantine.admit(compiler.ruleset(), applied, now) {
            warn!(
                "the kernel refused part of a policy, which allows nothing now: {}",
                refused.join("; ")
            );
            return Ok(true);
        }
        self.unknown.insert(family);
        Err(refused.join("; "))
    }

    fn has_flushed(&mut self, addresses: &BTreeSet<IpAddr>, flushed: std::io::Result<u64>) {
        match flushed {
            Ok(count) => self.status.flushed.reused += count,
            Err(_) if self.flush_tries < FLUSH_TRIES => {
                self.flush_tries += 1;
                return;
            }
            // A pod without a network would be worse than a connection of its predecessor's.
            Err(error) => self.warn_once(format!(
                "connections of addresses that are used again cannot be removed: {error}"
            )),
        }
        self.flush_tries = 0;
        for arrived in self.tenants.flushed(&mut self.world, addresses) {
            self.roster.arrived(Trigger::Pod, arrived);
        }
    }

    fn answer_unavailable(&mut self) {
        let why = self.status.unavailable.clone().unwrap_or_default();
        for answer in std::mem::take(&mut self.asked).into_values().flatten() {
            let _ = answer.send(Err(CountersError::Unread(why.clone())));
        }
    }

    /// Listens for denied packets, if they are told.
    fn listen(&mut self) {
        self.listener = None;
        let Some(log) = self.settings.flow_log else { return };
        match Listener::open(log.group) {
            Ok(listener) => self.listener = Some(listener),
            Err(error) => {
                let group = log.group;
                self.warn_once(format!(
                    "cannot hear of denied packets, NFLOG group {group}: {error}"
                ));
            }
        }
    }

    /// Takes in denied packets.
    fn hear(&mut self, heard: std::io::Result<Heard>) {
        match heard {
            Ok(Heard::Packets(packets)) => {
                let now = SystemTime::now();
                self.status.denied[0] += packets.len() as u64;
                for packet in &packets {
                    self.flows.add(attribution::flow(&self.world, packet, now));
                }
            }
            Ok(Heard::Lost) => self.status.denied[1] += 1,
            Err(error) => {
                self.listener = None;
                self.warn_once(format!("denied packets are not heard of any more: {error}"));
            }
        }
    }

    fn publish(&mut self) {
        let writing = self.writing.as_ref().map(|writing| &writing.round);
        self.roster.tell(&mut self.status, writing, self.tenants.held());
        self.status.programs = self.figures.read();
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

/// The chains of endpoints by the addresses that the kernel sends there.
fn dispatched(installed: &Installed) -> HashMap<IpAddr, ChainName> {
    let rules = installed.chains.values().flatten().filter_map(|rule| rule.rule.as_ref());
    let mut found = HashMap::new();
    for rule in rules {
        if let (Target::Goto(chain), [Match::In(Side::Destination, block)]) =
            (&rule.target, &rule.matches[..])
            && block.length() == block.family().bits()
        {
            found.insert(block.address(), chain.clone());
        }
    }
    found
}

async fn next_notice(monitor: &mut Option<Monitor>) -> Notice {
    match monitor {
        Some(monitor) => monitor.next().await,
        None => std::future::pending().await,
    }
}

async fn next_denied(listener: &mut Option<Listener>) -> std::io::Result<Heard> {
    match listener {
        Some(listener) => listener.next().await,
        None => std::future::pending().await,
    }
}
