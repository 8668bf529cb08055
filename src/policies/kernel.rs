//! What the kernel of this node would do with a flow, by the rules that it holds, held against
//! what the policies say.

use brindle_policy::model::{HostStage, Pod, ToHost};
use brindle_policy::names::{ChainName, Fixed};
use brindle_policy::readback::{Installed, InstalledRule};
use brindle_policy::ruleset::{BuiltIn, Match, Table, Target};
use brindle_policy::verdict::{self, Flow, Verdict};
use brindle_policy::walk::{End, Lost, Packet, State, Step, walk};
use brindle_policy::{Direction, Family, World};

use super::Here;
use super::find::Located;
use super::hosts::Crossed;
use crate::control::view::{Explanation, KernelVerdict, Outcome};

/// ICMPv6 echo request.
const ECHO: u8 = 128;

/// What was asked, and what the policies of pods say.
pub(super) struct Asked<'a> {
    pub(super) flow: &'a Flow,
    pub(super) ends: [&'a Located<'a>; 2],
    pub(super) pods: &'a Verdict,
}

/// Adds what the kernel would do to each direction whose endpoint is here, and where it would
/// do something else than the policies say. `crossed` is how the flow passes host endpoints of
/// this node that judge what it forwards, if it has such.
pub(super) fn compare(
    world: &World,
    here: &Here<'_>,
    asked: &Asked<'_>,
    crossed: Option<&Crossed<'_>>,
    explained: &mut Explanation,
) {
    let Asked { flow, ends, pods } = *asked;
    let local = ends.map(|end| end.endpoint.filter(|pod| pod.node.as_deref() == Some(here.node)));
    let family = Family::of(flow.source);
    let Some(installed) = here.installed.iter().find(|held| held.family == family) else { return };
    let own = world.node(here.node);
    let is_own = |address| own.is_some_and(|node| node.addresses.contains(&address));
    if local.iter().all(Option::is_none) || is_own(flow.source) {
        // What a node sends itself meets no rule of ours.
        return;
    }
    let waits = |pod: &&Pod| here.status.pending.contains(&pod.key);
    if let Some(pod) = local.into_iter().flatten().find(waits) {
        let note = format!("{} is not programmed yet: all its packets are dropped", pod.key);
        explained.notes.push(note);
        return;
    }
    let interfaces = local[0].into_iter().flat_map(|pod| world.attachments_of(pod));
    let interface = interfaces.filter(|one| one.addresses.contains(&flow.source)).last();
    let packet = Packet {
        source: flow.source,
        destination: flow.destination,
        protocol: flow.protocol,
        source_port: flow.source_port,
        destination_port: flow.destination_port,
        icmp: flow.icmp.or((flow.protocol == 58).then_some((ECHO, 0))),
        arrives: None,
        leaves: None,
        is_to_loopback: false,
        is_marked: false,
        state: State::New,
        is_from_loopback: false,
        interface: interface.map(|one| one.interface),
        is_from_this_host: false,
        is_for_this_host: is_own(flow.destination),
    };
    let held = Kernel { world, installed };
    let to_host = is_own(flow.destination).then_some(here.hosts.to_host);
    let directions = [Direction::Egress, Direction::Ingress];
    let mut expected = Outcome::Allowed;
    let mut found = Vec::new();
    for (direction, pod) in directions.into_iter().zip(local) {
        let Some(pod) = pod else { continue };
        let judged = match direction {
            Direction::Egress => &mut explained.egress,
            Direction::Ingress => &mut explained.ingress,
        };
        let verdict = held.judge(pod, direction, &packet);
        let wanted = Outcome::of(pods.of(direction).is_allowed());
        expected = expected.max(wanted);
        if verdict.verdict != Some(wanted) {
            found.push(disagreement(direction, wanted, &verdict));
        }
        judged.kernel = Some(verdict);
    }
    if to_host == Some(ToHost::Drop) {
        expected = Outcome::Denied;
    }
    if found.is_empty() {
        match crossed.map(|crossed| as_crossed(&packet, crossed)) {
            None => found.extend(held.whole_way(&packet, to_host, expected)),
            Some(Crossing::Unknown) => explained.notes.push(
                "what the kernel does with it on its way past host endpoints is not looked at: by \
                 which interface it passes is not known"
                    .to_owned(),
            ),
            Some(Crossing::Dropped) => {}
            Some(Crossing::Forwarded(packet, outcome)) => {
                found.extend(held.whole_way(&packet, to_host, expected.max(outcome)));
            }
        }
    }
    explained.disagreements = found;
}

/// How a packet comes to the forward chain of a node with host endpoints.
enum Crossing {
    /// By which interfaces is not known.
    Unknown,
    /// It does not: it was dropped before.
    Dropped,
    /// So; what host endpoints say of it there.
    Forwarded(Packet, Outcome),
}

fn as_crossed(packet: &Packet, crossed: &Crossed<'_>) -> Crossing {
    if !crossed.is_known {
        return Crossing::Unknown;
    }
    let (mut outcome, mut is_marked) = (Outcome::Allowed, false);
    for step in crossed.said.iter().flat_map(|said| &said.steps) {
        match (step.stage, step.outcome) {
            (HostStage::Untracked | HostStage::PreDnat, Some(verdict::Outcome::Denied)) => {
                return Crossing::Dropped;
            }
            (HostStage::Untracked | HostStage::PreDnat, Some(verdict::Outcome::Allowed)) => {
                is_marked = true;
            }
            (_, Some(verdict::Outcome::Denied)) => outcome = Outcome::Denied,
            (_, Some(verdict::Outcome::Allowed) | None) => {}
        }
    }
    let (arrives, leaves) = (crossed.from, crossed.to);
    Crossing::Forwarded(Packet { arrives, leaves, is_marked, ..*packet }, outcome)
}

fn disagreement(direction: Direction, wanted: Outcome, kernel: &KernelVerdict) -> String {
    let does = match kernel.verdict {
        Some(Outcome::Allowed) => "lets it pass",
        Some(Outcome::Denied) => "drops it",
        None => "cannot be followed",
    };
    let rule = kernel.rule.map(|rule| format!(" rule {rule}")).unwrap_or_default();
    format!(
        "{direction}: the policies say {wanted}, but the kernel {does} (chain {}{rule}: {}); see \
         `brindle status`",
        kernel.chain, kernel.target
    )
}

/// What the kernel holds of one family.
struct Kernel<'a> {
    world: &'a World,
    installed: &'a Installed,
}

impl Kernel<'_> {
    /// What the chains of an endpoint do with a packet in one direction.
    fn judge(&self, pod: &Pod, direction: Direction, packet: &Packet) -> KernelVerdict {
        let chain = ChainName::endpoint(&pod.key, direction);
        let walked = walk(self.installed, &chain, packet);
        // What is allowed to leave goes on through chains of other endpoints.
        let stages = self.world.governing(pod, direction);
        let policies = stages.iter().flat_map(|(_, policies)| policies);
        let mut own: Vec<ChainName> =
            policies.map(|policy| ChainName::policy(&policy.id, direction)).collect();
        own.push(chain.clone());
        own.extend(stages.iter().map(|(tier, _)| ChainName::tier(&pod.key, &tier.name, direction)));
        let is_own = |step: &&Step| own.contains(&step.chain) && !self.hands_back(step);
        let last = walked.trail.iter().rfind(is_own);
        let decided = last.and_then(|step| Some((step, self.rule(step)?)));
        if let Some((step, rule)) = decided
            && let Some(target) = rule.rule.as_ref().map(|rule| &rule.target)
            && let Some(verdict) = outcome(target)
        {
            return KernelVerdict {
                verdict: Some(verdict),
                chain: step.chain.to_string(),
                rule: Some(step.index + 1),
                target: words(target),
                packets: Some(rule.packets),
                bytes: Some(rule.bytes),
            };
        }
        KernelVerdict {
            verdict: None,
            chain: chain.to_string(),
            rule: None,
            target: match &walked.end {
                End::Lost(lost) => lost_words(lost),
                End::Accept | End::Drop | End::Returned => "no rule of it decides".to_owned(),
            },
            packets: None,
            bytes: None,
        }
    }

    /// What is wrong with the way from the kernel's chain through ours, if anything is.
    /// `to_host` is for packets to this host.
    fn whole_way(
        &self,
        packet: &Packet,
        to_host: Option<ToHost>,
        expected: Outcome,
    ) -> Option<String> {
        let (start, from) = match to_host {
            Some(_) => (Fixed::Input, BuiltIn::Input),
            None => (Fixed::Forward, BuiltIn::Forward),
        };
        let chain = ChainName::fixed(start);
        let is_hooked = |hook: &&brindle_policy::readback::InstalledHook| {
            hook.hook.table == Table::Filter && hook.hook.from == from && hook.hook.to == chain
        };
        if !self.installed.hooks.iter().any(|hook| is_hooked(&hook)) {
            return Some(format!("{} does not jump to {chain}: nothing is judged", from.as_str()));
        }
        let walked = walk(self.installed, &chain, packet);
        let last = walked.trail.last();
        let place = last.map(|step| format!("chain {} rule {}", step.chain, step.index + 1));
        let place = place.unwrap_or_else(|| format!("chain {chain}"));
        let got = match &walked.end {
            End::Accept => Outcome::Allowed,
            End::Drop => Outcome::Denied,
            // To the host's own rules.
            End::Returned if to_host == Some(ToHost::Return) => Outcome::Allowed,
            End::Returned => {
                return Some(format!("{place}: the packet leaves our chains without a verdict"));
            }
            End::Lost(lost) => return Some(format!("{place}: {}", lost_words(lost))),
        };
        (got != expected).then(|| {
            format!("the policies say {expected} on this node, but on its way it is {got}: {place}")
        })
    }

    /// Whether a rule only hands on what an earlier one allowed, to the host's own rules.
    fn hands_back(&self, step: &Step) -> bool {
        let rule = self.rule(step).and_then(|rule| rule.rule.as_ref());
        rule.is_some_and(|rule| {
            rule.target == Target::Return && rule.matches.contains(&Match::Marked)
        })
    }

    fn rule(&self, step: &Step) -> Option<&InstalledRule> {
        self.installed.chains.get(&(Table::Filter, step.chain.clone()))?.get(step.index)
    }
}

/// What a target of an endpoint's or a policy's chain means; `None` if another rule decides.
fn outcome(target: &Target) -> Option<Outcome> {
    match target {
        Target::Accept => Some(Outcome::Allowed),
        Target::Drop => Some(Outcome::Denied),
        // Only what is allowed to leave is sent on.
        Target::Goto(chain) => {
            (*chain == ChainName::fixed(Fixed::Sent)).then_some(Outcome::Allowed)
        }
        Target::Return
        | Target::Jump(_)
        | Target::Log { .. }
        | Target::Masquerade
        | Target::NoTrack
        | Target::Mark
        | Target::Unmark => None,
    }
}

fn words(target: &Target) -> String {
    match target {
        Target::Accept => "ACCEPT".to_owned(),
        Target::Drop => "DROP".to_owned(),
        Target::Return => "RETURN".to_owned(),
        Target::Jump(chain) | Target::Goto(chain) => format!("-> {chain}"),
        Target::Log { .. } => "NFLOG".to_owned(),
        Target::Masquerade => "MASQUERADE".to_owned(),
        Target::NoTrack => "CT notrack".to_owned(),
        Target::Mark | Target::Unmark => "MARK".to_owned(),
    }
}

fn lost_words(lost: &Lost) -> String {
    match lost {
        Lost::NoChain(chain) => format!("there is no chain {chain}"),
        Lost::NoSet(set) => format!("there is no set {set} that can be read"),
        Lost::Foreign(chain, index) => {
            format!("chain {chain} rule {} is not one of ours", index + 1)
        }
        Lost::Ring => "the chains form a ring".to_owned(),
    }
}
