//! The node on one screen, its configuration, a reload.

use std::fmt::Write;

use super::text::{Tone, age, list, paint};
use crate::control::view::{
    BgpStatus, Config, ConfigStatus, Forwarding, HeldDeletions, KernelStatus, KubernetesSource,
    PolicyStatus, Reload, ReloadResult, SourceError, SourceStatus, Status,
};
use crate::visible::{visible, visible_lines};

/// The node on one screen: what is wrong comes last, where a reader looks first.
pub(super) fn screen(status: &Status, color: bool) -> String {
    let addresses = list(status.addresses.iter().map(|chosen| chosen.address));
    let health = match status.healthy {
        true => paint("healthy", Tone::Good, color),
        false => paint("unhealthy", Tone::Bad, color),
    };
    let mut out = format!(
        "brindle {} on {} ({addresses})   {health}   up {}   forwarding: {}\n",
        visible(&status.version),
        visible(&status.node),
        age(status.uptime_seconds),
        forwarding(status),
    );
    let mut line = |title: &str, what: &str, see: Option<String>| {
        let see = see.map(|command| format!("   see: {command}")).unwrap_or_default();
        writeln!(out, "  {title:<11}{}{}", visible(what), visible(&see))
            .expect("a String takes everything");
    };
    for chosen in &status.addresses {
        line("Address", &format!("{}: {}", chosen.address, chosen.reason), None);
    }
    line("Pod CIDRs", &list(&status.pod_cidrs), None);
    line("Config", &config(&status.config), None);
    match &status.source {
        Some(source @ SourceStatus { kubernetes: Some(way), .. }) => {
            line("Kubernetes", &kubernetes(source, way), None);
            if let Some(kinds) = not_served(way) {
                line("", &kinds, None);
            }
            way.warnings.iter().for_each(|warning| line("", warning, None));
        }
        Some(files) => line("Source", &source(files), None),
        None => {}
    }
    match &status.bgp {
        Some(speaker) => {
            let (sessions, see) = bgp(speaker);
            line("BGP", &sessions, see);
            speaker.bmp.iter().for_each(|station| line("BMP", &super::bmp::line(station), None));
        }
        None => line("BGP", "off (bgp.enabled: false); routes are left to others", None),
    }
    let mut spread: Vec<String> = status
        .hash_policy
        .iter()
        .map(|family| match &family.before {
            Some(before) => format!("{} by {} (was {before})", family.family, family.by),
            None => format!("{} by {}", family.family, family.by),
        })
        .collect();
    spread.extend(status.resilient.as_ref().map(|resilient| match &resilient.refused {
        Some(why) => format!("not resilient, as the kernel has no such groups: {why}"),
        None if resilient.groups == 1 => "resilient, 1 group".to_owned(),
        None => format!("resilient, {} groups", resilient.groups),
    }));
    if !spread.is_empty() {
        line("Multipath", &list(spread), None);
    }
    if let Some(what) = status.drain.as_ref().and_then(super::drain::status) {
        line("Drain", &what, None);
    }
    let many = status.routes.len() > 1;
    for routes in &status.routes {
        let family = if many { format!("{}: ", routes.family) } else { String::new() };
        let what = format!(
            "{family}{} learned, {} our own, {} wanted, {} installed, {} refused",
            routes.learned, routes.originated, routes.wanted, routes.installed, routes.refused
        );
        let see = (routes.refused > 0).then(|| "brindle routes rejected".to_owned());
        line("Routes", &what, see);
    }
    if let Some(routes) = &status.kernel {
        let what = kernel(routes);
        let see = (routes.drifted + routes.conflicts > 0).then(|| "brindle routes diff".to_owned());
        line("Kernel", &what, see);
    }
    for warning in &status.telemetry.warnings {
        line("Telemetry", warning, None);
    }
    if let Some(policy) = &status.policy {
        let see = (policy.programmed < policy.endpoints).then(|| "brindle endpoints".to_owned());
        line("Policy", &policy_half(policy), see);
    }
    for problem in &status.problems {
        let area = paint(&visible(&problem.area), Tone::Bad, color);
        let (what, next) = (visible(&problem.what), visible(&problem.next));
        writeln!(out, "{area}: {what}\n  {next}").expect("a String takes everything");
    }
    out
}

fn kernel(kernel: &KernelStatus) -> String {
    let mut what = format!("{} drifted, {} stale", kernel.drifted, kernel.stale);
    for (count, name) in [(kernel.repairs, "repaired"), (kernel.overruns, "overruns")] {
        if count > 0 {
            write!(what, ", {count} {name}").expect("a String takes everything");
        }
    }
    if kernel.guarded > 0 {
        write!(what, ", {} guarded against loops", kernel.guarded)
            .expect("a String takes everything");
    }
    if kernel.conflicts > 0 {
        write!(what, ", {} held by others", kernel.conflicts).expect("a String takes everything");
    }
    if !kernel.install {
        what.push_str(", routes are not installed (routes.install: false)");
    }
    if !kernel.ready {
        what.push_str(", the kernel's table is not read yet");
    }
    if let Some(error) = &kernel.last_error {
        write!(what, "; last failure: {error}").expect("a String takes everything");
    }
    what
}

fn forwarding(status: &Status) -> String {
    let words: Vec<(String, &str)> = status
        .forwarding
        .iter()
        .map(|family| {
            let word = match family.state {
                Forwarding::Unknown => "unknown",
                Forwarding::Off => "NO",
                Forwarding::On => "yes",
                Forwarding::SwitchedOn => "yes (switched on by us)",
            };
            (family.family.to_string(), word)
        })
        .collect();
    match words.as_slice() {
        [] => "-".to_owned(),
        [(_, first), rest @ ..] if rest.iter().all(|(_, word)| word == first) => {
            (*first).to_owned()
        }
        _ => list(words.iter().map(|(family, word)| format!("{family} {word}"))),
    }
}

fn config(config: &ConfigStatus) -> String {
    let files = if config.files.is_empty() { "defaults".to_owned() } else { list(&config.files) };
    let state = match (config.stale, config.errors.as_slice()) {
        (false, _) => "current".to_owned(),
        (true, [first, ..]) => format!("STALE, newer files were refused: {first}"),
        (true, []) => "STALE, newer files were refused".to_owned(),
    };
    format!("{files}  loaded {} ago, {state}", age(config.loaded_seconds))
}

/// The kinds that the API server does not have, if there are some.
fn not_served(way: &KubernetesSource) -> Option<String> {
    let missing = way.resources.iter().filter(|one| one.served == Some(false));
    let mut missing = missing.map(|one| one.resource.as_str()).peekable();
    missing.peek()?;
    Some(format!("not served: {}", list(missing)))
}

fn source(source: &SourceStatus) -> String {
    let sync = if source.in_sync { "in sync" } else { "NOT in sync yet" };
    let mut text = format!("{} {}  {sync}, {} nodes", source.kind, source.path, source.nodes);
    let usual = [(source.pods, "pods"), (source.policies, "policies")];
    text.push_str(&counted(usual.into_iter().chain(others(source))));
    if let Some(ago) = source.changed_seconds {
        write!(text, ", last change {} ago", age(ago)).expect("a String takes everything");
    }
    if let [first, rest @ ..] = source.errors.as_slice() {
        write!(text, "; {}", source_error(first)).expect("a String takes everything");
        if !rest.is_empty() {
            write!(text, " (and {} more)", rest.len()).expect("a String takes everything");
        }
    }
    text
}

/// What not every cluster has.
fn others(source: &SourceStatus) -> [(usize, &'static str); 3] {
    [
        (source.tiers, "tiers"),
        (source.network_sets, "network sets"),
        (source.host_endpoints, "host endpoints"),
    ]
}

/// `, 2 tiers, 1 host endpoints`: those that there are any of.
fn counted(counts: impl IntoIterator<Item = (usize, &'static str)>) -> String {
    let some = counts.into_iter().filter(|(count, _)| *count > 0);
    some.map(|(count, what)| format!(", {count} {what}")).collect()
}

/// `connected, in sync 2s ago (12 nodes, 418 pods, 37 policies)`.
fn kubernetes(source: &SourceStatus, way: &KubernetesSource) -> String {
    let connected = if way.connected { "connected" } else { "NOT connected" };
    let sync = match (source.in_sync, way.heard_seconds) {
        (true, Some(ago)) => format!("in sync {} ago", age(ago)),
        (true, None) => "in sync".to_owned(),
        (false, _) => "NOT in sync yet".to_owned(),
    };
    let SourceStatus { nodes, pods, policies, .. } = source;
    let more = counted(others(source));
    let mut text =
        format!("{connected}, {sync} ({nodes} nodes, {pods} pods, {policies} policies{more})");
    for held in &way.held {
        let (HeldDeletions { count, of, resource, .. }, left) = (held, age(held.until_seconds));
        write!(text, ", {count} of {of} {resource} missing and kept for {left} more")
            .expect("a String takes everything");
    }
    let mut troubles = way.resources.iter().filter_map(|resource| resource.error.as_deref());
    if let Some(first) = troubles.next() {
        write!(text, "; {first}").expect("a String takes everything");
        let more = troubles.count();
        if more > 0 {
            write!(text, " (and {more} more)").expect("a String takes everything");
        }
    }
    if let [first, rest @ ..] = source.errors.as_slice() {
        write!(text, "; {}", source_error(first)).expect("a String takes everything");
        if !rest.is_empty() {
            write!(text, " (and {} more)", rest.len()).expect("a String takes everything");
        }
    }
    text
}

fn source_error(error: &SourceError) -> String {
    let line = error.line.map(|line| format!(":{line}")).unwrap_or_default();
    let document = error.document.map(|number| format!(" document {number}")).unwrap_or_default();
    format!("{}{line}{document}: {}", error.file, error.message)
}

fn bgp(bgp: &BgpStatus) -> (String, Option<String>) {
    let mut text = format!(
        "AS {}, router id {}  {}/{} established",
        bgp.as_number, bgp.router_id, bgp.established, bgp.peers
    );
    if let Some(reason) = bgp.as_number_reason.as_ref().filter(|reason| *reason != "bgp.asNumber") {
        text = text.replacen(',', &format!(" ({reason}),"), 1);
    }
    if let Some(cluster) = &bgp.route_reflector {
        write!(text, ", reflector of cluster {cluster}").expect("a String takes everything");
    }
    for (names, word) in [(&bgp.down, "down"), (&bgp.disabled, "disabled")] {
        if !names.is_empty() {
            // Not all of a large mesh: the first few say where to look.
            let shown = list(names.iter().take(3));
            let more = if names.len() > 3 { ", ..." } else { "" };
            write!(text, ", {} {word} ({shown}{more})", names.len())
                .expect("a String takes everything");
        }
    }
    let see = match bgp.down.as_slice() {
        [] => None,
        [only] => Some(format!("brindle peers {only}")),
        _ => Some("brindle peers".to_owned()),
    };
    (text, see)
}

/// `iptables-nft, 31/31 pods programmed, p99 apply 84ms, last repair 2d ago`.
fn policy_half(policy: &PolicyStatus) -> String {
    let backend = policy.backend.as_deref().unwrap_or("no iptables yet");
    let mut text = format!("{backend}, {}/{} pods programmed", policy.programmed, policy.endpoints);
    if !policy.ready {
        text.push_str(", NOT in the kernel yet");
    }
    if let Some(seconds) = policy.apply_p99_seconds {
        let milliseconds = seconds * 1000.0;
        write!(text, ", p99 apply {milliseconds:.0}ms").expect("a String takes everything");
    }
    match (policy.last_repair_seconds, &policy.last_repair_reason) {
        (Some(ago), Some(reason)) => write!(text, ", last repair {} ago: {reason}", age(ago)),
        (Some(ago), None) => write!(text, ", last repair {} ago", age(ago)),
        (None, _) => Ok(()),
    }
    .expect("a String takes everything");
    if !policy.broken.is_empty() {
        write!(text, ", {} not installed: {}", policy.broken.len(), list(&policy.broken))
            .expect("a String takes everything");
    }
    text
}

/// The configuration in force as it would stand in a file.
pub(super) fn config_screen(view: &Config) -> String {
    let mut text = format!("# {}\n", visible(&config(&view.status)));
    text.push_str(&visible_lines(&view.yaml));
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text
}

/// What a reload did.
pub(super) fn reload_screen(reload: &Reload) -> String {
    let files = list(&reload.files);
    let mut out = match reload.result {
        ReloadResult::Applied => format!("{}: in force\n", visible(&files)),
        ReloadResult::Unchanged => format!("{}: nothing changed\n", visible(&files)),
        ReloadResult::Refused => String::new(),
    };
    for change in &reload.changes {
        writeln!(out, "  {}", visible(change)).expect("a String takes everything");
    }
    for key in &reload.needs_restart {
        let key = visible(key);
        writeln!(
            out,
            "  {key} takes effect when the agent starts again: systemctl restart brindle"
        )
        .expect("a String takes everything");
    }
    for error in &reload.errors {
        writeln!(out, "{}", visible(error)).expect("a String takes everything");
    }
    if reload.result == ReloadResult::Refused {
        let errors = match reload.errors.len() {
            1 => "1 error".to_owned(),
            many => format!("{many} errors"),
        };
        writeln!(out, "{errors}. The running configuration is unchanged.")
            .expect("a String takes everything");
    }
    out
}
