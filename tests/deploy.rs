//! What is shipped for bare metal: the unit and its drop-ins.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use brindle::cni::record::HOST_INTERFACE_PREFIX;
use brindle_config::Config;

mod skipped;

const BINARY: &str = env!("CARGO_BIN_EXE_brindle");

fn shipped(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/systemd").join(name)
}

fn text(name: &str) -> String {
    let path = shipped(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// What `systemd-analyze` says to `args`; `None`, noted as skipped, where there is none.
fn systemd_analyze(test: &str, args: &[&str]) -> Option<Output> {
    match Command::new("systemd-analyze").args(args).env("SYSTEMD_COLORS", "0").output() {
        Ok(output) => Some(output),
        Err(error) => {
            skipped::note(test, &format!("systemd-analyze: {error}"));
            None
        }
    }
}

/// The unit with the program that was built for this test, in a folder of its own.
fn unit() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("brindle.service");
    let unit = text("brindle.service").replace("/usr/bin/brindle", BINARY);
    fs::write(&path, unit).expect("a file");
    (folder, path)
}

#[test]
fn the_units_exposure_is_low() {
    let test = "the_units_exposure_is_low";
    const MOST: f64 = 2.5;
    let (_folder, unit) = unit();
    let args = ["security", "--no-pager", "--offline=true", &unit.display().to_string()];
    let Some(output) = systemd_analyze(test, &args) else { return };
    let said = String::from_utf8_lossy(&output.stdout);
    let exposure = said
        .lines()
        .find_map(|line| line.split_once("Overall exposure level for brindle.service: "))
        .and_then(|(_, rest)| rest.split_whitespace().next()?.parse::<f64>().ok());
    let Some(exposure) = exposure else {
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(errors.contains("offline"), "no exposure in {said}\n{errors}");
        return skipped::note(test, &format!("systemd-analyze security: {errors}"));
    };
    assert!(exposure <= MOST, "exposure {exposure}, wanted at most {MOST}:\n{said}");
}

#[test]
fn systemd_understands_the_unit() {
    let test = "systemd_understands_the_unit";
    let (_folder, unit) = unit();
    let args = ["verify", "--man=no", "--recursive-errors=no", &unit.display().to_string()];
    let Some(output) = systemd_analyze(test, &args) else { return };
    let said = String::from_utf8_lossy(&output.stderr);
    if said.contains("unrecognized option") {
        return skipped::note(test, &format!("systemd-analyze verify: {said}"));
    }
    assert!(output.status.success() && !said.contains("brindle.service"), "{said}");
}

#[test]
fn the_unit_has_what_operators_rely_on() {
    let unit = text("brindle.service");
    for line in [
        "Type=notify",
        "WatchdogSec=30",
        "Restart=always",
        "StartLimitIntervalSec=0",
        "KillMode=mixed",
        "RuntimeDirectory=brindle",
        "RuntimeDirectoryPreserve=yes",
        "After=network-pre.target systemd-modules-load.service systemd-sysctl.service",
        "Before=network.target kubelet.service",
        "ExecStartPre=/usr/bin/brindle config check --config /etc/brindle/brindle.yaml",
        "ExecStart=/usr/bin/brindle agent --config /etc/brindle/brindle.yaml",
        "ExecReload=/bin/kill -HUP $MAINPID",
        "CapabilityBoundingSet=CAP_NET_ADMIN CAP_NET_RAW CAP_NET_BIND_SERVICE",
    ] {
        assert!(unit.lines().any(|found| found == line), "{line}");
    }
    assert!(!unit.contains("ProtectKernelTunables="), "forwarding is switched on by the agent");
}

#[test]
fn the_check_before_the_start_is_a_command_that_exists() {
    let unit = text("brindle.service");
    let command = unit.lines().find_map(|line| line.strip_prefix("ExecStartPre=/usr/bin/brindle "));
    let command = command.expect("a check before the start");
    for (file, want) in [("config/examples/minimal-node.yaml", 0), ("Cargo.toml", 2)] {
        let file = format!("{}/{file}", env!("CARGO_MANIFEST_DIR"));
        let command = command.replace("/etc/brindle/brindle.yaml", &file);
        let output = Command::new(BINARY).args(command.split(' ')).output().expect("it runs");
        assert_eq!(output.status.code(), Some(want), "{command}: {output:?}");
    }
}

#[test]
fn the_drop_ins_fit_the_program() {
    let protocols = text("rt_protos.d/brindle.conf");
    let protocol: Vec<_> = protocols.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(protocol, ["98\tbrindle"], "number, then name, as iproute2 reads them");

    let networkd = text("networkd.conf.d/50-brindle.conf");
    assert!(networkd.contains("\n[Network]\n"));
    for what in ["Routes", "RoutingPolicyRules", "NextHops"] {
        assert!(networkd.contains(&format!("\nManageForeign{what}=no\n")), "{what}");
    }
    let pods = format!("[keyfile]\nunmanaged-devices=interface-name:{HOST_INTERFACE_PREFIX}*\n");
    assert!(text("NetworkManager/50-brindle.conf").contains(&pods));
    assert!(text("sysusers.d/brindle.conf").contains("\ng brindle -\n"));
    assert!(text("tmpfiles.d/brindle.conf").contains("\nf /run/xtables.lock 0600 root root -\n"));
    for sysctl in ["net.ipv4.ip_forward = 1", "net.ipv6.conf.all.forwarding = 1"] {
        assert!(text("sysctl.d/60-brindle.conf").lines().any(|line| line == sysctl), "{sysctl}");
    }
    for module in ["ipv6", "ip_set", "xt_set", "nf_conntrack", "nfnetlink_log"] {
        let modules = text("modules-load.d/brindle.conf");
        assert!(modules.lines().any(|line| line == module), "{module}");
    }

    // The socket of an empty configuration lies in the folder that the unit makes.
    let socket = Config::default().control.socket;
    assert_eq!(socket.parent(), Some(Path::new("/run/brindle")));
}

#[test]
fn the_readme_names_every_file_and_no_other() {
    let readme = text("README.md");
    let mut files = vec!["brindle.service".to_owned()];
    for folder in fs::read_dir(shipped("")).expect("the folder") {
        let folder = folder.expect("an entry").path();
        if !folder.is_dir() {
            continue;
        }
        for file in fs::read_dir(&folder).expect("a folder") {
            let file = file.expect("an entry").path();
            let name = file.strip_prefix(shipped("")).expect("inside").display().to_string();
            files.push(name);
        }
    }
    let named = readme.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let mut named: Vec<_> = named.map(str::to_owned).collect();
    files.sort();
    named.sort();
    assert_eq!(files, named);
}
