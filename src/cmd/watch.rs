//! `--watch`: asks again and again; redraws a terminal, else prints what changed.

use std::collections::HashMap;
use std::io::{self, BufWriter, Write};
use std::thread;

use serde_json::Value;

use super::ask::{Show, lost};
use super::output::{Format, Printer, Style};
use super::stamped::Stamped;
use super::{Exit, complain, note};
use crate::control::client::{AskError, Client};
use crate::control::view::{self, API_VERSION, Time};
use crate::control::wire::Kind;
use crate::control::{Answer, Page, Query};
use crate::visible::visible;

/// Looks until it is interrupted. An agent that does not answer at first is an error; one that
/// goes later is waited for.
pub(super) fn run(client: &Client, show: &Show, query: &Query) -> Exit {
    let style = show.style();
    let redraws = style.is_terminal && matches!(style.format, Format::Table | Format::Wide);
    let mut seen = Seen::new(style);
    let mut was_there = false;
    let mut last_error = String::new();
    loop {
        let looked = look(client, query);
        let written = match &looked {
            Ok(pages) if redraws => redraw(client, pages, style),
            Ok(pages) => seen.print_changes(pages),
            // Drawn each time: a terminal that is gone meanwhile ends the watching.
            Err(error) if was_there && redraws => redraw_error(error),
            Err(error) if was_there => {
                let error = error.to_string();
                if error != last_error {
                    note(&error);
                }
                last_error = error;
                Ok(())
            }
            Err(error) => {
                complain(error);
                return error.exit();
            }
        };
        if let Err(error) = written {
            return lost(&error, Exit::Fine);
        }
        if looked.is_ok() {
            was_there = true;
            last_error.clear();
        }
        thread::sleep(show.interval);
    }
}

pub(super) fn look(client: &Client, query: &Query) -> Result<Vec<Answer>, AskError> {
    let mut pages = Vec::new();
    client.follow(query.clone(), |page| {
        pages.push(page);
        true
    })?;
    Ok(pages)
}

/// Draws why there is no answer over what was there.
pub(super) fn redraw_error(error: &AskError) -> io::Result<()> {
    let now = Time::from(std::time::SystemTime::now());
    let mut out = io::stdout().lock();
    writeln!(out, "\x1b[H\x1b[J{now}  {}", visible(&error.to_string()))?;
    out.flush()
}

/// Draws the whole answer over what was there.
pub(super) fn redraw(client: &Client, pages: &[Answer], style: Style) -> io::Result<()> {
    let mut screen = Vec::new();
    let mut printer = Printer::new(&mut screen, style);
    for page in pages {
        printer.print(page)?;
    }
    let is_empty = printer.finish()?;
    let mut out = io::stdout().lock();
    let now = Time::from(std::time::SystemTime::now());
    let socket = client.socket().display().to_string();
    // Home, clear to the end: less flicker than to clear first and to draw then.
    write!(out, "\x1b[H\x1b[J{now}  {}\n\n", visible(&socket))?;
    out.write_all(&screen)?;
    if is_empty {
        out.write_all(b"(nothing)\n")?;
    }
    out.flush()
}

/// What was printed before, by name: all of it that does not change by the mere passing of time.
struct Seen {
    items: HashMap<String, Value>,
    lines: Stamped,
}

impl Seen {
    fn new(style: Style) -> Self {
        Self { items: HashMap::new(), lines: Stamped::new(style) }
    }

    /// Prints each item that is new or changed, and the name of each that is gone.
    fn print_changes(&mut self, pages: &[Answer]) -> io::Result<()> {
        let mut now = HashMap::new();
        let mut kind = "";
        let mut is_screen = false;
        let mut changed = Vec::new();
        for page in pages {
            kind = kind_of(page);
            is_screen = is_a_screen(page);
            changed.push(self.changed(page, &mut now)?);
        }
        let gone: Vec<String> =
            self.items.keys().filter(|name| !now.contains_key(*name)).cloned().collect();
        self.items = now;
        let mut out = BufWriter::new(io::stdout().lock());
        self.lines.write(&mut out, &time(), &changed, is_screen)?;
        for name in gone {
            if matches!(self.lines.format(), Format::Table | Format::Wide) {
                writeln!(out, "{}  {} is gone", time(), visible(&name))?;
            }
            let gone = serde_json::json!({
                "apiVersion": API_VERSION, "kind": "Gone", "of": kind, "name": name,
            });
            self.lines.remark(&mut out, &gone)?;
        }
        out.flush()
    }

    /// The answer with only those items that are not as they were; notes all in `now`.
    fn changed(&self, page: &Answer, now: &mut HashMap<String, Value>) -> io::Result<Answer> {
        let mut changed = page.clone();
        match &mut changed {
            Answer::Peers(items) => self.keep(items, now, |peer| peer.name.clone())?,
            Answer::Routes(Page { items, .. }) => {
                self.keep(items, now, |route| route.prefix.to_string())?;
            }
            Answer::Paths(Page { items, .. }) => {
                self.keep(items, now, |path| path.prefix.to_string())?;
            }
            Answer::Rejected(Page { items, .. }) => {
                self.keep(items, now, |path| format!("{} from {}", path.prefix, path.from))?;
            }
            Answer::Kernel(Page { items, .. }) => {
                self.keep(items, now, |route| route.prefix.to_string())?;
            }
            Answer::Status(view) => return self.single(page, &**view, now),
            Answer::Peer(peer) => {
                // A line in a table, for a change is one.
                let mut peers = vec![(**peer).clone()];
                self.keep(&mut peers, now, |peer| peer.name.clone())?;
                changed = Answer::Peers(peers);
            }
            Answer::Config(view) => return self.single(page, &**view, now),
            Answer::Reload(view) => return self.single(page, &**view, now),
            Answer::Done(view) => return self.single(page, view, now),
            Answer::Drain(view) => return self.single(page, &**view, now),
            Answer::Policies(Page { items, .. }) => {
                self.keep(items, now, view::Policy::full_name)?;
            }
            Answer::Policy(view) => return self.single(page, &**view, now),
            Answer::PodPolicies(view) => return self.single(page, &**view, now),
            Answer::Matrix(view) => return self.single(page, &**view, now),
            Answer::Findings(items) => {
                self.keep(items, now, |finding| {
                    format!("{} {} {}", finding.object, finding.check, finding.field)
                })?;
            }
            Answer::Hits(items) => self.keep(items, now, |hits| {
                format!("{} {} {}", hits.policy, hits.direction, hits.rule)
            })?,
            Answer::Endpoints(items) => self.keep(items, now, |endpoint| endpoint.pod.clone())?,
            Answer::Explanation(view) => return self.single(page, &**view, now),
            Answer::Flows(Page { items, .. }) => {
                self.keep(items, now, |flow| flow.sequence.to_string())?;
            }
            // A change is new by itself; these are not watched in this way.
            Answer::RouteChanges(_) | Answer::Dump(_) | Answer::Cni(_) => {}
            Answer::TestReport(view) => return self.single(page, &**view, now),
        }
        Ok(changed)
    }

    fn keep<T: Kind>(
        &self,
        items: &mut Vec<T>,
        now: &mut HashMap<String, Value>,
        name: impl Fn(&T) -> String,
    ) -> io::Result<()> {
        let mut error = None;
        items.retain(|item| match lasting(item) {
            Ok(value) => {
                let name = name(item);
                let is_new = self.items.get(&name) != Some(&value);
                now.insert(name, value);
                is_new
            }
            Err(fault) => {
                error = Some(fault);
                false
            }
        });
        error.map_or(Ok(()), |fault| Err(fault.into()))
    }

    /// One view: as it is if it changed, else a list without items, which prints nothing.
    fn single<T: Kind>(
        &self,
        page: &Answer,
        view: &T,
        now: &mut HashMap<String, Value>,
    ) -> io::Result<Answer> {
        let value = lasting(view)?;
        let is_new = self.items.get(T::KIND) != Some(&value);
        now.insert(T::KIND.to_owned(), value);
        Ok(if is_new { page.clone() } else { Answer::Peers(Vec::new()) })
    }
}

/// Whether it is shown as a screen of its own, under the time.
fn is_a_screen(answer: &Answer) -> bool {
    match answer {
        Answer::Status(_)
        | Answer::Config(_)
        | Answer::Policy(_)
        | Answer::PodPolicies(_)
        | Answer::Matrix(_)
        | Answer::Explanation(_)
        | Answer::TestReport(_) => true,
        Answer::Peers(_)
        | Answer::Peer(_)
        | Answer::Routes(_)
        | Answer::RouteChanges(_)
        | Answer::Dump(_)
        | Answer::Paths(_)
        | Answer::Rejected(_)
        | Answer::Kernel(_)
        | Answer::Reload(_)
        | Answer::Done(_)
        | Answer::Drain(_)
        | Answer::Cni(_)
        | Answer::Policies(_)
        | Answer::Findings(_)
        | Answer::Hits(_)
        | Answer::Endpoints(_)
        | Answer::Flows(_) => false,
    }
}

fn kind_of(answer: &Answer) -> &'static str {
    match answer {
        Answer::Status(_) => view::Status::KIND,
        Answer::Peers(_) | Answer::Peer(_) => view::Peer::KIND,
        Answer::Routes(_) => view::Route::KIND,
        Answer::RouteChanges(_) => view::RouteChanges::KIND,
        Answer::Dump(_) => view::TableDump::KIND,
        Answer::Paths(_) => view::Path::KIND,
        Answer::Rejected(_) => view::Rejected::KIND,
        Answer::Kernel(_) => view::KernelRoute::KIND,
        Answer::Config(_) => view::Config::KIND,
        Answer::Reload(_) => view::Reload::KIND,
        Answer::Done(_) => view::Done::KIND,
        Answer::Drain(_) => view::Drain::KIND,
        Answer::Policies(_) | Answer::Policy(_) => view::Policy::KIND,
        Answer::PodPolicies(_) => view::PodPolicies::KIND,
        Answer::Matrix(_) => view::Matrix::KIND,
        Answer::Findings(_) => view::Finding::KIND,
        Answer::Hits(_) => view::RuleHits::KIND,
        Answer::Endpoints(_) => view::Endpoint::KIND,
        Answer::Explanation(_) => view::Explanation::KIND,
        Answer::Flows(_) => view::DeniedFlow::KIND,
        Answer::Cni(_) => "Cni",
        Answer::TestReport(_) => view::PolicyTestReport::KIND,
    }
}

fn time() -> String {
    Time::from(std::time::SystemTime::now()).to_string()
}

/// A sentence without its numbers of seconds: `keeping 4 routes 119s more`, `held for 3 s`.
fn without_seconds(text: &str) -> String {
    let is_number = |word: &str| !word.is_empty() && word.bytes().all(|o| o.is_ascii_digit());
    let words: Vec<&str> =
        text.split(' ').map(|word| word.trim_end_matches([';', ',', ':'])).collect();
    let is_seconds = |index: &usize| {
        let word = words[*index];
        word.strip_suffix('s').is_some_and(is_number)
            || (is_number(word) && words.get(*index + 1) == Some(&"s"))
    };
    let kept = (0..words.len()).filter(|index| !is_seconds(index));
    kept.map(|index| words[index]).collect::<Vec<_>>().join(" ")
}

/// The view in JSON without what changes by itself: ages, times that are reckoned from them,
/// and counts of messages.
fn lasting<T: Kind>(view: &T) -> serde_json::Result<Value> {
    fn strip(value: &mut Value) {
        match value {
            Value::Object(fields) => {
                fields.retain(|name, _| {
                    !name.ends_with("Seconds")
                        && !matches!(
                            name.as_str(),
                            "since"
                                | "started"
                                | "loaded"
                                | "changed"
                                | "at"
                                | "nextAttempt"
                                | "lastRejected"
                                | "messages"
                                | "outQueueBytes"
                        )
                });
                for (name, value) in fields {
                    match value {
                        // Sentences, which may say for how long.
                        Value::String(text) if ["lastReason", "what"].contains(&&**name) => {
                            *text = without_seconds(text);
                        }
                        value => strip(value),
                    }
                }
            }
            Value::Array(values) => values.iter_mut().for_each(strip),
            _ => {}
        }
    }
    let mut value = serde_json::to_value(view)?;
    strip(&mut value);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_counts_seconds_is_no_change() {
        for (text, want) in [
            ("keeping 4 stale routes 119s more; next", "keeping 4 stale routes more next"),
            ("idle for 7s more: hold timer", "idle for more hold timer"),
            ("not watched for 40 s: refused; it stays", "not watched for s refused it stays"),
            ("for 40 s more", "for s more"),
            ("10.0.0.1:179 refuses 2 connections", "10.0.0.1:179 refuses 2 connections"),
            ("", ""),
        ] {
            assert_eq!(without_seconds(text), want);
        }
    }
}
