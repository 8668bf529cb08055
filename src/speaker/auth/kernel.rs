//! What the kernel has dropped for its signature or TTL. It says so by numbers alone, which
//! count all connections of the network namespace.

use std::fs;

/// Segments that the kernel dropped since the namespace exists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AuthFailures {
    /// Not signed with MD5, where a key is set.
    pub md5_missing: u64,
    /// Signed with MD5, where no key is set.
    pub md5_unexpected: u64,
    /// Signed with MD5 by another key.
    pub md5_wrong: u64,
    /// Not signed with TCP-AO, where keys are set.
    pub ao_missing: u64,
    /// Signed with TCP-AO by another key.
    pub ao_wrong: u64,
    /// Signed with TCP-AO and a KeyID that is not known, or where no key is set.
    pub ao_unknown: u64,
    /// Come from farther off than `ttlSecurity` allows.
    pub ttl: u64,
}

impl AuthFailures {
    /// As they are now; all zero where the kernel does not tell.
    pub fn read() -> Self {
        // Of the thread: its namespace need not be that of the process.
        Self::parse(&fs::read_to_string("/proc/thread-self/net/netstat").unwrap_or_default())
    }

    /// Adds up the columns of `TcpExt`: a line of names, then one of numbers.
    fn parse(text: &str) -> Self {
        let mut lines = text.lines().filter_map(|line| line.strip_prefix("TcpExt:"));
        let (names, numbers) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
        let mut sum = Self::default();
        for (name, number) in names.split_whitespace().zip(numbers.split_whitespace()) {
            let counter = match name {
                "TCPMD5NotFound" => &mut sum.md5_missing,
                "TCPMD5Unexpected" => &mut sum.md5_unexpected,
                "TCPMD5Failure" => &mut sum.md5_wrong,
                "TCPAORequired" => &mut sum.ao_missing,
                "TCPAOBad" => &mut sum.ao_wrong,
                "TCPAOKeyNotFound" => &mut sum.ao_unknown,
                "TCPMinTTLDrop" => &mut sum.ttl,
                _ => continue,
            };
            *counter += number.parse::<u64>().unwrap_or_default();
        }
        sum
    }

    /// What came since `before`.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        Self {
            md5_missing: self.md5_missing.saturating_sub(before.md5_missing),
            md5_unexpected: self.md5_unexpected.saturating_sub(before.md5_unexpected),
            md5_wrong: self.md5_wrong.saturating_sub(before.md5_wrong),
            ao_missing: self.ao_missing.saturating_sub(before.ao_missing),
            ao_wrong: self.ao_wrong.saturating_sub(before.ao_wrong),
            ao_unknown: self.ao_unknown.saturating_sub(before.ao_unknown),
            ttl: self.ttl.saturating_sub(before.ttl),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_found_by_their_names() {
        let text = "TcpExt: SyncookiesSent TCPMD5NotFound TCPMD5Unexpected TCPMD5Failure \
                    TCPMinTTLDrop TCPAORequired TCPAOBad TCPAOKeyNotFound TCPAOGood\n\
                    TcpExt: 9 1 2 3 4 10 20 30 99\n\
                    IpExt: InNoRoutes TCPMD5Failure\n\
                    IpExt: 7 7\n";
        let want = AuthFailures {
            md5_missing: 1,
            md5_unexpected: 2,
            md5_wrong: 3,
            ao_missing: 10,
            ao_wrong: 20,
            ao_unknown: 30,
            ttl: 4,
        };
        assert_eq!(AuthFailures::parse(text), want);
        assert_eq!(AuthFailures::parse(""), AuthFailures::default());
        assert_eq!(want.since(&want), AuthFailures::default());
        assert_eq!(AuthFailures::default().since(&want), AuthFailures::default());
    }
}
