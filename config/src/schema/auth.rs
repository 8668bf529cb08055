//! `password` and `tcpAO`.

use schemars::JsonSchema;
use serde::Serialize;

/// A key that both ends of a session know.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct PasswordSection {
    /// The file that holds it: 1 to 80 octets; a line break at the end is not part of it. A
    /// changed file counts at once, without the session being lost.
    pub(crate) file: String,
}

/// The TCP authentication option (RFC 5925).
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct TcpAoSection {
    /// The keys, the preferred one first: it is what the peer is asked to sign with.
    #[schemars(length(min = 1))]
    pub(crate) keys: Vec<AoKeySection>,
}

/// A key of the TCP authentication option.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct AoKeySection {
    /// The KeyID in what we send: the peer's recvID.
    #[serde(rename = "sendID")]
    pub(crate) send_id: u8,
    /// The KeyID in what the peer sends: the peer's sendID.
    #[serde(rename = "recvID")]
    pub(crate) recv_id: u8,
    /// How it signs.
    #[serde(default = "algorithm")]
    pub(crate) algorithm: Algorithm,
    /// The file that holds it: 1 to 80 octets; a line break at the end is not part of it.
    pub(crate) file: String,
}

/// How a key signs (RFC 5926).
#[derive(Serialize, JsonSchema)]
pub(crate) enum Algorithm {
    /// HMAC-SHA-1, 96 bits of it.
    #[serde(rename = "hmac-sha1-96")]
    HmacSha1,
    /// AES-128-CMAC, 96 bits of it.
    #[serde(rename = "aes-128-cmac-96")]
    AesCmac,
}

fn algorithm() -> Algorithm {
    Algorithm::HmacSha1
}
