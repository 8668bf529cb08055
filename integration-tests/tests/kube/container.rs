//! The agent in a container as the shipped manifest describes it, with the image's file system: that
//! what the manifest grants is enough.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};

use std::time::Duration;

use brindle::cluster::kubernetes::access;
use integration_tests::agent::binary;
use integration_tests::container::{self, Node};
use integration_tests::wait::{SOON, met};
use integration_tests::{ApiServer, Host, Lan, Netns, Process, until};
use serde_json::Value;

const NAMESPACE: &str = "kube-system";
/// Where the API server is for pods, as the kubelet tells them.
const SERVICE: &str = "127.0.0.1:6443";

fn manifest(path: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/kubernetes");
    folder.join(path).display().to_string()
}

/// What a kube-proxy does: connections inside the namespace go to `server` outside.
fn relay(netns: &Netns, server: SocketAddr) {
    let listener = netns.inside(|| TcpListener::bind(SERVICE)).expect("the port is free there");
    std::thread::spawn(move || {
        for inner in listener.incoming().flatten() {
            // Closed again where there is nobody: as refused as it gets.
            let Ok(outer) = TcpStream::connect(server) else { continue };
            for (mut from, mut to) in [(&inner, &outer), (&outer, &inner)]
                .map(|(a, b)| (a.try_clone().expect("a socket"), b.try_clone().expect("a socket")))
            {
                std::thread::spawn(move || {
                    let _ = std::io::copy(&mut from, &mut to);
                    let _ = to.shutdown(Shutdown::Write);
                });
            }
        }
    });
}

/// The status and text that health answers at 127.0.0.1:9798, as a kubelet asks it.
fn probe(netns: &Netns, path: &str) -> Result<String, String> {
    let answer = netns.inside(|| {
        let mut stream = TcpStream::connect("127.0.0.1:9798")?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: 127.0.0.1:9798\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        std::io::Result::Ok(answer)
    });
    let answer = answer.map_err(|error| error.to_string())?;
    if answer.starts_with("HTTP/1.1 200") { Ok(answer) } else { Err(answer) }
}

/// What a pod of the DaemonSet is given, and where.
struct Given {
    config: PathBuf,
    account: PathBuf,
}

impl Given {
    /// What the API server has: the ConfigMap as files, a token of the ServiceAccount.
    fn by(server: &ApiServer) -> Self {
        let text = server.kubectl(&["get", "cm", "brindle", "-n", NAMESPACE, "-o", "json"]);
        let map: Value = serde_json::from_str(&text).expect("JSON");
        let config = server.folder().join("config");
        let account = server.folder().join("account");
        for folder in [&config, &account] {
            std::fs::create_dir_all(folder).expect("the test's folder");
        }
        for (name, text) in map["data"].as_object().expect("a map") {
            std::fs::write(config.join(name), text.as_str().expect("text")).expect("a file");
        }
        let token = server.create_token(NAMESPACE, "brindle");
        std::fs::write(account.join("token"), token).expect("a file");
        std::fs::write(account.join("namespace"), NAMESPACE).expect("a file");
        std::fs::copy(server.ca(), account.join("ca.crt")).expect("a file");
        Self { config, account }
    }
}

/// A node, and the agent that the DaemonSet brings to it.
struct Member {
    host: Host,
    node: Node,
    agent: Process,
}

impl Member {
    fn start(server: &ApiServer, lan: &Lan, number: u8, pod: &Value, given: &Given) -> Self {
        let name = format!("n{number}");
        let host = lan.host(&name, number);
        let url = server.url();
        let address = url.trim_start_matches("https://").parse().expect("an address with a port");
        relay(&host.netns, address);
        for setting in ["net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"] {
            host.netns.sysctl(setting, "0").expect("both families are there");
        }
        let node = Node::new(&host.netns, &server.folder().join(&name));
        let volumes = [
            ("config", &*given.config),
            ("/var/run/secrets/kubernetes.io/serviceaccount", &*given.account),
        ];
        let (service, port) = SERVICE.split_once(':').expect("an address with a port");
        let environment = [
            ("BRINDLE_NODE_NAME", &*name),
            ("KUBERNETES_SERVICE_HOST", service),
            ("KUBERNETES_SERVICE_PORT", port),
        ];
        for container in pod["initContainers"].as_array().into_iter().flatten() {
            let container = container["name"].as_str().expect("a name");
            let output = node.run(pod, container, &volumes, &environment);
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{container}: {}: {said}", output.status);
        }
        let agent = node.start(pod, "agent", &volumes, &environment);
        Self { host, node, agent }
    }

    /// What the agent says of itself, asked over the socket that it has put on the host.
    fn status(&self) -> Result<Value, String> {
        let socket = self.node.path("/run/brindle/brindle.sock");
        let words = ["status", "-o", "json", "--socket", socket.to_str().expect("ASCII")];
        let output = self.host.netns.output(binary().to_str().expect("ASCII"), &words);
        let output = output.map_err(|error| format!("{error:#}"))?;
        serde_json::from_slice(&output.stdout)
            .map_err(|_| String::from_utf8_lossy(&output.stderr).into_owned())
    }

    fn is_ready(&mut self) {
        until(&format!("{} is ready", self.host.netns.name()), SOON, || {
            self.agent.running()?;
            probe(&self.host.netns, "/readyz?verbose").map(drop)
        });
    }

    fn sysctl(&self, path: &str) -> String {
        let path = format!("/proc/sys/{path}");
        self.host.netns.inside(|| std::fs::read_to_string(path)).expect("it is there")
    }
}

fn node(number: u8) -> String {
    format!(
        "apiVersion: v1\nkind: Node\nmetadata: {{name: n{number}}}\n\
         spec: {{podCIDR: 10.244.{number}.0/24, podCIDRs: [10.244.{number}.0/24, \
         'fd00:10:244:{number}::/64']}}\n"
    )
}

/// Nodes as kubelets make them.
fn add_nodes(server: &ApiServer, numbers: &[u8]) {
    for number in numbers {
        server.apply(&node(*number));
        let name = format!("n{number}");
        let status = format!(
            r#"{{"status": {{"addresses": [
                {{"type": "InternalIP", "address": "10.9.0.{number}"}},
                {{"type": "InternalIP", "address": "fd09::{number}"}}],
              "conditions": [{{"type": "NetworkUnavailable", "status": "True", "reason": "Test"}}]}}}}"#
        );
        patch_status(server, "node", &name, &status);
    }
}

/// `kubectl patch --subresource` is younger than some servers' clients: the raw request is not.
fn patch_status(server: &ApiServer, kind: &str, name: &str, patch: &str) {
    let words = ["patch", kind, name, "--subresource=status", "--type=merge", "-p", patch];
    server.kubectl(&words);
}

#[test]
fn what_the_manifest_grants_is_enough_for_the_whole_network() {
    let test = "the agent in a container as the manifest describes it";
    if !container::can_run(test, &["kubectl"]) {
        return;
    }
    let Some(server) = ApiServer::start(test) else { return };
    server.kubectl(&["apply", "-f", &manifest("install.yaml")]);
    add_nodes(&server, &[1, 2]);
    let text = server.kubectl(&["get", "ds", "brindle", "-n", NAMESPACE, "-o", "json"]);
    let daemon_set: Value = serde_json::from_str(&text).expect("JSON");
    let pod = &daemon_set["spec"]["template"]["spec"];
    let given = Given::by(&server);

    let lan = Lan::new();
    let mut members = [1, 2].map(|number| Member::start(&server, &lan, number, pod, &given));
    for member in &mut members {
        member.is_ready();
    }
    let [n1, n2] = &members;
    let status = n1.status().expect("it answers");
    assert_eq!(status["healthy"], true, "{status:#}");

    // Routing: port 179, the kernel's routes, forwarding in spite of a /proc/sys that is read-only.
    // Servers of before 1.21 keep but one range of each node, unless they are told otherwise; the
    // nodes have addresses of both families all the same.
    let ranges = server.kubectl(&["get", "node", "n1", "-o", "jsonpath={.spec.podCIDRs}"]);
    let has_both = ranges.contains("fd00:");
    until("routes to the other node's pods", SOON, || {
        let v4 = n1.host.netns.ip("route show proto 98").map_err(|error| error.to_string())?;
        let v6 = n1.host.netns.ip("-6 route show proto 98").map_err(|error| error.to_string())?;
        let is_there = v4.contains("10.244.2.0/24 via 10.9.0.2")
            && v6.contains("fd00:10:244:2::/64 via fd09::2") == has_both;
        met(is_there, || format!("{v4}{v6}\n{:?}", n1.status()))
    });
    for member in [n1, n2] {
        assert_eq!(member.sysctl("net/ipv4/ip_forward"), "1\n");
        let v6 = if has_both { "1\n" } else { "0\n" };
        assert_eq!(member.sysctl("net/ipv6/conf/all/forwarding"), v6);
        // Policies: rules by the image's own programs, with the host's lock.
        for save in ["iptables-nft-save", "ip6tables-nft-save"] {
            let rules = member.host.netns.run(save, &[]).expect("it is installed");
            assert!(rules.lines().any(|line| line.starts_with("-A FORWARD ")), "{rules}");
            assert!(rules.contains(":BRN-"), "{rules}");
        }
        // The plug-in: what the init container and the agent left on the host.
        let plugin = member.node.path("/opt/cni/bin/brindle-cni");
        assert!(plugin.is_file(), "{}", plugin.display());
        let conflist = member.node.path("/etc/cni/net.d/10-brindle.conflist");
        until("the CNI configuration", SOON, || {
            met(conflist.is_file(), || format!("no {}", conflist.display()))
        });
        // The status of its Node, by the one right to write that it has there.
        let name = member.host.netns.name();
        let condition = "jsonpath={.status.conditions[?(@.type=='NetworkUnavailable')].status}";
        until("the network is available", SOON, || {
            let status = server.kubectl(&["get", "node", name, "-o", condition]);
            met(status == "False", || status.clone())
        });
        // Nobody but root may use the socket: the image has no group for it.
        let socket = member.node.path("/run/brindle/brindle.sock");
        let mode = std::os::unix::fs::MetadataExt::mode(&socket.metadata().expect("a socket"));
        assert_eq!(mode & 0o777, 0o600);
    }
    // And it is that process, with those rights and no more.
    for member in &mut members {
        member.agent.running().expect("it runs");
        is_confined(&member.agent);
    }

    // An agent whose role grants nothing says of each verb that it is missing. (The others of that
    // account lose what they know of the cluster, and keep their routes and rules.)
    add_nodes(&server, &[3]);
    let nothing = r#"{"rules": []}"#;
    server.kubectl(&["patch", "clusterrole", "brindle", "--type=merge", "-p", nothing]);
    let mut n3 = Member::start(&server, &lan, 3, pod, &given);
    for need in access::NEEDS {
        until(&need.to_string(), SOON, || {
            n3.agent.running()?;
            met(n3.agent.output().contains(&need.to_string()), || n3.agent.tail())
        });
    }
    let routes = members[0].host.netns.ip("route show proto 98").expect("ip runs");
    assert!(routes.contains("10.244.2.0/24 via 10.9.0.2"), "{routes}");
}

/// The process of the container: capabilities, no way to more, a root that cannot be written.
fn is_confined(agent: &Process) {
    let children = format!("/proc/{0}/task/{0}/children", agent.pid());
    let child = std::fs::read_to_string(children).expect("unshare has a child");
    let child = child.trim();
    let status = std::fs::read_to_string(format!("/proc/{child}/status")).expect("it runs");
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("{name} in {status}")).trim().to_owned()
    };
    assert_eq!(field("Name:"), "brindle");
    // NET_BIND_SERVICE 10, NET_ADMIN 12, NET_RAW 13 (linux/capability.h).
    let wanted = format!("{:016x}", 1 << 10 | 1 << 12 | 1 << 13);
    for set in ["CapPrm:", "CapEff:", "CapBnd:"] {
        assert_eq!(field(set), wanted, "{set}");
    }
    assert_eq!(field("NoNewPrivs:"), "1");
    let mounts = std::fs::read_to_string(format!("/proc/{child}/mounts")).expect("it runs");
    let is_read_only = |point: &str| {
        let mut lines = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
        let line = lines.rfind(|line| line[1] == point);
        line.unwrap_or_else(|| panic!("{point} in {mounts}"))[3].split(',').any(|o| o == "ro")
    };
    for (point, want) in
        [("/", true), ("/proc/sys", true), ("/etc/brindle", true), ("/run/brindle", false)]
    {
        assert_eq!(is_read_only(point), want, "{point}: {mounts}");
    }
}
