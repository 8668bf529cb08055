//! What the view tells of what arrives.

mod memory;

use proptest::collection::vec;
use proptest::prelude::{Strategy, prop_assert, prop_assert_eq, prop_oneof, proptest};

use super::*;
use crate::cluster::typed::{key_of, read_json};

const HOLD: Duration = Duration::from_secs(60);

/// Any moment: the view knows no other clock.
fn start() -> Instant {
    Instant::now()
}

fn node(name: &str, number: u8) -> Reading {
    let text = format!(
        r#"{{"metadata":{{"name":"{name}"}},"spec":{{"podCIDR":"10.244.{number}.0/24"}}}}"#
    );
    read_json(Kind::Node, &text)
}

fn pod(name: &str, number: u8) -> Reading {
    let text = format!(
        r#"{{"metadata":{{"namespace":"a","name":"{name}"}},"spec":{{"containers":[]}},
        "status":{{"podIP":"10.244.0.{number}"}}}}"#
    );
    read_json(Kind::Pod, &text)
}

fn namespace(name: &str) -> Reading {
    read_json(Kind::Namespace, &format!(r#"{{"metadata":{{"name":"{name}"}}}}"#))
}

/// A policy; with a spec that is no policy's, one that is closed.
fn policy(name: &str, spec: &str) -> Reading {
    let text = format!(r#"{{"metadata":{{"namespace":"a","name":"{name}"}},"spec":{spec}}}"#);
    read_json(Kind::NetworkPolicy, &text)
}

fn garbage(kind: Kind, name: &str) -> Reading {
    let text =
        format!(r#"{{"metadata":{{"namespace":"a","name":"{name}"}},"spec":[],"status":7}}"#);
    read_json(kind, &text)
}

/// `+Node/n1`, `-Pod/a/web`, `in sync`; each object once.
fn taken(view: &mut View) -> Vec<String> {
    use brindle_policy::Change as Policy;
    let shown = |change: Change| match change {
        Change::NodeApplied(_) | Change::NodeDeleted(_) => None,
        Change::BgpApplied(object) => Some(format!("+{}", object.key())),
        Change::BgpDeleted(key) => Some(format!("-{key}")),
        Change::ServiceApplied(service) => Some(format!("+Service/{}", service.name)),
        Change::ServiceDeleted(name) => Some(format!("-Service/{name}")),
        // Told of besides, with what policies need.
        Change::EndpointsChanged(..) => None,
        Change::InSync => Some("in sync".to_owned()),
        Change::Policy(Policy::NodeApplied(node)) => Some(format!("+Node/{}", node.name)),
        Change::Policy(Policy::NodeDeleted(name)) => Some(format!("-Node/{name}")),
        Change::Policy(Policy::NamespaceApplied(one)) => Some(format!("+Namespace/{}", one.name)),
        Change::Policy(Policy::NamespaceDeleted(name)) => Some(format!("-Namespace/{name}")),
        Change::Policy(Policy::PodApplied(pod)) => Some(format!("+Pod/{}", pod.key)),
        Change::Policy(Policy::PodDeleted(key)) => Some(format!("-Pod/{key}")),
        Change::Policy(Policy::PolicyApplied(policy)) => Some(format!("+{}", policy.id)),
        Change::Policy(Policy::PolicyDeleted(id)) => Some(format!("-{id}")),
        Change::Policy(Policy::InSync) => panic!("that is said otherwise"),
        Change::Policy(Policy::Attached(_) | Policy::Detached(_) | Policy::Devices(_)) => {
            panic!("no source knows it")
        }
        Change::Policy(other) => Some(format!("{other:?}")),
    };
    view.take().into_iter().filter_map(shown).collect()
}

/// A view in sync with these nodes, and with nothing else.
fn with_nodes(names: &[&str]) -> View {
    let mut view = View::new(HOLD);
    for kind in Kind::ALL {
        let readings = if kind == Kind::Node { nodes(names) } else { Vec::new() };
        assert_eq!(view.list(kind, readings, start()), None);
    }
    assert_eq!(taken(&mut view).last().map(String::as_str), Some("in sync"));
    view
}

fn nodes(names: &[&str]) -> Vec<Reading> {
    names.iter().zip(1..).map(|(name, number)| node(name, number)).collect()
}

const NONE: [&str; 0] = [];

#[test]
fn nothing_is_told_before_every_kind_is_listed_and_then_all_of_it_once() {
    let view = &mut View::new(HOLD);
    view.list(Kind::NetworkPolicy, vec![policy("p", "{}")], start());
    view.list(Kind::Pod, vec![pod("web", 1), pod("db", 2)], start());
    view.apply(Kind::Pod, pod("new", 3));
    view.delete(&pod("db", 2).key.expect("a key"));
    view.list(Kind::Node, nodes(&["n1"]), start());
    let rest = Kind::ALL.into_iter().filter(|kind| kind.is_optional());
    for kind in rest.chain([Kind::ServiceAccount, Kind::Service]) {
        view.list(kind, Vec::new(), start());
    }
    assert!(!view.has_news() && taken(view).is_empty() && !view.is_in_sync());
    view.list(Kind::Namespace, vec![namespace("a")], start());
    let want =
        ["+Node/n1", "+Namespace/a", "+Pod/a/new", "+Pod/a/web", "+NetworkPolicy a/p", "in sync"];
    assert_eq!(taken(view), want);
    assert!(view.is_in_sync() && !view.has_news());
    view.list(Kind::Pod, vec![pod("web", 1), pod("new", 3)], start());
    assert_eq!(taken(view), NONE, "nothing is another");
}

#[test]
fn a_kind_that_may_not_be_read_is_not_waited_for_and_comes_when_it_may() {
    let view = &mut View::new(HOLD);
    for kind in Kind::ALL.into_iter().filter(|kind| *kind != Kind::HostEndpoint) {
        view.list(kind, Vec::new(), start());
    }
    assert!(!view.has_news());
    view.do_without(Kind::HostEndpoint);
    assert_eq!(taken(view), ["in sync"]);
    view.list(Kind::HostEndpoint, vec![reading(Kind::HostEndpoint, 1, 1)], start());
    assert_eq!(view.counts().host_endpoints, 1);
    assert_eq!(taken(view).len(), 1);
    // Refused again later, it keeps what it knew.
    view.do_without(Kind::HostEndpoint);
    assert_eq!((view.counts().host_endpoints, taken(view)), (1, Vec::new()));
}

#[test]
fn policies_come_after_all_that_they_are_about() {
    let view = &mut with_nodes(&[]);
    for kind in Kind::ALL.into_iter().rev() {
        view.apply(kind, reading(kind, 1, 1));
    }
    let keys: Vec<Kind> = view.objects.keys().map(Key::kind).collect();
    assert_eq!(keys, Kind::ALL);
    assert_eq!(taken(view).len(), Kind::ALL.len());
    assert_eq!((view.counts().policies, view.counts().network_sets), (7, 2));
}

#[test]
fn what_keeps_pods_and_hosts_closed_does_not_vanish_at_once() {
    for kind in Kind::ALL {
        let view = &mut with_nodes(&[]);
        view.list(kind, vec![reading(kind, 1, 1)], start());
        taken(view);
        let held = view.list(kind, Vec::new(), start()).is_some();
        let want = match kind {
            Kind::Namespace | Kind::ServiceAccount | Kind::Pod | Kind::Profile => false,
            kind => !kind.name().starts_with("Staged"),
        };
        assert_eq!(held, want, "{kind:?}");
    }
}

#[test]
fn a_new_listing_tells_the_difference() {
    let view = &mut with_nodes(&["n1", "n2", "n3"]);
    let changed = vec![node("n1", 1), node("n3", 30), node("n4", 2)];
    assert_eq!(view.list(Kind::Node, changed, start()), None);
    assert_eq!(taken(view), ["-Node/n2", "+Node/n3", "+Node/n4"]);
}

#[test]
fn what_is_overtaken_is_not_told() {
    let view = &mut with_nodes(&["n1"]);
    for number in 1..50 {
        view.apply(Kind::Node, node("n1", number));
        view.apply(Kind::Pod, pod("web", number));
        view.apply(Kind::Pod, pod("short", number));
        view.delete(&pod("short", 1).key.expect("a key"));
    }
    view.delete(&Key::Node("n1".into()));
    view.apply(Kind::Node, node("n1", 1));
    assert_eq!(taken(view), ["+Pod/a/web"], "n1 is what it was, and short was never seen");
    view.delete(&Key::Node("n1".into()));
    view.apply(Kind::Node, node("n2", 1));
    assert_eq!(taken(view), ["-Node/n1", "+Node/n2"], "its range leaves before it comes");
}

#[test]
fn a_bad_object_harms_no_other_and_keeps_its_last_good_version() {
    let view = &mut with_nodes(&["n1", "n2"]);
    let problems = |view: &View| -> Vec<String> {
        view.problems().map(|p| format!("{}: {}: {}", p.object, p.field, p.message)).collect()
    };
    view.list(
        Kind::Node,
        vec![garbage(Kind::Node, "n1"), node("n2", 20), garbage(Kind::Node, "n3")],
        start(),
    );
    assert_eq!(taken(view), ["+Node/n2"]);
    let said = problems(view);
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(
        said[0].starts_with("Node/n1: ")
            && said[0].ends_with("; its last good version stays in force"),
        "{said:?}"
    );
    assert!(said[1].starts_with("Node/n3: ") && !said[1].contains("last good"), "{said:?}");
    let doubts: Vec<_> = view.take_doubts().into_iter().map(|(key, _)| key.to_string()).collect();
    assert_eq!(doubts, ["Node/n1", "Node/n3"]);
    view.apply(Kind::Node, garbage(Kind::Node, "n3"));
    assert!(view.take_doubts().is_empty(), "that was said");
    view.list(Kind::Node, nodes(&["n1", "n2"]), start());
    assert_eq!((taken(view), problems(view)), (vec!["+Node/n2".to_owned()], Vec::new()));
    // A policy of which nothing is understood is closed rather than old.
    view.apply(Kind::NetworkPolicy, policy("p", r#"{"ingress":[{}]}"#));
    view.apply(Kind::NetworkPolicy, policy("p", r#"{"ingress":7}"#));
    assert_eq!(taken(view), ["+NetworkPolicy a/p"]);
    assert!(
        problems(view)[0].starts_with("NetworkPolicy/a/p: spec.ingress: "),
        "{:?}",
        problems(view)
    );
}

#[test]
fn a_listing_with_an_object_without_a_name_deletes_nothing() {
    let view = &mut with_nodes(&["n1"]);
    view.list(Kind::Pod, vec![pod("web", 1), pod("db", 2)], start());
    taken(view);
    let nameless = || read_json(Kind::Pod, r#"{"metadata":7}"#);
    view.list(Kind::Pod, vec![pod("web", 1), nameless()], start());
    assert_eq!(taken(view), NONE);
    assert_eq!(view.problems().map(|p| p.object.as_str()).collect::<Vec<_>>(), ["Pod"]);
    view.list(Kind::Pod, vec![pod("web", 1)], start());
    assert_eq!((taken(view), view.problems().count()), (vec!["-Pod/a/db".to_owned()], 0));
}

#[test]
fn more_than_half_of_the_nodes_or_policies_do_not_vanish_at_once() {
    for (known, there, held) in [
        (1, 0, true),
        (2, 1, false),
        (2, 0, true),
        (3, 2, false),
        (3, 1, true),
        (10, 5, false),
        (10, 4, true),
    ] {
        let names: Vec<String> = (0..known).map(|number| format!("n{number}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let view = &mut with_nodes(&names);
        let got = view.list(Kind::Node, nodes(&names[..there]), start());
        let missing = known - there;
        assert_eq!(got.map(|held| (held.missing, held.known)), held.then_some((missing, known)));
        assert_eq!(taken(view).len(), if held { 0 } else { missing }, "{known} {there}");
        assert_eq!(view.count(Kind::Node), if held { known } else { there });
    }
    // Pods and namespaces come and go.
    let view = &mut with_nodes(&[]);
    view.list(Kind::Pod, vec![pod("web", 1)], start());
    taken(view);
    assert_eq!(view.list(Kind::Pod, Vec::new(), start()), None);
    assert_eq!(taken(view), ["-Pod/a/web"]);
    view.list(Kind::NetworkPolicy, vec![policy("p", "{}")], start());
    taken(view);
    assert!(view.list(Kind::NetworkPolicy, Vec::new(), start()).is_some());
    assert_eq!(taken(view), NONE);
}

#[test]
fn held_deletions_end_with_time_with_a_return_or_with_an_event() {
    let view = &mut with_nodes(&["n1", "n2", "n3"]);
    let begin = start();
    let later = |seconds| begin + Duration::from_secs(seconds);
    let held = view.list(Kind::Node, Vec::new(), begin).expect("held");
    assert_eq!((held.kind, held.first.to_string()), (Kind::Node, "Node/n1".to_owned()));
    assert_eq!(view.held(), BTreeMap::from([(Kind::Node, (3, later(60)))]));
    // A second empty listing is no second opinion, and no longer wait.
    assert_eq!(view.list(Kind::Node, Vec::new(), later(10)), None);
    view.apply(Kind::Node, node("n1", 1));
    view.delete(&Key::Node("n2".into()));
    assert_eq!(taken(view), ["-Node/n2"], "an event is believed");
    assert!(view.release(later(59)).is_empty());
    assert_eq!(view.next_release(), Some(later(60)));
    assert_eq!(view.release(later(60)), BTreeMap::from([(Kind::Node, 1)]));
    assert_eq!(taken(view), ["-Node/n3"]);
    assert_eq!((view.next_release(), view.count(Kind::Node)), (None, 1));
}

#[test]
fn a_listing_in_which_they_are_back_cancels_the_deletion() {
    let view = &mut with_nodes(&["n1", "n2", "n3"]);
    let begin = start();
    view.list(Kind::Node, Vec::new(), begin);
    view.list(Kind::Node, nodes(&["n1", "n2"]), begin + Duration::from_secs(5));
    assert_eq!(view.held().get(&Kind::Node).map(|held| held.0), Some(1), "n3 waits on");
    assert_eq!(view.release(begin + HOLD), BTreeMap::from([(Kind::Node, 1)]));
    assert_eq!(taken(view), ["-Node/n3"]);
}

#[test]
fn without_a_hold_every_listing_is_believed() {
    let mut view = with_nodes(&["n1"]);
    view.hold = Duration::ZERO;
    assert_eq!(view.list(Kind::Node, Vec::new(), start()), None);
    assert_eq!(taken(&mut view), ["-Node/n1"]);
}

/// Something that arrives, or somebody who listens.
#[derive(Clone, Debug)]
enum Step {
    List(Kind, Vec<(u8, u8)>),
    Apply(Kind, u8, u8),
    Spoil(Kind, u8),
    Delete(Kind, u8),
    Take,
    Wait(u64),
}

/// A name that objects of the kind may have.
fn named(kind: Kind, name: u8) -> String {
    match kind {
        Kind::BgpConfiguration => format!("node.x{name}"),
        _ => format!("x{name}"),
    }
}

fn reading(kind: Kind, name: u8, version: u8) -> Reading {
    let name = named(kind, name);
    match kind {
        Kind::Node => node(&name, version),
        Kind::Namespace => namespace(&name),
        Kind::Pod => pod(&name, version),
        Kind::NetworkPolicy => {
            policy(&name, &format!(r#"{{"podSelector":{{"matchLabels":{{"v":"{version}"}}}}}}"#))
        }
        Kind::CalicoNetworkPolicy
        | Kind::GlobalNetworkPolicy
        | Kind::StagedNetworkPolicy
        | Kind::StagedGlobalNetworkPolicy => {
            object(kind, &name, &format!(r#"{{"selector":"v == \"{version}\""}}"#))
        }
        Kind::StagedKubernetesNetworkPolicy => object(
            kind,
            &name,
            &format!(r#"{{"podSelector":{{"matchLabels":{{"v":"{version}"}}}}}}"#),
        ),
        Kind::ClusterNetworkPolicy => object(
            kind,
            &name,
            &format!(r#"{{"tier":"Admin","priority":{version},"subject":{{"namespaces":{{}}}}}}"#),
        ),
        Kind::Tier => object(kind, &name, &format!(r#"{{"order":{version}}}"#)),
        Kind::Profile => {
            object(kind, &name, &format!(r#"{{"labelsToApply":{{"v":"{version}"}}}}"#))
        }
        Kind::NetworkSet | Kind::GlobalNetworkSet => {
            object(kind, &name, &format!(r#"{{"nets":["10.0.0.{version}"]}}"#))
        }
        Kind::HostEndpoint => {
            object(kind, &name, &format!(r#"{{"node":"n{version}","interfaceName":"*"}}"#))
        }
        Kind::BgpConfiguration => {
            let spec = format!(r#"{{"listenPort":{version}}}"#);
            object(kind, &name, &spec)
        }
        Kind::BgpFilter => {
            let rule = format!(r#"{{"action":"Accept","asPathPrefix":[{version}]}}"#);
            object(kind, &name, &format!(r#"{{"importV4":[{rule}]}}"#))
        }
        Kind::BgpPeer => {
            let spec = format!(r#"{{"peerIP":"10.0.0.{version}","asNumber":{version}}}"#);
            object(kind, &name, &spec)
        }
        Kind::Secret => panic!("it is not listed as a whole"),
        Kind::ServiceAccount => read_json(
            kind,
            &format!(
                r#"{{"metadata":{{"namespace":"a","name":"{name}","labels":{{"v":"{version}"}}}}}}"#
            ),
        ),
        Kind::Service => object(kind, &name, &format!(r#"{{"clusterIP":"10.96.0.{version}"}}"#)),
        Kind::EndpointSlice => read_json(
            kind,
            &format!(
                r#"{{"metadata":{{"namespace":"a","name":"{name}","labels":
                {{"kubernetes.io/service-name":"web"}}}},"addressType":"IPv4",
                "endpoints":[{{"addresses":["10.0.0.{version}"],"nodeName":"n{version}"}}]}}"#
            ),
        ),
    }
}

/// An object of a kind with a spec, in the namespace `a` if the kind has any.
fn object(kind: Kind, name: &str, spec: &str) -> Reading {
    let namespace = if kind.is_namespaced() { r#""namespace":"a","# } else { "" };
    read_json(kind, &format!(r#"{{"metadata":{{{namespace}"name":"{name}"}},"spec":{spec}}}"#))
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let kind = || (0..Kind::ALL.len()).prop_map(|index| Kind::ALL[index]);
    vec(
        prop_oneof![
            2 => (kind(), vec((0..5u8, 1..4u8), 0..5)).prop_map(|(kind, all)| Step::List(kind, all)),
            4 => (kind(), 0..5u8, 1..4u8).prop_map(|(kind, name, v)| Step::Apply(kind, name, v)),
            1 => (kind(), 0..5u8).prop_map(|(kind, name)| Step::Spoil(kind, name)),
            2 => (kind(), 0..5u8).prop_map(|(kind, name)| Step::Delete(kind, name)),
            3 => (0..1u8).prop_map(|_| Step::Take),
            1 => (0..50u64).prop_map(Step::Wait),
        ],
        0..60,
    )
}

proptest! {
    /// Whoever takes every change knows what the view knows; nothing is told twice, everything
    /// once and in sync first; and after the longest hold, all is as last listed.
    #[test]
    fn listeners_know_what_the_view_knows(steps in steps()) {
        let mut view = View::new(HOLD);
        let mut now = start();
        let mut listener = World::default();
        // Few steps would list all kinds.
        for kind in Kind::ALL.into_iter().filter(|kind| !matches!(kind, Kind::Pod | Kind::Tier)) {
            view.list(kind, Vec::new(), now);
        }
        for step in steps {
            match step {
                Step::List(kind, all) => {
                    let all: BTreeMap<u8, u8> = all.into_iter().collect();
                    let readings = all.iter().map(|(name, v)| reading(kind, *name, *v)).collect();
                    view.list(kind, readings, now);
                    let known = view.count(kind);
                    prop_assert!(known >= all.len());
                }
                Step::Apply(kind, name, version) => view.apply(kind, reading(kind, name, version)),
                Step::Spoil(kind, name) => view.apply(kind, garbage(kind, &named(kind, name))),
                Step::Delete(kind, name) => {
                    let name = named(kind, name);
                    view.delete(&key_of(kind, Some("a"), Some(&name)).expect("a key"));
                }
                Step::Take => listener.take(view.take())?,
                Step::Wait(seconds) => {
                    now += Duration::from_secs(seconds);
                    view.release(now);
                }
            }
            let total: usize = Kind::ALL.iter().map(|kind| view.count(*kind)).sum();
            prop_assert_eq!(total, view.objects.len());
        }
        listener.take(view.take())?;
        prop_assert_eq!(listener.in_sync, view.is_in_sync());
        if view.is_in_sync() {
            prop_assert_eq!(&listener.objects, &view.objects.keys().map(Key::to_string).collect());
        }
        view.release(now + HOLD);
        prop_assert!(view.held.is_empty());
    }
}

/// A listener that minds being told what it knows.
#[derive(Default)]
struct World {
    in_sync: bool,
    objects: BTreeSet<String>,
    said: BTreeMap<String, String>,
}

impl World {
    fn take(&mut self, batch: Batch) -> Result<(), proptest::test_runner::TestCaseError> {
        for change in batch {
            match change {
                Change::InSync => {
                    prop_assert!(!self.in_sync);
                    self.in_sync = true;
                }
                Change::NodeApplied(node) => {
                    self.objects.insert(format!("Node/{}", node.name));
                }
                Change::NodeDeleted(name) => {
                    let key = format!("Node/{name}");
                    self.said.remove(&key);
                    prop_assert!(self.objects.remove(&key), "{} was never told", key);
                }
                Change::BgpApplied(object) => {
                    self.say(object.key().to_string(), format!("{object:?}"))?;
                }
                Change::BgpDeleted(key) => self.gone(&Key::Bgp(key))?,
                Change::ServiceApplied(service) => {
                    let key = Key::Service(service.name.clone());
                    self.say(key.to_string(), format!("{service:?}"))?;
                }
                Change::ServiceDeleted(name) => self.gone(&Key::Service(name))?,
                Change::EndpointsChanged(key, endpoints) => {
                    let key = format!("where of {}", Key::Slice(key));
                    // It comes beside the slice, and is no object of its own.
                    match endpoints.map(|endpoints| format!("{endpoints:?}")) {
                        Some(text) => {
                            let before = self.said.insert(key, text.clone());
                            prop_assert!(before != Some(text), "told twice");
                        }
                        None => {
                            prop_assert!(
                                self.said.remove(&key).is_some(),
                                "{} was never told",
                                key
                            );
                        }
                    }
                }
                Change::Policy(change) => self.policy(&change)?,
            }
        }
        Ok(())
    }

    fn policy(
        &mut self,
        change: &brindle_policy::Change,
    ) -> Result<(), proptest::test_runner::TestCaseError> {
        use brindle_policy::Change as Policy;
        let text = format!("{change:?}");
        let key = match change {
            Policy::NodeApplied(node) => format!("Node/{}", node.name),
            Policy::NamespaceApplied(namespace) => format!("Namespace/{}", namespace.name),
            Policy::PodApplied(pod) => format!("Pod/{}", pod.key),
            Policy::PolicyApplied(policy) => Key::Policy(policy.id.clone()).to_string(),
            Policy::ServiceAccountApplied(account) => {
                Key::ServiceAccount(account.key.clone()).to_string()
            }
            Policy::SliceApplied(slice) => Key::Slice(slice.key.clone()).to_string(),
            Policy::TierApplied(tier) => format!("Tier/{}", tier.name),
            Policy::ProfileApplied(profile) => format!("Profile/{}", profile.name),
            Policy::NetworkSetApplied(set) => Key::NetworkSet(set.id.clone()).to_string(),
            Policy::HostEndpointApplied(host) => format!("HostEndpoint/{}", host.name),
            Policy::NodeDeleted(_) | Policy::InSync => return Ok(()),
            Policy::Attached(_) | Policy::Detached(_) | Policy::Devices(_) => {
                panic!("no source knows it")
            }
            Policy::NamespaceDeleted(name) => return self.gone(&Key::Namespace(name.clone())),
            Policy::ServiceAccountDeleted(key) => {
                return self.gone(&Key::ServiceAccount(key.clone()));
            }
            Policy::PodDeleted(key) => return self.gone(&Key::Pod(key.clone())),
            Policy::SliceDeleted(key) => return self.gone(&Key::Slice(key.clone())),
            Policy::TierDeleted(name) => return self.gone(&Key::Tier(name.clone())),
            Policy::ProfileDeleted(name) => return self.gone(&Key::Profile(name.clone())),
            Policy::NetworkSetDeleted(id) => return self.gone(&Key::NetworkSet(id.clone())),
            Policy::HostEndpointDeleted(name) => {
                return self.gone(&Key::HostEndpoint(name.clone()));
            }
            Policy::PolicyDeleted(id) => return self.gone(&Key::Policy(id.clone())),
        };
        self.say(key, text)
    }

    fn say(
        &mut self,
        key: String,
        text: String,
    ) -> Result<(), proptest::test_runner::TestCaseError> {
        self.objects.insert(key.clone());
        prop_assert!(self.said.insert(key, text.clone()) != Some(text), "told twice");
        Ok(())
    }

    fn gone(&mut self, key: &Key) -> Result<(), proptest::test_runner::TestCaseError> {
        let key = key.to_string();
        self.said.remove(&key);
        prop_assert!(self.objects.remove(&key), "{} was never told", key);
        Ok(())
    }
}

#[test]
fn what_stands_in_counts_only_while_no_good_version_is_known() {
    let view = &mut with_nodes(&[]);
    let key = Key::Tier("t".into());
    for (spec, order, follows) in [
        (r#"{"order":"first"}"#, None, "the rest of it counts"),
        (r#"{"order":7,"defaultAction":7}"#, Some(7.0), "the rest of it counts"),
        (r#"{"order":5}"#, Some(5.0), ""),
        (r#"{"order":"first"}"#, Some(5.0), "its last good version stays"),
        ("gone", None, ""),
        (r#"{"order":"first"}"#, None, "the rest of it counts"),
    ] {
        if spec == "gone" {
            view.delete(&key);
            assert!(!view.objects.contains_key(&key));
            continue;
        }
        view.apply(Kind::Tier, object(Kind::Tier, "t", spec));
        let Some(Object::Tier(tier)) = view.objects.get(&key) else { panic!("none of {spec}") };
        assert_eq!(tier.order.get(), order, "{spec}");
        let told: Vec<_> = view.problems().map(|one| one.message.as_str()).collect();
        assert_eq!(told.len(), usize::from(!follows.is_empty()), "{spec}: {told:?}");
        assert!(told.iter().all(|message| message.contains(follows)), "{spec}: {told:?}");
    }
}
