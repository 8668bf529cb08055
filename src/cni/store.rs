//! What the plug-in keeps on disk, under one lock for all calls of this node.
//!
//! ```text
//! /var/lib/brindle/cni/lock            held while records are read and changed, never longer
//!                      addresses.json  what was given last, and what was released when
//!                      attachments/CONTAINER@INTERFACE.json  what is taken, and by whom
//! ```
//!
//! A record is written before its interface is made and removed after the interface has gone:
//! whatever call dies, an address in use has a record, and what DEL of the same container finds
//! is enough to take everything back.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};

use super::addresses::{Ledger, Range, allocate};
use super::durable;
use super::record::{self, Record};
use super::request::{Attachment, Key};
use super::spec::{Code, Failure};

/// A record with what only the plug-in needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// What the agent reads, too.
    #[serde(flatten)]
    pub record: Record,
    /// The name of its network.
    #[serde(default)]
    pub network: String,
    /// The boot of the machine in which it was written, as the kernel names it: no container
    /// outlives that.
    #[serde(default)]
    pub boot: Option<String>,
}

impl Kept {
    /// What its interface is known by.
    pub fn key(&self) -> Key {
        let Record { container_id, interface, .. } = &self.record;
        Key { container_id: container_id.clone(), interface: interface.clone() }
    }
}

/// The plug-in's data folder.
#[derive(Debug)]
pub struct Store {
    folder: PathBuf,
}

/// The same, while no other call uses it.
#[derive(Debug)]
pub struct Locked {
    folder: PathBuf,
    _lock: Flock<File>,
}

impl Store {
    /// The store in this folder.
    pub fn at(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    /// Waits for the lock; makes the folder if it is not there.
    ///
    /// # Errors
    /// If it is not to be had within `limit`, or the folder cannot be written.
    pub fn lock(&self, limit: Duration) -> Result<Locked, Failure> {
        let path = self.folder.join("lock");
        let failed = |source: io::Error| {
            let message = format!("dataDir {}: {source}", self.folder.display());
            Failure::new(Code::Io, message)
        };
        fs::create_dir_all(record::folder(&self.folder)).map_err(failed)?;
        let open = OpenOptions::new().create(true).append(true).open(&path);
        let mut file = open.map_err(failed)?;
        let begin = Instant::now();
        let mut pause = Duration::from_millis(1);
        loop {
            match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(lock) => return Ok(Locked { folder: self.folder.clone(), _lock: lock }),
                Err((back, Errno::EAGAIN | Errno::EINTR)) => file = back,
                Err((_, errno)) => return Err(failed(errno.into())),
            }
            if begin.elapsed() > limit {
                let message = format!(
                    "another call has held {} for {} s; the pod is tried again",
                    path.display(),
                    limit.as_secs()
                );
                return Err(Failure::new(Code::TryAgainLater, message));
            }
            thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(20));
        }
    }

    /// The record of an interface; `None` if there is none.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn find(&self, key: &Key) -> Result<Option<Kept>, Failure> {
        let path = record::folder(&self.folder).join(file_name(key));
        let failed = |why: String| Failure::new(Code::Io, format!("{}: {why}", path.display()));
        match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(error.to_string())),
            Ok(text) => {
                serde_json::from_slice(&text).map(Some).map_err(|bad| failed(bad.to_string()))
            }
        }
    }

    /// All addresses that are taken.
    ///
    /// # Errors
    /// If the records cannot be read.
    pub fn taken(&self) -> Result<BTreeSet<IpAddr>, Failure> {
        let (all, _) = read(&self.folder)?;
        Ok(all.into_iter().flat_map(|kept| kept.record.addresses).collect())
    }
}

impl Locked {
    /// Gives an interface addresses and writes its record. One that has a record already, of a
    /// call that did not come to its end, keeps its addresses where they are still right.
    ///
    /// # Errors
    /// If no addresses are to be had, or the record cannot be written; then nothing is given.
    pub fn reserve(
        &self,
        attachment: &Attachment,
        network: &str,
        host_interface: &str,
        ranges: &[Range],
        wanted: &[IpAddr],
    ) -> Result<Record, Failure> {
        let boot = boot();
        let now = seconds();
        let mut ledger = self.ledger();
        ledger.refresh(now);
        let (over, kept): (Vec<Kept>, Vec<Kept>) =
            self.all()?.into_iter().partition(|kept| is_over(kept, boot.as_deref()));
        let records: Vec<Record> = kept.into_iter().map(|kept| kept.record).collect();
        let Attachment { key, pod } = attachment;
        let is_own = |record: &&Record| {
            (&record.container_id, &record.interface) == (&key.container_id, &key.interface)
        };
        let own = records.iter().find(is_own);
        let others = records.iter().filter(|record| !is_own(record));
        if let Some(other) = others.clone().find(|other| other.host_interface == host_interface) {
            let Record { container_id, interface, .. } = other;
            let message = format!(
                "{host_interface} is the name for {interface} of container {container_id} as well; the container needs another id"
            );
            return Err(Failure::new(Code::Kernel, message));
        }
        let taken = others.flat_map(|record| record.addresses.iter().copied()).collect();

        let had = own.map_or(&[][..], |own| &own.addresses);
        let addresses = if are_right(had, ranges, wanted, &taken) {
            had.to_vec()
        } else {
            ledger.release(had, now);
            allocate(ranges, wanted, &taken, &mut ledger)?
        };
        let current = |range: &String| ranges.iter().any(|r| r.network().to_string() == *range);
        ledger.last.retain(|range, _| current(range));

        let record = Record {
            container_id: key.container_id.clone(),
            interface: key.interface.clone(),
            host_interface: host_interface.to_owned(),
            pod: pod.clone(),
            addresses,
        };
        for kept in &over {
            ledger.release(&kept.record.addresses, now);
        }
        let kept = Kept { record, network: network.to_owned(), boot };
        self.write_ledger(&ledger)?;
        for over in over.iter().map(Kept::key).filter(|over| over != key) {
            // What stays is removed by the next call.
            let _ = durable::remove(&record::folder(&self.folder), &file_name(&over));
        }
        self.put(&record::folder(&self.folder), &file_name(key), &kept)?;
        Ok(kept.record)
    }

    /// Removes the record of an interface that is gone, and lets its addresses rest; whether
    /// there was one.
    ///
    /// # Errors
    /// If it cannot be removed.
    pub fn release(&self, key: &Key) -> Result<bool, Failure> {
        let folder = record::folder(&self.folder);
        let name = file_name(key);
        // One that cannot be read goes, too: its container is gone, whatever it had.
        if let Ok(text) = fs::read(folder.join(&name))
            && let Ok(record) = serde_json::from_slice::<Record>(&text)
        {
            let now = seconds();
            let mut ledger = self.ledger();
            ledger.refresh(now);
            ledger.release(&record.addresses, now);
            // A full disk keeps no pod from being removed; removing makes room.
            if let Err(failure) = self.write_ledger(&ledger) {
                let why = failure.message;
                tracing::warn!(why, "released addresses may be given again at once");
            }
        }
        durable::remove(&folder, &name).map_err(|error| failed(&folder.join(&name), &error))
    }

    /// All records that can be read.
    ///
    /// # Errors
    /// If the folder cannot be read.
    pub fn all(&self) -> Result<Vec<Kept>, Failure> {
        let (all, problems) = read(&self.folder)?;
        for problem in problems {
            tracing::warn!(problem, "a record cannot be read: its addresses may be given again");
        }
        Ok(all)
    }

    /// One that is damaged is no reason to connect no more pods: the records say what is taken.
    fn ledger(&self) -> Ledger {
        let path = self.folder.join(LEDGER);
        match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ledger::default(),
            read => {
                let ledger = read
                    .map_err(|error| error.to_string())
                    .and_then(|text| serde_json::from_slice(&text).map_err(|bad| bad.to_string()));
                ledger.unwrap_or_else(|why| {
                    let file = path.display();
                    tracing::warn!(%file, why, "released addresses may be given again at once");
                    Ledger::default()
                })
            }
        }
    }

    fn write_ledger(&self, ledger: &Ledger) -> Result<(), Failure> {
        self.put(&self.folder, LEDGER, ledger)
    }

    fn put(&self, folder: &Path, name: &str, what: &impl Serialize) -> Result<(), Failure> {
        let text = serde_json::to_vec(what).expect("what has texts as keys is JSON");
        durable::put(folder, name, 0o644, |file| file.write_all(&text))
            .map_err(|error| failed(&folder.join(name), &error))
    }
}

const LEDGER: &str = "addresses.json";

fn read(folder: &Path) -> Result<(Vec<Kept>, Vec<String>), Failure> {
    record::read_as(folder).map_err(|error| failed(&record::folder(folder), &error))
}

fn failed(path: &Path, error: &io::Error) -> Failure {
    Failure::new(Code::Io, format!("{}: {error}", path.display()))
}

/// Neither part of a [`Key`] can have an `@` in a container id, or a `/` in either.
fn file_name(key: &Key) -> String {
    format!("{}@{}.json", key.container_id, key.interface)
}

/// Whether the addresses that a record has are one of each range and those wanted.
fn are_right(
    had: &[IpAddr],
    ranges: &[Range],
    wanted: &[IpAddr],
    taken: &BTreeSet<IpAddr>,
) -> bool {
    had.len() == ranges.len()
        && ranges.iter().zip(had).all(|(range, address)| range.contains(*address))
        && wanted.iter().all(|address| had.contains(address))
        && !had.iter().any(|address| taken.contains(address))
}

/// Whether what has this record went when the machine stopped. One that says nothing about it
/// stays.
fn is_over(kept: &Kept, boot: Option<&str>) -> bool {
    matches!((kept.boot.as_deref(), boot), (Some(then), Some(now)) if then != now)
}

/// This boot of the machine; `None` if the kernel does not say.
fn boot() -> Option<String> {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}

/// Seconds since 1970; zero before.
fn seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(60);

    fn attachment(id: &str) -> Attachment {
        let key = Key { container_id: id.to_owned(), interface: "eth0".to_owned() };
        Attachment { key, pod: None }
    }

    fn ranges(networks: &[&str]) -> Vec<Range> {
        networks.iter().map(|network| Range::new(network.parse().unwrap())).collect()
    }

    fn reserve(store: &Store, id: &str, ranges: &[Range]) -> Result<Vec<IpAddr>, Failure> {
        let locked = store.lock(LIMIT)?;
        let name = format!("brn{id}");
        Ok(locked.reserve(&attachment(id), "net", &name, ranges, &[])?.addresses)
    }

    #[test]
    fn what_a_killed_call_left_of_a_record_goes_with_the_interface() {
        let data = tempfile::tempdir().unwrap();
        let store = Store::at(data.path());
        let folder = record::folder(data.path());
        let key = attachment("a").key;
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(format!(".{}.new", file_name(&key))), "{").unwrap();
        assert!(!store.lock(LIMIT).unwrap().release(&key).unwrap(), "there was no record");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
    }

    #[test]
    fn a_second_try_has_the_same_addresses_unless_the_range_changed() {
        let data = tempfile::tempdir().unwrap();
        let store = Store::at(&data.path().join("not/there/yet"));
        let before = ranges(&["10.244.1.0/24", "fd00:1::/64"]);
        let first = reserve(&store, "a", &before).unwrap();
        assert_eq!(reserve(&store, "a", &before).unwrap(), first);
        assert_eq!(reserve(&store, "b", &before).unwrap()[0].to_string(), "10.244.1.2");
        assert_eq!(store.taken().unwrap().len(), 4);

        let after = ranges(&["10.244.7.0/24"]);
        assert_eq!(reserve(&store, "a", &after).unwrap()[0].to_string(), "10.244.7.1");
        assert_eq!(store.taken().unwrap().len(), 3);
        assert!(store.lock(LIMIT).unwrap().release(&attachment("a").key).unwrap());
        assert!(!store.lock(LIMIT).unwrap().release(&attachment("a").key).unwrap());
        assert_eq!(store.find(&attachment("a").key).unwrap(), None);
        // What was released rests, also for the next process.
        assert_eq!(reserve(&store, "c", &after).unwrap()[0].to_string(), "10.244.7.2");
    }

    #[test]
    fn the_agent_reads_the_records_that_are_kept() {
        let data = tempfile::tempdir().unwrap();
        let store = Store::at(data.path());
        reserve(&store, "a", &ranges(&["10.244.1.0/24"])).unwrap();
        let (records, problems) = record::read_all(data.path()).unwrap();
        assert_eq!(problems, Vec::<String>::new());
        let kept = store.lock(LIMIT).unwrap().all().unwrap();
        let want = Kept { record: records[0].clone(), network: "net".to_owned(), boot: boot() };
        assert_eq!(kept, [want]);
    }

    #[test]
    fn what_was_connected_before_the_machine_started_is_not_taken_any_more() {
        let data = tempfile::tempdir().unwrap();
        let store = Store::at(data.path());
        let range = ranges(&["10.244.1.0/30"]);
        for id in ["a", "b"] {
            reserve(&store, id, &range).unwrap();
        }
        assert_eq!(reserve(&store, "c", &range).unwrap_err().code, Code::RangeFull);
        for (id, boot) in [("a", Some("another".to_owned())), ("b", None)] {
            let key = attachment(id).key;
            let kept = Kept { boot, ..store.find(&key).unwrap().unwrap() };
            let text = serde_json::to_vec(&kept).unwrap();
            fs::write(record::folder(data.path()).join(file_name(&key)), text).unwrap();
        }
        assert_eq!(reserve(&store, "c", &range).unwrap()[0].to_string(), "10.244.1.1");
        let kept = store.lock(LIMIT).unwrap().all().unwrap();
        assert_eq!(
            kept.iter().map(|one| &*one.record.container_id).collect::<Vec<_>>(),
            ["b", "c"]
        );
    }

    #[test]
    fn damaged_files_stop_nobody() {
        let data = tempfile::tempdir().unwrap();
        let store = Store::at(data.path());
        let range = ranges(&["10.244.1.0/24"]);
        reserve(&store, "a", &range).unwrap();
        fs::write(data.path().join(LEDGER), "{").unwrap();
        fs::write(record::folder(data.path()).join("x@eth0.json"), "{").unwrap();
        assert_eq!(reserve(&store, "b", &range).unwrap()[0].to_string(), "10.244.1.2");
        assert!(store.lock(LIMIT).unwrap().release(&attachment("x").key).unwrap());
        assert_eq!(record::read_all(data.path()).unwrap().1, Vec::<String>::new());
    }

    #[test]
    fn two_containers_never_share_an_interface() {
        let data = tempfile::tempdir().unwrap();
        let store = Store::at(data.path());
        let range = ranges(&["10.244.1.0/24"]);
        reserve(&store, "a", &range).unwrap();
        let locked = store.lock(LIMIT).unwrap();
        let failure = locked.reserve(&attachment("b"), "net", "brna", &range, &[]).unwrap_err();
        assert!(failure.message.contains("eth0 of container a"), "{failure}");
    }

    #[test]
    fn a_lock_that_is_held_too_long_is_named() {
        let data = tempfile::tempdir().unwrap();
        let store = Store::at(data.path());
        let _held = store.lock(LIMIT).unwrap();
        let failure = store.lock(Duration::ZERO).unwrap_err();
        assert_eq!(failure.code, Code::TryAgainLater);
        assert!(failure.message.contains("lock for 0 s"), "{failure}");
    }
}
