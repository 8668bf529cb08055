//! The rule and the table of the [guard](super::super::guard), as the kernel has them.

use std::collections::BTreeMap;
use std::fmt;
use std::io;

use brindle_bgp::net::{Family, Prefix};
use futures::TryStreamExt as _;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteProtocol, RouteScope,
    RouteType,
};
use rtnetlink::packet_route::rule::{RuleAction, RuleAttribute, RuleFlags, RuleMessage};
use rtnetlink::sys::AsyncSocket as _;
use rtnetlink::{Handle, IpVersion};
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use super::super::guard::{Entries, Entry, PREFERENCE, TABLE};
use super::super::route::PROTOCOL;
use super::{ANSWER_WITHIN, empty_if_unknown, fine_if_gone, io_error, timed_out};

/// The interface that packets of the host's own processes are taken to come in by.
const LOOPBACK: &str = "lo";

/// A connection that asks and writes, for one look at everything.
pub struct GuardSocket {
    handle: Handle,
    _connection: AbortOnDropHandle<()>,
}

/// A rule that carries our mark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MarkedRule {
    family: Family,
    message: RuleMessage,
}

/// What the table holds.
#[derive(Default)]
struct Found {
    ours: BTreeMap<Prefix, Option<Entry>>,
    others: usize,
}

impl GuardSocket {
    /// Opens the socket in the network namespace of this thread. To be called within a runtime.
    ///
    /// # Errors
    /// If the kernel refuses it.
    pub fn open() -> io::Result<Self> {
        let (mut connection, handle, _) = rtnetlink::new_connection()?;
        // Kernels before 4.20 have no strict checks: they send all tables, and we sift.
        let _ = connection.socket_mut().socket_ref().set_netlink_get_strict_chk(true);
        let connection = AbortOnDropHandle::new(tokio::spawn(connection));
        Ok(Self { handle, _connection: connection })
    }

    /// Has the table hold exactly this, and the rule lead to it unless it is empty; how much
    /// was to be changed for that. The rule comes last and goes first, so that no packet meets
    /// half of it.
    ///
    /// # Errors
    /// If the kernel refuses or does not answer, or if somebody else uses the table.
    pub async fn settle(&self, family: Family, want: &Entries) -> io::Result<usize> {
        let Some(rules) = self.rules_if_any(family).await? else {
            // Such a kernel has one table for all, which we must not write this into.
            return match want.is_empty() {
                true => Ok(0),
                false => Err(io::Error::other(
                    "the kernel has no rules for it \
                    (CONFIG_IP_MULTIPLE_TABLES, CONFIG_IPV6_MULTIPLE_TABLES)",
                )),
            };
        };
        let found = self.found(family).await?;
        if found.others > 0 && !want.is_empty() {
            let others = found.others;
            let message = format!("table {TABLE} has {others} routes of others, left alone");
            return Err(io::Error::other(message));
        }
        let (right, wrong): (Vec<MarkedRule>, Vec<MarkedRule>) =
            rules.into_iter().partition(|rule| rule.leads() && !want.is_empty());
        for rule in right.iter().skip(1).chain(&wrong) {
            self.remove_rule(rule).await?;
        }
        let mut changed = wrong.len() + right.len().saturating_sub(1);
        // Exceptions first: what the main table leads somewhere goes on going there.
        let passing = |entry: &Entry| *entry == Entry::Pass;
        let missing: Vec<(&Prefix, &Entry)> = want
            .iter()
            .filter(|(prefix, entry)| found.ours.get(prefix) != Some(&Some(**entry)))
            .collect();
        let (exceptions, stops): (Vec<_>, Vec<_>) =
            missing.into_iter().partition(|(_, entry)| passing(entry));
        for (prefix, entry) in exceptions.into_iter().chain(stops) {
            let addition = self.handle.route().add(route(prefix, Some(*entry))).replace();
            answered(addition.execute()).await?;
            changed += 1;
        }
        let gone = found.ours.keys().filter(|prefix| !want.contains_key(prefix));
        for prefix in gone {
            let removal = self.handle.route().del(route(prefix, None)).execute();
            fine_if_gone(timeout(ANSWER_WITHIN, removal).await.map_err(|_| timed_out())?)?;
            changed += 1;
        }
        if right.is_empty() && !want.is_empty() {
            let mut addition = self.handle.rule().add();
            *addition.message_mut() = rule(family);
            answered(addition.execute()).await?;
            changed += 1;
        }
        Ok(changed)
    }

    /// The rules of a family that carry our mark.
    ///
    /// # Errors
    /// If the kernel refuses or does not answer.
    pub async fn rules(&self, family: Family) -> io::Result<Vec<MarkedRule>> {
        Ok(self.rules_if_any(family).await?.unwrap_or_default())
    }

    /// The same; `None` if the kernel has no rules for the family.
    async fn rules_if_any(&self, family: Family) -> io::Result<Option<Vec<MarkedRule>>> {
        let version = match family {
            Family::Ipv4Unicast => IpVersion::V4,
            Family::Ipv6Unicast => IpVersion::V6,
        };
        let all = self.handle.rule().get(version).execute();
        // A kernel without IPv6 answers for all families that it has.
        let is_ours = |message: &RuleMessage| {
            message.header.family == address_family(family) && is_ours(message)
        };
        let ours = all.try_filter_map(async |message| {
            Ok(is_ours(&message).then_some(MarkedRule { family, message }))
        });
        let found = timeout(ANSWER_WITHIN, ours.try_collect::<Vec<_>>()).await;
        let found = found.map_err(|_| timed_out())?;
        found.map(Some).or_else(empty_if_unknown)
    }

    /// Removes a rule; that it is gone already is no failure.
    ///
    /// # Errors
    /// If the kernel refuses or does not answer.
    pub async fn remove_rule(&self, rule: &MarkedRule) -> io::Result<()> {
        let removal = self.handle.rule().del(rule.message.clone()).execute();
        match timeout(ANSWER_WITHIN, removal).await.map_err(|_| timed_out())?.map_err(io_error) {
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
            outcome => outcome,
        }
    }

    async fn found(&self, family: Family) -> io::Result<Found> {
        let mut message = RouteMessage::default();
        message.header.address_family = address_family(family);
        message.attributes.push(RouteAttribute::Table(TABLE));
        let all = self.handle.route().get(message).execute();
        let gather = all.try_fold(Found::default(), async |mut found, message| {
            found.add(family, &message);
            Ok(found)
        });
        timeout(ANSWER_WITHIN, gather).await.map_err(|_| timed_out())?.or_else(|error| {
            let error = io_error(error);
            // A table that nobody has written to is not there yet.
            match error.raw_os_error() {
                Some(libc::ENOENT | libc::EAFNOSUPPORT | libc::EOPNOTSUPP) => Ok(Found::default()),
                _ => Err(error),
            }
        })
    }
}

impl Found {
    fn add(&mut self, family: Family, message: &RouteMessage) {
        let header = &message.header;
        if !is_inside(message)
            || header.address_family != address_family(family)
            || header.flags.contains(RouteFlags::Cloned)
        {
            return;
        }
        if header.protocol != RouteProtocol::Other(PROTOCOL) {
            self.others += 1;
            return;
        }
        let address = message.attributes.iter().find_map(|attribute| match attribute {
            RouteAttribute::Destination(RouteAddress::Inet(address)) => Some((*address).into()),
            RouteAttribute::Destination(RouteAddress::Inet6(address)) => Some((*address).into()),
            _ => None,
        });
        let address = address.unwrap_or(match family {
            Family::Ipv4Unicast => [0; 4].into(),
            Family::Ipv6Unicast => [0; 16].into(),
        });
        let entry = match header.kind {
            RouteType::BlackHole => Some(Entry::Drop),
            RouteType::Unreachable => Some(Entry::Reject),
            RouteType::Throw => Some(Entry::Pass),
            _ => None,
        };
        if let Ok(prefix) = Prefix::new(address, header.destination_prefix_length) {
            self.ours.insert(prefix, entry);
        }
    }
}

impl MarkedRule {
    /// Whether it is the rule that leads to the guard's table.
    fn leads(&self) -> bool {
        let (want, have) = (rule(self.family), &self.message);
        have.header.flags == want.header.flags
            && have.header.action == want.header.action
            && want.attributes.iter().all(|attribute| have.attributes.contains(attribute))
    }
}

impl fmt::Display for MarkedRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let preference = self.message.attributes.iter().find_map(|attribute| match attribute {
            RuleAttribute::Priority(preference) => Some(*preference),
            _ => None,
        });
        write!(f, "{} rule {}", self.family, preference.unwrap_or_default())
    }
}

/// Whether the rule carries our mark.
pub(super) fn is_ours(message: &RuleMessage) -> bool {
    message.attributes.contains(&RuleAttribute::Protocol(RouteProtocol::Other(PROTOCOL)))
}

/// Whether the route is one of the guard's.
pub(super) fn has(message: &RouteMessage) -> bool {
    is_inside(message) && message.header.protocol == RouteProtocol::Other(PROTOCOL)
}

fn is_inside(message: &RouteMessage) -> bool {
    message.attributes.contains(&RouteAttribute::Table(TABLE))
}

fn address_family(family: Family) -> AddressFamily {
    match family {
        Family::Ipv4Unicast => AddressFamily::Inet,
        Family::Ipv6Unicast => AddressFamily::Inet6,
    }
}

/// `not from all iif lo lookup 9898`.
fn rule(family: Family) -> RuleMessage {
    let mut message = RuleMessage::default();
    message.header.family = address_family(family);
    message.header.action = RuleAction::ToTable;
    message.header.flags = RuleFlags::Invert;
    message.attributes = vec![
        RuleAttribute::Iifname(LOOPBACK.to_owned()),
        RuleAttribute::Priority(PREFERENCE),
        RuleAttribute::Table(TABLE),
        RuleAttribute::Protocol(RouteProtocol::Other(PROTOCOL)),
    ];
    message
}

/// A route of the table; without what it does, to be removed.
fn route(prefix: &Prefix, entry: Option<Entry>) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header = RouteHeader {
        address_family: address_family(prefix.family()),
        destination_prefix_length: prefix.length(),
        protocol: RouteProtocol::Other(PROTOCOL),
        scope: if entry.is_some() { RouteScope::Universe } else { RouteScope::NoWhere },
        kind: match entry {
            Some(Entry::Drop) => RouteType::BlackHole,
            Some(Entry::Reject) => RouteType::Unreachable,
            Some(Entry::Pass) => RouteType::Throw,
            None => RouteType::Unspec,
        },
        ..RouteHeader::default()
    };
    message.attributes =
        vec![RouteAttribute::Destination(prefix.address().into()), RouteAttribute::Table(TABLE)];
    message
}

async fn answered(request: impl Future<Output = Result<(), rtnetlink::Error>>) -> io::Result<()> {
    timeout(ANSWER_WITHIN, request).await.map_err(|_| timed_out())?.map_err(io_error)
}
