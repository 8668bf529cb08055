//! `brindle lab`.

mod objects;

use std::ffi::OsString;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context;
use serde::Serialize;
use serde_json::Value;

use super::output::{Format, yaml};
use super::{Exit, complain};
use crate::lab::fault::{self, Fault};
use crate::lab::objects::read;
use crate::lab::plan::{API_SERVER, LabName, Options, Plan, PolicyBackend, TorKind};
use crate::lab::state::{Lab, Phase, Place};
use crate::lab::{
    apiserver, apply, build, converge, down, exec, kube, kubelet, list, netns, process, rootless,
    traffic,
};

/// Pods on each node of a lab that was not told.
const DEFAULT_PODS: u8 = 2;

/// Arguments of `brindle lab`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The lab's name
    #[arg(long, global = true, default_value = "demo", value_name = "NAME")]
    name: LabName,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Build a lab, start its speakers and wait until every pod's route is everywhere
    Up(Up),
    /// Remove a lab and everything that belongs to it
    Down,
    /// List nodes, pods and routers with addresses and the state of their speakers
    Ls {
        /// How to print it
        #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t = Format::Table)]
        output: Format,
    },
    /// Run a command inside a node, pod or router
    Exec {
        /// Where
        target: String,
        /// What
        #[arg(last = true, required = true, value_name = "CMD")]
        command: Vec<OsString>,
    },
    /// Create or change namespaces, pods and policies, as kubectl apply does
    Apply {
        /// Files or folders of manifests
        #[arg(short, long = "file", required = true, value_name = "PATH")]
        file: Vec<PathBuf>,
    },
    /// Delete namespaces, pods and policies
    Delete(objects::Delete),
    /// Change the labels of a pod or a namespace
    Label(objects::Label),
    /// Run kubectl as administrator of a lab with an API server (lab up --kube)
    Kubectl {
        /// What kubectl is told
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGS")]
        args: Vec<OsString>,
    },
    /// Break something, or mend it
    #[command(subcommand)]
    Fault(Fault),
    /// Send TCP, UDP, ICMP and full-size packets between all pods and check how they travel
    Test {
        /// Instead, send what the tests of this file are about (as `brindle policy test` reads
        /// it) and hold what becomes of it against what they expect; denied is a time-out, not a
        /// refusal
        #[arg(long, value_name = "FILE")]
        expect: Option<PathBuf>,
        /// With --expect: how long to try again what is not as expected, in seconds
        #[arg(long, value_name = "SECONDS", default_value_t = 5)]
        within: u64,
        /// How to print it
        #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t = Format::Table)]
        output: Format,
    },
    /// Keep a user namespace open
    #[command(hide = true)]
    Hold {
        #[arg(long)]
        keep: PathBuf,
    },
    /// Play scheduler, kubelets and controllers of a lab with an API server
    #[command(hide = true)]
    Kubelet { dir: PathBuf },
    /// Become a command that outlives the terminal
    #[command(hide = true)]
    Detach {
        #[arg(last = true, required = true)]
        command: Vec<OsString>,
    },
}

#[derive(Debug, clap::Args)]
struct Up {
    /// How many nodes
    #[arg(long, default_value_t = 3, value_name = "N")]
    nodes: u8,
    /// How many racks, each with a top-of-rack router
    #[arg(long, default_value_t = 1, value_name = "N")]
    tors: u8,
    /// How many pods on each node; default: 2, or none if --policies has pods
    #[arg(long, value_name = "N")]
    pods: Option<u8>,
    /// Enforce policies, and begin with the namespaces, pods and policies of this file or folder
    #[arg(long, value_name = "PATH")]
    policies: Option<PathBuf>,
    /// Which iptables enforces policies
    #[arg(long, value_enum, value_name = "BACKEND", default_value_t, requires = "policies")]
    backend: PolicyBackend,
    /// Hand the cluster's objects to a real API server, which the agents watch, in place of a
    /// folder of manifests; `brindle lab kubectl` talks to it
    #[arg(long)]
    kube: bool,
    /// Where its programs are: a folder with etcd and kube-apiserver
    #[arg(long, env = apiserver::ASSETS, value_name = "DIR")]
    kube_assets: Option<PathBuf>,
    /// IPv6 beside IPv4
    #[arg(long)]
    dual_stack: bool,
    /// What the top-of-rack routers run
    #[arg(long, value_enum, default_value_t)]
    tor: TorKind,
    /// Remove a lab of the same name first
    #[arg(long)]
    replace: bool,
    /// How long to wait for all routes, in seconds
    #[arg(long, default_value_t = 60, value_name = "SECONDS")]
    wait: u64,
}

/// Runs it.
pub fn run(args: Args) -> Exit {
    let name = args.name;
    let place = Place::find();
    let done = match args.command {
        Command::Up(up) => run_up(&place, &name, &up),
        Command::Down => run_down(&place, &name),
        Command::Ls { output } => run_ls(&place, &name, output),
        Command::Exec { target, command } => run_exec(&place, &name, &target, &command),
        Command::Apply { file } => {
            change_objects(&place, &name, |lab| objects::run_apply(lab, &file))
        }
        Command::Delete(what) => {
            change_objects(&place, &name, |lab| objects::run_delete(lab, &what))
        }
        Command::Label(what) => change_objects(&place, &name, |lab| objects::run_label(lab, &what)),
        Command::Kubectl { args } => run_kubectl(&place, &name, &args),
        Command::Fault(fault) => run_fault(&place, &name, &fault),
        Command::Test { expect: None, output, .. } => run_test(&place, &name, output),
        Command::Test { expect: Some(file), within, output } => {
            run_expect(&place, &name, &file, Duration::from_secs(within), output)
        }
        Command::Hold { keep } => rootless::run_holder(&keep).map(|()| Exit::Fine),
        Command::Kubelet { dir } => kubelet::run(&dir).map(|()| Exit::Fine),
        Command::Detach { command } => {
            let program = command.first().cloned().unwrap_or_default();
            let context = format!("cannot run {}", program.to_string_lossy());
            Err(anyhow::Error::new(process::detach(&command)).context(context))
        }
    };
    done.unwrap_or_else(|error| {
        complain(format_args!("{error:#}"));
        let denied = |cause: &(dyn std::error::Error + 'static)| {
            let io = cause.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
            io == Some(std::io::ErrorKind::PermissionDenied)
        };
        if error.chain().any(denied) { Exit::NotPermitted } else { Exit::Usage }
    })
}

fn run_up(place: &Place, name: &LabName, up: &Up) -> anyhow::Result<Exit> {
    let program = std::env::current_exe().context("cannot find this program")?;
    let given = match &up.policies {
        Some(path) => read(path)?,
        None => Vec::new(),
    };
    let has_pods = given.iter().any(|object| object["kind"] == "Pod");
    let options = Options {
        name: name.clone(),
        nodes: up.nodes,
        tors: up.tors,
        pods: up.pods.unwrap_or(if has_pods { 0 } else { DEFAULT_PODS }),
        dual_stack: up.dual_stack,
        tor: up.tor,
        policy: up.policies.as_ref().map(|_| up.backend),
        kube: if up.kube { Some(apiserver::assets(up.kube_assets.as_deref())?) } else { None },
    };
    // what cannot be built is refused before the old one is removed
    Plan::new(&options)?;
    if up.tor == TorKind::Bird {
        netns::program("bird")?;
    }
    if up.kube {
        netns::program("kubectl")?;
    }
    if up.replace {
        down::down(place, name)?;
    }
    let start = Instant::now();
    let mut lab = Lab::create(place, options, program)?;
    if let Err(error) = build_up(place, &mut lab, given) {
        let context = format!("lab \"{name}\" could not be built and was removed again");
        drop(lab);
        // from inside a user namespace `down` is of no use; its processes end by their mark
        if let Err(worse) = down::down(place, name) {
            complain(format_args!("{worse:#}; `brindle lab down --name {name}` tries again"));
        }
        return Err(error.context(context));
    }
    let mut line = ProgressLine::new();
    line.show("connecting pods");
    let limit = Duration::from_secs(up.wait);
    let pods = match up.kube {
        true => kube::wait_for_pods(&mut lab, limit),
        false => apply::connect_pods(&mut lab, limit),
    };
    line.end();
    if let Err(error) = &pods {
        complain(format_args!("{error:#}"));
    }
    let waited = converge::wait(&lab, limit, |progress| {
        line.show(&format!("routes: {} of {}", progress.have(), progress.want));
    });
    line.end();
    lab.state.phase = Phase::Up;
    lab.save()?;
    let plan = &lab.state.plan;
    let count = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
    let kind = match up.tor {
        TorKind::Brindle => "ToR",
        TorKind::Bird => "BIRD ToR",
    };
    let size = format!(
        "{}, {}, {}",
        count(plan.nodes.len(), "node"),
        count(plan.tors.len(), kind),
        count(plan.pods().count(), "pod")
    );
    let flag = if name.as_str() == "demo" { String::new() } else { format!(" --name {name}") };
    match waited {
        Ok(took) => {
            println!(
                "lab \"{name}\": {size}, built in {:.1}s, converged in {:.1}s      files and logs: {}",
                (start.elapsed() - took).as_secs_f64(),
                took.as_secs_f64(),
                lab.dir.display()
            );
            println!(
                "try: brindle lab exec{flag} n1 -- brindle peers     brindle lab fault{flag} \
                 link-down n2     brindle lab test{flag}     brindle lab down{flag}"
            );
            if up.kube {
                println!("     brindle lab{flag} kubectl get pods -A -o wide");
            }
            Ok(if pods.is_ok() { Exit::Fine } else { Exit::Bad })
        }
        Err(error) => {
            eprint!("lab \"{name}\": {size}; not converged: {}", converge::describe(&lab, &error));
            eprintln!(
                "it is still there to look into: brindle lab ls{flag}; brindle lab down{flag} removes it"
            );
            Ok(Exit::Bad)
        }
    }
}

/// Everything between the empty folder and running speakers.
fn build_up(place: &Place, lab: &mut Lab, given: Vec<Value>) -> anyhow::Result<()> {
    if place.rootless {
        let log = lab.dir.join("holder.log");
        let holder = rootless::hold(&lab.state.program, &place.base, &log, &lab.state.id)?;
        lab.state.holder = Some(holder.process);
        lab.save()?;
        holder.release()?;
        lab.enter()?;
    }
    let mut line = ProgressLine::new();
    line.show("building namespaces and cables");
    build::network(lab)?;
    build::files(lab)?;
    if lab.state.plan.api.is_some() {
        line.show("starting the API server");
        kube::start(lab, &given)?;
    } else {
        objects::apply_all(lab, given, |_, _| {})?;
    }
    line.show("starting speakers");
    let tors = lab.state.plan.tors.iter().map(|t| t.name.clone());
    let names: Vec<_> = tors.chain(lab.state.plan.nodes.iter().map(|n| n.name.clone())).collect();
    for name in names {
        let process = build::start_speaker(lab, &name)?;
        lab.state.processes.insert(name, process);
    }
    line.end();
    lab.save()
}

fn run_down(place: &Place, name: &LabName) -> anyhow::Result<Exit> {
    let removed = down::down(place, name)?;
    if removed == down::Removed::default() {
        println!("lab \"{name}\": nothing to remove");
    } else {
        println!(
            "lab \"{name}\" removed: {} processes, {} network namespaces, its files",
            removed.processes, removed.namespaces
        );
    }
    Ok(Exit::Fine)
}

fn run_ls(place: &Place, name: &LabName, output: Format) -> anyhow::Result<Exit> {
    let listing = list::list(&Lab::open(place, name)?);
    let table = || listing.render(output == Format::Wide);
    show(output, &listing, &listing.items, |item| Some(item.name.clone()), table)?;
    Ok(if listing.is_good() { Exit::Fine } else { Exit::Bad })
}

fn run_exec(
    place: &Place,
    name: &LabName,
    target: &str,
    command: &[OsString],
) -> anyhow::Result<Exit> {
    let lab = Lab::open(place, name)?;
    lab.enter()?;
    Err(exec::exec(&lab, target, command))
}

fn run_kubectl(place: &Place, name: &LabName, args: &[OsString]) -> anyhow::Result<Exit> {
    let lab = Lab::open(place, name)?;
    let command = kube::kubectl(&lab, args)?;
    lab.enter()?;
    Err(exec::exec(&lab, API_SERVER, &command))
}

/// Opens the lab for a deed that changes its objects, which stand in a folder.
fn change_objects(
    place: &Place,
    name: &LabName,
    deed: impl FnOnce(&mut Lab) -> anyhow::Result<Exit>,
) -> anyhow::Result<Exit> {
    change(place, name, |lab| {
        if lab.state.plan.api.is_some() {
            anyhow::bail!(
                "the objects of lab \"{name}\" are in its API server: brindle lab kubectl apply, \
                 delete or label"
            );
        }
        deed(lab)
    })
}

/// Opens the lab for a deed that changes it.
fn change(
    place: &Place,
    name: &LabName,
    deed: impl FnOnce(&mut Lab) -> anyhow::Result<Exit>,
) -> anyhow::Result<Exit> {
    let mut lab = Lab::open_to_change(place, name)?;
    lab.enter()?;
    deed(&mut lab)
}

fn run_fault(place: &Place, name: &LabName, fault: &Fault) -> anyhow::Result<Exit> {
    change(place, name, |lab| {
        println!("{}", fault::apply(lab, fault)?);
        Ok(Exit::Fine)
    })
}

fn run_test(place: &Place, name: &LabName, output: Format) -> anyhow::Result<Exit> {
    let lab = Lab::open(place, name)?;
    lab.enter()?;
    let report = traffic::run(&lab)?;
    let table = || traffic::report::render(&lab.state.plan, &report);
    let failed = |outcome: &traffic::Outcome| {
        let name = || format!("{}->{}", outcome.from, outcome.to);
        (!outcome.failures.is_empty()).then(name)
    };
    show(output, &report, &report.outcomes, failed, table)?;
    Ok(if report.passed { Exit::Fine } else { Exit::Bad })
}

fn run_expect(
    place: &Place,
    name: &LabName,
    file: &Path,
    limit: Duration,
    output: Format,
) -> anyhow::Result<Exit> {
    let file = crate::expect::read(file)?;
    let lab = Lab::open(place, name)?;
    lab.enter()?;
    let report = traffic::expect::run(&lab, &file, limit)?;
    let failed = |connection: &traffic::expect::Connection| {
        let name = || format!("{}->{}:{}", connection.from, connection.to, connection.service);
        (!connection.passed).then(name)
    };
    let table = || traffic::expect::render(&report);
    show(output, &report, &report.connections, failed, table)?;
    Ok(if report.passed { Exit::Fine } else { Exit::Bad })
}

/// Prints an answer. `name` says how an item is called where names alone are wanted, if it is
/// to be named.
fn show<I: Serialize>(
    format: Format,
    whole: &impl Serialize,
    items: &[I],
    name: impl Fn(&I) -> Option<String>,
    table: impl FnOnce() -> String,
) -> anyhow::Result<()> {
    let text = match format {
        Format::Table | Format::Wide => table(),
        Format::Json => serde_json::to_string_pretty(whole)? + "\n",
        Format::Yaml => yaml(whole)?,
        Format::Jsonl => {
            let lines: Result<Vec<_>, _> = items.iter().map(serde_json::to_string).collect();
            lines?.into_iter().map(|line| line + "\n").collect()
        }
        Format::Name => items.iter().filter_map(name).map(|name| name + "\n").collect(),
    };
    // nobody listens any more: the exit code still says what was found
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// A line that is written over on a terminal; elsewhere one line for each change.
struct ProgressLine {
    terminal: bool,
    last: String,
}

impl ProgressLine {
    fn new() -> Self {
        Self { terminal: std::io::stderr().is_terminal(), last: String::new() }
    }

    fn show(&mut self, text: &str) {
        if self.terminal {
            eprint!("\r\x1b[K{text}");
            let _ = std::io::stderr().flush();
        } else if text != self.last {
            eprintln!("{text}");
        }
        text.clone_into(&mut self.last);
    }

    fn end(&mut self) {
        if self.terminal && !self.last.is_empty() {
            eprint!("\r\x1b[K");
        }
        self.last.clear();
    }
}
