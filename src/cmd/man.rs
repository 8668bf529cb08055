//! `brindle man`: the manual, made from the same words as `--help`.

use std::path::{Path, PathBuf};
use std::{fs, io};

use clap::CommandFactory;

use super::ask::print;
use super::{Exit, complain};
use crate::cli::Cli;

/// Arguments of `brindle man`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Write a page for every subcommand into this folder instead of one to the terminal
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// Runs it.
pub fn run(args: &Args) -> Exit {
    match &args.dir {
        Some(folder) => match write_all(folder) {
            Ok(()) => Exit::Fine,
            Err(error) => {
                complain(format_args!("{}: {error}", folder.display()));
                Exit::Bad
            }
        },
        None => {
            let mut page = Vec::new();
            match clap_mangen::Man::new(Cli::command()).render(&mut page) {
                Ok(()) => print(&page),
                Err(error) => {
                    complain(error);
                    Exit::Bad
                }
            }
        }
    }
}

fn write_all(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    clap_mangen::generate_to(Cli::command().disable_help_subcommand(true), folder)
}
