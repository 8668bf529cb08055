//! Logs: to standard error, as text for people, as JSON, or as the journal likes it.

use std::fmt;
use std::io::{self, IsTerminal};
use std::os::fd::AsFd;

use anyhow::Context;
use clap::ValueEnum;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::fmt::format::{Format, JsonFields, Writer, debug_fn};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::registry::LookupSpan;

use crate::visible::{visible, visible_colored, visible_json};

/// What is logged and how.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Log")]
pub struct LogArgs {
    /// What is logged: error, warn, info, debug, trace, or by part: info,brindle::speaker=debug
    #[arg(
        long,
        value_name = "LEVEL",
        env = "BRINDLE_LOG",
        hide_env_values = true,
        default_value = "info"
    )]
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
    let format = args.log_format.unwrap_or_else(detected);
    let subscriber = subscriber(&args.log_level, format, uses_color(), io::stderr)?;
    tracing::subscriber::set_global_default(subscriber).context("cannot start the log")
}

/// What takes the logs and writes them.
fn subscriber<W>(
    level: &str,
    format: LogFormat,
    color: bool,
    writer: W,
) -> anyhow::Result<Box<dyn Subscriber + Send + Sync>>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let filter = EnvFilter::try_new(level).with_context(|| {
        format!(
            "--log-level {level:?} is no filter; accepted are for instance info, or info,brindle::speaker=debug"
        )
    })?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
    Ok(match format {
        LogFormat::Text => {
            let inner = Format::default().with_target(false).with_ansi(color);
            let builder = builder.with_ansi(color).fmt_fields(fields());
            Box::new(builder.event_format(OneLine { inner, format, color }).finish())
        }
        LogFormat::Json => {
            let inner = Format::default().json().flatten_event(true);
            let builder = builder.with_ansi(false).fmt_fields(JsonFields::new());
            Box::new(builder.event_format(OneLine { inner, format, color: false }).finish())
        }
        LogFormat::Journald => {
            let inner = Format::default().without_time().with_level(false).with_ansi(false);
            let one_line = OneLine { inner, format, color: false };
            let builder = builder.with_ansi(false).fmt_fields(fields());
            Box::new(builder.event_format(one_line).finish())
        }
    })
}

/// How fields stand in text: `peer=tor-a`. Values are made fit to be shown here, where they can
/// still be told from our own colours.
fn fields() -> impl for<'a> FormatFields<'a> + Send + Sync + 'static {
    debug_fn(|writer, field, value| {
        let value = format!("{value:?}");
        let value = visible(&value);
        match (field.name(), writer.has_ansi_escapes()) {
            ("message", _) => write!(writer, "{value}"),
            (name, true) => write!(writer, "\x1b[2m{name}=\x1b[0m{value}"),
            (name, false) => write!(writer, "{name}={value}"),
        }
    })
    .delimited(" ")
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

/// Sees to it that an event is one line, whatever stands in the text of others that it holds,
/// and that nothing in it steers a terminal. For the journal `<6>` stands before it
/// (sd-daemon(3)).
struct OneLine<F> {
    inner: F,
    format: LogFormat,
    color: bool,
}

impl<F, S, N> FormatEvent<S, N> for OneLine<F>
where
    F: FormatEvent<S, N>,
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut text = String::new();
        self.inner.format_event(context, Writer::new(&mut text), event)?;
        let line = text.trim_end_matches('\n');
        let line = match self.format {
            LogFormat::Json => visible_json(line),
            LogFormat::Text | LogFormat::Journald if self.color => visible_colored(line),
            LogFormat::Text | LogFormat::Journald => visible(line),
        };
        if self.format == LogFormat::Journald {
            writer.write_str(priority(*event.metadata().level()))?;
        }
        writeln!(writer, "{line}")
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

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// What is logged by `deed`.
    fn logged(level: &str, format: LogFormat, color: bool, deed: impl FnOnce()) -> String {
        #[derive(Clone, Default)]
        struct Kept(Arc<Mutex<Vec<u8>>>);
        impl io::Write for Kept {
            fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
                self.0.lock().unwrap().write(octets)
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let kept = Kept::default();
        let writer = kept.clone();
        let subscriber = subscriber(level, format, color, move || writer.clone()).unwrap();
        tracing::subscriber::with_default(subscriber, deed);
        let octets = kept.0.lock().unwrap().clone();
        String::from_utf8(octets).unwrap()
    }

    #[test]
    fn an_event_is_one_line_whatever_a_peer_says() {
        let says = "bye\n<0>forged \u{1b}[2J\u{202e}\u{9b}x";
        for (format, color) in [
            (LogFormat::Text, false),
            (LogFormat::Text, true),
            (LogFormat::Json, false),
            (LogFormat::Journald, false),
        ] {
            let text = logged("info", format, color, || {
                let _span = tracing::info_span!("session", peer = says).entered();
                tracing::info!(said = says, shown = %says, "closed: {says}");
            });
            assert_eq!(text.matches('\n').count(), 1, "{format:?}: {text:?}");
            assert!(!text.contains(['\u{202e}', '\u{9b}']), "{format:?}: {text:?}");
            assert!(!text.contains("\u{1b}[2J"), "{format:?}: {text:?}");
            assert_eq!(text.contains('\u{1b}'), color, "{format:?}: {text:?}");
        }
    }

    #[test]
    fn the_journal_gets_a_priority_and_no_time() {
        let text = logged("debug", LogFormat::Journald, false, || {
            tracing::error!("one");
            tracing::warn!(peer = "tor-a", "two");
            tracing::info!("three");
            tracing::debug!("four");
            tracing::trace!("five");
        });
        let from = "brindle::telemetry::log::tests: ";
        let want = "<3>@one\n<4>@two peer=\"tor-a\"\n<6>@three\n<7>@four\n";
        assert_eq!(text, want.replace('@', from));
    }

    #[test]
    fn json_is_one_object_a_line_with_its_span() {
        let text = logged("info", LogFormat::Json, false, || {
            let _span = tracing::info_span!("session", peer = "tor-a").entered();
            tracing::warn!(reason = "hold timer", "session down");
        });
        let event: serde_json::Value = serde_json::from_str(&text).unwrap();
        for (field, want) in
            [("level", "WARN"), ("message", "session down"), ("reason", "hold timer")]
        {
            assert_eq!(event[field], want, "{event}");
        }
        assert_eq!(event["span"]["peer"], "tor-a", "{event}");
    }

    #[test]
    fn a_level_that_is_none_is_refused_with_what_would_do() {
        let Err(error) = subscriber("loud=info=x", LogFormat::Text, false, io::sink) else {
            panic!("loud=info=x was taken");
        };
        assert!(error.to_string().contains("accepted are"), "{error}");
    }
}
