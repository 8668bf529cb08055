//! Which of the kinds that an API server need not have it has, and in which API. That is looked
//! at every few seconds, so that kinds come and go while we run.
//!
//! A watch of `customresourcedefinitions` would say it sooner, but is a right that we do not
//! need otherwise, and knows nothing of aggregated APIs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use serde::Deserialize;
use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout};

use super::client::{ClientSettings, ConnectError, REQUEST, connect};
use super::trouble::{Cause, Trouble, Verb};
use super::watcher::random;
use crate::cluster::kind::{CALICO, CALICO_STORE, Kind, Place};

/// The longest time from one look to the next.
const EVERY: Duration = Duration::from_secs(6);
/// Somebody who noticed that a kind is gone is followed by others at once: one look for all.
const TOGETHER: Duration = Duration::from_millis(250);

/// How a kind is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Serving {
    /// It is not known yet; why, if something failed.
    Unknown(Option<Trouble>),
    /// The server does not have it.
    Absent,
    /// Here.
    At {
        place: Place,
        /// The server keeps to itself what it serves: it may not even be there.
        is_guess: bool,
        /// Objects of other kinds show up in it a second time ([`is_copy`]).
        has_copies: bool,
    },
}

/// How the optional kinds are served.
type Found = BTreeMap<Kind, Serving>;

/// Where a watcher hears how its kind is served.
#[derive(Clone)]
pub(super) struct Served {
    found: watch::Receiver<Found>,
    look: Arc<Notify>,
}

impl Served {
    /// How the kind is served.
    pub(super) fn of(&self, kind: Kind) -> Serving {
        if !kind.is_optional() {
            return Serving::At { place: kind.place(), is_guess: false, has_copies: false };
        }
        self.found.borrow().get(&kind).cloned().unwrap_or(Serving::Unknown(None))
    }

    /// Waits until the kind is served otherwise than `now`.
    pub(super) async fn changed(&mut self, kind: Kind, now: &Serving) {
        while self.of(kind) == *now {
            if self.found.changed().await.is_err() {
                // Whoever looked has ended, and all with it.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Has it looked at soon: something seems to be gone.
    pub(super) fn look(&self) {
        self.look.notify_one();
    }
}

/// Looks.
pub(super) struct Discovery {
    settings: ClientSettings,
    /// `None` to read everything about the way to the server anew.
    client: Option<Client>,
    found: watch::Sender<Found>,
    look: Arc<Notify>,
}

impl Discovery {
    /// One, and where it is heard of.
    pub(super) fn new(settings: ClientSettings) -> (Self, Served) {
        let (found, receiver) = watch::channel(Found::new());
        let look = Arc::new(Notify::new());
        let served = Served { found: receiver, look: Arc::clone(&look) };
        (Self { settings, client: None, found, look }, served)
    }

    /// Looks until nobody listens any more.
    pub(super) async fn run(mut self) {
        loop {
            let answers = self.ask().await;
            let before = self.found.borrow().clone();
            let optional = Kind::ALL.into_iter().filter(|kind| kind.is_optional());
            let found: Found =
                optional.map(|kind| (kind, serving(kind, &answers, before.get(&kind)))).collect();
            for (kind, now) in &found {
                log(*kind, before.get(kind), now);
            }
            self.found.send_if_modified(|known| {
                let is_new = *known != found;
                *known = found;
                is_new
            });
            tokio::select! {
                () = sleep(jittered()) => {}
                () = self.look.notified() => sleep(TOGETHER).await,
                () = self.found.closed() => return,
            }
        }
    }

    /// Asks for each API what it has.
    async fn ask(&mut self) -> Answers {
        let apis: BTreeSet<&'static str> =
            Kind::ALL.iter().flat_map(|kind| kind.optional_apis()).copied().collect();
        let client = match &self.client {
            Some(client) => client.clone(),
            None => match connect(&self.settings).await {
                Ok(client) => self.client.insert(client).clone(),
                Err(error) => {
                    let failed = |api| (api, Answer::Failed(Failure::NoClient(error.clone())));
                    return apis.into_iter().map(failed).collect();
                }
            },
        };
        let ask = |api| {
            let client = client.clone();
            async move { (api, resources(&client, api).await) }
        };
        let answers: Answers =
            futures::future::join_all(apis.into_iter().map(ask)).await.into_iter().collect();
        let is_lost = |answer: &Answer| match answer {
            Answer::Failed(Failure::NoClient(_) | Failure::Late) => true,
            Answer::Failed(Failure::Said(error)) => match error.as_ref() {
                kube::Error::Api(status) => status.code == 401,
                _ => true,
            },
            Answer::Failed(Failure::Invalid(_)) | Answer::Has(_) | Answer::Hidden => false,
        };
        if answers.values().any(is_lost) {
            self.client = None;
        }
        answers
    }
}

/// By API.
type Answers = BTreeMap<&'static str, Answer>;

/// What is said of an API.
#[derive(Clone, Debug)]
enum Answer {
    /// It has these resources that can be listed and watched; none without the API.
    Has(BTreeSet<String>),
    /// We may not know.
    Hidden,
    /// Nothing.
    Failed(Failure),
}

#[derive(Clone, Debug)]
enum Failure {
    NoClient(ConnectError),
    Late,
    Said(Arc<kube::Error>),
    Invalid(String),
}

impl Failure {
    fn trouble(&self, place: Place) -> Trouble {
        match self {
            Failure::NoClient(error) => Trouble::no_client(error),
            Failure::Late => {
                let why = format!("no answer for {} s", REQUEST.as_secs());
                Trouble::new(Cause::Timeout, Verb::Discover, place, &why)
            }
            Failure::Said(error) => Trouble::of(error, Verb::Discover, place),
            Failure::Invalid(why) => Trouble::new(Cause::Invalid, Verb::Discover, place, why),
        }
    }
}

/// As much of an `APIResourceList` as is used.
#[derive(Deserialize)]
struct RawResources {
    resources: Vec<RawResource>,
}

#[derive(Deserialize)]
struct RawResource {
    name: String,
    #[serde(default)]
    verbs: Vec<String>,
}

async fn resources(client: &Client, api: &str) -> Answer {
    let failed = |failure| Answer::Failed(failure);
    let request = match hyper::Request::get(format!("/apis/{api}")).body(Vec::new()) {
        Ok(request) => request,
        Err(error) => return failed(Failure::Invalid(error.to_string())),
    };
    match timeout(REQUEST, client.request_text(request)).await {
        Err(_) => failed(Failure::Late),
        Ok(Err(kube::Error::Api(status))) if status.code == 404 => Answer::Has(BTreeSet::new()),
        Ok(Err(kube::Error::Api(status))) if status.code == 403 => Answer::Hidden,
        Ok(Err(error)) => failed(Failure::Said(Arc::new(error))),
        Ok(Ok(text)) => read(&text).map_or_else(|why| failed(Failure::Invalid(why)), Answer::Has),
    }
}

/// The resources of an `APIResourceList` that can be listed and watched.
fn read(text: &str) -> Result<BTreeSet<String>, String> {
    let list: RawResources =
        serde_json::from_str(text).map_err(|error| format!("not an answer of the API: {error}"))?;
    let can = |resource: &RawResource| {
        ["list", "watch"].iter().all(|verb| resource.verbs.iter().any(|one| one == verb))
    };
    Ok(list.resources.into_iter().filter(can).map(|resource| resource.name).collect())
}

/// How a kind is served by now. Who does not answer has what it had: that something is gone is
/// only believed of who says so.
fn serving(kind: Kind, answers: &Answers, before: Option<&Serving>) -> Serving {
    let has = |api: &str| match answers.get(api) {
        Some(Answer::Has(resources)) => resources.contains(kind.plural()),
        Some(Answer::Hidden | Answer::Failed(_)) | None => false,
    };
    for api in kind.optional_apis() {
        let place = Place { kind, api };
        match answers.get(api) {
            Some(Answer::Has(_)) if has(api) => {
                let has_copies = *api == CALICO && has(CALICO_STORE);
                return Serving::At { place, is_guess: false, has_copies };
            }
            Some(Answer::Has(_)) | None => {}
            Some(Answer::Hidden) => {
                return Serving::At { place, is_guess: true, has_copies: false };
            }
            Some(Answer::Failed(failure)) => match before {
                Some(known @ (Serving::At { .. } | Serving::Absent)) => return known.clone(),
                Some(Serving::Unknown(_)) | None => {
                    return Serving::Unknown(Some(failure.trouble(place)));
                }
            },
        }
    }
    Serving::Absent
}

/// Whether an object is only another's picture: Calico's API server shows the policies of
/// Kubernetes among its own, under these names, which nobody may give to others there.
pub(super) fn is_copy(kind: Kind, name: &str) -> bool {
    let prefixes: &[&str] = match kind {
        Kind::CalicoNetworkPolicy => &["knp.default."],
        // Those of AdminNetworkPolicies are not: we do not read these themselves.
        Kind::GlobalNetworkPolicy => &["kcnp."],
        Kind::Node
        | Kind::Namespace
        | Kind::ServiceAccount
        | Kind::Pod
        | Kind::Service
        | Kind::EndpointSlice
        | Kind::Tier
        | Kind::Profile
        | Kind::GlobalNetworkSet
        | Kind::NetworkSet
        | Kind::HostEndpoint
        | Kind::NetworkPolicy
        | Kind::ClusterNetworkPolicy
        | Kind::StagedKubernetesNetworkPolicy
        | Kind::StagedNetworkPolicy
        | Kind::StagedGlobalNetworkPolicy
        | Kind::BgpConfiguration
        | Kind::BgpFilter
        | Kind::BgpPeer
        | Kind::Secret => &[],
    };
    prefixes.iter().any(|prefix| name.starts_with(prefix))
}

fn log(kind: Kind, before: Option<&Serving>, now: &Serving) {
    let resource = kind.resource();
    match (before, now) {
        (before, now) if before == Some(now) => {}
        (None | Some(Serving::Unknown(_)), Serving::Absent) => {
            tracing::debug!(resource, "the API server does not have the kind");
        }
        (_, Serving::Absent) => {
            tracing::warn!(resource, "the API server does not have the kind any more");
        }
        (_, Serving::At { place, .. }) => {
            tracing::info!(resource, api = place.api, "the API server has the kind");
        }
        (_, Serving::Unknown(_)) => {}
    }
}

/// The time to the next look: nodes that began together shall not go on so.
fn jittered() -> Duration {
    EVERY - EVERY.mul_f64((random() % 1_000) as f64 / 3_000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has(resources: &[&str]) -> Answer {
        Answer::Has(resources.iter().map(|name| (*name).to_owned()).collect())
    }

    fn failed() -> Answer {
        Answer::Failed(Failure::Late)
    }

    fn at(api: &'static str) -> Serving {
        let place = Place { kind: Kind::Tier, api };
        Serving::At { place, is_guess: false, has_copies: false }
    }

    #[test]
    fn one_api_counts_and_only_who_says_so_has_nothing() {
        let guess = Serving::At { place: Kind::Tier.place(), is_guess: true, has_copies: false };
        let both = Serving::At { place: Kind::Tier.place(), is_guess: false, has_copies: true };
        let late = Failure::Late.trouble(Kind::Tier.place());
        let unknown = Serving::Unknown(Some(late));
        for (v3, store, before, want) in [
            (has(&["tiers"]), has(&[]), None, at(CALICO)),
            (has(&["tiers"]), has(&["tiers"]), None, both),
            (has(&["profiles"]), has(&["tiers"]), None, at(CALICO_STORE)),
            (has(&[]), has(&[]), None, Serving::Absent),
            (has(&[]), has(&[]), Some(at(CALICO)), Serving::Absent),
            // Another API never stands in for one that does not answer.
            (failed(), has(&["tiers"]), None, unknown.clone()),
            (failed(), has(&["tiers"]), Some(at(CALICO)), at(CALICO)),
            (failed(), has(&[]), Some(Serving::Absent), Serving::Absent),
            (has(&["tiers"]), failed(), None, at(CALICO)),
            (has(&[]), failed(), Some(at(CALICO)), at(CALICO)),
            (has(&[]), failed(), None, {
                let place = Place { kind: Kind::Tier, api: CALICO_STORE };
                Serving::Unknown(Some(Failure::Late.trouble(place)))
            }),
            (failed(), failed(), Some(Serving::Unknown(None)), unknown.clone()),
            (Answer::Hidden, Answer::Hidden, None, guess),
        ] {
            let answers = Answers::from([(CALICO, v3.clone()), (CALICO_STORE, store.clone())]);
            let got = serving(Kind::Tier, &answers, before.as_ref());
            assert_eq!(got, want, "{v3:?} {store:?} {before:?}");
        }
        let message = Failure::Late.trouble(Kind::Tier.place()).message;
        assert_eq!(message, "discover tiers: no answer for 30 s");
    }

    #[test]
    fn what_cannot_be_watched_is_not_served() {
        let text = r#"{"kind":"APIResourceList","groupVersion":"projectcalico.org/v3","resources":[
            {"name":"tiers","verbs":["get","list","watch"]},
            {"name":"profiles","verbs":["get","list"]},
            {"name":"tiers/status"}]}"#;
        assert_eq!(read(text), Ok(BTreeSet::from(["tiers".to_owned()])));
        for text in ["", "{}", "[]", r#"{"resources":7}"#] {
            assert!(read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn policies_of_kubernetes_show_up_twice() {
        for (kind, name, want) in [
            (Kind::CalicoNetworkPolicy, "knp.default.db", true),
            (Kind::CalicoNetworkPolicy, "knp.defaultdb", false),
            (Kind::CalicoNetworkPolicy, "default.db", false),
            (Kind::GlobalNetworkPolicy, "kcnp.db", true),
            (Kind::GlobalNetworkPolicy, "kanp.adminnetworkpolicy.db", false),
            (Kind::NetworkPolicy, "knp.default.db", false),
        ] {
            assert_eq!(is_copy(kind, name), want, "{kind:?} {name}");
        }
    }
}
