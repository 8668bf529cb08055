//! Whether the kernel has what our rules and sets need, found out by trying: what a module
//! brings may as well be built in, or be there and not for us.

use std::collections::BTreeMap;

use brindle_policy::Family;
use brindle_policy::model::{Protocol, Side};
use brindle_policy::names::{Comment, SetName};
use brindle_policy::render;
use brindle_policy::ruleset::{Match, Members, Rule, SetOp, Table, Target};

use super::backend::{Evidence, Unavailable};
use super::command::CommandError;
use super::ipset::Ipset;
use super::iptables::Iptables;
use super::{sets, trial};

/// Tries every kind of rule and set. Where rules of ours are in use already it tries nothing,
/// and so changes nothing.
///
/// # Errors
/// With the module that is missing.
pub(super) async fn probe(
    tables: &BTreeMap<Family, Iptables>,
    ipset: &Ipset,
) -> Result<(), Unavailable> {
    for (family, iptables) in tables {
        // Sets can be read where ip_set is there; this needs nothing else.
        ipset.headers().await.map_err(|error| kernel("ip_set", error))?;
        if Evidence::gather([iptables]).await?.own > 0 {
            continue;
        }
        let names = kinds(*family).map(|(_, name, _)| name);
        let tried = try_all(*family, iptables, ipset).await;
        let gone = sets::destroy(ipset, &names.into_iter().collect()).await;
        tried?;
        gone?;
    }
    Ok(())
}

async fn try_all(family: Family, iptables: &Iptables, ipset: &Ipset) -> Result<(), Unavailable> {
    let kinds = kinds(family);
    for (module, name, members) in kinds.clone() {
        // One may be left from a try that was cut short.
        sets::destroy(ipset, &[name.clone()].into()).await?;
        let create = render::sets_up(&[SetOp::Create(name, members)], family);
        let created = ipset.restore(&create).await;
        created.map_err(|broke| kernel(module, broke.error))?;
    }
    let rules = rules(family, kinds.each_ref().map(|(_, name, _)| name));
    let all = rules.iter().map(|(_, rule)| rule);
    if trial::accepts(iptables, Table::Filter, all).await.is_ok() {
        return Ok(());
    }
    for (module, rule) in &rules {
        let tried = trial::accepts(iptables, Table::Filter, [rule]).await;
        tried.map_err(|refused| kernel(module, refused.error))?;
    }
    Ok(())
}

/// A set of each type, and the module that brings it.
fn kinds(family: Family) -> [(&'static str, SetName, Members); 4] {
    let name = |kind| SetName::of(kind, family, &["probe"]);
    [
        ("ip_set_hash_ip", name('p'), Members::Addresses([].into())),
        ("ip_set_hash_net", name('q'), Members::Blocks([].into())),
        ("ip_set_hash_ipport", name('r'), Members::Ports([].into())),
        ("ip_set_hash_netiface", name('t'), Members::Attached([].into())),
    ]
}

/// A rule of each kind, and the module that brings it.
fn rules(family: Family, sets: [&SetName; 4]) -> Vec<(&'static str, Rule)> {
    let [set, _, ports, attached] = sets;
    let comment = Comment::new(&["probe"]);
    let rule = |module, matches, target| {
        (module, Rule { matches, target, comment: Some(comment.clone()) })
    };
    let drop = |module, matches| rule(module, matches, Target::Drop);
    let set = Match::InSet { side: Side::Source, set: set.clone(), negated: false };
    let mut rules = vec![
        // Its comment is that of every rule.
        drop("xt_comment", Vec::new()),
        drop("xt_set", vec![set]),
        drop(
            "xt_set",
            vec![Match::PortIn { side: Side::Destination, set: ports.clone(), negated: false }],
        ),
        drop("xt_set", vec![Match::FromPod, Match::NotAttached(attached.clone())]),
        drop("xt_conntrack", vec![Match::Established]),
        drop("xt_addrtype", vec![Match::SourceIsLocal]),
        drop(
            "xt_multiport",
            vec![Match::Ports(Side::Destination, Protocol::Tcp, vec![(1, 1), (3, 5)])],
        ),
        rule(
            "xt_limit or nfnetlink_log",
            vec![Match::Limit { per_second: 1, burst: 1 }],
            Target::Log { group: 98, prefix: comment.clone() },
        ),
    ];
    if family == Family::V6 {
        rules.push(drop(
            "ip6_tables",
            vec![Match::Icmp { family: Family::V6, kind: 135, code: None, negated: false }],
        ));
    }
    rules
}

/// The module that brings what only rules of policies on hosts have: it is not tried before
/// such a rule is wanted.
pub(super) fn module_of(rule: &Rule) -> Option<&'static str> {
    let of_match = rule.matches.iter().find_map(|one| match one {
        Match::Marked => Some("xt_mark"),
        Match::Untracked => Some("xt_conntrack"),
        Match::FromLoopback
        | Match::FromPod
        | Match::NotAttached(_)
        | Match::In(..)
        | Match::InSet { .. }
        | Match::PortIn { .. }
        | Match::Arrives(_)
        | Match::Leaves(_)
        | Match::ToLoopback
        | Match::Protocol { .. }
        | Match::Ports(..)
        | Match::Icmp { .. }
        | Match::Established
        | Match::Invalid
        | Match::SourceIsLocal
        | Match::DestinationIsLocal
        | Match::Limit { .. } => None,
    });
    match rule.target {
        Target::NoTrack => Some("xt_CT"),
        Target::Mark | Target::Unmark => Some("xt_mark"),
        Target::Accept
        | Target::Drop
        | Target::Return
        | Target::Jump(_)
        | Target::Goto(_)
        | Target::Log { .. }
        | Target::Masquerade => of_match,
    }
}

fn kernel(module: &'static str, error: CommandError) -> Unavailable {
    let mut lines = error.complaint().lines().map(str::trim);
    match lines.find(|line| !line.is_empty()) {
        Some(why) => Unavailable::Kernel { module, why: why.to_owned() },
        None => Unavailable::Program(error),
    }
}
