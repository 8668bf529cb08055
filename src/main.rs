//! The `brindle` program.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    // Under this name it is a CNI plug-in, which knows no words.
    if brindle::cmd::cni::is_called(std::env::args_os().next().as_deref()) {
        return brindle::cmd::cni::run_as_plugin().into();
    }
    brindle::cli::Cli::parse().run().into()
}
