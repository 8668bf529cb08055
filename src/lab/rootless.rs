//! A lab without root: a user namespace that a small process keeps open for later commands.

use std::ffi::CString;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};
use nix::unistd::{getegid, geteuid, pause, setsid};

use super::netns;
use super::process::{self, MARK, ProcessId};

/// A process that has made the namespaces and waits to be told that it has been noted down.
#[derive(Debug)]
pub struct Holder {
    /// Its identity.
    pub process: ProcessId,
    child: Child,
    pipe: ChildStdin,
}

/// Starts the process that keeps a lab's namespaces open. Until [`Holder::release`] it ends
/// with us, so a crash before its identity is on disk leaves nothing behind.
///
/// # Errors
/// User namespaces are not allowed here.
pub fn hold(program: &Path, base: &Path, log: &Path, mark: &str) -> anyhow::Result<Holder> {
    let mut child = Command::new(program)
        .args(["lab", "hold", "--keep"])
        .arg(base)
        .env(MARK, mark)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(process::append(log)?)
        .spawn()
        .with_context(|| format!("cannot run {}", program.display()))?;
    let pid = i32::try_from(child.id()).context("process number")?;
    let pipe = child.stdin.take().context("no pipe to the holder")?;
    let said = child.stdout.take().context("no pipe from the holder")?;
    let mut answer = String::new();
    BufReader::new(said).read_line(&mut answer).context("the holder does not answer")?;
    if answer.trim() != "ready" {
        let _ = child.wait();
        let why = fs::read_to_string(log).unwrap_or_default();
        bail!(
            "a lab without root needs user namespaces, and this machine refuses them ({}); run it \
             as root (sudo), or allow them; look at these where they exist: \
             user.max_user_namespaces (0 forbids), kernel.unprivileged_userns_clone (0 forbids), \
             kernel.apparmor_restrict_unprivileged_userns (1 forbids), or a container's seccomp \
             profile",
            why.lines().last().unwrap_or("no reason given")
        );
    }
    let process = ProcessId::of(pid).context("the holder ended at once")?;
    Ok(Holder { process, child, pipe })
}

impl Holder {
    /// Lets the process live on without us.
    ///
    /// # Errors
    /// It is gone.
    pub fn release(mut self) -> anyhow::Result<()> {
        self.pipe.write_all(b"go\n").context("the holder is gone")?;
        // not ours to wait for any more; the rest of the handle has no effect on it
        drop(self.child);
        Ok(())
    }
}

/// The holder itself: makes the namespaces, says so, then waits for ever.
///
/// # Errors
/// The kernel refuses something; or whoever started us ended too early.
pub fn run_holder(keep: &Path) -> anyhow::Result<()> {
    let (uid, gid) = (geteuid(), getegid());
    unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET)
        .context("unshare")?;
    // the group map may be written only once setgroups is given up
    for (file, text) in [
        ("setgroups", "deny".to_owned()),
        ("uid_map", format!("0 {uid} 1")),
        ("gid_map", format!("0 {gid} 1")),
    ] {
        fs::write(Path::new("/proc/self").join(file), text)
            .with_context(|| format!("cannot write {file}"))?;
    }
    own_run(keep)?;
    netns::ip_batch(None, "link set lo up\n")?;
    // fails only for a group leader, which a freshly started child is not
    let _ = setsid();

    println!("ready");
    std::io::stdout().flush().context("nobody listens")?;
    let mut word = String::new();
    std::io::stdin().take(16).read_to_string(&mut word).context("nobody talks")?;
    if word.trim() != "go" {
        bail!("`lab up` ended before it had noted this process down");
    }
    std::env::set_current_dir("/").context("cannot leave the folder")?;
    loop {
        pause();
    }
}

/// Puts an empty, writable `/run` in front of the machine's, with `keep` still in place.
fn own_run(keep: &Path) -> anyhow::Result<()> {
    let none = None::<&Path>;
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(none, "/", none, private, none).context("cannot separate mounts")?;
    let run = Path::new("/run").canonicalize().context("/run")?;
    let keep = keep.canonicalize().with_context(|| keep.display().to_string())?;
    let kept = File::open(&keep).with_context(|| keep.display().to_string())?;
    let options = CString::new("mode=0755").context("mount options")?;
    mount(Some("tmpfs"), &run, Some("tmpfs"), MsFlags::empty(), Some(options.as_c_str()))
        .context("cannot mount a tmpfs on /run")?;
    fs::create_dir(netns::DIRECTORY).context(netns::DIRECTORY)?;
    if keep.starts_with(&run) {
        fs::create_dir_all(&keep).with_context(|| keep.display().to_string())?;
        let source = PathBuf::from(format!("/proc/self/fd/{}", kept.as_raw_fd()));
        let bind = MsFlags::MS_BIND | MsFlags::MS_REC;
        mount(Some(&source), &keep, none, bind, none)
            .with_context(|| format!("cannot keep {}", keep.display()))?;
    }
    Ok(())
}

/// Puts this process, which must have a single thread, into the holder's namespaces.
///
/// # Errors
/// The holder is gone or is somebody else's.
pub fn enter(holder: ProcessId) -> anyhow::Result<()> {
    let namespace = |kind: &str| {
        let path = format!("/proc/{}/ns/{kind}", holder.pid);
        File::open(&path).with_context(|| format!("cannot open {path}"))
    };
    let here = std::env::current_dir();
    // the user namespace first: it gives the right to enter the others
    let (user, mounts, net) = (namespace("user")?, namespace("mnt")?, namespace("net")?);
    let deadline = Instant::now() + Duration::from_secs(1);
    // a thread that has been joined may still be on its way out, and counts until it is gone
    while let Err(error) = setns(&user, CloneFlags::CLONE_NEWUSER) {
        if error != Errno::EINVAL || Instant::now() > deadline {
            return Err(error).context("cannot enter the lab's user namespace");
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    setns(mounts, CloneFlags::CLONE_NEWNS).context("cannot enter the lab's mounts")?;
    setns(net, CloneFlags::CLONE_NEWNET).context("cannot enter the lab's network")?;
    // entering mounts moves us to their root; a folder that is not there keeps us at it
    if let Ok(folder) = here {
        let _ = std::env::set_current_dir(folder);
    }
    Ok(())
}
