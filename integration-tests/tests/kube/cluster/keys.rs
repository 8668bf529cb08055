//! Sessions with a router by Calico's objects, signed with a key that a Secret holds: by the
//! rights that an installation grants, and no others.

use std::path::Path;

use integration_tests::TestLab;
use integration_tests::process::Process;
use integration_tests::skip;
use integration_tests::wait::{SOON, met, until};
use serde_json::Value;
use tempfile::TempDir;

/// Where the router is, beside the third node.
const ROUTER: &str = "10.0.0.77";

/// BIRD, with an address of its own where a node is.
struct Router<'l> {
    lab: &'l TestLab,
    folder: TempDir,
    _process: Process,
}

impl<'l> Router<'l> {
    fn start(lab: &'l TestLab, key: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder for temporary files");
        let file = |name: &str| folder.path().join(name).display().to_string();
        write(folder.path(), key);
        let address = format!("{ROUTER}/24");
        lab.exec("n3", &["ip", "address", "add", &address, "dev", "eth0"]);
        let words = ["bird", "-f", "-c", &file("bird.conf"), "-s", &file("bird.ctl")];
        let process = lab.start("n3", folder.path(), &words);
        Self { lab, folder, _process: process }
    }

    fn has_key(&self, key: &str) {
        write(self.folder.path(), key);
        let socket = self.folder.path().join("bird.ctl").display().to_string();
        let said = self.lab.exec("n3", &["birdc", "-s", &socket, "configure"]);
        assert!(said.contains("Reconfig"), "{said}");
    }
}

impl Drop for Router<'_> {
    fn drop(&mut self) {
        let address = format!("{ROUTER}/24");
        self.lab.run(&["exec", "n3", "--", "ip", "address", "del", &address, "dev", "eth0"]);
    }
}

fn write(folder: &Path, key: &str) {
    let text = format!(
        "router id {ROUTER};\nprotocol device {{ }}\nprotocol static {{ ipv4;\n  \
         route 192.0.2.0/24 blackhole;\n  route 198.51.100.0/24 blackhole;\n}}\n\
         protocol bgp {{ local {ROUTER} as 65010; neighbor 10.0.0.1 as 64512;\n  \
         strict bind on; password \"{key}\"; connect delay time 1; connect retry time 1;\n  \
         error wait time 1, 1; ipv4 {{ import all; export none; }};\n}}\nlog stderr all;\n"
    );
    std::fs::write(folder.join("bird.conf"), text).expect("the folder is ours");
}

fn tor(lab: &TestLab) -> Value {
    let output = lab.run(&["exec", "n1", "--", "brindle", "peers", "tor", "-o", "json"]);
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    answer.get(0).cloned().unwrap_or(answer)
}

/// Waits until the peer is in a state, with a last reason that holds `words`.
#[track_caller]
fn is(lab: &TestLab, state: &str, words: &str) -> Value {
    until(&format!("tor is {state}, {words:?}"), SOON, || {
        let tor = tor(lab);
        let why = tor["lastReason"].as_str().unwrap_or_default();
        let is_up = tor["state"] == "Established";
        met(is_up == (state == "up") && why.contains(words), || tor.to_string())?;
        Ok(tor)
    })
}

fn peer(secret: &str) -> String {
    format!(
        "---\napiVersion: projectcalico.org/v3\nkind: BGPPeer\nmetadata: {{name: tor}}\n\
         spec: {{node: n1, peerIP: {ROUTER}, asNumber: 65010, filters: [in], \
         password: {{secretKeyRef: {{name: {secret}, key: tor}}}}}}\n"
    )
}

fn secret(key: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: Secret\nmetadata: {{name: brindle-bgp-keys, namespace: \
         kube-system}}\nstringData: {{tor: {key}}}\n"
    )
}

pub(crate) fn come_from_secrets_that_the_role_names(lab: &TestLab) {
    if !skip::can_run("keys of sessions from Secrets", &["bird", "birdc"]) {
        return;
    }
    let crds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/kubernetes/crds");
    for kind in ["bgpconfigurations", "bgpfilters", "bgppeers"] {
        let file = crds.join(format!("{kind}.yaml")).display().to_string();
        lab.kubectl(&["apply", "-f", &file]);
    }
    lab.kubectl(&["wait", "--for=condition=Established", "crd", "--all"]);
    let rule = "{cidr: 198.51.100.0/24, matchOperator: Equal, action: Reject}";
    lab.apply(&format!(
        "apiVersion: projectcalico.org/v3\nkind: BGPConfiguration\nmetadata: {{name: default}}\n\
         spec: {{nodeMeshMaxRestartTime: 90s}}\n---\napiVersion: projectcalico.org/v3\n\
         kind: BGPFilter\nmetadata: {{name: in}}\nspec: {{importV4: [{rule}]}}\n{}",
        peer("brindle-bgp-keys")
    ));
    let router = Router::start(lab, "one");
    // No session without its key.
    is(lab, "down", "there is no Secret brindle-bgp-keys in namespace kube-system");
    lab.apply(&secret("one"));
    is(lab, "up", "1 refused");
    let routes = || lab.exec("n1", &["ip", "route", "show", "proto", "98"]);
    until("what the filter lets through", SOON, || {
        let routes = routes();
        met(routes.contains("192.0.2.0/24 via 10.0.0.77"), || routes)
    });
    assert!(!routes().contains("198.51.100.0/24"), "{}", routes());

    // Another key counts, once both have it.
    router.has_key("two");
    is(lab, "down", "");
    lab.apply(&secret("two"));
    let since = is(lab, "up", "")["since"].clone();

    // Without its Secret it goes on, and says so.
    lab.kubectl(&["delete", "secret", "brindle-bgp-keys", "-n", "kube-system"]);
    let shown = is(lab, "up", "the key read before is used: spec.password: there is no Secret");
    assert_eq!(shown["since"], since, "it is the same session");

    // A Secret that the role does not name cannot be read, and what it should sign is not there.
    lab.apply(&peer("others"));
    let shown = is(lab, "down", "Secret others of namespace kube-system may not be read: ");
    let why = shown["lastReason"].as_str().unwrap_or_default();
    assert!(why.contains("resourceNames of Role brindle-bgp-keys"), "{why}");
    lab.kubectl(&["delete", "bgppeer,bgpfilter,bgpconfiguration", "--all"]);
    until("the peer is gone", SOON, || {
        let routes = routes();
        met(!routes.contains("192.0.2.0/24"), || routes)
    });
}
