//! `brindle apply` and its like against a real API server: with the administrator's rights,
//! with those of the shipped roles, with none, from outside and as a pod would.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use integration_tests::wait::{SOON, met, until};
use integration_tests::{ApiServer, agent, skip};

/// The objects of the tutorials.
const SEEDS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/objects_cmd/seeds.yaml");

fn crds() -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/kubernetes/crds").display().to_string()
}

fn brindle(kubeconfig: Option<&Path>, words: &[&str]) -> Command {
    let mut command = Command::new(agent::binary());
    command.env_clear().env("HOME", "/nonexistent").env("DATASTORE_TYPE", "kubernetes");
    if let Some(kubeconfig) = kubeconfig {
        command.env("KUBECONFIG", kubeconfig);
    }
    command.args(words);
    command
}

/// What it prints and says, and its exit code.
fn said(output: &Output) -> (String, Option<i32>) {
    let text = [&output.stdout[..], &output.stderr].concat();
    (String::from_utf8_lossy(&text).into_owned(), output.status.code())
}

fn asked(kubeconfig: &Path, words: &[&str]) -> (String, Option<i32>) {
    said(&brindle(Some(kubeconfig), words).output().expect("brindle runs"))
}

fn done(text: &str) -> (String, Option<i32>) {
    (format!("{text}\n"), Some(0))
}

/// Applies the definitions and waits until the last of them is served; makes the namespace of
/// the tutorials.
fn define(server: &ApiServer) {
    server.kubectl(&["create", "namespace", "test1"]);
    server.kubectl(&["apply", "-f", &crds()]);
    server.kubectl(&["wait", "--for=condition=Established", "--timeout=60s", "-f", &crds()]);
}

/// A file in the server's folder.
fn file(server: &ApiServer, name: &str, text: &str) -> String {
    let path: PathBuf = server.folder().join(name);
    std::fs::write(&path, text).expect("a file");
    path.display().to_string()
}

#[test]
fn an_api_server_takes_our_definitions_and_calicos_files() {
    let Some(server) = ApiServer::start("definitions on a real API server") else { return };
    define(&server);
    let created = server.kubectl(&["apply", "-f", SEEDS]);
    assert_eq!(created.lines().filter(|line| line.ends_with(" created")).count(), 5, "{created}");
    let again = server.kubectl(&["apply", "-f", SEEDS]);
    assert!(again.lines().all(|line| line.ends_with(" unchanged")), "{again}");
    let shown = server.kubectl(&["get", "gnp", "--no-headers"]);
    let names: Vec<&str> =
        shown.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(names, ["default-deny", "deny-pod2", "host-baseline"]);
    // What is mistyped is said, and what cannot be is refused.
    let admin = server.kubeconfig();
    let head = "apiVersion: projectcalico.org/v3\nkind: GlobalNetworkPolicy\nmetadata: {name: x}\n";
    // kubectl checks fields by what the server publishes some time after a definition is served.
    let unknown = format!("{head}spec: {{selecter: all()}}\n");
    until("the definitions are published", SOON, || {
        let words = ["create", "--dry-run=client", "--validate=true", "-f", "-"];
        let output = server.try_kubectl(&admin, &words, &unknown).expect("kubectl runs");
        met(!output.status.success(), || said(&output).0)
    });
    for (spec, is_taken, says) in [
        ("{selecter: all()}", false, "selecter"),
        ("{ingress: [{action: allow}]}", false, "\"allow\""),
        ("{ingress: [{protocol: TCP}]}", false, "action"),
        (
            "{ingress: [{action: Allow, protocol: 6, destination: {ports: [1, '2:3']}}], egress: }",
            true,
            "created",
        ),
    ] {
        let text = format!("{head}spec: {spec}\n");
        let output =
            server.try_kubectl(&admin, &["apply", "-f", "-"], &text).expect("kubectl runs");
        let (said, _) = said(&output);
        assert_eq!(output.status.success(), is_taken, "{spec}: {said}");
        assert!(said.contains(says), "{spec}: {said}");
    }
    // Ours may be installed over ours.
    let (said, code) = asked(&admin, &["crds", "--install"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("tiers.projectcalico.org replaced"), "{said}");
    // Never over those of others.
    server.kubectl(&["label", "crd", "tiers.projectcalico.org", "app.kubernetes.io/managed-by-"]);
    let (said, code) = asked(&admin, &["crds", "--install"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("tiers.projectcalico.org among them"), "{said}");
}

#[test]
fn verbs_do_with_every_kind_what_calicoctls_do() {
    let Some(server) = ApiServer::start("brindle apply on a real API server") else { return };
    let admin = server.kubeconfig();
    let (said, code) = asked(&admin, &["apply", "-f", SEEDS]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("brindle crds | kubectl apply -f -"), "{said}");
    let (said, code) = asked(&admin, &["crds", "--install"]);
    assert_eq!(code, Some(0), "{said}");
    server.kubectl(&["wait", "--for=condition=Established", "--timeout=60s", "-f", &crds()]);

    let v3 = "projectcalico.org/v3";
    let kinds = [
        ("gnp", v3, "GlobalNetworkPolicy", "{order: 1.5}"),
        ("np", v3, "NetworkPolicy", "{egress: [{action: Pass}]}"),
        ("hep", v3, "HostEndpoint", "{node: n1, interfaceName: '*'}"),
        ("globalnetworkset", v3, "GlobalNetworkSet", "{nets: [10.0.0.0/8]}"),
        ("networkset", v3, "NetworkSet", "{nets: [2001:db8::/32]}"),
        ("tier", v3, "Tier", "{order: 10}"),
        ("profile", v3, "Profile", "{egress: [{action: Allow}], labelsToApply: {a: b}}"),
        ("stagedglobalnetworkpolicy", v3, "StagedGlobalNetworkPolicy", "{selector: all()}"),
        ("stagednetworkpolicy", v3, "StagedNetworkPolicy", "{selector: all()}"),
        ("sknp", v3, "StagedKubernetesNetworkPolicy", "{podSelector: {}}"),
        (
            "cnp",
            "policy.networking.k8s.io/v1alpha2",
            "ClusterNetworkPolicy",
            "{tier: Admin, priority: 1, subject: {namespaces: {}}, ingress: [{action: Deny, from: \
             [{namespaces: {}}]}]}",
        ),
        ("knp", "networking.k8s.io/v1", "NetworkPolicy", "{podSelector: {}}"),
    ];
    for (word, api, kind, spec) in kinds {
        let text =
            format!("{{apiVersion: {api}, kind: {kind}, metadata: {{name: one}}, spec: {spec}}}");
        let name = file(&server, "one.yaml", &text);
        for (words, want) in [
            (&["create", "-f", &name][..], format!("Successfully created 1 '{kind}' resource(s)")),
            (&["apply", "-f", &name], format!("Successfully applied 1 '{kind}' resource(s)")),
            (&["replace", "-f", &name], format!("Successfully replaced 1 '{kind}' resource(s)")),
            (&["label", word, "one", "a=b"], format!("Successfully set label a on {word} one")),
        ] {
            assert_eq!(asked(&admin, words), done(&want), "{kind} {words:?}");
        }
        let (said, code) = asked(&admin, &["create", "-f", &name]);
        assert!(code == Some(1) && said.contains("resource already exists"), "{kind}: {said}");
        let (shown, _) = asked(&admin, &["get", word, "one", "-o", "yaml"]);
        assert!(shown.contains("labels:\n    a: b\n"), "{kind}: {shown}");
        // What it shows, it takes: with the version it names, and only once.
        let shown = file(&server, "shown.yaml", &shown.replace("a: b", "a: c"));
        let applied = done(&format!("Successfully applied 1 '{kind}' resource(s)"));
        assert_eq!(asked(&admin, &["apply", "-f", &shown]), applied, "{kind}");
        let (said, code) = asked(&admin, &["apply", "-f", &shown]);
        let is_same = (said.clone(), code) == applied;
        assert!(is_same || said.contains("update conflict"), "{kind}: {said}");
        let deleted = done(&format!("Successfully deleted 1 '{kind}' resource(s)"));
        assert_eq!(asked(&admin, &["delete", word, "one"]), deleted, "{kind}");
        let (said, code) = asked(&admin, &["replace", "-f", &name]);
        assert!(code == Some(1) && said.contains("resource does not exist"), "{kind}: {said}");
        let (said, code) = asked(&admin, &["delete", "-f", &name, "--skip-not-exists"]);
        assert_eq!((said, code), deleted, "{kind}");
    }
    // What Calico fills in is there for whoever reads it.
    server.kubectl(&["create", "namespace", "test1"]);
    assert_eq!(asked(&admin, &["apply", "-f", SEEDS]), done("Successfully applied 5 resource(s)"));
    let types = ["get", "gnp", "deny-pod2", "-o", "jsonpath={.spec.tier} {.spec.types}"];
    assert_eq!(server.kubectl(&types), "default [\"Ingress\"]");
    assert_eq!(
        asked(&admin, &["get", "np", "-A"]),
        done("NAMESPACE   NAME\ntest1       from-test2")
    );
}

/// A definition of Calico's, as far as it matters here.
const STORED: &str = "
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: globalnetworkpolicies.crd.projectcalico.org}
spec:
  group: crd.projectcalico.org
  names: {kind: GlobalNetworkPolicy, plural: globalnetworkpolicies}
  scope: Cluster
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}
";

#[test]
fn where_calico_stores_objects_they_are_kept_as_it_keeps_them() {
    let Some(server) = ApiServer::start("brindle apply beside Calico") else { return };
    server.apply(STORED);
    server.kubectl(&["wait", "--for=condition=Established", "--timeout=60s", "crd", "--all"]);
    let admin = server.kubeconfig();
    let (said, code) = asked(&admin, &["crds", "--install"]);
    assert!(code == Some(1) && said.contains("nothing is installed"), "{said}");
    let text = "{apiVersion: projectcalico.org/v3, kind: GlobalNetworkPolicy, metadata: {name: a}, \
                spec: {selector: all()}}";
    let name = file(&server, "a.yaml", text);
    let resource = "globalnetworkpolicies.crd.projectcalico.org";
    let kept = || server.kubectl(&["get", resource, "-o", "name"]);
    for (words, want, is_kept) in [
        (
            &["create", "-f", &name][..],
            "Successfully created 1 'GlobalNetworkPolicy' resource(s)",
            true,
        ),
        (&["apply", "-f", &name], "Successfully applied 1 'GlobalNetworkPolicy' resource(s)", true),
        (&["label", "gnp", "a", "x=y"], "Successfully set label x on gnp a", true),
        (&["get", "gnp"], "NAME\na", true),
        (&["get", "gnp", "a", "-o", "name"], "globalnetworkpolicy.projectcalico.org/a", true),
        (
            &["delete", "gnp", "a"],
            "Successfully deleted 1 'GlobalNetworkPolicy' resource(s)",
            false,
        ),
    ] {
        assert_eq!(asked(&admin, words), done(want), "{words:?}");
        assert_eq!(kept().contains("/default.a\n"), is_kept, "{words:?}");
    }
}

#[test]
fn whoever_may_not_is_told_what_is_missing() {
    let Some(mut server) = ApiServer::start("rights of brindle apply") else { return };
    define(&server);
    let roles = "../deploy/kubernetes/components/policy-roles/roles.yaml";
    let roles = Path::new(env!("CARGO_MANIFEST_DIR")).join(roles).display().to_string();
    server.kubectl(&["apply", "-f", &roles]);
    let kubeconfig = |account: &str, role: Option<&str>| {
        server.kubectl(&["create", "serviceaccount", account]);
        if let Some(role) = role {
            let to = format!("--serviceaccount=default:{account}");
            let role = format!("--clusterrole={role}");
            server.kubectl(&["create", "clusterrolebinding", account, &role, &to]);
        }
        let token = server.create_token("default", account);
        (server.kubeconfig_with_token(account, &token), token)
    };
    let (nobody, _) = kubeconfig("nobody", None);
    let (viewer, _) = kubeconfig("viewer", Some("brindle-policy-viewer"));
    let (editor, token) = kubeconfig("editor", Some("brindle-policy-editor"));
    let cannot = |who: &str, verb: &str, role: &str, flags: &str| {
        let user = format!("system:serviceaccount:default:{who}");
        format!(
            "User \"{user}\" cannot {verb} globalnetworkpolicies.projectcalico.org; the ClusterRole \
             {role} gives it; see: kubectl auth can-i {verb} \
             globalnetworkpolicies.projectcalico.org{flags} --as {user}\n"
        )
    };
    let refused = format!("error: {}", cannot("nobody", "list", "brindle-policy-viewer", ""));
    assert_eq!(asked(&nobody, &["get", "gnp"]), (refused, Some(4)));
    let refused = "Failed to apply any resources: ".to_owned()
        + &cannot("nobody", "get", "brindle-policy-viewer", "");
    assert_eq!(asked(&nobody, &["apply", "-f", SEEDS]), (refused, Some(4)));
    let refused = "Failed to apply any resources: ".to_owned()
        + &cannot("viewer", "create", "brindle-policy-editor", "");
    assert_eq!(asked(&viewer, &["apply", "-f", SEEDS]), (refused, Some(4)));
    assert_eq!(asked(&viewer, &["get", "gnp", "-o", "name"]), (String::new(), Some(0)));
    for (words, want) in [
        (&["apply", "-f", SEEDS][..], "Successfully applied 5 resource(s)"),
        (&["label", "gnp", "deny-pod2", "a=b"], "Successfully set label a on gnp deny-pod2"),
        (
            &["delete", "gnp", "deny-pod2"],
            "Successfully deleted 1 'GlobalNetworkPolicy' resource(s)",
        ),
    ] {
        assert_eq!(asked(&editor, words), done(want), "{words:?}");
    }
    let (said, code) = asked(&editor, &["crds", "--install"]);
    assert!(code == Some(4) && said.contains("customresourcedefinitions"), "{said}");
    if skip::can_run("brindle get as a pod", &["unshare", "mount"]) {
        as_a_pod(&server, &token);
    }
    // Nobody at home is not the same as not allowed.
    server.stop();
    let (said, code) = asked(&editor, &["get", "gnp"]);
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("the API server cannot be reached: "), "{said}");
}

/// With a service account's files in the place where a pod has them, in a mount namespace of
/// the test's own: needs root, and util-linux.
fn as_a_pod(server: &ApiServer, token: &str) {
    let account = server.folder().join("account");
    std::fs::create_dir(&account).expect("a folder");
    std::fs::write(account.join("token"), token).expect("a file");
    std::fs::write(account.join("namespace"), "default").expect("a file");
    std::fs::copy(server.ca(), account.join("ca.crt")).expect("a file");
    let url = server.url();
    let port = url.rsplit(':').next().expect("a port");
    let script = "mount -t tmpfs none \"$(readlink -f /var/run)\" && mkdir -p /var/run/secrets/kubernetes.io \
                  && ln -s \"$1\" /var/run/secrets/kubernetes.io/serviceaccount && shift && exec \"$@\"";
    let mut command = Command::new("unshare");
    command.env("KUBERNETES_SERVICE_HOST", "127.0.0.1").env("KUBERNETES_SERVICE_PORT", port);
    command.env_remove("KUBECONFIG").env("HOME", "/nonexistent");
    command.args(["--mount", "sh", "-c", script, "sh"]).arg(&account).arg(agent::binary());
    let output = command.args(["get", "hep"]).output().expect("unshare runs");
    assert_eq!(said(&output), done("NAME         NODE\nnode1-eth0   node1"));
}
