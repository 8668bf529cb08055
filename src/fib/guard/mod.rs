//! What keeps packets to addresses that we announce and nobody answers to from going to and fro
//! between us and the router that sends them.
//!
//! ```text
//!  rule 32098  not from all iif lo lookup 9898 ──► blackhole 10.96.0.0/12
//!                                                  throw 10.96.7.0/24    (back to the rules)
//!  rule 32766  from all lookup main
//! ```
//!
//! What a Service proxy answers to was translated before packets that come in meet the rules,
//! so that none of it is still addressed to a Service when it gets here. What the host's own
//! processes send is translated after, which is why the rule is not for them (`iif lo`): the
//! main table stays as it is. Wherever the main table has the guarded prefix itself or a longer
//! one, it decides.
//!
//! Rule and table outlive us, as routes do. The rules of others come before ours, but for those
//! of the main table.

mod entries;

use std::collections::BTreeSet;
use std::time::Duration;

use brindle_bgp::net::{Family, Prefix};
use tokio::time::Instant;
use tracing::info;

pub use entries::{Entries, Entry, entries};

use super::forwarding::read_setting;
use super::mirror::Mirror;
use super::netlink::GuardSocket;
use super::table::Table;

/// The table with what is dropped.
pub const TABLE: u32 = 9898;
/// The preference of the rule that leads there: right before the main table's.
pub const PREFERENCE: u32 = 32_098;

/// How long it waits after a failure.
const AGAIN_AFTER: Duration = Duration::from_secs(10);

/// Where no packet that comes in shall go on to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Guarded {
    /// These prefixes.
    pub prefixes: BTreeSet<Prefix>,
    /// Whether the sender is told, in place of silence.
    pub reject: bool,
}

/// What is guarded and whether the kernel knows.
#[derive(Debug, Default)]
pub struct Guard {
    /// `None` until it was said: then what an earlier run left stays.
    wanted: Option<Guarded>,
    /// The lengths that guarded prefixes have, by [`Family::index`].
    lengths: [BTreeSet<u8>; 2],
    is_due: bool,
    not_before: Option<Instant>,
    /// Prefixes that are guarded in the kernel, by [`Family::index`].
    guarded: [usize; 2],
    failure: Option<String>,
}

impl Guard {
    /// Has this guarded and nothing else.
    pub fn set(&mut self, guarded: Guarded) {
        self.is_due |= self.wanted.as_ref() != Some(&guarded);
        self.not_before = None;
        self.lengths = Default::default();
        for prefix in &guarded.prefixes {
            self.lengths[prefix.family().index()].insert(prefix.length());
        }
        self.wanted = Some(guarded);
    }

    /// A route of the main table came or went.
    pub fn touched(&mut self, prefix: &Prefix) {
        self.is_due |= self.is_around(prefix);
    }

    /// Whether a guarded prefix is, or holds, this one.
    fn is_around(&self, prefix: &Prefix) -> bool {
        let Some(wanted) = &self.wanted else { return false };
        let wider = |length: &u8| Prefix::new(prefix.address(), *length).ok();
        let lengths = self.lengths[prefix.family().index()].range(..=prefix.length());
        lengths.filter_map(wider).any(|wider| wanted.prefixes.contains(&wider))
    }

    /// Everything was read anew: somebody may have changed ours, too.
    pub fn look_again(&mut self) {
        self.is_due |= self.wanted.as_ref().is_some_and(|wanted| !wanted.prefixes.is_empty());
    }

    /// Prefixes that are guarded in the kernel, by [`Family::index`].
    pub fn guarded(&self) -> [usize; 2] {
        self.guarded
    }

    /// Why something that shall be guarded is not.
    pub fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }

    /// Sees to it that the kernel has it as wanted, if that is due; what failed, if something
    /// did.
    pub async fn ensure(&mut self, mirror: &Mirror, table: &Table, now: Instant) -> Option<String> {
        let wanted = self.wanted.as_ref()?;
        if !self.is_due || self.not_before.is_some_and(|at| now < at) {
            return None;
        }
        let mut failure = None;
        match GuardSocket::open() {
            Ok(socket) => {
                for family in Family::ALL.into_iter().filter(|family| is_there(*family)) {
                    let want = self.entries(wanted, family, mirror, table);
                    let guarded = want.values().filter(|entry| **entry != Entry::Pass).count();
                    match socket.settle(family, &want).await {
                        Ok(changed) => {
                            if changed > 0 {
                                info!(%family, guarded, changed, "guarded what is announced for \
                                    Services against packets that would go to and fro");
                            }
                            self.guarded[family.index()] = guarded;
                        }
                        Err(error) => {
                            let what = format!(
                                "guarding what is announced for Services against loops: {family}: \
                                 {error}"
                            );
                            failure = failure.or(Some(what));
                        }
                    }
                }
            }
            Err(error) => failure = Some(format!("opening a socket for rules: {error}")),
        }
        self.is_due = failure.is_some();
        self.not_before = failure.is_some().then_some(now + AGAIN_AFTER);
        self.failure.clone_from(&failure);
        failure
    }

    /// What the guard's table shall hold of a family.
    fn entries(&self, wanted: &Guarded, family: Family, mirror: &Mirror, table: &Table) -> Entries {
        let guarded = || wanted.prefixes.iter().filter(move |prefix| prefix.family() == family);
        if guarded().next().is_none() {
            return Entries::new();
        }
        let foreign = mirror.foreign_prefixes();
        let foreign = foreign.filter(|one| one.family() == family && self.is_around(one));
        let mut routes: BTreeSet<Prefix> = foreign.collect();
        for block in guarded().filter(|block| !block.is_host()) {
            let ours = table.have_after(Some(*block)).map(|(key, _)| key.prefix);
            routes.extend(ours.take_while(|prefix| block.covers(prefix)));
        }
        let stop = if wanted.reject { Entry::Reject } else { Entry::Drop };
        entries(guarded().copied(), stop, routes)
    }
}

/// A host without a family forwards none of it.
fn is_there(family: Family) -> bool {
    family == Family::Ipv4Unicast || read_setting("ipv6/conf/all/forwarding").is_ok()
}
