//! S0: two nodes with a pod each, then a policy that denies all egress.

use integration_tests::TestLab;

use super::{play, pod};

const DENY_EGRESS: &str = "
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: default-deny-egress}
spec:
  podSelector: {}
  policyTypes: [Egress]
";

pub(crate) fn pods() -> String {
    [
        pod("default", "nginx", "n1", "datou: pod1", ""),
        pod("default", "nginx2", "n2", "datou: pod2", ""),
        pod("default", "near", "n1", "datou: pod3", ""),
    ]
    .concat()
}

/// The rows of S0.0; the router stands for the internet: it is outside of the cluster.
fn baseline(lab: &TestLab, why: &str) {
    lab.expect(
        why,
        "node/n1 -> nginx:80 OK
         node/n1 -> nginx2:80 OK
         node/n1 -> node/n2 icmp OK
         nginx -> nginx:80 OK
         nginx -> 127.0.0.1 icmp OK
         nginx -> nginx2:80 OK
         nginx -> near:80 OK
         nginx -> node/n1 icmp OK
         nginx -> node/n2 icmp OK
         nginx -> node/tor1:80 OK
         nginx -> node/tor1:53/udp OK
         near -> nginx icmp OK",
    );
}

#[test]
fn s0_egress_is_denied_and_opens_again() {
    play("s0", &pods(), |lab, _| deny_egress(lab));
}

pub(crate) fn deny_egress(lab: &TestLab) {
    baseline(lab, "S0.0: no policy, everything is open");
    lab.apply(DENY_EGRESS);
    lab.expect(
        "S0.1: all egress denied",
        "nginx -> node/tor1:80 TIMEOUT
         nginx -> node/tor1:53/udp TIMEOUT
         node/n1 -> node/tor1:80 OK
         nginx -> 127.0.0.1 icmp OK
         nginx -> nginx:80 OK
         nginx -> nginx2:80 TIMEOUT
         nginx -> near:80 TIMEOUT
         nginx -> node/n1 icmp TIMEOUT
         nginx -> node/n1:22 TIMEOUT
         nginx -> node/n2 icmp TIMEOUT
         node/n1 -> nginx:80 OK
         node/n1 -> nginx2:80 OK
         node/n2 -> nginx:53/udp OK",
    );
    lab.delete("networkpolicy", "default-deny-egress");
    baseline(lab, "S0.1: the policy is deleted");
}

#[test]
fn s0_what_leaves_the_cluster_is_masqueraded_and_nothing_else() {
    play("s0_nat", &pods(), |lab, _| masquerade(lab));
}

pub(crate) fn masquerade(lab: &TestLab) {
    let near = lab.addresses("near");
    let cases = [("node/tor1", "node/n1"), ("nginx2", "nginx"), ("near", "nginx")];
    for (to, seen_as) in cases {
        let want = lab.addresses(seen_as);
        for address in lab.addresses(to) {
            let want = want.iter().find(|a| a.is_ipv4() == address.is_ipv4());
            let seen = super::dns::seen_by(lab, "nginx", address);
            assert_eq!(Some(&seen), want, "nginx to {to} at {address} (near: {near:?})");
        }
    }
}
