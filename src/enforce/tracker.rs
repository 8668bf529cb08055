//! What works on tracked connections, beside what works on rules: with a million of them it
//! takes a while.

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;

use brindle_policy::Family;
use tokio::task::JoinHandle;

use super::conntrack::{Conntrack, Entry};
use super::recheck::Affected;

/// What became of a piece of work.
#[derive(Debug)]
pub(super) enum Tracked {
    /// All entries of addresses that pass on were removed: so many.
    Flushed(BTreeSet<IpAddr>, io::Result<u64>),
    /// The entries that are to be judged.
    Entries(io::Result<Vec<Entry>>),
    /// Entries that were judged were removed: so many.
    Cut(io::Result<u64>),
}

/// The way to connection tracking, with what is done there.
#[derive(Default)]
pub(super) struct Tracker {
    /// Away while something is done; opened when it is first needed.
    conntrack: Option<Conntrack>,
    work: Option<JoinHandle<(io::Result<Conntrack>, Tracked)>>,
}

impl Tracker {
    /// Whether something is done.
    pub(super) fn is_busy(&self) -> bool {
        self.work.is_some()
    }

    /// Waits for the end of what is done; for ever if that is nothing. Nothing is lost if it
    /// is not waited for to the end.
    pub(super) async fn done(&mut self) -> Tracked {
        let Some(work) = &mut self.work else { return std::future::pending().await };
        let ended = work.await;
        self.work = None;
        let (conntrack, tracked) =
            ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()));
        self.conntrack = conntrack.ok();
        tracked
    }

    /// Removes all entries of these addresses.
    pub(super) fn flush(&mut self, addresses: BTreeSet<IpAddr>) {
        let affected = Affected::Some(addresses.clone().into());
        self.begin(move |conntrack| {
            let flushed =
                entries(conntrack, &affected).and_then(|entries| cut(conntrack, &entries));
            Tracked::Flushed(addresses, flushed)
        });
    }

    /// Reads the entries that are about these addresses.
    pub(super) fn entries(&mut self, affected: Affected) {
        self.begin(move |conntrack| Tracked::Entries(entries(conntrack, &affected)));
    }

    /// Removes entries.
    pub(super) fn cut(&mut self, entries: Vec<Entry>) {
        self.begin(move |conntrack| Tracked::Cut(cut(conntrack, &entries)));
    }

    /// Works on a thread that may block.
    fn begin(&mut self, work: impl FnOnce(&mut io::Result<Conntrack>) -> Tracked + Send + 'static) {
        debug_assert!(self.work.is_none(), "one piece of work at a time");
        // Opened here, as a socket is for good in the network namespace of who opens it.
        let mut conntrack = self.conntrack.take().map_or_else(Conntrack::open, Ok);
        self.work = Some(tokio::task::spawn_blocking(move || {
            let tracked = work(&mut conntrack);
            (conntrack, tracked)
        }));
    }
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
