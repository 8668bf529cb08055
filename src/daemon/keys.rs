//! The keys that sign sessions: read from their files, looked at again every second, so that
//! another key counts without anybody saying so.
//!
//! Looking is all that works everywhere: a mounted Secret changes by a symbolic link of a
//! folder above, and the kernel tells nobody who watches the file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use brindle_config::{Auth, BadKey, Bgp, KeyFile, Secret};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tracing::{info, warn};

use crate::speaker::{AoKey, DynamicPeers, Key, Protection, WantedPeer};

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

type Looked = BTreeMap<PathBuf, Result<Secret, BadKey>>;

/// What was read of a file.
#[derive(Debug)]
struct Held {
    /// The last key that it held.
    key: Option<Secret>,
    /// Why it holds none now.
    trouble: Option<BadKey>,
}

/// The keys of all files that the configuration names.
#[derive(Debug)]
pub(super) struct Keys {
    held: BTreeMap<PathBuf, Held>,
    watched: Arc<ArcSwap<Vec<PathBuf>>>,
    looked: mpsc::Receiver<Looked>,
    _watcher: JoinSet<()>,
}

impl Keys {
    pub(super) fn new() -> Self {
        let (tell, looked) = mpsc::channel(1);
        let watched = Arc::<ArcSwap<Vec<PathBuf>>>::default();
        let mut watcher = JoinSet::new();
        watcher.spawn(watch(Arc::clone(&watched), tell));
        Self { held: BTreeMap::new(), watched, looked, _watcher: watcher }
    }

    /// Waits until some file holds something else. Can be cancelled.
    pub(super) async fn changed(&mut self) {
        loop {
            let Some(looked) = self.looked.recv().await else {
                return std::future::pending().await;
            };
            if self.take(looked) {
                return;
            }
        }
    }

    /// Reads the files that this configuration names and no earlier one did.
    pub(super) async fn follow(&mut self, bgp: &Bgp) {
        let mut paths: Vec<PathBuf> = bgp.key_files().map(|file| file.path.clone()).collect();
        paths.sort_unstable();
        paths.dedup();
        if **self.watched.load() == paths {
            return;
        }
        self.held.retain(|path, _| paths.contains(path));
        let fresh: Vec<PathBuf> =
            paths.iter().filter(|path| !self.held.contains_key(*path)).cloned().collect();
        self.watched.store(Arc::new(paths));
        let looked = tokio::task::spawn_blocking(move || look(&fresh)).await.unwrap_or_default();
        self.take(looked);
    }

    /// Whether anything is another than before.
    fn take(&mut self, looked: Looked) -> bool {
        let mut changed = false;
        for (path, result) in looked {
            if !self.watched.load().contains(&path) {
                continue;
            }
            let shown = path.display();
            match (self.held.get_mut(&path), result) {
                (None, result) => {
                    let (key, trouble) = match result {
                        Ok(key) => (Some(key), None),
                        Err(why) => (None, Some(why)),
                    };
                    self.held.insert(path, Held { key, trouble });
                    changed = true;
                }
                (Some(held), Ok(key)) => {
                    if held.key.as_ref() != Some(&key) {
                        info!(file = %shown, "another key, which counts from now on");
                    } else if held.trouble.is_none() {
                        continue;
                    }
                    *held = Held { key: Some(key), trouble: None };
                    changed = true;
                }
                (Some(held), Err(why)) if held.trouble.as_ref() != Some(&why) => {
                    if held.key.is_some() {
                        warn!(file = %shown, %why, "holds no key any more; the one that it held goes on being used");
                    }
                    held.trouble = Some(why);
                    changed = true;
                }
                (Some(_), Err(_)) => {}
            }
        }
        changed
    }

    /// Gives the peers that the configuration has keys for their keys, unless an object does.
    pub(super) fn protect(&self, bgp: &Bgp, peers: &mut [WantedPeer]) {
        for peer in peers.iter_mut().filter(|peer| peer.protection.source.is_none()) {
            let auth = if peer.mesh {
                &bgp.mesh_auth
            } else {
                match bgp.peers.iter().find(|one| one.name == peer.rib.name) {
                    Some(one) => &one.auth,
                    None => continue,
                }
            };
            self.sign(auth, &mut peer.protection);
        }
    }

    /// Gives the groups of dynamic peers that the configuration has keys for their keys.
    pub(super) fn protect_groups(&self, bgp: &Bgp, groups: &mut [DynamicPeers]) {
        for group in groups {
            if let Some(one) = bgp.dynamic.iter().find(|one| one.peer.name == group.name) {
                self.sign(&one.peer.auth, &mut group.template.protection);
            }
        }
    }

    fn sign(&self, auth: &Auth, protection: &mut Protection) {
        let mut trouble = None;
        let mut key = |file: &KeyFile| self.key(file, &mut trouble);
        let signed = match auth {
            Auth::None => return,
            Auth::Md5(file) => key(file).map(Key::Md5),
            Auth::Ao(keys) => keys
                .iter()
                .map(|one| {
                    Ok(AoKey {
                        send_id: one.send_id,
                        recv_id: one.recv_id,
                        algorithm: one.algorithm,
                        secret: key(&one.file)?,
                    })
                })
                .collect::<Result<_, String>>()
                .map(Key::Ao),
        };
        protection.key = signed.unwrap_or_else(Key::Missing);
        protection.source = source(auth);
        protection.trouble = trouble;
    }

    fn key(&self, file: &KeyFile, trouble: &mut Option<String>) -> Result<Secret, String> {
        let held = self.held.get(&file.path);
        let problem = held.and_then(|held| held.trouble.as_ref()).map(|why| file.problem(why));
        match held.and_then(|held| held.key.clone()) {
            Some(key) => {
                if let Some(problem) = problem {
                    *trouble = Some(format!("the key read before is used: {problem}"));
                }
                Ok(key)
            }
            None => Err(problem.map_or_else(
                || format!("{} is not read yet", file.path.display()),
                |problem| problem.to_string(),
            )),
        }
    }
}

/// Where the keys are from.
fn source(auth: &Auth) -> Option<Arc<str>> {
    let files: Vec<String> =
        auth.files().map(|file| format!("file {}", file.path.display())).collect();
    (!files.is_empty()).then(|| files.join(", ").into())
}

fn look(paths: &[PathBuf]) -> Looked {
    paths.iter().map(|path| (path.clone(), Secret::read(Path::new(path)))).collect()
}

/// Tells of the files whenever they are not what they were.
async fn watch(watched: Arc<ArcSwap<Vec<PathBuf>>>, tell: mpsc::Sender<Looked>) {
    let mut last = Looked::new();
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let paths = watched.load_full();
        if paths.is_empty() {
            continue;
        }
        let Ok(looked) = tokio::task::spawn_blocking(move || look(&paths)).await else { continue };
        if looked != last {
            last.clone_from(&looked);
            if tell.send(looked).await.is_err() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use brindle_config::Config;

    use super::*;

    fn bgp(path: &Path) -> Bgp {
        let peer = format!(
            "bgp: {{peers: [{{name: a, peerIP: 10.0.0.2, asNumber: 64512, password: {{file: {}}}}}]}}",
            path.display()
        );
        Config::from_yaml("f", &peer).unwrap().bgp
    }

    fn signed(keys: &Keys, bgp: &Bgp) -> Protection {
        let mut protection = Protection::default();
        keys.sign(&bgp.peers[0].auth, &mut protection);
        protection
    }

    #[tokio::test]
    async fn a_key_is_taken_over_and_kept_when_its_file_goes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let bgp = bgp(&path);
        let mut keys = Keys::new();
        keys.follow(&bgp).await;
        let Key::Missing(why) = signed(&keys, &bgp).key else { panic!("there is no file") };
        let want = format!(
            "f:1:77  bgp.peers[0].password.file: {}: there is no such file; it must be a file \
             that holds the key, 1 to 80 octets",
            path.display()
        );
        assert_eq!(why, want);

        let key = |text: &str| Key::Md5(Secret::new(text.as_bytes()).unwrap());
        for (text, want, has_trouble) in
            [("one\n", "one", false), ("two", "two", false), ("", "two", true)]
        {
            std::fs::write(&path, text).unwrap();
            keys.changed().await;
            let protection = signed(&keys, &bgp);
            assert_eq!(protection.key, key(want), "{text:?}");
            assert_eq!(protection.trouble.is_some(), has_trouble, "{text:?}: {protection:?}");
        }
    }
}
