//! Measures brindle beside BIRD and GoBGP on the same work and prints one table with ratios.
//!
//! ```text
//!   bench [--programs brindle,bird,gobgp] [--work million,kernel,peers,churn,packets,changes,kube,bfd]
//!         [--prefixes 1000000] [--routes 100000] [--peers 500,1000]
//! ```
//!
//! Peers are sockets of this program in a namespace of its own, one cable away from the
//! daemon that is measured. What they send was encoded before the clock starts.

use std::process::ExitCode;

mod bfd;
mod changes;
mod daemon;
mod kube;
mod packets;
mod table;
mod usage;
mod work;

use daemon::Program;
use table::Table;

struct Options {
    programs: Vec<Program>,
    work: Vec<String>,
    prefixes: usize,
    routes: usize,
    peers: Vec<usize>,
}

fn main() -> ExitCode {
    let options = match options() {
        Ok(options) => options,
        Err(complaint) => {
            eprintln!("bench: {complaint}");
            return ExitCode::from(2);
        }
    };
    if !integration_tests::skip::can_run("bench", &["ip"]) {
        return ExitCode::FAILURE;
    }
    let mut table = Table::default();
    let does = |work: &str| options.work.iter().any(|wanted| wanted == work);
    let compares = ["million", "kernel", "peers", "churn"].into_iter().any(does);
    for program in options.programs.iter().filter(|_| compares) {
        if let Err(missing) = program.is_there() {
            eprintln!("{program} is left out: {missing}");
            continue;
        }
        if does("million") {
            let what = format!("{} prefixes in and out again", options.prefixes);
            table.row(&what, *program, work::pass_on(*program, options.prefixes));
        }
        if does("kernel") {
            let what = format!("{} prefixes into the kernel", options.routes);
            if program.installs() {
                table.row(&what, *program, work::install(*program, options.routes));
            }
        }
        if does("peers") {
            for &peers in &options.peers {
                let what = format!("{peers} clients with 2 prefixes, all to all");
                table.row(&what, *program, work::reflect(*program, peers));
            }
        }
        if does("churn") {
            for (what, cost) in work::churn(*program, options.routes, options.routes / 10) {
                table.row(&what, *program, cost);
            }
        }
    }
    if compares {
        print!("{table}");
    }
    let mut worst = ExitCode::SUCCESS;
    if does("packets") {
        worst = show("packets", packets::measure(), worst);
    }
    if does("changes") {
        worst = show("changes", changes::measure(), worst);
    }
    if does("kube") {
        worst = show("kube", kube::measure(), worst);
    }
    if does("bfd") {
        worst = show("bfd", bfd::measure(options.prefixes), worst);
    }
    worst
}

/// Prints a report; where there is none, why.
fn show(what: &str, report: anyhow::Result<impl std::fmt::Display>, worst: ExitCode) -> ExitCode {
    match report {
        Ok(report) => {
            print!("{report}");
            worst
        }
        Err(error) => {
            eprintln!("bench: {what}: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn options() -> Result<Options, String> {
    let mut options = Options {
        programs: Program::ALL.to_vec(),
        work: ["million", "kernel", "peers", "churn", "packets", "changes", "kube", "bfd"]
            .map(String::from)
            .to_vec(),
        prefixes: 1_000_000,
        routes: 100_000,
        peers: vec![500, 1000],
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let value = words.next().ok_or_else(|| format!("{word} needs a value"))?;
        let number =
            |text: &str| text.parse().map_err(|_| format!("{word}: {text:?} is no number"));
        match word.as_str() {
            "--programs" => {
                options.programs = value.split(',').map(str::parse).collect::<Result<_, _>>()?;
            }
            "--work" => options.work = value.split(',').map(String::from).collect(),
            "--prefixes" => options.prefixes = number(&value)?,
            "--routes" => options.routes = number(&value)?,
            "--peers" => {
                options.peers = value.split(',').map(number).collect::<Result<_, _>>()?;
            }
            _ => {
                return Err(format!(
                    "unknown option {word}; accepted: --programs, --work, --prefixes, --routes, --peers"
                ));
            }
        }
    }
    Ok(options)
}
