//! What works on the kernel: one piece of work at a time, and the task stays free to answer.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use brindle_policy::Family;
use brindle_policy::readback::Installed;
use brindle_policy::ruleset::Plan;
use futures::FutureExt as _;
use futures::future::LocalBoxFuture;

use super::BackendChoice;
use super::conntrack::{Conntrack, Entry};
use super::dataplane::{Applied, ApplyError, CommandError, Dataplane, Tuning, Unavailable};
use super::recheck::Affected;

/// What became of a piece of work.
#[derive(Debug)]
pub(super) enum Done {
    /// The programs were looked for.
    Detected(Result<(), Unavailable>),
    /// The kernel was read.
    Read(BTreeMap<Family, Result<Installed, ApplyError>>),
    /// Plans were carried out.
    Written(Vec<Written>),
    /// What the other backend had of ours was removed: so many chains and jumps.
    Swept(Result<usize, CommandError>),
    /// All entries of addresses that pass on were removed: so many.
    Flushed(BTreeSet<IpAddr>, io::Result<u64>),
    /// The entries that are to be judged.
    Entries(io::Result<Vec<Entry>>),
    /// Entries that were judged were removed: so many.
    Cut(io::Result<u64>),
}

/// What became of the plans of one family.
#[derive(Debug)]
pub(super) struct Written {
    /// The family.
    pub family: Family,
    /// How long it took.
    pub took: Duration,
    /// What was carried out; of several plans all that was said.
    pub result: Result<Applied, ApplyError>,
}

/// The tools, with what is done with them.
pub(super) struct Hands {
    tools: Tools,
    work: Option<LocalBoxFuture<'static, (Tools, Done)>>,
    tuning: Tuning,
}

/// What the work is done with. They are away while it is done.
#[derive(Debug, Default)]
struct Tools {
    dataplane: Option<Dataplane>,
    conntrack: Option<Conntrack>,
}

impl Hands {
    /// With nothing in them.
    pub(super) fn new(tuning: Tuning) -> Self {
        Self { tools: Tools::default(), work: None, tuning }
    }

    /// Whether they do something.
    pub(super) fn is_busy(&self) -> bool {
        self.work.is_some()
    }

    /// The dataplane; `None` if there is none, or while they are busy.
    pub(super) fn dataplane(&mut self) -> Option<&mut Dataplane> {
        self.tools.dataplane.as_mut()
    }

    /// Waits for the end of what they do; for ever if that is nothing. Nothing is lost if it
    /// is not waited for to the end.
    pub(super) async fn done(&mut self) -> Done {
        let Some(work) = &mut self.work else { return std::future::pending().await };
        let (tools, done) = work.await;
        self.work = None;
        self.tools = tools;
        done
    }

    /// Looks for the programs, in place of those there are.
    pub(super) fn detect(&mut self, choice: BackendChoice) {
        let tuning = self.tuning.clone();
        self.begin(|mut tools| async move {
            tools.dataplane = None;
            let found = Dataplane::detect_tuned(choice, tuning).await;
            let done = found.map(|dataplane| tools.dataplane = Some(dataplane));
            (tools, Done::Detected(done))
        });
    }

    /// Reads what the kernel holds.
    pub(super) fn read(&mut self, families: BTreeSet<Family>) {
        self.begin(|tools| async move {
            let mut all = BTreeMap::new();
            if let Some(dataplane) = &tools.dataplane {
                for family in families {
                    all.insert(family, dataplane.read(family).await);
                }
            }
            (tools, Done::Read(all))
        });
    }

    /// Carries out plans, those of a family in their order. What fails in one family does not
    /// hold up another.
    pub(super) fn write(&mut self, plans: BTreeMap<Family, Vec<Plan>>) {
        self.begin(|mut tools| async move {
            let mut all = Vec::new();
            if let Some(dataplane) = &mut tools.dataplane {
                for (family, plans) in plans {
                    let begin = Instant::now();
                    let result = write(dataplane, &plans).await;
                    all.push(Written { family, took: begin.elapsed(), result });
                }
            }
            (tools, Done::Written(all))
        });
    }

    /// Removes what the backend that is not used has of ours.
    pub(super) fn sweep(&mut self) {
        self.begin(|mut tools| async move {
            let swept = match &mut tools.dataplane {
                Some(dataplane) => dataplane.remove_leftovers_elsewhere().await,
                None => Ok(0),
            };
            (tools, Done::Swept(swept))
        });
    }

    /// Removes all entries of these addresses.
    pub(super) fn flush(&mut self, addresses: BTreeSet<IpAddr>) {
        let affected = Affected::Some(addresses.clone());
        self.track(move |conntrack| {
            let flushed =
                entries(conntrack, &affected).and_then(|entries| cut(conntrack, &entries));
            Done::Flushed(addresses.clone(), flushed)
        });
    }

    /// Reads the entries that are about these addresses.
    pub(super) fn entries(&mut self, affected: Affected) {
        self.track(move |conntrack| Done::Entries(entries(conntrack, &affected)));
    }

    /// Removes entries.
    pub(super) fn cut(&mut self, entries: Vec<Entry>) {
        self.track(move |conntrack| Done::Cut(cut(conntrack, &entries)));
    }

    fn begin<F>(&mut self, work: impl FnOnce(Tools) -> F)
    where
        F: Future<Output = (Tools, Done)> + 'static,
    {
        debug_assert!(self.work.is_none(), "one piece of work at a time");
        self.work = Some(work(std::mem::take(&mut self.tools)).boxed_local());
    }

    /// Works with connection tracking on a thread that may block.
    fn track(&mut self, work: impl FnOnce(&mut io::Result<Conntrack>) -> Done + Send + 'static) {
        self.begin(|mut tools| async move {
            // Opened here: the thread that blocks is in the network namespace of its maker,
            // but need not have been made today.
            let conntrack = tools.conntrack.take().map_or_else(Conntrack::open, Ok);
            let worked = tokio::task::spawn_blocking(move || {
                let mut conntrack = conntrack;
                let done = work(&mut conntrack);
                (conntrack, done)
            });
            match worked.await {
                Ok((conntrack, done)) => {
                    tools.conntrack = conntrack.ok();
                    (tools, done)
                }
                Err(panic) => std::panic::resume_unwind(panic.into_panic()),
            }
        });
    }
}

async fn write(dataplane: &mut Dataplane, plans: &[Plan]) -> Result<Applied, ApplyError> {
    let mut all = Applied::default();
    for plan in plans {
        let applied = dataplane.apply(plan).await?;
        all.broken_chains.extend(applied.broken_chains);
        all.broken_sets.extend(applied.broken_sets);
        all.warnings.extend(applied.warnings);
        all.is_astray |= applied.is_astray;
    }
    Ok(all)
}

fn entries(conntrack: &mut io::Result<Conntrack>, affected: &Affected) -> io::Result<Vec<Entry>> {
    let conntrack = opened(conntrack)?;
    let mut all = Vec::new();
    for family in Family::ALL {
        all.extend(conntrack.entries(family, |entry| affected.concerns(entry))?);
    }
    Ok(all)
}

fn cut(conntrack: &mut io::Result<Conntrack>, entries: &[Entry]) -> io::Result<u64> {
    opened(conntrack)?.delete(entries)
}

fn opened(conntrack: &mut io::Result<Conntrack>) -> io::Result<&mut Conntrack> {
    match conntrack {
        Ok(conntrack) => Ok(conntrack),
        Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
    }
}
