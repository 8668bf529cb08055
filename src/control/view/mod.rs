//! What is shown of a node, as it stands in JSON: words for states and codes, addresses as
//! text, times in RFC 3339 UTC with the same as `...Seconds` beside them.
//!
//! Field names are a contract: fields may be added, none renamed or given another meaning.

use std::fmt;
use std::time::{Duration, Instant, SystemTime};

use serde::{Deserialize, Serialize};

mod bfd;
mod bmp;
mod changes;
mod drain;
mod dump;
mod expect;
mod explain;
mod filter;
mod from_bgp;
mod matrix;
mod peers;
mod policy;
mod routes;
mod source;
mod status;

pub use bfd::{Bfd, BfdRemote, BfdState};
pub use bmp::{BmpState, BmpStation};
pub use changes::{ChangeCause, ChangeKind, RouteChange, RouteChanges, RouteGap};
pub use drain::{Drain, DrainState};
pub use dump::{DumpHead, DumpPeer, DumpedPath, DumpedPrefix, TableDump};
pub use expect::{PolicyTestReport, RuleName, TestFailure};
pub use explain::{
    DeniedFlow, Explanation, FlowEnd, FlowOutcome, HostAsked, Judgement, KernelVerdict, Outcome,
    PolicyAsked, RouteTaken, RuleAsked, Staged,
};
pub use filter::{AttributeChange, FilterStep, FilterTestFailure, FilterTestReport};
pub use from_bgp::refusal_words;
pub use matrix::{Cell, CellVerdict, Group, Matrix};
pub use peers::{
    AddPaths, AuthKind, FamilyCounts, FamilyTotals, GracefulRestart, Kept, MessageCounts,
    MessageTypes, Negotiated, NotificationSeen, Peer, PeerAuth, PeerKind, PolicyKind, SessionState,
    Timers,
};
pub use policy::{
    Direction, Endpoint, EndpointState, FieldProblem, Finding, Level, PodPolicies, Policy,
    PolicyRule, PolicyState, RuleHits,
};
pub use routes::{
    Attributes, Hop, KernelRoute, KernelState, Path, PathStatus, Rejected, Route, Target,
    UnknownAttribute,
};
pub use source::{HeldDeletions, KubernetesSource, SourceError, SourceStatus, WatchedResource};
pub use status::{
    BgpStatus, Config, ConfigStatus, Done, FamilyForwarding, FamilyHash, FamilyRoutes, Forwarding,
    KernelStatus, NodeAddress, PolicyStatus, Problem, Reload, ReloadResult, Resilient, Status,
    TelemetryStatus,
};

/// The version of these views.
pub const API_VERSION: &str = "brindle.dev/v1";

/// An address family: `ipv4` or `ipv6`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// IPv4 unicast.
    Ipv4,
    /// IPv6 unicast.
    Ipv6,
}

impl Family {
    /// Both, IPv4 first.
    pub const ALL: [Family; 2] = [Family::Ipv4, Family::Ipv6];
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Family::Ipv4 => "ipv4",
            Family::Ipv6 => "ipv6",
        })
    }
}

/// A time of day in UTC, written in RFC 3339 to the millisecond.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(jiff::Timestamp);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3}", self.0)
    }
}

impl Time {
    /// Seconds since 1970; zero before, or after 2106, when they need more than 32 bits.
    pub fn unix_seconds(self) -> u32 {
        u32::try_from(self.0.as_second()).unwrap_or(0)
    }
}

impl From<SystemTime> for Time {
    /// A time outside of the years -9999 to 9999 becomes 1970: only a broken clock has one.
    fn from(time: SystemTime) -> Self {
        Self(jiff::Timestamp::try_from(time).unwrap_or(jiff::Timestamp::UNIX_EPOCH))
    }
}

impl std::str::FromStr for Time {
    type Err = jiff::Error;

    fn from_str(text: &str) -> Result<Self, jiff::Error> {
        text.parse().map(Self)
    }
}

impl Serialize for Time {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        as_text::deserialize(deserializer)
    }
}

/// One instant read from both clocks: turns what happened at an [`Instant`] into a time of
/// day, so that a wall clock that was set never changes a duration that is shown.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    instant: Instant,
    wall: SystemTime,
}

impl Clock {
    /// Reads both clocks; once for each answer.
    pub fn now() -> Self {
        Self { instant: Instant::now(), wall: SystemTime::now() }
    }

    /// When something in the past happened, and how many seconds ago.
    pub fn past(&self, then: Instant) -> (Time, u64) {
        let ago = self.instant.saturating_duration_since(then);
        (self.wall.checked_sub(ago).unwrap_or(SystemTime::UNIX_EPOCH).into(), ago.as_secs())
    }

    /// When something in the past happened that is known by the time of day only, and how many
    /// seconds ago.
    pub fn past_time(&self, then: SystemTime) -> (Time, u64) {
        (then.into(), self.wall.duration_since(then).unwrap_or_default().as_secs())
    }

    /// When something in the future will happen, and in how many seconds, rounded up.
    pub fn future(&self, then: Instant) -> (Time, u64) {
        let ahead = then.saturating_duration_since(self.instant);
        let seconds = ahead.as_secs() + u64::from(ahead.subsec_nanos() > 0);
        (self.wall.checked_add(ahead).unwrap_or(self.wall).into(), seconds)
    }
}

/// How long something took or lasts, as a table has it: `12s`, `6m`, `3h40m`, `3d4h`.
pub fn short_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    let two = |high: u64, unit: &str, low: u64, small: &str| match low {
        0 => format!("{high}{unit}"),
        low => format!("{high}{unit}{low}{small}"),
    };
    match seconds {
        0..60 => format!("{seconds}s"),
        60..600 => two(minutes, "m", seconds % 60, "s"),
        600..3600 => format!("{minutes}m"),
        3600..86400 => two(hours, "h", minutes % 60, "m"),
        _ => two(days, "d", hours % 24, "h"),
    }
}

/// Serialises through `Display` and `FromStr`: one way to write a value, everywhere.
pub(crate) mod as_text {
    use std::fmt::Display;
    use std::str::FromStr;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<T: Display, S: Serializer>(
        value: &T,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    pub(crate) fn deserialize<'de, T, D>(deserializer: D) -> Result<T, D::Error>
    where
        T: FromStr<Err: Display>,
        D: Deserializer<'de>,
    {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Octets in hexadecimal, two digits each.
pub(crate) mod as_hex {
    use std::fmt::Write;

    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(
        octets: &[u8],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let mut text = String::with_capacity(2 * octets.len());
        for octet in octets {
            write!(text, "{octet:02x}").expect("a String takes everything");
        }
        serializer.serialize_str(&text)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(deserializer)?;
        let digit = |digit: u8| char::from(digit).to_digit(16);
        let octet = |pair: &[u8]| match pair {
            &[high, low] => u8::try_from(digit(high)? << 4 | digit(low)?).ok(),
            _ => None,
        };
        let octets: Option<Vec<u8>> = text.as_bytes().chunks(2).map(octet).collect();
        octets.ok_or_else(|| D::Error::custom("no octets in hexadecimal"))
    }
}

/// The same for lists.
pub(crate) mod as_texts {
    use std::fmt::Display;
    use std::str::FromStr;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<T: Display, S: Serializer>(
        values: &[T],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(values.iter().map(ToString::to_string))
    }

    pub(crate) fn deserialize<'de, T, D>(deserializer: D) -> Result<Vec<T>, D::Error>
    where
        T: FromStr<Err: Display>,
        D: Deserializer<'de>,
    {
        Vec::<String>::deserialize(deserializer)?
            .iter()
            .map(|text| text.parse().map_err(serde::de::Error::custom))
            .collect()
    }
}
