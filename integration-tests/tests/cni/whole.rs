//! The CNI plug-in and a real agent: what the one connects, the other opens.

use std::fs;

use integration_tests::cni::{self, Container, addresses};
use integration_tests::node::Node;
use integration_tests::skip;
use integration_tests::wait::{SOON, met, until};
use serde_json::{Value, json};

use crate::support::{nothing_is_left, pings, reaches};

const PROGRAMS: [&str; 5] = ["ip", "ping", "iptables-nft-save", "iptables-legacy-save", "ipset"];

/// A pod as the API server has it while it is connected.
fn pod(name: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: test}}\n\
         spec: {{nodeName: n1}}\n"
    )
}

const DENY: &str = "
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: deny, namespace: test}
spec: {podSelector: {}, policyTypes: [Ingress]}
";

#[test]
fn the_agent_opens_what_the_plug_in_connects() {
    let name = "the_agent_opens_what_the_plug_in_connects";
    if !skip::can_run(name, &PROGRAMS) {
        return;
    }
    for backend in ["nft", "legacy"] {
        let mut node = Node::new();
        fs::remove_file(node.path("manifests/pod.yaml")).unwrap();
        node.configure(&format!(
            "bgp: {{enabled: false}}\npolicy: {{enabled: true, backend: {backend}}}\n\
             cni: {{enabled: true, configDir: {}, dataDir: {}}}",
            node.path("net.d").display(),
            node.path("data").display(),
        ));
        for name in ["web", "client"] {
            node.manifest(name, &pod(name));
        }
        node.start(&[]);
        node.answers("/readyz", 200);

        // The runtime goes by the file that the agent wrote.
        let mut runtime = cni::Node::on(node.netns.clone());
        let list = until("the runtime is told", SOON, || {
            fs::read(node.path("net.d/10-brindle.conflist")).map_err(|error| error.to_string())
        });
        runtime.list = serde_json::from_slice::<Value>(&list).unwrap();
        // What others do behind us is another test's.
        runtime.list["plugins"].as_array_mut().unwrap().truncate(1);

        let (web, client) = (Container::new("web"), Container::new("client"));
        let result = runtime.add(&web, &json!({})).unwrap();
        runtime.add(&client, &json!({})).unwrap();
        let [address] = &addresses(&result)[..] else { panic!("{result}") };
        reaches(&client.netns, address);
        reaches(&node.netns, address);
        runtime.check(&web, &json!({})).unwrap();

        node.manifest("deny", DENY);
        until("the policy holds", SOON, || {
            met(!pings(&client.netns, address), || "web is reached".into())
        });
        reaches(&node.netns, address);
        fs::remove_file(node.path("manifests/deny.yaml")).unwrap();
        reaches(&client.netns, address);

        // A pod that nobody has told of stays closed and leaves nothing.
        let stranger = Container::new("stranger");
        let more = json!({"waitSeconds": 1});
        let error = runtime.call("ADD", &stranger, 0, &more).unwrap_err();
        assert_eq!(error.code(), Some(102), "{error}");
        assert!(error.to_string().contains("Pod test/stranger is not known yet"), "{error}");
        assert_eq!(runtime.records(), ["client@eth0.json", "web@eth0.json"]);
        assert_eq!(runtime.cables().len(), 2);

        // Without the agent: what is open stays so, nothing new is connected, all can go.
        node.process().kill();
        reaches(&client.netns, address);
        let error = runtime.add(&stranger, &json!({})).unwrap_err();
        assert_eq!(error.code(), Some(11), "{error}");
        runtime.del(&client, &json!({})).unwrap();
        node.start(&[]);
        node.answers("/readyz", 200);
        runtime.add(&client, &json!({})).unwrap();
        reaches(&client.netns, address);
        for container in [&web, &client] {
            runtime.del(container, &json!({})).unwrap();
        }
        nothing_is_left(&runtime, &[&web, &client, &stranger]);
    }
}
