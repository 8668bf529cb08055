//! Finds everything of ours in both backends and among the sets, and takes it out: for a host
//! that brindle leaves. Works with what is installed and with what the kernel has.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use brindle_policy::Family;
use brindle_policy::names::SetName;

use super::super::Backend;
use super::command::{CommandError, Runner};
use super::figures::Figures;
use super::ipset::Ipset;
use super::iptables::Iptables;
use super::leftovers::{self, Removal};
use super::own::OwnWrites;
use super::words::our_target;
use super::{Tuning, backend, sets};

/// How long removed rules may take to let go of their sets, in milliseconds between tries.
const PAUSES: [u64; 6] = [0, 5, 20, 100, 500, 1_500];

/// What was found.
#[derive(Debug, Default)]
pub struct Search {
    /// What is ours, in the order in which it is to go: what judges packets first, then what it
    /// refers to.
    pub marked: Vec<Marked>,
    /// Places that are in use and could not be looked at, and why.
    pub failed: Vec<String>,
    /// Programs that are not there, so that what only they can show was not looked at.
    pub absent: Vec<String>,
}

/// Something of ours that goes as one.
#[derive(Debug)]
pub struct Marked(Kind);

#[derive(Debug)]
enum Kind {
    Table { backend: Backend, iptables: Iptables, removal: Removal },
    Sets { ipset: Ipset, names: BTreeSet<SetName> },
}

/// What became of it.
#[derive(Debug, Default)]
pub struct Removed {
    /// What is gone, a line each.
    pub gone: Vec<String>,
    /// What is not, and why.
    pub failed: Vec<String>,
}

/// Looks for what is ours. Changes nothing.
pub async fn search(tuning: Tuning) -> Search {
    let (folders, runner) = tools(tuning);
    let mut search = search_tables(&folders, &runner).await;
    match backend::find(&folders, "ipset") {
        Some(program) => search.look_at_sets(Ipset { program, runner }).await,
        None => search.absent.push("ipset is not installed: sets were not looked at".to_owned()),
    }
    search
}

/// The chains of ours that packets are led to, each with its place: `BRN-FORWARD (IPv4 filter
/// table, iptables-nft)`. What cannot be looked at is passed over. Changes nothing.
pub async fn in_force(tuning: Tuning) -> Vec<String> {
    let (folders, runner) = tools(tuning);
    let found = search_tables(&folders, &runner).await.marked;
    found.iter().flat_map(Marked::in_force).collect()
}

fn tools(Tuning { search, limit }: Tuning) -> (Vec<PathBuf>, Runner) {
    (search, Runner { limit, own: OwnWrites::default(), figures: Figures::default() })
}

async fn search_tables(folders: &[PathBuf], runner: &Runner) -> Search {
    let mut search = Search::default();
    for backend in [Backend::Nft, Backend::Legacy] {
        for family in backend::families() {
            match backend::programs(backend, folders, &[family], runner).await {
                Ok(mut found) => {
                    let Some(programs) = found.remove(&family) else { continue };
                    let iptables = Iptables { family, programs, runner: runner.clone() };
                    search.look_at(backend, iptables).await;
                }
                Err(missing) => search.miss(backend, family, &missing),
            }
        }
    }
    search
}

impl Search {
    async fn look_at(&mut self, backend: Backend, iptables: Iptables) {
        match iptables.save().await {
            Ok(saved) => {
                self.marked.extend(leftovers::removals(&saved).into_iter().map(|removal| {
                    Marked(Kind::Table { backend, iptables: iptables.clone(), removal })
                }));
            }
            Err(error) if is_not_in_kernel(&error) => {}
            Err(error) => self.failed.push(format!("cannot read {backend}: {error}")),
        }
    }

    fn miss(&mut self, backend: Backend, family: Family, missing: &BTreeSet<String>) {
        let names = missing.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        let what = format!("{backend} of {family}: {names} not installed");
        if backend == Backend::Legacy && is_legacy_in_use(family) {
            self.failed.push(format!("cannot read {what}, and the kernel has such tables in use"));
        } else {
            self.absent.push(format!("{what}: its rules were not looked at"));
        }
    }

    async fn look_at_sets(&mut self, ipset: Ipset) {
        match ipset.headers().await {
            Ok(headers) => {
                let name = |line: &str| SetName::read(line.split(' ').next()?);
                let names: BTreeSet<SetName> = headers.lines().filter_map(name).collect();
                if !names.is_empty() {
                    self.marked.push(Marked(Kind::Sets { ipset, names }));
                }
            }
            Err(error) if is_not_in_kernel(&error) => {}
            Err(error) => self.failed.push(format!("cannot read sets: {error}")),
        }
    }
}

/// Whether a program says that the kernel has not got what it is for: then nothing can be in it.
fn is_not_in_kernel(error: &CommandError) -> bool {
    const WORDS: [&str; 3] =
        ["Protocol not supported", "Cannot open session to kernel", "Table does not exist"];
    WORDS.iter().any(|words| error.complaint().contains(words))
}

/// Whether the kernel has tables of the old kind for this namespace.
fn is_legacy_in_use(family: Family) -> bool {
    let name = match family {
        Family::V4 => "ip_tables_names",
        Family::V6 => "ip6_tables_names",
    };
    let names = fs::read_to_string(format!("/proc/thread-self/net/{name}"));
    names.is_ok_and(|names| !names.trim().is_empty())
}

impl Marked {
    /// What it is, a line each.
    pub fn lines(&self) -> Vec<String> {
        match &self.0 {
            Kind::Table { backend, iptables, removal } => {
                let place = format!("{} {} table, {backend}", iptables.family, removal.table);
                let jump =
                    |(chain, rule): &(String, String)| format!("rule -A {chain} {rule} ({place})");
                let chain = |chain: &String| format!("chain {chain} ({place})");
                removal.jumps.iter().map(jump).chain(removal.chains.iter().map(chain)).collect()
            }
            Kind::Sets { names, .. } => names.iter().map(line_of).collect(),
        }
    }

    /// The chains that packets are led to.
    fn in_force(&self) -> BTreeSet<String> {
        match &self.0 {
            Kind::Table { backend, iptables, removal } => {
                let place = format!("{} {} table, {backend}", iptables.family, removal.table);
                let targets = removal.jumps.iter().filter_map(|(_, rule)| our_target(rule));
                targets.map(|chain| format!("{chain} ({place})")).collect()
            }
            Kind::Sets { .. } => BTreeSet::new(),
        }
    }

    /// Takes it out: of a table all at once or nothing, of sets as many as can go.
    pub async fn remove(&self) -> Removed {
        match &self.0 {
            Kind::Table { backend, iptables, removal } => {
                match iptables.restore(&removal.text()).await {
                    Ok(()) => Removed { gone: self.lines(), failed: Vec::new() },
                    Err(refused) => {
                        let Removal { table, chains, jumps } = removal;
                        let failed = format!(
                            "the {} {table} table of {backend} keeps {} chains and {} jumps: {}",
                            iptables.family,
                            chains.len(),
                            jumps.len(),
                            refused.error
                        );
                        Removed { gone: Vec::new(), failed: vec![failed] }
                    }
                }
            }
            Kind::Sets { ipset, names } => remove_sets(ipset, names).await,
        }
    }
}

async fn remove_sets(ipset: &Ipset, names: &BTreeSet<SetName>) -> Removed {
    let mut removed = Removed::default();
    let mut waiting = names.clone();
    for pause in PAUSES {
        tokio::time::sleep(Duration::from_millis(pause)).await;
        match sets::destroy(ipset, &waiting).await {
            Ok(in_use) => waiting = in_use,
            Err(_) => {
                // One of them is in the way of the others.
                let mut in_use = BTreeSet::new();
                for name in waiting {
                    match sets::destroy(ipset, &[name.clone()].into()).await {
                        Ok(used) => in_use.extend(used),
                        Err(error) => removed.failed.push(format!("{}: {error}", line_of(&name))),
                    }
                }
                waiting = in_use;
            }
        }
        if waiting.is_empty() {
            break;
        }
    }
    let used =
        |name: &SetName| format!("{}: a rule or set of another program uses it", line_of(name));
    removed.failed.extend(waiting.iter().map(used));
    let is_there = |name: &&SetName| {
        !removed.failed.iter().any(|failed| failed.starts_with(&format!("{}:", line_of(name))))
    };
    removed.gone = names.iter().filter(is_there).map(line_of).collect();
    removed
}

fn line_of(name: &SetName) -> String {
    format!("set {name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_has_not_got_holds_nothing_of_ours() {
        for (complaint, want) in [
            ("iptables-nft-save: Failed to initialize nft: Protocol not supported", true),
            ("ipset v7.17: Cannot open session to kernel.", true),
            ("Fatal: can't open lock file /run/xtables.lock: Permission denied", false),
            ("", false),
        ] {
            let complaint = complaint.to_owned();
            let error = CommandError::Refused { program: "p".into(), code: Some(1), complaint };
            assert_eq!(is_not_in_kernel(&error), want, "{error}");
        }
    }
}
