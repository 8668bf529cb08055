//! A main file and its drop-ins, read from a real folder.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use brindle_config::{Config, Loaded};

/// A folder with these files, and the path of its `brindle.yaml`.
fn folder(files: &[(&str, &str)]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().expect("inside the folder")).expect("a folder");
        fs::write(path, text).expect("a file");
    }
    let main = folder.path().join("brindle.yaml");
    (folder, main)
}

fn load(main: &Path) -> Loaded {
    Config::load(main).unwrap_or_else(|errors| panic!("{errors}"))
}

/// The errors, with the folder's name taken out.
fn errors(folder: &Path, main: &Path) -> Vec<String> {
    let errors = Config::load(main).expect_err("something is wrong").to_string();
    let prefix = format!("{}/", folder.display());
    errors.replace(&prefix, "").lines().map(str::to_owned).collect()
}

#[test]
fn drop_ins_are_laid_on_top_by_name() {
    let peer =
        |name: &str, address: &str| format!("{{name: {name}, peerIP: {address}, asNumber: 64512}}");
    let (folder, main) = folder(&[
        (
            "brindle.yaml",
            &format!(
                "bgp: {{asNumber: 64512, maxPaths: 2, listen: {{port: 1179}}, \
                 networks: [192.0.2.0/24], peers: [{}]}}",
                peer("a", "10.0.0.1")
            ),
        ),
        (
            "conf.d/20-second.yaml",
            &format!(
                "bgp: {{maxPaths: 8, networks: [198.51.100.0/24], peers: [{}]}}",
                peer("c", "10.0.0.3")
            ),
        ),
        (
            "conf.d/10-first.yaml",
            &format!("bgp: {{maxPaths: 4, peers: [{}]}}", peer("b", "10.0.0.2")),
        ),
        ("conf.d/30-third.yaml", "bgp:\n  listen: {addresses: [10.0.0.250]}\nroutes: {metric: 7}"),
        ("conf.d/40-nothing.yaml", "# not yet\n"),
        ("conf.d/.hidden.yaml", "not: read"),
        ("conf.d/50-old.yaml.bak", "not: read"),
        ("conf.d/README", "not: read"),
    ]);
    let loaded = load(&main);
    let names: Vec<_> = loaded.config.bgp.peers.iter().map(|peer| &*peer.name).collect();
    assert_eq!(names, ["a", "b", "c"]);
    let networks: Vec<_> = loaded.config.bgp.networks.iter().map(ToString::to_string).collect();
    assert_eq!(networks, ["192.0.2.0/24", "198.51.100.0/24"]);
    assert_eq!(loaded.config.bgp.max_paths, 8, "the last file counts");
    assert_eq!(loaded.config.bgp.listen_port, 1179, "a map is merged, not replaced");
    assert_eq!(loaded.config.bgp.listen_addresses.len(), 1);
    assert_eq!(loaded.config.routes.metric, 7);
    let files: Vec<_> = ["brindle.yaml", "conf.d/10-first.yaml", "conf.d/20-second.yaml"]
        .into_iter()
        .chain(["conf.d/30-third.yaml", "conf.d/40-nothing.yaml"])
        .map(|name| folder.path().join(name))
        .collect();
    assert_eq!(loaded.files, files);
}

#[test]
fn without_drop_ins_the_main_file_is_all() {
    let (_folder, main) = folder(&[("brindle.yaml", "")]);
    let loaded = load(&main);
    assert_eq!((loaded.config, loaded.files), (Config::default(), vec![main]));
}

#[test]
fn mistakes_of_all_files_are_named_together_with_both_places_of_a_clash() {
    let (folder, main) = folder(&[
        (
            "brindle.yaml",
            "bgp:\n  peers:\n    - {name: a, peerIP: 10.0.0.1, asNumber: 64512}\n  filters: [{name: f, rules: []}]\n",
        ),
        (
            "conf.d/10.yaml",
            "bgp:\n  peers:\n    - {name: a, peerIP: 10.0.0.2, asNumber: 64512}\n  filters: [{name: f, rules: []}]\n",
        ),
        ("conf.d/20.yaml", "bgp: [\n"),
        ("conf.d/30.yaml", "bpg: {}\n"),
    ]);
    assert_eq!(
        errors(folder.path(), &main),
        [
            "conf.d/10.yaml:3:14  bgp.peers[1].name: \"a\" is the name of another peer, at brindle.yaml:3:14",
            "conf.d/10.yaml:4:20  bgp.filters[1].name: \"f\" is the name of another filter, at brindle.yaml:4:20",
            "conf.d/20.yaml:1:6  not valid YAML: unclosed bracket '['",
            "conf.d/30.yaml:1:1  unknown field \"bpg\"; did you mean \"bgp\"?",
        ]
    );
}

#[test]
fn a_filter_that_an_unreadable_file_may_hold_is_not_called_unknown() {
    let peer = "bgp: {peers: [{name: a, peerIP: 10.0.0.1, asNumber: 64512, importFilters: [f]}]}";
    let (folder, main) = folder(&[("brindle.yaml", peer), ("conf.d/10.yaml", "bgp: {filters: [")]);
    let got = errors(folder.path(), &main);
    assert!(got.len() == 1 && got[0].starts_with("conf.d/10.yaml:1:"), "{got:?}");
}

#[test]
fn files_that_cannot_be_read_are_named() {
    let (folder, main) = folder(&[]);
    assert_eq!(errors(folder.path(), &main), ["brindle.yaml  there is no such file"]);

    fs::create_dir(&main).expect("a folder");
    assert_eq!(errors(folder.path(), &main), ["brindle.yaml  is not a file"]);

    fs::remove_dir(&main).expect("an empty folder");
    fs::write(&main, b"node:\n  name: \xff\n").expect("a file");
    assert_eq!(errors(folder.path(), &main), ["brindle.yaml  line 2 is not UTF-8 text"]);

    fs::write(&main, vec![b'#'; 10 << 20]).expect("a file");
    assert_eq!(
        errors(folder.path(), &main),
        ["brindle.yaml  the file has 10485760 bytes; accepted are at most 4194304"]
    );

    fs::write(&main, "").expect("a file");
    fs::write(folder.path().join("conf.d"), "").expect("a file");
    let got = errors(folder.path(), &main);
    assert!(got.len() == 1 && got[0].starts_with("conf.d  cannot be listed: "), "{got:?}");
}

#[test]
fn every_example_is_valid_and_without_warnings() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let here = tempfile::tempdir().expect("a temporary folder");
    for name in ["mesh", "tor-a", "tor-b-1", "tor-b-2", "storage"] {
        let key = here.path().join(name);
        fs::write(&key, "swordfish").expect("our folder");
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).expect("our file");
    }
    let keys = here.path().to_str().expect("UTF-8");
    let mut seen = 0;
    for entry in fs::read_dir(&folder).expect("the folder of examples") {
        let path = entry.expect("an entry").path();
        let text = fs::read_to_string(&path).expect("an example");
        let main = here.path().join("brindle.yaml");
        fs::write(&main, text.replace("/etc/brindle/keys", keys)).expect("our folder");
        let loaded = load(&main);
        assert_eq!(loaded.warnings, [], "{}", path.display());
        seen += 1;
    }
    assert!(seen >= 4, "{seen} examples");
}

#[test]
fn keys_are_read_and_refused_at_the_place_that_names_them() {
    let peer = |name: &str, host: u8, folder: &Path| {
        let file = folder.join(name);
        format!(
            "    - {{name: {name}, peerIP: 10.0.0.{host}, asNumber: 64512, password: {{file: {}}}}}\n",
            file.display()
        )
    };
    let (folder, main) = folder(&[("long", &"k".repeat(81)), ("empty", "\n"), ("good", "k\n")]);
    let names = ["good", "long", "empty", "missing"];
    let peers = (9..).zip(names).map(|(host, name)| peer(name, host, folder.path()));
    fs::write(&main, format!("bgp:\n  peers:\n{}", peers.collect::<String>())).expect("a file");
    fs::set_permissions(folder.path().join("good"), fs::Permissions::from_mode(0o600))
        .expect("our file");

    let errors = load(&main).check_keys().expect_err("three are no keys").to_string();
    let got = errors.replace(&format!("{}/", folder.path().display()), "");
    let want = [
        "brindle.yaml:4:73  bgp.peers[1].password.file: long: has 81 octets; a key has 1 to 80",
        "brindle.yaml:5:74  bgp.peers[2].password.file: empty: is empty; a key has 1 to 80 octets",
        "brindle.yaml:6:76  bgp.peers[3].password.file: missing: there is no such file; it must be \
         a file that holds the key, 1 to 80 octets",
    ];
    assert_eq!(got.lines().collect::<Vec<_>>(), want);

    let good = format!("bgp:\n  peers:\n{}", peer("good", 9, folder.path()));
    fs::write(&main, good).expect("a file");
    for (mode, warned) in [(0o600, 0), (0o644, 1)] {
        fs::set_permissions(folder.path().join("good"), fs::Permissions::from_mode(mode))
            .expect("our file");
        let mut loaded = load(&main);
        loaded.check_keys().expect("a good key");
        assert_eq!(loaded.warnings.len(), warned, "{mode:o}: {:?}", loaded.warnings);
    }
}
