//! The words of the command line; what they do stands in `cmd/`.

use clap::{Parser, Subcommand};

use crate::cmd::{self, Exit};

/// A plain layer-3 network for clusters: BGP routes and network policy.
///
/// Exit codes: 0 fine; 1 answered, but the answer is bad (unhealthy, a difference found);
/// 2 wrong usage or an invalid file; 3 the agent or the API server does not answer; 4 not permitted.
#[derive(Debug, Parser)]
#[command(name = "brindle", version)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon of this node
    Agent(cmd::agent::Args),
    /// How this node is: healthy or not, and the first thing to do
    Status(cmd::status::Args),
    /// BGP peers: list them, look at one, reset, enable, disable
    Peers(cmd::peers::Args),
    /// Routes: best, received, advertised, refused, installed
    Routes(cmd::routes::Args),
    /// Take this node out of routing: traffic goes elsewhere first, then sessions end (root)
    Drain(cmd::drain::Args),
    /// Let a drained node take part in routing again (root)
    Undrain(cmd::drain::EndArgs),
    /// Filters: tests of what they take, refuse and change
    Filter(cmd::filter::Args),
    /// Policies: list them, look at one, who may reach whom, tests, mistakes, counters
    Policy(cmd::policy::Args),
    /// What becomes of a flow: allowed or denied, by which policy and rule, and why
    Explain(cmd::explain::Args),
    /// Flows that this node denied
    Flows(cmd::flows::Args),
    /// The pods of this node that policies apply to
    Endpoints(cmd::endpoints::Args),
    /// Write policies and their like: make them, or replace those that are there
    Apply(cmd::objects::WriteArgs),
    /// Write policies and their like that are not there yet
    Create(cmd::objects::CreateArgs),
    /// Write policies and their like over those that are there
    Replace(cmd::objects::WriteArgs),
    /// Delete policies and their like
    Delete(cmd::objects::DeleteArgs),
    /// Show policies and their like as they are kept
    Get(cmd::objects::GetArgs),
    /// Change labels of policies and their like
    Label(cmd::objects::LabelArgs),
    /// Print manifests of Calico's older APIs and of Kubernetes as projectcalico.org/v3
    Convert(cmd::convert::Args),
    /// Check manifests of policies and their like without a cluster; exit code 2 if one is wrong
    Validate(cmd::objects::ValidateArgs),
    /// Print, or install, the definitions of Calico's kinds for clusters without Calico
    Crds(cmd::crds::Args),
    /// Check and show the configuration
    Config(cmd::config::Args),
    /// Print a configuration and policies made from another network's objects
    Import(cmd::import::Args),
    /// Take everything that carries our mark out of this host, and nothing else
    Cleanup(cmd::cleanup::Args),
    /// The CNI plug-in, which container runtimes call, and its installation
    Cni(cmd::cni::Args),
    /// A whole cluster of network namespaces on this machine
    Lab(cmd::lab::Args),
    /// The version of this command and of the agent
    Version(cmd::version::Args),
    /// Print what a shell needs to complete our words
    Completion(cmd::completion::Args),
    /// Print the manual, or write a page for each subcommand
    Man(cmd::man::Args),
}

impl Cli {
    /// Does what the command line says.
    pub fn run(self) -> Exit {
        match self.command {
            Command::Agent(args) => cmd::agent::run(args),
            Command::Status(args) => cmd::status::run(&args),
            Command::Peers(args) => cmd::peers::run(args),
            Command::Routes(args) => cmd::routes::run(args),
            Command::Drain(args) => cmd::drain::run(args),
            Command::Undrain(args) => cmd::drain::end(&args),
            Command::Filter(args) => cmd::filter::run(&args),
            Command::Policy(args) => cmd::policy::run(args),
            Command::Explain(args) => cmd::explain::run(args),
            Command::Flows(args) => cmd::flows::run(args),
            Command::Endpoints(args) => cmd::endpoints::run(args),
            Command::Apply(args) => cmd::objects::apply(&args),
            Command::Create(args) => cmd::objects::create(&args),
            Command::Replace(args) => cmd::objects::replace(&args),
            Command::Delete(args) => cmd::objects::delete(&args),
            Command::Get(args) => cmd::objects::get(&args),
            Command::Label(args) => cmd::objects::label(&args),
            Command::Convert(args) => cmd::convert::run(&args),
            Command::Validate(args) => cmd::objects::validate(&args),
            Command::Crds(args) => cmd::crds::run(&args),
            Command::Config(args) => cmd::config::run(args),
            Command::Import(args) => cmd::import::run(&args),
            Command::Cleanup(args) => cmd::cleanup::run(&args),
            Command::Cni(args) => cmd::cni::run(&args),
            Command::Lab(args) => cmd::lab::run(args),
            Command::Version(args) => cmd::version::run(&args),
            Command::Completion(args) => cmd::completion::run(&args),
            Command::Man(args) => cmd::man::run(&args),
        }
    }
}
