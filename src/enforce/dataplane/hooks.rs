//! Keeps our jumps first in the kernel's own chains.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::error::Error;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use brindle_policy::Family;
use brindle_policy::names::Comment;
use brindle_policy::render;
use brindle_policy::ruleset::Hook;
use iptables::IPTables;
use tokio::task::JoinHandle;

use super::figures::{Figures, Op};
use super::own::OwnWrites;
use super::words::{our_target, rule_of, words};

/// How often in [`MOVES_WITHIN`] a jump is put before a foreign rule again: who puts it there
/// may do so as often as we do.
const MOST_MOVES: usize = 3;
/// The time that [`MOST_MOVES`] is about.
const MOVES_WITHIN: Duration = Duration::from_secs(60);

/// How a jump came to be where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Placed {
    /// It is first, and there once.
    First,
    /// This foreign rule is before it and stays there for now.
    Behind(String),
}

/// The same text for as long as the process lives, as the iptables crate wants it. Texts that
/// were asked for before cost nothing.
pub(super) fn for_ever(text: &str) -> &'static str {
    static KNOWN: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(same) = known.get(text) {
        return same;
    }
    let text: &'static str = text.to_owned().leak();
    known.insert(text);
    text
}

/// Places jumps. What one run of `iptables` does cannot be cut short, so it has a thread of
/// its own, and the next waits for it.
#[derive(Debug)]
pub(super) struct Hooks {
    commands: BTreeMap<Family, &'static str>,
    own: OwnWrites,
    figures: Figures,
    limit: Duration,
    running: Option<JoinHandle<Result<Done, String>>>,
    moves: BTreeMap<(Family, Hook), VecDeque<Instant>>,
}

/// Where the jump is now, and whether it was moved before a foreign rule.
type Done = (Placed, bool);

/// What is to be done for a hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Aim {
    /// It is to be first. If foreign rules are before it, it is moved only if it may be.
    First { may_move: bool },
    /// It is to be gone.
    Gone,
}

impl Hooks {
    /// Of these programs, one a family.
    pub(super) fn new(
        commands: BTreeMap<Family, &'static str>,
        own: OwnWrites,
        figures: Figures,
        limit: Duration,
    ) -> Self {
        Self { commands, own, figures, limit, running: None, moves: BTreeMap::new() }
    }

    /// Puts a jump first in its chain, once, at no time leaving the chain without it.
    pub(super) async fn place(&mut self, family: Family, hook: &Hook) -> Result<Placed, String> {
        let now = Instant::now();
        let moves = self.moves.entry((family, hook.clone())).or_default();
        moves.retain(|at| now.duration_since(*at) < MOVES_WITHIN);
        let may_move = moves.len() < MOST_MOVES;
        let (placed, has_moved) = self.run(family, hook, Aim::First { may_move }).await?;
        if has_moved {
            self.moves.entry((family, hook.clone())).or_default().push_back(now);
        }
        Ok(placed)
    }

    /// Removes a jump.
    pub(super) async fn remove(&mut self, family: Family, hook: &Hook) -> Result<(), String> {
        self.run(family, hook, Aim::Gone).await.map(drop)
    }

    async fn run(&mut self, family: Family, hook: &Hook, aim: Aim) -> Result<Done, String> {
        if let Some(running) = &mut self.running {
            let waited = tokio::time::timeout(self.limit, running).await;
            let _ = waited.map_err(|_| hung(self.limit))?;
            self.running = None;
        }
        let cmd = self.commands.get(&family).ok_or_else(|| format!("no iptables for {family}"))?;
        let place = Place {
            // What reads options was checked to be 1.8 or later.
            iptables: IPTables { cmd, has_check: true, has_wait: true, is_numeric: false },
            own: self.own.clone(),
            hook: hook.clone(),
        };
        let begin = Instant::now();
        let running = self.running.insert(tokio::task::spawn_blocking(move || place.aim(aim)));
        let result = match tokio::time::timeout(self.limit, running).await {
            Err(_) => Err(hung(self.limit)),
            Ok(ended) => {
                self.running = None;
                ended.map_err(|panic| panic.to_string()).flatten()
            }
        };
        self.figures.count(Op::Hook, result.is_ok(), begin.elapsed());
        result.map_err(|why| format!("cannot hook {} {}: {why}", hook.table, hook.from.as_str()))
    }
}

fn hung(limit: Duration) -> String {
    format!("iptables did not end within {} s", limit.as_secs_f32())
}

/// One jump, and what changes it; blocks.
struct Place {
    iptables: IPTables,
    own: OwnWrites,
    hook: Hook,
}

impl Place {
    fn aim(&self, aim: Aim) -> Result<Done, String> {
        let result = match aim {
            Aim::First { may_move } => self.first(may_move),
            Aim::Gone => self.gone().map(|()| (Placed::First, false)),
        };
        result.map_err(|error| error.to_string())
    }

    fn first(&self, may_move: bool) -> Result<Done, Box<dyn Error>> {
        let rules = self.rules()?;
        let own = render::hook_rule(&self.hook);
        let is_wanted = |rule: &str| same(rule, &own);
        let is_ours = |rule: &str| our_target(rule).as_deref() == Some(self.hook.to.as_str());
        let first = rules.first().is_some_and(|rule| is_wanted(rule));
        let ours = rules.iter().filter(|rule| is_ours(rule)).count();
        if ours == 0 {
            self.insert(&own)?;
            return Ok((Placed::First, false));
        }
        if first && ours == 1 {
            return Ok((Placed::First, false));
        }
        let foreign = rules.first().filter(|rule| !is_ours(rule));
        if let (Some(rule), false) = (foreign, may_move) {
            return Ok((Placed::Behind(rule.clone()), false));
        }
        // Rules are deleted by what they say, as numbers change while others write; so what
        // holds the place until the old ones are gone has to say something else.
        let moving = Comment::new(&["hook", "moving"]);
        let guard = format!("-m comment --comment {moving} -j {}", self.hook.to);
        self.insert(&guard)?;
        for rule in rules.iter().filter(|rule| is_ours(rule) && !same(rule, &guard)) {
            self.delete(rule)?;
        }
        self.insert(&own)?;
        self.delete(&guard)?;
        // A guard that was left when we ended in the midst of this.
        while self.rules()?.iter().any(|rule| same(rule, &guard)) {
            self.delete(&guard)?;
        }
        Ok((Placed::First, foreign.is_some()))
    }

    fn gone(&self) -> Result<(), Box<dyn Error>> {
        let to = self.hook.to.as_str();
        for rule in self.rules()?.iter().filter(|rule| our_target(rule).as_deref() == Some(to)) {
            self.delete(rule)?;
        }
        Ok(())
    }

    /// The rules of the kernel's chain, as `iptables -S` prints them without `-A CHAIN`.
    fn rules(&self) -> Result<Vec<String>, Box<dyn Error>> {
        let listed = self.iptables.list(self.hook.table.as_str(), self.hook.from.as_str())?;
        Ok(listed.iter().filter_map(|line| Some(rule_of(line)?.1.to_owned())).collect())
    }

    fn insert(&self, rule: &str) -> Result<(), Box<dyn Error>> {
        let (table, chain) = (self.hook.table.as_str(), self.hook.from.as_str());
        let write = self.own.begin(Path::new(self.iptables.cmd), None);
        self.iptables.insert(table, chain, rule, 1).inspect_err(|_| write.nothing_written())
    }

    fn delete(&self, rule: &str) -> Result<(), Box<dyn Error>> {
        let (table, chain) = (self.hook.table.as_str(), self.hook.from.as_str());
        let write = self.own.begin(Path::new(self.iptables.cmd), None);
        self.iptables.delete(table, chain, rule).inspect_err(|_| write.nothing_written())
    }
}

/// Whether two rules say the same, whatever is quoted.
fn same(rule: &str, other: &str) -> bool {
    words(rule) == words(other)
}
