//! S1: an open namespace, deny all by default, allow by label, label the running client.

use integration_tests::TestLab;

use super::dns::{Cluster, resolves};
use super::{namespace, play, pod};

const DENY_ALL: &str = "
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: deny-all-by-default, namespace: ns-1}
spec: {podSelector: {}}
";

const ALLOW: &str = "
kind: NetworkPolicy
apiVersion: networking.k8s.io/v1
metadata: {name: allow, namespace: ns-1}
spec:
  podSelector:
    matchLabels:
      app: http-echo
  ingress:
    - from:
      - podSelector:
          matchLabels:
            app: busybox
";

#[test]
fn s1_a_client_is_let_in_by_its_label() {
    play("s1", &manifests(), let_in_by_label);
}

pub(crate) fn manifests() -> String {
    let echo = "app: http-echo, run: http-echo";
    [
        namespace("ns-1", ""),
        pod("ns-1", "http-echo", "n1", echo, "{containerPort: 80}"),
        pod("ns-1", "busybox", "n2", "run: busybox", ""),
        pod("ns-1", "neighbour", "n1", "run: busybox", ""),
        pod("kube-system", "dns", "n2", "k8s-app: kube-dns", ""),
    ]
    .concat()
}

pub(crate) fn let_in_by_label(lab: &TestLab, backend: &str) {
    let cluster = Cluster::new(lab, backend, "kube-system/dns");
    cluster.name("http-echo.ns-1.svc.cluster.local", "10.96.0.80");
    cluster.start();
    cluster.service("10.96.0.80", 80, "ns-1/http-echo", 80);
    let both = |service: &str, direct: &str| {
        format!(
            "ns-1/busybox -> 10.96.0.80:80 {service}
             ns-1/neighbour -> 10.96.0.80:80 {service}
             ns-1/busybox -> ns-1/http-echo:80 {direct}
             ns-1/neighbour -> ns-1/http-echo:80 {direct}"
        )
    };
    lab.expect("S1.1: the namespace is open", &both("OK", "OK"));

    lab.apply(DENY_ALL);
    lab.expect("S1.2: deny all by default", &both("TIMEOUT", "TIMEOUT"));
    let name = "http-echo.ns-1.svc.cluster.local";
    assert!(resolves(lab, "ns-1/busybox", name), "only ingress is isolated: names resolve");
    lab.expect(
        "S1.2: probes of the own node",
        "node/n1 -> ns-1/http-echo:80 OK
         node/n2 -> ns-1/busybox:80 OK
         node/n2 -> ns-1/http-echo:80 TIMEOUT",
    );

    lab.delete("networkpolicy", "ns-1/deny-all-by-default");
    lab.apply(ALLOW);
    lab.expect("S1.3: the client has no such label", &both("TIMEOUT", "TIMEOUT"));

    for client in ["ns-1/busybox", "ns-1/neighbour"] {
        lab.label("pod", client, &["app=busybox"]);
    }
    lab.expect("S1.4: the running client is labelled", &both("OK", "OK"));
    for client in ["ns-1/busybox", "ns-1/neighbour"] {
        lab.label("pod", client, &["app-"]);
    }
    lab.expect("S1.4: the label is taken away", &both("TIMEOUT", "TIMEOUT"));

    lab.delete("namespace", "ns-1");
    integration_tests::until("nothing of ns-1 is left in the kernel", LIMIT, || {
        let rules = lab.exec("n1", &[&format!("iptables-{backend}-save")]);
        let left: Vec<&str> = rules.lines().filter(|l| l.contains("ns-1")).collect();
        if left.is_empty() { Ok(()) } else { Err(left.join("\n")) }
    });
    cluster.end();
}

/// Far more than it takes: when, is measured elsewhere.
const LIMIT: std::time::Duration = std::time::Duration::from_secs(20);
