//! A flow's verdict as a screen, denied flows as rows.

use std::fmt::Write;

use super::table::{Column, Row, Shown, number, text};
use super::text::{Tone, or_dash, paint};
use crate::control::view::{
    DeniedFlow, Direction, Explanation, FlowEnd, HostAsked, Judgement, KernelVerdict, Outcome,
    PolicyAsked, RuleAsked,
};
use crate::visible::visible;

/// Everything about one flow.
pub(super) fn screen(explained: &Explanation, color: bool) -> String {
    let service = match explained.port {
        Some(port) => format!("{}/{port}", explained.protocol),
        None if explained.protocol == "icmp" => explained.protocol.clone(),
        None => format!("{}, a port that no rule names", explained.protocol),
    };
    let verdict = match explained.verdict {
        Outcome::Allowed => paint("ALLOWED", Tone::Good, color),
        Outcome::Denied => paint("DENIED", Tone::Bad, color),
    };
    let ends = format!("{}  ->  {}", end(&explained.source), end(&explained.destination));
    let mut out = format!("{verdict}  {}  {}\n", visible(&ends), visible(&service));
    if let Some(route) = &explained.route {
        let state = if route.found { "ok" } else { "no route" };
        line(&mut out, "route", &format!("{}: {}", route.node, route.text), Some(state));
    }
    judgement(&mut out, "egress", &explained.egress);
    judgement(&mut out, "ingress", &explained.ingress);
    if let Some(staged) = &explained.staged {
        line(&mut out, "staged", &staged.text, None);
    }
    if let Some(nearest) = &explained.nearest {
        line(&mut out, "nearest", nearest, None);
    }
    for note in &explained.notes {
        line(&mut out, "note", note, None);
    }
    for disagreement in &explained.disagreements {
        let title = paint("ERROR", Tone::Bad, color);
        writeln!(out, "  {title}    {}", visible(disagreement)).expect("a String takes everything");
    }
    out
}

/// Where what belongs to a direction begins.
const INDENT: &str = "           ";
/// How wide the text before a verdict is, if it is not wider.
const WIDTH: usize = 64;

fn line(out: &mut String, title: &str, what: &str, verdict: Option<&str>) {
    let what = visible(what);
    match verdict {
        Some(verdict) => writeln!(out, "  {title:<8} {what:<WIDTH$}  {verdict}"),
        None => writeln!(out, "  {title:<8} {what}"),
    }
    .expect("a String takes everything");
}

fn judgement(out: &mut String, title: &str, judged: &Judgement) {
    let node = judged.node.as_ref().map(|node| format!("{node}: ")).unwrap_or_default();
    line(out, title, &format!("{node}{}", judged.reason), Some(&judged.verdict.to_string()));
    for asked in &judged.host {
        let outcome = asked.verdict.map_or("goes on".to_owned(), |outcome| outcome.to_string());
        let tier = asked.tier.as_ref().map(|tier| format!(" (tier {tier})")).unwrap_or_default();
        let HostAsked { endpoint, direction, stage, reason, .. } = asked;
        let text = format!(
            "HostEndpoint {endpoint}, {direction}, {stage} stage: {outcome}: {reason}{tier}"
        );
        writeln!(out, "{INDENT}{}", visible(&text)).expect("a String takes everything");
        policies(out, &direction.to_string(), &asked.policies, 2);
    }
    policies(out, title, &judged.policies, 0);
    if let Some(kernel) = &judged.kernel {
        writeln!(out, "{INDENT}{}", visible(&kernel_text(kernel)))
            .expect("a String takes everything");
    }
}

/// Policies that were asked, with their rules, `deep` further in than usual.
fn policies(out: &mut String, title: &str, all: &[PolicyAsked], deep: usize) {
    let indent = format!("{INDENT}{:deep$}", "");
    for asked in all {
        let name = match &asked.tier {
            Some(tier) => format!("{} (tier {tier})", asked.policy),
            None => asked.policy.clone(),
        };
        writeln!(out, "{indent}{}", visible(&name)).expect("a String takes everything");
        let width = asked.rules.iter().map(|rule| visible(&rule_text(rule)).chars().count()).max();
        let width = width.unwrap_or(0).min(WIDTH);
        if asked.rules.is_empty() {
            writeln!(out, "{indent}  it has no rules for {title}")
                .expect("a String takes everything");
        }
        for rule in &asked.rules {
            let answer = match (&rule.why_not, rule.matched) {
                (_, true) => "yes".to_owned(),
                (Some(why), false) => format!("no: {why}"),
                (None, false) => "no".to_owned(),
            };
            let text = rule_text(rule);
            let (index, text, answer) = (rule.rule, visible(&text), visible(&answer));
            writeln!(out, "{indent}  rule {index}  {text:<width$}  {answer}")
                .expect("a String takes everything");
        }
        if let Some(end) = &asked.tier_end {
            writeln!(out, "{indent}  {}", visible(end)).expect("a String takes everything");
        }
    }
}

/// What a rule matches, after what it does unless it allows.
fn rule_text(rule: &RuleAsked) -> String {
    match &rule.action {
        Some(action) => format!("{action} {}", rule.text),
        None => rule.text.clone(),
    }
}

/// `chain BRN-I-4f1c  rule 3 DROP  1204 packets, 72 KB`.
fn kernel_text(kernel: &KernelVerdict) -> String {
    let mut text = format!("chain {}  ", kernel.chain);
    if let Some(rule) = kernel.rule {
        write!(text, "rule {rule} ").expect("a String takes everything");
    }
    text.push_str(&kernel.target);
    if let Some(packets) = kernel.packets {
        let plural = if packets == 1 { "" } else { "s" };
        write!(text, "  {packets} packet{plural}").expect("a String takes everything");
    }
    text
}

fn end(end: &FlowEnd) -> String {
    match (&end.name, &end.node) {
        (Some(name), Some(node)) if *name != format!("node/{node}") => {
            format!("{name} ({}, {node})", end.address)
        }
        (Some(name), _) => format!("{name} ({})", end.address),
        (None, Some(node)) => format!("{} ({node})", end.address),
        (None, None) => end.address.to_string(),
    }
}

impl Shown for DeniedFlow {
    fn columns(is_wide: bool) -> Vec<Column> {
        let mut columns =
            vec![text("TIME"), text("VERDICT"), text("SIDE"), text("FROM"), text("TO")];
        columns.extend([text("PROTOCOL"), text("BY")]);
        if is_wide {
            columns.push(text("REASON"));
        }
        columns.push(number("COUNT"));
        columns
    }

    fn rows(&self, is_wide: bool) -> Vec<Row> {
        let side = match self.direction {
            Direction::Ingress => "in",
            Direction::Egress => "out",
        };
        let by = match (&self.policy, self.rule) {
            (Some(policy), Some(rule)) => format!("{policy} rule {rule}"),
            (Some(policy), None) => format!("{policy} (no rule)"),
            (None, _) => self.reason.clone(),
        };
        let mut cells = vec![
            self.at.to_string(),
            self.outcome.to_string(),
            side.to_owned(),
            end_with_port(&self.source, self.source_port),
            end_with_port(&self.destination, self.destination_port),
            self.protocol.clone(),
            by,
        ];
        if is_wide {
            cells.push(self.reason.clone());
        }
        cells.push(format!("x{}", self.count));
        vec![Row::new(cells)]
    }

    fn name(&self) -> String {
        self.sequence.to_string()
    }
}

fn end_with_port(end: &FlowEnd, port: Option<u16>) -> String {
    let port = or_dash(port);
    let port = if port == "-" { String::new() } else { format!(":{port}") };
    let node = end.node.as_ref().map(|node| format!("node/{node}"));
    match end.name.as_ref().or(node.as_ref()) {
        Some(name) => format!("{name}{port}"),
        None if end.address.is_ipv6() && !port.is_empty() => format!("[{}]{port}", end.address),
        None => format!("{}{port}", end.address),
    }
}
