//! Answers as text: tables for people, JSON and YAML for programs. No I/O but the writer given.

use std::io::{self, Write};

use clap::ValueEnum;
use serde::Serialize;

use crate::control::view::API_VERSION;
use crate::control::wire::Kind;
use crate::control::{Answer, Page};
use crate::visible::{visible, visible_json, visible_lines};

mod bfd;
mod bmp;
mod drain;
mod explain;
mod matrix;
mod peers;
mod policy;
mod routes;
mod status;
mod table;
mod text;

use table::{Shown, Table};

/// How an answer is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Columns for people
    Table,
    /// More columns
    Wide,
    /// One JSON document
    Json,
    /// One YAML document
    Yaml,
    /// One JSON document a line, one line an item
    Jsonl,
    /// Names alone, one a line
    Name,
}

/// How standard output is written.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    /// The format.
    pub format: Format,
    /// Whether a person sees it at once, so that nothing in it may steer a terminal.
    pub is_terminal: bool,
    /// Whether states are coloured.
    pub color: bool,
}

/// Writes an answer, page by page.
#[derive(Debug)]
pub struct Printer<W> {
    out: W,
    style: Style,
    items: usize,
    /// A list was begun that must be closed.
    is_open: bool,
    is_list: bool,
    table: Option<Table>,
}

impl<W: Write> Printer<W> {
    /// A printer that has printed nothing yet.
    pub fn new(out: W, style: Style) -> Self {
        Self { out, style, items: 0, is_open: false, is_list: false, table: None }
    }

    /// Writes one answer, or the next page of one.
    ///
    /// # Errors
    /// If the writer fails.
    pub fn print(&mut self, answer: &Answer) -> io::Result<()> {
        let color = self.style.color;
        match answer {
            Answer::Status(view) => {
                self.single(&**view, &view.node, || status::screen(view, color))
            }
            Answer::Peer(view) => self.single(&**view, &view.name, || peers::screen(view, color)),
            Answer::Config(view) => self.single(&**view, "config", || status::config_screen(view)),
            Answer::Reload(view) => self.single(&**view, "config", || status::reload_screen(view)),
            Answer::Done(view) => {
                self.single(view, &view.peer, || format!("{}: {}\n", view.peer, view.message))
            }
            Answer::Drain(view) => self.single(&**view, &view.node, || drain::screen(view)),
            Answer::Peers(items) => self.list(items),
            Answer::Routes(Page { items, .. }) => self.list(items),
            Answer::RouteChanges(changes) => self.list(&changes.items),
            Answer::Paths(Page { items, .. }) => self.list(items),
            Answer::Rejected(Page { items, .. }) => self.list(items),
            Answer::Kernel(Page { items, .. }) => self.list(items),
            Answer::Policies(Page { items, .. }) => self.list(items),
            Answer::Policy(view) => {
                self.single(&**view, &view.full_name(), || policy::screen(view, color))
            }
            Answer::PodPolicies(view) => {
                self.single(&**view, &view.pod, || policy::pod_screen(view, color))
            }
            Answer::Matrix(view) => {
                let name = view.namespace.as_deref().unwrap_or("all");
                self.single(&**view, name, || matrix::screen(view, color))
            }
            Answer::Findings(items) => self.list(items),
            Answer::Hits(items) => self.list(items),
            Answer::Endpoints(items) => self.list(items),
            Answer::Explanation(view) => {
                let name = view.verdict.to_string();
                self.single(&**view, &name, || explain::screen(view, color))
            }
            Answer::Flows(Page { items, .. }) => self.list(items),
            // No command shows it.
            Answer::Cni(_) | Answer::Dump(_) => Ok(()),
            Answer::TestReport(view) => {
                self.single(&**view, &view.file, || matrix::report_screen(view, color))
            }
        }
    }

    /// Closes what was begun and flushes. Says whether it was a list without items.
    ///
    /// # Errors
    /// If the writer fails.
    pub fn finish(&mut self) -> io::Result<bool> {
        if std::mem::take(&mut self.is_open) {
            match (self.style.format, self.items) {
                (Format::Json, 0) => self.out.write_all(b"]\n}\n")?,
                (Format::Json, _) => self.out.write_all(b"\n  ]\n}\n")?,
                (Format::Yaml, 0) => self.out.write_all(b"items: []\n")?,
                _ => {}
            }
        }
        self.out.flush()?;
        Ok(self.is_list && self.items == 0)
    }

    /// Hands on what was printed so far; a list stays open.
    ///
    /// # Errors
    /// If the writer fails.
    pub fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    /// Takes out what was written since the last time.
    pub fn take(&mut self) -> W
    where
        W: Default,
    {
        std::mem::take(&mut self.out)
    }

    fn single<T: Kind>(
        &mut self,
        view: &T,
        name: &str,
        screen: impl FnOnce() -> String,
    ) -> io::Result<()> {
        let text = match self.style.format {
            // Screens colour themselves, so they escape what they take from elsewhere.
            Format::Table | Format::Wide => return self.out.write_all(screen().as_bytes()),
            Format::Json => serde_json::to_string_pretty(&view.object())? + "\n",
            Format::Jsonl => serde_json::to_string(&view.object())? + "\n",
            Format::Yaml => yaml(&view.object())?,
            Format::Name => format!("{}\n", visible(name)),
        };
        self.write(&text)
    }

    fn list<T: Kind + Shown>(&mut self, items: &[T]) -> io::Result<()> {
        self.is_list = true;
        let is_first = self.items == 0;
        if !std::mem::replace(&mut self.is_open, true) {
            let head = match self.style.format {
                Format::Json => format!(
                    "{{\n  \"apiVersion\": \"{API_VERSION}\",\n  \"kind\": \"{}\",\n  \"items\": [",
                    T::LIST
                ),
                Format::Yaml => format!("apiVersion: {API_VERSION}\nkind: {}\n", T::LIST),
                Format::Table | Format::Wide | Format::Jsonl | Format::Name => String::new(),
            };
            self.out.write_all(head.as_bytes())?;
        }
        self.items += items.len();
        match self.style.format {
            Format::Table | Format::Wide => {
                let is_wide = self.style.format == Format::Wide;
                let table = self.table.get_or_insert_with(|| Table::new(T::columns(is_wide)));
                let rows = items.iter().flat_map(|item| item.rows(is_wide)).collect();
                self.out.write_all(table.lines(rows, self.style.color).as_bytes())
            }
            Format::Json => {
                for (index, item) in items.iter().enumerate() {
                    let comma = if is_first && index == 0 { "" } else { "," };
                    let json = serde_json::to_string_pretty(item)?.replace('\n', "\n    ");
                    self.write(&format!("{comma}\n    {json}"))?;
                }
                Ok(())
            }
            Format::Jsonl => items.iter().try_for_each(|item| {
                let json = serde_json::to_string(&item.object())?;
                self.write(&(json + "\n"))
            }),
            Format::Yaml => {
                if items.is_empty() {
                    return Ok(());
                }
                if is_first {
                    self.out.write_all(b"items:\n")?;
                }
                self.write(&yaml(&items)?)
            }
            Format::Name => items
                .iter()
                .try_for_each(|item| self.write(&format!("{}\n", visible(&item.name())))),
        }
    }

    /// Writes JSON or YAML. On a terminal no character of it may steer the terminal; in
    /// JSON the escape is one that means the same character.
    fn write(&mut self, text: &str) -> io::Result<()> {
        let text = match (self.style.is_terminal, self.style.format) {
            (true, Format::Json | Format::Jsonl) => visible_json(text),
            (true, _) => visible_lines(text),
            (false, _) => text.into(),
        };
        self.out.write_all(text.as_bytes())
    }
}

/// Writes YAML in which no text can be taken for a number, a boolean or nothing, by readers of
/// YAML 1.1 too.
///
/// # Errors
/// If the value cannot be YAML.
pub fn yaml<T: Serialize>(value: &T) -> io::Result<String> {
    serde_saphyr::to_string(value).map_err(io::Error::other)
}
