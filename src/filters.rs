//! Tests of filters, as they stand in a file, and what becomes of them.
//!
//! ```yaml
//! apiVersion: brindle.dev/v1
//! kind: FilterTest
//! config: brindle.yaml                    # beside this file
//! tests:
//! - name: routes with the fabric's backup colour are the last choice
//!   peer: tor-a                           # all filters of a peer and direction,
//!   direction: import
//!   # filter: from-fabric                 # or one filter
//!   route: {prefix: 10.9.0.0/16, nextHop: 10.0.0.250, asPath: "65001 65010", communities: ["65001:666"]}
//!   expect: accept
//!   decidedBy: from-fabric rule 5         # counted from one
//!   attributes: {localPref: 50, communities: []}
//! ```

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use brindle_bgp::filter::{
    AnyCommunity, Change, Filter, NextHopChange, PeerType, Route, RouteSource, RuleTrace, Session,
    Verdict, apply, evaluate, next_hop, trace,
};
use brindle_bgp::msg::{AsPath, Attributes};
use brindle_bgp::net::{Asn, Prefix};
use brindle_config::{Bgp, Config};
use serde::Deserialize;
use serde_saphyr::Spanned;

use crate::control::view::{API_VERSION, FilterStep, FilterTestFailure, FilterTestReport};
use crate::expect::{self, BadExpectations};

/// The `kind` of such a file.
pub const KIND: &str = "FilterTest";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RawFile {
    api_version: Spanned<String>,
    kind: Spanned<String>,
    config: Option<String>,
    tests: Vec<Spanned<RawTest>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RawTest {
    name: Spanned<String>,
    filter: Option<Spanned<String>>,
    peer: Option<Spanned<String>>,
    direction: Option<RawDirection>,
    route: RawRoute,
    expect: RawVerdict,
    decided_by: Option<String>,
    attributes: Option<RawAttributes>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
enum RawDirection {
    Import,
    Export,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "camelCase")]
enum RawVerdict {
    Accept,
    Reject,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RawRoute {
    prefix: Spanned<String>,
    next_hop: Option<Spanned<String>>,
    source: Option<RawSource>,
    peer_type: Option<RawPeerType>,
    as_path: Option<Spanned<String>>,
    local_pref: Option<u32>,
    med: Option<u32>,
    #[serde(default)]
    communities: Vec<Spanned<String>>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "camelCase")]
enum RawSource {
    Local,
    Service,
    Mesh,
    Peer,
}

#[derive(Clone, Copy, Deserialize)]
enum RawPeerType {
    #[serde(rename = "eBGP")]
    External,
    #[serde(rename = "iBGP")]
    Internal,
}

/// What is compared; what is left out may be anything.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RawAttributes {
    local_pref: Option<u32>,
    med: Option<RawMed>,
    as_path: Option<Spanned<String>>,
    communities: Option<Vec<Spanned<String>>>,
    next_hop: Option<RawHop>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(untagged, expecting = "a number, or none")]
enum RawMed {
    Number(u32),
    None(NoMed),
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "camelCase")]
enum NoMed {
    None,
}

#[derive(Clone, Copy, Deserialize)]
enum RawHop {
    #[serde(rename = "Self")]
    Own,
    Keep,
}

/// Runs the tests of a file against the filters of a configuration: the one that is named
/// here, or the one that the file names.
///
/// # Errors
/// Everything that is wrong with the file, or with the configuration.
pub fn run(path: &Path, config: Option<&Path>) -> Result<FilterTestReport, BadExpectations> {
    let raw: RawFile = expect::parse(path, &expect::text(path)?)?;
    let mut runner = Runner { path, problems: Vec::new(), failures: Vec::new() };
    for (has, want) in [(&raw.api_version, API_VERSION), (&raw.kind, KIND)] {
        if has.value != want {
            runner.complain(has, &format!("{:?} is not {want}", has.value));
        }
    }
    let beside = |name: &String| path.parent().unwrap_or(Path::new("")).join(name);
    let Some(config): Option<PathBuf> =
        config.map(Path::to_owned).or_else(|| raw.config.as_ref().map(beside))
    else {
        let message = "no configuration: name it there (config: brindle.yaml) or with --config";
        return Err(BadExpectations(vec![format!("{}: {message}", path.display())]));
    };
    let loaded = Config::load(&config).map_err(|errors| {
        BadExpectations(errors.problems().iter().map(ToString::to_string).collect())
    })?;
    let bgp = loaded.config.bgp;
    let mut exercised: BTreeSet<(Arc<str>, usize)> = BTreeSet::new();
    let mut used: Vec<Arc<Filter>> = Vec::new();
    let mut names = BTreeSet::new();
    for test in &raw.tests {
        if !names.insert(test.value.name.value.clone()) {
            let name = &test.value.name;
            runner.complain(name, &format!("two tests are called {:?}", name.value));
        }
        let Some(filters) = runner.test(&bgp, test, &mut exercised) else { continue };
        for filter in filters {
            if !used.iter().any(|known| known.name == filter.name) {
                used.push(filter);
            }
        }
    }
    if !runner.problems.is_empty() {
        return Err(BadExpectations(runner.problems));
    }
    let rules = |filter: &Arc<Filter>| {
        let name = Arc::clone(&filter.name);
        (0..filter.rules.len()).map(move |rule| (Arc::clone(&name), rule))
    };
    let all: Vec<(Arc<str>, usize)> = used.iter().flat_map(rules).collect();
    let never = all.iter().filter(|rule| !exercised.contains(*rule));
    Ok(FilterTestReport {
        file: path.display().to_string(),
        passed: runner.failures.is_empty(),
        checks: raw.tests.len(),
        failures: runner.failures,
        never_exercised: never.map(|(name, rule)| format!("{name} rule {}", rule + 1)).collect(),
        rules: all.len(),
    })
}

/// What a test is about.
struct Subject {
    /// `None`: an external peer without filters, which nothing passes (RFC 8212).
    filters: Option<Vec<Arc<Filter>>>,
    peer_type: PeerType,
    direction: RawDirection,
}

struct Runner<'a> {
    path: &'a Path,
    problems: Vec<String>,
    failures: Vec<FilterTestFailure>,
}

impl Runner<'_> {
    /// Runs one test; the filters that it was about.
    fn test(
        &mut self,
        bgp: &Bgp,
        test: &Spanned<RawTest>,
        exercised: &mut BTreeSet<(Arc<str>, usize)>,
    ) -> Option<Vec<Arc<Filter>>> {
        let raw = &test.value;
        let subject = self.subject(bgp, raw)?;
        let attributes = self.attributes(raw)?;
        let prefix = self.parse::<Prefix>(&raw.route.prefix)?;
        let next_hop_given = match &raw.route.next_hop {
            Some(text) => Some(self.parse::<IpAddr>(text)?),
            None => None,
        };
        let wanted = match &raw.attributes {
            Some(wanted) => Some((wanted, self.wanted(wanted)?)),
            None => None,
        };
        let source = match (raw.route.source, subject.direction) {
            (Some(RawSource::Local), _) | (None, RawDirection::Export) => RouteSource::Local,
            (Some(RawSource::Service), _) => RouteSource::Service,
            (Some(RawSource::Mesh), _) => RouteSource::Mesh,
            (Some(RawSource::Peer), _) | (None, RawDirection::Import) => RouteSource::Peer,
        };
        let peer_type = match raw.route.peer_type {
            Some(RawPeerType::External) => PeerType::External,
            Some(RawPeerType::Internal) => PeerType::Internal,
            None => subject.peer_type,
        };
        let route = Route {
            prefix,
            attributes: &attributes,
            next_hop: next_hop_given,
            interface: None,
            source,
            session: Session { peer_type, asn: bgp.asn },
        };
        let filters = subject.filters.clone().unwrap_or_default();
        let steps = trace(&filters, &route);
        let matched =
            |step: &RuleTrace| Some((Arc::clone(&filters.get(step.filter)?.name), step.rule?));
        exercised.extend(steps.iter().filter_map(matched));

        let decision = evaluate(&filters, &route);
        let verdict = if subject.filters.is_some() { decision.verdict } else { Verdict::Reject };
        let by = match (&subject.filters, decision.by) {
            (None, _) => "an external peer without filters (RFC 8212)".to_owned(),
            (_, None) => "no filter".to_owned(),
            (_, Some((filter, rule))) => {
                let name = filters.get(filter).map(|filter| &*filter.name).unwrap_or_default();
                rule.map_or_else(
                    || format!("{name} otherwise"),
                    |rule| format!("{name} rule {}", rule + 1),
                )
            }
        };
        let expected = match raw.expect {
            RawVerdict::Accept => Verdict::Accept,
            RawVerdict::Reject => Verdict::Reject,
        };
        let mut problems = Vec::new();
        if verdict != expected {
            problems.push(format!("{expected} was expected, {verdict} it is, by {by}"));
        } else if raw.decided_by.as_ref().is_some_and(|wanted| *wanted != by) {
            let wanted = raw.decided_by.as_deref().unwrap_or_default();
            problems.push(format!("{wanted} was expected to decide, {by} did"));
        }
        if let (Some((wanted, texts)), Verdict::Accept) = (wanted, verdict) {
            let mut after = attributes.clone();
            apply(&filters, &decision.matched, &mut after, bgp.asn);
            let hop = next_hop(&filters, &decision.matched);
            problems.extend(differences(wanted, &texts, &after, hop));
        }
        if !problems.is_empty() {
            self.failures.push(FilterTestFailure {
                test: raw.name.value.clone(),
                line: test.referenced.line(),
                problems,
                steps: FilterStep::list(&filters, &attributes, &steps),
            });
        }
        Some(filters)
    }

    fn subject(&mut self, bgp: &Bgp, raw: &RawTest) -> Option<Subject> {
        match (&raw.filter, &raw.peer) {
            (Some(filter), None) => {
                let Some(found) = filter_of(bgp, &filter.value) else {
                    let message =
                        format!("no peer of the configuration uses a filter {:?}", filter.value);
                    self.complain(filter, &message);
                    return None;
                };
                Some(Subject {
                    filters: Some(vec![found]),
                    peer_type: PeerType::External,
                    direction: raw.direction.unwrap_or(RawDirection::Import),
                })
            }
            (None, Some(name)) => {
                let Some(peer) = bgp.peers.iter().find(|peer| *peer.name == *name.value) else {
                    let names: Vec<&str> = bgp.peers.iter().map(|peer| &*peer.name).collect();
                    let message = match names.as_slice() {
                        [] => {
                            format!("there is no peer {:?}: the configuration has none", name.value)
                        }
                        _ => format!(
                            "there is no peer {:?}; it has {}",
                            name.value,
                            names.join(", ")
                        ),
                    };
                    self.complain(name, &message);
                    return None;
                };
                let Some(direction) = raw.direction else {
                    self.complain(name, "direction is missing; accepted: import, export");
                    return None;
                };
                let is_external = peer.asn != bgp.asn;
                let list = match direction {
                    RawDirection::Import => &peer.import,
                    RawDirection::Export => &peer.export,
                };
                let filters = match list {
                    Some(filters) => Some(filters.clone()),
                    None if is_external => None,
                    None => Some(Vec::new()),
                };
                let peer_type = if is_external { PeerType::External } else { PeerType::Internal };
                Some(Subject { filters, peer_type, direction })
            }
            _ => {
                self.complain(&raw.name, "name either a filter, or a peer and a direction");
                None
            }
        }
    }

    fn attributes(&mut self, raw: &RawTest) -> Option<Attributes> {
        let route = &raw.route;
        let mut attributes =
            Attributes { local_pref: route.local_pref, med: route.med, ..Attributes::default() };
        if let Some(path) = &route.as_path {
            attributes.as_path = self.as_path(path)?;
        }
        let communities = self.communities(&route.communities)?;
        let asn = Asn::TRANS; // nothing is prepended
        Change::SetCommunities(communities).apply(&mut attributes, asn);
        Some(attributes)
    }

    /// The AS path and the communities that are expected, as they are shown.
    fn wanted(&mut self, raw: &RawAttributes) -> Option<(Option<String>, Option<Vec<String>>)> {
        let path = match &raw.as_path {
            Some(path) => Some(self.as_path(path)?.to_string()),
            None => None,
        };
        let communities = match &raw.communities {
            Some(texts) => Some(self.communities(texts)?),
            None => None,
        };
        Some((path, communities.map(|all| sorted(all.iter().map(ToString::to_string)))))
    }

    fn as_path(&mut self, text: &Spanned<String>) -> Option<AsPath> {
        let asns: Result<Vec<Asn>, _> = text.value.split_whitespace().map(str::parse).collect();
        match asns {
            Ok(asns) => Some(AsPath::sequence(asns)),
            Err(bad) => {
                self.complain(text, &bad.to_string());
                None
            }
        }
    }

    fn communities(&mut self, texts: &[Spanned<String>]) -> Option<Vec<AnyCommunity>> {
        texts.iter().map(|text| self.parse(text)).collect()
    }

    fn parse<T: std::str::FromStr<Err: std::fmt::Display>>(
        &mut self,
        text: &Spanned<String>,
    ) -> Option<T> {
        text.value
            .parse()
            .map_err(|error: T::Err| self.complain(text, &format!("{:?}: {error}", text.value)))
            .ok()
    }

    fn complain<T>(&mut self, at: &Spanned<T>, message: &str) {
        self.problems.push(expect::problem(self.path, at, message));
    }
}

fn filter_of(bgp: &Bgp, name: &str) -> Option<Arc<Filter>> {
    let lists = bgp.peers.iter().flat_map(|peer| peer.import.iter().chain(&peer.export));
    lists.flatten().find(|filter| *filter.name == *name).cloned()
}

fn sorted(texts: impl Iterator<Item = String>) -> Vec<String> {
    let mut texts: Vec<String> = texts.collect();
    texts.sort();
    texts
}

/// In what the attributes are not as expected.
fn differences(
    wanted: &RawAttributes,
    (path, communities): &(Option<String>, Option<Vec<String>>),
    after: &Attributes,
    hop: Option<NextHopChange>,
) -> Vec<String> {
    fn shown<T: ToString>(value: Option<T>) -> String {
        value.map_or_else(|| "none".to_owned(), |value| value.to_string())
    }
    let mut pairs = Vec::new();
    if let Some(value) = wanted.local_pref {
        pairs.push(("localPref", value.to_string(), shown(after.local_pref)));
    }
    if let Some(value) = wanted.med {
        let value = match value {
            RawMed::Number(value) => Some(value),
            RawMed::None(NoMed::None) => None,
        };
        pairs.push(("med", shown(value), shown(after.med)));
    }
    if let Some(path) = path {
        pairs.push(("asPath", format!("{path:?}"), format!("{:?}", after.as_path.to_string())));
    }
    if let Some(communities) = communities {
        let standard = after.communities.iter().map(ToString::to_string);
        let large = after.large_communities.iter().map(ToString::to_string);
        let extended = after.extended_communities.iter().map(ToString::to_string);
        let has = sorted(standard.chain(large).chain(extended));
        let list = |texts: &[String]| format!("[{}]", texts.join(", "));
        pairs.push(("communities", list(communities), list(&has)));
    }
    if let Some(wanted) = wanted.next_hop {
        let wanted = match wanted {
            RawHop::Own => NextHopChange::SelfAddress,
            RawHop::Keep => NextHopChange::Keep,
        };
        let word = |hop| match hop {
            None => "what nextHopMode says",
            Some(NextHopChange::SelfAddress) => "Self",
            Some(NextHopChange::Keep) => "Keep",
        };
        pairs.push(("nextHop", word(Some(wanted)).to_owned(), word(hop).to_owned()));
    }
    pairs.retain(|(_, wanted, has)| wanted != has);
    let told = |(name, wanted, has)| format!("{name} {wanted} was expected, {has} it is");
    pairs.into_iter().map(told).collect()
}

#[cfg(test)]
mod tests;
