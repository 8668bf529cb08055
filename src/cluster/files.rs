//! The `files` source: a folder of Kubernetes manifests, watched.
//!
//! ```text
//!  inotify ─► wake ─(quiet for 75 ms)─► read the folder ─► Folder::update ─► changes
//!  every 30 s ──┘                       (a blocking thread)      └─► FilesStatus
//! ```
//!
//! Events only say that it is worth looking; what there is comes from reading the folder, so
//! that no event that was missed, merged or misunderstood can lead to a wrong state.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use notify::event::{AccessKind, AccessMode};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::Change;
use super::folder::Folder;
pub use super::folder::{Counts, FileProblem};
use super::texts::{is_manifest, read_file, read_folder};

/// How long the folder must be quiet before it is read: an editor's save is several events.
const QUIET: Duration = Duration::from_millis(75);
/// The longest wait for quiet.
const IMPATIENT: Duration = Duration::from_secs(1);
/// How often the folder is read without an event: links may point to where nobody watches.
const RESCAN: Duration = Duration::from_secs(30);
/// The same while there is nothing to watch.
const RETRY: Duration = Duration::from_secs(1);
/// Looks at the folder whose changes may wait for the listener.
const QUEUE: usize = 4;

/// How a `files` source is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FilesStatus {
    /// The folder.
    pub path: PathBuf,
    /// Whether everything that there was at the start has been delivered.
    pub in_sync: bool,
    /// Why the folder cannot be read, if it cannot; its last content stays in force.
    pub folder_problem: Option<String>,
    /// Why changes are only noticed by looking every now and then, if so.
    pub watch_problem: Option<String>,
    /// Manifest files in the folder.
    pub files: usize,
    /// Objects in force.
    pub objects: Counts,
    /// Objects of kinds that are known and not used, by `apiVersion/kind`.
    pub ignored: BTreeMap<String, usize>,
    /// Objects of kinds that are not known, likewise.
    pub unknown: BTreeMap<String, usize>,
    /// Everything that is wrong, by file.
    pub problems: Vec<FileProblem>,
    /// When the folder was last read.
    pub last_read: Option<SystemTime>,
    /// When its content last changed anything.
    pub last_change: Option<SystemTime>,
}

/// The changes that one look at the folder found, at least one: deletions, then objects, a
/// policy after its tier and whom it is about. They belong together: a policy that is only given another
/// name must not be missing in between.
pub type Batch = Vec<Change>;

/// Starts a task that watches the folder at `path` until the receiver is dropped. It need not
/// exist yet. Every object that is there is told first, then [`Change::InSync`], both in one
/// batch, then what changes; objects that stay the same are never told again. Must be called
/// within a tokio runtime.
pub fn watch(path: PathBuf) -> (mpsc::Receiver<Batch>, Arc<ArcSwap<FilesStatus>>) {
    // Events name absolute paths. It fails only for an empty path, which cannot be read either.
    let path = std::path::absolute(&path).unwrap_or(path);
    let (changes, receiver) = mpsc::channel(QUEUE);
    let status = FilesStatus { path: path.clone(), ..FilesStatus::default() };
    let status = Arc::new(ArcSwap::from_pointee(status));
    let source = Source { path, folder: Folder::default(), changes, status: status.clone() };
    tokio::spawn(source.run());
    (receiver, status)
}

/// Reads the folder or file at `path` once: every object that is there, ending in
/// [`Change::InSync`], and everything that needs a look. A file may have any name.
pub fn read_once(path: &Path) -> (Batch, Vec<FileProblem>) {
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
    let texts = if path.is_dir() {
        read_folder(path)
    } else {
        let text = read_file(path).and_then(|text| text.ok_or("there is no such file".to_owned()));
        Ok([(name.clone().into_owned(), text)].into())
    };
    let mut folder = Folder::default();
    let (mut changes, problems) = match texts {
        Ok(texts) => (folder.update(texts), folder.problems()),
        Err(problem) => (Vec::new(), vec![FileProblem::of_file(&name, problem)]),
    };
    changes.push(Change::InSync);
    (changes, problems)
}

struct Source {
    path: PathBuf,
    folder: Folder,
    changes: mpsc::Sender<Batch>,
    status: Arc<ArcSwap<FilesStatus>>,
}

impl Source {
    async fn run(mut self) {
        let wake = Arc::new(Notify::new());
        let mut eyes = Eyes::new(&self.path, &wake);
        loop {
            // Watched before it is read: what changes in between wakes us again.
            let watch_problem = eyes.aim();
            if self.look(watch_problem).await.is_err() {
                return;
            }
            let status = self.status.load();
            let bad = status.folder_problem.is_some() || status.watch_problem.is_some();
            let rescan = Instant::now() + if bad { RETRY } else { RESCAN };
            drop(status);
            tokio::select! {
                () = wake.notified() => settle(&wake).await,
                () = sleep_until(rescan) => {}
                () = self.changes.closed() => return,
            }
        }
    }

    /// Reads the folder and tells what changed. Fails when nobody listens any more.
    async fn look(&mut self, watch_problem: Option<String>) -> Result<(), Closed> {
        let path = self.path.clone();
        let mut folder = std::mem::take(&mut self.folder);
        // Parsing ten thousand nodes takes a while: not on a thread that others wait for.
        let read = tokio::task::spawn_blocking(move || {
            let changes = read_folder(&path).map(|texts| folder.update(texts));
            (folder, changes)
        });
        let (folder, changes) = read.await.map_err(|error| {
            tracing::error!(folder = %self.path.display(), %error, "reading manifests failed");
            Closed
        })?;
        self.folder = folder;
        let before = self.status.load_full();
        let mut status = FilesStatus { watch_problem, ..(*before).clone() };
        match changes {
            Ok(changes) => {
                status.folder_problem = None;
                status.last_read = Some(SystemTime::now());
                if !changes.is_empty() {
                    status.last_change = status.last_read;
                }
                self.tell(changes, &mut status).await?;
            }
            Err(problem) => status.folder_problem = Some(problem),
        }
        log(&before, &status);
        self.status.store(Arc::new(status));
        Ok(())
    }

    async fn tell(&self, mut changes: Batch, status: &mut FilesStatus) -> Result<(), Closed> {
        if !status.in_sync {
            changes.push(Change::InSync);
        }
        if !changes.is_empty() {
            self.changes.send(changes).await.map_err(|_| Closed)?;
        }
        status.in_sync = true;
        status.files = self.folder.files();
        status.objects = self.folder.counts();
        status.ignored = self.folder.ignored();
        status.unknown = self.folder.unknown();
        status.problems = self.folder.problems();
        Ok(())
    }
}

/// Nobody listens any more.
struct Closed;

/// Waits until `wake` is quiet, but not for ever.
async fn settle(wake: &Notify) {
    let impatient = Instant::now() + IMPATIENT;
    loop {
        let quiet = Instant::now() + QUIET;
        if timeout_at(quiet.min(impatient), wake.notified()).await.is_err() {
            return;
        }
    }
}

/// Says what is new in `now`.
fn log(before: &FilesStatus, now: &FilesStatus) {
    let folder = now.path.display();
    if now.folder_problem != before.folder_problem {
        match &now.folder_problem {
            Some(problem) => tracing::warn!(%folder, problem, "manifests cannot be read"),
            None => tracing::info!(%folder, "manifests can be read again"),
        }
    }
    if now.watch_problem != before.watch_problem
        && let Some(problem) = &now.watch_problem
    {
        tracing::warn!(%folder, problem, "manifests are polled instead of watched");
    }
    for problem in now.problems.iter().filter(|problem| !before.problems.contains(problem)) {
        tracing::warn!(%folder, %problem, "manifest refused");
    }
    if now.in_sync && !before.in_sync {
        let Counts { nodes, namespaces, pods, policies, .. } = now.objects;
        tracing::info!(
            %folder, files = now.files, nodes, namespaces, pods, policies, "manifests read"
        );
    }
}

/// What notices that something happens in the folder.
struct Eyes {
    folder: PathBuf,
    watcher: Result<RecommendedWatcher, String>,
    /// What is watched now, with what stood there then: a folder that was replaced by another
    /// of the same name must be watched anew.
    aimed: Vec<(PathBuf, Identity)>,
    /// Set when the folder or one above it came, went or was renamed: the watches may be dead
    /// even though the same inode stands there, because its number was used again.
    moved: Arc<AtomicBool>,
}

/// Device and inode.
type Identity = (u64, u64);

impl Eyes {
    fn new(folder: &Path, wake: &Arc<Notify>) -> Self {
        let moved = Arc::new(AtomicBool::new(false));
        let watcher = notify::recommended_watcher({
            let (folder, wake, moved) = (folder.to_owned(), wake.clone(), moved.clone());
            move |event: notify::Result<notify::Event>| {
                // An error may be an overrun: worth a look.
                let meaning = event.map_or(Meaning::Content, |event| meaning(&event, &folder));
                if meaning == Meaning::Moved {
                    moved.store(true, Ordering::Release);
                }
                if meaning != Meaning::Nothing {
                    wake.notify_one();
                }
            }
        });
        let watcher = watcher.map_err(|error| error.to_string());
        Self { folder: folder.to_owned(), watcher, aimed: Vec::new(), moved }
    }

    /// Watches the folder and the nearest folder above it that exists, where it would appear or
    /// be replaced. Answers why that does not work, if it does not.
    fn aim(&mut self) -> Option<String> {
        let watcher = match &mut self.watcher {
            Ok(watcher) => watcher,
            Err(problem) => return Some(problem.clone()),
        };
        let above = self.folder.ancestors().skip(1).find(|above| above.is_dir());
        let targets: Vec<(PathBuf, Identity)> = [Some(self.folder.as_path()), above]
            .into_iter()
            .flatten()
            .filter_map(|path| Some((path.to_owned(), identity(path)?)))
            .collect();
        let afresh = self.moved.swap(false, Ordering::AcqRel);
        let stays = |aimed: &(PathBuf, Identity)| !afresh && targets.contains(aimed);
        for (path, _) in self.aimed.extract_if(.., |aimed| !stays(aimed)) {
            // It fails if the folder is gone, and the watch with it.
            let _ = watcher.unwatch(&path);
        }
        let mut problem = None;
        for target in targets {
            if self.aimed.contains(&target) {
                continue;
            }
            match watcher.watch(&target.0, RecursiveMode::NonRecursive) {
                Ok(()) => self.aimed.push(target),
                Err(error) => problem = Some(format!("{}: {error}", target.0.display())),
            }
        }
        problem
    }
}

fn identity(path: &Path) -> Option<Identity> {
    use std::os::unix::fs::MetadataExt;
    let metadata = fs::metadata(path).ok().filter(fs::Metadata::is_dir)?;
    Some((metadata.dev(), metadata.ino()))
}

/// What an event is to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meaning {
    /// Somebody reads, we first of all; or something that holds no manifests changes.
    Nothing,
    /// The folder's content may be another.
    Content,
    /// The folder may be another.
    Moved,
}

fn meaning(event: &notify::Event, folder: &Path) -> Meaning {
    match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => {}
        EventKind::Access(_) => return Meaning::Nothing,
        _ => {}
    }
    let is_content = |path: &PathBuf| {
        // A mounted ConfigMap changes by renaming its hidden link `..data`.
        let name = path.file_name().map(|name| name.to_string_lossy());
        path.parent() == Some(folder)
            && name.is_some_and(|name| name.starts_with("..") || is_manifest(&name))
    };
    if event.paths.iter().any(|path| folder.starts_with(path)) {
        Meaning::Moved
    } else if event.need_rescan() || event.paths.iter().any(is_content) {
        Meaning::Content
    } else {
        Meaning::Nothing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_mean_what_they_are_about() {
        use notify::event::{CreateKind, DataChange, ModifyKind, RemoveKind, RenameMode};
        let written = EventKind::Access(AccessKind::Close(AccessMode::Write));
        let opened = EventKind::Access(AccessKind::Open(AccessMode::Any));
        let modified = EventKind::Modify(ModifyKind::Data(DataChange::Any));
        let renamed = EventKind::Modify(ModifyKind::Name(RenameMode::To));
        for (kind, path, want) in [
            (written, "/a/b/n1.yaml", Meaning::Content),
            (modified, "/a/b/n1.yaml", Meaning::Content),
            (renamed, "/a/b/n1.yaml", Meaning::Content),
            (renamed, "/a/b/..data", Meaning::Content),
            (EventKind::Remove(RemoveKind::File), "/a/b/n1.yaml", Meaning::Content),
            (opened, "/a/b/n1.yaml", Meaning::Nothing),
            (opened, "/a/b", Meaning::Nothing),
            (modified, "/a/b/.n1.yaml.swp", Meaning::Nothing),
            (EventKind::Create(CreateKind::File), "/a/b/4913", Meaning::Nothing),
            (EventKind::Create(CreateKind::File), "/a/other.yaml", Meaning::Nothing),
            (EventKind::Create(CreateKind::Folder), "/a/b", Meaning::Moved),
            (EventKind::Remove(RemoveKind::Folder), "/a/b", Meaning::Moved),
            (renamed, "/a", Meaning::Moved),
        ] {
            let event = notify::Event::new(kind).add_path(path.into());
            assert_eq!(meaning(&event, Path::new("/a/b")), want, "{kind:?} {path}");
        }
    }
}
