//! `brindle config` as it is typed.

use std::fs;
use std::path::Path;

use assert_cmd::Command;
use serde_json::Value;

fn brindle(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_brindle"));
    command.args(args);
    command
}

fn example() -> String {
    format!("{}/config/examples/node-with-tor-peers.yaml", env!("CARGO_MANIFEST_DIR"))
}

/// A folder with a `brindle.yaml` of this text, and its path.
fn file(text: &str) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("brindle.yaml");
    fs::write(&path, text).expect("a file");
    let path = path.display().to_string();
    (folder, path)
}

#[test]
fn a_good_file_is_good() {
    let path = example();
    let want = format!("0 errors. Read {path}.\n");
    brindle(&["config", "check", "--config", &path]).assert().code(0).stdout(want).stderr("");
    let (_folder, path) = file("bgp: {listen: {addresses: ['::']}}\n");
    let want = format!(
        "{path}:1:28  bgp.listen.addresses[0]: warning: :: listens on every address of the host; \
         name those that peers dial\n0 errors, 1 warning. Read {path}.\n"
    );
    brindle(&["config", "check", "-c", &path]).assert().code(0).stdout(want);
}

#[test]
fn all_that_is_wrong_is_named_and_the_exit_code_is_2() {
    let (folder, path) = file("bgp:\n  asNumber: 0\n");
    let want = format!(
        "{path}:2:13  bgp.asNumber: \"0\" is not an AS number; accepted are 1 to 4294967295, also \
         written as 1.10\n1 error. The running configuration is unchanged.\n"
    );
    brindle(&["config", "check", "--config", &path]).assert().code(2).stdout(want.clone());
    brindle(&["config", "show", "--config", &path]).assert().code(2).stdout("").stderr(want);

    fs::create_dir(folder.path().join("conf.d")).expect("a new folder");
    fs::write(folder.path().join("conf.d/20-tor.yaml"), "rotues: {}\n").expect("a file");
    let output = brindle(&["config", "check", "--config", &path]).output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout);
    let lines: Vec<_> = said.lines().collect();
    assert_eq!(lines.len(), 3, "{said}");
    assert!(
        lines[1].ends_with(
            "conf.d/20-tor.yaml:1:1  unknown field \"rotues\"; did you mean \"routes\"?"
        )
    );
    assert_eq!(lines[2], "2 errors. The running configuration is unchanged.");

    let missing = folder.path().join("none.yaml").display().to_string();
    fs::remove_dir_all(folder.path().join("conf.d")).expect("it is there");
    let want = format!(
        "{missing}  there is no such file\n1 error. The running configuration is unchanged.\n"
    );
    brindle(&["config", "check", "--config", &missing]).assert().code(2).stdout(want);
}

#[test]
fn machines_are_told_the_same() {
    let (_folder, path) = file("bgp:\n  asNumber: 0\n");
    let output =
        brindle(&["config", "check", "-o", "json", "-c", &path]).output().expect("it runs");
    assert_eq!(output.status.code(), Some(2));
    let said: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(said["kind"], "ConfigCheck");
    assert_eq!(said["valid"], false);
    assert_eq!(said["errors"][0]["path"], "bgp.asNumber");
    assert_eq!(said["errors"][0]["line"], 2);
    assert_eq!(said["errors"][0]["column"], 13);
    assert_eq!(said["errors"][0]["file"], path);
}

#[test]
fn what_is_shown_is_a_configuration_again() {
    let path = example();
    for format in ["yaml", "json"] {
        let output = brindle(&["config", "show", "-o", format, "-c", &path]).output();
        let output = output.expect("it runs");
        assert_eq!(output.status.code(), Some(0), "{format}");
        let (_folder, again) = file(&String::from_utf8(output.stdout).expect("text"));
        let config = |path: &str| brindle_config::Config::load(Path::new(path)).map(|l| l.config);
        assert_eq!(config(&again), config(&path), "{format}");
    }
}

#[test]
fn the_schema_is_json() {
    let output = brindle(&["config", "schema"]).output().expect("it runs");
    assert_eq!(output.status.code(), Some(0));
    let schema: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
}
