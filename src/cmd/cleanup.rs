//! `brindle cleanup`: takes everything that carries our mark out of this host.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use brindle_config::Config;

use super::{Exit, ask, complain, note};
use crate::cleanup::{self, Account, Scope};
use crate::control::client::Client;
use crate::control::server::{self, BindError};
use crate::control::{Answer, Query};
use crate::enforce::dataplane::Tuning;
use crate::visible::visible;

/// The configuration that is read if there is one and no other is named.
const USUAL_CONFIG: &str = "/etc/brindle/brindle.yaml";

/// How long an agent may take to say who it is.
const PATIENCE: Duration = Duration::from_secs(1);

/// Arguments of `brindle cleanup`.
///
/// What goes: chains BRN-* and jumps to them in all tables of both iptables and both families,
/// sets brn-*, routes of protocol 98 in all tables, the CNI configuration 10-brindle.conflist,
/// and the socket of an agent that was killed. All traffic is allowed then, and pods of other nodes are not reached any
/// more. Sysctls stay as they are. Pods stay connected to this node unless --pods is given.
///
/// It refuses while an agent runs, which would put everything back.
///
/// Exit codes: 0 looked everywhere, and all is gone (with --dry-run: is listed); 1 something
/// could not be looked at or removed, or an agent runs; 2 a --config that is wrong; 4 not root.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only list what would be removed
    #[arg(long)]
    dry_run: bool,
    /// Cut off the pods of this node too: remove their interfaces, and the plug-in's records
    #[arg(long)]
    pods: bool,
    /// The configuration that names the folders and the socket [default: /etc/brindle/brindle.yaml,
    /// if it is there]
    #[arg(long, value_name = "FILE", env = "BRINDLE_CONFIG", hide_env_values = true)]
    config: Option<PathBuf>,
    /// The socket of the agent that must not run [default: what the configuration says]
    #[arg(long, value_name = "PATH", env = "BRINDLE_SOCKET", hide_env_values = true)]
    socket: Option<PathBuf>,
}

/// Runs it.
pub fn run(args: &Args) -> Exit {
    let config = match config(args.config.as_deref()) {
        Ok(config) => config,
        Err(error) => {
            complain(error);
            return Exit::Usage;
        }
    };
    if !nix::unistd::geteuid().is_root() {
        complain("only root may look at rules and remove them; try with sudo");
        return Exit::NotPermitted;
    }
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(format_args!("cannot start: {error}"));
            return Exit::Bad;
        }
    };
    let socket = args.socket.clone().unwrap_or(config.control.socket);
    if let Some(agent) = runtime.block_on(agent(&socket)) {
        if !args.dry_run {
            complain(format_args!(
                "{agent} runs and would put everything back: stop it first (systemctl stop \
                 brindle, or kubectl delete -n kube-system daemonset/brindle)"
            ));
            return Exit::Bad;
        }
        note(format_args!("{agent} runs; without --dry-run this would be refused"));
    }
    let scope = Scope {
        config_dir: config.cni.config_dir,
        data_dir: config.cni.data_dir,
        socket,
        pods: args.pods,
        dry_run: args.dry_run,
        tuning: Tuning::default(),
    };
    tell(&runtime.block_on(cleanup::clean(&scope)), args.dry_run)
}

/// The configuration; that of the usual place may be missing or wrong: what it is about may be
/// half gone.
fn config(named: Option<&Path>) -> Result<Config, brindle_config::Errors> {
    if let Some(file) = named {
        return Ok(Config::load(file)?.config);
    }
    let usual = Path::new(USUAL_CONFIG);
    if usual.exists() {
        match Config::load(usual) {
            Ok(loaded) => return Ok(loaded.config),
            Err(errors) => note(format_args!("{errors}\nthe usual folders and socket are taken")),
        }
    }
    Config::from_yaml("", "")
}

/// The agent that answers at the socket, in words.
async fn agent(socket: &Path) -> Option<String> {
    let Err(BindError::InUse(_)) = server::refuse_if_taken(socket) else { return None };
    let asked = Client::new(socket, PATIENCE).ask(&Query::Status).await;
    let of_node = match asked {
        Ok(Answer::Status(status)) => format!(" of node {}", status.node),
        // It may hang.
        Ok(_) | Err(_) => String::new(),
    };
    Some(format!("the agent{of_node} at {}", socket.display()))
}

/// Says what became of everything.
fn tell(account: &Account, is_dry_run: bool) -> Exit {
    let removed = if is_dry_run { "would remove" } else { "removed" };
    let mut text = String::new();
    for (word, lines) in [(removed, &account.gone), ("left", &account.left)] {
        for line in lines {
            let _ = writeln!(text, "{word} {}", visible(line));
        }
    }
    let exit = ask::print(text.as_bytes());
    account.unseen.iter().for_each(note);
    account.failed.iter().for_each(complain);
    if account.is_empty() {
        note("nothing of brindle is on this host");
    } else if !is_dry_run && !account.gone.is_empty() {
        note(
            "sysctls (forwarding, rp_filter) stay as they are until they are set or the host starts again",
        );
    }
    if account.failed.is_empty() { exit } else { Exit::Bad }
}
