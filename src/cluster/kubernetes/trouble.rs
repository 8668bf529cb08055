//! What can go wrong between the API server and us, in words that say what to do.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use super::client::ConnectError;
use crate::cluster::kind::Place;

/// Why a request failed, as metrics name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// There is no usable kubeconfig or service account.
    Config,
    /// No connection, or it broke.
    Connection,
    /// No answer in time.
    Timeout,
    /// 401: the server does not know who we are (any more).
    Unauthorized,
    /// 403: we may not.
    Forbidden,
    /// 404: the server does not have the kind.
    NotFound,
    /// 410: the versions to go on from are forgotten.
    Gone,
    /// 429: too many requests.
    Throttled,
    /// Another status, mostly 5xx.
    Server,
    /// The answer is not what the API says.
    Invalid,
}

impl Cause {
    /// As the label `reason` has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Cause::Config => "config",
            Cause::Connection => "connection",
            Cause::Timeout => "timeout",
            Cause::Unauthorized => "unauthorized",
            Cause::Forbidden => "forbidden",
            Cause::NotFound => "not_found",
            Cause::Gone => "gone",
            Cause::Throttled => "throttled",
            Cause::Server => "server",
            Cause::Invalid => "invalid",
        }
    }
}

/// What is asked of the API server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    List,
    Watch,
    /// See whether there is such a resource: no verb of roles, and always granted.
    Discover,
}

impl fmt::Display for Verb {
    /// As roles have it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Verb::List => "list",
            Verb::Watch => "watch",
            Verb::Discover => "discover",
        })
    }
}

/// A request that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// Why, in short.
    pub cause: Cause,
    /// Why, in a sentence that names the verb and the resource.
    pub message: String,
    /// What to do about it.
    pub next: String,
    /// How long the server wants to be left alone.
    pub(super) retry_after: Option<Duration>,
}

impl Trouble {
    /// Something that is none of the server's answers.
    pub(super) fn new(cause: Cause, verb: Verb, place: Place, why: &str) -> Self {
        let next = match cause {
            Cause::Connection | Cause::Timeout => {
                "see whether the API server runs and can be reached; it is tried again by itself"
            }
            _ => "see what answers in place of the API server; it is tried again by itself",
        };
        Self {
            cause,
            message: format!("{verb} {}: {why}", place.kind.plural()),
            next: next.to_owned(),
            retry_after: None,
        }
    }

    /// There is no way to the server.
    pub(super) fn no_client(error: &ConnectError) -> Self {
        Self {
            cause: Cause::Config,
            message: error.to_string(),
            next: "mend source.kubeconfig or the file; it is read again by itself".to_owned(),
            retry_after: None,
        }
    }

    /// What the client says of a request.
    pub(super) fn of(error: &kube::Error, verb: Verb, place: Place) -> Self {
        match error {
            kube::Error::Api(status) => {
                let after = status.details.as_ref().map(|details| details.retry_after_seconds);
                let after = after.filter(|seconds| *seconds > 0);
                let trouble = Self::of_status(status.code, &status.message, verb, place);
                Self { retry_after: after.map(|s| Duration::from_secs(s.into())), ..trouble }
            }
            kube::Error::Auth(error) => {
                let why = format!("no credentials: {}", chain(error));
                let next =
                    "mend the kubeconfig's user or its token file; it is read again by itself";
                Self { next: next.to_owned(), ..Self::new(Cause::Config, verb, place, &why) }
            }
            kube::Error::FromUtf8(_) | kube::Error::SerdeError(_) => {
                Self::new(Cause::Invalid, verb, place, &chain(error))
            }
            kube::Error::Service(error) => {
                Self::new(Cause::Connection, verb, place, &chain(error.as_ref()))
            }
            error => {
                let inner = error.source().map_or_else(|| error.to_string(), chain);
                Self::new(Cause::Connection, verb, place, &inner)
            }
        }
    }

    /// What a status of the server means.
    pub(super) fn of_status(code: u16, said: &str, verb: Verb, place: Place) -> Self {
        let (plural, group) = (place.kind.plural(), place.group());
        let said = if said.is_empty() { "no reason given" } else { said };
        let what = format!("{verb} {plural}");
        let (cause, message, next) = match code {
            401 => (
                Cause::Unauthorized,
                format!("{what}: the server does not accept our credentials (401 {said})"),
                "renew the token or certificate that the kubeconfig or service account names; it \
                 is read again by itself"
                    .to_owned(),
            ),
            403 => (
                Cause::Forbidden,
                format!("{what} is forbidden (403 {said})"),
                format!(
                    "grant the verbs \"list\" and \"watch\" on {plural} (apiGroups: [{group:?}]) \
                     to {}, in a ClusterRole with a ClusterRoleBinding",
                    user(said).unwrap_or("the agent's user")
                ),
            ),
            404 => (
                Cause::NotFound,
                format!("{what}: the server has none (404 {said})"),
                format!(
                    "see whether {} is served: kubectl get --raw {}",
                    place.kind.name(),
                    place.path()
                ),
            ),
            410 => (
                Cause::Gone,
                format!("{what}: the server has forgotten where we were (410 {said})"),
                "nothing; everything is listed anew".to_owned(),
            ),
            429 => (
                Cause::Throttled,
                format!("{what}: the server has too much to do (429 {said})"),
                "wait; it is tried again by itself".to_owned(),
            ),
            code => (
                Cause::Server,
                format!("{what}: the server failed ({code} {said})"),
                "see the API server's log; it is tried again by itself".to_owned(),
            ),
        };
        Self { cause, message, next, retry_after: None }
    }
}

/// The user that a refusal of the server names.
fn user(said: &str) -> Option<&str> {
    said.split_once("User \"")?.1.split_once('"').map(|(user, _)| user)
}

/// An error with what is behind it, each told once.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let said = inner.to_string();
        if !text.contains(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        source = inner.source();
    }
    text
}

/// How long to wait after failures.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
}

impl Backoff {
    const FIRST: Duration = Duration::from_millis(500);
    /// The longest wait.
    pub(super) const LONGEST: Duration = Duration::from_secs(30);
    /// The longest while only new credentials are waited for: they are often there already.
    pub(super) const CREDENTIALS: Duration = Duration::from_secs(10);

    /// It works again.
    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }

    /// The wait after one more failure: twice as long as after the one before, of which
    /// `random` takes away up to half, so that nodes do not come back all at once.
    pub(super) fn next(&mut self, trouble: &Trouble, random: u64) -> Duration {
        let longest = match trouble.cause {
            Cause::Unauthorized | Cause::Config => Self::CREDENTIALS,
            _ => Self::LONGEST,
        };
        let wait = Self::FIRST.saturating_mul(1 << self.failures.min(16)).min(longest);
        self.failures = self.failures.saturating_add(1);
        let asked = trouble.retry_after.unwrap_or_default().min(longest);
        let half = wait / 2;
        let share = random % 1_000;
        let jitter = half.mul_f64(share as f64 / 1_000.0);
        (wait - jitter).max(asked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::kind::Kind;

    #[test]
    fn a_refusal_says_what_to_grant_and_to_whom() {
        let said = "networkpolicies.networking.k8s.io is forbidden: User \
                    \"system:serviceaccount:kube-system:brindle\" cannot watch resource \
                    \"networkpolicies\" in API group \"networking.k8s.io\" at the cluster scope";
        let trouble = Trouble::of_status(403, said, Verb::Watch, Kind::NetworkPolicy.place());
        assert_eq!(trouble.cause, Cause::Forbidden);
        assert!(
            trouble.message.starts_with("watch networkpolicies is forbidden (403 "),
            "{trouble:?}"
        );
        assert_eq!(
            trouble.next,
            "grant the verbs \"list\" and \"watch\" on networkpolicies (apiGroups: \
             [\"networking.k8s.io\"]) to system:serviceaccount:kube-system:brindle, in a \
             ClusterRole with a ClusterRoleBinding"
        );
        let trouble = Trouble::of_status(403, "", Verb::List, Kind::Pod.place());
        assert!(
            trouble.next.contains("pods (apiGroups: [\"\"]) to the agent's user"),
            "{trouble:?}"
        );
    }

    #[test]
    fn waits_grow_to_a_limit_and_differ() {
        let trouble = |cause| Trouble::new(cause, Verb::List, Kind::Pod.place(), "no");
        let waits = |cause, random: u64| {
            let mut backoff = Backoff::default();
            let wait = |_| backoff.next(&trouble(cause), random).as_millis();
            (0..9).map(wait).collect::<Vec<_>>()
        };
        assert_eq!(
            waits(Cause::Connection, 0),
            [500, 1000, 2000, 4000, 8000, 16000, 30000, 30000, 30000]
        );
        assert_eq!(
            waits(Cause::Server, 500),
            [375, 750, 1500, 3000, 6000, 12000, 22500, 22500, 22500]
        );
        assert_eq!(waits(Cause::Unauthorized, 0)[8], 10000);
        let mut backoff = Backoff { failures: u32::MAX };
        assert_eq!(backoff.next(&trouble(Cause::Timeout), 0), Backoff::LONGEST);
        backoff.reset();
        let asked =
            Trouble { retry_after: Some(Duration::from_secs(7)), ..trouble(Cause::Throttled) };
        assert_eq!(backoff.next(&asked, 0), Duration::from_secs(7));
    }
}
