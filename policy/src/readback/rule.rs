//! Rules of `iptables-save`.

use std::net::IpAddr;

use super::words::{Words, number, split};
use super::{InstalledRule, protocol};
use crate::address::{Cidr, Family};
use crate::model::{Protocol, Side};
use crate::names::{ChainName, Comment, INTERFACE_MARK, SetName};
use crate::render;
use crate::ruleset::{BuiltIn, Hook, MARK, Match, Rule, Table, Target};

/// The packets that a limit lets through first if the text does not say.
const DEFAULT_BURST: u16 = 5;
/// The number of ICMP.
const ICMP: u8 = 1;
/// The number of ICMPv6.
const ICMP6: u8 = 58;

/// A line that adds a rule to a chain.
pub(super) struct RuleLine<'a> {
    /// The chain.
    pub(super) chain: &'a str,
    /// From `-A`.
    pub(super) text: &'a str,
    pub(super) packets: u64,
    pub(super) bytes: u64,
    /// What comes behind the chain; `None` if it has no words.
    words: Option<Vec<String>>,
}

impl<'a> RuleLine<'a> {
    /// `None` if it is no such line.
    pub(super) fn read(line: &'a str) -> Option<Self> {
        let (packets, bytes, text) = match line.strip_prefix('[') {
            Some(rest) => {
                let (counters, text) = rest.split_once("] ")?;
                let (packets, bytes) = counters.split_once(':')?;
                (packets.parse().ok()?, bytes.parse().ok()?, text)
            }
            None => (0, 0, line),
        };
        let rest = text.strip_prefix("-A ")?;
        let (chain, rest) = rest.split_once(' ').unwrap_or((rest, ""));
        Some(Self { chain, text, packets, bytes, words: split(rest) })
    }

    /// As a rule of a chain of ours.
    pub(super) fn installed(&self, family: Family) -> InstalledRule {
        InstalledRule {
            rule: self.words.as_ref().and_then(|words| rule(Words(words), family)),
            text: self.text.to_owned(),
            packets: self.packets,
            bytes: self.bytes,
        }
    }

    /// As a hook of ours, if it is one.
    pub(super) fn hook(&self, table: Table) -> Option<Hook> {
        let from = BuiltIn::ALL.into_iter().find(|from| from.as_str() == self.chain)?;
        let mut words = Words(self.words.as_ref()?);
        for word in ["-m", "comment", "--comment", render::hook_comment().as_str(), "-j"] {
            words.expect(word)?;
        }
        let to = words.chain()?;
        words.is_empty().then_some(Hook { table, from, to })
    }

    /// Whether it goes to a chain of ours.
    pub(super) fn uses_ours(&self) -> bool {
        let words = self.words.as_deref().unwrap_or_default();
        let target = words.windows(2).find(|pair| matches!(&*pair[0], "-j" | "-g"));
        target.is_some_and(|pair| ChainName::read(&pair[1]).is_some())
    }
}

/// A rule of the form that we write.
fn rule(mut words: Words<'_>, family: Family) -> Option<Rule> {
    let mut reader = Reader { family, matches: Vec::new(), protocol: None, comment: None };
    let target = loop {
        let negated = words.next_if("!");
        match (words.next()?, negated) {
            ("-j", false) => break target(&mut words)?,
            ("-g", false) => break Target::Goto(words.chain()?),
            (option, negated) => reader.option(option, negated, &mut words)?,
        }
    };
    words.is_empty().then(|| reader.rule(target))
}

/// What was read of a rule.
struct Reader {
    family: Family,
    matches: Vec<Match>,
    protocol: Option<NamedProtocol>,
    comment: Option<Comment>,
}

/// What `-p` said.
struct NamedProtocol {
    number: u8,
    negated: bool,
    /// An extension needs it to be there.
    implied: bool,
}

impl Reader {
    fn option(&mut self, option: &str, negated: bool, words: &mut Words<'_>) -> Option<()> {
        match (option, negated) {
            ("-i", false) => {
                let name = words.next()?;
                let is_pods = name.strip_suffix('+') == Some(INTERFACE_MARK);
                self.matches.push(match name {
                    "lo" => Match::FromLoopback,
                    _ if is_pods => Match::FromPod,
                    name => Match::Arrives(name.parse().ok()?),
                });
            }
            ("-o", false) => {
                self.matches.push(match words.next()? {
                    "lo" => Match::ToLoopback,
                    name => Match::Leaves(name.parse().ok()?),
                });
            }
            ("-s", false) => self.block(Side::Source, words)?,
            ("-d", false) => self.block(Side::Destination, words)?,
            ("-p", negated) if self.protocol.is_none() => {
                let number = protocol::number(words.next()?)?;
                self.protocol = Some(NamedProtocol { number, negated, implied: false });
            }
            ("-m", false) => match words.next()? {
                "comment" if self.comment.is_none() => {
                    words.expect("--comment")?;
                    self.comment = Some(Comment::read(words.next()?)?);
                }
                "multiport" => {
                    let protocol = Protocol::of_number(self.implied_protocol()?)?;
                    self.matches.push(ports(protocol, words)?);
                }
                "icmp6" => self.icmp(Family::V6, ICMP6, "--icmpv6-type", words)?,
                "icmp" => self.icmp(Family::V4, ICMP, "--icmp-type", words)?,
                name => self.matches.push(extension(name, words)?),
            },
            _ => return None,
        }
        Some(())
    }

    fn block(&mut self, side: Side, words: &mut Words<'_>) -> Option<()> {
        let word = words.next()?;
        let block = match word.parse::<IpAddr>() {
            Ok(address) => Cidr::host(address),
            Err(_) => word.parse().ok()?,
        };
        self.matches.push(Match::In(side, block));
        (block.family() == self.family).then_some(())
    }

    fn icmp(
        &mut self,
        family: Family,
        protocol: u8,
        option: &str,
        words: &mut Words<'_>,
    ) -> Option<()> {
        (self.implied_protocol()? == protocol).then_some(())?;
        let negated = words.next_if("!");
        words.expect(option)?;
        let word = words.next()?;
        let (kind, code) = match word.split_once('/') {
            Some((kind, code)) => (number(kind)?, Some(number(code)?)),
            None => (number(word)?, None),
        };
        // Printed as "any", so this is not what it says.
        (family == Family::V6 || kind != render::ANY_ICMP).then_some(())?;
        self.matches.push(Match::Icmp { family, kind, code, negated });
        Some(())
    }

    fn implied_protocol(&mut self) -> Option<u8> {
        let protocol = self.protocol.as_mut().filter(|protocol| !protocol.negated)?;
        protocol.implied = true;
        Some(protocol.number)
    }

    fn rule(mut self, target: Target) -> Rule {
        if let Some(NamedProtocol { number, negated, implied: false }) = self.protocol {
            self.matches.push(Match::Protocol { number, negated });
        }
        Rule { matches: self.matches, target, comment: self.comment }
    }
}

fn ports(protocol: Protocol, words: &mut Words<'_>) -> Option<Match> {
    let side = match words.next()? {
        "--sports" => Side::Source,
        "--dports" => Side::Destination,
        _ => return None,
    };
    let range = |word: &str| match word.split_once(':') {
        Some((first, last)) => Some((number(first)?, number(last)?)),
        None => number(word).map(|port| (port, port)),
    };
    let ranges = words.next()?.split(',').map(range).collect::<Option<_>>()?;
    Some(Match::Ports(side, protocol, ranges))
}

/// An extension that stands alone.
fn extension(name: &str, words: &mut Words<'_>) -> Option<Match> {
    match name {
        "set" => {
            let negated = words.next_if("!");
            words.expect("--match-set")?;
            let set = SetName::read(words.next()?)?;
            match (words.ends()?, negated) {
                ((side, 1), negated) => Some(Match::InSet { side, set, negated }),
                ((Side::Source, 2), true) if set.is_attached() => Some(Match::NotAttached(set)),
                ((side, 2), negated) => Some(Match::PortIn { side, set, negated }),
                _ => None,
            }
        }
        "conntrack" => {
            words.expect("--ctstate")?;
            match words.next()? {
                "RELATED,ESTABLISHED" => Some(Match::Established),
                "INVALID" => Some(Match::Invalid),
                "UNTRACKED" => Some(Match::Untracked),
                _ => None,
            }
        }
        "addrtype" => {
            let matched = match words.next()? {
                "--src-type" => Match::SourceIsLocal,
                "--dst-type" => Match::DestinationIsLocal,
                _ => return None,
            };
            words.expect("LOCAL")?;
            Some(matched)
        }
        "mark" => {
            words.expect("--mark")?;
            let (value, mask) = words.next()?.split_once('/')?;
            let is_ours = hexadecimal(value)? == MARK && hexadecimal(mask)? == MARK;
            is_ours.then_some(Match::Marked)
        }
        "limit" => {
            words.expect("--limit")?;
            let per_second = number(words.next()?.strip_suffix("/sec")?)?;
            let burst = match words.next_if("--limit-burst") {
                true => words.number()?,
                false => DEFAULT_BURST,
            };
            Some(Match::Limit { per_second, burst })
        }
        _ => None,
    }
}

fn hexadecimal(word: &str) -> Option<u32> {
    u32::from_str_radix(word.strip_prefix("0x")?, 16).ok()
}

/// What comes behind `-j`.
fn target(words: &mut Words<'_>) -> Option<Target> {
    match words.next()? {
        "ACCEPT" => Some(Target::Accept),
        "DROP" => Some(Target::Drop),
        "RETURN" => Some(Target::Return),
        "MASQUERADE" => Some(Target::Masquerade),
        "CT" => words.expect("--notrack").map(|()| Target::NoTrack),
        "MARK" => {
            words.expect("--set-xmark")?;
            let (value, mask) = words.next()?.split_once('/')?;
            match (hexadecimal(value)?, hexadecimal(mask)?) {
                (MARK, MARK) => Some(Target::Mark),
                (0, MARK) => Some(Target::Unmark),
                _ => None,
            }
        }
        "NFLOG" => {
            words.expect("--nflog-prefix")?;
            let prefix = Comment::read(words.next()?)?;
            let group = if words.next_if("--nflog-group") { words.number()? } else { 0 };
            Some(Target::Log { group, prefix })
        }
        chain => ChainName::read(chain).map(Target::Jump),
    }
}
