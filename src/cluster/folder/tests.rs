//! What a folder says from one reading to the next.

use super::*;

/// A Node with an address and a pod range that end in `number`.
fn node(name: &str, number: u8) -> String {
    format!(
        "apiVersion: v1\nkind: Node\nmetadata: {{name: {name}}}\nspec: {{podCIDRs: \
         [10.244.{number}.0/24]}}\nstatus: {{addresses: [{{type: InternalIP, address: \
         10.0.0.{number}}}]}}\n"
    )
}

fn text(documents: &[String]) -> FileText {
    Ok(documents.join("---\n"))
}

/// `+n1/24` for a node applied with that many pod ranges, `-n1` for one deleted.
fn update<const N: usize>(folder: &mut Folder, files: [(&str, FileText); N]) -> Vec<String> {
    let reading = files.into_iter().map(|(name, text)| (name.to_owned(), text)).collect();
    let changes = folder.update(reading);
    let changes = changes.into_iter().filter(|change| {
        use brindle_policy::Change::{NodeApplied, NodeDeleted};
        !matches!(change, Change::Policy(NodeApplied(_) | NodeDeleted(_)))
    });
    let show = |change: Change| match change {
        Change::NodeApplied(node) => format!("+{} {}", node.name, node.pod_cidrs[0]),
        Change::NodeDeleted(name) => format!("-{name}"),
        Change::BgpApplied(object) => format!("+{}", object.key()),
        Change::BgpDeleted(key) => format!("-{key}"),
        Change::ServiceApplied(service) => format!("+Service/{}", service.name),
        Change::ServiceDeleted(name) => format!("-Service/{name}"),
        Change::EndpointsChanged(key, endpoints) => format!("{key:?} {endpoints:?}"),
        Change::Policy(change) => format!("{change:?}"),
        Change::InSync => "in sync".to_owned(),
    };
    changes.map(show).collect()
}

fn problems(folder: &Folder) -> Vec<String> {
    folder.problems().iter().map(ToString::to_string).collect()
}

const NONE: [&str; 0] = [];

#[test]
fn only_what_changed_is_told() {
    let folder = &mut Folder::default();
    let a = || text(&[node("n1", 1), node("n2", 2)]);
    assert_eq!(update(folder, [("a", a())]), ["+n1 10.244.1.0/24", "+n2 10.244.2.0/24"]);
    assert_eq!(update(folder, [("a", a())]), NONE);
    // The same nodes, written differently and elsewhere.
    let b = Ok(format!("# moved\n{}", node("n2", 2)));
    assert_eq!(update(folder, [("a", text(&[node("n1", 1)])), ("b", b)]), NONE);
    assert_eq!(update(folder, [("a", text(&[node("n1", 7)]))]), ["-n2", "+n1 10.244.7.0/24"]);
    assert_eq!(update(folder, []), ["-n1"]);
    assert_eq!(problems(folder), NONE);
    assert_eq!((folder.files(), folder.counts()), (0, Counts::default()));
}

#[test]
fn a_range_leaves_one_node_before_it_comes_to_another() {
    let folder = &mut Folder::default();
    update(folder, [("a", text(&[node("z", 1)]))]);
    assert_eq!(update(folder, [("a", text(&[node("b", 1)]))]), ["-z", "+b 10.244.1.0/24"]);
}

#[test]
fn a_file_that_is_not_yaml_keeps_its_last_good_content() {
    let folder = &mut Folder::default();
    let good = || text(&[node("n1", 1), node("n2", 2)]);
    let bad = || Ok(format!("{}---\nkind: [\n", node("n1", 9)));
    update(folder, [("a", good())]);
    assert_eq!(update(folder, [("a", bad())]), NONE);
    let want = [
        "a:8: document 2: not valid YAML: did not find expected node content; the file's last good content stays in force",
    ];
    assert_eq!(problems(folder), want);
    assert_eq!(update(folder, [("a", bad())]), NONE);
    assert_eq!(problems(folder), want, "still wrong when read again");
    assert_eq!(update(folder, [("a", good())]), NONE);
    assert_eq!(problems(folder), NONE);
    update(folder, [("a", bad())]);
    assert_eq!(update(folder, []), ["-n1", "-n2"], "a file that is gone says nothing any more");
}

#[test]
fn a_file_that_cannot_be_read_keeps_its_last_good_content() {
    let folder = &mut Folder::default();
    update(folder, [("a", text(&[node("n1", 1)]))]);
    assert_eq!(update(folder, [("a", Err("cannot be read: why".to_owned()))]), NONE);
    assert_eq!(
        problems(folder),
        ["a: cannot be read: why; the file's last good content stays in force"]
    );
    assert_eq!(update(folder, [("a", text(&[node("n1", 1)]))]), NONE);
    assert_eq!(problems(folder), NONE, "readable again with the same text");
}

#[test]
fn a_refused_node_keeps_its_last_good_version_and_touches_no_other() {
    let folder = &mut Folder::default();
    update(folder, [("a", text(&[node("n1", 1), node("n2", 2)]))]);
    let bad = node("n1", 1).replace("10.244.1.0/24", "10.244.1.7/24");
    let got = update(folder, [("a", text(&[bad.clone(), node("n2", 7)]))]);
    assert_eq!(got, ["+n2 10.244.7.0/24"]);
    assert_eq!(
        problems(folder),
        ["a:1: document 1: Node/n1: spec.podCIDRs[0]: \"10.244.1.7/24\" has host bits set; its \
          network is 10.244.1.0/24; its last good version stays in force"]
    );
    // It stays for as long as its document is there, however often the file changes.
    assert_eq!(update(folder, [("a", text(std::slice::from_ref(&bad)))]), ["-n2"]);
    assert_eq!(update(folder, [("a", text(&[node("n3", 3)]))]), ["-n1", "+n3 10.244.3.0/24"]);
    // One that was never good is not there.
    assert_eq!(update(folder, [("a", text(&[bad]))]), ["-n3"]);
    assert!(
        problems(folder)[0].ends_with("its network is 10.244.1.0/24"),
        "{folder:?}",
        folder = problems(folder)
    );
}

#[test]
fn of_two_nodes_of_one_name_the_first_file_counts() {
    let folder = &mut Folder::default();
    let (first, second) = (|| text(&[node("n1", 1)]), || text(&[node("n2", 2), node("n1", 9)]));
    let got = update(folder, [("a", first()), ("b", second())]);
    assert_eq!(got, ["+n1 10.244.1.0/24", "+n2 10.244.2.0/24"]);
    assert_eq!(problems(folder), ["b:6: document 2: Node/n1: is in a:1 already, which counts"]);
    assert_eq!(update(folder, [("b", second())]), ["+n1 10.244.9.0/24"]);
    assert_eq!(problems(folder), NONE);
    let twice = text(&[node("n1", 9), node("n1", 8)]);
    assert_eq!(update(folder, [("b", twice)]), ["-n2"]);
    assert_eq!(problems(folder), ["b:6: document 2: Node/n1: is in b:1 already, which counts"]);
}

#[test]
fn a_node_that_no_peer_can_reach_is_told_and_doubted() {
    let folder = &mut Folder::default();
    let none = node("n1", 1).replace("InternalIP", "Hostname");
    let other = node("n2", 2).replace("10.244.2.0/24", "\"fd00:2::/64\"");
    let got = update(folder, [("a", text(&[none, other]))]);
    assert_eq!(got, ["+n1 10.244.1.0/24", "+n2 fd00:2::/64"]);
    assert_eq!(
        problems(folder),
        [
            "a:1: document 1: Node/n1: has no InternalIP in status.addresses: no peer for it",
            "a:6: document 2: Node/n2: has an ipv6 pod range and no ipv6 InternalIP to reach it by",
        ]
    );
}

#[test]
fn what_a_file_holds_does_not_reach_the_terminal_as_it_is() {
    let folder = &mut Folder::default();
    update(
        folder,
        [("a\n.yaml", Ok("apiVersion: v1\nkind: Node\nmetadata: {name: \"\\e[2J\"}".to_owned()))],
    );
    let got = problems(folder);
    assert!(got.len() == 1 && !got[0].chars().any(char::is_control), "{got:?}");
}

/// A pod of the namespace `shop`.
fn pod(name: &str, host: u8) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: shop}}\nspec: \
         {{nodeName: n1}}\nstatus: {{podIPs: [{{ip: 10.1.0.{host}}}]}}\n"
    )
}

fn policy(name: &str, spec: &str) -> String {
    format!(
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: {name}, \
         namespace: shop}}\nspec: {spec}\n"
    )
}

const SHOP: &str = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n";

/// The changes for policies, a word each.
fn policy_changes<const N: usize>(
    folder: &mut Folder,
    files: [(&str, FileText); N],
) -> Vec<String> {
    use brindle_policy::Change as Policy;
    let reading = files.into_iter().map(|(name, text)| (name.to_owned(), text)).collect();
    let show = |change: Change| {
        let Change::Policy(change) = change else { return None };
        Some(match change {
            Policy::NodeApplied(node) => format!("+Node {} {:?}", node.name, node.addresses),
            Policy::NodeDeleted(name) => format!("-Node {name}"),
            Policy::NamespaceApplied(namespace) => format!("+Namespace {}", namespace.name),
            Policy::NamespaceDeleted(name) => format!("-Namespace {name}"),
            Policy::PodApplied(pod) => format!("+Pod {} {:?}", pod.key, pod.addresses),
            Policy::PodDeleted(key) => format!("-Pod {key}"),
            Policy::PolicyApplied(policy) => {
                let rules = policy.ingress.as_ref().map_or(0, Vec::len);
                format!("+{} {rules} rules, {} problems", policy.id, policy.problems.len())
            }
            Policy::PolicyDeleted(id) => format!("-{id}"),
            Policy::Attached(_) | Policy::Detached(_) | Policy::Devices(_) => {
                panic!("no manifest says so")
            }
            Policy::InSync => "in sync".to_owned(),
            other => format!("{other:?}"),
        })
    };
    folder.update(reading).into_iter().filter_map(show).collect()
}

#[test]
fn deletions_come_first_then_what_others_need_before_what_needs_it() {
    let folder = &mut Folder::default();
    let all = text(&[policy("p", "{}"), pod("a", 1), pod("b", 2), SHOP.to_owned(), node("n1", 1)]);
    assert_eq!(
        policy_changes(folder, [("a", all)]),
        [
            "+Node n1 {10.0.0.1}",
            "+Namespace shop",
            "+Pod shop/a [10.1.0.1]",
            "+Pod shop/b [10.1.0.2]",
            "+NetworkPolicy shop/p 0 rules, 0 problems",
        ]
    );
    let counts = folder.counts();
    let got = (counts.nodes, counts.namespaces, counts.pods, counts.policies);
    assert_eq!(got, (1, 1, 2, 1));
    // An address goes to another pod, a policy gets another name.
    let moved =
        text(&[policy("q", "{}"), pod("a", 2), pod("c", 1), SHOP.to_owned(), node("n1", 1)]);
    assert_eq!(
        policy_changes(folder, [("a", moved)]),
        [
            "-Pod shop/b",
            "-NetworkPolicy shop/p",
            "+Pod shop/a [10.1.0.2]",
            "+Pod shop/c [10.1.0.1]",
            "+NetworkPolicy shop/q 0 rules, 0 problems",
        ]
    );
    assert_eq!(problems(folder), NONE);
}

#[test]
fn each_half_hears_only_what_is_its_own_of_a_changed_node() {
    let folder = &mut Folder::default();
    update(folder, [("a", text(&[node("n1", 1)]))]);
    let system = "{name: n1, annotations: {brindle.dev/as-number: \"64999\"}}";
    let other = node("n1", 1).replace("{name: n1}", system);
    assert_eq!(policy_changes(folder, [("a", text(std::slice::from_ref(&other)))]), NONE);
    let external = other.replace("[{type", "[{type: ExternalIP, address: 192.0.2.1}, {type");
    let reading = [("a".to_owned(), text(&[external]))].into();
    let changes = folder.update(reading);
    assert!(
        matches!(changes[..], [Change::Policy(brindle_policy::Change::NodeApplied(_))]),
        "{changes:?}"
    );
}

#[test]
fn a_policy_that_is_wrong_counts_closed_and_not_as_it_was_before() {
    let folder = &mut Folder::default();
    let file = |spec: &str| [("a", text(&[SHOP.to_owned(), policy("p", spec)]))];
    policy_changes(folder, file("{ingress: [{}]}"));
    assert_eq!(
        policy_changes(folder, file("{ingress: [{from: 7}]}")),
        ["+NetworkPolicy shop/p 0 rules, 1 problems"]
    );
    let got = problems(folder);
    assert!(
        got.len() == 1
            && got[0].starts_with(
                "a:4: document 2: NetworkPolicy/shop/p: spec.ingress[0].from: invalid type"
            ),
        "{got:?}"
    );
    // A pod, on the other hand, is better known as it was than not at all.
    let bad = pod("a", 1).replace("{nodeName: n1}", "{nodeName: [n1]}");
    policy_changes(folder, [("a", text(&[pod("a", 1)]))]);
    assert_eq!(policy_changes(folder, [("a", text(&[bad]))]), NONE);
    let got = problems(folder);
    assert!(got.len() == 1 && got[0].ends_with("its last good version stays in force"), "{got:?}");
}

#[test]
fn one_changed_document_of_many_is_all_that_is_read_again() {
    let folder = &mut Folder::default();
    let many = |host: u8| {
        let pods = (0..50).map(|number| pod(&format!("p{number:02}"), 100 + number));
        text(&pods.chain([pod("changing", host)]).collect::<Vec<_>>())
    };
    let first = |folder: &Folder| folder.files["a"].objects[0].2.clone();
    policy_changes(folder, [("a", many(1))]);
    let before = first(folder);
    assert_eq!(policy_changes(folder, [("a", many(2))]), ["+Pod shop/changing [10.1.0.2]"]);
    let (Object::Pod(before), Object::Pod(after)) = (before, first(folder)) else {
        panic!("no pods")
    };
    assert!(Arc::ptr_eq(&before, &after), "it was read again");
    assert_eq!(folder.files["a"].known.len(), 51, "what is not there any more is forgotten");
}

#[test]
fn what_stands_in_counts_only_while_no_good_version_is_known() {
    let folder = &mut Folder::default();
    let key = Key::Tier("t".into());
    for (spec, order, follows) in [
        ("{order: first}", None, "the rest of it counts"),
        ("{order: 7, defaultAction: 7}", Some(7.0), "the rest of it counts"),
        ("{order: 5}", Some(5.0), ""),
        ("{order: first}", Some(5.0), "its last good version stays"),
        ("{order: 6, defaultAction: [Deny]}", Some(5.0), "its last good version stays"),
    ] {
        let text = format!(
            "apiVersion: projectcalico.org/v3\nkind: Tier\nmetadata: {{name: t}}\nspec: {spec}\n"
        );
        update(folder, [("a", Ok(text))]);
        let Some(Object::Tier(tier)) = folder.told.get(&key) else { panic!("none of {spec}") };
        assert_eq!(tier.order.get(), order, "{spec}");
        let told = problems(folder);
        assert_eq!(told.len(), usize::from(!follows.is_empty()), "{spec}: {told:?}");
        assert!(told.iter().all(|message| message.contains(follows)), "{spec}: {told:?}");
    }
}
