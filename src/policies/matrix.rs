//! Who may reach whom: verdicts between groups of pods that no policy can tell apart.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use brindle_policy::model::{Criterion, Labels, NamedPort, PeerTerm, Pod, Policy};
use brindle_policy::selector::{Expr, Scope};
use brindle_policy::verdict::{Flow, Verdict, verdict};
use brindle_policy::{Cidr, Direction, Family, World};

use super::Known;
use super::list::known_namespace;
use super::services::{Class, classes, open};
use crate::control::Failure;
use crate::control::view::{Cell, CellVerdict, Group, Matrix};
use crate::flow::Service;

/// The most rows: more neither fit a screen nor can be judged while somebody waits.
const MAX_GROUPS: usize = 150;

/// The addresses that stand for what is outside, of each family: the first that no policy
/// names more closely than by everything.
const OUTSIDE: [(&str, [&str; 5]); 2] = [
    ("0.0.0.0/0", ["203.0.113.77", "198.51.100.77", "192.0.2.77", "8.8.8.8", "1.1.1.1"]),
    ("::/0", ["2001:db8:77::77", "2600::77", "2a00::77", "2400::77", "2800::77"]),
];

/// Whose verdicts are asked for.
struct Side<'w> {
    shown: Group,
    /// Its pods; none for what is outside.
    pods: Vec<&'w Pod>,
    /// An address that stands for it, where it is outside.
    address: Option<IpAddr>,
}

/// The matrix of a namespace or of all, for one service or for all.
pub(super) fn matrix(
    known: &Known<'_>,
    namespace: Option<&str>,
    service: Option<Service>,
) -> Result<Matrix, Failure> {
    let world = known.world;
    if let Some(name) = namespace {
        known_namespace(world, name)?;
    }
    let blocks = blocks(world);
    let is_asked = |pod: &&Pod| namespace.is_none_or(|only| *pod.key.namespace == *only);
    let mut from = groups(world, &blocks, namespace.is_none(), is_asked);
    if from.len() > MAX_GROUPS {
        return Err(Failure::Conflict(format!(
            "there are {} groups of pods, too many for a table of at most {MAX_GROUPS}; ask for \
             one namespace with -n",
            from.len()
        )));
    }
    let mut to = groups(world, &blocks, namespace.is_none(), is_asked);
    if namespace.is_some_and(|name| name != "kube-system") {
        to.extend(
            groups(world, &blocks, true, is_dns)
                .into_iter()
                .map(|mut dns| {
                    dns.shown.name = "kube-dns".to_owned();
                    dns
                })
                .take(1),
        );
    }
    for (text, candidates) in OUTSIDE {
        let family = if text.contains(':') { Family::V6 } else { Family::V4 };
        let is_used = |side: &Side<'_>| side.pods.iter().any(|pod| pod.address(family).is_some());
        if from.iter().any(is_used) {
            let address = outside(&blocks, &candidates);
            let shown = Group { name: text.to_owned(), pods: Vec::new() };
            let side = || Side { shown: shown.clone(), pods: Vec::new(), address };
            from.push(side());
            to.push(side());
        }
    }
    let pairs = from.iter().flat_map(|row| to.iter().map(move |column| (row, column)));
    let cells = pairs.map(|(row, column)| cell(known, row, column, service)).collect();
    let shown = |sides: Vec<Side<'_>>| sides.into_iter().map(|side| side.shown).collect();
    Ok(Matrix {
        namespace: namespace.map(str::to_owned),
        port: service.map(Service::written),
        cells,
        from: shown(from),
        to: shown(to),
    })
}

fn is_dns(pod: &&Pod) -> bool {
    &*pod.key.namespace == "kube-system"
        && pod.labels.get("k8s-app").is_some_and(|app| &**app == "kube-dns")
}

/// Every block that a rule names, or that a network set or a Service has of which some rule may
/// speak.
fn blocks(world: &World) -> BTreeSet<Cidr> {
    let rules = |policy: &Policy| {
        let rules = policy.ingress.iter().chain(&policy.egress).flatten();
        rules.flat_map(|rule| rule.criteria.clone()).collect::<Vec<_>>()
    };
    let mut blocks = BTreeSet::new();
    let mut selects = false;
    for criterion in world.policies().flat_map(|policy| rules(policy)) {
        match criterion {
            Criterion::Peer { any_of, .. } => {
                for term in any_of {
                    match term {
                        PeerTerm::Block(block) => {
                            blocks.extend([block.cidr].into_iter().chain(block.except));
                        }
                        PeerTerm::Selected(_) => selects = true,
                        PeerTerm::Endpoints(_) => {}
                    }
                }
            }
            Criterion::Service { service, .. } => {
                let addresses = world.service_endpoints(&service).addresses;
                blocks.extend(addresses.into_iter().map(Cidr::host));
            }
            Criterion::Ports { .. }
            | Criterion::Family(_)
            | Criterion::Icmp { .. }
            | Criterion::Protocol { .. } => {}
        }
    }
    if selects {
        blocks.extend(world.network_sets().flat_map(|set| set.nets.iter().copied()));
        let hosts = world.host_endpoints().flat_map(|host| &host.expected);
        blocks.extend(hosts.copied().map(Cidr::host));
    }
    blocks
}

/// Whether some policy looks at service accounts.
fn asks_accounts(world: &World) -> bool {
    let asks = |expr: &Expr| expr.looks_at(Scope::ServiceAccount);
    let in_rules = |policy: &Policy| {
        let rules = policy.ingress.iter().chain(&policy.egress).flatten();
        rules.flat_map(|rule| &rule.criteria).any(|criterion| match criterion {
            Criterion::Peer { any_of, .. } => any_of.iter().any(|term| match term {
                PeerTerm::Endpoints(expr) | PeerTerm::Selected(expr) => asks(expr),
                PeerTerm::Block(_) => false,
            }),
            Criterion::Service { .. }
            | Criterion::Ports { .. }
            | Criterion::Family(_)
            | Criterion::Icmp { .. }
            | Criterion::Protocol { .. } => false,
        })
    };
    world.policies().any(|policy| asks(&policy.subject) || in_rules(policy))
}

/// An address that no policy names more closely than by everything.
fn outside(blocks: &BTreeSet<Cidr>, candidates: &[&str]) -> Option<IpAddr> {
    let mut addresses = candidates.iter().filter_map(|text| text.parse::<IpAddr>().ok());
    let is_free = |address: &IpAddr| !blocks.iter().any(|b| b.length() > 0 && b.contains(*address));
    addresses.clone().find(is_free).or_else(|| addresses.next())
}

/// All that policies can see of an endpoint.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Looks<'w> {
    namespace: &'w str,
    labels: &'w Labels,
    ports: &'w BTreeSet<NamedPort>,
    within: Vec<(Family, Vec<&'w Cidr>)>,
    /// Its service account, if policies ask.
    account: Option<&'w str>,
}

/// Endpoints that look alike to policies, in the order of their names.
fn groups<'w>(
    world: &'w World,
    blocks: &'w BTreeSet<Cidr>,
    with_namespace: bool,
    is_asked: impl Fn(&&Pod) -> bool,
) -> Vec<Side<'w>> {
    let mut alike: BTreeMap<Looks<'w>, Vec<&'w Pod>> = BTreeMap::new();
    let with_account = asks_accounts(world);
    let pods = world.pods().map(|pod| &**pod).filter(|pod| pod.is_endpoint());
    for pod in pods.filter(|pod| is_asked(pod)) {
        let addresses = world.owned_addresses(pod).into_iter();
        let seen = addresses.map(|address| {
            let within = blocks.iter().filter(|block| block.contains(address)).collect();
            (Family::of(address), within)
        });
        let looks = Looks {
            namespace: &pod.key.namespace,
            labels: &pod.labels,
            ports: &pod.ports,
            within: seen.collect(),
            account: with_account.then_some(&*pod.service_account),
        };
        alike.entry(looks).or_default().push(pod);
    }
    let mut names = BTreeSet::new();
    let mut sides: Vec<Side<'w>> = Vec::new();
    let mut alike: Vec<Vec<&'w Pod>> = alike.into_values().collect();
    alike.sort_by(|a, b| a.first().map(|pod| &pod.key).cmp(&b.first().map(|pod| &pod.key)));
    for pods in alike {
        let mut name = name(&pods, with_namespace, true);
        if !names.insert(name.clone()) {
            name = self::name(&pods, with_namespace, false);
        }
        let shown = Group { name, pods: pods.iter().map(|pod| pod.key.to_string()).collect() };
        sides.push(Side { shown, pods, address: None });
    }
    sides
}

/// `cart`, `web-*`; or `web-1+2`, which no two groups have in common.
fn name(pods: &[&Pod], with_namespace: bool, short: bool) -> String {
    let Some(first) = pods.first() else { return String::new() };
    let common = pods.iter().skip(1).fold(&*first.key.name, |common, pod| {
        let same = common.bytes().zip(pod.key.name.bytes()).take_while(|(a, b)| a == b).count();
        common.get(..same).unwrap_or_default()
    });
    let name = match (pods.len(), common.rfind('-')) {
        (1, _) => first.key.name.to_string(),
        (_, Some(dash)) if short => format!("{}-*", &common[..dash]),
        (many, _) => format!("{}+{}", first.key.name, many - 1),
    };
    if with_namespace { format!("{}/{name}", first.key.namespace) } else { name }
}

/// Verdicts from one group to another.
fn cell(known: &Known<'_>, row: &Side<'_>, column: &Side<'_>, service: Option<Service>) -> Cell {
    let waits = |pod: &&Pod| known.here.is_some_and(|here| here.status.pending.contains(&pod.key));
    let cell = |verdict, decided_by: &str, rule, open| Cell {
        from: row.shown.name.clone(),
        to: column.shown.name.clone(),
        verdict,
        decided_by: decided_by.to_owned(),
        rule,
        open,
    };
    if let Some(pod) = row.pods.iter().chain(&column.pods).copied().find(|pod| waits(pod)) {
        let why = format!("{} is not programmed yet", pod.key);
        return cell(CellVerdict::Pending, &why, None, Vec::new());
    }
    let Some((source, destination)) = addresses(known.world, row, column) else {
        return cell(CellVerdict::Denied, "no addresses of one family", None, Vec::new());
    };
    let (from, to) = (row.pods.first().copied(), column.pods.last().copied());
    let asked = match service {
        Some(service) => vec![Class::of(service)],
        None => classes(known.world, from, to),
    };
    let judged: Vec<(Class, Verdict)> = asked
        .into_iter()
        .map(|class| {
            let flow = Flow {
                source,
                destination,
                protocol: class.service.protocol(Family::of(source)),
                source_port: None,
                destination_port: class.service.port(),
                icmp: class.service.icmp(Family::of(source)),
            };
            (class, verdict(known.world, &flow))
        })
        .collect();
    let allowed = judged.iter().filter(|(_, verdict)| verdict.is_allowed()).count();
    let (word, decisive) = if allowed == 0 {
        (CellVerdict::Denied, judged.first())
    } else if allowed == judged.len() {
        (CellVerdict::Allowed, judged.first())
    } else {
        (CellVerdict::Some, judged.iter().find(|(_, verdict)| verdict.is_allowed()))
    };
    let (decided_by, rule) = decisive.map(|(_, verdict)| decision(verdict)).unwrap_or_default();
    let open = match word {
        CellVerdict::Some => {
            open(judged.iter().filter(|(_, v)| v.is_allowed()).map(|(class, _)| class))
        }
        CellVerdict::Allowed | CellVerdict::Denied | CellVerdict::Pending => Vec::new(),
    };
    cell(word, &decided_by, rule, open)
}

/// What decided: the direction that denies, else the one that has a rule.
fn decision(verdict: &Verdict) -> (String, Option<usize>) {
    let has_rule = |direction: &Direction| verdict.of(*direction).rule().is_some();
    let (direction, judgement) = verdict.denied_by().unwrap_or_else(|| {
        let ruled = Direction::ALL.into_iter().find(has_rule).unwrap_or(Direction::Ingress);
        (ruled, verdict.of(ruled))
    });
    (format!("{direction}: {}", judgement.reason), judgement.rule())
}

/// Addresses of one family, IPv4 if there are some; of two pods if a group has two.
fn addresses(world: &World, row: &Side<'_>, column: &Side<'_>) -> Option<(IpAddr, IpAddr)> {
    let of = |side: &Side<'_>, pod: Option<&&Pod>| match pod {
        Some(pod) => world.owned_addresses(pod),
        None => side.address.into_iter().collect(),
    };
    let (from, to) = (of(row, row.pods.first()), of(column, column.pods.last()));
    let find = |addresses: &[IpAddr], family| {
        addresses.iter().copied().find(|address| Family::of(*address) == family)
    };
    Family::ALL.into_iter().find_map(|family| Some((find(&from, family)?, find(&to, family)?)))
}
