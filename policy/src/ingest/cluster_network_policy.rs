//! ClusterNetworkPolicies (policy-semantics 6).
//!
//! Where the API says how to fail closed, this does: an Accept rule of which something is not
//! known matches nothing, a Deny or Pass rule denies everything.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use super::address::block;
use super::doubt::{Draft, distrust_subject, in_some_namespace};
use super::labels::selector;
use super::network_policy::rules_field;
use super::port::PORT_NAMES;
use super::{Problems, name, shown};
use crate::api::cluster::{
    ClusterNetworkPolicy as Object, ClusterNetworkPolicySpec, EgressPeer, NamespacedPod, Port,
    Protocol as TypedProtocol, ProtocolPorts, Subject,
};
use crate::model::{
    ADMIN_TIER, Action, BASELINE_TIER, Criterion, Direction, Holders, HostStage, IpBlock, PeerTerm,
    Policy, PolicyId, PolicyKind, PolicyOrder, PortMatch, PortTerm, Problem, Protocol, Rule, Side,
};
use crate::selector::{Expr, Scope};

/// How many elements lists may have.
const MOST: usize = 25;

/// What `object` means. Its rules keep their positions. What is wrong with it is in
/// [`Policy::problems`], and allows nothing: with a bad `subject`, `tier` or `priority` the
/// policy governs all that it may have meant, its Accept rules match nothing and its Pass rules
/// deny.
///
/// Fails only if it has no name.
pub fn cluster_network_policy(object: &Object) -> Result<Policy, Problem> {
    let mut problems = Problems::default();
    let kind = PolicyKind::ClusterNetworkPolicy;
    let name = name::name(kind.as_str(), &object.metadata, &mut problems)?;
    let nothing = ClusterNetworkPolicySpec::default();
    let spec = object.spec.as_ref().unwrap_or(&nothing);

    let tier = tier(spec.tier.as_deref(), &mut problems);
    let priority = priority(spec.priority, &mut problems);
    let subject = subject(spec.subject.as_ref(), &mut problems);
    let is_trusted = tier.is_some() && priority.is_some() && subject.is_some();
    let mut rules = |direction| -> Option<Vec<Rule>> {
        let typed = typed_rules(spec, direction);
        let field = rules_field(direction);
        if typed.len() > MOST {
            let count = typed.len();
            problems.add(&field, format!("{count} rules; accepted are {MOST}; all of them count"));
        }
        let read = |(index, typed): (usize, TypedRule<'_>)| {
            rule(&typed, direction, &format!("{field}[{index}]"), &mut problems)
        };
        let rules: Vec<Rule> = typed.into_iter().enumerate().map(read).collect();
        (!rules.is_empty()).then_some(rules)
    };
    let (ingress, egress) = (rules(Direction::Ingress), rules(Direction::Egress));
    // Hosts are in no namespace.
    let subject = Expr::and([in_some_namespace(), subject.unwrap_or(Expr::All)]);
    let mut policy = Policy {
        id: PolicyId { kind, namespace: None, name },
        tier: tier.unwrap_or(ADMIN_TIER).into(),
        order: PolicyOrder::new(Some(priority.unwrap_or_default())),
        subject: subject.into(),
        stage: HostStage::Normal,
        staged: None,
        ingress,
        egress,
        problems: problems.0,
    };
    if !is_trusted {
        distrust_subject(&mut policy);
    }
    Ok(policy)
}

fn tier(typed: Option<&str>, problems: &mut Problems) -> Option<&'static str> {
    match typed {
        Some("Admin") => Some(ADMIN_TIER),
        Some("Baseline") => Some(BASELINE_TIER),
        other => {
            let typed = shown(other.unwrap_or_default());
            let message = format!(
                "{typed} is not a tier; accepted are Admin and Baseline; the policy counts in \
                 Admin and accepts nothing"
            );
            problems.add("spec.tier", message);
            None
        }
    }
}

fn priority(typed: Option<i64>, problems: &mut Problems) -> Option<f64> {
    let what = match typed.map(u16::try_from) {
        Some(Ok(priority @ 0..=1000)) => return Some(priority.into()),
        _ => typed.map_or_else(|| "no priority".to_owned(), |typed| format!("{typed} is not one")),
    };
    let message =
        format!("{what}; accepted are 0 to 1000; the policy comes first and accepts nothing");
    problems.add("spec.priority", message);
    None
}

fn subject(typed: Option<&Subject>, problems: &mut Problems) -> Option<Expr> {
    let follows = "all pods are governed, and nothing is accepted";
    let field = "spec.subject";
    let nothing = Subject::default();
    match typed.unwrap_or(&nothing) {
        Subject { namespaces: Some(typed), pods: None } => {
            let field = format!("{field}.namespaces");
            selector(typed, Scope::Namespace, &field, follows, problems)
        }
        Subject { namespaces: None, pods: Some(typed) } => {
            pods(typed, &format!("{field}.pods"), follows, problems)
        }
        Subject { namespaces: None, pods: None } => {
            let message = "no subject that is known; accepted is one of namespaces and pods";
            problems.add(field, format!("{message}; {follows}"));
            None
        }
        Subject { namespaces: Some(_), pods: Some(_) } => {
            let message = "both namespaces and pods; accepted is one of them";
            problems.add(field, format!("{message}; {follows}"));
            None
        }
    }
}

/// A selector that is left out is the empty one.
fn pods(
    typed: &NamespacedPod,
    field: &str,
    follows: &str,
    problems: &mut Problems,
) -> Option<Expr> {
    let mut read = |typed: &Option<LabelSelector>, scope, name: &str| match typed {
        Some(typed) => selector(typed, scope, &format!("{field}.{name}"), follows, problems),
        None => Some(Expr::All),
    };
    let of_namespace = read(&typed.namespace_selector, Scope::Namespace, "namespaceSelector");
    let of_pod = read(&typed.pod_selector, Scope::Own, "podSelector");
    Some(Expr::and([of_namespace?, of_pod?]))
}

/// A rule of either direction; peers of ingress are those of egress with fewer fields.
struct TypedRule<'o> {
    action: Option<&'o str>,
    peers: Vec<EgressPeer>,
    protocols: Option<&'o [TypedProtocol]>,
}

fn typed_rules(spec: &ClusterNetworkPolicySpec, direction: Direction) -> Vec<TypedRule<'_>> {
    match direction {
        Direction::Ingress => {
            let rules = spec.ingress.iter().flatten();
            let rules = rules.map(|rule| TypedRule {
                action: rule.action.as_deref(),
                peers: rule
                    .from
                    .iter()
                    .flatten()
                    .map(|peer| EgressPeer {
                        namespaces: peer.namespaces.clone(),
                        pods: peer.pods.clone(),
                        ..EgressPeer::default()
                    })
                    .collect(),
                protocols: rule.protocols.as_deref(),
            });
            rules.collect()
        }
        Direction::Egress => {
            let rules = spec.egress.iter().flatten();
            let rules = rules.map(|rule| TypedRule {
                action: rule.action.as_deref(),
                peers: rule.to.clone().unwrap_or_default(),
                protocols: rule.protocols.as_deref(),
            });
            rules.collect()
        }
    }
}

fn rule(typed: &TypedRule<'_>, direction: Direction, field: &str, problems: &mut Problems) -> Rule {
    let (side, list) = match direction {
        Direction::Ingress => (Side::Source, "from"),
        Direction::Egress => (Side::Destination, "to"),
    };
    let action = action(typed.action, field, problems);
    let mut draft = Draft::new(action, problems);

    let peers_field = format!("{field}.{list}");
    count(typed.peers.len(), "peers", &peers_field, &mut draft);
    let mut any_of = Vec::new();
    for (index, typed) in typed.peers.iter().enumerate() {
        any_of.extend(peer(typed, &format!("{peers_field}[{index}]"), &mut draft));
    }
    draft.add(Criterion::Peer { side, any_of, negated: false });

    if let Some(protocols) = typed.protocols {
        let field = format!("{field}.protocols");
        count(protocols.len(), "protocols", &field, &mut draft);
        let has_names = |peer: &EgressPeer| {
            peer.networks.is_none() && peer.nodes.is_none() && peer.domain_names.is_none()
        };
        let may_be_named = typed.peers.iter().all(has_names);
        let mut any_of = Vec::new();
        for (index, typed) in protocols.iter().enumerate() {
            let field = format!("{field}[{index}]");
            any_of.extend(protocol(typed, may_be_named, &field, &mut draft));
        }
        draft.add(Criterion::Ports { side: Side::Destination, any_of, negated: false });
    }
    draft.finish()
}

fn action(typed: Option<&str>, field: &str, problems: &mut Problems) -> Option<Action> {
    match typed {
        Some("Accept") => Some(Action::Allow),
        Some("Deny") => Some(Action::Deny),
        Some("Pass") => Some(Action::Pass),
        other => {
            let hint = match other {
                Some("Allow") => "; did you mean Accept?",
                _ => "",
            };
            let message = format!(
                "{} is not an action; accepted are Accept, Deny and Pass{hint}; the rule denies \
                 what it matches",
                shown(other.unwrap_or_default())
            );
            problems.add(format!("{field}.action"), message);
            None
        }
    }
}

/// An empty list must not be taken for one that is left out, and more than are accepted count.
fn count(count: usize, what: &str, field: &str, draft: &mut Draft<'_>) {
    if count == 0 {
        draft.bad(field, format!("no {what}; accepted are 1 to {MOST}"));
    } else if count > MOST {
        draft.note(field, format!("{count} {what}; accepted are {MOST}; all of them count"));
    }
}

fn peer(typed: &EgressPeer, field: &str, draft: &mut Draft<'_>) -> Vec<PeerTerm> {
    let follows = draft.follows();
    let one = |expr: Option<Expr>| expr.map(|expr| PeerTerm::Endpoints(expr.into()));
    let EgressPeer { namespaces, pods: of_pods, nodes, networks, domain_names } = typed;
    let given = [
        namespaces.is_some(),
        of_pods.is_some(),
        nodes.is_some(),
        networks.is_some(),
        domain_names.is_some(),
    ];
    if given.into_iter().filter(|is_given| *is_given).count() > 1 {
        draft.bad(field, "a peer with several fields; accepted is one");
    } else if let Some(typed) = namespaces {
        let field = format!("{field}.namespaces");
        let read =
            draft.read(|problems| selector(typed, Scope::Namespace, &field, follows, problems));
        return one(read).into_iter().collect();
    } else if let Some(typed) = of_pods {
        let field = format!("{field}.pods");
        let read = draft.read(|problems| pods(typed, &field, follows, problems));
        return one(read).into_iter().collect();
    } else if let Some(typed) = networks {
        return blocks(typed, &format!("{field}.networks"), draft);
    } else if nodes.is_some() {
        draft.bad(
            format!("{field}.nodes"),
            "peers by nodes are not enforced here; accepted are networks with their addresses",
        );
    } else if domain_names.is_some() {
        draft.bad(
            format!("{field}.domainNames"),
            "peers by domain names are not enforced here; accepted are networks",
        );
    } else {
        draft.bad(
            field,
            "a peer without a field that is known; accepted are namespaces, pods and, \
                          of egress, networks",
        );
    }
    Vec::new()
}

fn blocks(typed: &[String], field: &str, draft: &mut Draft<'_>) -> Vec<PeerTerm> {
    count(typed.len(), "networks", field, draft);
    let mut terms = Vec::with_capacity(typed.len());
    for (index, typed) in typed.iter().enumerate() {
        match block(typed) {
            Ok(cidr) => terms.push(PeerTerm::Block(IpBlock { cidr, except: Vec::new() })),
            Err(message) => draft.bad(format!("{field}[{index}]"), message),
        }
    }
    terms
}

fn protocol(
    typed: &TypedProtocol,
    may_be_named: bool,
    field: &str,
    draft: &mut Draft<'_>,
) -> Vec<PortTerm> {
    let TypedProtocol { tcp, udp, sctp, destination_named_port } = typed;
    let name = destination_named_port.as_deref().filter(|name| !name.is_empty());
    let of =
        [(Protocol::Tcp, "tcp", tcp), (Protocol::Udp, "udp", udp), (Protocol::Sctp, "sctp", sctp)];
    let mut given = of
        .into_iter()
        .filter_map(|(protocol, key, typed)| typed.as_ref().map(|typed| (protocol, key, typed)));
    match (given.next(), given.next(), name) {
        (Some((protocol, key, typed)), None, None) => {
            let port = port(typed, &format!("{field}.{key}.destinationPort"), draft);
            port.map(|port| PortTerm { protocol, port }).into_iter().collect()
        }
        (None, _, Some(name)) => {
            let field = format!("{field}.destinationNamedPort");
            if !may_be_named {
                let message = "the name of a port beside peers that have no named ports; accepted \
                               are namespaces and pods";
                draft.bad(field, message);
                return Vec::new();
            }
            if !name::is_port_name(name) {
                let name = shown(name);
                draft.bad(
                    field,
                    format!("{name} is not the name of a port; accepted are {PORT_NAMES}"),
                );
                return Vec::new();
            }
            let port = PortMatch::Named(name.into(), Holders::Pods);
            Protocol::ALL.map(|protocol| PortTerm { protocol, port: port.clone() }).into()
        }
        (None, _, None) => {
            let message = "a protocol without a field that is known; accepted is one of tcp, udp, \
                           sctp and destinationNamedPort";
            draft.bad(field, message);
            Vec::new()
        }
        (Some(_), _, _) => {
            draft.bad(field, "a protocol with several fields; accepted is one");
            Vec::new()
        }
    }
}

fn port(typed: &ProtocolPorts, field: &str, draft: &mut Draft<'_>) -> Option<PortMatch> {
    let number = |typed: Option<i64>| typed.and_then(|n| u16::try_from(n).ok()).filter(|n| *n > 0);
    let nothing = Port::default();
    match typed.destination_port.as_ref().unwrap_or(&nothing) {
        Port { number: Some(typed), range: None } => match number(Some(*typed)) {
            Some(port) => Some(PortMatch::Range(port, port)),
            None => {
                let message = format!("{typed} is not a port; accepted are 1 to 65535");
                draft.bad(format!("{field}.number"), message);
                None
            }
        },
        Port { number: None, range: Some(range) } => {
            match (number(range.start), number(range.end)) {
                (Some(start), Some(end)) if start < end => Some(PortMatch::Range(start, end)),
                _ => {
                    let message = "not a range of ports; accepted are start and end of 1 to 65535, \
                                   start below end";
                    draft.bad(format!("{field}.range"), message);
                    None
                }
            }
        }
        Port { number: None, range: None } => {
            draft.bad(field, "no port that is known; accepted is one of number and range");
            None
        }
        Port { number: Some(_), range: Some(_) } => {
            draft.bad(field, "both number and range; accepted is one of them");
            None
        }
    }
}
