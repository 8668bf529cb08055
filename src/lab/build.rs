//! Makes a lab's namespaces, cables, addresses and files, and starts its speakers.

use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use anyhow::Context;
use ipnetwork::IpNetwork;

use super::kube;
use super::netns;
use super::objects;
use super::plan::{API_SERVER, Node, Plan, RACK_BRIDGE, TorKind, UPLINK};
use super::process::{self, ProcessId, Start};
use super::speakers;
use super::state::Lab;
use crate::cni::PLUGIN;

/// What every namespace gets: no source checks that depend on the machine, nothing learned
/// from router advertisements, addresses usable at once.
const EVERYWHERE: &[(&str, &str)] = &[
    ("ipv4/conf/all/rp_filter", "0"),
    ("ipv4/conf/default/rp_filter", "0"),
    ("ipv4/conf/all/send_redirects", "0"),
    ("ipv4/conf/default/send_redirects", "0"),
    ("ipv6/conf/all/accept_dad", "0"),
    ("ipv6/conf/default/accept_dad", "0"),
    ("ipv6/conf/all/accept_ra", "0"),
    ("ipv6/conf/default/accept_ra", "0"),
];

/// A new namespace copies the machine's setting; the agent is to be seen changing it.
const FORWARDING_OFF: &[(&str, &str)] =
    &[("ipv4/ip_forward", "0"), ("ipv6/conf/all/forwarding", "0")];

/// For routers whose speaker leaves this to the administrator.
const FORWARDING_ON: &[(&str, &str)] =
    &[("ipv4/ip_forward", "1"), ("ipv6/conf/all/forwarding", "1")];

const NO_IPV6: &[(&str, &str)] =
    &[("ipv6/conf/all/disable_ipv6", "1"), ("ipv6/conf/default/disable_ipv6", "1")];

/// Makes all namespaces, cables and addresses of the lab but those of its pods.
///
/// # Errors
/// No privilege, `ip` is missing, or something of that name is there already.
pub fn network(lab: &Lab) -> anyhow::Result<()> {
    let plan = &lab.state.plan;
    let add = |script: String, name: &str| script + "netns add " + name + "\n";
    netns::ip_batch(None, &plan.namespaces().fold(String::new(), add))?;
    for name in plan.namespaces() {
        prepare(lab, name)?;
    }
    for (index, tor) in plan.tors.iter().enumerate() {
        netns::ip_batch(Some(&tor.namespace), &tor_script(plan, index))?;
        if lab.state.options.tor == TorKind::Bird {
            netns::sysctl(&tor.namespace, FORWARDING_ON)?;
        }
    }
    if let Some(api) = &plan.api {
        netns::ip_batch(Some(&api.namespace), &host_script(plan, 0, &api.addresses))?;
    }
    for node in &plan.nodes {
        netns::ip_batch(Some(&node.namespace), &uplink_script(plan, node))?;
    }
    Ok(())
}

/// The rack's bridge with a cable to each node (and to the API server, which hangs on the first),
/// and the cables to the other routers.
fn tor_script(plan: &Plan, index: usize) -> String {
    let tor = &plan.tors[index];
    let mut script = format!(
        "link add {RACK_BRIDGE} type bridge forward_delay 0 mcast_snooping 0\n\
         link set {RACK_BRIDGE} up\n"
    );
    for address in &tor.addresses {
        line(&mut script, format_args!("addr add {address} dev {RACK_BRIDGE}"));
    }
    let nodes = plan.nodes.iter().filter(|n| n.rack == index);
    let nodes = nodes.map(|n| (n.name.as_str(), &n.namespace));
    let api = plan.api.iter().filter(|_| index == 0).map(|a| (API_SERVER, &a.namespace));
    for (name, namespace) in nodes.chain(api) {
        cable(&mut script, name, UPLINK, namespace);
        line(&mut script, format_args!("link set {name} master {RACK_BRIDGE} up"));
    }
    for trunk in &plan.trunks {
        let [a, b] = &trunk.ends;
        if a.tor == index {
            cable(&mut script, &a.interface, &b.interface, &plan.tors[b.tor].namespace);
        }
        // the cable is made by the end that comes first, so it is there for both
        for end in [a, b].into_iter().filter(|e| e.tor == index) {
            line(&mut script, format_args!("link set {} up", end.interface));
            for address in &end.addresses {
                line(&mut script, format_args!("addr add {address} dev {}", end.interface));
            }
        }
    }
    script
}

/// Makes a network namespace for a pod.
///
/// # Errors
/// No privilege, or there is one of that name already.
pub fn add_namespace(lab: &Lab, name: &str) -> anyhow::Result<()> {
    netns::ip_batch(None, &format!("netns add {name}\n"))?;
    prepare(lab, name)
}

/// Removes a network namespace.
///
/// # Errors
/// No privilege, or there is none of that name.
pub fn remove_namespace(name: &str) -> anyhow::Result<()> {
    netns::ip_batch(None, &format!("netns del {name}\n"))
}

/// The lab's folder of CNI plug-ins, with the one of the program that built the lab.
///
/// # Errors
/// It cannot be made.
pub fn plugins(lab: &Lab) -> anyhow::Result<PathBuf> {
    let folder = lab.dir.join("bin");
    let plugin = folder.join(PLUGIN);
    if !plugin.exists() {
        fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        match symlink(&lab.state.program, &plugin) {
            // another pod is being connected
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => made.with_context(|| plugin.display().to_string())?,
        }
    }
    Ok(folder)
}

/// What every new namespace gets.
fn prepare(lab: &Lab, namespace: &str) -> anyhow::Result<()> {
    netns::sysctl(namespace, EVERYWHERE)?;
    netns::sysctl(namespace, FORWARDING_OFF)?;
    if !lab.state.options.dual_stack {
        netns::sysctl(namespace, NO_IPV6)?;
    }
    netns::ip_batch(Some(namespace), "link set lo up\n")
}

/// What the administrator of `node` configures on its uplink; may be carried out again.
pub fn uplink_script(plan: &Plan, node: &Node) -> String {
    host_script(plan, node.rack, &node.addresses)
}

/// The same for any machine of the rack with this index.
fn host_script(plan: &Plan, rack: usize, addresses: &[IpNetwork]) -> String {
    let mut script = format!("link set {UPLINK} up\n");
    for address in addresses {
        line(&mut script, format_args!("addr replace {address} dev {UPLINK} nodad"));
    }
    for gateway in plan.tors[rack].ips() {
        line(
            &mut script,
            format_args!("route replace default via {gateway} dev {UPLINK} proto static"),
        );
    }
    script
}

fn cable(script: &mut String, here: &str, there: &str, namespace: &str) {
    let (a, b) = (format_args!("{here} mtu 1500"), format_args!("{there} mtu 1500"));
    line(script, format_args!("link add {a} type veth peer name {b} netns {namespace}"));
}

fn line(script: &mut String, text: std::fmt::Arguments<'_>) {
    writeln!(script, "{text}").expect("writing to a String cannot fail");
}

/// Writes the configuration of every speaker and the manifests of its nodes and
/// pods.
///
/// # Errors
/// A file cannot be written.
pub fn files(lab: &Lab) -> anyhow::Result<()> {
    let plan = &lab.state.plan;
    let write = |path: PathBuf, text: String| {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        }
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    };
    let folder = lab.manifests();
    // with an API server the objects are there
    for node in plan.nodes.iter().filter(|_| plan.api.is_none()) {
        write(folder.join(format!("{}.yaml", node.name)), speakers::manifest(node))?;
        for pod in &node.pods {
            let object = objects::placed(objects::plain_pod(node, pod), node, pod);
            objects::write(&folder, &objects::Key::of(&object)?, &object)?;
        }
    }
    for node in &plan.nodes {
        let dir = lab.speaker_dir(&node.name);
        let options = &lab.state.options;
        write(dir.join("brindle.yaml"), speakers::node_config(plan, node, &lab.dir, options))?;
    }
    for (index, tor) in plan.tors.iter().enumerate() {
        let dir = lab.speaker_dir(&tor.name);
        match lab.state.options.tor {
            TorKind::Brindle => {
                write(dir.join("brindle.yaml"), speakers::tor_config(plan, index, &lab.dir))?;
            }
            TorKind::Bird => write(dir.join("bird.conf"), speakers::bird_config(plan, index))?,
        }
    }
    Ok(())
}

/// Starts the speaker of node or router `name`, or the API server.
///
/// # Errors
/// There is no such node, or its program cannot be run.
pub fn start_speaker(lab: &Lab, name: &str) -> anyhow::Result<ProcessId> {
    let plan = &lab.state.plan;
    let found = super::exec::find(plan, name)?;
    if found.speaker != name {
        anyhow::bail!("{name} is a pod and has no speaker; its node is {}", found.speaker);
    }
    let dir = lab.speaker_dir(name);
    let is_bird = plan.tor(name).is_some() && lab.state.options.tor == TorKind::Bird;
    let command: Vec<OsString> = if plan.api.is_some() && name == API_SERVER {
        kube::setup(lab)?.server_command()?
    } else if is_bird {
        vec![
            netns::program("bird")?.into(),
            "-f".into(),
            "-c".into(),
            dir.join("bird.conf").into(),
            "-s".into(),
            dir.join("bird.ctl").into(),
        ]
    } else {
        let config = dir.join("brindle.yaml");
        vec![lab.state.program.clone().into(), "agent".into(), "--config".into(), config.into()]
    };
    start(lab, found.namespace, name, &command).with_context(|| format!("speaker of {name}"))
}

/// Starts a process of the lab; its log is that of `name`.
///
/// # Errors
/// Its program cannot be run.
pub fn start(
    lab: &Lab,
    namespace: &str,
    name: &str,
    command: &[OsString],
) -> anyhow::Result<ProcessId> {
    process::start(&Start {
        program: &lab.state.program,
        namespace,
        log: &lab.log(name),
        mark: &lab.state.id,
        command: &command.iter().map(OsString::as_os_str).collect::<Vec<&OsStr>>(),
    })
}
