//! What the kernel says of our own process.

use std::fs;
use std::time::Duration;

/// Our process in figures.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Process {
    /// Processor time so far.
    pub(super) cpu: Duration,
    /// Octets in memory.
    pub(super) resident: u64,
    /// Open file descriptors.
    pub(super) descriptors: usize,
    /// Threads.
    pub(super) threads: u64,
}

impl Process {
    /// The figures now; `None` where there is no /proc.
    pub(super) fn read() -> Option<Self> {
        let stat = fs::read_to_string("/proc/self/stat").ok()?;
        let ticks = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK).ok()??;
        let page = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).ok()??;
        let descriptors = fs::read_dir("/proc/self/fd").ok()?.count();
        parse(&stat, u64::try_from(ticks).ok()?, u64::try_from(page).ok()?)
            // The one that lists them is not one to speak of.
            .map(|process| Self { descriptors: descriptors.saturating_sub(1), ..process })
    }
}

/// Reads `/proc/self/stat` (proc_pid_stat(5)).
fn parse(stat: &str, ticks: u64, page: u64) -> Option<Process> {
    // The second field is the program's name in parentheses, which may hold anything.
    let (_, rest) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    let (user, system) = (field(14)?, field(15)?);
    Some(Process {
        cpu: Duration::from_millis((user + system) * 1000 / ticks.max(1)),
        resident: field(24)? * page,
        descriptors: 0,
        threads: field(20)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_stand_where_the_manual_says() {
        let stat = "42 (a) b (c) S 1 1 1 0 -1 4194304 99 0 1 0 250 150 0 0 20 0 7 0 12 1000 33 1";
        let process = parse(stat, 100, 4096).expect("it is right");
        let want = Process {
            cpu: Duration::from_secs(4),
            resident: 33 * 4096,
            descriptors: 0,
            threads: 7,
        };
        assert_eq!(process, want);
        assert_eq!(parse("42 (a) S 1", 100, 4096), None);
    }

    #[test]
    fn our_own_process_has_memory_threads_and_descriptors() {
        let process = Process::read().expect("/proc is there");
        assert!(process.resident > 0 && process.threads > 0 && process.descriptors > 0);
    }
}
