//! Which changes of the ruleset are our own, so that nobody goes looking for who made them.
//!
//! The kernel tells of each change the process that made it, by its number and the first
//! fifteen characters of its name. The number is that of the first process namespace: where
//! we live in another, only the name can be compared. So each write is good for one change
//! only, and not for long: a change of another program of the same name in that time costs a
//! look at the kernel for our own change instead.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long after its end a write may still be heard of.
const HEARD_WITHIN: Duration = Duration::from_secs(1);
/// What the kernel keeps of a process's name (`TASK_COMM_LEN` less its end).
const NAME: usize = 15;

/// Our own writes that were not yet heard of; clones know the same.
#[derive(Clone, Debug, Default)]
pub struct OwnWrites(Arc<Mutex<Entries>>);

#[derive(Debug, Default)]
struct Entries {
    /// Somebody hears of changes; what was written before is of no use.
    is_heard: bool,
    all: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    id: Arc<()>,
    name: String,
    pid: Option<u32>,
    /// `None` while it runs.
    ended: Option<Instant>,
}

/// A write that runs; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct OwnWrite {
    id: Arc<()>,
    all: OwnWrites,
}

impl OwnWrites {
    /// From now on changes are heard of.
    pub(crate) fn listen(&self) {
        self.with(|entries| entries.is_heard = true);
    }

    /// A program begins to write; its number, if it is known and the kernel means the same
    /// by it.
    pub(super) fn begin(&self, program: &Path, pid: Option<u32>) -> OwnWrite {
        let id = Arc::new(());
        let pid = pid.filter(|_| is_first_namespace());
        let entry = Entry { id: id.clone(), name: name_of(program), pid, ended: None };
        self.with(|entries| {
            forget_old(&mut entries.all, Instant::now());
            if entries.is_heard {
                entries.all.push(entry);
            }
        });
        OwnWrite { id, all: self.clone() }
    }

    /// Whether a change that this process made is one of ours; asked once for each change.
    pub(crate) fn claims(&self, pid: u32, name: &str, now: Instant) -> bool {
        self.with(|entries| {
            forget_old(&mut entries.all, now);
            let found = entries.all.iter().position(|entry| match entry.pid {
                Some(own) => own == pid,
                None => entry.name == name,
            });
            found.map(|index| entries.all.remove(index)).is_some()
        })
    }

    fn with<T>(&self, work: impl FnOnce(&mut Entries) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl OwnWrite {
    /// It failed: nothing will be heard of it.
    pub(super) fn nothing_written(self) {
        self.all.with(|entries| entries.all.retain(|entry| !Arc::ptr_eq(&entry.id, &self.id)));
    }
}

impl Drop for OwnWrite {
    fn drop(&mut self) {
        let ended = Some(Instant::now());
        self.all.with(|entries| {
            let own = entries.all.iter_mut().filter(|entry| Arc::ptr_eq(&entry.id, &self.id));
            own.for_each(|entry| entry.ended = ended);
        });
    }
}

fn forget_old(entries: &mut Vec<Entry>, now: Instant) {
    let is_old = |ended| now.saturating_duration_since(ended) >= HEARD_WITHIN;
    entries.retain(|entry| !entry.ended.is_some_and(is_old));
}

fn name_of(program: &Path) -> String {
    let name = program.file_name().unwrap_or_default().to_string_lossy();
    name.chars().take(NAME).collect()
}

/// Whether our process numbers are those that the kernel's events carry.
fn is_first_namespace() -> bool {
    /// `PROC_PID_INIT_INO` of the kernel.
    const FIRST: &str = "pid:[4026531836]";
    std::fs::read_link("/proc/self/ns/pid").is_ok_and(|link| link.as_os_str() == FIRST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_is_good_for_one_change_by_that_process() {
        let own = OwnWrites::default();
        drop(own.begin(Path::new("nft"), None));
        own.listen();
        let now = Instant::now();
        let write = own.begin(Path::new("/usr/sbin/iptables-nft-restore"), None);
        assert!(!own.claims(7, "nft", now), "nobody could hear of it");
        assert!(own.claims(7, "iptables-nft-re", now));
        assert!(!own.claims(7, "iptables-nft-re", now), "it was heard of before");
        drop(write);

        drop(own.begin(Path::new("iptables"), None));
        let late = Instant::now() + HEARD_WITHIN * 2;
        assert!(!own.claims(7, "iptables", late), "it ended long ago");

        own.begin(Path::new("iptables"), None).nothing_written();
        assert!(!own.claims(7, "iptables", Instant::now()), "it wrote nothing");
    }
}
