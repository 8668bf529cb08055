//! Policies, endpoints, counters and findings as rows; one policy and one pod as screens.

use std::fmt::Write;

use brindle_policy::model::DEFAULT_TIER;

use super::table::{Column, Row, Shown, number, text};
use super::text::{Tone, amount, list, or_dash, paint};
use crate::control::view::{
    Direction, Endpoint, EndpointState, Finding, Level, PodPolicies, Policy, PolicyState, RuleHits,
};
use crate::visible::visible;

impl Shown for Policy {
    fn columns(is_wide: bool) -> Vec<Column> {
        let mut columns = vec![text("NAMESPACE"), text("NAME"), text("KIND")];
        columns.extend([text("TIER"), text("ORDER"), text("FOR")]);
        if is_wide {
            columns.push(text("DIRECTIONS"));
        }
        columns.extend([number("GOVERNS"), number("RULES"), text("STATE"), text("PROBLEM")]);
        columns
    }

    fn rows(&self, is_wide: bool) -> Vec<Row> {
        let mut cells =
            vec![or_dash(self.namespace.as_ref()), self.name.clone(), self.kind.clone()];
        cells.extend([self.tier.clone(), or_dash(self.order), self.subject.clone()]);
        if is_wide {
            cells.push(list(&self.directions));
        }
        cells.extend([self.governs.to_string(), self.rules.len().to_string()]);
        let column = cells.len();
        cells.extend([self.state.to_string(), problem(self)]);
        let tone = match self.state {
            PolicyState::Active => Tone::Good,
            PolicyState::Unused | PolicyState::Partial | PolicyState::Staged => Tone::Middling,
            PolicyState::Invalid | PolicyState::UnknownTier => Tone::Bad,
        };
        vec![Row::new(cells).tone(column, tone)]
    }

    fn name(&self) -> String {
        self.full_name()
    }
}

/// The worst of what is wrong with it; `-` if nothing is.
fn problem(policy: &Policy) -> String {
    if let Some(why) = &policy.broken {
        return format!("not installed: {why}");
    }
    match policy.problems.as_slice() {
        [] => "-".to_owned(),
        [only] => field_problem(&only.field, &only.message),
        [first, rest @ ..] => {
            format!("{} (and {} more)", field_problem(&first.field, &first.message), rest.len())
        }
    }
}

fn field_problem(field: &str, message: &str) -> String {
    if field.is_empty() { message.to_owned() } else { format!("{field}: {message}") }
}

/// Everything about one policy.
pub(super) fn screen(policy: &Policy, color: bool) -> String {
    let mut out = format!("{} {}\n", visible(&policy.kind), visible(&policy.full_name()));
    let mut line = |title: &str, value: &str| {
        writeln!(out, "  {title:<9}{}", visible(value)).expect("a String takes everything");
    };
    line("for", &policy.subject);
    let order = policy.order.map(|order| format!(", order {order}")).unwrap_or_default();
    line("tier", &format!("{}{order}", policy.tier));
    match policy.state {
        PolicyState::Active => {}
        PolicyState::Unused => line("state", "unused: nothing that there is fits it"),
        PolicyState::Partial => line("state", "partial: what is not understood allows nothing"),
        PolicyState::Invalid => line("state", "invalid: allows nothing until it is mended"),
        PolicyState::Staged => line("state", "staged: reported, not enforced"),
        PolicyState::UnknownTier => line("state", "not enforced: there is no such tier"),
    }
    line("governs", &format!("{}: {}", policy.governs, list(&policy.endpoints)));
    for direction in [Direction::Ingress, Direction::Egress] {
        let title = direction.to_string();
        if !policy.directions.contains(&direction) {
            line(&title, "not governed");
            continue;
        }
        let rules: Vec<_> = policy.rules.iter().filter(|r| r.direction == direction).collect();
        if rules.is_empty() {
            line(&title, "no rules: allows nothing");
        }
        for (index, rule) in rules.iter().enumerate() {
            let title = if index == 0 { title.as_str() } else { "" };
            line(title, &format!("rule {}  {}  {}", rule.rule, rule.action, rule.text));
        }
    }
    let problems = policy.problems.iter().map(|p| field_problem(&p.field, &p.message));
    let broken = policy.broken.iter().map(|why| format!("not installed on this node: {why}"));
    for problem in broken.chain(problems) {
        let title = paint("PROBLEM", Tone::Bad, color);
        writeln!(out, "  {title}  {}", visible(&problem)).expect("a String takes everything");
    }
    out
}

/// The policies that govern one pod.
pub(super) fn pod_screen(pod: &PodPolicies, color: bool) -> String {
    let node = pod.node.as_deref().unwrap_or("not scheduled");
    let mut out = format!("{} ({}, {})\n", visible(&pod.pod), list(&pod.addresses), visible(node));
    if let Some(why) = &pod.no_endpoint {
        writeln!(out, "  no policy governs it: {}", visible(why))
            .expect("a String takes everything");
        return out;
    }
    for (title, policies, direction) in
        [("ingress", &pod.ingress, Direction::Ingress), ("egress", &pod.egress, Direction::Egress)]
    {
        if policies.is_empty() {
            let open = paint("open", Tone::Good, color);
            writeln!(out, "  {title:<8} {open}: no policy governs it")
                .expect("a String takes everything");
            continue;
        }
        if policies.iter().all(|policy| policy.kind == "NetworkPolicy") {
            let closed = paint("closed", Tone::Middling, color);
            writeln!(out, "  {title:<8} {closed} but for what these allow:")
                .expect("a String takes everything");
        } else {
            writeln!(out, "  {title:<8} the first of these rules that matches decides:")
                .expect("a String takes everything");
        }
        let has_tiers = policies.iter().any(|policy| policy.tier != DEFAULT_TIER);
        for policy in policies {
            let mut name = format!("{} {}", policy.kind, policy.full_name());
            if has_tiers {
                write!(name, " (tier {})", policy.tier).expect("a String takes everything");
            }
            writeln!(out, "    {}", visible(&name)).expect("a String takes everything");
            for rule in policy.rules.iter().filter(|rule| rule.direction == direction) {
                let text = format!("rule {}  {}  {}", rule.rule, rule.action, rule.text);
                writeln!(out, "      {}", visible(&text)).expect("a String takes everything");
            }
        }
    }
    for name in &pod.staged {
        writeln!(out, "  staged   {}: reported, not enforced", visible(name))
            .expect("a String takes everything");
    }
    out
}

impl Shown for Endpoint {
    fn columns(is_wide: bool) -> Vec<Column> {
        let mut columns = vec![
            text("POD"),
            text("ADDRESSES"),
            text("INTERFACE"),
            text("STATE"),
            number("INGRESS"),
            number("EGRESS"),
        ];
        if is_wide {
            columns.extend([text("INGRESS CHAIN"), text("EGRESS CHAIN")]);
        }
        columns.push(text("PROBLEM"));
        columns
    }

    fn rows(&self, is_wide: bool) -> Vec<Row> {
        let mut cells = vec![
            self.pod.clone(),
            list(&self.addresses),
            or_dash(self.interface.as_ref()),
            self.state.to_string(),
            self.ingress_policies.to_string(),
            self.egress_policies.to_string(),
        ];
        if is_wide {
            cells.extend([self.ingress_chain.clone(), self.egress_chain.clone()]);
        }
        cells.push(or_dash(self.problem.as_ref()));
        let tone = match self.state {
            EndpointState::Programmed => Tone::Good,
            EndpointState::Pending | EndpointState::Failed | EndpointState::Unused => Tone::Bad,
        };
        vec![Row::new(cells).tone(3, tone)]
    }

    fn name(&self) -> String {
        self.pod.clone()
    }
}

impl Shown for RuleHits {
    fn columns(is_wide: bool) -> Vec<Column> {
        let mut columns = vec![text("POLICY"), text("DIRECTION"), number("RULE")];
        columns.extend([number("PACKETS"), number("BYTES")]);
        if is_wide {
            columns.push(number("KERNEL RULES"));
        }
        columns.extend([text("NOTE"), text("MATCHES")]);
        columns
    }

    fn rows(&self, is_wide: bool) -> Vec<Row> {
        let note = match (self.is_unused(), self.kernel_rules) {
            (_, 0) => "matches nothing here",
            (true, _) => "never hit",
            (false, _) => "-",
        };
        let mut cells =
            vec![self.policy.clone(), self.direction.to_string(), self.rule.to_string()];
        cells.extend([amount(self.packets), amount(self.bytes)]);
        if is_wide {
            cells.push(self.kernel_rules.to_string());
        }
        let column = cells.len();
        cells.extend([note.to_owned(), self.text.clone()]);
        let tone = if self.is_unused() { Tone::Middling } else { Tone::Good };
        vec![Row::new(cells).tone(column, tone)]
    }

    fn name(&self) -> String {
        format!("{} {} {}", self.policy, self.direction, self.rule)
    }
}

impl Shown for Finding {
    fn columns(_: bool) -> Vec<Column> {
        vec![text("OBJECT"), text("LEVEL"), text("CHECK"), text("WHAT"), text("FIX")]
    }

    fn rows(&self, _: bool) -> Vec<Row> {
        let tone = match self.level {
            Level::Error => Tone::Bad,
            Level::Warning => Tone::Middling,
        };
        let what = field_problem(&self.field, &self.message);
        let cells = [
            self.object.clone(),
            self.level.to_string(),
            self.check.clone(),
            what,
            if self.fix.is_empty() { "-".to_owned() } else { self.fix.clone() },
        ];
        vec![Row::new(cells).tone(1, tone)]
    }

    fn name(&self) -> String {
        self.object.clone()
    }
}
