//! What is found in the text of manifests.

use super::*;

/// What is in `text`: objects as `2:4 Node/n1` with document and line, what is refused in full.
fn outline(text: &str) -> Vec<String> {
    let mut lines: [Vec<String>; 3] = Default::default();
    let [objects, refused, doubts] = &mut lines;
    let (mut ignored, mut unknown) = (BTreeMap::new(), BTreeMap::new());
    let mut number = 1;
    for chunk in chunks(text) {
        let documents = match read(chunk.text) {
            Err(NotYaml { before, line, message }) => {
                let line = chunk.line + line.map_or(0, |line| line - 1);
                return vec![format!("not YAML {}:{line} {message}", number + before)];
            }
            Ok(documents) => documents,
        };
        for document in documents {
            let at = format!("{number}:{}", chunk.line);
            number += 1;
            objects.extend(document.objects.iter().map(|o| format!("{at} {}", o.key())));
            refused.extend(document.refused.into_iter().map(|Refused { key, field, message }| {
                let key = key.map_or("?".to_owned(), |key| key.to_string());
                format!("refused {at} {key} {}: {message}", field.as_deref().unwrap_or("?"))
            }));
            doubts.extend(document.doubts.into_iter().map(|Doubt { key, field, message }| {
                format!("doubt {at} {key} {}: {message}", field.as_deref().unwrap_or("?"))
            }));
            for (counts, more) in
                [(&mut ignored, document.ignored), (&mut unknown, document.unknown)]
            {
                for (kind, count) in more {
                    *counts.entry(kind).or_insert(0) += count;
                }
            }
        }
    }
    let count = |(word, counts): (&str, BTreeMap<String, usize>)| {
        let line = move |(kind, count)| format!("{word} {count} {kind}");
        counts.into_iter().map(line).collect::<Vec<_>>()
    };
    let others = [("ignored", ignored), ("unknown", unknown)].into_iter().flat_map(count);
    lines.into_iter().flatten().chain(others).collect()
}

const NODE: &str = "apiVersion: v1\nkind: Node\nmetadata: {name: n1}\n";

#[test]
fn documents_are_found_and_named_by_number_and_line() {
    let two = format!("{NODE}---\n{}", NODE.replace("n1", "n2"));
    let commented = format!("# nodes\n\n---\n{NODE}\n---\n# nothing\n---\n{NODE}");
    for (text, want) in [
        ("", vec![]),
        ("# nothing\n", vec![]),
        ("---\n---\n", vec![]),
        (NODE, vec!["1:1 Node/n1"]),
        (two.as_str(), vec!["1:1 Node/n1", "2:4 Node/n2"]),
        (commented.as_str(), vec!["1:3 Node/n1", "3:10 Node/n1"]),
        (
            "{\n\t\"apiVersion\": \"v1\",\n\t\"kind\": \"Node\", \"metadata\": {\"name\": \"j\"}\n}",
            vec!["1:1 Node/j"],
        ),
        (
            "a: 1\n",
            vec![
                "refused 1:1 ? apiVersion: is missing; accepted are for instance v1, networking.k8s.io/v1 and projectcalico.org/v3",
            ],
        ),
        (
            "apiVersion: v1\n",
            vec![
                "refused 1:1 ? kind: is missing; accepted are Node, Namespace, Pod, NetworkPolicy, GlobalNetworkPolicy, lists of them, and other kinds of Kubernetes and Calico",
            ],
        ),
        (
            "- 1\n",
            vec![
                "refused 1:1 ? ?: is not an object; accepted are keys with values, apiVersion and kind among them",
            ],
        ),
        ("a: 1\na: 2\n", vec!["not YAML 1:1 duplicate entry with key \"a\""]),
        ("a: 1\n---\nb: [\n", vec!["not YAML 2:4 did not find expected node content"]),
    ] {
        assert_eq!(outline(text), want, "{text}");
    }
}

#[test]
fn other_kinds_are_counted() {
    let of = |version: &str, kind: &str| format!("---\napiVersion: {version}\nkind: {kind}\n");
    let text = [
        of("v1", "ConfigMap"),
        of("v1", "ConfigMap"),
        of("networking.k8s.io/v1", "Ingress"),
        of("projectcalico.org/v3", "IPPool"),
        of("v1", "Nod"),
        of("example.org/v1", "Thing"),
    ];
    assert_eq!(
        outline(&text.concat()),
        [
            "ignored 1 networking.k8s.io/v1/Ingress",
            "ignored 1 projectcalico.org/v3/IPPool",
            "ignored 2 v1/ConfigMap",
            "unknown 1 example.org/v1/Thing",
            "unknown 1 v1/Nod",
        ]
    );
}

#[test]
fn lists_are_read_item_by_item() {
    let text = "
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Node, metadata: {name: n1}}
- {apiVersion: v1, kind: Node, metadata: {name: N2}}
- {apiVersion: v1, kind: Node, metadata: {name: n3}, spec: {podCIDRs: 7}}
- 4
- {apiVersion: v1, kind: ConfigMap}
- apiVersion: v1
  kind: NodeList
  items: [{metadata: {name: n5}}]
";
    assert_eq!(
        outline(text),
        [
            "1:2 Node/n1",
            "1:2 Node/n5",
            "refused 1:2 Node/N2 items[1].metadata.name: \"N2\" is not a name; accepted are up to 253 lower-case letters, digits, \"-\" and \".\", each part between dots with a letter or digit first and last",
            "refused 1:2 Node/n3 items[2].spec.podCIDRs: invalid type: integer `7`, expected a sequence",
            "refused 1:2 ? items[3]: is not an object",
            "ignored 1 v1/ConfigMap",
        ]
    );
}

#[test]
fn fields_that_a_node_does_not_have_are_noted() {
    let text = "
apiVersion: v1
kind: Node
metadata: {name: n1, label: {a: b}, labels: {any: thing}, annotations: {any: thing}}
spec: {podCIDRS: [10.0.0.0/8], podCIDR: 10.0.0.0/8, unschedulable: null, taints: [{key: k, effect: NoSchedule, valeu: v}]}
status:
  addresses: [{type: InternalIP, adress: 10.0.0.1, address: 10.0.0.1}]
  capacity: {cpu: 2, memory: 16Gi}
";
    assert_eq!(
        outline(text),
        [
            "1:2 Node/n1",
            "doubt 1:2 Node/n1 metadata.label: a Node has no such field; it says nothing",
            "doubt 1:2 Node/n1 spec.podCIDRS: a Node has no such field; it says nothing",
            "doubt 1:2 Node/n1 spec.taints[0].valeu: a Node has no such field; it says nothing",
            "doubt 1:2 Node/n1 status.addresses[0].adress: a Node has no such field; it says nothing",
        ]
    );
}

#[test]
fn a_node_as_the_api_server_shows_it_is_read_without_a_note() {
    let text = r#"
apiVersion: v1
kind: Node
metadata:
  annotations: {node.alpha.kubernetes.io/ttl: "0"}
  creationTimestamp: "2026-01-02T03:04:05Z"
  labels: {kubernetes.io/hostname: n1, beta.kubernetes.io/arch: amd64}
  managedFields:
  - apiVersion: v1
    fieldsType: FieldsV1
    fieldsV1: {"f:metadata": {"f:annotations": {".": {}}}}
    manager: kubelet
    operation: Update
    subresource: status
    time: "2026-01-02T03:04:05Z"
  name: n1
  resourceVersion: "1234"
  uid: 6f1b0f3e-0000-4000-8000-000000000000
spec:
  podCIDR: 10.244.1.0/24
  podCIDRs: [10.244.1.0/24]
  taints: [{effect: NoSchedule, key: node-role.kubernetes.io/control-plane}]
status:
  addresses: [{address: 10.0.0.1, type: InternalIP}, {address: n1, type: Hostname}]
  allocatable: {cpu: "2", ephemeral-storage: "94992122264", memory: 3911Mi, pods: "110"}
  capacity: {cpu: "2", memory: 4Gi, pods: "110"}
  conditions:
  - lastHeartbeatTime: "2026-01-02T03:04:05Z"
    lastTransitionTime: "2026-01-02T03:04:05Z"
    message: kubelet is posting ready status
    reason: KubeletReady
    status: "True"
    type: Ready
  daemonEndpoints: {kubeletEndpoint: {Port: 10250}}
  images: [{names: [registry.example.org/pause:3.10], sizeBytes: 736664}]
  nodeInfo:
    architecture: amd64
    bootID: b
    containerRuntimeVersion: containerd://2.1.0
    kernelVersion: 6.1.0
    kubeProxyVersion: ""
    kubeletVersion: v1.33.0
    machineID: m
    operatingSystem: linux
    osImage: Debian
    systemUUID: s
  runtimeHandlers: [{features: {recursiveReadOnlyMounts: true, userNamespaces: false}, name: ""}]
"#;
    assert_eq!(outline(text), ["1:2 Node/n1"]);
}

#[test]
fn a_value_of_the_wrong_type_is_refused_by_field_and_leaves_other_documents_alone() {
    let text = format!(
        "{NODE}---\n{}spec:\n  podCIDRs:\n  - 10.0.0.0/8\n  - 7\n---\n{NODE}",
        NODE.replace("n1", "n2")
    );
    assert_eq!(
        outline(&text),
        [
            "1:1 Node/n1",
            "3:12 Node/n1",
            "refused 2:4 Node/n2 spec.podCIDRs[1]: invalid type: integer `7`, expected a string",
        ]
    );
}

#[test]
fn every_kind_that_policies_are_about_is_read_with_its_defaults() {
    let text = "
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {team: dba}}
---
apiVersion: v1
kind: Pod
metadata: {name: web}
---
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: shop}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: deny, namespace: \"\"}
spec: {podSelector: {}}
---
apiVersion: v1
kind: PodList
items: [{metadata: {name: a, namespace: x}}, {metadata: {name: b, namespace: x}}]
---
apiVersion: v1
kind: NamespaceList
items: [{metadata: {name: x}}]
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicyList
items: [{metadata: {name: open}, spec: {ingress: [{}]}}]
";
    assert_eq!(
        outline(text),
        [
            "1:2 Namespace/shop",
            "2:5 Pod/default/web",
            "3:9 Pod/shop/web",
            "4:13 NetworkPolicy/default/deny",
            "5:18 Pod/x/a",
            "5:18 Pod/x/b",
            "6:22 Namespace/x",
            "7:26 NetworkPolicy/default/open",
        ]
    );
}

#[test]
fn a_pod_or_namespace_that_is_wrong_is_refused_and_one_that_is_odd_is_doubted() {
    let text = "
apiVersion: v1
kind: Pod
metadata: {name: web, lables: {app: web}}
status: {podIPs: [{ip: 10.1.0.300}, {ip: 10.1.0.3}]}
---
apiVersion: v1
kind: Pod
metadata: {name: web}
spec: {hostNetwork: 'yes'}
---
apiVersion: v1
kind: Pod
metadata: {}
---
apiVersion: v1
kind: Namespace
metadata: {name: [shop]}
";
    let got = outline(text);
    assert_eq!(got[0], "1:2 Pod/default/web");
    assert!(got[1].starts_with("refused 2:6 Pod/default/web spec.hostNetwork: invalid type"));
    assert!(got[2].starts_with("refused 3:11 ? metadata.name: "), "{got:#?}");
    assert!(got[3].starts_with("refused 4:15 ? metadata.name: invalid type"), "{got:#?}");
    assert_eq!(
        got[4],
        "doubt 1:2 Pod/default/web metadata.lables: a Pod has no such field; it says nothing"
    );
    assert!(got[5].starts_with("doubt 1:2 Pod/default/web status.podIPs[0].ip: "), "{got:#?}");
    assert_eq!(got.len(), 6, "{got:#?}");
}

#[test]
fn documents_are_cut_where_yaml_starts_new_ones() {
    let cut = |text| chunks(text).iter().map(|c| (c.line, c.text)).collect::<Vec<_>>();
    for (text, want) in [
        ("", vec![]),
        ("a: 1", vec![(1, "a: 1")]),
        ("# x\n\na: 1\n---\nb: 2\n", vec![(3, "a: 1\n"), (4, "---\nb: 2\n")]),
        ("--- {a: 1}\n---\tx\n", vec![(1, "--- {a: 1}\n"), (2, "---\tx\n")]),
        ("---\r\na: 1\r\n---\r\n", vec![(1, "---\r\na: 1\r\n"), (3, "---\r\n")]),
        // No markers: part of a value, of a word, of a comment.
        ("a: |\n  ---\n  x\n", vec![(1, "a: |\n  ---\n  x\n")]),
        ("---a: 1\n# ---\n", vec![(1, "---a: 1\n# ---\n")]),
        // A directive is about the document behind it.
        ("%YAML 1.1\n---\na: 1\n", vec![(2, "---\na: 1\n")]),
        ("a: 1\n...\n%YAML 1.1\n---\nb: 2", vec![(1, "a: 1\n...\n%YAML 1.1\n---\nb: 2")]),
    ] {
        assert_eq!(cut(text), want, "{text:?}");
    }
}

#[test]
fn a_file_cut_into_documents_says_what_it_says_as_a_whole() {
    let texts = [
        format!("{NODE}---\n{NODE}...\n---\n{NODE}"),
        format!("{NODE}---\n# nothing\n---\n{NODE}---\n"),
        format!("%YAML 1.1\n---\n{NODE}...\n%YAML 1.1\n---\n{NODE}"),
        format!("--- # first\n{NODE}--- # second\n{NODE}"),
    ];
    for text in texts {
        let objects = |documents: Vec<Document>| {
            documents.into_iter().map(|d| d.objects.len()).collect::<Vec<_>>()
        };
        let whole = objects(read(&text).expect("YAML"));
        let cut: Vec<_> = chunks(&text)
            .into_iter()
            .flat_map(|chunk| objects(read(chunk.text).expect("YAML")))
            .collect();
        assert_eq!(cut, whole, "{text}");
    }
}

proptest::proptest! {
    #[test]
    fn any_text_gets_an_answer(text in proptest::prelude::any::<String>()) {
        let _ = outline(&text);
    }

    #[test]
    fn a_damaged_good_text_gets_an_answer(
        damages in proptest::collection::vec((0usize..200, proptest::prelude::any::<char>()), 1..6),
    ) {
        let mut text: Vec<char> = format!("{NODE}---\n{NODE}spec: {{podCIDRs: [10.0.0.0/8]}}\n").chars().collect();
        for (index, c) in damages {
            let index = index % text.len();
            text[index] = c;
        }
        let _ = outline(&text.into_iter().collect::<String>());
    }
}

/// An object without a namespace, where its kind needs none or is given one.
fn of(api_version: &str, kind: &str, name: &str, rest: &str) -> String {
    format!("---\napiVersion: {api_version}\nkind: {kind}\nmetadata: {{name: {name}}}\n{rest}\n")
}

#[test]
fn objects_of_all_kinds_are_read() {
    const V3: &str = "projectcalico.org/v3";
    const STORE: &str = "crd.projectcalico.org/v1";
    let text = [
        of("v1", "ServiceAccount", "web", ""),
        of("v1", "Service", "web", "spec: {clusterIP: 10.96.0.1, ports: [{port: 80}]}"),
        of("discovery.k8s.io/v1", "EndpointSlice", "web-1", "addressType: IPv4\nendpoints: []"),
        of(V3, "Tier", "security", "spec: {order: 10}"),
        of(V3, "Profile", "open", "spec: {labelsToApply: {a: b}}"),
        of(V3, "GlobalNetworkSet", "evil", "spec: {nets: [192.0.2.0/24]}"),
        of(V3, "NetworkSet", "offices", "spec: {nets: [192.0.2.0/24]}"),
        of(V3, "HostEndpoint", "n1-eth0", "spec: {node: n1, interfaceName: eth0}"),
        of(V3, "NetworkPolicy", "a", "spec: {selector: app == 'web'}"),
        of(STORE, "NetworkPolicy", "default.a", "spec: {selector: app == 'web'}"),
        of(V3, "GlobalNetworkPolicy", "a", "spec: {types: [Egress]}"),
        of(
            "policy.networking.k8s.io/v1alpha2",
            "ClusterNetworkPolicy",
            "a",
            "spec: {tier: Admin, priority: 1, subject: {namespaces: {}}}",
        ),
        of(V3, "StagedKubernetesNetworkPolicy", "a", "spec: {podSelector: {}}"),
        of(V3, "StagedNetworkPolicy", "a", "spec: {}"),
        of(V3, "StagedGlobalNetworkPolicy", "a", "spec: {}"),
        of(V3, "IPPool", "a", "spec: {}"),
        of(STORE, "BGPPeer", "a", "spec: {peerSelector: all()}"),
        of(V3, "BGPFilter", "a", "spec: {}"),
        of(V3, "BGPConfiguration", "default", "spec: {}"),
        of("v1", "Secret", "a", "data: {key: aHVzaA==}"),
    ]
    .concat();
    let found = outline(&text);
    let names: Vec<&str> =
        found.iter().map(|line| line.rsplit(' ').next().unwrap_or_default()).collect();
    assert_eq!(
        names,
        [
            "ServiceAccount/default/web",
            "Service/default/web",
            "EndpointSlice/default/web-1",
            "Tier/security",
            "Profile/open",
            "GlobalNetworkSet/evil",
            "NetworkSet/default/offices",
            "HostEndpoint/n1-eth0",
            "CalicoNetworkPolicy/default/a",
            "CalicoNetworkPolicy/default/default.a",
            "GlobalNetworkPolicy/a",
            "ClusterNetworkPolicy/a",
            "StagedKubernetesNetworkPolicy/default/a",
            "StagedNetworkPolicy/default/a",
            "StagedGlobalNetworkPolicy/a",
            "BGPPeer/a",
            "BGPFilter/a",
            "BGPConfiguration/default",
            "Secret/default/a",
            "projectcalico.org/v3/IPPool",
        ],
        "{found:#?}"
    );
}

#[test]
fn a_typed_list_says_what_its_items_are() {
    let text = "apiVersion: projectcalico.org/v3\nkind: GlobalNetworkSetList\nitems: \
                [{metadata: {name: a}, spec: {nets: [7]}}, {metadata: {name: b}, spec: {netz: []}}]";
    assert_eq!(
        outline(text),
        [
            "1:1 GlobalNetworkSet/b",
            "refused 1:1 GlobalNetworkSet/a items[0].spec.nets[0]: invalid type: integer `7`, \
             expected a string",
            "doubt 1:1 GlobalNetworkSet/b items[1].spec.netz: a GlobalNetworkSet has no such \
             field; it says nothing",
        ]
    );
}

#[test]
fn what_calico_stores_has_the_labels_of_its_users() {
    let stored = |annotation: &str| {
        let text = format!(
            "apiVersion: crd.projectcalico.org/v1\nkind: GlobalNetworkSet\nmetadata:\n  name: a\n  \
             labels: {{own: x}}\n  annotations: {{projectcalico.org/metadata: '{annotation}'}}\n\
             spec: {{nets: []}}\n"
        );
        let documents = read(&text).expect("YAML");
        let [Object::NetworkSet(set)] = documents[0].objects.as_slice() else {
            panic!("{documents:?}")
        };
        set.labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>()
    };
    let none: [&str; 0] = [];
    assert_eq!(stored(r#"{"labels":{"role":"evil"},"uid":"u"}"#), ["role=evil"]);
    assert_eq!(stored(r#"{"uid":"u"}"#), none, "it had none");
    assert_eq!(stored("not JSON"), ["own=x"]);
}
