//! The fib task: takes commands and kernel events, writes the difference, tells what changed.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use brindle_bgp::net::{Family, Prefix};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tracing::{info, warn};

use super::forwarding::Forwarding;
use super::found::Found;
use super::guard::Guard;
use super::hash_policy::HashPolicy;
use super::mirror::Mirror;
use super::netlink::{BATCH, Drained, Dump, Monitor, ObjectMonitor, Queries, Writer};
use super::news::News;
use super::object::ObjectOp;
use super::reachable::Reachable;
use super::route::{Action, RouteOp};
use super::schedule::Schedule;
use super::table::{Outcome, Refused, Table};
use super::view;
use super::watch::Watch;
use super::{Command, Event, FibSettings, FibStatus, GroupState};

mod grouping;

use grouping::changed;

/// Batches that are written before commands get their turn again.
const BATCHES_A_TURN: usize = 16;
/// Commands that are taken before routes get their turn again.
const COMMANDS_A_TURN: usize = 64;
/// Repaired prefixes that are named in one line of the log.
const REPAIRS_NAMED: usize = 8;
/// How often forwarding is looked at.
const FORWARDING_EVERY: Duration = Duration::from_secs(5);

/// The task's state: one owner, no locks.
pub struct Fib {
    settings: FibSettings,
    writer: Writer,
    monitor: Monitor,
    mirror: Mirror,
    table: Table,
    reachable: Reachable,
    schedule: Schedule,
    watch: Watch,
    forwarding: Forwarding,
    hash: HashPolicy,
    guard: Guard,
    /// Hears of next-hop objects, if they are asked for and the kernel has such.
    objects: Option<ObjectMonitor>,
    /// Whether the kernel has resilient groups, by what it said to one; `None` if none was tried.
    can_group: Option<Result<(), String>>,
    /// The families that were to be forwarded when it was last looked at.
    forwarded: [bool; 2],
    /// Links, addresses or others' routes changed: next hops are to be found anew.
    is_disturbed: bool,
    repaired: Vec<Prefix>,
    /// Where events go from now on.
    successor: Option<mpsc::Sender<Event>>,
    status: FibStatus,
    published: Arc<ArcSwap<FibStatus>>,
}

impl Fib {
    /// A task that has read nothing yet.
    pub fn new(
        settings: FibSettings,
        writer: Writer,
        monitor: Monitor,
        published: Arc<ArcSwap<FibStatus>>,
        audit: Duration,
    ) -> Self {
        Self {
            table: Table::new(settings.metric),
            settings,
            writer,
            monitor,
            mirror: Mirror::default(),
            reachable: Reachable::default(),
            schedule: Schedule::new(Instant::now(), audit),
            watch: Watch::default(),
            forwarding: Forwarding::default(),
            hash: HashPolicy::default(),
            guard: Guard::default(),
            objects: None,
            can_group: None,
            forwarded: [false; 2],
            is_disturbed: false,
            repaired: Vec::new(),
            successor: None,
            status: FibStatus::default(),
            published,
        }
    }

    /// Runs until told to stop, or until nobody is left to tell it anything.
    pub async fn run(
        mut self,
        mut commands: mpsc::Receiver<Command>,
        mut events: mpsc::Sender<Event>,
    ) {
        loop {
            if let Some(successor) = self.successor.take() {
                events = successor;
            }
            let has_work = self.status.ready && self.settings.install && self.table.is_dirty();
            let has_news = self.status.ready && self.watch.has_news() && !events.is_closed();
            tokio::select! {
                command = commands.recv() => {
                    if self.take(command, &mut commands) {
                        break;
                    }
                }
                () = self.monitor.ready() => self.hear().await,
                heard = changed(&mut self.objects) => self.objects_changed(heard),
                permit = events.reserve(), if has_news => {
                    if let (Ok(permit), Some(event)) = (permit, self.watch.tell(&self.mirror)) {
                        permit.send(event);
                    }
                    continue;
                }
                () = sleep_until(self.schedule.next()) => {}
                () = std::future::ready(()), if has_work => {}
            }
            self.turn().await;
        }
        self.publish();
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
        next.is_some_and(|command| {
            let is_last = matches!(command, Command::Stop);
            if !is_last {
                self.obey(command);
            }
            is_last
        })
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Change(changes) => {
                for change in changes {
                    if let Some(change) = self.reachable.overrule(change) {
                        self.table.change(change, &self.mirror);
                    }
                }
            }
            Command::Reach(gateways, done) => {
                self.reachable.set(gateways, done, &mut self.table, &mut self.mirror);
                self.is_disturbed = true;
            }
            Command::Watch(new, old) => {
                for next_hop in old {
                    self.watch.remove(next_hop);
                }
                for next_hop in new {
                    self.watch.add(next_hop, &self.mirror);
                }
            }
            Command::Succeed(events) => {
                self.table.orphan();
                self.reachable = Reachable::default();
                self.mirror.set_reachable_by(BTreeMap::new());
                self.watch = Watch::default();
                self.watch.look_at_all(&self.mirror);
                self.successor = Some(events);
            }
            Command::Leftovers(answer) => {
                // Whoever asked may have gone meanwhile.
                let _ = answer.send(self.table.leftovers());
            }
            Command::Guard(guarded) => self.guard.set(guarded),
            Command::Defer => self.table.defer(),
            Command::Heard(gateways) => self.table.hear(gateways),
            Command::EndDeferral => self.table.end_deferral(),
            Command::Sweep => {
                let leftovers = self.table.leftover_count();
                self.table.sweep();
                info!(leftovers, "sources and peers are in sync: leftovers of an earlier run go");
            }
            Command::Configure(settings) => {
                self.table.set_metric(settings.metric);
                if self.settings.resilience != settings.resilience {
                    self.can_group = None;
                }
                self.settings = settings;
                self.schedule.check_forwarding_at(Instant::now());
            }
            Command::List(request, answer) => {
                let views = view::list(&request, &self.table, &self.mirror, self.settings.install);
                // Whoever asked may have gone meanwhile.
                let _ = answer.send(views);
            }
            Command::Stop => {}
        }
    }

    /// Takes in what the kernel tells.
    async fn hear(&mut self) {
        let Self { monitor, mirror, table, guard, .. } = self;
        let (mut is_disturbed, mut is_resync) = (false, false);
        let drained = monitor
            .drain(|news| {
                if let News::Route(route, _) | News::RouteGone(route) = &news {
                    guard.touched(&route.key.prefix);
                }
                match news {
                    News::Link(link) => {
                        let (index, is_up) = (link.index, link.is_up);
                        let is_news = mirror.add_link(link);
                        is_disturbed |= is_news;
                        // The kernel removes IPv4 routes with their link, and tells nobody.
                        is_resync |= is_news && table.uses(index);
                        if !is_up {
                            table.forget_link(index);
                        }
                    }
                    News::LinkGone(index) => {
                        is_disturbed |= mirror.remove_link(index);
                        is_resync |= table.uses(index);
                        table.forget_link(index);
                    }
                    News::Address(address) => is_disturbed |= mirror.add_address(address),
                    News::AddressGone(address) => {
                        is_disturbed |= mirror.remove_address(&address);
                        // With the last address of a link go its IPv4 routes, as silently.
                        is_resync |= address.address.is_ipv4()
                            && (table.uses(address.link) || mirror.uses(address.link));
                    }
                    News::Route(route, _) if route.is_ours() => {
                        is_disturbed |= mirror.displace(&route.key);
                        table.seen(route);
                    }
                    News::Route(route, replaces) => {
                        if replaces {
                            table.taken(&route.key);
                        }
                        table.reconsider(route.key.prefix);
                        is_disturbed |= mirror.add_route(route, replaces);
                    }
                    News::RouteGone(route) if route.is_ours() => {
                        is_resync |= table.vanished(&route);
                    }
                    News::GuardGone => guard.look_again(),
                    News::RouteGone(route) => {
                        table.reconsider(route.key.prefix);
                        is_disturbed |= mirror.remove_route(&route);
                    }
                }
            })
            .await;
        self.is_disturbed |= is_disturbed;
        if is_resync {
            self.schedule.resync_soon(Instant::now());
        }
        match drained {
            Ok(Drained::All) => {}
            Ok(Drained::Overrun) => {
                self.status.overruns += 1;
                if self.schedule.resync_soon(Instant::now()) {
                    let overruns = self.status.overruns;
                    warn!(overruns, "the kernel's events overran us; reading everything anew");
                }
            }
            Err(error) => {
                self.failed(format!("listening to the kernel: {error}"));
                self.schedule.resync_soon(Instant::now());
            }
        }
    }

    /// Does what is due: reads anew, finds next hops, writes, tells.
    async fn turn(&mut self) {
        let now = Instant::now();
        if self.schedule.is_resync_due(now) {
            self.resync().await;
        }
        if self.schedule.is_retry_due(now) {
            // What it refuses may be due to something that we do not know of.
            self.schedule.resync_soon(now);
            self.table.retry();
        }
        if self.schedule.is_waiting_over(now) {
            self.table.end_waiting();
        }
        self.find_next_hops();
        if self.status.ready && self.settings.install {
            self.see_to_groups();
            self.write().await;
        }
        self.schedule.set_waiting(self.table.has_waiting(), Instant::now());
        if self.status.ready && !(self.settings.install && self.table.is_dirty()) {
            self.reachable.written();
        }
        if self.status.ready && self.settings.install {
            let failure = self.guard.ensure(&self.mirror, &self.table, now).await;
            failure.into_iter().for_each(|failure| self.failed(failure));
        }
        self.forward(now);
        self.publish();
    }

    /// Finds next hops anew, if there may be other ways to them.
    fn find_next_hops(&mut self) {
        if self.is_disturbed && self.status.ready {
            self.is_disturbed = false;
            self.table.refresh(&self.mirror);
            if self.table.has_refused() {
                self.schedule.retry_soon(Instant::now());
            }
            self.watch.look_at_all(&self.mirror);
        }
    }

    /// Reads everything that the kernel holds.
    async fn resync(&mut self) {
        let started = Instant::now();
        // Events that are older than what is read now would undo it.
        self.hear().await;
        let objects = self.writer.objects();
        let read = match objects {
            Ok(objects) => read_all(&self.table).await.map(|read| (objects, read)),
            Err(error) => Err(error),
        };
        match read {
            Ok((objects, (mirror, ours))) => {
                let is_first = !self.status.ready;
                let gateways = self.mirror.reachable_by().clone();
                self.mirror = mirror;
                self.mirror.set_reachable_by(gateways);
                self.table.load_objects(objects);
                let surprises = self.table.load(ours);
                self.table.reconsider_all(&self.mirror);
                self.is_disturbed = true;
                self.guard.look_again();
                self.status.ready = true;
                if is_first {
                    self.status.found = self.table.leftover_families();
                    let (stale, took) = (self.table.leftover_count(), started.elapsed());
                    info!(stale, ?took, "read the routes of an earlier run");
                } else if surprises > 0 {
                    info!(surprises, "routes were not as they had been left");
                }
                self.schedule.resync_done(started, Instant::now());
                if matches!(self.can_group, Some(Err(_))) {
                    // It may have lacked memory then, or a module that it has now.
                    self.can_group = None;
                }
            }
            Err(error) => {
                self.failed(format!("reading the kernel's routes: {error}"));
                self.schedule.resync_failed(Instant::now());
            }
        }
    }

    /// Writes some of what is to be written.
    async fn write(&mut self) {
        let mut refusals = Refusals::default();
        for _ in 0..BATCHES_A_TURN {
            // Whether a key is ours to write is to be known as of now.
            self.hear().await;
            self.find_next_hops();
            let mut ops = self.table.plan(BATCH, &self.mirror);
            let objects = self.table.plan_objects();
            if !self.write_objects(&objects, &mut refusals) {
                ops.iter().for_each(|op| self.table.plan_again(op.key.prefix));
                break;
            }
            self.table.drop_unready(&mut ops);
            if ops.is_empty() && objects.is_empty() || !self.write_all(&ops, &mut refusals) {
                break;
            }
        }
        if !self.table.is_dirty() {
            let unused = self.table.plan_removals();
            self.write_objects(&unused, &mut refusals);
        }
        if let Some(failure) = refusals.describe() {
            self.failed(failure);
        }
        if self.table.has_refused() {
            self.schedule.retry_later(Instant::now());
        } else {
            self.schedule.retry_is_over();
        }
        if !self.repaired.is_empty() && !self.table.is_dirty() {
            let count = self.repaired.len();
            self.repaired.truncate(REPAIRS_NAMED);
            let named: Vec<String> = self.repaired.drain(..).map(|p| p.to_string()).collect();
            info!(count, prefixes = named.join(" "), "put back routes that had been removed");
        }
    }

    /// Whether the kernel answered to all of it.
    fn write_all(&mut self, ops: &[RouteOp], refusals: &mut Refusals) -> bool {
        let mut left = ops;
        while !left.is_empty() {
            let answers = match self.writer.write(left) {
                Ok(answers) => answers,
                Err(error) => {
                    self.failed(format!("writing routes: {error}"));
                    for op in left {
                        self.table.plan_again(op.key.prefix);
                    }
                    self.schedule.resync_failed(Instant::now());
                    return false;
                }
            };
            let (done, rest) = left.split_at(answers.len().min(left.len()));
            for (op, answer) in done.iter().zip(answers) {
                let why = answer.as_ref().err().cloned();
                self.guard.touched(&op.key.prefix);
                match self.table.written(op, answer) {
                    Outcome::Done => {}
                    Outcome::Repaired => {
                        self.status.repairs += 1;
                        self.repaired.push(op.key.prefix);
                    }
                    Outcome::Surprised => _ = self.schedule.resync_soon(Instant::now()),
                    Outcome::Refused => refusals.note(op, why),
                }
            }
            left = rest;
        }
        true
    }

    /// Switches on forwarding for the families that are routed as soon as one is, and looks
    /// every few seconds whether it still is.
    fn forward(&mut self, now: Instant) {
        let is_due = self.schedule.is_forwarding_due(now);
        let wanted = self
            .table
            .wanted_count()
            .map(|count| count > 0 && self.settings.forwarding && self.settings.install);
        let is_new = wanted != self.forwarded && self.forwarding.lacks(wanted);
        if is_due || is_new {
            self.forwarded = wanted;
            self.schedule.check_forwarding_at(now + FORWARDING_EVERY);
            if let Some(failure) = self.forwarding.ensure(wanted, &self.mirror) {
                self.failed(failure);
            }
            if let Some(failure) =
                self.hash.ensure(self.settings.hash.filter(|_| self.settings.install))
            {
                self.failed(failure);
            }
        }
    }

    fn failed(&mut self, what: String) {
        if self.status.last_error.as_ref() != Some(&what) {
            warn!("{what}");
            self.status.last_error = Some(what);
        }
    }

    fn publish(&mut self) {
        self.status.forwarding = self.forwarding.states();
        self.status.hash = self.hash.states();
        self.status.guarded = self.guard.guarded();
        if self.status.unguarded.as_deref() != self.guard.failure() {
            self.status.unguarded = self.guard.failure().map(ToOwned::to_owned);
        }
        self.status.groups = self.settings.resilience.map(|_| GroupState {
            refused: self.can_group.as_ref().and_then(|tried| tried.as_ref().err().cloned()),
            used: self.table.group_count(),
        });
        self.status.wanted = self.table.wanted_count();
        self.status.installed = self.table.installed_count();
        self.status.stale = self.table.leftover_count();
        self.status.conflicts = self.table.conflict_count();
        if **self.published.load() != self.status {
            self.published.store(Arc::new(self.status.clone()));
        }
    }
}

/// What the kernel refused in one turn: one line for all, or a table of a million routes would
/// fill the log.
#[derive(Default)]
struct Refusals {
    first: Option<String>,
    more: usize,
}

impl Refusals {
    fn note(&mut self, op: &RouteOp, why: Option<Refused>) {
        let verb = if op.action == Action::Delete { "removing" } else { "installing" };
        self.note_as(why, || format!("{verb} {}", op.key.prefix));
    }

    fn note_object(&mut self, op: &ObjectOp, why: Option<Refused>) {
        self.note_as(why, || format!("writing next hop or group {}", op.id));
    }

    fn note_as(&mut self, why: Option<Refused>, what: impl FnOnce() -> String) {
        if self.first.is_some() {
            self.more += 1;
        } else {
            let why = why.map(|why| why.to_string()).unwrap_or_default();
            self.first = Some(format!("{}: {why}", what()));
        }
    }

    fn describe(self) -> Option<String> {
        let first = self.first?;
        Some(match self.more {
            0 => first,
            more => format!("{first} (and {more} more)"),
        })
    }
}

/// A new mirror, and our routes.
async fn read_all(table: &Table) -> io::Result<(Mirror, Found)> {
    let mut queries = Queries::open()?;
    let mut mirror = Mirror::default();
    for what in [Dump::Links, Dump::Addresses] {
        for news in queries.dump(what, Vec::new, |all: &mut Vec<News>, news| all.push(news)).await?
        {
            match news {
                News::Link(link) => _ = mirror.add_link(link),
                News::Address(address) => _ = mirror.add_address(address),
                _ => {}
            }
        }
    }
    let mut ours = table.find();
    for family in Family::ALL {
        let start = || (table.find(), Vec::new());
        let (found, others) = queries
            .dump(Dump::Routes(family), start, |all, news| match news {
                News::Route(route, _) if route.is_ours() => all.0.add(route),
                News::Route(route, _) => all.1.push(route),
                _ => {}
            })
            .await?;
        ours.append(found);
        for route in others {
            mirror.add_route(route, false);
        }
    }
    Ok((mirror, ours))
}
