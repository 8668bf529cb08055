//! Rules (policy-semantics 3.5, 3.7).

use std::collections::BTreeSet;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::entity::{Place, entity};
use super::ports::{Carried, ICMP, ICMPV6, protocol};
use crate::address::Family;
use crate::api::calico::{IcmpFields, Rule as Typed};
use crate::ingest::doubt::Draft;
use crate::ingest::{Problems, shown};
use crate::model::{Action, Criterion, Direction, PeerTerm, Rule, Side};

/// The rules of one direction of a policy, in `namespace` or in none; as many as there are
/// `typed`.
pub(super) fn rules(
    typed: &[Typed],
    direction: Direction,
    namespace: Option<&Arc<str>>,
    field: &str,
    problems: &mut Problems,
) -> Vec<Rule> {
    let read = |(index, typed): (usize, &Typed)| {
        rule(typed, direction, namespace, &format!("{field}[{index}]"), problems)
    };
    typed.iter().enumerate().map(read).collect()
}

fn rule(
    typed: &Typed,
    direction: Direction,
    namespace: Option<&Arc<str>>,
    field: &str,
    problems: &mut Problems,
) -> Rule {
    let action = action(typed.action.as_deref(), field, problems);
    let mut draft = Draft::new(action, problems);
    http(typed, field, &mut draft);

    let carried = read_protocol(typed.protocol.as_ref(), &format!("{field}.protocol"), &mut draft);
    if let Carried::Number(number) =
        read_protocol(typed.not_protocol.as_ref(), &format!("{field}.notProtocol"), &mut draft)
    {
        draft.add(Criterion::Protocol { number, negated: true });
    }
    family(typed, carried, field, &mut draft);
    let messages = [("icmp", &typed.icmp, false), ("notICMP", &typed.not_icmp, true)];
    for (name, typed, negated) in messages {
        if let Some(typed) = typed {
            icmp(typed, carried, negated, &format!("{field}.{name}"), &mut draft);
        }
    }

    let ends = [
        ("source", &typed.source, Side::Source),
        ("destination", &typed.destination, Side::Destination),
    ];
    for (name, typed, side) in ends {
        if let Some(typed) = typed {
            let place =
                Place { direction, side, namespace, carried, field: format!("{field}.{name}") };
            entity(typed, &place, &mut draft);
        }
    }
    nets_of_one_family(field, &mut draft);

    // Ports say the protocol too.
    let has_ports =
        |criterion: &Criterion| matches!(criterion, Criterion::Ports { negated: false, .. });
    if let Carried::Number(number) = carried
        && !draft.criteria().iter().any(has_ports)
    {
        draft.add(Criterion::Protocol { number, negated: false });
    }
    draft.finish()
}

fn action(typed: Option<&str>, field: &str, problems: &mut Problems) -> Option<Action> {
    const KNOWN: [(&str, Action); 4] = [
        ("Allow", Action::Allow),
        ("Deny", Action::Deny),
        ("Log", Action::Log),
        ("Pass", Action::Pass),
    ];
    let typed = typed.unwrap_or_default();
    let found = KNOWN.iter().find(|(name, _)| *name == typed);
    if found.is_none() {
        let meant = KNOWN.iter().find(|(name, _)| name.eq_ignore_ascii_case(typed));
        let hint = meant.map(|(name, _)| format!("; did you mean {name}?")).unwrap_or_default();
        let message = format!(
            "{} is not an action; accepted are Allow, Deny, Log and Pass{hint}; the rule denies \
             what it matches",
            shown(typed)
        );
        problems.add(format!("{field}.action"), message);
    }
    found.map(|(_, action)| *action)
}

/// Requests are not looked into. The packets of the rest of the rule may be of such a request or
/// not, so that the rule must not allow them.
fn http(typed: &Typed, field: &str, draft: &mut Draft<'_>) {
    if typed.http.is_none() {
        return;
    }
    let field = format!("{field}.http");
    let message = "HTTP requests are not looked into; accepted are rules without http";
    match draft.action() {
        Some(Action::Allow) => draft.bad(field, message),
        Some(Action::Pass) => {
            draft.deny();
            draft.note(field, format!("{message}; the rule denies what the rest of it matches"));
        }
        Some(Action::Deny | Action::Log) | None => {
            draft.note(field, format!("{message}; the rest of the rule counts"));
        }
    }
}

fn read_protocol(typed: Option<&IntOrString>, field: &str, draft: &mut Draft<'_>) -> Carried {
    match typed.map(protocol) {
        None => Carried::Any,
        Some(Ok(number)) => Carried::Number(number),
        Some(Err(message)) => {
            draft.bad(field, message);
            Carried::Bad
        }
    }
}

/// `ipVersion`, and what the protocol says of it.
fn family(typed: &Typed, carried: Carried, field: &str, draft: &mut Draft<'_>) {
    let typed = match typed.ip_version {
        None => None,
        Some(4) => Some(Family::V4),
        Some(6) => Some(Family::V6),
        Some(other) => {
            let message = format!("{other} is not a version of IP; accepted are 4 and 6");
            draft.bad(format!("{field}.ipVersion"), message);
            None
        }
    };
    let implied = match carried {
        Carried::Number(ICMP) => Some(Family::V4),
        Carried::Number(ICMPV6) => Some(Family::V6),
        Carried::Number(_) | Carried::Any | Carried::Bad => None,
    };
    if let (Some(typed), Some(implied)) = (typed, implied)
        && typed != implied
    {
        let message = format!("{typed} with a protocol of {implied}; accepted is that of {typed}");
        draft.bad(format!("{field}.ipVersion"), message);
    }
    if let Some(family) = typed.or(implied) {
        draft.add(Criterion::Family(family));
    }
}

fn icmp(typed: &IcmpFields, carried: Carried, negated: bool, field: &str, draft: &mut Draft<'_>) {
    if !matches!(carried, Carried::Number(ICMP | ICMPV6) | Carried::Bad) {
        let message = "a message of ICMP in a rule for other protocols; accepted is one with \
                       protocol ICMP or ICMPv6";
        draft.bad(field, message);
        return;
    }
    let mut octet = |name: &str, typed: Option<i64>, most: u8| match typed {
        None => Some(None),
        Some(typed) => {
            let number = u8::try_from(typed).ok().filter(|number| *number <= most);
            if number.is_none() {
                let message = format!("{typed} is not a {name}; accepted are 0 to {most}");
                draft.bad(format!("{field}.{name}"), message);
            }
            number.map(Some)
        }
    };
    let (kind, code) = (octet("type", typed.kind, 254), octet("code", typed.code, 255));
    let (Some(kind), Some(code)) = (kind, code) else { return };
    match (kind, code) {
        (Some(kind), code) => draft.add(Criterion::Icmp { kind, code, negated }),
        (None, Some(code)) => {
            let message = format!("{code} without type; accepted is a code with its type");
            draft.bad(format!("{field}.code"), message);
        }
        (None, None) => {}
    }
}

/// A rule with nets of both families is one rule for each (policy-semantics 3.5), which its
/// author may not think of.
fn nets_of_one_family(field: &str, draft: &mut Draft<'_>) {
    let families: BTreeSet<Family> = draft
        .criteria()
        .iter()
        .flat_map(|criterion| match criterion {
            Criterion::Peer { any_of, .. } => &any_of[..],
            _ => &[],
        })
        .filter_map(|term| match term {
            PeerTerm::Block(block) => Some(block.cidr.family()),
            PeerTerm::Endpoints(_) | PeerTerm::Selected(_) => None,
        })
        .collect();
    if families.len() > 1 {
        let message = "nets of IPv4 and of IPv6; accepted are those of one in a rule; packets of \
                       each are compared with its own";
        draft.note(field, message);
    }
}
