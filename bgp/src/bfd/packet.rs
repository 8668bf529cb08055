//! The BFD Control packet (RFC 5880 §4.1) and the checks of what comes in (§6.8.6).

use std::num::{NonZeroU8, NonZeroU32};
use std::time::Duration;

use super::words::{Diagnostic, State};

/// Where packets over one hop go (RFC 5881 §4).
pub const PORT_SINGLE_HOP: u16 = 3784;
/// Where packets over several hops go (RFC 5883 §5).
pub const PORT_MULTIHOP: u16 = 4784;

const VERSION: u8 = 1;
const POLL: u8 = 0x20;
const FINAL: u8 = 0x10;
const INDEPENDENT: u8 = 0x08;
const AUTHENTICATED: u8 = 0x04;
const DEMAND: u8 = 0x02;
const MULTIPOINT: u8 = 0x01;

/// A Control packet without authentication. Times are whole microseconds on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Why the sender's session last left Up.
    pub diagnostic: Diagnostic,
    /// The sender's state.
    pub state: State,
    /// P: asks for a packet with F.
    pub is_poll: bool,
    /// F: answers one with P.
    pub is_final: bool,
    /// C: the sender's BFD outlives its control plane.
    pub is_independent: bool,
    /// D: the sender would have no periodic packets.
    pub is_demand: bool,
    /// Detect Mult: how many may be missing.
    pub multiplier: NonZeroU8,
    /// The sender's session.
    pub my_discriminator: NonZeroU32,
    /// The receiver's session, as far as the sender knows it.
    pub your_discriminator: Option<NonZeroU32>,
    /// The sender would send this often.
    pub desired_min_tx: Duration,
    /// The sender can receive this often; zero: it wants no periodic packets.
    pub required_min_rx: Duration,
    /// The sender can answer echoes this often; zero: not at all.
    pub required_min_echo_rx: Duration,
}

/// Why a packet is dropped before a session sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Fault {
    /// Another version of the protocol.
    #[error("version {0}; we speak 1")]
    Version(u8),
    /// Fewer octets than the header needs, or than the length field says.
    #[error("{got} octets, needs {needed}")]
    Short {
        /// Octets that came.
        got: usize,
        /// Octets that there should be.
        needed: usize,
    },
    /// The length field is below that of the header.
    #[error("length field says {0}, less than the header has")]
    Length(u8),
    /// Detect Mult is zero.
    #[error("Detect Mult is zero")]
    ZeroMultiplier,
    /// The M bit is set, which has no meaning yet.
    #[error("the Multipoint bit is set")]
    Multipoint,
    /// My Discriminator is zero.
    #[error("My Discriminator is zero")]
    ZeroDiscriminator,
    /// Your Discriminator is zero, in a state in which the sender must know ours.
    #[error("Your Discriminator is zero in state {0}")]
    Unbound(State),
    /// The A bit is set, and no session here uses authentication.
    #[error("authenticated; authentication is not in use here")]
    Authenticated,
}

impl Packet {
    /// Octets of a packet without authentication.
    pub const OCTETS: usize = 24;

    /// Reads a packet and checks all that can be checked without knowing the session
    /// (RFC 5880 §6.8.6). Octets behind the end that the length field says are ignored.
    ///
    /// # Errors
    /// The first check that fails: the packet must be dropped.
    pub fn decode(octets: &[u8]) -> Result<Self, Fault> {
        let short = Fault::Short { got: octets.len(), needed: Self::OCTETS };
        let (header, _) = octets.split_first_chunk::<{ Self::OCTETS }>().ok_or(short)?;
        let [first, flags, multiplier, length, words @ ..] = header;
        if first >> 5 != VERSION {
            return Err(Fault::Version(first >> 5));
        }
        let is_authenticated = flags & AUTHENTICATED != 0;
        let least = if is_authenticated { Self::OCTETS + 2 } else { Self::OCTETS };
        if usize::from(*length) < least {
            return Err(Fault::Length(*length));
        }
        if usize::from(*length) > octets.len() {
            return Err(Fault::Short { got: octets.len(), needed: (*length).into() });
        }
        let multiplier = NonZeroU8::new(*multiplier).ok_or(Fault::ZeroMultiplier)?;
        if flags & MULTIPOINT != 0 {
            return Err(Fault::Multipoint);
        }
        let [mine, yours, tx, rx, echo] = five_words(words);
        let my_discriminator = NonZeroU32::new(mine).ok_or(Fault::ZeroDiscriminator)?;
        let your_discriminator = NonZeroU32::new(yours);
        let state = State::from_bits(flags >> 6);
        if your_discriminator.is_none() && !matches!(state, State::Down | State::AdminDown) {
            return Err(Fault::Unbound(state));
        }
        if is_authenticated {
            return Err(Fault::Authenticated);
        }
        let micros = |word: u32| Duration::from_micros(word.into());
        Ok(Self {
            diagnostic: Diagnostic::from_bits(*first),
            state,
            is_poll: flags & POLL != 0,
            is_final: flags & FINAL != 0,
            is_independent: flags & INDEPENDENT != 0,
            is_demand: flags & DEMAND != 0,
            multiplier,
            my_discriminator,
            your_discriminator,
            desired_min_tx: micros(tx),
            required_min_rx: micros(rx),
            required_min_echo_rx: micros(echo),
        })
    }

    /// The octets to send. Times beyond what the wire can say (71 minutes) become that.
    pub fn encode(&self) -> [u8; Self::OCTETS] {
        let flag = |is_set: bool, bit: u8| if is_set { bit } else { 0 };
        let flags = self.state.bits() << 6
            | flag(self.is_poll, POLL)
            | flag(self.is_final, FINAL)
            | flag(self.is_independent, INDEPENDENT)
            | flag(self.is_demand, DEMAND);
        let micros = |time: Duration| u32::try_from(time.as_micros()).unwrap_or(u32::MAX);
        let words = [
            self.my_discriminator.get(),
            self.your_discriminator.map_or(0, NonZeroU32::get),
            micros(self.desired_min_tx),
            micros(self.required_min_rx),
            micros(self.required_min_echo_rx),
        ];
        let mut octets = [0; Self::OCTETS];
        let (head, body) = octets.split_at_mut(4);
        head.copy_from_slice(&[
            VERSION << 5 | self.diagnostic.bits(),
            flags,
            self.multiplier.get(),
            Self::OCTETS as u8,
        ]);
        for (place, word) in body.chunks_exact_mut(4).zip(words) {
            place.copy_from_slice(&word.to_be_bytes());
        }
        octets
    }
}

fn five_words(octets: &[u8; 20]) -> [u32; 5] {
    let mut words = [0; 5];
    for (word, chunk) in words.iter_mut().zip(octets.chunks_exact(4)) {
        *word = chunk.iter().fold(0, |sum, octet| sum << 8 | u32::from(*octet));
    }
    words
}
