//! The versions of the CNI specification that the plug-in speaks, and what a failure is in them.

use std::fmt;

use serde_json::{Value, json};

/// A version of the CNI specification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SpecVersion {
    /// 0.3.1: results with interfaces.
    V0_3_1,
    /// 0.4.0: adds CHECK.
    V0_4_0,
    /// 1.0.0: addresses without their family's number.
    V1_0_0,
    /// 1.1.0: adds GC and STATUS.
    V1_1_0,
}

impl SpecVersion {
    /// All that are spoken, the oldest first.
    pub const ALL: [Self; 4] = [Self::V0_3_1, Self::V0_4_0, Self::V1_0_0, Self::V1_1_0];
    /// The one to answer in where none is asked for.
    pub const LATEST: Self = Self::V1_1_0;

    /// As it stands in `cniVersion`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V0_3_1 => "0.3.1",
            Self::V0_4_0 => "0.4.0",
            Self::V1_0_0 => "1.0.0",
            Self::V1_1_0 => "1.1.0",
        }
    }

    /// The version of this text; `None` if it is not spoken.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|version| version.as_str() == text)
    }
}

impl fmt::Display for SpecVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a call failed, as a number: below 100 the specification's, from 100 on ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// 1: `cniVersion` is none that is spoken, or too old for the verb.
    IncompatibleVersion,
    /// 2: the configuration has something that is not supported here.
    UnsupportedField,
    /// 3: there is no such container.
    UnknownContainer,
    /// 4: one of the variables `CNI_...` is missing or wrong.
    InvalidEnvironment,
    /// 5: a file cannot be read or written.
    Io,
    /// 6: standard input is no JSON.
    Decode,
    /// 7: the configuration is wrong.
    InvalidConfig,
    /// 11: the same call may succeed later.
    TryAgainLater,
    /// 50: no pod can be connected now (STATUS).
    Unavailable,
    /// 100: the kernel refused the pod's interface.
    Kernel,
    /// 101: the pod's range has no address left.
    RangeFull,
    /// 102: the pod's isolation did not come into the kernel in time.
    NotProgrammed,
    /// 103: the pod's interface is not as it was made (CHECK).
    Deviates,
    /// 104: an address that was asked for cannot be had.
    AddressRefused,
}

impl Code {
    /// The number.
    pub const fn number(self) -> u32 {
        match self {
            Self::IncompatibleVersion => 1,
            Self::UnsupportedField => 2,
            Self::UnknownContainer => 3,
            Self::InvalidEnvironment => 4,
            Self::Io => 5,
            Self::Decode => 6,
            Self::InvalidConfig => 7,
            Self::TryAgainLater => 11,
            Self::Unavailable => 50,
            Self::Kernel => 100,
            Self::RangeFull => 101,
            Self::NotProgrammed => 102,
            Self::Deviates => 103,
            Self::AddressRefused => 104,
        }
    }
}

/// Why a call failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// As a number.
    pub code: Code,
    /// As a sentence: what, where, and what would be accepted.
    pub message: String,
    /// What else is worth knowing, such as what could not be undone.
    pub details: String,
}

impl Failure {
    /// A failure without details.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), details: String::new() }
    }

    /// The object that goes to standard output.
    pub fn to_json(&self, version: SpecVersion) -> Value {
        let Self { code, message, details } = self;
        json!({
            "cniVersion": version.as_str(),
            "code": code.number(),
            "msg": message,
            "details": details,
        })
    }
}
