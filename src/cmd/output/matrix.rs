//! Who may reach whom, as a grid; what became of tests.

use std::collections::BTreeSet;
use std::fmt::Write;

use super::text::{Tone, paint};
use crate::control::view::{CellVerdict, Matrix, Outcome, PolicyTestReport, TestFailure};
use crate::visible::visible;

/// A sign a cell, and what the signs mean below.
pub(super) fn screen(matrix: &Matrix, color: bool) -> String {
    const CORNER: &str = "FROM \\ TO";
    let names = matrix.from.iter().map(|group| visible(&group.name).chars().count());
    let first = names.chain([CORNER.len()]).max().unwrap_or(0);
    let mut out = format!("{CORNER:<first$}");
    for group in &matrix.to {
        write!(out, "  {}", visible(&group.name)).expect("a String takes everything");
    }
    out.push('\n');
    let mut seen = BTreeSet::new();
    for (row, group) in matrix.cells.chunks(matrix.to.len().max(1)).zip(&matrix.from) {
        let mut line = format!("{:<first$}", visible(&group.name));
        for (cell, to) in row.iter().zip(&matrix.to) {
            seen.insert(cell.verdict.sign());
            let sign = paint(&cell.verdict.sign().to_string(), tone(cell.verdict), color);
            let rest = visible(&to.name).chars().count().saturating_sub(1);
            write!(line, "  {sign}{:rest$}", "").expect("a String takes everything");
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    let meanings =
        [CellVerdict::Allowed, CellVerdict::Some, CellVerdict::Denied, CellVerdict::Pending];
    let meanings = meanings.into_iter().filter(|verdict| seen.contains(&verdict.sign()));
    let meanings: Vec<String> = meanings
        .map(|verdict| {
            let meaning = match verdict {
                CellVerdict::Allowed => "allowed",
                CellVerdict::Some => "some ports (see -o json, or ask with --port)",
                CellVerdict::Denied => "denied",
                CellVerdict::Pending => "not programmed yet",
            };
            format!("{} {meaning}", verdict.sign())
        })
        .collect();
    writeln!(out, "{}", meanings.join(", ")).expect("a String takes everything");
    out
}

fn tone(verdict: CellVerdict) -> Tone {
    match verdict {
        CellVerdict::Allowed => Tone::Good,
        CellVerdict::Some | CellVerdict::Pending => Tone::Middling,
        CellVerdict::Denied => Tone::Bad,
    }
}

/// Failures first, then what was never exercised, then the count.
pub(super) fn report_screen(report: &PolicyTestReport, color: bool) -> String {
    let mut out = String::new();
    for failure in &report.failures {
        write_failure(&mut out, &report.file, failure, color);
    }
    for rule in &report.never_exercised {
        let name = format!("{} {} rule {}", rule.policy, rule.direction, rule.rule);
        let what = paint("never exercised", Tone::Middling, color);
        writeln!(out, "{what}  {}  {}", visible(&name), visible(&rule.text))
            .expect("a String takes everything");
    }
    let exercised = report.rules.saturating_sub(report.never_exercised.len());
    let result = match report.passed {
        true => paint("passed", Tone::Good, color),
        false => paint("FAILED", Tone::Bad, color),
    };
    writeln!(
        out,
        "{}: {result}, {} checks, {} failed, {exercised} of {} rules exercised",
        visible(&report.file),
        report.checks,
        report.failures.len(),
        report.rules
    )
    .expect("a String takes everything");
    out
}

fn write_failure(out: &mut String, file: &str, failure: &TestFailure, color: bool) {
    let TestFailure { test, line, from, to, port, expected, got, why } = failure;
    let port = port.as_ref().map(|port| format!(" {port}")).unwrap_or_default();
    let what = match got {
        Some(got) if got == expected => format!("{got} as expected, but not by whom"),
        Some(Outcome::Allowed) => format!("expected {expected}, is allowed"),
        Some(Outcome::Denied) => format!("expected {expected}, is denied"),
        None => format!("expected {expected}, cannot be told"),
    };
    let title = paint("FAILED", Tone::Bad, color);
    let text = format!("{file}:{line}  {test}: {from} -> {to}{port}: {what}");
    writeln!(out, "{title}  {}", visible(&text)).expect("a String takes everything");
    for line in why {
        writeln!(out, "    {}", visible(line)).expect("a String takes everything");
    }
}
