//! Logs: to standard error, as text for people, as JSON, or as the journal likes it.

use std::fmt;
use std::io::{self, IsTerminal};
use std::os::fd::AsFd;

use anyhow::Context;
use clap::ValueEnum;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::{Format, Full, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// What is logged and how.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Log")]
pub struct LogArgs {
    /// What is logged: error, warn, info, debug, trace, or by part: info,brindle::speaker=debug
    #[arg(long, value_name = "LEVEL", env = "BRINDLE_LOG", default_value = "info")]
    pub log_level: String,
    /// How it is written; by default `journald` under systemd, else `text`
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people: time, level, text; in colour on a terminal
    Text,
    /// One JSON object a line
    Json,
    /// For the journal, which knows the time: a priority and the text
    Journald,
}

/// Sends what is logged to standard error from here on. To be called once.
///
/// # Errors
/// If the level is none, or if something already takes the logs.
pub fn init(args: &LogArgs) -> anyhow::Result<()> {
    let level = &args.log_level;
    let filter = EnvFilter::try_new(level).with_context(|| {
        format!(
            "--log-level {level:?} is no filter; accepted are for instance info, or info,brindle::speaker=debug"
        )
    })?;
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(uses_color());
    let started = match args.log_format.unwrap_or_else(detected) {
        LogFormat::Text => subscriber.with_target(false).try_init(),
        LogFormat::Json => subscriber.json().flatten_event(true).try_init(),
        LogFormat::Journald => {
            let inner = Format::default().without_time().with_level(false).with_ansi(false);
            subscriber.with_ansi(false).event_format(Journal { inner }).try_init()
        }
    };
    started.map_err(|error| anyhow::anyhow!("cannot start the log: {error}"))
}

/// Colour is for eyes: only on a terminal, and not where NO_COLOR is set (no-color.org).
fn uses_color() -> bool {
    let is_refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    io::stderr().is_terminal() && !is_refused
}

/// The journal's format if standard error is the journal: systemd says in JOURNAL_STREAM
/// which device and inode that is, so that a redirected stream is told apart.
fn detected() -> LogFormat {
    let journal = std::env::var("JOURNAL_STREAM").unwrap_or_default();
    match nix::sys::stat::fstat(io::stderr().as_fd()) {
        Ok(stream) if journal == format!("{}:{}", stream.st_dev, stream.st_ino) => {
            LogFormat::Journald
        }
        _ => LogFormat::Text,
    }
}

/// A line for the journal: `<6>` and the text (sd-daemon(3)).
struct Journal {
    inner: Format<Full, ()>,
}

impl<S, N> FormatEvent<S, N> for Journal
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        writer.write_str(priority(*event.metadata().level()))?;
        self.inner.format_event(context, writer, event)
    }
}

/// The syslog priority of a level.
fn priority(level: Level) -> &'static str {
    match level {
        Level::ERROR => "<3>",
        Level::WARN => "<4>",
        Level::INFO => "<6>",
        Level::DEBUG | Level::TRACE => "<7>",
    }
}
