//! What nf_tables asks of chains, on crowded nodes.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use brindle_policy::compile::{DenyLog, Settings, compile};
use brindle_policy::model::{
    Action, HostSettings, HostStage, Node, Pod, Policy, PolicyKind, PolicyOrder, Rule, Tier,
    TierAction,
};
use brindle_policy::names::{ChainName, Fixed};
use brindle_policy::ruleset::{Table, Target};
use brindle_policy::selector::Expr;
use brindle_policy::{Change, Family, PodKey, PolicyId, Ruleset, World};

/// Chains that may lead to each other below one of the kernel's (`NFT_JUMP_STACK_SIZE` less
/// the kernel's own).
const DEEPEST: usize = 15;

/// How the addresses of a node's pods lie.
#[derive(Clone, Copy, Debug)]
enum Lie {
    /// One after the other.
    Dense,
    /// Anywhere in large ranges.
    Scattered,
    /// Each twice as far as the one before.
    Doubling,
}

fn addresses(lie: Lie, number: u32) -> [IpAddr; 2] {
    let (four, six) = match lie {
        Lie::Dense => (number, u128::from(number)),
        Lie::Scattered => {
            let mixed = u64::from(number).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            ((mixed >> 40) as u32 & 0xffff, u128::from(mixed))
        }
        Lie::Doubling => (1 << (number % 16), 1 << (number % 64)),
    };
    let four = Ipv4Addr::from_bits(0x0a01_0000 | four);
    let six = Ipv6Addr::from_bits(0xfd00_0001 << 96 | six);
    [four.into(), six.into()]
}

/// A node with `count` pods, each governed by a policy for each of `actions` in each tier, the
/// built-in ones and `more`, in both directions.
fn world(lie: Lie, count: u32, more: usize, actions: &[Action]) -> World {
    let mut world = World::default();
    for number in 0..more {
        world.apply(Change::TierApplied(Arc::new(Tier {
            name: format!("tier{number}").into(),
            order: PolicyOrder::new(Some(number as f64)),
            default_action: TierAction::Pass,
        })));
    }
    let pod_cidrs = ["10.1.0.0/16", "fd00:1::/64"].map(|text| text.parse().unwrap());
    world.apply(Change::NodeApplied(Arc::new(Node {
        name: "here".into(),
        addresses: Default::default(),
        pod_cidrs: pod_cidrs.into(),
        labels: Default::default(),
    })));
    for number in 1..=count {
        let key = PodKey { namespace: "a".into(), name: format!("p{number}").into() };
        world.apply(Change::PodApplied(Arc::new(Pod {
            key,
            labels: Default::default(),
            node: Some("here".into()),
            host_network: false,
            finished: false,
            addresses: addresses(lie, number).into(),
            ports: Default::default(),
            created: "".into(),
            service_account: "default".into(),
        })));
    }
    let tiers: Vec<Tier> = world.tiers().to_vec();
    assert_eq!(tiers.len(), 3 + more);
    for (number, &action) in actions.iter().enumerate() {
        let rules = || Some(vec![Rule { action, criteria: Vec::new() }]);
        for tier in &tiers {
            let name = format!("{}-{number}", tier.name);
            world.apply(Change::PolicyApplied(Arc::new(Policy {
                id: PolicyId {
                    kind: PolicyKind::NetworkPolicy,
                    namespace: None,
                    name: name.into(),
                },
                tier: tier.name.clone(),
                order: PolicyOrder::KUBERNETES,
                subject: Arc::new(Expr::All),
                stage: HostStage::Normal,
                staged: None,
                ingress: rules(),
                egress: rules(),
                problems: Vec::new(),
            })));
        }
    }
    assert!(tiers.iter().any(|tier| tier.default_action == TierAction::Pass));
    world
}

fn ruleset(world: &World, family: Family) -> Ruleset {
    let settings = Settings {
        node: "here".into(),
        pod_cidrs: Default::default(),
        masquerade: true,
        deny_log: Some(DenyLog { group: 98, per_second: 10 }),
        hosts: HostSettings::default(),
    };
    compile(world, &settings, family)
}

/// How many chains may follow each other from `chain` on, itself included.
fn depth(ruleset: &Ruleset, chain: &ChainName, known: &mut BTreeMap<ChainName, usize>) -> usize {
    if let Some(depth) = known.get(chain) {
        return *depth;
    }
    let rules = &ruleset.chains[&(Table::Filter, chain.clone())].rules;
    let below = rules.iter().filter_map(|rule| match &rule.target {
        Target::Jump(to) | Target::Goto(to) => Some(depth(ruleset, to, known)),
        Target::Accept
        | Target::Drop
        | Target::Return
        | Target::Log { .. }
        | Target::Masquerade
        | Target::NoTrack
        | Target::Mark
        | Target::Unmark => None,
    });
    let depth = 1 + below.max().unwrap_or_default();
    known.insert(chain.clone(), depth);
    depth
}

#[test]
fn chains_lead_no_deeper_than_nf_tables_takes() {
    for lie in [Lie::Dense, Lie::Scattered, Lie::Doubling] {
        // With rules that pass, each tier has a chain of its own; policies without such are
        // chains below that.
        let both = [Action::Pass, Action::Allow];
        for (more, actions) in
            [(0, [Action::Allow; 2]), (0, [Action::Pass; 2]), (0, both), (20, both)]
        {
            let world = world(lie, 250, more, &actions);
            for family in Family::ALL {
                let ruleset = ruleset(&world, family);
                let mut known = BTreeMap::new();
                for start in [Fixed::Forward, Fixed::Input] {
                    let depth = depth(&ruleset, &ChainName::fixed(start), &mut known);
                    assert!(depth <= DEEPEST, "{lie:?} {more} {actions:?} {family}: {depth}");
                }
            }
        }
    }
}
