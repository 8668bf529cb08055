//! Notices that somebody may have changed what is ours, so that it is looked at at once.
//!
//! ```text
//!  ruleset events (nft) ─┐
//!  chains, looked at now ├─► quiet for a moment ─► Notice ─► read, compare, put right
//!  and then (legacy)     │
//!  sizes of sets ────────┘
//! ```
//!
//! A notice is a suspicion only. What no notice tells, such as a set in which one member took
//! the place of another, the audit at intervals finds.

mod events;

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io;
use std::time::{Duration, Instant};

use brindle_policy::Family;
use brindle_policy::names::CHAIN_MARK;
use brindle_policy::ruleset::Table;
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;
use tokio_util::task::AbortOnDropHandle;

use super::Backend;
use super::dataplane::{Hooked, OwnWrites, Watched};
use events::{Events, Heard};

/// How long nothing must be heard until it is looked what became of it all.
const QUIET: Duration = Duration::from_millis(50);
/// How long that is waited for at most.
const QUIET_AT_LAST: Duration = Duration::from_millis(500);
/// How often sets are looked at, and on legacy chains.
const LOOK_EVERY: Duration = Duration::from_secs(3);
/// How long to wait before a socket that failed is opened anew.
const REOPEN_AFTER: Duration = Duration::from_secs(1);
/// Notices that wait; who sends more waits.
const NOTICES: usize = 4;

/// Somebody may have changed what is ours.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notice {
    /// The families to look at.
    pub families: BTreeSet<Family>,
    /// The processes that did it, where the kernel told: `nft (4711)`.
    pub culprits: BTreeSet<String>,
}

/// Watches until it is dropped.
#[derive(Debug)]
pub struct Monitor {
    notices: mpsc::Receiver<Notice>,
    _tasks: Vec<AbortOnDropHandle<()>>,
}

impl Monitor {
    /// Begins to watch in the network namespace of this thread; to be called within a
    /// runtime. The first notice comes at once: nobody knows what was before.
    ///
    /// # Errors
    /// If the kernel refuses a socket for its events.
    pub fn start(watched: Watched) -> io::Result<Self> {
        let (sender, notices) = mpsc::channel(NOTICES);
        let mut tasks = Vec::new();
        match watched.backend() {
            Backend::Nft => {
                let events = Events::open(watched.hooked())?;
                watched.own_writes().listen();
                let listen = listen(events, watched.hooked(), watched.own_writes(), sender.clone());
                tasks.push(AbortOnDropHandle::new(tokio::spawn(listen)));
            }
            // Nothing tells of changes there.
            Backend::Legacy => {}
        }
        tasks.push(AbortOnDropHandle::new(tokio::spawn(look(watched, sender))));
        Ok(Self { notices, _tasks: tasks })
    }

    /// The next notice; all that wait make one. Nothing is lost if it is not waited for to
    /// the end.
    pub async fn next(&mut self) -> Notice {
        let Some(mut notice) = self.notices.recv().await else {
            // The tasks end with this value only, if not by a panic, which was told.
            return std::future::pending().await;
        };
        while let Ok(more) = self.notices.try_recv() {
            notice.families.extend(more.families);
            notice.culprits.extend(more.culprits);
        }
        notice
    }
}

/// Turns events into notices.
async fn listen(mut events: Events, hooked: Hooked, own: OwnWrites, sender: mpsc::Sender<Notice>) {
    loop {
        let mut notice = Notice::default();
        let mut until: Option<(Instant, Instant)> = None;
        while until.is_none_or(|(quiet, last)| Instant::now() < quiet.min(last)) {
            let deadline = until.map(|(quiet, last)| quiet.min(last).into());
            let heard = match deadline {
                None => events.next().await,
                Some(deadline) => match tokio::time::timeout_at(deadline, events.next()).await {
                    Ok(heard) => heard,
                    Err(_) => break,
                },
            };
            let now = Instant::now();
            match heard {
                Ok(Heard::Change(process, families)) => {
                    if own.claims(process.pid, &process.name, now) {
                        continue;
                    }
                    notice.families.extend(families);
                    notice.culprits.insert(format!("{} ({})", process.name, process.pid));
                }
                Ok(Heard::Lost) => notice.families.extend(Family::ALL),
                Err(error) => {
                    tracing::warn!(%error, "cannot hear of changes of the ruleset");
                    events = reopen(&hooked).await;
                    notice.families.extend(Family::ALL);
                }
            }
            let last = until.map_or(now + QUIET_AT_LAST, |(_, last)| last);
            until = Some((now + QUIET, last));
        }
        if sender.send(notice).await.is_err() {
            return;
        }
    }
}

async fn reopen(hooked: &Hooked) -> Events {
    loop {
        tokio::time::sleep(REOPEN_AFTER).await;
        match Events::open(hooked.clone()) {
            Ok(events) => return events,
            Err(error) => tracing::warn!(%error, "cannot listen for changes of the ruleset"),
        }
    }
}

/// Looks again and again, and tells of what is not as it was. Our own changes are among that.
async fn look(watched: Watched, sender: mpsc::Sender<Notice>) {
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut chains: BTreeMap<Family, u64> = BTreeMap::new();
    let mut sets = None;
    loop {
        ticks.tick().await;
        let mut families = BTreeSet::new();
        if watched.backend() == Backend::Legacy {
            for family in watched.families() {
                match watched.chains(family).await {
                    Ok(saved) => {
                        let digest = digest(family, &saved, &watched.hooked());
                        if chains.insert(family, digest) != Some(digest) {
                            families.insert(family);
                        }
                    }
                    Err(error) => tracing::warn!(%error, "cannot look at chains"),
                }
            }
        }
        match watched.sets().await {
            Ok(headers) => {
                if sets.as_ref() != Some(&headers) {
                    families.extend(watched.families());
                    sets = Some(headers);
                }
            }
            Err(error) => tracing::warn!(%error, "cannot look at sets"),
        }
        if !families.is_empty() {
            let notice = Notice { families, culprits: BTreeSet::new() };
            if sender.send(notice).await.is_err() {
                return;
            }
        }
    }
}

/// Stands for what is ours in all tables: our chains, and where the kernel's chains begin, as
/// far as our jump.
fn digest(family: Family, saved: &BTreeMap<String, String>, hooked: &Hooked) -> u64 {
    let mut hasher = DefaultHasher::new();
    for table in Table::ALL {
        let mut past = BTreeSet::new();
        let text = saved.get(table.as_str()).map_or("", String::as_str);
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix(':') {
                let chain = rest.split(' ').next().filter(|chain| chain.starts_with(CHAIN_MARK));
                chain.hash(&mut hasher);
                continue;
            }
            // Counters stand in brackets before the rule.
            let rule = line.split_once("] ").map_or(line, |(_, rule)| rule);
            let Some(chain) = rule.strip_prefix("-A ").and_then(|r| r.split(' ').next()) else {
                continue;
            };
            if chain.starts_with(CHAIN_MARK) {
                rule.hash(&mut hasher);
            } else if hooked.is_in(family, table.as_str(), chain) && !past.contains(chain) {
                rule.hash(&mut hasher);
                if rule.contains(CHAIN_MARK) {
                    past.insert(chain);
                }
            }
        }
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_tells_what_is_ours_from_the_rest() {
        let base = "*filter\n:FORWARD ACCEPT [1:2]\n:BRN-A - [0:0]\n\
            [5:6] -A FORWARD -j BRN-A\n[5:6] -A FORWARD -j X\n[7:8] -A BRN-A -j DROP\nCOMMIT\n";
        let digest_of = |text: &str| {
            let saved = [("filter".to_owned(), text.to_owned())].into();
            digest(Family::V4, &saved, &Hooked::default())
        };
        for (what, from, to, is_same) in [
            ("counters", "[5:6]", "[9:9]", true),
            ("a rule behind our jump", "-j X", "-j Y", true),
            (
                "a rule before our jump",
                "-A FORWARD -j BRN-A",
                "-A FORWARD -j Z\n[0:0] -A FORWARD -j BRN-A",
                false,
            ),
            ("no jump", "[5:6] -A FORWARD -j BRN-A\n", "", false),
            ("another rule of ours", "-A BRN-A -j DROP", "-A BRN-A -j ACCEPT", false),
            ("no chain", ":BRN-A - [0:0]\n", "", false),
        ] {
            let text = base.replace(from, to);
            assert_ne!(text, base, "{what}");
            assert_eq!(digest_of(&text) == digest_of(base), is_same, "{what}");
        }
    }
}
