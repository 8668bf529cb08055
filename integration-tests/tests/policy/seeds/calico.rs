//! S0.2, S0.3, S2.1: policies in Calico's language, cluster-wide and with denying rules.

use integration_tests::TestLab;

use super::{connectivity, namespace, play, pod};

/// `calico-global-deny-egress.yaml` of the tutorial, as it is.
pub(crate) const DENY_EGRESS: &str = r#"
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata:
  name: default-deny
spec:
  selector: projectcalico.org/namespace != "kube-system"
  types:
  - Egress
"#;

/// `calico-pod1-deny-pod2.yaml` of the tutorial, as it is.
pub(crate) const DENY_POD2: &str = r"
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata:
  name: deny-pod2
spec:
  selector: datou == 'pod1'
  ingress:
  - action: Deny
    protocol: TCP
    source:
      selector: datou == 'pod2'
";

const WITHIN: &str = "
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: within, namespace: test1}
spec: {podSelector: {}, ingress: [{from: [{podSelector: {}}]}]}
";

const FROM_TEST2: &str = "
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: from-test2}
spec:
  order: 10
  namespaceSelector: projectcalico.org/name == 'test1'
  ingress:
  - action: Allow
    source: {namespaceSelector: projectcalico.org/name == 'test2'}
";

pub(crate) fn pods() -> String {
    [
        connectivity::pods(),
        pod("default", "nginx2-near", "n1", "datou: pod2", ""),
        pod("kube-system", "coredns", "n2", "k8s-app: kube-dns", ""),
    ]
    .concat()
}

#[test]
fn s0_a_global_policy_denies_egress_but_for_one_namespace() {
    play("s02", &pods(), |lab, _| {
        deny_egress(lab, |lab| lab.apply(DENY_EGRESS), delete_global("default-deny"));
        deny_pod2(lab, |lab| lab.apply(DENY_POD2), delete_global("deny-pod2"));
    });
}

/// Deletes a policy of this name.
pub(crate) fn delete_global(name: &'static str) -> impl Fn(&TestLab) {
    move |lab| lab.delete("globalnetworkpolicy", name)
}

/// S0.2, applied and deleted as the caller does it.
pub(crate) fn deny_egress(lab: &TestLab, apply: impl Fn(&TestLab), delete: impl Fn(&TestLab)) {
    lab.expect(
        "S0.2: before",
        "nginx -> node/tor1:80 OK
         nginx -> nginx2:80 OK",
    );
    apply(lab);
    lab.expect(
        "S0.2: egress denied but in kube-system",
        "nginx -> node/tor1:80 TIMEOUT
         nginx2 -> node/tor1:53/udp TIMEOUT
         node/n1 -> node/tor1:80 OK
         kube-system/coredns -> node/tor1:53/udp OK
         kube-system/coredns -> node/tor1:80 OK
         nginx -> nginx2:80 TIMEOUT
         nginx -> near:80 TIMEOUT
         nginx -> nginx:80 OK
         kube-system/coredns -> nginx:80 OK
         node/n1 -> nginx:80 OK
         node/n2 -> nginx:80 OK",
    );
    delete(lab);
    lab.expect(
        "S0.2: deleted",
        "nginx -> node/tor1:80 OK
         nginx -> nginx2:80 OK
         nginx -> near:80 OK",
    );
}

/// S0.3, likewise; the pod that is denied is on the other node and on the same.
pub(crate) fn deny_pod2(lab: &TestLab, apply: impl Fn(&TestLab), delete: impl Fn(&TestLab)) {
    let all_open = "nginx2 -> nginx:80 OK
         nginx2-near -> nginx:80 OK
         nginx2 -> nginx icmp OK
         node/n2 -> nginx:80 OK
         near -> nginx:80 OK";
    lab.expect("S0.3: before", all_open);
    apply(lab);
    lab.expect(
        "S0.3: pod2 may not reach pod1, and as nothing is allowed nobody may but its host",
        "nginx2 -> nginx:80 TIMEOUT
         nginx2-near -> nginx:80 TIMEOUT
         nginx2 -> nginx icmp TIMEOUT
         node/n2 -> nginx:80 TIMEOUT
         near -> nginx:80 TIMEOUT
         kube-system/coredns -> nginx:80 TIMEOUT
         node/n1 -> nginx:80 OK
         nginx -> nginx2:80 OK
         nginx -> nginx2-near:80 OK",
    );
    delete(lab);
    lab.expect("S0.3: deleted", all_open);
}

#[test]
fn s2_a_global_policy_adds_to_what_a_namespace_allows() {
    play("s21", &namespaces(), |lab, _| two_namespaces(lab));
}

pub(crate) fn namespaces() -> String {
    [
        namespace("test1", ""),
        namespace("test2", ""),
        pod("test1", "busybox-test1-a", "n1", "", ""),
        pod("test1", "busybox-test1-b", "n2", "", ""),
        pod("test1", "busybox-test1-c", "n1", "", ""),
        pod("test2", "busybox-test2-a", "n1", "", ""),
        pod("test2", "busybox-test2-b", "n2", "", ""),
    ]
    .concat()
}

/// S2.1: each row between nodes and on one.
pub(crate) fn two_namespaces(lab: &TestLab) {
    let check = |why: &str, [within, into, out]: [&str; 3]| {
        lab.expect(
            why,
            &format!(
                "test1/busybox-test1-a -> test1/busybox-test1-b:80 {within}
                 test1/busybox-test1-a -> test1/busybox-test1-c:80 {within}
                 test2/busybox-test2-a -> test1/busybox-test1-b:80 {into}
                 test2/busybox-test2-b -> test1/busybox-test1-b:80 {into}
                 test1/busybox-test1-a -> test2/busybox-test2-a:80 {out}
                 test1/busybox-test1-a -> test2/busybox-test2-b:80 {out}"
            ),
        );
    };
    check("S2.1: no policy", ["OK", "OK", "OK"]);
    lab.apply(WITHIN);
    check("S2.1: within test1 only", ["OK", "TIMEOUT", "OK"]);
    lab.apply(FROM_TEST2);
    check("S2.1: and from test2", ["OK", "OK", "OK"]);
    lab.delete("globalnetworkpolicy", "from-test2");
    check("S2.1: the global policy is deleted", ["OK", "TIMEOUT", "OK"]);
    lab.delete("networkpolicy", "test1/within");
    check("S2.1: both are deleted", ["OK", "OK", "OK"]);
}
