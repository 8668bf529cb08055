//! What all three kinds have in common when they are read, and Secrets.

use std::sync::Arc;
use std::time::Duration;

use brindle_bgp::fsm::RestartTime;
use brindle_bgp::net::Asn;
use brindle_policy::selector::{self, Expr};
use k8s_openapi::api::core::v1::Secret as RawSecret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::api::{self, BgpPassword, NumberOrText};
use super::{BgpFilter, BgpPeer, Configuration, Secret, SecretRef, configuration, filter, peer};
use crate::cluster::node::BadField;

/// What was found while an object was read.
#[derive(Debug, Default)]
pub(crate) struct Judged {
    /// What is wrong: with anything in it the object is refused.
    pub(crate) wrong: Vec<BadField>,
    /// What is right and does nothing here.
    pub(crate) idle: Vec<BadField>,
}

/// An object that was read, with what it has that does nothing here; or all that is wrong.
pub(crate) type Reading<T> = Result<(T, Vec<BadField>), Vec<BadField>>;

impl Judged {
    /// Notes that a field is wrong.
    pub(super) fn refuse(&mut self, field: impl Into<String>, message: impl Into<String>) {
        self.wrong.push(BadField { field: field.into(), message: message.into() });
    }

    /// Notes that a field does nothing here.
    pub(super) fn idle(&mut self, field: impl Into<String>, message: impl Into<String>) {
        self.idle.push(BadField { field: field.into(), message: message.into() });
    }

    fn end<T>(self, object: T) -> Reading<T> {
        if self.wrong.is_empty() { Ok((object, self.idle)) } else { Err(self.wrong) }
    }

    /// What every object must have.
    fn name(&mut self, metadata: &ObjectMeta) -> Arc<str> {
        let name = metadata.name.as_deref().unwrap_or_default();
        if !brindle_config::is_dns_subdomain(name) {
            let message = format!(
                "{name:?} is no name; accepted are lower-case letters, digits, \"-\" and \".\""
            );
            self.refuse("metadata.name", message);
        }
        name.into()
    }

    /// A selector of nodes.
    pub(super) fn selector(&mut self, field: &str, text: &str) -> Expr {
        selector::parse(text).unwrap_or_else(|error| {
            self.refuse(field, error.to_string());
            Expr::Nothing
        })
    }

    /// An AS number; `None` if it is wrong.
    pub(super) fn as_number(&mut self, field: &str, value: &NumberOrText) -> Option<Asn> {
        let text = match value {
            NumberOrText::Number(number) => number.to_string(),
            NumberOrText::Text(text) => text.clone(),
        };
        match text.parse() {
            Ok(asn) => Some(asn),
            Err(error) => {
                self.refuse(field, format!("{error}"));
                None
            }
        }
    }

    /// One of some words; the first if it is left out or wrong.
    pub(super) fn word<T: Copy>(
        &mut self,
        field: &str,
        text: Option<&str>,
        words: &[(&str, T)],
    ) -> Option<T> {
        let text = text.filter(|text| !text.is_empty())?;
        let found = words.iter().find(|(word, _)| *word == text);
        if found.is_none() {
            let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            self.refuse(field, format!("{text:?}: accepted are {}", words.join(", ")));
        }
        found.map(|(_, value)| *value)
    }

    /// A whole number of a range.
    pub(super) fn number<T: TryFrom<i64>>(
        &mut self,
        field: &str,
        value: Option<i64>,
        (least, most): (i64, i64),
    ) -> Option<T> {
        let value = value?;
        let number = T::try_from(value).ok().filter(|_| (least..=most).contains(&value));
        if number.is_none() {
            self.refuse(field, format!("{value}: accepted are {least} to {most}"));
        }
        number
    }

    /// A time such as `1m30s`.
    pub(super) fn time(&mut self, field: &str, text: Option<&str>) -> Option<Duration> {
        let text = text.filter(|text| !text.is_empty())?;
        let time = duration(text);
        if time.is_none() {
            self.refuse(field, format!("{text:?} is no time; accepted are such as 90s and 1m30s"));
        }
        time
    }

    /// A time that a peer is told of our restart.
    pub(super) fn restart_time(&mut self, field: &str, text: Option<&str>) -> Option<RestartTime> {
        let time = self.time(field, text)?;
        let seconds = u16::try_from(time.as_secs()).ok();
        let time = seconds.and_then(|seconds| RestartTime::from_secs(seconds).ok());
        if time.is_none() {
            self.refuse(field, format!("{:?}: accepted are 1s to 4095s", text.unwrap_or_default()));
        }
        time
    }

    /// Where a password is kept.
    pub(super) fn password(
        &mut self,
        field: &str,
        password: Option<&BgpPassword>,
    ) -> Option<SecretRef> {
        let at = password?.secret_key_ref.as_ref();
        let part = |text: Option<&String>| {
            text.filter(|text| !text.is_empty()).map(|text| Arc::from(&**text))
        };
        let name = at.and_then(|at| part(at.name.as_ref()));
        let key = at.and_then(|at| part(at.key.as_ref()));
        match (name, key) {
            (Some(name), Some(key)) => {
                let optional = at.and_then(|at| at.optional) == Some(true);
                Some(SecretRef { name, key, optional })
            }
            (name, _) => {
                let missing = if name.is_none() { "name" } else { "key" };
                self.refuse(
                    format!("{field}.secretKeyRef.{missing}"),
                    "is missing; accepted are the name of a Secret and a key of its data",
                );
                None
            }
        }
    }
}

/// A time as Kubernetes writes it: numbers with units, the largest first.
fn duration(text: &str) -> Option<Duration> {
    let units = [("ms", 1_u64), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)];
    let mut rest = text;
    let mut millis = 0_u64;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, after) = rest.split_at_checked(end)?;
        let (unit, size) = units.into_iter().find(|(unit, _)| after.starts_with(unit))?;
        millis = number.parse::<u64>().ok()?.checked_mul(size)?.checked_add(millis)?;
        rest = after.strip_prefix(unit)?;
    }
    Some(Duration::from_millis(millis))
}

/// What a BGPPeer says.
pub(crate) fn read_peer(object: &api::BgpPeer) -> Reading<BgpPeer> {
    let mut judged = Judged::default();
    let name = judged.name(&object.metadata);
    let spec = object.spec.clone().unwrap_or_default();
    let annotations = object.metadata.annotations.as_ref();
    let extras = annotations.and_then(|all| all.get(peer::EXTRAS)).map(String::as_str);
    let peer = peer::read(name, &spec, extras, &mut judged);
    match peer {
        Some(peer) => judged.end(peer),
        None => Err(judged.wrong),
    }
}

/// What a BGPConfiguration says.
pub(crate) fn read_configuration(object: &api::BgpConfiguration) -> Reading<Configuration> {
    let mut judged = Judged::default();
    let name = judged.name(&object.metadata);
    let spec = object.spec.clone().unwrap_or_default();
    let configuration = configuration::read(name, &spec, &mut judged);
    judged.end(configuration)
}

/// What a BGPFilter says.
pub(crate) fn read_filter(object: &api::BgpFilter) -> Reading<BgpFilter> {
    let mut judged = Judged::default();
    let name = judged.name(&object.metadata);
    let spec = object.spec.clone().unwrap_or_default();
    let filter = filter::read(name, &spec, &mut judged);
    judged.end(filter)
}

/// What a Secret holds.
pub(crate) fn read_secret(object: &RawSecret) -> Reading<Secret> {
    let mut judged = Judged::default();
    let name = judged.name(&object.metadata);
    let namespace = object.metadata.namespace.as_deref().unwrap_or_default().into();
    let data = object.data.iter().flatten().map(|(key, value)| (&**key, &*value.0));
    // As the API server does: what is written as text counts.
    let texts = object.string_data.iter().flatten();
    let texts = texts.map(|(key, value)| (&**key, value.as_bytes()));
    let data = data.chain(texts).map(|(key, value)| (Arc::from(key), Arc::from(value))).collect();
    judged.end(Secret { namespace, name, data: Ok(data) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_kubernetes() {
        for (text, want) in [
            ("90s", Some(90_000)),
            ("1m30s", Some(90_000)),
            ("2h", Some(7_200_000)),
            ("1500ms", Some(1_500)),
            ("0s", Some(0)),
            ("90", None),
            ("s", None),
            ("1d", None),
            ("-1s", None),
            ("1.5s", None),
            ("99999999999999999999s", None),
        ] {
            assert_eq!(duration(text), want.map(Duration::from_millis), "{text}");
        }
    }
}
