//! S2.0: a host endpoint, closed but for its failsafe ports, then opened by a policy; and S0.2
//! where one is there.

use integration_tests::TestLab;

use super::{calico, connectivity, play};

const POLICY: &str = r#"
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: host-baseline}
spec:
  order: 100
  selector: role == 'k8s-worker'
  types: [Ingress, Egress]
  ingress:
  - {action: Allow, protocol: ICMP}
  - {action: Allow, protocol: ICMPv6}
  - action: Allow
    protocol: TCP
    source: {nets: [@NETS4@]}
    destination: {ports: [22, 10250, 80, "30000:32767"]}
  - action: Allow
    protocol: TCP
    source: {nets: [@NETS6@]}
    destination: {ports: [22, 10250, 80, "30000:32767"]}
  egress:
  - {action: Allow}
"#;

/// The host endpoint of n1's uplink.
fn host_endpoint(lab: &TestLab) -> String {
    let addresses: Vec<_> =
        lab.addresses("node/n1").iter().map(|address| format!("\"{address}\"")).collect();
    format!(
        "apiVersion: projectcalico.org/v3\nkind: HostEndpoint\nmetadata: {{name: node1-eth0, labels: \
         {{role: k8s-worker}}}}\nspec: {{node: n1, interfaceName: eth0, expectedIPs: [{}]}}\n",
        addresses.join(", ")
    )
}

fn policy(lab: &TestLab) -> String {
    let nets = |is_v4| {
        let addresses = lab.addresses("node/tor1").into_iter().filter(|a| a.is_ipv4() == is_v4);
        addresses.map(|address| format!("\"{address}\"")).collect::<Vec<_>>().join(", ")
    };
    POLICY.replace("@NETS4@", &nets(true)).replace("@NETS6@", &nets(false))
}

#[test]
fn s2_a_host_is_closed_but_for_failsafes_until_a_policy_opens_it() {
    play("s20", &connectivity::pods(), |lab, _| host(lab));
}

pub(crate) fn host(lab: &TestLab) {
    let open = "node/tor1 -> node/n1:22 OK
         node/tor1 -> node/n1:80 OK
         node/tor1 -> node/n1 icmp OK
         node/n1 -> node/tor1:80 OK
         node/n1 -> node/tor1 icmp OK";
    lab.expect("S2.0: no host endpoint", open);
    lab.apply(&host_endpoint(lab));
    let pods = "nginx -> nginx2:80 OK
         nginx2 -> nginx:80 OK
         nginx -> node/tor1:80 OK
         node/n1 -> nginx:80 OK
         nginx -> node/n1:80 OK
         nginx -> near:80 OK";
    lab.expect(
        "S2.0: a host endpoint and no policy",
        &format!(
            "node/tor1 -> node/n1:22 OK
             node/tor1 -> node/n1:80 TIMEOUT
             node/tor1 -> node/n1 icmp TIMEOUT
             node/n1 -> node/tor1:80 TIMEOUT
             node/n1 -> node/tor1:53/udp OK
             node/n1 -> node/n1:80 OK
             node/n2 -> node/n1:80 TIMEOUT
             node/tor1 -> node/n2:80 OK
             {pods}"
        ),
    );
    assert_established(lab);
    lab.apply(&policy(lab));
    lab.expect(
        "S2.0: a policy that allows some ports",
        &format!(
            "node/tor1 -> node/n1:22 OK
             node/tor1 -> node/n1:80 OK
             node/tor1 -> node/n1 icmp OK
             node/tor1 -> node/n1:53/udp TIMEOUT
             node/n1 -> node/tor1:80 OK
             node/n2 -> node/n1:80 TIMEOUT
             {pods}"
        ),
    );
    assert_established(lab);
    lab.delete("globalnetworkpolicy", "host-baseline");
    lab.apply(calico::DENY_EGRESS);
    lab.expect(
        "S0.2: the global policy selects the host endpoint, as that has no namespace",
        "node/n1 -> node/tor1:80 TIMEOUT
         node/n1 -> node/tor1:53/udp OK
         node/n2 -> node/tor1:80 OK",
    );
    lab.delete("globalnetworkpolicy", "default-deny");
    lab.delete("hostendpoint", "node1-eth0");
    lab.expect("S2.0: the host endpoint is deleted", open);
}

/// Every BGP session of n1 stands: their port is a failsafe.
fn assert_established(lab: &TestLab) {
    let text = lab.exec("n1", &["brindle", "peers", "-o", "json"]);
    let answer: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let peers = answer["items"].as_array().expect("items");
    assert!(!peers.is_empty());
    for peer in peers {
        assert_eq!(peer["state"], "Established", "{peer}");
    }
}
