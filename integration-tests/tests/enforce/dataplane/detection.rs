//! Which programs are used, and what is said when they or the kernel's parts are missing.

use brindle::enforce::dataplane::{Dataplane, Tuning};
use brindle::enforce::{Backend, BackendChoice};
use brindle_policy::{Family, Ruleset};
use integration_tests::skip;

use super::host::{Host, a_host, assert_empty, bring, drift, each_host, want};

async fn chosen(host: &Host) -> Backend {
    let auto = Dataplane::detect_tuned(BackendChoice::Auto, host.tuning()).await;
    auto.expect("all is there").backend()
}

#[test]
fn the_backend_is_the_one_that_the_host_uses() {
    each_host("choice", |host| {
        let other = match host.backend {
            Backend::Nft => "legacy",
            Backend::Legacy => "nft",
        };
        host.run(async || {
            // A rule of others speaks for a backend; the chain of a kubelet speaks louder.
            host.iptables("ip", "-A OUTPUT -p 253 -j DROP");
            assert_eq!(chosen(host).await, host.backend);
            host.shell(&format!(
                "for n in 1 2 3; do iptables-{other} -A OUTPUT -p 253 -j DROP; done"
            ));
            assert_ne!(chosen(host).await, host.backend);
            host.iptables("ip6", "-t mangle -N KUBE-KUBELET-CANARY");
            assert_eq!(chosen(host).await, host.backend);
        });
    });
}

#[test]
fn a_backend_that_the_kernel_has_not_got_is_not_chosen() {
    each_host("half a kernel", |host| {
        host.run(async || {
            host.iptables("ip", "-A OUTPUT -p 253 -j DROP");
            assert_eq!(chosen(host).await, host.backend);
            let complaint = "Could not fetch rule set generation id: Invalid argument";
            host.wrap(&host.program("ip", "-save"), &format!("echo '{complaint}' >&2; exit 1"));
            assert_ne!(chosen(host).await, host.backend);
        });
    });
}

#[test]
fn what_was_used_before_a_restart_is_used_again() {
    each_host("before a restart", |host| {
        host.run(async || {
            let mut dataplane = host.detect().await;
            bring(&mut dataplane, &want(Family::V4)).await;
            assert_eq!(chosen(host).await, host.backend);
        });
    });
}

#[test]
fn a_missing_program_is_named() {
    let Some(host) = a_host("missing programs", Backend::Nft) else { return };
    host.run(async || {
        let everything = ["iptables", "ip6tables"]
            .map(|base| ["-nft", "-nft-save", "-nft-restore"].map(|part| format!("{base}{part}")));
        let mut programs: Vec<String> = everything.concat();
        programs.push("ipset".to_owned());
        for missing in &programs {
            let folder = tempfile::TempDir::new().expect("a folder can be made");
            for name in programs.iter().filter(|name| *name != missing) {
                let program = skip::find(name).expect("it is installed");
                std::os::unix::fs::symlink(program, folder.path().join(name)).expect("new");
            }
            let search = vec![folder.path().to_owned()];
            let tuning = Tuning { search, ..host.tuning() };
            for choice in [BackendChoice::Nft, BackendChoice::Auto] {
                let error = Dataplane::detect_tuned(choice, tuning.clone()).await.expect_err("no");
                assert_eq!(error.to_string(), format!("not installed: {missing}"), "{choice:?}");
            }
        }
        let none = Tuning { search: Vec::new(), ..host.tuning() };
        let error = Dataplane::detect_tuned(BackendChoice::Auto, none).await.expect_err("nothing");
        let text = error.to_string();
        for name in ["iptables-nft-restore", "ip6tables-nft-save", "ipset"] {
            assert!(text.contains(name), "{text}");
        }
    });
}

#[test]
fn plain_programs_are_used_that_say_they_are_of_the_backend() {
    let Some(host) = a_host("plain programs", Backend::Legacy) else { return };
    host.run(async || {
        let folder = tempfile::TempDir::new().expect("a folder can be made");
        for base in ["iptables", "ip6tables"] {
            for part in ["", "-save", "-restore"] {
                let program = skip::find(&format!("{base}-legacy{part}"));
                let name = folder.path().join(format!("{base}{part}"));
                std::os::unix::fs::symlink(program.expect("installed"), name).expect("new");
            }
        }
        let ipset = skip::find("ipset").expect("it is installed");
        std::os::unix::fs::symlink(ipset, folder.path().join("ipset")).expect("new");
        let tuning = Tuning { search: vec![folder.path().to_owned()], ..host.tuning() };
        let found = Dataplane::detect_tuned(BackendChoice::Auto, tuning.clone()).await;
        assert_eq!(found.expect("all is there").backend(), Backend::Legacy);
        let error = Dataplane::detect_tuned(BackendChoice::Nft, tuning).await.expect_err("none");
        assert!(error.to_string().contains("iptables-nft-restore"), "{error}");
    });
}

#[test]
fn a_part_that_the_kernel_lacks_is_named() {
    let Some(host) = a_host("missing modules", Backend::Nft) else { return };
    let real = |name: &str| skip::find(name).expect("can_run was asked").display().to_string();
    // What the programs say where a module is missing; here it is not.
    for (program, script, want) in [
        (
            "ipset",
            "echo 'ipset v7.17: Cannot open session to kernel.' >&2; exit 1".to_owned(),
            "the kernel has no ip_set,",
        ),
        (
            "ipset",
            format!(
                "[ $1 = restore ] || exec {0} \"$@\"; text=$(cat); case \"$text\" in *hash:net*) \
                 echo 'ipset v7.17: Error in line 1: Kernel error received: set type not supported' >&2; \
                 exit 1;; esac; echo \"$text\" | {0} restore",
                real("ipset")
            ),
            "the kernel has no ip_set_hash_net,",
        ),
        (
            "iptables-nft-restore",
            format!(
                "text=$(cat); case \"$text\" in *match-set*) echo 'iptables-nft-restore v1.8.9 \
                 (nf_tables): Couldn'\"'\"'t load match `set'\"'\"':No such file or directory' >&2; \
                 exit 2;; esac; echo \"$text\" | {} \"$@\"",
                real("iptables-nft-restore")
            ),
            "the kernel has no xt_set,",
        ),
    ] {
        host.wrap(program, &script);
        host.run(async || {
            let error = host.detect_within(std::time::Duration::from_secs(60)).await;
            let error = error.expect_err(want).to_string();
            assert!(error.starts_with(want), "{error}");
        });
        host.unwrap(program);
        assert_eq!(host.ours(), Vec::<String>::new(), "{want}");
    }
}

#[test]
fn leftovers_in_the_other_backend_go_when_all_is_in_this_one() {
    each_host("leftovers", |host| {
        host.furnish();
        let before = host.foreign();
        host.run(async || {
            let mut old = host.detect().await;
            for family in Family::ALL {
                bring(&mut old, &want(family)).await;
            }
            let choice = match host.backend {
                Backend::Nft => BackendChoice::Legacy,
                Backend::Legacy => BackendChoice::Nft,
            };
            let new = Dataplane::detect_tuned(choice, host.tuning()).await;
            let mut new = new.expect("all is there");
            assert!(new.has_leftovers_elsewhere().await.expect("it can be read"));
            for family in Family::ALL {
                // The sets are of both.
                bring(&mut new, &want(family)).await;
            }
            // Until now nothing of the old was touched.
            for family in Family::ALL {
                assert_empty(&drift(&old, &want(family)).await, "as it was");
            }
            assert!(new.remove_leftovers_elsewhere().await.expect("it can be written") > 0);
            assert!(!new.has_leftovers_elsewhere().await.expect("it can be read"));
            let ours = host.ours();
            assert!(ours.iter().all(|line| !line.contains("BRN-")), "{ours:#?}");
            assert_eq!(host.foreign(), before);
            for family in Family::ALL {
                assert_empty(&drift(&new, &want(family)).await, "all is there");
                bring(&mut new, &Ruleset::new(family)).await;
            }
            assert_eq!(host.ours(), Vec::<String>::new());
        });
    });
}
