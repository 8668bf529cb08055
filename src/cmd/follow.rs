//! `brindle routes --watch`: the table, then each change of it when the agent tells it.

use std::io::{self, BufWriter, Write};
use std::thread;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde_json::json;

use super::ask::{Ask, Show, lost};
use super::output::Format;
use super::stamped::Stamped;
use super::{Exit, complain, note, watch};
use crate::control::client::{AskError, Client};
use crate::control::view::{API_VERSION, PathStatus, RouteChange, RouteChanges, Time};
use crate::control::wire::BadAnswer;
use crate::control::{Answer, MAX_CHANGES_WAIT, PageRequest, Query, RouteFilter};

/// Follows the paths in use of what `filter` asks for until it is interrupted: redraws a
/// terminal, else prints the table and then a line per change. An agent that does not answer at
/// first is an error; one that goes later is waited for.
pub(super) fn run(ask: &Ask, show: &Show, filter: RouteFilter) -> Exit {
    let style = show.style();
    let redraws = style.is_terminal && matches!(style.format, Format::Table | Format::Wide);
    let mut follower = Follower {
        client: ask.client(),
        filter,
        lines: (!redraws).then(|| Stamped::new(style)),
        place: None,
        reason: "watching begins".to_owned(),
    };
    let (mut was_there, mut last_error) = (false, String::new());
    while is_read(&io::stdout()) {
        let error = match follower.step(show) {
            Ok(()) => {
                was_there = true;
                last_error.clear();
                continue;
            }
            Err(Trouble::Write(error)) => return lost(&error, Exit::Fine),
            Err(Trouble::Ask(error)) => error,
        };
        if !was_there {
            complain(&error);
            return error.exit();
        }
        if redraws {
            // Each time: a terminal that is gone meanwhile ends the watching.
            if let Err(error) = watch::redraw_error(&error) {
                return lost(&error, Exit::Fine);
            }
        } else if error.to_string() != last_error {
            last_error = error.to_string();
            note(&last_error);
        }
        thread::sleep(show.interval);
    }
    Exit::Fine
}

/// Why a step came to nothing.
enum Trouble {
    Ask(AskError),
    Write(io::Error),
}

impl From<AskError> for Trouble {
    fn from(error: AskError) -> Self {
        Trouble::Ask(error)
    }
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Trouble::Write(error)
    }
}

struct Follower {
    client: Client,
    filter: RouteFilter,
    /// `None` where a terminal is redrawn.
    lines: Option<Stamped>,
    /// How far changes were read; `None` if the table comes next.
    place: Option<String>,
    /// Why it does.
    reason: String,
}

impl Follower {
    /// Shows the table, or waits for changes and shows them.
    fn step(&mut self, show: &Show) -> Result<(), Trouble> {
        let Some(place) = self.place.clone() else {
            // First the place, then the table: a change between them is told once too often
            // rather than not at all.
            let next = self.changes(None)?.next;
            self.table(show)?;
            self.place = Some(next);
            return Ok(());
        };
        let changes = self.changes(Some(place))?;
        if let Some(gap) = &changes.gap {
            self.reason = gap.to_string();
            if self.lines.is_some() {
                note(format_args!("{}: the table follows as it is now", self.reason));
            }
        }
        let is_news = changes.gap.is_some() || !changes.items.is_empty();
        self.place = changes.gap.is_none().then_some(changes.next);
        match &mut self.lines {
            Some(lines) => print(lines, changes.items)?,
            None if is_news => {
                self.place = None;
                // Nobody reads faster.
                thread::sleep(show.interval);
            }
            None => {}
        }
        Ok(())
    }

    fn changes(&self, after: Option<String>) -> Result<RouteChanges, AskError> {
        let wait = MAX_CHANGES_WAIT;
        let query = Query::RouteChanges { filter: self.filter.clone(), after, wait };
        match self.client.ask_blocking(&query)? {
            Answer::RouteChanges(changes) => Ok(*changes),
            _ => Err(BadAnswer::Kind("something else than changes of routes".to_owned()).into()),
        }
    }

    fn table(&mut self, show: &Show) -> Result<(), Trouble> {
        let query = Query::Routes(self.filter.clone(), PageRequest::first());
        let Some(lines) = &mut self.lines else {
            let mut pages = watch::look(&self.client, &query)?;
            pages.iter_mut().for_each(leave_used);
            return Ok(watch::redraw(&self.client, &pages, show.style())?);
        };
        let mut out = BufWriter::new(io::stdout().lock());
        let mark =
            |state: &str| json!({"apiVersion": API_VERSION, "kind": "RouteTable", "state": state});
        let mut begins = mark("begins");
        begins["reason"] = self.reason.as_str().into();
        lines.remark(&mut out, &begins)?;
        let mut written = Ok(());
        self.client.follow(query, |mut page| {
            leave_used(&mut page);
            let time = Time::from(std::time::SystemTime::now()).to_string();
            written = lines.write(&mut out, &time, &[page], false);
            written.is_ok()
        })?;
        written?;
        lines.remark(&mut out, &mark("ends"))?;
        Ok(out.flush()?)
    }
}

/// Each with its own time.
fn print(lines: &mut Stamped, changes: Vec<RouteChange>) -> io::Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    for change in changes {
        let time = change.time.to_string();
        let one = RouteChanges { items: vec![change], gap: None, next: String::new() };
        lines.write(&mut out, &time, &[Answer::RouteChanges(Box::new(one))], false)?;
    }
    out.flush()
}

/// Changes are told of paths in use only; so is the table, also where one prefix is asked for.
fn leave_used(answer: &mut Answer) {
    if let Answer::Routes(page) = answer {
        for route in &mut page.items {
            route
                .paths
                .retain(|path| matches!(path.status, PathStatus::Best | PathStatus::Multipath));
        }
        page.items.retain(|route| !route.paths.is_empty());
    }
}

/// Whether somebody has the other end: one who is gone would be noticed at the next change only.
fn is_read(out: &impl std::os::fd::AsFd) -> bool {
    let mut ends = [PollFd::new(out.as_fd(), PollFlags::empty())];
    match poll(&mut ends, PollTimeout::ZERO) {
        Ok(_) => ends[0].revents().is_none_or(|events| events.is_empty()),
        Err(_) => true,
    }
}
