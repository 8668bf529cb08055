//! Names in the kernel: of chains, of sets, and the comments of rules. Nothing of an object
//! reaches the kernel but through here.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::address::{Cidr, Family};
use crate::model::{Direction, HostStage, PodKey, PolicyId};

/// What every chain of ours starts with.
pub const CHAIN_MARK: &str = "BRN-";
/// What every set of ours starts with.
pub const SET_MARK: &str = "brn-";
/// What every comment of ours starts with.
pub const COMMENT_MARK: &str = "brindle:";

/// What the node's end of every pod's cable starts with that our network plug-in laid.
pub const INTERFACE_MARK: &str = "brn";

/// The longest name of a chain (`XT_EXTENSION_MAXNAMELEN` less its end).
pub const MAX_CHAIN: usize = 28;
/// The longest name of a set (`IPSET_MAXNAMELEN` less its end).
pub const MAX_SET: usize = 31;
/// The longest name of an interface (`IFNAMSIZ` less its end).
pub const MAX_INTERFACE: usize = 15;
/// The longest comment of ours; the kernel takes 255.
pub const MAX_COMMENT: usize = 200;

/// Octets of a hash that go into a name: 20 characters, 100 bits, too many to meet by chance
/// or by trying.
const HASH_CHARACTERS: usize = 20;

/// The name of a chain of ours.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChainName(Arc<str>);

/// The name of a set of ours.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SetName(Arc<str>);

/// The comment of a rule of ours: [`COMMENT_MARK`] and characters of `[A-Za-z0-9._/:-]`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Comment(Arc<str>);

/// The node's end of a pod's cable that our network plug-in laid: [`INTERFACE_MARK`] and
/// characters of `[A-Za-z0-9]`, at most [`MAX_INTERFACE`] in all.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Interface([u8; MAX_INTERFACE]);

/// A name that no interface of our network plug-in has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no interface of brindle's pods; accepted are names of at most {MAX_INTERFACE} \
     letters and digits that begin with \"{INTERFACE_MARK}\", for instance brn0123456789a"
)]
pub struct BadInterface(String);

impl Interface {
    /// As text.
    pub fn as_str(&self) -> &str {
        text_of(&self.0)
    }
}

impl FromStr for Interface {
    type Err = BadInterface;

    fn from_str(text: &str) -> Result<Self, BadInterface> {
        let bad = || BadInterface(text.chars().take(64).collect());
        let own = text.strip_prefix(INTERFACE_MARK).ok_or_else(bad)?;
        let fits = own.bytes().all(|octet| octet.is_ascii_alphanumeric());
        if own.is_empty() || !fits || text.len() > MAX_INTERFACE {
            return Err(bad());
        }
        let mut octets = [0; MAX_INTERFACE];
        octets[..text.len()].copy_from_slice(text.as_bytes());
        Ok(Self(octets))
    }
}

impl fmt::Display for Interface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Interface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The name of an interface of a host: characters of `[A-Za-z0-9._@-]`, at most
/// [`MAX_INTERFACE`]. (The kernel knows more; those would have a meaning in rules.)
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Device([u8; MAX_INTERFACE]);

/// A name that no interface of a host has, or that rules cannot have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not the name of an interface; accepted are up to {MAX_INTERFACE} letters, digits, \
     \".\", \"_\", \"@\" and \"-\", for instance eth0"
)]
pub struct BadDevice(String);

impl Device {
    /// As text.
    pub fn as_str(&self) -> &str {
        text_of(&self.0)
    }
}

impl FromStr for Device {
    type Err = BadDevice;

    fn from_str(text: &str) -> Result<Self, BadDevice> {
        let fits =
            |octet: u8| octet.is_ascii_alphanumeric() || matches!(octet, b'.' | b'_' | b'@' | b'-');
        let is_name = !matches!(text, "" | "." | "..") && text.bytes().all(fits);
        if !is_name || text.len() > MAX_INTERFACE {
            return Err(BadDevice(text.chars().take(64).collect()));
        }
        let mut octets = [0; MAX_INTERFACE];
        octets[..text.len()].copy_from_slice(text.as_bytes());
        Ok(Self(octets))
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

fn text_of(octets: &[u8; MAX_INTERFACE]) -> &str {
    let end = octets.iter().position(|octet| *octet == 0).unwrap_or(MAX_INTERFACE);
    std::str::from_utf8(&octets[..end]).expect("its characters are ASCII")
}

/// The fixed chains.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fixed {
    /// What FORWARD jumps to.
    Forward,
    /// What INPUT jumps to.
    Input,
    /// What POSTROUTING jumps to.
    Postrouting,
    /// Finds the chain of the local endpoint that a packet comes from.
    From,
    /// Finds the chain of the local endpoint that a packet goes to.
    To,
    /// What is allowed to leave its endpoint goes through this.
    Sent,
    /// What came through a pod's interface with an address that is not the pod's.
    Spoofed,
    /// What OUTPUT jumps to, of the filter and raw tables. Only where there are host endpoints.
    Output,
    /// What PREROUTING jumps to, of the raw and mangle tables. Likewise.
    Prerouting,
    /// Finds the chain of the host endpoint that a packet for this host comes in by. Likewise.
    HostIn,
    /// Has host endpoints judge what is forwarded, before the endpoints of pods do. Likewise.
    HostForward,
    /// Finds the chain of the host endpoint that a forwarded packet comes in by. Likewise.
    HostFrom,
    /// Finds the chain of the host endpoint that a forwarded packet leaves by. Likewise.
    HostTo,
}

impl ChainName {
    /// The name of a fixed chain.
    pub fn fixed(chain: Fixed) -> Self {
        let name = match chain {
            Fixed::Forward => "FORWARD",
            Fixed::Input => "INPUT",
            Fixed::Postrouting => "POSTROUTING",
            Fixed::From => "FROM",
            Fixed::To => "TO",
            Fixed::Sent => "SENT",
            Fixed::Spoofed => "SPOOFED",
            Fixed::Output => "OUTPUT",
            Fixed::Prerouting => "PREROUTING",
            Fixed::HostIn => "HOST-IN",
            Fixed::HostForward => "HOST-FORWARD",
            Fixed::HostFrom => "HOST-FROM",
            Fixed::HostTo => "HOST-TO",
        };
        Self(format!("{CHAIN_MARK}{name}").into())
    }

    /// The chain that judges packets of an endpoint: `BRN-I-...` towards it, `BRN-E-...` from it.
    pub fn endpoint(key: &PodKey, direction: Direction) -> Self {
        let hash = hash(&["endpoint", &key.namespace, &key.name]);
        Self(format!("{CHAIN_MARK}{}-{hash}", letter(direction)).into())
    }

    /// The chain that holds the rules of a policy for one direction: `BRN-PI-...`, `BRN-PE-...`.
    pub fn policy(id: &PolicyId, direction: Direction) -> Self {
        let namespace = id.namespace.as_deref();
        let has = if namespace.is_some() { "namespaced" } else { "global" };
        let hash = hash(&["policy", id.kind.as_str(), has, namespace.unwrap_or(""), &id.name]);
        Self(format!("{CHAIN_MARK}P{}-{hash}", letter(direction)).into())
    }

    /// The chain that judges packets of a host endpoint in one of its stages: `BRN-HI-...`
    /// towards the host, `BRN-HE-...` from it. `part` tells apart those of one stage: a tier or
    /// a profile that a rule may leave; empty for the one that everything begins with.
    pub fn host(endpoint: &str, stage: HostStage, direction: Direction, part: &str) -> Self {
        let hash = hash(&["host", endpoint, &stage.to_string(), part]);
        Self(format!("{CHAIN_MARK}H{}-{hash}", letter(direction)).into())
    }

    /// The part of the dispatch that looks after `within`: ingress finds destinations, egress
    /// sources.
    pub fn dispatch(direction: Direction, within: Cidr) -> Self {
        let place = match within.address() {
            IpAddr::V4(address) => format!("{:08X}-{}", address.to_bits(), within.length()),
            IpAddr::V6(_) => hash(&["dispatch", &within.to_string()]),
        };
        Self(format!("{CHAIN_MARK}D{}-{place}", letter(direction)).into())
    }

    /// The chain of an endpoint for a tier that rules leave early: `BRN-TI-...`, `BRN-TE-...`.
    pub fn tier(key: &PodKey, tier: &str, direction: Direction) -> Self {
        let kind = match direction {
            Direction::Ingress => "TI",
            Direction::Egress => "TE",
        };
        Self::other(kind, &[&key.namespace, &key.name, tier])
    }

    /// Any other chain: `kind` is one or two letters that no other constructor uses, `parts`
    /// what it is about.
    pub fn other(kind: &'static str, parts: &[&str]) -> Self {
        Self(format!("{CHAIN_MARK}{kind}-{}", hash(parts)).into())
    }

    /// A name that the kernel told, if it is one of ours.
    pub fn read(text: &str) -> Option<Self> {
        is_ours(text, CHAIN_MARK, MAX_CHAIN).then(|| Self(text.into()))
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl SetName {
    /// The set of what `parts` say, which together mean its content; `kind` is a letter.
    pub fn of(kind: char, family: Family, parts: &[&str]) -> Self {
        let digit = match family {
            Family::V4 => '4',
            Family::V6 => '6',
        };
        Self(format!("{SET_MARK}{kind}{digit}-{}", hash(parts)).into())
    }

    /// The family of its members; `None` for what only looks like a set of ours.
    pub fn family(&self) -> Option<Family> {
        match self.0.as_bytes().get(SET_MARK.len() + 1)? {
            b'4' => Some(Family::V4),
            b'6' => Some(Family::V6),
            _ => None,
        }
    }

    /// Whether it is the set of addresses with the interfaces that they are behind.
    pub(crate) fn is_attached(&self) -> bool {
        self.0.as_bytes().get(SET_MARK.len()) == Some(&b'a')
    }

    /// The set that stands in for this one while it is filled, to be swapped then.
    pub fn stand_in(&self) -> Self {
        let digit = if self.0.as_bytes().get(5) == Some(&b'6') { '6' } else { '4' };
        Self(format!("{SET_MARK}x{digit}-{}", hash(&["stand-in", &self.0])).into())
    }

    /// A name that the kernel told, if it is one of ours.
    pub fn read(text: &str) -> Option<Self> {
        is_ours(text, SET_MARK, MAX_SET).then(|| Self(text.into()))
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Comment {
    /// `brindle:` and `parts` with slashes between. What is not of the alphabet becomes `_`,
    /// what is too long is cut: it is for reading only.
    pub fn new(parts: &[&str]) -> Self {
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '/' | ':' | '-');
        let text = parts.join("/");
        let text = text.chars().map(|c| if fits(c) { c } else { '_' });
        let room = MAX_COMMENT - COMMENT_MARK.len();
        Self(format!("{COMMENT_MARK}{}", text.take(room).collect::<String>()).into())
    }

    /// That of a rule of a policy, by its index: `brindle:rule/3/NetworkPolicy/shop/db-clients`.
    pub fn policy_rule(id: &PolicyId, index: usize) -> Self {
        let namespace = id.namespace.as_deref();
        let mut parts = vec!["rule".to_owned(), index.to_string(), id.kind.as_str().to_owned()];
        parts.extend(namespace.map(str::to_owned));
        parts.push(id.name.to_string());
        Self::new(&parts.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// The index that [`Comment::policy_rule`] was given.
    pub fn rule_index(&self) -> Option<usize> {
        let rest = self.0.strip_prefix(COMMENT_MARK)?.strip_prefix("rule/")?;
        rest.split('/').next()?.parse().ok()
    }

    /// A comment that the kernel told, if it is one of ours.
    pub fn read(text: &str) -> Option<Self> {
        let made = Self::new(&[text.strip_prefix(COMMENT_MARK)?]);
        (made.as_str() == text).then_some(made)
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ChainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for SetName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Comment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn letter(direction: Direction) -> char {
    match direction {
        Direction::Ingress => 'I',
        Direction::Egress => 'E',
    }
}

fn is_ours(text: &str, mark: &str, longest: usize) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '-';
    text.starts_with(mark) && text.len() <= longest && text.chars().all(fits)
}

/// Twenty characters that stand for `parts`. Each part goes in with its length before it, so
/// that no two lists of parts run together into the same octets.
fn hash(parts: &[&str]) -> String {
    const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part.as_bytes());
    }
    let digest = hasher.finalize();
    let bits = digest.iter().take(16).fold(0u128, |bits, octet| bits << 8 | u128::from(*octet));
    (0..HASH_CHARACTERS)
        .map(|index| char::from(ALPHABET[(bits >> (123 - 5 * index) & 31) as usize]))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::PolicyKind;

    fn key(namespace: &str, name: &str) -> PodKey {
        PodKey { namespace: namespace.into(), name: name.into() }
    }

    #[test]
    fn names_fit_the_kernel_and_tell_parts_apart() {
        let long = "x".repeat(253);
        let id = PolicyId {
            kind: PolicyKind::NetworkPolicy,
            namespace: Some("a".into()),
            name: long.as_str().into(),
        };
        let v6: Cidr = "fd00::/17".parse().unwrap();
        for chain in [
            ChainName::endpoint(&key(&long, &long), Direction::Ingress),
            ChainName::policy(&id, Direction::Egress),
            ChainName::dispatch(Direction::Ingress, v6),
            ChainName::dispatch(Direction::Ingress, "255.255.255.254/31".parse().unwrap()),
            ChainName::fixed(Fixed::Postrouting),
            ChainName::fixed(Fixed::HostForward),
            ChainName::host(&long, HostStage::Untracked, Direction::Egress, &long),
        ] {
            assert!(chain.as_str().len() <= MAX_CHAIN, "{chain}");
            assert_eq!(ChainName::read(chain.as_str()), Some(chain));
        }
        let set = SetName::of('s', Family::V6, &["ns=a"]);
        assert!(set.as_str().len() <= MAX_SET && set.stand_in().as_str().starts_with("brn-x6-"));
        assert_eq!(SetName::read(set.as_str()), Some(set));
        let a = ChainName::endpoint(&key("ab", "c"), Direction::Ingress);
        assert_ne!(a, ChainName::endpoint(&key("a", "bc"), Direction::Ingress));
    }

    #[test]
    fn only_interfaces_of_the_plug_in_have_a_name_here() {
        for name in ["brn1", "brn0123456789a", "brnABCdef012345"] {
            assert_eq!(name.parse::<Interface>().expect("it is ours").as_str(), name);
        }
        for name in
            ["", "brn", "eth0", "Brn1", "brn-1", "brn1 -j", "brn1,", "brn0123456789abc", "brn+"]
        {
            let said = name.parse::<Interface>().expect_err(name).to_string();
            assert!(said.contains("is no interface of brindle's pods"), "{said}");
        }
    }

    #[test]
    fn nothing_foreign_gets_into_a_comment() {
        let comment = Comment::new(&["a b\n-j ACCEPT\"'\\", "é"]);
        assert_eq!(comment.as_str(), "brindle:a_b_-j_ACCEPT___/_");
        assert_eq!(Comment::new(&[&"y".repeat(999)]).as_str().len(), MAX_COMMENT);
        let id = PolicyId { kind: PolicyKind::NetworkPolicy, namespace: None, name: "p".into() };
        assert_eq!(Comment::policy_rule(&id, 12).rule_index(), Some(12));
        assert_eq!(Comment::read("brindle:a b"), None);
        assert_eq!(Comment::read("other:a"), None);
    }
}
