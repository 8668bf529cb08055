//! Why traffic failed, as far as the routes on the way tell.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::super::netns;
use super::super::plan::{Node, Plan};
use super::{Endpoint, Kind, Outcome};

/// Adds to every failure between nodes which node lacks which route.
pub fn explain(plan: &Plan, outcomes: &mut [Outcome]) {
    let mut known = BTreeMap::new();
    for outcome in outcomes.iter_mut().filter(|o| !o.failures.is_empty()) {
        // whatever is shorter passes
        if let (1, Some(why)) = (outcome.failures.len(), outcome.failures.get_mut(&Kind::FullSize))
            && why == "no answer"
        {
            why.push_str(": shorter packets pass, so an MTU on the path is below 1500");
        }
        let pod = plan.pods().find(|(_, p)| p.name == outcome.to);
        let from = super::sources(plan).find(|s| s.name() == outcome.from);
        let (Some((far, _)), Some(near)) = (pod, from) else { continue };
        let mut lacks = |node: &Node, to: IpAddr| {
            known.entry((node.name.clone(), to)).or_insert_with(|| lack(plan, node, to)).clone()
        };
        let there = lacks(near.node, outcome.address);
        let back = Endpoint::address(&near, outcome.address).and_then(|own| lacks(far, own));
        let found: Vec<_> = [there, back].into_iter().flatten().collect();
        if found.is_empty() {
            continue;
        }
        for why in outcome.failures.values_mut() {
            *why = format!("{why} ({})", found.join("; "));
        }
    }
}

/// What is wrong with the way from `node` to the pod address `to`; `None` if there is one.
fn lack(plan: &Plan, node: &Node, to: IpAddr) -> Option<String> {
    let owner = plan.nodes.iter().find(|n| n.pod_cidrs.iter().any(|c| c.contains(to)))?;
    if owner.name == node.name {
        return None;
    }
    let cidr = owner.pod_cidrs.iter().find(|c| c.contains(to))?;
    let said =
        netns::ip_output(&node.namespace, &["-j", "route", "get", "fibmatch", &to.to_string()]);
    let matched = said.ok().and_then(|text| {
        let routes: serde_json::Value = serde_json::from_str(&text).ok()?;
        Some(routes.get(0)?.get("dst")?.as_str()?.to_owned())
    });
    match matched {
        None => Some(format!("{} has no route to {cidr}", node.name)),
        Some(dst) if dst == "default" => {
            Some(format!("{} has only its default route to {cidr}", node.name))
        }
        Some(_) => None,
    }
}
