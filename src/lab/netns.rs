//! Network namespaces by name, as `ip netns` knows them, and work inside them.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use anyhow::{Context, bail};
use nix::sched::{CloneFlags, setns};

/// Where named network namespaces are found.
pub const DIRECTORY: &str = "/run/netns";

/// The file that holds the namespace `name` open.
pub fn path(name: &str) -> PathBuf {
    Path::new(DIRECTORY).join(name)
}

/// The inode number of the namespace `name`; `None` if there is none.
pub fn inode(name: &str) -> Option<u64> {
    fs::metadata(path(name)).ok().map(|m| m.ino())
}

/// Puts the calling thread, and the processes it starts, into the namespace `name`.
///
/// # Errors
/// There is no such namespace, or no privilege.
pub fn enter(name: &str) -> anyhow::Result<()> {
    let file = File::open(path(name)).with_context(|| format!("network namespace {name}"))?;
    setns(file, CloneFlags::CLONE_NEWNET)
        .with_context(|| format!("cannot enter network namespace {name}"))
}

/// Does `work` on a thread inside the namespace `name`: sockets it makes and processes it
/// starts stay there.
///
/// # Errors
/// The namespace cannot be entered, or what `work` fails with.
pub fn within<T: Send>(
    name: &str,
    work: impl FnOnce() -> anyhow::Result<T> + Send,
) -> anyhow::Result<T> {
    thread::scope(|scope| {
        let worker = scope.spawn(|| {
            enter(name)?;
            work()
        });
        worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Feeds `script` to `ip -batch` in the namespace `name`, or in the current one.
///
/// # Errors
/// `ip` is missing, or a line fails; the message names the line.
pub fn ip_batch(name: Option<&str>, script: &str) -> anyhow::Result<()> {
    if script.is_empty() {
        return Ok(());
    }
    let run = || -> anyhow::Result<()> {
        let mut child = Command::new(program("ip")?)
            .args(["-batch", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot run `ip`")?;
        let sent = child.stdin.take().map_or(Ok(()), |mut pipe| pipe.write_all(script.as_bytes()));
        let output = child.wait_with_output().context("`ip -batch`")?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            let line = failed_line(&said).and_then(|n| script.lines().nth(n.checked_sub(1)?));
            let place = name.map(|n| format!(" in {n}")).unwrap_or_default();
            bail!("`ip {}`{place}: {}", line.unwrap_or("-batch"), said.trim());
        }
        sent.context("`ip -batch` did not read its input")
    };
    match name {
        Some(name) => within(name, run),
        None => run(),
    }
}

/// What `ip ARGS` prints inside the namespace `name`.
///
/// # Errors
/// The namespace cannot be entered, or `ip` fails.
pub fn ip_output(name: &str, args: &[&str]) -> anyhow::Result<String> {
    within(name, || {
        let output = Command::new(program("ip")?).args(args).output().context("cannot run `ip`")?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            bail!("`ip {}` in {name}: {}", args.join(" "), said.trim());
        }
        String::from_utf8(output.stdout).context("`ip` printed no text")
    })
}

/// Sets kernel parameters (`net.` left out, "/" between words) inside the namespace `name`.
/// One that this kernel lacks is passed over.
///
/// # Errors
/// The namespace cannot be entered, or a value is refused.
pub fn sysctl(name: &str, settings: &[(&str, &str)]) -> anyhow::Result<()> {
    within(name, || {
        for (key, value) in settings {
            match fs::write(Path::new("/proc/sys/net").join(key), value) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                done => done.with_context(|| format!("cannot set {key} = {value} in {name}"))?,
            }
        }
        Ok(())
    })
}

/// Where the program `name` is: in `PATH` or where system programs usually are.
///
/// # Errors
/// It is not installed.
pub fn program(name: &str) -> anyhow::Result<PathBuf> {
    let listed = std::env::var_os("PATH").unwrap_or_default();
    let usual = ["/usr/sbin", "/sbin", "/usr/local/sbin", "/usr/bin", "/bin"].map(PathBuf::from);
    std::env::split_paths(&listed)
        .chain(usual)
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
        .with_context(|| {
            let package = match name {
                "ip" => "iproute2",
                "bird" => "bird2",
                "kubectl" => "kubernetes-client",
                other => other,
            };
            format!("`{name}` is not installed; on Debian: apt-get install {package}")
        })
}

/// The line number in "Command failed -:7".
fn failed_line(said: &str) -> Option<usize> {
    said.lines().find_map(|line| line.strip_prefix("Command failed -:")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_failing_line_is_found() {
        for (said, want) in [
            ("RTNETLINK answers: File exists\nCommand failed -:7\n", Some(7)),
            ("Command failed -:x\n", None),
            ("", None),
        ] {
            assert_eq!(failed_line(said), want, "{said:?}");
        }
    }
}
