//! Tests of filters, as they stand in a file, and what becomes of them.
//!
//! ```yaml
//! apiVersion: brindle.dev/v1
//! kind: FilterTest
//! config: brindle.yaml                    # beside this file
//! # manifests: bgp/                       # where BGPFilters are
//! tests:
//! - name: routes with the fabric's backup colour are the last choice
//!   peer: tor-a                           # all filters of a peer and direction,
//!   direction: import
//!   # filter: from-fabric                 # or one filter
//!   # bgpFilter: fabric                   # or a BGPFilter and a direction
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
use brindle_bgp::msg::{AsPath, Attributes, ExtendedCommunity};
use brindle_bgp::net::{Asn, Prefix};
use brindle_bgp::rib::{DEFAULT_LOCAL_PREF, prefer_last_if_going};
use brindle_config::{Bgp, Config, PeerAs};
use serde::Deserialize;
use serde_saphyr::Spanned;

use crate::cluster;
use crate::cluster::bgp::{BgpObjects, Direction};
use crate::cluster::files::{self, FileProblem};
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
    manifests: Option<String>,
    tests: Vec<Spanned<RawTest>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RawTest {
    name: Spanned<String>,
    filter: Option<Spanned<String>>,
    bgp_filter: Option<Spanned<String>>,
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
    interface: Option<String>,
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
/// here, or the one that the file names; and against BGPFilters of the manifests that it names.
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
    let manifests = raw.manifests.as_ref().map(beside);
    let config: Option<PathBuf> =
        config.map(Path::to_owned).or_else(|| raw.config.as_ref().map(beside));
    if config.is_none() && manifests.is_none() {
        let message = "no configuration: name it there (config: brindle.yaml) or with --config; or \
                       a folder with BGPFilters (manifests: bgp/)";
        return Err(BadExpectations(vec![format!("{}: {message}", path.display())]));
    }
    let bgp = match &config {
        Some(config) => match Config::load(config) {
            Ok(loaded) => loaded.config.bgp,
            Err(errors) => {
                let problems = errors.problems().iter().map(ToString::to_string);
                return Err(BadExpectations(problems.collect()));
            }
        },
        None => Config::default().bgp,
    };
    let objects = manifests.as_deref().map(objects).transpose()?.unwrap_or_default();
    let asked = Asked { bgp, objects };
    let mut exercised: BTreeSet<(Arc<str>, usize)> = BTreeSet::new();
    let mut used: Vec<Arc<Filter>> = Vec::new();
    let mut names = BTreeSet::new();
    for test in &raw.tests {
        if !names.insert(test.value.name.value.clone()) {
            let name = &test.value.name;
            runner.complain(name, &format!("two tests are called {:?}", name.value));
        }
        let Some(filters) = runner.test(&asked, test, &mut exercised) else { continue };
        for filter in filters {
            if !used.contains(&filter) {
                used.push(filter);
            }
        }
    }
    if !runner.problems.is_empty() {
        return Err(BadExpectations(runner.problems));
    }
    let rules = |filter: &Arc<Filter>| -> Vec<(Arc<str>, usize)> {
        (0..filter.rules.len()).map(|rule| place(filter, rule)).collect()
    };
    let mut all: Vec<(Arc<str>, usize)> = used.iter().flat_map(rules).collect();
    // A rule of a BGPFilter may have come down to several in a row.
    all.dedup();
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

/// Where a rule stands for the operator.
fn place(filter: &Filter, rule: usize) -> (Arc<str>, usize) {
    let (list, place) = filter.place(rule);
    (Arc::clone(list), place)
}

/// What tests may be about.
struct Asked {
    bgp: Bgp,
    objects: BgpObjects,
}

/// The objects about BGP in a folder or file of manifests.
fn objects(path: &Path) -> Result<BgpObjects, BadExpectations> {
    if let Err(error) = std::fs::metadata(path) {
        return Err(BadExpectations(vec![format!("{}: {error}", path.display())]));
    }
    let (changes, problems) = files::read_once(path);
    // What else is wrong there is others' business.
    let is_ours = |problem: &&FileProblem| {
        problem.object.as_ref().is_none_or(|object| object.starts_with("BGPFilter/"))
    };
    let problems: Vec<String> = problems.iter().filter(is_ours).map(ToString::to_string).collect();
    if !problems.is_empty() {
        return Err(BadExpectations(problems));
    }
    let mut objects = BgpObjects::default();
    for change in changes {
        if let cluster::Change::BgpApplied(object) = change {
            objects.apply(object);
        }
    }
    Ok(objects)
}

/// What a test is about.
struct Subject {
    /// `None`: an external peer without filters, which nothing passes (RFC 8212).
    filters: Option<Vec<Arc<Filter>>>,
    peer_type: PeerType,
    /// Our AS on the session.
    asn: Asn,
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
        asked: &Asked,
        test: &Spanned<RawTest>,
        exercised: &mut BTreeSet<(Arc<str>, usize)>,
    ) -> Option<Vec<Arc<Filter>>> {
        let raw = &test.value;
        let subject = self.subject(asked, raw)?;
        let mut attributes = self.attributes(raw)?;
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
        arrive(&mut attributes, subject.direction, peer_type, source);
        let route = Route {
            prefix,
            attributes: &attributes,
            next_hop: next_hop_given,
            interface: raw.route.interface.as_deref(),
            source,
            session: Session { peer_type, asn: subject.asn },
        };
        let filters = subject.filters.clone().unwrap_or_default();
        let steps = trace(&filters, &route);
        let matched = |step: &RuleTrace| Some(place(filters.get(step.filter)?, step.rule?));
        exercised.extend(steps.iter().filter_map(matched));

        let decision = evaluate(&filters, &route);
        let verdict = if subject.filters.is_some() { decision.verdict } else { Verdict::Reject };
        let by = match (&subject.filters, decision.by) {
            (None, _) => "an external peer without filters (RFC 8212)".to_owned(),
            (_, None) => "no filter".to_owned(),
            (_, Some((filter, rule))) => match (filters.get(filter), rule) {
                (Some(filter), Some(rule)) => {
                    let (name, rule) = place(filter, rule);
                    format!("{name} rule {}", rule + 1)
                }
                (filter, _) => {
                    format!("{} otherwise", filter.map(|one| &*one.name).unwrap_or_default())
                }
            },
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
            apply(&filters, &decision.matched, &mut after, subject.asn);
            if matches!(subject.direction, RawDirection::Import) {
                prefer_last_if_going(&mut after);
            }
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

    fn subject(&mut self, asked: &Asked, raw: &RawTest) -> Option<Subject> {
        match (&raw.filter, &raw.bgp_filter, &raw.peer) {
            (Some(filter), None, None) => {
                let Some(found) = filter_of(&asked.bgp, &filter.value) else {
                    let message =
                        format!("no peer of the configuration uses a filter {:?}", filter.value);
                    self.complain(filter, &message);
                    return None;
                };
                Some(Subject {
                    filters: Some(vec![found]),
                    peer_type: PeerType::External,
                    asn: asked.bgp.asn,
                    direction: raw.direction.unwrap_or(RawDirection::Import),
                })
            }
            (None, Some(name), None) => {
                let direction = self.direction(name, raw)?;
                let way = match direction {
                    RawDirection::Import => Direction::Import,
                    RawDirection::Export => Direction::Export,
                };
                let Some(found) = asked.objects.filter(&name.value, way) else {
                    let message = format!("there is no BGPFilter {:?} in manifests", name.value);
                    self.complain(name, &message);
                    return None;
                };
                Some(Subject {
                    filters: Some(vec![found]),
                    peer_type: PeerType::External,
                    asn: asked.bgp.asn,
                    direction,
                })
            }
            (None, None, Some(name)) => self.peer(&asked.bgp, name, raw),
            _ => {
                let message = "name either a filter, or a peer and a direction, or a bgpFilter \
                               and a direction";
                self.complain(&raw.name, message);
                None
            }
        }
    }

    /// All filters of a peer, or of a group of dynamic peers, in a direction.
    fn peer(&mut self, bgp: &Bgp, name: &Spanned<String>, raw: &RawTest) -> Option<Subject> {
        let groups = bgp.dynamic.iter().map(|group| {
            let ours = group.peer.local_asn.unwrap_or(bgp.asn);
            (&group.peer, group.asn.example(ours))
        });
        let mut peers = bgp.peers.iter().map(|peer| (peer, peer.asn)).chain(groups);
        let Some((peer, asn)) = peers.find(|(peer, _)| *peer.name == *name.value) else {
            let groups = bgp.dynamic.iter().map(|group| &group.peer);
            let names: Vec<&str> = bgp.peers.iter().chain(groups).map(|peer| &*peer.name).collect();
            let message = match names.as_slice() {
                [] => format!("there is no peer {:?}: the configuration has none", name.value),
                _ => format!("there is no peer {:?}; it has {}", name.value, names.join(", ")),
            };
            self.complain(name, &message);
            return None;
        };
        let direction = self.direction(name, raw)?;
        let ours = peer.local_asn.unwrap_or(bgp.asn);
        let is_external = match peer.asn_word {
            Some(word) => word == PeerAs::External,
            None => asn != ours,
        };
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
        Some(Subject { filters, peer_type, asn: ours, direction })
    }

    fn direction(&mut self, at: &Spanned<String>, raw: &RawTest) -> Option<RawDirection> {
        if raw.direction.is_none() {
            self.complain(at, "direction is missing; accepted: import, export");
        }
        raw.direction
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

/// What is done to attributes before the first filter sees them: on import there is a LOCAL_PREF,
/// and what does not leave an AS is gone on the way out of it.
fn arrive(
    attributes: &mut Attributes,
    direction: RawDirection,
    peer_type: PeerType,
    source: RouteSource,
) {
    match (direction, peer_type) {
        (RawDirection::Import, _) => {
            prefer_last_if_going(attributes);
            attributes.local_pref.get_or_insert(DEFAULT_LOCAL_PREF);
        }
        (RawDirection::Export, PeerType::External) => {
            attributes.extended_communities.retain(ExtendedCommunity::is_transitive);
            if !matches!(source, RouteSource::Local | RouteSource::Service) {
                attributes.med = None;
            }
        }
        (RawDirection::Export, PeerType::Internal) => {}
    }
}

fn filter_of(bgp: &Bgp, name: &str) -> Option<Arc<Filter>> {
    let groups = bgp.dynamic.iter().map(|group| &group.peer);
    let peers = bgp.peers.iter().chain(groups);
    let lists = peers.flat_map(|peer| peer.import.iter().chain(&peer.export));
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
