//! What all commands share that ask the agent: the flags, the way, the exit code.

use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::PathBuf;
use std::time::Duration;

use super::output::{Format, Printer, Style};
use super::{Exit, complain, note, watch};
use crate::control::client::{AskError, Client};
use crate::control::wire::Code;
use crate::control::{Answer, DEFAULT_SOCKET, Failure, Query};

/// Where the agent is.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Agent")]
pub struct Ask {
    /// The agent's control socket
    #[arg(long, value_name = "PATH", global = true, env = "BRINDLE_SOCKET", hide_env_values = true, default_value = DEFAULT_SOCKET)]
    pub socket: PathBuf,
    /// How long to wait for an answer: 5s, 500ms, 1m
    #[arg(long, value_name = "TIME", global = true, default_value = "5s", value_parser = duration)]
    pub timeout: Duration,
}

impl Ask {
    /// A client of that agent.
    pub fn client(&self) -> Client {
        Client::new(&self.socket, self.timeout)
    }
}

/// How answers are shown.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Output")]
pub struct Show {
    /// How to show the answer
    #[arg(short, long, value_enum, value_name = "FORMAT", global = true, default_value_t = Format::Table)]
    pub output: Format,
    /// Go on looking: redraw on a terminal, else print one line per change
    #[arg(short, long, global = true)]
    pub watch: bool,
    /// Time between two looks of --watch
    #[arg(long, value_name = "TIME", global = true, default_value = "1s", value_parser = duration)]
    pub interval: Duration,
    /// No colours, as if NO_COLOR were set
    #[arg(long, global = true)]
    pub no_color: bool,
}

impl Show {
    /// The style for standard output as it is now.
    pub fn style(&self) -> Style {
        let is_terminal = io::stdout().is_terminal();
        let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let color = is_terminal && !self.no_color && !is_set("NO_COLOR") && !is_dumb;
        Style { format: self.output, is_terminal, color }
    }
}

/// Reads a duration as people write it; a bare number is seconds.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no time; accepted are for instance 5s, 500ms, 1m30s");
    let duration = match text.parse::<f64>() {
        Ok(seconds) => Duration::try_from_secs_f64(seconds).map_err(|_| wrong())?,
        Err(_) => {
            let signed: jiff::SignedDuration = text.parse().map_err(|_| wrong())?;
            Duration::try_from(signed).map_err(|_| wrong())?
        }
    };
    if duration.is_zero() {
        return Err("zero is no time to wait; accepted are for instance 5s, 500ms".to_owned());
    }
    Ok(duration)
}

impl AskError {
    /// How a command ends that got this for an answer.
    pub fn exit(&self) -> Exit {
        match self {
            AskError::Unreachable { .. }
            | AskError::Unavailable(_)
            | AskError::TooSlow { .. }
            | AskError::BadAnswer(_) => Exit::Unreachable,
            AskError::NotPermitted(_) => Exit::NotPermitted,
            AskError::Refused { code, .. } => match code {
                Code::Invalid | Code::WrongMethod => Exit::Usage,
                Code::NotPermitted => Exit::NotPermitted,
                Code::Unavailable => Exit::Unreachable,
                Code::NotFound | Code::Conflict | Code::Internal => Exit::Bad,
            },
        }
    }
}

/// Asks once, or again and again, and shows the answer. `judge` says how good an answer is,
/// page by page; the worst counts. `nothing` is said where a list is empty.
pub fn read(
    ask: &Ask,
    show: &Show,
    query: Query,
    nothing: &str,
    judge: impl Fn(&Answer) -> Exit,
) -> Exit {
    read_some(ask, show, query, nothing, |_| {}, judge)
}

/// As [`read`], but only what `narrow` leaves of an answer is shown; not where it is watched.
pub(super) fn read_some(
    ask: &Ask,
    show: &Show,
    query: Query,
    nothing: &str,
    narrow: impl Fn(&mut Answer),
    judge: impl Fn(&Answer) -> Exit,
) -> Exit {
    let client = ask.client();
    if show.watch {
        return watch::run(&client, show, &query);
    }
    let mut printer = Printer::new(BufWriter::new(io::stdout().lock()), show.style());
    let mut exit = Exit::Fine;
    let mut written = Ok(());
    let asked = client.follow(query, |mut answer| {
        narrow(&mut answer);
        if judge(&answer) != Exit::Fine {
            exit = judge(&answer);
        }
        written = printer.print(&answer);
        written.is_ok()
    });
    let written = written.and_then(|()| printer.finish());
    match (asked, written) {
        (Err(error), _) => {
            complain(&error);
            error.exit()
        }
        (Ok(()), Err(error)) => lost(&error, exit),
        (Ok(()), Ok(is_empty)) => {
            if is_empty {
                note(nothing);
            }
            exit
        }
    }
}

/// Shows an answer that no agent gave. `judge` and `nothing` are those of [`read`].
pub(super) fn show(
    show: &Show,
    answer: &Answer,
    nothing: &str,
    judge: impl Fn(&Answer) -> Exit,
) -> Exit {
    let exit = judge(answer);
    let mut printer = Printer::new(BufWriter::new(io::stdout().lock()), show.style());
    match printer.print(answer).and_then(|()| printer.finish()) {
        Ok(is_empty) => {
            if is_empty {
                note(nothing);
            }
            exit
        }
        Err(error) => lost(&error, exit),
    }
}

/// How a command ends that got this for an answer, without an agent between.
pub(super) fn failed(failure: &Failure) -> Exit {
    match failure {
        Failure::NotFound(_) | Failure::Conflict(_) => Exit::Bad,
        Failure::Invalid(_) => Exit::Usage,
        Failure::Unavailable(_) => Exit::Unreachable,
    }
}

/// Asks for a change and shows what was done.
pub fn change(ask: &Ask, show: &Show, query: &Query) -> Exit {
    if show.watch {
        complain("--watch is for looking, not for changes");
        return Exit::Usage;
    }
    match ask.client().ask_blocking(query) {
        Ok(answer) => {
            let mut printer = Printer::new(io::stdout().lock(), show.style());
            match printer.print(&answer).and_then(|()| printer.finish()) {
                Ok(_) => Exit::Fine,
                Err(error) => lost(&error, Exit::Fine),
            }
        }
        Err(error) => {
            complain(&error);
            error.exit()
        }
    }
}

/// How a command ends whose output could not be written. Who closes the pipe has seen enough.
pub(super) fn lost(error: &io::Error, exit: Exit) -> Exit {
    if error.kind() == io::ErrorKind::BrokenPipe {
        return exit;
    }
    complain(format_args!("cannot write the answer: {error}"));
    Exit::Bad
}

/// Writes text that is not an answer of the agent to standard output.
pub(super) fn print(text: &[u8]) -> Exit {
    let mut out = io::stdout().lock();
    match out.write_all(text).and_then(|()| out.flush()) {
        Ok(()) => Exit::Fine,
        Err(error) => lost(&error, Exit::Fine),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_people_write_them() {
        for (text, want) in [
            ("5s", Some(5000)),
            ("500ms", Some(500)),
            ("1m30s", Some(90_000)),
            ("2", Some(2000)),
            ("0.5", Some(500)),
            ("0", None),
            ("-1s", None),
            ("-1", None),
            ("1e300", None),
            ("soon", None),
            ("", None),
        ] {
            let got = duration(text).ok().map(|time| time.as_millis());
            assert_eq!(got, want, "{text:?}");
        }
    }
}
