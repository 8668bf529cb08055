//! The container image, as far as it can be seen without building it: what the Dockerfile names is
//! there, and the file system that it makes works by itself.

use std::path::{Path, PathBuf};
use std::process::Command;

use integration_tests::container;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn text(path: &str) -> String {
    std::fs::read_to_string(repository().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// The files that the program's sources build in, those of tests too.
fn built_in() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = ["src", "config/src", "bgp/src", "policy/src"].map(PathBuf::from).to_vec();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(repository().join(&folder)).expect("a folder of sources") {
            let path = folder.join(entry.expect("it can be read").file_name());
            if repository().join(&path).is_dir() {
                folders.push(path);
                continue;
            }
            let source = text(&path.display().to_string());
            for macro_name in ["include_str!(\"", "include_bytes!(\""] {
                for rest in source.split(macro_name).skip(1) {
                    let (name, _) = rest.split_once('"').expect("a name ends");
                    let mut file = folder.clone();
                    for part in name.split('/') {
                        match part {
                            ".." => assert!(file.pop(), "{name}"),
                            part => file.push(part),
                        }
                    }
                    found.push(file);
                }
            }
        }
    }
    found
}

/// The instructions of the Dockerfile, each with its words; lines that go on are one.
fn instructions() -> Vec<(String, Vec<String>)> {
    let whole = text("Dockerfile").replace("\\\n", " ");
    let lines = whole.lines().map(str::trim).filter(|line| !line.is_empty());
    let instructions = lines.filter(|line| !line.starts_with('#')).map(|line| {
        let (instruction, rest) = line.split_once(' ').expect("an instruction has words");
        (instruction.to_owned(), rest.split_whitespace().map(str::to_owned).collect())
    });
    instructions.collect()
}

#[test]
fn what_the_dockerfile_copies_is_there_and_is_let_in() {
    let ignored = text(".dockerignore");
    let mut lines = ignored.lines().filter(|line| !line.starts_with('#'));
    assert_eq!(lines.next(), Some("*"), "everything is kept out first");
    let let_in: Vec<_> = lines.filter_map(|line| line.strip_prefix('!')).collect();
    let mut copied = Vec::new();
    for (instruction, words) in instructions() {
        if instruction == "COPY" && !words[0].starts_with("--from=") {
            let (_, sources) = words.split_last().expect("COPY has a target");
            copied.extend(sources.to_vec());
        }
    }
    for source in &copied {
        assert!(repository().join(source).exists(), "{source}");
        let is_let_in = let_in.iter().any(|path| Path::new(source).starts_with(path));
        assert!(is_let_in, "{source} is kept out by .dockerignore");
    }
    for path in let_in {
        let is_used = copied.iter().any(|source| Path::new(source).starts_with(path));
        assert!(is_used, "{path} is let in and not copied");
    }
    let files = built_in();
    assert!(files.iter().any(|file| file.ends_with("rbac.yaml")), "{files:?}");
    for file in files {
        let is_copied = copied.iter().any(|source| file.starts_with(source));
        assert!(is_copied, "{} is built in and not copied", file.display());
    }
    // Cargo wants to see every member of the workspace.
    let workspace = text("Cargo.toml");
    let members = workspace.lines().find_map(|line| line.strip_prefix("members = ["));
    for member in members.expect("a list").trim_end_matches(']').split(", ") {
        let member = member.trim_matches('"');
        let wanted = if member == "." { "src" } else { member };
        assert!(copied.iter().any(|source| source == wanted), "{member} of the workspace");
    }
}

#[test]
fn the_image_runs_the_program_that_the_manifests_name() {
    let last = |wanted: &str| {
        let all = instructions();
        let words = all.into_iter().rfind(|(instruction, _)| instruction == wanted);
        words.map(|(_, words)| words.join(" ")).unwrap_or_default()
    };
    assert_eq!(last("FROM"), "scratch", "nothing but our own file system");
    assert_eq!(last("ENTRYPOINT"), r#"["/usr/bin/brindle"]"#);
    assert_eq!(last("ENV"), "PATH=/usr/sbin:/usr/bin");
    let manifest = text("deploy/kubernetes/install.yaml");
    let commands = manifest.lines().filter(|line| line.trim() == "- /usr/bin/brindle");
    assert_eq!(commands.count(), 2, "the agent and the installer");
    let version = format!("brindle:{}", env!("CARGO_PKG_VERSION"));
    let images = manifest.lines().filter_map(|line| line.trim().strip_prefix("image: "));
    assert_eq!(images.collect::<Vec<_>>(), [&version, &version]);
    for overlay in [
        "overlays/full",
        "overlays/policy-only",
        "overlays/routes-only",
        "overlays/dual-stack",
        "cleanup",
    ] {
        let tag = format!("newTag: {}", env!("CARGO_PKG_VERSION"));
        let kustomization = text(&format!("deploy/kubernetes/{overlay}/kustomization.yaml"));
        assert!(kustomization.contains(&tag), "{overlay}: {tag}");
    }
}

#[test]
fn the_images_file_system_holds_what_is_run_and_no_shell() {
    if !container::can_run("the image's file system", &["chroot"]) {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path().join("root");
    container::make_root(&root);
    let run = |words: &[&str]| {
        let output = Command::new("chroot").arg(&root).args(words).output().expect("chroot runs");
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        (output.status.success(), said)
    };
    for family in ["iptables", "ip6tables"] {
        for (backend, named) in [("nft", "(nf_tables)"), ("legacy", "(legacy)")] {
            for part in ["", "-save", "-restore"] {
                let program = format!("/usr/sbin/{family}-{backend}{part}");
                let (fine, said) = run(&[&program, "-V"]);
                assert!(fine && said.contains(named), "{program}: {said}");
            }
            // Matches are libraries that are looked for at run time.
            let program = format!("/usr/sbin/{family}-{backend}");
            let knows = |name| !run(&[&program, "-m", name, "--help"]).1.contains("load match");
            for name in ["set", "conntrack", "comment", "addrtype"] {
                assert!(knows(name), "{program} -m {name}");
            }
            assert!(!knows("nonsense"), "{program} says what it does not know");
        }
    }
    for words in [
        &["/usr/sbin/ipset", "--version"][..],
        &["/usr/sbin/conntrack", "--version"],
        &["/usr/bin/brindle", "--version"],
        &["/usr/bin/sleep", "0"],
    ] {
        let (fine, said) = run(words);
        assert!(fine, "{words:?}: {said}");
    }
    for absent in ["sh", "bash", "dash", "dpkg", "apt-get", "busybox"] {
        for folder in ["usr/bin", "usr/sbin", "usr/local/bin"] {
            assert!(!root.join(folder).join(absent).exists(), "{folder}/{absent}");
        }
    }
    assert!(root.join("usr/share/doc/iptables/copyright").is_file(), "licences come along");
}
