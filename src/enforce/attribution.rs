//! Whose packet it was that was told, and what decided.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use brindle_policy::model::{HostSettings, HostStage};
use brindle_policy::names::{CHAIN_MARK, COMMENT_MARK, ChainName, Comment};
use brindle_policy::ruleset::{Purpose, Rule, Ruleset, Table, Target};
use brindle_policy::verdict::{self, HostQuestion, HostReason, Judgement, Reason, verdict};
use brindle_policy::walk::{self, walk_in};
use brindle_policy::{Direction, Family, World};

use super::by::By;
use super::denied::{ToldPacket, Word};
use super::flows::{Flow, FlowEnd, FlowOutcome};
use super::packet::Packet;

/// What is known when a packet is told.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sight<'a> {
    /// All objects.
    pub world: &'a World,
    /// What holds on this host whatever policies say.
    pub hosts: &'a HostSettings,
    /// What the kernel is to hold, by [`Family::ALL`]'s order.
    pub rulesets: [&'a Ruleset; 2],
}

/// The record of a packet that was told at `now`; `None` if it is worth none. The engine judges
/// packets of pods anew: the kernel tells only where they were dropped. Rules of hosts and those
/// that only tell are found by that place.
pub(super) fn flow(sight: Sight<'_>, told: &ToldPacket, now: SystemTime) -> Option<Flow> {
    if told.is_spoofed {
        return Some(spoofed(sight.world, told, now));
    }
    let found = sight.find(told);
    match told.word {
        Word::Deny => Some(match &found {
            Some(Found { purpose: Purpose::Host(host, ..), comment }) => {
                denied_by_host(sight, told, host, comment.as_ref(), now)
            }
            _ => denied(sight, told, now),
        }),
        Word::Log => Some(logged(sight, told, found, now)),
        Word::Staged => match &found {
            Some(Found { purpose: Purpose::Host(host, stage, direction), .. }) => {
                staged_by_host(sight, told, host, (*stage, *direction), now)
            }
            _ => staged(sight, told, now),
        },
    }
}

fn denied(sight: Sight<'_>, told: &ToldPacket, now: SystemTime) -> Flow {
    let verdict = verdict(sight.world, &as_judged(&told.packet));
    let direction = told.direction.unwrap_or(if verdict.egress.is_allowed() {
        Direction::Ingress
    } else {
        Direction::Egress
    });
    let judgement = verdict.of(direction);
    let is_denied = !judgement.is_allowed();
    Flow {
        direction,
        policy: judgement.policies().first().filter(|_| is_denied).cloned(),
        tier: tier(judgement).filter(|_| is_denied),
        rule: judgement.rule().filter(|_| is_denied),
        why: why(judgement).into(),
        ..blank(sight.world, told, now)
    }
}

/// A host endpoint's chain dropped it, and the comment of the rule says why.
fn denied_by_host(
    sight: Sight<'_>,
    told: &ToldPacket,
    host: &Arc<str>,
    comment: Option<&Comment>,
    now: SystemTime,
) -> Flow {
    let decided = comment.and_then(By::read);
    let why = match &decided {
        Some(By::Rule(policy, rule)) => format!("{policy} rule {rule} (HostEndpoint {host})"),
        Some(By::Tier(tier)) => {
            format!("no rule of tier {tier} allows it to HostEndpoint {host}")
        }
        Some(By::Profile(profile)) => format!("profile {profile} of HostEndpoint {host}"),
        Some(By::Host) => {
            format!("neither a policy nor a profile of HostEndpoint {host} allows it")
        }
        None => format!("HostEndpoint {host}: no packet of a connection that is known"),
    };
    let (policy, rule, tier) = match decided {
        Some(By::Rule(policy, rule)) => (Some(policy), Some(rule), None),
        Some(By::Tier(tier)) => (None, None, Some(tier)),
        Some(By::Profile(_) | By::Host) | None => (None, None, None),
    };
    Flow {
        host: Some(Arc::clone(host)),
        policy,
        rule,
        tier,
        why: why.into(),
        ..blank(sight.world, told, now)
    }
}

/// A rule with the action Log matched it.
fn logged(sight: Sight<'_>, told: &ToldPacket, found: Option<Found<'_>>, now: SystemTime) -> Flow {
    let (mut policy, mut rule, mut host) = (None, None, None);
    if let Some(Found { purpose, comment }) = found {
        match comment.as_ref().and_then(By::read) {
            Some(By::Rule(id, index)) => (policy, rule) = (Some(id), Some(index)),
            Some(By::Tier(_) | By::Profile(_) | By::Host) | None => {}
        }
        match purpose {
            Purpose::Host(name, ..) => host = Some(Arc::clone(name)),
            Purpose::Policy(id, _) => policy = Some(id.clone()),
            Purpose::Endpoint(..) | Purpose::Fixed | Purpose::Dispatch => {}
        }
    }
    let why = match (&policy, rule) {
        (Some(policy), Some(rule)) => format!("{policy} rule {rule} logs it"),
        (Some(policy), None) => format!("{policy} logs it"),
        (None, _) => "a policy that is gone by now logs it".to_owned(),
    };
    Flow {
        outcome: FlowOutcome::Logged,
        host,
        policy,
        rule,
        why: why.into(),
        ..blank(sight.world, told, now)
    }
}

/// What staged policies would decide otherwise about one direction; nothing if they would not.
fn staged(sight: Sight<'_>, told: &ToldPacket, now: SystemTime) -> Option<Flow> {
    let (world, flow) = (sight.world, as_judged(&told.packet));
    let staged = verdict::staged(world, &flow)?.verdict;
    let direction = told.direction?;
    let (would, does) = (staged.of(direction), verdict(world, &flow));
    let outcome = match (does.of(direction).is_allowed(), would.is_allowed()) {
        (true, false) => FlowOutcome::WouldDeny,
        (false, true) => FlowOutcome::WouldAllow,
        (true, true) | (false, false) => return None,
    };
    Some(Flow {
        outcome,
        policy: would.policies().first().cloned(),
        tier: tier(would),
        rule: would.rule(),
        why: would.reason.to_string().into(),
        ..blank(world, told, now)
    })
}

/// What staged policies would have a host endpoint decide otherwise at one stage; nothing if
/// they would not.
fn staged_by_host(
    sight: Sight<'_>,
    told: &ToldPacket,
    name: &Arc<str>,
    (stage, direction): (HostStage, Direction),
    now: SystemTime,
) -> Option<Flow> {
    let Sight { world, hosts, .. } = sight;
    let host = world.host_endpoints().find(|host| host.name == *name)?;
    let question = HostQuestion::Stage(host, stage, direction);
    let flow = as_judged(&told.packet);
    let staged = verdict::staged_hosts(world, hosts, question, &flow, &flow)?;
    let outcome = match (staged.now.is_allowed(), staged.verdict.is_allowed()) {
        (true, false) => FlowOutcome::WouldDeny,
        (false, true) => FlowOutcome::WouldAllow,
        (true, true) | (false, false) => return None,
    };
    let step = staged.verdict.steps.last();
    let (policy, rule, tier) = match step.map(|step| &step.reason) {
        Some(HostReason::Rule { policy, index }) => (Some(policy.clone()), Some(*index), None),
        Some(HostReason::NoRule { tier, policies }) => {
            (policies.first().cloned(), None, Some(tier.clone()))
        }
        _ => (None, None, None),
    };
    let why = match step {
        Some(step) => format!("{} (HostEndpoint {name}, {stage} stage)", step.reason),
        None => format!("no policy would be about it (HostEndpoint {name}, {stage} stage)"),
    };
    Some(Flow {
        outcome,
        host: Some(Arc::clone(name)),
        policy,
        rule,
        tier,
        why: why.into(),
        ..blank(world, told, now)
    })
}

/// The record of one that came through a pod's interface with an address that is not the
/// pod's. It is the pod behind the interface that sent it, whoever has the address.
fn spoofed(world: &World, told: &ToldPacket, now: SystemTime) -> Flow {
    let packet = &told.packet;
    let mut flow = Flow { direction: Direction::Egress, ..blank(world, told, now) };
    let owner = flow.source.pod.take();
    let attachment = told.interface.and_then(|interface| world.attachment(interface));
    flow.source.pod = attachment.and_then(|attachment| attachment.pod.clone());
    let interface = match told.interface {
        Some(interface) => interface.to_string(),
        None => "an interface that is gone".to_owned(),
    };
    let is_own = attachment.is_some_and(|one| one.addresses.contains(&packet.source));
    let why = match (&flow.source.pod, is_own) {
        (_, true) => format!("{interface} is closed: the policies of its pod are not in place"),
        (Some(pod), false) => {
            format!("spoofed: {} is no address of {pod} behind {interface}", packet.source)
        }
        (None, false) => {
            format!("spoofed: {} is no address of a pod behind {interface}", packet.source)
        }
    };
    let belongs = owner.filter(|_| !is_own).map(|owner| format!("; it is that of {owner}"));
    flow.why = (why + &belongs.unwrap_or_default()).into();
    flow
}

/// What the packet itself says, as if nobody had decided.
fn blank(world: &World, told: &ToldPacket, now: SystemTime) -> Flow {
    let packet = &told.packet;
    let end = |address, port: Option<u16>| {
        let pod = world.endpoint_at(address).map(|pod| pod.key.clone());
        let node = if pod.is_none() { node_of(world, address) } else { None };
        FlowEnd { address, port, pod, node }
    };
    Flow {
        outcome: FlowOutcome::Denied,
        number: 0,
        first: now,
        last: now,
        count: 1,
        direction: told.direction.unwrap_or(Direction::Ingress),
        source: end(packet.source, packet.ports.map(|(source, _)| source)),
        destination: end(packet.destination, packet.ports.map(|(_, destination)| destination)),
        protocol: packet.protocol,
        tcp_flags: packet.tcp_flags,
        icmp: packet.icmp,
        host: None,
        policy: None,
        tier: None,
        rule: None,
        why: "".into(),
    }
}

/// The node that has an address.
fn node_of(world: &World, address: IpAddr) -> Option<Arc<str>> {
    let node = world.nodes().find(|node| node.addresses.contains(&address))?;
    Some(Arc::clone(&node.name))
}

fn as_judged(packet: &Packet) -> verdict::Flow {
    verdict::Flow {
        source: packet.source,
        destination: packet.destination,
        protocol: packet.protocol,
        source_port: packet.ports.map(|(source, _)| source),
        destination_port: packet.ports.map(|(_, destination)| destination),
        icmp: packet.icmp,
    }
}

fn tier(judgement: &Judgement) -> Option<Arc<str>> {
    match &judgement.reason {
        Reason::NoRule { tier, .. } => Some(tier.clone()),
        _ => None,
    }
}

fn why(judgement: &Judgement) -> String {
    if judgement.is_allowed() {
        // Connection tracking could not place it, or the policies changed since.
        return "no packet of a connection that is known, or allowed by now".to_owned();
    }
    judgement.reason.to_string()
}

/// The chain that told a packet, and the comment of the rule that did.
#[derive(Clone, Debug)]
struct Found<'a> {
    purpose: &'a Purpose,
    /// `None` if no rule of the chain would tell it now.
    comment: Option<Comment>,
}

impl<'a> Sight<'a> {
    /// The chain that the prefix names, if it is still wanted, and the rule in it.
    fn find(&self, told: &ToldPacket) -> Option<Found<'a>> {
        let prefix = told.prefix.as_ref()?;
        let family = Family::of(told.packet.source);
        let ruleset = self.rulesets[usize::from(family == Family::V6)];
        let mut words = prefix.as_str().strip_prefix(COMMENT_MARK)?.split('/').skip(1);
        // The prefix has only the beginning of the name.
        let begin = format!("{CHAIN_MARK}{}-{}", words.next()?, words.next()?);
        let first = ChainName::read(&begin)?;
        let of_table = |table| {
            let chains = ruleset.chains.range((table, first.clone())..);
            chains.take_while(move |((of, _), _)| *of == table)
        };
        let all = Table::ALL.into_iter().flat_map(of_table);
        let mut chains = all.filter(|((_, name), _)| name.as_str().starts_with(&begin));
        let ((table, name), chain) = chains.next()?;
        let walk = walk_in(ruleset, *table, name, &as_met(told));
        let is_it =
            |rule: &&Rule| matches!(&rule.target, Target::Log { prefix: p, .. } if p == prefix);
        let own = walk.trail.iter().filter(|step| step.chain == *name);
        let mut rules = own.filter_map(|step| chain.rules.get(step.index));
        let comment = rules.rfind(is_it).and_then(|rule| rule.comment.clone());
        Some(Found { purpose: &chain.purpose, comment })
    }
}

/// The packet as the chain met it, as far as it is known: the first of a connection.
fn as_met(told: &ToldPacket) -> walk::Packet {
    let packet = &told.packet;
    walk::Packet {
        source: packet.source,
        destination: packet.destination,
        protocol: packet.protocol,
        source_port: packet.ports.map(|(source, _)| source),
        destination_port: packet.ports.map(|(_, destination)| destination),
        icmp: packet.icmp,
        state: walk::State::New,
        is_from_loopback: false,
        interface: told.interface,
        arrives: told.arrives,
        leaves: told.leaves,
        is_to_loopback: false,
        is_marked: false,
        is_from_this_host: false,
        is_for_this_host: false,
    }
}

#[cfg(test)]
mod tests {
    use brindle_policy::compile::{DenyLog, compile};
    use brindle_policy::model::PolicyKind;
    use brindle_policy::ruleset::{Chain, Match};
    use brindle_policy::{Change, PolicyId};

    use super::*;

    fn told(prefix: &Comment, word: Word, port: u16) -> ToldPacket {
        ToldPacket {
            word,
            prefix: Some(prefix.clone()),
            packet: Packet {
                source: "192.0.2.9".parse().unwrap(),
                destination: "192.0.2.1".parse().unwrap(),
                protocol: 6,
                ports: Some((4000, port)),
                tcp_flags: Some(2),
                icmp: None,
            },
            direction: Some(Direction::Ingress),
            is_spoofed: false,
            interface: None,
            arrives: "eth0".parse().ok(),
            leaves: None,
        }
    }

    #[test]
    fn the_rule_of_a_host_that_told_a_packet_is_found_by_its_prefix() {
        let name = ChainName::host("edge", HostStage::Normal, Direction::Ingress, "");
        let hash: String = name.as_str().rsplit('-').next().unwrap().chars().take(12).collect();
        let prefix = |word: &str| Comment::new(&[word, "HI", &hash]);
        let id =
            PolicyId { kind: PolicyKind::GlobalNetworkPolicy, namespace: None, name: "p".into() };
        let ports = |port| {
            vec![Match::Ports(
                brindle_policy::model::Side::Destination,
                brindle_policy::Protocol::Tcp,
                vec![(port, port)],
            )]
        };
        let tells = |matches: Vec<Match>, word, comment| Rule {
            matches,
            target: Target::Log { group: 98, prefix: prefix(word) },
            comment: Some(comment),
        };
        let drops =
            |matches, comment| Rule { matches, target: Target::Drop, comment: Some(comment) };
        let of_rule = |index| Comment::policy_rule(&id, index);
        let rules = vec![
            tells(ports(80), "log", of_rule(0)),
            tells(ports(81), "deny", of_rule(2)),
            drops(ports(81), of_rule(2)),
            tells(Vec::new(), "deny", Comment::new(&["tier", "default"])),
            drops(Vec::new(), Comment::new(&["tier", "default"])),
        ];
        let purpose = Purpose::Host("edge".into(), HostStage::Normal, Direction::Ingress);
        let mut ruleset = Ruleset::new(Family::V4);
        ruleset.chains.insert((Table::Filter, name), Arc::new(Chain { purpose, rules }));
        let nothing = Ruleset::new(Family::V6);
        let world = World::default();
        let hosts = HostSettings::default();
        let sight = Sight { world: &world, hosts: &hosts, rulesets: [&ruleset, &nothing] };
        for (word, letter, port, policy, rule, why) in [
            (Word::Log, "log", 80, Some(&id), Some(0), "GlobalNetworkPolicy p rule 0 logs it"),
            (
                Word::Deny,
                "deny",
                81,
                Some(&id),
                Some(2),
                "GlobalNetworkPolicy p rule 2 (HostEndpoint edge)",
            ),
            (
                Word::Deny,
                "deny",
                82,
                None,
                None,
                "no rule of tier default allows it to HostEndpoint edge",
            ),
        ] {
            let told = told(&prefix(letter), word, port);
            let flow = flow(sight, &told, SystemTime::UNIX_EPOCH).expect("it is told");
            assert_eq!((flow.policy.as_ref(), flow.rule), (policy, rule), "{port}");
            assert_eq!((&*flow.why, flow.host.as_deref()), (why, Some("edge")), "{port}");
        }
        let gone = told(&Comment::new(&["log", "HI", "0123456789AB"]), Word::Log, 80);
        let flow = flow(sight, &gone, SystemTime::UNIX_EPOCH).expect("it is told");
        assert_eq!((flow.outcome, flow.policy), (FlowOutcome::Logged, None));
    }

    #[test]
    fn what_a_staged_policy_would_have_a_host_decide_is_told_only_if_it_is_another_thing() {
        let mut world = World::default();
        let object = serde_json::json!({
            "metadata": {"name": "edge"},
            "spec": {"node": "n1", "interfaceName": "eth0",
                     "profiles": ["projectcalico-default-allow"]}
        });
        let object = serde_json::from_value(object).unwrap();
        let (host, problems) = brindle_policy::ingest::host_endpoint(&object).unwrap();
        assert_eq!(problems, []);
        world.apply(Change::HostEndpointApplied(Arc::new(host)));
        let object = serde_json::json!({
            "metadata": {"name": "soon"},
            "spec": {"ingress": [{"action": "Allow", "protocol": "TCP",
                                  "destination": {"ports": [80]}}]}
        });
        let object = serde_json::from_value(object).unwrap();
        let policy = brindle_policy::ingest::staged_global_network_policy(&object).unwrap();
        let id = policy.id.clone();
        world.apply(Change::PolicyApplied(Arc::new(policy)));
        let hosts = HostSettings::default();
        let settings = brindle_policy::compile::Settings {
            node: "n1".into(),
            pod_cidrs: Default::default(),
            masquerade: false,
            deny_log: Some(DenyLog { group: 98, per_second: 10 }),
            hosts: hosts.clone(),
        };
        let rulesets = [Family::V4, Family::V6].map(|family| compile(&world, &settings, family));
        let tells = rulesets[0].chains.values().flat_map(|chain| &chain.rules);
        let mut prefixes = tells.filter_map(|rule| match &rule.target {
            Target::Log { prefix, .. } if prefix.as_str().contains("staged/HI") => Some(prefix),
            _ => None,
        });
        let prefix = prefixes.next_back().expect("a rule of the host tells").clone();
        let sight = Sight { world: &world, hosts: &hosts, rulesets: [&rulesets[0], &rulesets[1]] };
        let seen = |port| flow(sight, &told(&prefix, Word::Staged, port), SystemTime::UNIX_EPOCH);
        assert_eq!(seen(80), None, "as it is now");
        let flow = seen(81).expect("it would be denied");
        assert_eq!(flow.outcome, FlowOutcome::WouldDeny);
        assert_eq!((flow.policy, flow.host.as_deref()), (Some(id), Some("edge")));
        assert_eq!(
            &*flow.why,
            "StagedGlobalNetworkPolicy soon (no rule) (HostEndpoint edge, normal stage)"
        );
    }
}
