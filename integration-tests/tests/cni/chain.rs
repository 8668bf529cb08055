//! The CNI plug-in as the first of a chain, with others' plug-ins behind it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::thread;

use integration_tests::cni::{Container, Node, OTHERS, StandIn, addresses};
use integration_tests::wait::SOON;
use integration_tests::{Netns, skip, until};
use serde_json::{Value, json};

use crate::support::{nothing_is_left, reaches};

fn can_run(test: &str, plugins: &[&str], programs: &[&str]) -> bool {
    let missing = plugins.iter().find(|plugin| !Path::new(OTHERS).join(plugin).exists());
    let missing = missing.map(|name| {
        format!("{OTHERS}/{name} is not installed (Debian: containernetworking-plugins)")
    });
    skip::unless(test, missing) && skip::can_run(test, programs)
}

/// Answers every connection to a port of a pod with the pod's name.
fn serve(pod: &Container, port: u16) {
    for any in ["0.0.0.0", "[::]"] {
        let address = format!("{any}:{port}");
        let listener = pod.netns.inside(|| {
            let address: SocketAddr = address.parse().unwrap();
            let socket = socket2::Socket::new(
                socket2::Domain::for_address(address),
                socket2::Type::STREAM,
                None,
            )?;
            if address.is_ipv6() {
                socket.set_only_v6(true)?;
            }
            socket.bind(&address.into())?;
            socket.listen(8)?;
            Ok::<TcpListener, std::io::Error>(socket.into())
        });
        let (listener, name) = (listener.unwrap(), pod.id.clone());
        thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                let _ = stream.write_all(name.as_bytes());
            }
        });
    }
}

/// What a server says.
fn hear(from: &Netns, server: &str) -> Result<String, String> {
    let address: SocketAddr = server.parse().unwrap();
    from.inside(|| {
        let mut stream = TcpStream::connect_timeout(&address, std::time::Duration::from_secs(2))?;
        stream.set_read_timeout(Some(std::time::Duration::from_secs(2)))?;
        let mut said = String::new();
        stream.read_to_string(&mut said).map(|_| said)
    })
    .map_err(|error: std::io::Error| error.to_string())
}

#[test]
fn portmap_behind_us_forwards_a_port_of_the_node() {
    let test = "portmap_behind_us_forwards_a_port_of_the_node";
    if !can_run(test, &["portmap"], &["ip", "iptables", "ip6tables", "ping"]) {
        return;
    }
    let mut node = Node::new();
    let _agent = StandIn::listen(&node.socket(), &["10.244.1.0/24", "fd00:1::/64"]);
    let portmap = json!({"type": "portmap", "capabilities": {"portMappings": true}});
    node.list["plugins"].as_array_mut().unwrap().push(portmap);
    let client = Netns::new("client").unwrap();
    node.netns.cable("up0", &client, "eth0").unwrap();
    for (netns, interface, number) in [(&node.netns, "up0", 1), (&client, "eth0", 2)] {
        netns.add_address(interface, &format!("198.51.100.{number}/24")).unwrap();
        netns.add_address(interface, &format!("2001:db8:9::{number}/64")).unwrap();
    }
    // Whom portmap masquerades for asks where the default route is.
    node.netns.ip("route add default via 198.51.100.2").unwrap();
    node.netns.ip("-6 route add default via 2001:db8:9::2").unwrap();

    for version in ["0.3.1", "0.4.0", "1.0.0"] {
        node.list["cniVersion"] = json!(version);
        let ports = json!({"portMappings": [
            {"hostPort": 8080, "containerPort": 80, "protocol": "tcp"},
        ]});
        let pod = Container::new("web");
        let result = node.add(&pod, &ports).unwrap();
        assert_eq!(addresses(&result).len(), 2, "{result}");
        serve(&pod, 80);
        for server in ["198.51.100.1:8080", "[2001:db8:9::1]:8080"] {
            until(&format!("{version}: the port {server} is forwarded"), SOON, || {
                hear(&client, server).map(|said| assert_eq!(said, "web"))
            });
        }
        if version != "0.3.1" {
            // Not portmap's own check: 1.1.1 looks for its IPv4 rules among those of IPv6.
            node.call("CHECK", &pod, 0, &json!({"prevResult": node.result(&pod)})).unwrap();
        }
        node.del(&pod, &ports).unwrap();
        nothing_is_left(&node, &[&pod]);
        assert!(hear(&client, "198.51.100.1:8080").is_err(), "{version}");
    }
}

/// Whether the kernel has what the plug-in bandwidth needs.
fn limits_traffic() -> Option<String> {
    let netns = Netns::new("probe").ok()?;
    let tc = |words: &str| netns.run("tc", &words.split(' ').collect::<Vec<_>>());
    let made = netns
        .ip("link add ifb9 type ifb")
        .and_then(|_| tc("qdisc add dev ifb9 root tbf rate 1mbit burst 10k latency 9ms"))
        .and_then(|_| tc("qdisc add dev ifb9 ingress"));
    made.err().map(|error| format!("this kernel cannot limit traffic: {error}"))
}

#[test]
fn bandwidth_behind_us_finds_the_nodes_end() {
    let test = "bandwidth_behind_us_finds_the_nodes_end";
    if !can_run(test, &["bandwidth"], &["ip", "tc", "ping"])
        || !skip::unless(test, limits_traffic())
    {
        return;
    }
    let mut node = Node::new();
    let _agent = StandIn::listen(&node.socket(), &["10.244.1.0/24"]);
    node.netns.add_address("lo", "192.0.2.1/32").unwrap();
    let bandwidth = json!({"type": "bandwidth", "capabilities": {"bandwidth": true}});
    node.list["plugins"].as_array_mut().unwrap().push(bandwidth);
    let limits = json!({"bandwidth": {
        "ingressRate": 8_000_000, "ingressBurst": 800_000,
        "egressRate": 8_000_000, "egressBurst": 800_000,
    }});
    let pod = Container::new("slow");
    let result = node.add(&pod, &limits).unwrap();
    let name = result["interfaces"][0]["name"].as_str().unwrap();
    let shown = node.netns.run("tc", &["qdisc", "show", "dev", name]).unwrap();
    assert!(shown.contains("tbf") && shown.contains("ingress"), "{shown}");
    reaches(&node.netns, &addresses(&result)[0]);
    node.check(&pod, &limits).unwrap();
    node.del(&pod, &limits).unwrap();
    nothing_is_left(&node, &[&pod]);
}

#[test]
fn behind_another_plug_in_we_refuse() {
    if !can_run("behind_another_plug_in_we_refuse", &["tuning"], &["ip"]) {
        return;
    }
    let mut node = Node::new();
    let _agent = StandIn::listen(&node.socket(), &["10.244.1.0/24"]);
    node.netns.add_address("lo", "192.0.2.1/32").unwrap();
    let pod = Container::new("pod");
    let more = json!({"prevResult": {"cniVersion": "1.0.0", "interfaces": [{"name": "eth0"}]}});
    let error = node.call("ADD", &pod, 0, &more).unwrap_err();
    assert_eq!(error.code(), Some(2), "{error}");
    // After us, tuning changes the hardware address, and the kernel forgets the neighbours: now
    // the pod asks for its next hop, and the node, which knows a way for everything, answers.
    let uplink = Netns::new("uplink").unwrap();
    node.netns.cable("up0", &uplink, "eth0").unwrap();
    node.netns.ip("route add default dev up0").unwrap();
    let tuning = json!({"type": "tuning", "mac": "02:00:00:00:00:77"});
    node.list["plugins"].as_array_mut().unwrap().push(tuning);
    let result: Value = node.add(&pod, &json!({})).unwrap();
    assert_eq!(result["interfaces"][1]["mac"], "02:00:00:00:00:77");
    // A check goes by the last result.
    node.check(&pod, &json!({})).unwrap();
    reaches(&node.netns, &addresses(&result)[0]);
    node.del(&pod, &json!({})).unwrap();
    nothing_is_left(&node, &[&pod]);
}
