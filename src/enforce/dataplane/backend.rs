//! Which iptables this host uses: there are two, and rules in both of them judge every packet
//! twice.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use brindle_policy::Family;
use brindle_policy::names::CHAIN_MARK;

use super::super::{Backend, BackendChoice};
use super::command::{CommandError, Runner};
use super::figures::Op;
use super::iptables::{Iptables, Programs};
use super::words::{our_target, rule_of};

/// Where programs of the system are, whatever PATH a daemon was given.
const USUAL: [&str; 6] =
    ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// Chains that a kubelet makes in the mangle table of the backend that the host is to use.
const CANARIES: [&str; 2] = ["KUBE-IPTABLES-HINT", "KUBE-KUBELET-CANARY"];

/// Why policies cannot be enforced on this host.
#[derive(Debug, thiserror::Error)]
pub enum Unavailable {
    /// Programs are missing.
    #[error("not installed: {}", .0.iter().cloned().collect::<Vec<_>>().join(", "))]
    Programs(BTreeSet<String>),
    /// The kernel lacks something, or does not let us have it.
    #[error("the kernel has no {module}, which policies need, or does not let us use it: {why}")]
    Kernel {
        /// The module that brings it.
        module: &'static str,
        /// What was said.
        why: String,
    },
    /// A program does not do what every one of its kind does.
    #[error(transparent)]
    Program(#[from] CommandError),
}

/// The folders that programs are looked for in: those of PATH, then the usual ones.
pub(super) fn search_path() -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Not from where we stand: an empty part of PATH means that.
    let own = std::env::split_paths(&path).filter(|folder| folder.is_absolute());
    own.chain(USUAL.map(PathBuf::from)).collect()
}

/// Where a program is.
pub(super) fn find(search: &[PathBuf], name: &str) -> Option<PathBuf> {
    let is_program = |path: &PathBuf| {
        path.metadata().is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
    };
    search.iter().map(|folder| folder.join(name)).find(is_program)
}

/// The families that the kernel has.
pub(super) fn families() -> Vec<Family> {
    let has_v6 = Path::new("/proc/thread-self/net/if_inet6").exists();
    Family::ALL.into_iter().filter(|family| has_v6 || *family == Family::V4).collect()
}

/// The programs of both backends, or the names of what is missing of each.
#[derive(Debug)]
pub(super) struct Installed {
    /// By family.
    pub nft: Result<BTreeMap<Family, Programs>, BTreeSet<String>>,
    /// By family.
    pub legacy: Result<BTreeMap<Family, Programs>, BTreeSet<String>>,
    /// What plain `iptables` is; `None` if there is none that says it.
    pub default: Option<Backend>,
}

impl Installed {
    /// Looks for the programs.
    pub(super) async fn find(search: &[PathBuf], families: &[Family], runner: &Runner) -> Self {
        let default = match find(search, "iptables") {
            Some(program) => kind_of(&program, runner).await,
            None => None,
        };
        Self {
            nft: programs(Backend::Nft, search, families, runner).await,
            legacy: programs(Backend::Legacy, search, families, runner).await,
            default,
        }
    }

    /// Those of one backend.
    pub(super) fn of(
        &self,
        backend: Backend,
    ) -> Result<&BTreeMap<Family, Programs>, &BTreeSet<String>> {
        match backend {
            Backend::Nft => self.nft.as_ref(),
            Backend::Legacy => self.legacy.as_ref(),
        }
    }
}

/// The programs of a backend: by their own names, else plain ones that say they are of it; or the
/// names of what is missing.
pub(super) async fn programs(
    backend: Backend,
    search: &[PathBuf],
    families: &[Family],
    runner: &Runner,
) -> Result<BTreeMap<Family, Programs>, BTreeSet<String>> {
    let mut found = BTreeMap::new();
    let mut missing = BTreeSet::new();
    for family in families {
        let base = match family {
            Family::V4 => "iptables",
            Family::V6 => "ip6tables",
        };
        let mut paths = Vec::new();
        for part in ["-restore", "-save", ""] {
            let own = format!("{base}-{}{part}", word(backend));
            let plain = find(search, &format!("{base}{part}"));
            match (find(search, &own), plain) {
                (Some(path), _) => paths.push(path),
                (None, Some(path)) if kind_of(&path, runner).await == Some(backend) => {
                    paths.push(path);
                }
                (None, _) => drop(missing.insert(own)),
            }
        }
        if let Ok([restore, save, command]) = <[PathBuf; 3]>::try_from(paths) {
            found.insert(*family, Programs { restore, save, command });
        }
    }
    if missing.is_empty() { Ok(found) } else { Err(missing) }
}

/// What `-V` says: the backend, since version 1.8; before there was but one, and it lacks what
/// we need.
async fn kind_of(program: &Path, runner: &Runner) -> Option<Backend> {
    let said = runner.read(Op::Probe, program, &["-V"]).await.ok()?;
    if said.contains("(nf_tables)") {
        Some(Backend::Nft)
    } else if said.contains("(legacy)") {
        Some(Backend::Legacy)
    } else {
        None
    }
}

pub(super) fn word(backend: Backend) -> &'static str {
    match backend {
        Backend::Nft => "nft",
        Backend::Legacy => "legacy",
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "iptables-{}", word(*self))
    }
}

/// What speaks for a backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Evidence {
    /// A kubelet has told that the host uses it.
    pub is_canary_there: bool,
    /// Rules of others.
    pub foreign: usize,
    /// Chains, rules and jumps of ours.
    pub own: usize,
}

impl Evidence {
    /// Reads what a backend holds.
    pub(super) async fn gather<'a>(
        all: impl IntoIterator<Item = &'a Iptables>,
    ) -> Result<Self, CommandError> {
        let mut evidence = Self::default();
        for iptables in all {
            for text in iptables.save().await?.values() {
                evidence.add(text);
            }
        }
        Ok(evidence)
    }

    fn add(&mut self, saved: &str) {
        for line in saved.lines() {
            if let Some(chain) = line.strip_prefix(':').and_then(|rest| rest.split(' ').next()) {
                self.is_canary_there |= CANARIES.contains(&chain);
                self.own += usize::from(chain.starts_with(CHAIN_MARK));
            } else if let Some((chain, rule)) = rule_of(line) {
                let is_own = chain.starts_with(CHAIN_MARK) || our_target(rule).is_some();
                *(if is_own { &mut self.own } else { &mut self.foreign }) += 1;
            }
        }
    }
}

/// The backend to use and why, of two that are both installed.
pub(super) fn decide(
    nft: Evidence,
    legacy: Evidence,
    default: Option<Backend>,
) -> (Backend, &'static str) {
    let backend = |is_nft: bool| if is_nft { Backend::Nft } else { Backend::Legacy };
    if nft.is_canary_there != legacy.is_canary_there {
        return (backend(nft.is_canary_there), "the kubelet's chains are there");
    }
    if nft.foreign != legacy.foreign {
        return (backend(nft.foreign > legacy.foreign), "more rules of others are there");
    }
    if nft.own != legacy.own {
        return (backend(nft.own > legacy.own), "it was used before");
    }
    (default.unwrap_or(Backend::Nft), "nothing is there; it is the host's default")
}

/// The backend to use and why.
pub(super) async fn choose(
    choice: BackendChoice,
    installed: &Installed,
    tables: impl Fn(Backend) -> Vec<Iptables>,
) -> Result<(Backend, &'static str), Unavailable> {
    let forced = match choice {
        BackendChoice::Nft => Some(Backend::Nft),
        BackendChoice::Legacy => Some(Backend::Legacy),
        BackendChoice::Auto => None,
    };
    if let Some(backend) = forced {
        let found = installed.of(backend).map(|_| (backend, "the configuration says so"));
        return found.map_err(|missing| Unavailable::Programs(missing.clone()));
    }
    match (&installed.nft, &installed.legacy) {
        (Ok(_), Ok(_)) => {
            let [nft, legacy] = [Backend::Nft, Backend::Legacy].map(&tables);
            match (Evidence::gather(&nft).await, Evidence::gather(&legacy).await) {
                (Ok(nft), Ok(legacy)) => Ok(decide(nft, legacy, installed.default)),
                (Ok(_), Err(_)) => Ok((Backend::Nft, "the kernel has not got the other")),
                (Err(_), Ok(_)) => Ok((Backend::Legacy, "the kernel has not got the other")),
                (Err(error), Err(_)) => Err(error.into()),
            }
        }
        (Ok(_), Err(_)) => Ok((Backend::Nft, "the other is not installed")),
        (Err(_), Ok(_)) => Ok((Backend::Legacy, "the other is not installed")),
        (Err(missing), Err(_)) => Err(Unavailable::Programs(missing.clone())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_backend_is_the_one_that_the_host_uses() {
        let none = Evidence::default();
        let canary = Evidence { is_canary_there: true, ..none };
        let foreign = |foreign| Evidence { foreign, ..none };
        let own = Evidence { own: 9, ..none };
        let (nft, legacy) = (Backend::Nft, Backend::Legacy);
        for (in_nft, in_legacy, default, want) in [
            (none, none, None, nft),
            (none, none, Some(legacy), legacy),
            (none, own, Some(nft), legacy), // as before a restart
            (foreign(1), own, Some(legacy), nft),
            (foreign(3), foreign(4), Some(nft), legacy),
            (canary, foreign(4), Some(legacy), nft),
            (canary, canary, Some(legacy), legacy), // says nothing
        ] {
            let (got, _) = decide(in_nft, in_legacy, default);
            assert_eq!(got, want, "{in_nft:?} {in_legacy:?} {default:?}");
        }
    }

    #[test]
    fn what_a_backend_holds_is_told_apart() {
        let mut evidence = Evidence::default();
        evidence.add(
            "*filter\n:FORWARD ACCEPT [0:0]\n:BRN-TO - [0:0]\n:KUBE-KUBELET-CANARY - [0:0]\n\
             [0:0] -A FORWARD -j BRN-FORWARD\n[0:0] -A FORWARD -j ACCEPT\n[0:0] -A BRN-TO -j DROP\nCOMMIT\n",
        );
        assert_eq!(evidence, Evidence { is_canary_there: true, foreign: 1, own: 3 });
    }
}
