//! Answers that are printed one after the other as they come, each line of a table with its time.

use std::io::{self, Write};

use super::output::{Format, Printer, Style};
use crate::control::Answer;

/// Prints them.
pub(super) struct Stamped {
    style: Style,
    /// Kept, so that columns stay aligned.
    printer: Printer<Vec<u8>>,
    has_header: bool,
}

impl Stamped {
    /// Nothing was printed yet.
    pub(super) fn new(style: Style) -> Self {
        let format = match style.format {
            // A document a line: lines can be taken apart.
            Format::Json => Format::Jsonl,
            other => other,
        };
        let style = Style { format, ..style };
        Self { style, printer: Printer::new(Vec::new(), style), has_header: false }
    }

    pub(super) fn format(&self) -> Format {
        self.style.format
    }

    /// Writes answers of one kind, of that time. A line of a table begins with the time, the
    /// first one of all with its title; a screen has the time above it.
    ///
    /// # Errors
    /// If the writer fails.
    pub(super) fn write(
        &mut self,
        out: &mut impl Write,
        time: &str,
        answers: &[Answer],
        is_screen: bool,
    ) -> io::Result<()> {
        if self.style.format == Format::Yaml {
            // A document each time.
            self.printer = Printer::new(Vec::new(), self.style);
        }
        for answer in answers {
            self.printer.print(answer)?;
        }
        self.printer.finish()?;
        let text = self.printer.take();
        if text.is_empty() {
            return Ok(());
        }
        match self.style.format {
            Format::Table | Format::Wide if is_screen => {
                writeln!(out, "{time}")?;
                out.write_all(&text)
            }
            Format::Table | Format::Wide => {
                let text = String::from_utf8_lossy(&text);
                let mut lines = text.lines();
                if !std::mem::replace(&mut self.has_header, true)
                    && let Some(header) = lines.next()
                {
                    writeln!(out, "{:<width$}  {header}", "TIME", width = time.len())?;
                }
                lines.try_for_each(|line| writeln!(out, "{time}  {line}"))
            }
            Format::Yaml => {
                out.write_all(b"---\n")?;
                out.write_all(&text)
            }
            Format::Json | Format::Jsonl | Format::Name => out.write_all(&text),
        }
    }

    /// Writes something that is told to programs only.
    ///
    /// # Errors
    /// If the writer fails.
    pub(super) fn remark(
        &self,
        out: &mut impl Write,
        remark: &serde_json::Value,
    ) -> io::Result<()> {
        match self.style.format {
            Format::Json | Format::Jsonl => writeln!(out, "{remark}"),
            Format::Yaml => writeln!(out, "---\n{remark}"),
            Format::Table | Format::Wide | Format::Name => Ok(()),
        }
    }
}
