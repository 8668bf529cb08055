//! How full the table of connections of this network namespace is.

use std::fs;

/// Connection tracking in figures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Conntrack {
    /// Connections that are tracked.
    pub(super) entries: u64,
    /// The most that can be.
    pub(super) limit: u64,
    /// Packets dropped because there was no room, or no entry could be made.
    pub(super) drops: u64,
}

impl Conntrack {
    /// The figures now; `None` if nothing is tracked here.
    pub(super) fn read() -> Option<Self> {
        let number = |name: &str| {
            let path = format!("/proc/sys/net/netfilter/nf_conntrack_{name}");
            fs::read_to_string(path).ok()?.trim().parse().ok()
        };
        let drops = fs::read_to_string("/proc/self/net/stat/nf_conntrack");
        Some(Self {
            entries: number("count")?,
            limit: number("max")?,
            drops: drops.map_or(0, |text| count_drops(&text)),
        })
    }
}

/// Adds up the columns `drop` and `early_drop`: a line of names, then one of hexadecimal numbers
/// for each processor.
fn count_drops(text: &str) -> u64 {
    let mut lines = text.lines();
    let names: Vec<&str> = lines.next().unwrap_or_default().split_whitespace().collect();
    let drops = lines.flat_map(|line| names.iter().zip(line.split_whitespace()));
    drops
        .filter(|(name, _)| matches!(**name, "drop" | "early_drop"))
        .filter_map(|(_, number)| u64::from_str_radix(number, 16).ok())
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drops_of_all_processors_are_added_up() {
        let text = "entries  found drop early_drop icmp_error\n\
                    00000003  00000000 0000000a 00000001 00000007\n\
                    00000003  00000000 00000001 00000000 00000007\n";
        assert_eq!(count_drops(text), 12);
        assert_eq!(count_drops(""), 0);
    }
}
