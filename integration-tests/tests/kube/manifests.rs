//! What `deploy/kubernetes/` says, against a real API server: that it is taken, what it means
//! there, and that nobody gets more than is needed.

use std::path::{Path, PathBuf};
use std::process::Command;

use integration_tests::{ApiServer, agent, skip};
use serde_json::Value;

/// The variants that an operator chooses from.
const OVERLAYS: [&str; 4] = ["full", "policy-only", "routes-only", "dual-stack"];
const NAMESPACE: &str = "kube-system";

fn manifests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/kubernetes")
}

fn overlay(name: &str) -> String {
    manifests().join("overlays").join(name).display().to_string()
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error} in {text}"))
}

fn get(server: &ApiServer, kind: &str, name: &str) -> Value {
    json(&server.kubectl(&["get", kind, name, "-n", NAMESPACE, "-o", "json"]))
}

/// The strings of a list.
fn words(list: &Value) -> Vec<&str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

/// What can be applied: its name, what it calls its objects, and the words for kubectl.
fn everything() -> Vec<(&'static str, &'static str, [String; 2])> {
    let path = |path: &str| manifests().join(path).display().to_string();
    let mut all: Vec<_> =
        OVERLAYS.map(|name| (name, "brindle", ["-k".to_owned(), overlay(name)])).into();
    all.push(("install.yaml", "brindle", ["-f".to_owned(), path("install.yaml")]));
    all.push(("rack", "brindle-r1", ["-k".to_owned(), path("examples/rack")]));
    all.push(("cleanup", "brindle-cleanup", ["-k".to_owned(), path("cleanup")]));
    all
}

#[test]
fn every_variant_is_taken_and_says_what_operators_rely_on() {
    let Some(server) = ApiServer::start("manifests on a real API server") else { return };
    for (variant, objects, [how, what]) in everything() {
        server.kubectl(&["apply", "--dry-run=server", &how, &what]);
        let created = server.kubectl(&["apply", &how, &what]);
        assert!(created.lines().all(|line| line.ends_with(" created")), "{variant}: {created}");
        // The server's defaults take no value's place.
        let again = server.kubectl(&["apply", &how, &what]);
        assert!(again.lines().all(|line| line.ends_with(" unchanged")), "{variant}: {again}");
        let daemon_set = get(&server, "daemonset", objects);
        let is_cleanup = variant == "cleanup";
        if is_cleanup {
            is_confined(variant, &daemon_set["spec"]["template"]["spec"]);
        } else {
            is_as_promised(variant, objects, &daemon_set);
            let config = get(&server, "configmap", objects);
            configuration_is_good(&server, variant, config["data"]["brindle.yaml"].as_str());
        }
        let bindings = server.kubectl(&["get", "clusterrolebindings", "-o", "name"]);
        let bound = format!("clusterrolebinding.rbac.authorization.k8s.io/{objects}");
        assert_eq!(bindings.lines().any(|line| line == bound), !is_cleanup, "{variant}");
        server.kubectl(&["delete", "--wait=false", &how, &what]);
    }
}

/// What holds for every container that we start on a node.
fn is_confined(variant: &str, pod: &Value) {
    let of = |kind| pod[kind].as_array().into_iter().flatten();
    for container in of("initContainers").chain(of("containers")) {
        let name = format!("{variant}, container {}", container["name"]);
        let security = &container["securityContext"];
        assert_eq!(security["privileged"], false, "{name}");
        assert_eq!(security["allowPrivilegeEscalation"], false, "{name}");
        assert_eq!(security["readOnlyRootFilesystem"], true, "{name}");
        assert_eq!(words(&security["capabilities"]["drop"]), ["ALL"], "{name}");
        for capability in words(&security["capabilities"]["add"]) {
            let most = ["NET_ADMIN", "NET_RAW", "NET_BIND_SERVICE"];
            assert!(most.contains(&capability), "{name}: {capability}");
        }
        assert!(container["resources"]["limits"]["memory"].is_string(), "{name}");
        assert!(container["resources"]["limits"]["cpu"].is_null(), "{name}");
        for resource in ["cpu", "memory"] {
            assert!(container["resources"]["requests"][resource].is_string(), "{name}");
        }
    }
    assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault", "{variant}");
    assert_eq!(pod["hostNetwork"], true, "{variant}");
    assert!(pod["hostPID"].is_null() && pod["hostIPC"].is_null(), "{variant}");
    assert_eq!(pod["nodeSelector"]["kubernetes.io/os"], "linux", "{variant}");
    assert_eq!(pod["priorityClassName"], "system-node-critical", "{variant}");
    for effect in ["NoSchedule", "NoExecute"] {
        let all = serde_json::json!({"effect": effect, "operator": "Exists"});
        let tolerations = pod["tolerations"].as_array().expect("a list");
        assert!(tolerations.contains(&all), "{variant}: every taint {effect}");
    }
}

fn is_as_promised(variant: &str, objects: &str, daemon_set: &Value) {
    let spec = &daemon_set["spec"];
    assert_eq!(spec["updateStrategy"]["type"], "RollingUpdate", "{variant}");
    assert_eq!(spec["updateStrategy"]["rollingUpdate"]["maxUnavailable"], 1, "{variant}");
    let pod = &spec["template"]["spec"];
    is_confined(variant, pod);
    assert_eq!(pod["serviceAccountName"], objects, "{variant}");
    let config = pod["volumes"].as_array().expect("a list").iter();
    let config = config.filter_map(|volume| volume["configMap"]["name"].as_str());
    assert_eq!(config.collect::<Vec<_>>(), [objects], "{variant}");
    assert_eq!(pod["terminationGracePeriodSeconds"], 10, "{variant}");
    let [agent] = &pod["containers"].as_array().expect("a list")[..] else {
        panic!("{variant}: one container")
    };
    for (probe, path) in
        [("startupProbe", "/livez"), ("livenessProbe", "/livez"), ("readinessProbe", "/readyz")]
    {
        let get = &agent[probe]["httpGet"];
        assert_eq!((&get["host"], &get["port"]), (&"127.0.0.1".into(), &9798.into()), "{variant}");
        assert_eq!(get["path"], path, "{variant}: {probe}");
    }
    let node_name = &agent["env"][0];
    assert_eq!(node_name["name"], "BRINDLE_NODE_NAME", "{variant}");
    assert_eq!(node_name["valueFrom"]["fieldRef"]["fieldPath"], "spec.nodeName", "{variant}");

    // Rights and paths are those that the variant's work needs.
    let routes = variant != "policy-only";
    let policies = variant != "routes-only";
    let connects = routes && policies;
    let mut capabilities = vec!["NET_ADMIN"];
    capabilities.extend(routes.then_some("NET_BIND_SERVICE"));
    capabilities.extend(policies.then_some("NET_RAW"));
    let mut granted = words(&agent["securityContext"]["capabilities"]["add"]);
    granted.sort_unstable();
    assert_eq!(granted, capabilities, "{variant}");

    let mut mounts = vec!["/etc/brindle ro", "/run/brindle rw"];
    if routes {
        mounts.push("/host/proc/sys/net rw");
    }
    if policies {
        mounts.extend(["/run/xtables.lock rw", "/lib/modules ro"]);
    }
    if connects {
        mounts.extend(["/etc/cni/net.d rw", "/var/lib/brindle rw"]);
    }
    if variant == "dual-stack" {
        mounts.push("/host/requires/ipv6 ro");
    }
    mounts.sort_unstable();
    assert_eq!(mounted(agent), mounts, "{variant}");
    let installers = pod["initContainers"].as_array().map_or(&[][..], Vec::as_slice);
    let installs: Vec<_> = installers.iter().map(mounted).collect();
    let expected = if connects { vec![vec!["/host/opt/cni/bin rw"]] } else { Vec::new() };
    assert_eq!(installs, expected, "{variant}: the plug-in's folder");
    let lock = pod["volumes"].as_array().expect("a list").iter();
    let lock = lock.filter_map(|volume| volume.get("hostPath"));
    let lock = lock.filter(|path| path["path"] == "/run/xtables.lock").map(|path| &path["type"]);
    assert_eq!(lock.collect::<Vec<_>>(), vec!["FileOrCreate"; usize::from(policies)], "{variant}");
}

/// Where a container has mounts, and whether it may write there.
fn mounted(container: &Value) -> Vec<String> {
    let mounts = container["volumeMounts"].as_array().expect("a list").iter();
    let mut mounts: Vec<_> = mounts
        .map(|mount| {
            let mode = if mount["readOnly"] == true { "ro" } else { "rw" };
            format!("{} {mode}", mount["mountPath"].as_str().expect("a path"))
        })
        .collect();
    mounts.sort_unstable();
    mounts
}

fn configuration_is_good(server: &ApiServer, variant: &str, text: Option<&str>) {
    let file = server.folder().join(format!("{variant}.yaml"));
    std::fs::write(&file, text.expect("the ConfigMap has a brindle.yaml")).expect("a file");
    let file = file.to_str().expect("ASCII");
    let check = Command::new(agent::binary()).args(["config", "check", "--config", file]).output();
    let check = check.expect("brindle runs");
    let said = String::from_utf8_lossy(&check.stdout);
    assert!(check.status.success() && said.starts_with("0 errors. Read"), "{variant}: {said}");
    let show = Command::new(agent::binary())
        .args(["config", "show", "-o", "json", "--config", file])
        .output()
        .expect("brindle runs");
    let config = json(&String::from_utf8_lossy(&show.stdout));
    assert_eq!(config["source"]["kind"], "kubernetes", "{variant}");
    // Where the probes ask.
    assert_eq!(config["telemetry"]["listen"][0], "127.0.0.1:9798", "{variant}");
    let work = ["bgp", "policy", "cni"].map(|part| config[part]["enabled"] == true);
    let expected = match variant {
        "policy-only" => [false, true, false],
        "routes-only" => [true, false, false],
        _ => [true, true, true],
    };
    assert_eq!(work, expected, "{variant}: BGP, policies, the plug-in");
}

#[test]
fn the_rendered_manifest_is_what_its_parts_say() {
    let script = manifests().join("../../scripts/render-manifests");
    let output = Command::new(script).arg("--check").output().expect("the script runs");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    let missing = (output.status.code() == Some(77)).then(|| said.trim().to_owned());
    if skip::unless("the rendered manifest", missing) {
        assert!(output.status.success(), "{said}");
    }
}

#[test]
fn the_role_grants_what_is_needed_and_nothing_else() {
    let Some(server) = ApiServer::start("the rights of the agent") else { return };
    let rbac = manifests().join("base/rbac.yaml").display().to_string();
    server.kubectl(&["apply", "-f", &rbac]);
    let token = server.create_token(NAMESPACE, "brindle");
    let agent = server.kubeconfig_with_token("agent", &token);
    let may = |verb: &str, what: &str, more: &[&str]| {
        let mut words = vec!["auth", "can-i", verb, what];
        words.extend(more);
        let output = server.try_kubectl(&agent, &words, "").expect("kubectl runs");
        let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        assert!(["yes", "no"].contains(&&*said), "{words:?}: {said}");
        said == "yes"
    };
    let everywhere = &["--all-namespaces"][..];
    for (what, verbs) in [
        ("nodes", &["get", "list", "watch"][..]),
        ("pods", &["list", "watch"]),
        ("namespaces", &["list", "watch"]),
        ("serviceaccounts", &["list", "watch"]),
        ("services", &["list", "watch"]),
        ("endpointslices.discovery.k8s.io", &["list", "watch"]),
        ("networkpolicies.networking.k8s.io", &["list", "watch"]),
        ("events", &[]),
        ("events.events.k8s.io", &["create", "patch"]),
    ] {
        let all =
            ["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"];
        for verb in all {
            assert_eq!(may(verb, what, everywhere), verbs.contains(&verb), "{verb} {what}");
        }
    }
    assert!(may("patch", "nodes", &["--subresource=status"]));
    for (verb, what, more) in [
        ("update", "nodes", &["--subresource=status"][..]),
        ("get", "nodes", &["--subresource=proxy"]),
        ("create", "pods", &["--subresource=exec", "-n", NAMESPACE]),
        ("get", "pods", &["--subresource=log", "-n", NAMESPACE]),
        ("patch", "pods", &["--subresource=status", "-n", NAMESPACE]),
        ("get", "secrets", &["-n", NAMESPACE]),
        ("list", "secrets", everywhere),
        ("list", "secrets", &["-n", NAMESPACE]),
        ("watch", "secrets/others", &["-n", NAMESPACE]),
        ("get", "configmaps", &["-n", NAMESPACE]),
        ("create", "serviceaccounts", &["--subresource=token", "-n", NAMESPACE]),
        ("patch", "daemonsets.apps", &["-n", NAMESPACE]),
        ("create", "clusterrolebindings.rbac.authorization.k8s.io", &[]),
        ("impersonate", "users", &[]),
    ] {
        assert!(!may(verb, what, more), "{verb} {what} {more:?}");
    }
    // Not only what the server says of itself: the requests are answered so.
    let asked = |words: &[&str]| {
        let output = server.try_kubectl(&agent, words, "").expect("kubectl runs");
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    for kind in ["nodes", "pods", "namespaces", "networkpolicies", "services"] {
        let (granted, said) = asked(&["get", kind, "--all-namespaces"]);
        assert!(granted, "{kind}: {said}");
    }
    for (name, want) in [("brindle-bgp-keys", true), ("others", false)] {
        let selector = format!("--field-selector=metadata.name={name}");
        let (granted, said) = asked(&["get", "secrets", "-n", NAMESPACE, &selector]);
        assert_eq!(granted, want, "{name}: {said}");
    }
    for kind in ["secrets", "configmaps", "endpoints"] {
        let (granted, said) = asked(&["get", kind, "--all-namespaces"]);
        assert!(!granted && said.contains("Forbidden"), "{kind}: {said}");
    }
}
