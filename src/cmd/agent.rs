//! `brindle agent`: the daemon.

use std::path::PathBuf;

use super::Exit;
use crate::daemon::{self, Options};
use crate::telemetry;

/// Arguments of `brindle agent`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The configuration file; `conf.d/*.yaml` beside it is merged into it.
    #[arg(
        long,
        value_name = "FILE",
        default_value = "/etc/brindle/brindle.yaml",
        env = "BRINDLE_CONFIG"
    )]
    config: PathBuf,
    /// The name of this node; overrides `node.name` of the configuration.
    #[arg(long, value_name = "NAME", env = "BRINDLE_NODE_NAME")]
    node_name: Option<String>,
    /// Only enforce policies: no BGP, no routes, no forwarding; overrides `bgp.enabled` and
    /// `policy.enabled` of the configuration.
    #[arg(long)]
    policy_only: bool,
    #[command(flatten)]
    log: telemetry::LogArgs,
}

/// Threads that work for the speaker. One task owns all routing state, so more would hardly
/// have anything to do on a large machine, but would each hold memory.
const MOST_THREADS: usize = 4;

/// Runs the daemon until it is told to stop.
pub fn run(args: Args) -> Exit {
    if let Err(error) = telemetry::init(&args.log) {
        eprintln!("brindle: {error:#}");
        return Exit::Usage;
    }
    let options =
        Options { config: args.config, node_name: args.node_name, policy_only: args.policy_only };
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads.min(MOST_THREADS))
        .enable_all()
        .build();
    let outcome = match runtime {
        Ok(runtime) => runtime.block_on(daemon::run(options)),
        Err(error) => Err(error.into()),
    };
    match outcome {
        Ok(()) => Exit::Fine,
        Err(error) => {
            eprintln!("brindle: {error:#}");
            // A configuration that is wrong stays wrong: a supervisor can tell by the code.
            match error.downcast_ref::<brindle_config::Errors>() {
                Some(_) => Exit::Usage,
                None => Exit::Bad,
            }
        }
    }
}
