//! `brindle apply` and its like on a folder of manifests, and what needs no store at all.

use std::fs;
use std::path::Path;

use assert_cmd::Command;
use tempfile::TempDir;

/// What the command prints, what it says beside that, and its exit code.
fn shown(words: &[&str]) -> String {
    let output = brindle(words).output().expect("it runs");
    let (out, said) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    format!("{out}{said}-- exit {}", output.status.code().expect("a code"))
}

fn brindle(words: &[&str]) -> Command {
    let mut command = Command::cargo_bin("brindle").expect("it is built");
    command.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/objects_cmd"));
    // Nothing of this machine is to be found.
    command.env_clear().env("HOME", "/nonexistent").args(words);
    command
}

/// A folder, and a way to talk about it.
fn folder() -> (TempDir, impl Fn(&[&str]) -> String) {
    let at = tempfile::tempdir().expect("a folder");
    let path = at.path().display().to_string();
    (at, move |words: &[&str]| {
        let mut all = words.to_vec();
        all.extend(["--folder", &path]);
        shown(&all).replace(&path, "FOLDER")
    })
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a folder");
    let name = |entry: fs::DirEntry| entry.file_name().to_string_lossy().into_owned();
    let mut names: Vec<_> = entries.map(|entry| name(entry.expect("an entry"))).collect();
    names.sort();
    names
}

#[test]
fn files_of_calicos_users_go_into_a_folder_and_out_again() {
    let (at, brindle) = folder();
    assert_eq!(
        brindle(&["apply", "-f", "seeds.yaml"]),
        "Successfully applied 5 resource(s)\n-- exit 0"
    );
    assert_eq!(
        names(at.path()),
        [
            "globalnetworkpolicy-default-deny.yaml",
            "globalnetworkpolicy-deny-pod2.yaml",
            "globalnetworkpolicy-host-baseline.yaml",
            "hostendpoint-node1-eth0.yaml",
            "networkpolicy-test1-from-test2.yaml",
        ]
    );
    let written = fs::read_to_string(at.path().join("globalnetworkpolicy-deny-pod2.yaml"));
    insta::assert_snapshot!(written.expect("a file"), @r"
    apiVersion: projectcalico.org/v3
    kind: GlobalNetworkPolicy
    metadata:
      name: deny-pod2
    spec:
      ingress:
      - action: Deny
        protocol: TCP
        source:
          selector: datou == 'pod2'
      selector: datou == 'pod1'
      tier: default
      types:
      - Ingress
    ");
    insta::assert_snapshot!(brindle(&["get", "gnp", "-o", "wide"]), @r#"
    NAME            ORDER   SELECTOR
    default-deny            projectcalico.org/namespace != "kube-system"
    deny-pod2               datou == 'pod1'
    host-baseline   100     role == 'k8s-worker'
    -- exit 0
    "#);
    insta::assert_snapshot!(brindle(&["get", "networkPolicies", "-A"]), @r"
    NAMESPACE   NAME
    test1       from-test2
    -- exit 0
    ");
    insta::assert_snapshot!(brindle(&["get", "hep", "-o", "wide"]), @r"
    NAME         NODE    INTERFACE   IPS          PROFILES
    node1-eth0   node1   eth0        192.0.2.11
    -- exit 0
    ");
    for (words, want) in [
        (
            &["get", "np", "from-test2"][..],
            "error: resource does not exist: NetworkPolicy(default/from-test2)\n-- exit 1",
        ),
        (
            &["get", "np", "from-test2", "-n", "test1", "-o", "name"],
            "networkpolicy.projectcalico.org/from-test2\n-- exit 0",
        ),
        (
            &["create", "-f", "seeds.yaml"],
            "Failed to create any resources: resource already exists: GlobalNetworkPolicy(default-deny)\n-- exit 1",
        ),
        (
            &["create", "-f", "seeds.yaml", "--skip-exists"],
            "Successfully created 5 resource(s)\n-- exit 0",
        ),
        (&["replace", "-f", "seeds.yaml"], "Successfully replaced 5 resource(s)\n-- exit 0"),
        (
            &["label", "hep", "node1-eth0", "zone=a"],
            "Successfully set label zone on hep node1-eth0\n-- exit 0",
        ),
        (
            &["label", "hostEndpoint", "node1-eth0", "zone=b", "--overwrite"],
            "Successfully updated label zone on hostEndpoint node1-eth0\n-- exit 0",
        ),
        (
            &["label", "hep", "node1-eth0", "zone", "--remove"],
            "Successfully removed label zone from hep node1-eth0.\n-- exit 0",
        ),
        (
            &["delete", "globalnetworkpolicy", "default-deny"],
            "Successfully deleted 1 'GlobalNetworkPolicy' resource(s)\n-- exit 0",
        ),
        (
            &["delete", "gnp", "default-deny"],
            "Failed to delete 'GlobalNetworkPolicy' resource: resource does not exist: GlobalNetworkPolicy(default-deny)\n-- exit 1",
        ),
        (
            &["delete", "-f", "seeds.yaml", "--skip-not-exists"],
            "Successfully deleted 5 resource(s)\n-- exit 0",
        ),
    ] {
        assert_eq!(brindle(words), want, "{words:?}");
    }
    assert_eq!(names(at.path()), [""; 0]);
}

#[test]
fn what_the_source_of_a_configuration_is_can_be_named() {
    let at = tempfile::tempdir().expect("a folder");
    let objects = at.path().join("objects");
    fs::create_dir(&objects).expect("a folder");
    let config = at.path().join("brindle.yaml");
    let text = format!(
        "node: {{name: n1}}\nsource: {{kind: files, path: {}}}\npolicy: {{enabled: true}}\n\
         bgp: {{enabled: false}}\n",
        objects.display()
    );
    fs::write(&config, text).expect("a file");
    let config = config.display().to_string();
    let said = shown(&["apply", "-f", "seeds.yaml", "-c", &config]);
    assert_eq!(said, "Successfully applied 5 resource(s)\n-- exit 0");
    assert_eq!(names(&objects).len(), 5);
}

#[test]
fn nothing_is_written_if_anything_is_wrong() {
    let (at, brindle) = folder();
    insta::assert_snapshot!(brindle(&["apply", "-f", "wrong.yaml"]), @r#"
    error: wrong.yaml:12: document 3: kind: "Pod" of v1 is not handled here; accepted are GlobalNetworkPolicy, NetworkPolicy, HostEndpoint, GlobalNetworkSet, NetworkSet, Tier, Profile, StagedGlobalNetworkPolicy, StagedNetworkPolicy, StagedKubernetesNetworkPolicy, ClusterNetworkPolicy, BGPConfiguration, BGPFilter, BGPPeer; kubectl takes it
    error: wrong.yaml:5: document 2: GlobalNetworkPolicy(typo): spec.selector: column 5: found "="; accepted is ==, !=, in, not in, contains, starts with or ends with after the name; did you mean ==?; everything that the rest selects is governed, and nothing is allowed
    -- exit 2
    "#);
    assert_eq!(names(at.path()), [""; 0]);
    let said = shown(&["validate", "-f", "wrong.yaml"]);
    assert_eq!(said, brindle(&["apply", "-f", "wrong.yaml"]), "the same, without a folder");
    assert_eq!(
        shown(&["validate", "-f", "seeds.yaml"]),
        "Successfully validated 5 resource(s)\n-- exit 0"
    );
}

#[test]
fn wrong_words_are_met_with_right_ones() {
    let (_at, brindle) = folder();
    for (words, want) in [
        (
            &["apply"][..],
            "error: no file: -f FILE, -f FOLDER or -f - has to say what to read\n-- exit 2",
        ),
        (
            &["delete", "gnp"],
            "error: no name: which one is to be deleted has to be said\n-- exit 2",
        ),
        (&["get", "gnp", "-o", "custom-columns=NAME"], "-- exit 0"),
        (
            &["label", "gnp", "a", "b"],
            "error: \"b\" is no label; accepted is KEY=VALUE, or KEY- to remove one\n-- exit 2",
        ),
        (
            &["apply", "-f", "/nonexistent.yaml"],
            "error: /nonexistent.yaml: No such file or directory (os error 2)\n-- exit 2",
        ),
    ] {
        assert_eq!(brindle(words), want, "{words:?}");
    }
    let said = brindle(&["get", "ippool"]);
    assert!(said.starts_with("error: \"ippool\" is no kind of object here; accepted"), "{said}");
    let nobody = shown(&["get", "gnp"]);
    assert!(nobody.starts_with("error: no way to the API server: --kubeconfig is not"), "{nobody}");
    assert!(nobody.ends_with("-- exit 3"), "{nobody}");
    let mut etcd = self::brindle(&["get", "gnp"]);
    let output = etcd.env("DATASTORE_TYPE", "etcdv3").output().expect("it runs");
    assert_eq!(output.status.code(), Some(2), "{output:?}");
}

#[test]
fn manifests_are_converted() {
    let (at, _) = folder();
    let file = at.path().join("v1.yaml");
    let text = "apiVersion: v1\nkind: policy\nmetadata: {name: a}\nspec:\n  selector: x == 'y'\n  \
                ingress: [{action: allow, protocol: tcp, destination: {ports: [80]}}]\n";
    fs::write(&file, text).expect("a file");
    insta::assert_snapshot!(shown(&["convert", "-f", &file.display().to_string()]), @r"
    apiVersion: projectcalico.org/v3
    kind: GlobalNetworkPolicy
    metadata:
      name: a
    spec:
      ingress:
      - action: Allow
        destination:
          ports:
          - 80
        protocol: TCP
      selector: x == 'y'
    -- exit 0
    ");
}

#[test]
fn definitions_are_printed_for_kubectl() {
    let output = brindle(&["crds"]).output().expect("it runs");
    let text = String::from_utf8(output.stdout).expect("text");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/kubernetes/crds");
    let documents: Vec<&str> = text.split("---\n").collect();
    assert_eq!(documents.len(), names(&folder).len());
    for name in names(&folder) {
        let shipped = fs::read_to_string(folder.join(&name)).expect("it is shipped");
        assert!(documents.contains(&&*shipped), "{name}");
    }
}

#[test]
fn objects_of_another_network_are_imported_and_what_has_no_equivalent_is_said() {
    let import = |given: &'static str| {
        let words = ["import", "calico", "-f", "-"];
        let output = brindle(&words).write_stdin(given).output().expect("it runs");
        let [out, said] =
            [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text).into_owned());
        (out, said, output.status.code())
    };
    let configuration = "{apiVersion: projectcalico.org/v3, kind: BGPConfiguration, metadata: \
                         {name: default}, spec: {asNumber: 64513}}\n";
    let (out, said, code) = import(configuration);
    assert_eq!(
        (out.as_str(), said.as_str(), code),
        ("bgp:\n  asNumber: 64513\nsource:\n  kind: kubernetes\n", "", Some(0))
    );
    let (out, said, code) = import(
        "{apiVersion: projectcalico.org/v3, kind: BGPPeer, metadata: {name: tor}, spec: {node: n1}}",
    );
    assert_eq!((out.as_str(), code), ("source:\n  kind: kubernetes\n", Some(1)));
    assert!(said.contains("BGPPeer tor: spec.node: is for node n1 only"), "{said}");
    let (out, said, code) = import("{kind: [");
    assert_eq!((out.as_str(), code), ("", Some(2)), "{said}");
    assert!(said.contains("<stdin>") && said.contains("not valid YAML"), "{said}");
}
