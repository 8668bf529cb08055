//! A container of a pod, as a container runtime makes it of the pod's manifest: the image's file
//! system, the paths of the host, the capabilities. What a runtime does besides (seccomp, control
//! groups, AppArmor) it does not.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use serde_json::Value;

use crate::agent::binary;
use crate::{Netns, Process, skip};

/// A node as far as containers see of it: a network, and folders that stand for the host's.
#[derive(Debug)]
pub struct Node {
    /// The network of pods with `hostNetwork`.
    pub netns: Arc<Netns>,
    folder: PathBuf,
}

/// A volume that is no path of the host, and the folder that stands for it.
pub type Given<'a> = (&'a str, &'a Path);

/// Where `programs` besides are missing, or containers cannot be made, says so; the test is to
/// return then.
#[must_use]
pub fn can_run(test: &str, programs: &[&str]) -> bool {
    let all = [programs, &["unshare", "capsh", "iptables-nft", "ipset", "conntrack"]].concat();
    let missing = skip::what_is_missing(&all).or_else(|| {
        let all_users = std::fs::read_to_string("/proc/self/uid_map").ok()?;
        let is_first = all_users.split_whitespace().nth(2) == Some("4294967295");
        let is_debian = Path::new("/usr/bin/dpkg-query").exists();
        match (is_first, is_debian) {
            (false, _) => Some("containers are only made as root, not in a user namespace".into()),
            (_, false) => Some("the image is made of a Debian system's programs".into()),
            (true, true) => None,
        }
    });
    skip::unless(test, missing)
}

impl Node {
    /// A node with this network; `folder` is its own.
    pub fn new(netns: &Arc<Netns>, folder: &Path) -> Self {
        std::fs::create_dir_all(folder).expect("the folder is the test's");
        Self { netns: Arc::clone(netns), folder: folder.to_owned() }
    }

    /// What is at this path of the host.
    pub fn path(&self, path: &str) -> PathBuf {
        // Of the kernel there is but one, and it shows each network its own settings.
        if path.starts_with("/proc/") || path.starts_with("/lib/modules") {
            return path.into();
        }
        self.folder.join("host").join(path.trim_start_matches('/'))
    }

    /// Starts container `name` of a pod with this `spec`. `given` are the volumes that are no
    /// paths of the host; `environment` comes on top of what the spec says.
    ///
    /// # Panics
    /// If the spec wants what is not played here, or it cannot be started.
    pub fn start(
        &self,
        spec: &Value,
        name: &str,
        given: &[Given],
        environment: &[(&str, &str)],
    ) -> Process {
        let command = self.command(spec, name, given, environment);
        let folder = self.folder.join(name);
        Process::start(&self.netns, name, &folder, &command[0], &command[1..])
            .expect("a container can be started")
    }

    /// The same, to its end.
    ///
    /// # Panics
    /// As [`Node::start`].
    pub fn run(
        &self,
        spec: &Value,
        name: &str,
        given: &[Given],
        environment: &[(&str, &str)],
    ) -> Output {
        let command = self.command(spec, name, given, environment);
        let run = || Command::new(&command[0]).args(&command[1..]).output();
        self.netns.inside(run).expect("a container can be started")
    }

    fn command(
        &self,
        spec: &Value,
        name: &str,
        given: &[Given],
        environment: &[(&str, &str)],
    ) -> Vec<String> {
        let container = container(spec, name);
        let folder = self.folder.join(name);
        let root = folder.join("root");
        make_root(&root);
        let mounts = folder.join("mounts");
        std::fs::write(&mounts, self.mounts(spec, container, given)).expect("our own folder");
        assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true, "{name}");
        assert_eq!(spec["hostNetwork"], true, "{name}");

        let text = |path: &Path| path.to_str().expect("ASCII").to_owned();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/container.sh");
        let unshare =
            "unshare --mount --pid --fork --kill-child env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin";
        let mut command: Vec<_> = unshare.split(' ').map(str::to_owned).collect();
        for (key, value) in variables(container) {
            command.push(format!("{key}={value}"));
        }
        command.extend(environment.iter().map(|(key, value)| format!("{key}={value}")));
        command.extend(["bash".to_owned(), text(&script), text(&root), text(&mounts)]);
        command.push(dropped(container));
        command.extend(strings(&container["command"]).chain(strings(&container["args"])));
        command
    }

    /// A line for each mount: from where, to where, and whether it may be written.
    fn mounts(&self, spec: &Value, container: &Value, given: &[Given]) -> String {
        let mut lines = String::new();
        let mounts = container["volumeMounts"].as_array().expect("a list");
        for mount in mounts {
            let name = mount["name"].as_str().expect("a name");
            let source = match given.iter().find(|(volume, _)| *volume == name) {
                Some((_, folder)) => folder.to_path_buf(),
                None => self.volume(spec, name),
            };
            let target = mount["mountPath"].as_str().expect("a path");
            let mode = if mount["readOnly"] == true { "ro" } else { "rw" };
            let _ = writeln!(lines, "{}\t{target}\t{mode}", source.display());
        }
        for (target, folder) in given.iter().filter(|(volume, _)| volume.starts_with('/')) {
            let _ = writeln!(lines, "{}\t{target}\tro", folder.display());
        }
        lines
    }

    /// A path of the host, as the kubelet sees to it before a container starts.
    fn volume(&self, spec: &Value, name: &str) -> PathBuf {
        let volumes = spec["volumes"].as_array().expect("a list");
        let volume = volumes.iter().find(|volume| volume["name"] == name);
        let volume = volume.unwrap_or_else(|| panic!("no volume {name}"));
        let wanted = volume["hostPath"]["path"].as_str();
        let path = self.path(wanted.unwrap_or_else(|| panic!("{volume}: a path of the host")));
        let kind = volume["hostPath"]["type"].as_str().unwrap_or_default();
        match kind {
            "DirectoryOrCreate" => std::fs::create_dir_all(&path).expect("the test's folder"),
            "FileOrCreate" => {
                std::fs::create_dir_all(path.parent().expect("not the root")).expect("as above");
                drop(std::fs::File::options().append(true).create(true).open(&path));
            }
            "Directory" => assert!(path.is_dir(), "{}", path.display()),
            "" => std::fs::create_dir_all(&path).expect("a runtime makes it"),
            other => panic!("hostPath of type {other}"),
        }
        path
    }
}

/// The image's file system, made by what makes it for the image.
///
/// # Panics
/// If that fails.
pub fn make_root(root: &Path) {
    if root.exists() {
        std::fs::remove_dir_all(root).expect("it is ours");
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/image/rootfs");
    let output = Command::new(script).arg(root).arg(binary()).output().expect("bash is there");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn container<'a>(spec: &'a Value, name: &str) -> &'a Value {
    let of = |kind: &str| spec[kind].as_array().into_iter().flatten();
    let mut all = of("initContainers").chain(of("containers"));
    all.find(|container| container["name"] == name).unwrap_or_else(|| panic!("no container {name}"))
}

fn strings(list: &Value) -> impl Iterator<Item = String> {
    list.as_array().into_iter().flatten().map(|one| one.as_str().expect("a string").to_owned())
}

/// The variables that a manifest gives as text.
fn variables(container: &Value) -> impl Iterator<Item = (&str, &str)> {
    let all = container["env"].as_array().into_iter().flatten();
    all.filter_map(|one| Some((one["name"].as_str()?, one["value"].as_str()?)))
}

/// The capabilities that the container has not got, with commas between them.
fn dropped(container: &Value) -> String {
    let security = &container["securityContext"];
    assert_eq!(security["privileged"], false);
    assert_eq!(security["allowPrivilegeEscalation"], false);
    assert_eq!(strings(&security["capabilities"]["drop"]).collect::<Vec<_>>(), ["ALL"]);
    let kept: Vec<_> = strings(&security["capabilities"]["add"])
        .map(|name| format!("cap_{}", name.to_lowercase()))
        .collect();
    let last = std::fs::read_to_string("/proc/sys/kernel/cap_last_cap").expect("/proc is there");
    let all = (1_u64 << (last.trim().parse::<u32>().expect("a number") + 1)) - 1;
    let decoded = Command::new("capsh").arg(format!("--decode={all:x}")).output().expect("capsh");
    let decoded = String::from_utf8_lossy(&decoded.stdout).into_owned();
    let names = decoded.trim().split_once('=').expect("NUMBER=NAMES").1;
    let dropped: Vec<_> = names.split(',').filter(|name| !kept.iter().any(|k| k == name)).collect();
    assert_eq!(dropped.len() + kept.len(), names.split(',').count(), "{kept:?} of {names}");
    dropped.join(",")
}
