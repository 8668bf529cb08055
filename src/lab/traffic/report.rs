//! How the findings of `lab test` are shown.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use comfy_table::{Table, presets};

use super::super::plan::Plan;
use super::{Outcome, Report};

/// A matrix wider than this says nothing to anybody.
const WIDEST: usize = 12;
/// Failures beyond this many tell nothing new.
const MOST: usize = 20;

/// The matrix, the failures with their reasons, and the sum.
pub fn render(plan: &Plan, report: &Report) -> String {
    let mut text = String::new();
    let pods: Vec<_> = plan.pods().map(|(_, pod)| pod.name.as_str()).collect();
    let node_of: BTreeMap<_, _> = plan
        .pods()
        .map(|(node, pod)| (pod.name.as_str(), node.name.as_str()))
        .chain(plan.nodes.iter().map(|n| (n.name.as_str(), n.name.as_str())))
        .collect();
    if pods.len() <= WIDEST {
        let nodes = plan.nodes.iter().map(|n| n.name.as_str());
        let rows: Vec<_> = nodes.chain(pods.iter().copied()).collect();
        push(&mut text, &matrix(&rows, &pods, report, &BTreeMap::new()));
    } else if plan.nodes.len() <= WIDEST {
        let nodes: Vec<_> = plan.nodes.iter().map(|n| n.name.as_str()).collect();
        push(&mut text, &matrix(&nodes, &nodes, report, &node_of));
    }
    push(&mut text, "");

    let mut lines: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for outcome in &report.outcomes {
        for (kind, why) in &outcome.failures {
            let pair = format!("{} -> {} ({})", outcome.from, outcome.to, outcome.address);
            lines.entry(format!("{pair}: {why}")).or_default().push(kind.as_str());
        }
    }
    for (what, kinds) in lines.iter().take(MOST) {
        push(&mut text, &format!("FAIL  {what}  [{}]", kinds.join(", ")));
    }
    if lines.len() > MOST {
        push(&mut text, &format!("FAIL  and {} more; -o json has all", lines.len() - MOST));
    }
    let failed: usize = report.outcomes.iter().map(|o| o.failures.len()).sum();
    let pairs = report.outcomes.len();
    let families = if plan.cluster_cidrs().len() > 1 { "IPv4 and IPv6" } else { "IPv4" };
    push(
        &mut text,
        &format!(
            "{} probes over {families} ({pairs} pairs: TCP, UDP, ICMP, 1500-byte packets with DF): \
             {}",
            report.probes,
            if failed == 0 { "all passed".to_owned() } else { format!("{failed} failed") }
        ),
    );
    if report.seen_plain > 0 {
        push(
            &mut text,
            &format!(
                "captured on both uplinks of {} pairs between nodes: not encapsulated, sources not \
                 translated",
                report.seen_plain
            ),
        );
    }
    text
}

fn matrix(
    rows: &[&str],
    columns: &[&str],
    report: &Report,
    group_of: &BTreeMap<&str, &str>,
) -> String {
    let mut cells: BTreeMap<(&str, &str), Vec<&Outcome>> = BTreeMap::new();
    let group = |name| group_of.get(name).copied().unwrap_or(name);
    for outcome in &report.outcomes {
        cells.entry((group(&outcome.from), group(&outcome.to))).or_default().push(outcome);
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(std::iter::once("FROM \\ TO").chain(columns.iter().copied()));
    for row in rows {
        let cell = |column: &&str| match cells.get(&(*row, *column)) {
            None => "-".to_owned(),
            Some(outcomes) => summary(outcomes),
        };
        table.add_row(std::iter::once((*row).to_owned()).chain(columns.iter().map(cell)));
    }
    table.lines().map(|line| line.trim().to_owned() + "\n").collect()
}

/// The mean round trip of what passed, or how much failed.
fn summary(outcomes: &[&Outcome]) -> String {
    if outcomes.iter().any(|o| !o.failures.is_empty()) {
        let bad = |six: bool| {
            outcomes.iter().any(|o| o.address.is_ipv6() == six && !o.failures.is_empty())
        };
        let has_both = outcomes.iter().any(|o| o.address.is_ipv6())
            && outcomes.iter().any(|o| o.address.is_ipv4());
        return match (has_both, bad(false), bad(true)) {
            (true, true, false) => "FAIL v4",
            (true, false, true) => "FAIL v6",
            _ => "FAIL",
        }
        .to_owned();
    }
    let trips: Vec<_> = outcomes.iter().filter_map(|o| o.round_trip_seconds).collect();
    if trips.is_empty() {
        return "ok".to_owned();
    }
    format!("{:.2}ms", trips.iter().sum::<f64>() / trips.len() as f64 * 1000.0)
}

fn push(text: &mut String, line: &str) {
    writeln!(text, "{}", line.trim_end_matches('\n')).expect("writing to a String cannot fail");
}
