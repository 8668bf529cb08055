//! What a pod costs, in the source and in the policy half together: run by hand with
//! `cargo test -p brindle --lib -- --ignored --nocapture what_a_pod_costs`.

use brindle_policy::World;

use super::*;

/// A pod as deployments of ten make them, with what kubelets and managers add.
fn pod(number: usize) -> Reading {
    let (deployment, namespace, node) = (number / 10, number / 100, number % 500);
    let address = std::net::Ipv4Addr::from(0x0a00_0000 + u32::try_from(number).expect("few"));
    let text = format!(
        r#"{{"metadata":{{"name":"app-{deployment}-6d4cf56db6-{number:05}",
        "namespace":"team-{namespace}","creationTimestamp":"2026-01-01T00:{:02}:00Z",
        "labels":{{"app.kubernetes.io/name":"app-{deployment}","app.kubernetes.io/component":"web",
        "app.kubernetes.io/instance":"app-{deployment}-prod","pod-template-hash":"6d4cf56db6"}},
        "managedFields":[{{"manager":"kubelet","operation":"Update","fieldsV1":{{"f:status":{{}}}}}}]}},
        "spec":{{"nodeName":"node-{node}","serviceAccountName":"app-{deployment}","containers":
        [{{"name":"main","image":"registry.example.org/app:1","ports":
        [{{"name":"http","containerPort":8080}},{{"name":"metrics","containerPort":9090}}]}}]}},
        "status":{{"phase":"Running","podIP":"{address}","podIPs":[{{"ip":"{address}"}}]}}}}"#,
        deployment % 60,
    );
    read_json(Kind::Pod, &text)
}

/// Octets that are allocated now.
fn allocated() -> usize {
    // SAFETY: it only reads the allocator's own figures.
    let figures = unsafe { libc::mallinfo2() };
    figures.uordblks + figures.hblkhd
}

#[test]
#[ignore = "measures, and tests nothing"]
fn what_a_pod_costs() {
    for pods in [10_000, 100_000] {
        let before = allocated();
        let mut plain: BTreeMap<Key, Object> = BTreeMap::new();
        for number in 0..pods {
            let object = pod(number).object.expect("a good pod");
            plain.insert(object.key(), object);
        }
        let apart = (allocated() - before) / pods;
        drop(plain);

        let before = allocated();
        let mut view = View::new(HOLD);
        view.list(Kind::Pod, Vec::new(), start());
        for number in 0..pods {
            view.apply(Kind::Pod, pod(number));
        }
        let source = (allocated() - before) / pods;
        for kind in Kind::ALL {
            if kind != Kind::Pod {
                view.list(kind, Vec::new(), start());
            }
        }
        let mut world = World::default();
        for change in view.take() {
            if let Change::Policy(change) = change {
                world.apply(change);
            }
        }
        world.take_touched();
        let both = (allocated() - before) / pods;
        println!(
            "{pods} pods: {apart} octets a pod with texts of its own, {source} with shared ones, \
             {both} with what the policy half adds"
        );
    }
}
