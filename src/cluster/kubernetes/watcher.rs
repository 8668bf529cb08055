//! One kind watched: listed, then watched from there, again and again. It decides nothing
//! about objects; what it hears goes to the source.
//!
//! kube's own watcher is not used: it fails a whole page for one bad object, waits for ever
//! for a streaming list that the server does not have, and keeps bookmarks, which say that
//! all is well, to itself.

mod list;

use std::hash::{BuildHasher, RandomState};
use std::pin::pin;
use std::time::Duration;

use futures::{AsyncBufReadExt, StreamExt};
use kube::Client;
use kube::api::WatchParams;
use kube::core::Request;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use super::client::{ClientSettings, REQUEST, connect};
use super::discovery::{Served, Serving, is_copy};
use super::secrets::One;
use super::trouble::{Backoff, Cause, Trouble, Verb};
use super::wire::{self, Event};
use crate::cluster::kind::{Kind, Place};
use crate::cluster::object::Key;
use crate::cluster::typed::Reading;

/// How long the server shall let a watch last, in seconds; somewhat less than it may.
const WATCH: u32 = 240;
/// Up to so much longer: watches that began together shall not end together.
const WATCH_JITTER: u64 = 50;
/// Servers say at least once a minute that nothing happened. Whoever is silent for longer may
/// have forgotten us, though the connection stands.
const SILENCE: Duration = Duration::from_secs(100);
/// A watch that ends sooner, with nothing in it, did not work.
const SHORT: Duration = Duration::from_secs(5);
/// How soon after half a line a broken connection ends.
const HALF_LINE: Duration = Duration::from_secs(1);

/// What a watcher tells.
pub(super) enum News {
    /// The kind is read from here.
    Found(Place),
    /// The server does not have the kind: there is nothing of it.
    Absent(Kind),
    /// All that there is of the kind.
    Listed { kind: Kind, readings: Vec<Reading>, why: Option<Relist> },
    /// An object is there, new or changed.
    Applied { kind: Kind, reading: Reading },
    /// An object is gone.
    Deleted { kind: Kind, key: Key },
    /// The watch stands, and all that happened was told.
    Heard(Kind),
    /// It does not; it is tried again.
    Failed(Kind, Trouble),
    /// One of these, of one Secret.
    OfSecret(One, Box<News>),
}

/// Why all objects of a kind were listed again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Relist {
    /// 410: the server no longer knew what happened since.
    Gone,
    /// What the server wrote could not be understood.
    Invalid,
}

impl Relist {
    /// As the label `reason` has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Relist::Gone => "gone",
            Relist::Invalid => "invalid",
        }
    }
}

/// Nobody listens any more.
struct Closed;

/// Why a round ended.
enum End {
    /// The source is gone.
    Closed,
    /// Something failed.
    Trouble(Trouble),
}

impl From<Closed> for End {
    fn from(Closed: Closed) -> Self {
        End::Closed
    }
}

impl From<Trouble> for End {
    fn from(trouble: Trouble) -> Self {
        End::Trouble(trouble)
    }
}

/// A kind and how far it is.
pub(super) struct Watcher {
    kind: Kind,
    /// Where the server has it.
    place: Place,
    /// The only one that is watched, if it is not all.
    only: Option<One>,
    /// Objects of other kinds show up in it a second time.
    has_copies: bool,
    served: Served,
    settings: ClientSettings,
    news: mpsc::Sender<News>,
    /// `None` to read everything about the way to the server anew.
    client: Option<Client>,
    /// Whether the server streams lists, once that is known.
    streams: Option<bool>,
    /// From where to watch; `None` to list.
    version: Option<String>,
    /// Why there is no version any more.
    relist: Option<Relist>,
    /// Pages went stale before the last was read: ask for all at once.
    whole: bool,
    backoff: Backoff,
}

impl Watcher {
    pub(super) fn new(
        kind: Kind,
        served: Served,
        settings: ClientSettings,
        news: mpsc::Sender<News>,
    ) -> Self {
        Self {
            kind,
            place: kind.place(),
            only: None,
            has_copies: false,
            served,
            settings,
            news,
            client: None,
            streams: None,
            version: None,
            relist: None,
            whole: false,
            backoff: Backoff::default(),
        }
    }

    /// Of its kind only this one.
    pub(super) fn of(self, one: One) -> Self {
        Self { only: Some(one), ..self }
    }

    /// Watches until nobody listens any more, wherever the kind is served by then.
    pub(super) async fn run(mut self) {
        let (kind, mut served) = (self.kind, self.served.clone());
        loop {
            let now = served.of(kind);
            tokio::select! {
                Closed = self.stay(now.clone()) => return,
                () = served.changed(kind, &now) => {}
            }
        }
    }

    /// Does what is to be done while the kind is served like this.
    async fn stay(&mut self, served: Serving) -> Closed {
        // What was read elsewhere, or before the kind was gone, is not gone on with.
        self.version = None;
        self.backoff.reset();
        let news = match served {
            Serving::Unknown(trouble) => trouble.map(|trouble| News::Failed(self.kind, trouble)),
            Serving::Absent => Some(News::Absent(self.kind)),
            Serving::At { place, is_guess, has_copies } => {
                (self.place, self.has_copies) = (place, has_copies);
                return match self.tell(News::Found(place)).await {
                    Ok(()) => self.watch_on(is_guess).await,
                    Err(closed) => closed,
                };
            }
        };
        if let Some(news) = news
            && let Err(closed) = self.tell(news).await
        {
            return closed;
        }
        self.news.closed().await;
        Closed
    }

    /// Watches. Where it is but a `guess` that there is anything to watch, the first 404 says
    /// that there is not; otherwise it is only a reason to see whether the kind is gone.
    async fn watch_on(&mut self, is_guess: bool) -> Closed {
        loop {
            match self.round().await {
                Ok(()) => {}
                Err(End::Closed) => return Closed,
                Err(End::Trouble(trouble)) => {
                    self.learn(&trouble);
                    let wait = self.backoff.next(&trouble, random());
                    let is_gone = self.kind.is_optional() && trouble.cause == Cause::NotFound;
                    let news = if is_gone && is_guess {
                        News::Absent(self.kind)
                    } else {
                        News::Failed(self.kind, trouble)
                    };
                    if is_gone {
                        self.version = None;
                        self.served.look();
                    }
                    if self.tell(news).await.is_err() {
                        return Closed;
                    }
                    tokio::select! {
                        () = tokio::time::sleep(wait) => {}
                        () = self.news.closed() => return Closed,
                    }
                }
            }
        }
    }

    /// What is done otherwise from now on.
    fn learn(&mut self, trouble: &Trouble) {
        match trouble.cause {
            // The token, the certificate, or the address of the server may be others by now.
            Cause::Unauthorized | Cause::Config | Cause::Connection | Cause::Timeout => {
                self.client = None;
            }
            Cause::Gone if self.version.take().is_some() => self.relist = Some(Relist::Gone),
            Cause::Invalid if self.version.take().is_some() => self.relist = Some(Relist::Invalid),
            _ => {}
        }
    }

    /// One list if need be, and one watch.
    async fn round(&mut self) -> Result<(), End> {
        let client = match &self.client {
            Some(client) => client.clone(),
            None => {
                let client = connect(&self.settings).await;
                let client = client.map_err(|error| Trouble::no_client(&error))?;
                self.client.insert(client).clone()
            }
        };
        if let Some(only) = &mut self.only {
            only.namespace = client.default_namespace().into();
        }
        let Some(version) = self.version.clone() else {
            if self.streams(&client).await {
                return self.watch(&client, None).await;
            }
            let (version, readings) = self.list(&client).await?;
            self.version = Some(version);
            return Ok(self.listed(readings).await?);
        };
        self.watch(&client, Some(version)).await
    }

    /// Watches from a version, or from nothing where the server streams lists.
    async fn watch(&mut self, client: &Client, version: Option<String>) -> Result<(), End> {
        let (kind, place) = (self.kind, self.place);
        let mut staged = version.is_none().then(Vec::new);
        let jitter = u32::try_from(random() % WATCH_JITTER).unwrap_or_default();
        let parameters = WatchParams {
            timeout: Some(WATCH + jitter),
            send_initial_events: staged.is_some(),
            field_selector: self.selector(),
            ..WatchParams::default()
        };
        let version = version.unwrap_or_default();
        let request = Request::new(self.path()).watch(&parameters, &version);
        let request = request.map_err(|error| self.invalid(Verb::Watch, &error.to_string()))?;
        let stream = match timeout(REQUEST, client.request_stream(request)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                let trouble = Trouble::of(&error, Verb::Watch, place);
                let refused = matches!(trouble.cause, Cause::Server | Cause::Invalid);
                // Its version promised what it does not do.
                if staged.is_some() && refused {
                    self.streams = Some(false);
                }
                return Err(trouble.into());
            }
            Err(_) => {
                let why = format!("no answer for {} s", REQUEST.as_secs());
                return Err(Trouble::new(Cause::Timeout, Verb::Watch, place, &why).into());
            }
        };
        let begun = Instant::now();
        if staged.is_none() {
            self.tell(News::Heard(kind)).await?;
        }
        let mut heard_any = false;
        let mut lines = pin!(stream.lines());
        loop {
            let Ok(line) = timeout(SILENCE, lines.next()).await else {
                if staged.is_some() {
                    self.streams = Some(false);
                }
                let why = format!("silent for {} s", SILENCE.as_secs());
                return Err(Trouble::new(Cause::Timeout, Verb::Watch, place, &why).into());
            };
            let event = match line {
                Some(Ok(line)) => wire::event(kind, &line).map_err(|why| (line, why)),
                Some(Err(error)) => {
                    return Err(Trouble::new(
                        Cause::Connection,
                        Verb::Watch,
                        place,
                        &error.to_string(),
                    )
                    .into());
                }
                None if staged.is_some() || (!heard_any && begun.elapsed() < SHORT) => {
                    let why = "the server ended it at once";
                    return Err(Trouble::new(Cause::Connection, Verb::Watch, place, why).into());
                }
                None => return Ok(()),
            };
            let event = match event {
                Ok(event) => event,
                // The last line of a connection that broke is often half a line.
                Err((line, why)) => {
                    tracing::debug!(kind = kind.name(), line, why, "not an event");
                    return Err(match timeout(HALF_LINE, lines.next()).await {
                        Ok(None | Some(Err(_))) => {
                            let why = "the connection broke";
                            Trouble::new(Cause::Connection, Verb::Watch, place, why).into()
                        }
                        Ok(Some(Ok(_))) | Err(_) => self.invalid(Verb::Watch, &why).into(),
                    });
                }
            };
            heard_any = true;
            self.take(event, &mut staged).await?;
        }
    }

    async fn take(&mut self, event: Event, staged: &mut Option<Vec<Reading>>) -> Result<(), End> {
        let kind = self.kind;
        let (news, version) = match event {
            Event::Error { code, message } => {
                return Err(Trouble::of_status(code, &message, Verb::Watch, self.place).into());
            }
            Event::Bookmark { version, ends_list } => {
                self.backoff.reset();
                if ends_list && let Some(readings) = staged.take() {
                    self.version = version;
                    return Ok(self.listed(readings).await?);
                }
                (Some(News::Heard(kind)), version)
            }
            Event::Applied { reading, version } => {
                let is_copy = self.is_copy(reading.key.as_ref());
                if let Some(staged) = staged {
                    staged.extend((!is_copy).then_some(reading));
                    return Ok(());
                }
                ((!is_copy).then_some(News::Applied { kind, reading }), version)
            }
            Event::Deleted { key, version } => {
                (key.map(|key| News::Deleted { kind, key }), version)
            }
        };
        // A list that is not at its end cannot be gone on with.
        if staged.is_some() {
            return Ok(());
        }
        self.backoff.reset();
        if let Some(news) = news {
            self.tell(news).await?;
        }
        if version.is_some() {
            self.version = version;
        }
        Ok(())
    }

    async fn listed(&mut self, readings: Vec<Reading>) -> Result<(), Closed> {
        let why = self.relist.take();
        self.tell(News::Listed { kind: self.kind, readings, why }).await
    }

    async fn tell(&self, news: News) -> Result<(), Closed> {
        let news = match &self.only {
            Some(one) => News::OfSecret(one.clone(), Box::new(news)),
            None => news,
        };
        self.news.send(news).await.map_err(|_| Closed)
    }

    /// Whether an object is only the picture of another.
    fn is_copy(&self, key: Option<&Key>) -> bool {
        let name = key.and_then(|key| match key {
            Key::Policy(id) => Some(&id.name),
            _ => None,
        });
        self.has_copies && name.is_some_and(|name| is_copy(self.kind, name))
    }

    /// Where the server has what is watched.
    fn path(&self) -> String {
        self.only.as_ref().map_or_else(|| self.place.path(), |one| one.path(self.place))
    }

    /// What picks that out.
    fn selector(&self) -> Option<String> {
        self.only.as_ref().map(One::selector)
    }

    fn invalid(&self, verb: Verb, why: &str) -> Trouble {
        let why = format!("not an answer of the API: {why}");
        Trouble::new(Cause::Invalid, verb, self.place, &why)
    }
}

pub(super) fn random() -> u64 {
    RandomState::new().hash_one(0)
}
