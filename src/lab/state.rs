//! What is known about a lab on disk: written before anything is made, removed last.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use nix::sched::{CloneFlags, setns, unshare};
use nix::unistd::geteuid;
use serde::{Deserialize, Serialize};

use super::connected;
use super::plan::{LabName, Options, Plan};
use super::process::{Condition, ProcessId};
use super::rootless;

/// How far a lab has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Phase {
    /// `lab up` is at work, or was when it was killed.
    Building,
    /// Everything is made and started.
    Up,
}

/// `lab.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    /// `brindle.dev/v1alpha1`.
    pub api_version: String,
    /// `Lab`.
    pub kind: String,
    /// Marks the lab's processes; never used twice.
    pub id: String,
    /// How far it has come.
    pub phase: Phase,
    /// What was asked for.
    pub options: Options,
    /// What that comes to.
    pub plan: Plan,
    /// The brindle program that the lab's agents run.
    pub program: PathBuf,
    /// Without root: the process that keeps the lab's user namespace open.
    pub holder: Option<ProcessId>,
    /// The speakers by node or router, as last started.
    pub processes: BTreeMap<String, ProcessId>,
    /// Pairs that `lab fault partition` keeps apart.
    pub partitions: Vec<(String, String)>,
}

/// Where labs live, and whether that needs a user namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The folder with one folder for each lab.
    pub base: PathBuf,
    /// Network namespaces are out of reach for us as we are.
    pub rootless: bool,
}

impl Place {
    /// Finds out what we may do.
    pub fn find() -> Self {
        let uid = geteuid();
        if uid.is_root() && may_make_namespaces() {
            return Self { base: "/run/brindle-lab".into(), rootless: false };
        }
        // a real root's session folder is of no use to a user namespace's root, and reverse
        let session = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
        let owned = |p: &PathBuf| fs::metadata(p).is_ok_and(|m| m.uid() == uid.as_raw());
        let base = match session.filter(|p| p.is_absolute() && owned(p)) {
            Some(session) => session.join("brindle-lab"),
            None => std::env::temp_dir().join(format!("brindle-lab-{uid}")),
        };
        Self { base, rootless: true }
    }

    /// Names of all labs there are, half-built ones included.
    pub fn labs(&self) -> Vec<LabName> {
        let Ok(entries) = fs::read_dir(&self.base) else { return Vec::new() };
        let name = |entry: fs::DirEntry| entry.file_name().to_str()?.parse().ok();
        let mut names: Vec<_> = entries.filter_map(|e| name(e.ok()?)).collect();
        names.sort();
        names
    }
}

/// Whether network namespaces can be made and named here, and left again, which the root of a
/// mere user namespace cannot do; tried on a thread that ends.
fn may_make_namespaces() -> bool {
    let run_is_ours = nix::unistd::access("/run", nix::unistd::AccessFlags::W_OK).is_ok();
    let attempt = || {
        let here = File::open("/proc/thread-self/ns/net")?;
        unshare(CloneFlags::CLONE_NEWNET)?;
        Ok::<_, std::io::Error>(setns(here, CloneFlags::CLONE_NEWNET)?)
    };
    run_is_ours && std::thread::spawn(attempt).join().is_ok_and(|tried| tried.is_ok())
}

/// A lab's folder, held so that no other command changes the lab meanwhile.
#[derive(Debug)]
pub struct Lab {
    /// The folder.
    pub dir: PathBuf,
    /// What is known.
    pub state: State,
    _lock: Option<File>,
}

impl Lab {
    /// Makes the folder and writes `lab.json` for a lab that is about to be built.
    ///
    /// # Errors
    /// There is one of this name, or the folder cannot be made.
    pub fn create(place: &Place, options: Options, program: PathBuf) -> anyhow::Result<Self> {
        let mut plan = Plan::new(&options)?;
        // those come from the API server, when there is one
        connected::take_out(&mut plan);
        let name = options.name.clone();
        make_folder(&place.base)?;
        let dir = place.base.join(name.as_str());
        if dir.exists() {
            bail!(
                "lab \"{name}\" is there already ({}): `brindle lab down --name {name}` removes \
                 it, `brindle lab up --replace` builds it anew, `--name OTHER` builds another",
                dir.display()
            );
        }
        make_folder(&dir)?;
        let lock = lock(&dir, &name)?;
        let id = fs::read_to_string("/proc/sys/kernel/random/uuid").context("no random id")?;
        let state = State {
            api_version: "brindle.dev/v1alpha1".into(),
            kind: "Lab".into(),
            id: id.trim().to_owned(),
            phase: Phase::Building,
            options,
            plan,
            program,
            holder: None,
            processes: BTreeMap::new(),
            partitions: Vec::new(),
        };
        let lab = Self { dir, state, _lock: Some(lock) };
        lab.save()?;
        Ok(lab)
    }

    /// Opens the lab `name` to look at it or use it.
    ///
    /// # Errors
    /// There is none, or its `lab.json` cannot be read.
    pub fn open(place: &Place, name: &LabName) -> anyhow::Result<Self> {
        Self::load(place, name, None)
    }

    /// Opens the lab `name` to change it; one at a time.
    ///
    /// # Errors
    /// There is none, another command is changing it, or its `lab.json` cannot be read.
    pub fn open_to_change(place: &Place, name: &LabName) -> anyhow::Result<Self> {
        let dir = place.base.join(name.as_str());
        let held = if dir.exists() { Some(lock(&dir, name)?) } else { None };
        Self::load(place, name, held)
    }

    fn load(place: &Place, name: &LabName, lock: Option<File>) -> anyhow::Result<Self> {
        let dir = place.base.join(name.as_str());
        let file = dir.join("lab.json");
        let text = match fs::read_to_string(&file) {
            Err(_) if !dir.exists() => {
                let others: Vec<_> = place.labs().iter().map(ToString::to_string).collect();
                let others = match others.as_slice() {
                    [] => "`brindle lab up` builds one".to_owned(),
                    some => format!("there is: {} (--name)", some.join(", ")),
                };
                bail!("no lab \"{name}\" in {}; {others}", place.base.display());
            }
            read => read.with_context(|| format!("cannot read {}", file.display()))?,
        };
        Self::read(dir, &text, lock)
    }

    /// Opens the lab in `dir` to use it, as its own processes do.
    ///
    /// # Errors
    /// Its `lab.json` cannot be read.
    pub fn open_in(dir: &Path) -> anyhow::Result<Self> {
        let file = dir.join("lab.json");
        let text = fs::read_to_string(&file);
        let text = text.with_context(|| format!("cannot read {}", file.display()))?;
        Self::read(dir.to_owned(), &text, None)
    }

    fn read(dir: PathBuf, text: &str, lock: Option<File>) -> anyhow::Result<Self> {
        let mut state: State = serde_json::from_str(text).with_context(|| {
            format!("{} is damaged; remove it by hand", dir.join("lab.json").display())
        })?;
        connected::put_into(&mut state.plan, &dir)?;
        Ok(Self { dir, state, _lock: lock })
    }

    /// Looks again which pods there are.
    ///
    /// # Errors
    /// The file of pods cannot be read.
    pub fn look_at_pods(&mut self) -> anyhow::Result<()> {
        connected::put_into(&mut self.state.plan, &self.dir)
    }

    /// Writes `lab.json` so that a reader sees the old or the new one, never half of it.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn save(&self) -> anyhow::Result<()> {
        let file = self.dir.join("lab.json");
        let mut state = self.state.clone();
        connected::take_out(&mut state.plan);
        write_json(&file, &state)
    }

    /// Enters the lab's user namespace where there is one; call before any thread starts.
    ///
    /// # Errors
    /// The process that kept it open is gone.
    pub fn enter(&self) -> anyhow::Result<()> {
        match self.state.holder {
            Some(holder) if holder.condition() == Condition::Ended => bail!(
                "the process that kept lab \"{0}\" open is gone, and its namespaces with it; \
                 `brindle lab down --name {0}` clears up",
                self.state.options.name
            ),
            Some(holder) => rootless::enter(holder),
            None => Ok(()),
        }
    }

    /// The folder of one node or router.
    pub fn speaker_dir(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// The folder of manifests that all agents watch.
    pub fn manifests(&self) -> PathBuf {
        self.dir.join("manifests")
    }

    /// The control socket of the agent on node or router `name`.
    pub fn socket(&self, name: &str) -> PathBuf {
        self.speaker_dir(name).join("brindle.sock")
    }

    /// The log of the speaker on node or router `name`.
    pub fn log(&self, name: &str) -> PathBuf {
        self.speaker_dir(name).join("log")
    }
}

/// Writes a file so that a reader sees the old or the new one, never half of it.
///
/// # Errors
/// It cannot be written.
pub(super) fn write_json(file: &Path, value: &impl Serialize) -> anyhow::Result<()> {
    let text = serde_json::to_string_pretty(value).context("JSON")?;
    let name = file.file_name().context("no file")?.to_string_lossy();
    let fresh = file.with_file_name(format!(".{name}.new"));
    let write = || -> std::io::Result<()> {
        let mut out = File::create(&fresh)?;
        out.write_all(text.as_bytes())?;
        out.sync_all()?;
        fs::rename(&fresh, file)
    };
    write().with_context(|| format!("cannot write {}", file.display()))
}

/// Makes a folder that others can look into but not write; one that is there must be ours.
fn make_folder(path: &Path) -> anyhow::Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(path)
        .with_context(|| format!("cannot make {}", path.display()))?;
    let about = fs::symlink_metadata(path).with_context(|| path.display().to_string())?;
    if !about.is_dir() || about.uid() != geteuid().as_raw() {
        bail!("{} belongs to somebody else", path.display());
    }
    Ok(())
}

/// Keeps others from changing the lab in `dir` for as long as the file is open.
///
/// # Errors
/// Another command does already.
pub fn lock(dir: &Path, name: &LabName) -> anyhow::Result<File> {
    let file = File::open(dir).with_context(|| dir.display().to_string())?;
    if file.try_lock().is_err() {
        bail!("another `brindle lab` command is changing lab \"{name}\"; wait for it or end it");
    }
    Ok(file)
}
