//! The acceptance criteria of Kubernetes NetworkPolicy that need a kernel, with real packets;
//! `kNN` is the criterion's number. Those that the engine decides alone are tested there.

use std::net::UdpSocket;
use std::time::Duration;

use brindle::lab::{exec, netns};
use integration_tests::{TestLab, skip, until};

const BACKENDS: [&str; 2] = ["nft", "legacy"];

/// Long enough for anything on a busy machine; how long it takes is measured elsewhere.
const LIMIT: Duration = Duration::from_secs(30);

const CLOSED: &str = "
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: closed}
spec: {podSelector: {matchLabels: {app: web}}, policyTypes: [Ingress, Egress]}
";

fn play(name: &str, args: &[&str], manifests: &str, scenario: impl Fn(&TestLab, &str)) {
    for backend in BACKENDS {
        let program = format!("iptables-{backend}");
        if !skip::can_run(&format!("{name} on {backend}"), &[&program, "ipset"]) {
            continue;
        }
        let mut words = vec!["--nodes", "2", "--dual-stack", "--backend", backend];
        words.extend(args);
        scenario(&TestLab::up(&format!("{name}_{backend}"), &words, manifests), backend);
    }
}

fn pod(name: &str, node: &str, labels: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, labels: {{{labels}}}}}\n\
         spec: {{nodeName: {node}, containers: [{{name: main, image: any}}]}}\n"
    )
}

/// `web` and `near` on n1, `far` on n2.
fn three_pods() -> String {
    [pod("web", "n1", "app: web"), pod("near", "n1", "app: near"), pod("far", "n2", "app: far")]
        .concat()
}

/// A policy named `more` for the web pod, with this `spec` behind its selector.
fn more(spec: &str) -> String {
    format!(
        "---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: more}}\n\
         spec: {{podSelector: {{matchLabels: {{app: web}}}}, {spec}}}\n"
    )
}

#[test]
fn k31_to_k36_nodes_and_pods_own_addresses() {
    play("k31", &[], &three_pods(), |lab, _| {
        lab.apply(CLOSED);
        lab.expect(
            "K31 own node, K32 other node, K33 to the own node, K36 the own address",
            "node/n1 -> web:80 OK
             node/n1 -> web:53/udp OK
             node/n1 -> web icmp OK
             node/n2 -> web:80 TIMEOUT
             node/n2 -> web icmp TIMEOUT
             web -> node/n1:80 TIMEOUT
             web -> node/n1:53/udp TIMEOUT
             web -> node/n1 icmp TIMEOUT
             web -> web:80 OK
             web -> 127.0.0.1 icmp OK
             near -> web:80 TIMEOUT
             far -> web:80 TIMEOUT
             web -> near:80 TIMEOUT
             web -> far:80 TIMEOUT",
        );
        let nodes: Vec<String> = lab
            .addresses("node/n2")
            .iter()
            .map(|a| {
                format!("{{ipBlock: {{cidr: \"{a}/{}\"}}}}", if a.is_ipv4() { 32 } else { 128 })
            })
            .collect();
        lab.apply(&more(&format!("ingress: [{{from: [{}]}}]", nodes.join(", "))));
        lab.expect(
            "K32: a block opens for the other node",
            "node/n2 -> web:80 OK\nfar -> web:80 TIMEOUT",
        );
        // web's ingress open to near, near's egress closed
        lab.apply(&more("ingress: [{from: [{podSelector: {matchLabels: {app: near}}}]}]"));
        lab.apply(
            "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: no-egress}\n\
             spec: {podSelector: {matchLabels: {app: near}}, policyTypes: [Egress]}\n",
        );
        lab.expect("K34: blocked by its own egress", "near -> web:80 TIMEOUT");
        lab.delete("networkpolicy", "no-egress");
        lab.expect(
            "K35: replies pass where the way back is isolated",
            "near -> web:80 OK\nweb -> near:80 TIMEOUT",
        );
    });
}

#[test]
fn k28_errors_of_allowed_flows_pass_where_echo_is_denied() {
    play("k28", &[], &three_pods(), |lab, _| {
        lab.apply(&more("ingress: [{ports: [{port: 80}, {protocol: UDP, port: 53}]}]"));
        lab.expect("K28", "near -> web:80 OK\nnear -> web icmp TIMEOUT\nfar -> web icmp TIMEOUT");
        // nobody listens on UDP 53: the pod's kernel says so, and that must get back
        let plan = lab.plan();
        let place = exec::find(&plan, "far").expect("it is there").namespace;
        for address in lab.addresses("web") {
            let any = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
            let error = netns::within(place, || {
                let socket = UdpSocket::bind(any)?;
                socket.connect((address, 53))?;
                socket.set_read_timeout(Some(Duration::from_secs(2)))?;
                socket.send(b"?")?;
                Ok(socket.recv(&mut [0; 8]).map_err(|error| error.kind()))
            });
            let error = error.expect("the pod is there");
            assert_eq!(error, Err(std::io::ErrorKind::ConnectionRefused), "{address}");
        }
    });
}

#[test]
fn k37_a_pod_reaches_itself_through_a_service_only_if_allowed() {
    play("k37", &[], &three_pods(), |lab, backend| {
        let web = lab.addresses("web")[0];
        let service = "10.96.0.37";
        let program = format!("iptables-{backend}");
        let to = format!("{web}:80");
        // what kube-proxy does for hairpins: translated before routing, masqueraded behind it
        let nat = [&program[..], "-w", "-t", "nat", "-A"];
        let hairpin = ["POSTROUTING", "-s", &web.to_string(), "-d", &web.to_string()];
        let dnat = ["PREROUTING", "-d", service, "-p", "tcp", "--dport", "80"];
        let target = ["-j", "DNAT", "--to-destination", &to];
        lab.exec("n1", &[&nat[..], &dnat, &target].concat());
        lab.exec("n1", &[&nat[..], &hairpin, &["-j", "MASQUERADE"]].concat());
        // the own node's line puts a listener behind the Service
        let check = |outcome: &str| format!("node/n1 -> web:80 OK\nweb -> {service}:80 {outcome}");
        lab.expect("K37: no policy", &check("OK"));
        lab.apply(CLOSED);
        lab.expect("K37: deny all", &check("TIMEOUT"));
        lab.apply(&more(
            "policyTypes: [Ingress, Egress], egress: [{}], ingress: [{from: [{podSelector: {}}]}]",
        ));
        lab.expect("K37: open to its namespace", &check("OK"));
    });
}

#[test]
fn k39_to_k43_and_k46_changes_take_effect_and_leave_nothing() {
    play("k39", &[], &three_pods(), |lab, backend| {
        let before = ours(lab, backend);
        lab.apply(CLOSED);
        lab.apply(&more("ingress: [{from: [{podSelector: {matchLabels: {role: client}}}]}]"));
        for node in ["n1", "n2"] {
            lab.apply(&pod("fresh", node, "role: client"));
            lab.expect("K39: a new client", "fresh -> web:80 OK");
            lab.label("pod", "fresh", &["role-"]);
            lab.expect("K40: relabelled out of the peer", "fresh -> web:80 TIMEOUT");
            lab.label("pod", "web", &["app=other"]);
            lab.expect("K40: relabelled out of the subject", "fresh -> web:80 OK");
            lab.label("pod", "web", &["app=web"]);
            lab.label("pod", "fresh", &["role=client"]);
            lab.expect("K40: and back", "fresh -> web:80 OK\nnear -> web:80 TIMEOUT");
            let old = lab.addresses("fresh");
            lab.delete("pod", "fresh");
            lab.apply(&pod("fresh", node, "role: client"));
            lab.expect("K46: the same name, another address", "fresh -> web:80 OK");
            assert_ne!(old, lab.addresses("fresh"));
            until("K46: the old address is in no set", LIMIT, || {
                let sets = lab.exec("n1", &["ipset", "save"]);
                let left = old.iter().find(|a| sets.contains(&format!(" {a}\n")));
                left.map_or(Ok(()), |address| Err(format!("{address} in\n{sets}")))
            });
            lab.delete("pod", "fresh");
        }
        lab.delete("networkpolicy", "closed");
        lab.delete("networkpolicy", "more");
        lab.expect("K42: open again", "near -> web:80 OK\nfar -> web:80 OK\nweb -> far:80 OK");
        until("K42: nothing is left in the kernel", LIMIT, || {
            let after = ours(lab, backend);
            if after == before { Ok(()) } else { Err(format!("{before}\nis now\n{after}")) }
        });
    });
}

/// All rules and sets on n1, without counters.
fn ours(lab: &TestLab, backend: &str) -> String {
    let mut text = String::new();
    for program in ["iptables", "ip6tables"] {
        let rules = lab.exec("n1", &[&format!("{program}-{backend}-save")]);
        text.extend(rules.lines().filter(|l| l.starts_with("-A")).map(|l| format!("{l}\n")));
    }
    text + &lab.exec("n1", &["ipset", "list", "-n"])
}

#[test]
fn k51_an_ipv4_block_opens_nothing_for_ipv6() {
    play("k51", &[], &three_pods(), |lab, _| {
        lab.apply(&more("ingress: [{from: [{ipBlock: {cidr: 0.0.0.0/0}}]}]"));
        let line = |address: &std::net::IpAddr| {
            let outcome = if address.is_ipv4() { "OK" } else { "TIMEOUT" };
            let to = if address.is_ipv4() { address.to_string() } else { format!("[{address}]") };
            format!("near -> {to}:80 {outcome}\nfar -> {to}:80 {outcome}\n")
        };
        lab.expect("K51", &lab.addresses("web").iter().map(line).collect::<String>());
    });
}

#[test]
fn k55_pods_that_start_without_the_agent_stay_closed_until_it_is_back() {
    let pods = three_pods() + &pod("beside", "n1", "app: beside");
    play("k55", &[], &pods, |lab, _| {
        lab.apply(CLOSED);
        lab.expect("before", "near -> web:80 TIMEOUT\nnear -> beside:80 OK");
        lab.good(&["fault", "kill", "n1"]);
        let new = pod("late", "n1", "app: web") + &pod("free", "n1", "app: free");
        let said = lab.apply_in_vain(&new);
        assert!(said.contains("the agent of n1 does not run"), "{said}");
        for name in ["late", "free"] {
            let output = lab.run(&["exec", name, "--", "true"]);
            assert!(!output.status.success(), "{name} is not connected");
        }
        // pods of one node: what the other node does when a peer is gone is another matter
        lab.expect(
            "K55: closed while nobody is there; what was programmed goes on",
            "near -> web:80 TIMEOUT
             near -> beside:80 OK
             node/n1 -> web:80 OK",
        );
        lab.good(&["fault", "start", "n1"]);
        lab.apply(&new);
        lab.expect(
            "K55: open after the start, to whom policies allow it",
            "free -> far:80 OK
             far -> free:80 OK
             free -> beside:80 OK
             beside -> free:80 OK
             far -> late:80 TIMEOUT
             beside -> late:80 TIMEOUT
             late -> beside:80 TIMEOUT",
        );
    });
}

#[test]
fn k58_a_node_port_is_judged_by_the_clients_own_address() {
    play("k58", &[], &three_pods(), |lab, backend| {
        let (web, node) = (lab.addresses("web")[0], lab.addresses("node/n1")[0]);
        let program = format!("iptables-{backend}");
        lab.exec(
            "n1",
            &[
                &program,
                "-w",
                "-t",
                "nat",
                "-A",
                "PREROUTING",
                "-d",
                &node.to_string(),
                "-p",
                "tcp",
                "--dport",
                "30080",
                "-j",
                "DNAT",
                "--to-destination",
                &format!("{web}:80"),
            ],
        );
        let client = lab.addresses("node/tor1")[0];
        // the own node's line puts a listener behind the node port
        let check =
            |outcome: &str| format!("node/n1 -> web:80 OK\nnode/tor1 -> {node}:30080 {outcome}");
        lab.apply(CLOSED);
        lab.expect("K58: closed", &check("TIMEOUT"));
        lab.apply(&more(&format!("ingress: [{{from: [{{ipBlock: {{cidr: {client}/32}}}}]}}]")));
        lab.expect("K58: open to the client's address", &check("OK"));
    });
}
