//! What a process has used, as the kernel counts it.

use std::time::{Duration, Instant};

use nix::unistd::{Pid, SysconfVar, sysconf};

/// What one run cost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    /// From the first octet sent until the work was done.
    pub(crate) wall: Duration,
    /// User and system time of the daemon in that span.
    pub(crate) cpu: Duration,
    /// The most memory that it ever held (VmHWM), in octets.
    pub(crate) peak: u64,
}

/// A running measurement of a process.
pub(crate) struct Meter {
    pid: Pid,
    begin: Instant,
    cpu: Duration,
}

impl Meter {
    pub(crate) fn start(pid: Pid) -> Self {
        Self { pid, cpu: cpu(pid), begin: Instant::now() }
    }

    pub(crate) fn stop(&self) -> Cost {
        let wall = self.begin.elapsed();
        Cost { wall, cpu: cpu(self.pid) - self.cpu, peak: peak(self.pid) }
    }
}

/// utime and stime of `/proc/PID/stat`: fields 14 and 15, behind the name in brackets.
fn cpu(pid: Pid) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs");
    let (_, fields) = stat.rsplit_once(')').expect("the name stands in brackets");
    let ticks = fields.split_whitespace().skip(11).take(2).filter_map(|x| x.parse::<u64>().ok());
    let hertz = sysconf(SysconfVar::CLK_TCK).ok().flatten().unwrap_or(100);
    Duration::from_secs_f64(ticks.sum::<u64>() as f64 / hertz as f64)
}

fn peak(pid: Pid) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
    kib.expect("the kernel counts it") * 1024
}
