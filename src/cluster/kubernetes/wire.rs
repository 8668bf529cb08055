//! What the API server writes, taken apart: pages of lists and lines of watches. An object
//! inside that is wrong refuses itself alone.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::cluster::kind::Kind;
use crate::cluster::object::Key;
use crate::cluster::typed::{self, Reading};

/// A page of a list.
pub(super) struct Page {
    /// From where to watch once the last page is read.
    pub(super) version: String,
    /// What asks for the next page; `None` on the last.
    pub(super) rest: Option<String>,
    pub(super) readings: Vec<Reading>,
}

/// A line of a watch.
pub(super) enum Event {
    /// An object is there, new or changed. The version is from where to watch after it.
    Applied { reading: Reading, version: Option<String> },
    /// An object is gone; `None` if it cannot be told which.
    Deleted { key: Option<Key>, version: Option<String> },
    /// Nothing happened up to this version. The first of a streaming list says when all that
    /// there is has been told.
    Bookmark { version: Option<String>, ends_list: bool },
    /// The server ends the watch.
    Error { code: u16, message: String },
}

#[derive(Deserialize)]
struct RawPage<'t> {
    metadata: RawMetadata,
    #[serde(borrow, default)]
    items: Option<Vec<&'t RawValue>>,
}

#[derive(Deserialize)]
struct RawEvent<'t> {
    #[serde(rename = "type")]
    what: String,
    #[serde(borrow)]
    object: &'t RawValue,
}

/// As much of an object as any has.
#[derive(Deserialize)]
struct RawObject {
    metadata: RawMetadata,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct RawMetadata {
    name: Option<String>,
    namespace: Option<String>,
    resource_version: Option<String>,
    #[serde(rename = "continue")]
    rest: Option<String>,
    annotations: Option<RawAnnotations>,
}

#[derive(Deserialize)]
struct RawAnnotations {
    #[serde(rename = "k8s.io/initial-events-end")]
    initial_events_end: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawStatus {
    code: u16,
    message: String,
}

/// Reads a page of a list of a kind.
///
/// # Errors
/// If it is no list; nothing of it counts then.
pub(super) fn page(kind: Kind, text: &str) -> Result<Page, String> {
    let page: RawPage<'_> = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let full = |text: Option<String>| text.filter(|text| !text.is_empty());
    let items = page.items.unwrap_or_default();
    Ok(Page {
        version: full(page.metadata.resource_version)
            .ok_or("a list without metadata.resourceVersion")?,
        rest: full(page.metadata.rest),
        readings: items.into_iter().map(|item| typed::read_json(kind, item.get())).collect(),
    })
}

/// Reads a line of a watch of a kind.
///
/// # Errors
/// If it is no event.
pub(super) fn event(kind: Kind, line: &str) -> Result<Event, String> {
    let event: RawEvent<'_> = serde_json::from_str(line).map_err(|error| error.to_string())?;
    let text = event.object.get();
    if event.what == "ERROR" {
        let status: RawStatus = serde_json::from_str(text).unwrap_or_default();
        return Ok(Event::Error { code: status.code, message: status.message });
    }
    // An object whose metadata cannot be read has no version either; the watch goes on from
    // the one before.
    let metadata = serde_json::from_str(text).map(|object: RawObject| object.metadata);
    let metadata = metadata.unwrap_or_default();
    let version = metadata.resource_version.filter(|version| !version.is_empty());
    match event.what.as_str() {
        "ADDED" | "MODIFIED" => {
            Ok(Event::Applied { reading: typed::read_json(kind, text), version })
        }
        "DELETED" => {
            let (namespace, name) = (metadata.namespace.as_deref(), metadata.name.as_deref());
            Ok(Event::Deleted { key: typed::key_of(kind, namespace, name), version })
        }
        "BOOKMARK" => {
            let end = metadata.annotations.and_then(|annotations| annotations.initial_events_end);
            Ok(Event::Bookmark { version, ends_list: end.as_deref() == Some("true") })
        }
        other => Err(format!("an event of type {other:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outline(event: Event) -> String {
        match event {
            Event::Applied { reading, version } => {
                let key = reading.key.map_or("?".to_owned(), |key| key.to_string());
                let bad =
                    |b: &crate::cluster::node::BadField| format!("{}: {}", b.field, b.message);
                let state = match &reading.object {
                    Ok(_) if reading.doubts.is_empty() => "good".to_owned(),
                    Ok(_) => format!(
                        "doubts [{}]",
                        reading.doubts.iter().map(bad).collect::<Vec<_>>().join("; ")
                    ),
                    Err(fields) => {
                        format!("bad [{}]", fields.iter().map(bad).collect::<Vec<_>>().join("; "))
                    }
                };
                format!("applied {key} at {}: {state}", version.unwrap_or_default())
            }
            Event::Deleted { key, version } => {
                let key = key.map_or("?".to_owned(), |key| key.to_string());
                format!("deleted {key} at {}", version.unwrap_or_default())
            }
            Event::Bookmark { version, ends_list } => {
                format!("bookmark {} {ends_list}", version.unwrap_or_default())
            }
            Event::Error { code, message } => format!("error {code} {message}"),
        }
    }

    #[test]
    fn lines_of_a_watch_are_what_they_say() {
        use Kind::{Namespace, NetworkPolicy, Node, Pod};
        let policy = |spec: &str| {
            format!(
                r#"{{"type":"ADDED","object":{{"metadata":{{"name":"p","namespace":"a",
                "resourceVersion":"7"}},"spec":{spec}}}}}"#
            )
        };
        for (kind, line, want) in [
            (
                Pod,
                r#"{"type":"ADDED","object":{"metadata":{"name":"web","namespace":"shop",
                "resourceVersion":"5","managedFields":[{"manager":"x"}]},
                "spec":{"containers":[],"newerThanWe":1}}}"#.to_owned(),
                "applied Pod/shop/web at 5: good",
            ),
            (
                Pod,
                r#"{"type":"MODIFIED","object":{"metadata":{"name":"web","namespace":"shop",
                "resourceVersion":"5"},"spec":{"containers":7}}}"#.to_owned(),
                "applied Pod/shop/web at 5: bad [spec.containers: invalid type: integer `7`, expected a sequence]",
            ),
            (Pod, r#"{"type":"ADDED","object":7}"#.to_owned(), "applied ? at : bad [: is not an object]"),
            (
                Node,
                r#"{"type":"MODIFIED","object":{"metadata":{"name":"n1","resourceVersion":"6"},
                "spec":{"podCIDR":"10.0.0.1/24"}}}"#.to_owned(),
                "applied Node/n1 at 6: bad [spec.podCIDR: \"10.0.0.1/24\" has host bits set; its network is 10.0.0.0/24]",
            ),
            (
                Namespace,
                r#"{"type":"DELETED","object":{"metadata":{"name":"shop","resourceVersion":"9"},"spec":7}}"#.to_owned(),
                "deleted Namespace/shop at 9",
            ),
            (Pod, r#"{"type":"DELETED","object":{"metadata":{"name":"web"}}}"#.to_owned(), "deleted ? at "),
            (NetworkPolicy, policy(r#"{"podSelector":{}},"status":{"conditions":[]}"#), "applied NetworkPolicy/a/p at 7: good"),
            (
                NetworkPolicy,
                policy(r#"{"podSelector":{},"ingress":[{"fromNewer":[]}]}"#),
                "applied NetworkPolicy/a/p at 7: doubts [spec.ingress[0].fromNewer: a NetworkPolicy has no such field; its rule allows nothing until that is mended]",
            ),
            (
                Pod,
                r#"{"type":"BOOKMARK","object":{"kind":"Pod","metadata":{"resourceVersion":"12","creationTimestamp":null}}}"#.to_owned(),
                "bookmark 12 false",
            ),
            (
                Pod,
                r#"{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"12","annotations":{"k8s.io/initial-events-end":"true"}}}}"#.to_owned(),
                "bookmark 12 true",
            ),
            (
                Pod,
                r#"{"type":"ERROR","object":{"kind":"Status","code":410,"message":"too old resource version"}}"#.to_owned(),
                "error 410 too old resource version",
            ),
        ] {
            let got = event(kind, &line).unwrap_or_else(|error| panic!("{line}: {error}"));
            assert_eq!(outline(got), want, "{line}");
        }
        for line in ["", "{", "7", r#"{"type":"OTHER","object":{}}"#, r#"{"object":{}}"#] {
            assert!(event(Pod, line).is_err(), "{line}");
        }
    }

    #[test]
    fn a_bad_object_leaves_its_page_alone() {
        let text = r#"{"kind":"PodList","metadata":{"resourceVersion":"40","continue":"x=="},
            "items":[{"metadata":{"name":"a","namespace":"d"},"spec":{"containers":[]}},
                     {"metadata":{"name":7,"namespace":"d"}},
                     {"metadata":{"name":"c","namespace":"d"},"status":{"podIP":7}}]}"#;
        let page = page(Kind::Pod, text).expect("a page");
        assert_eq!((page.version.as_str(), page.rest.as_deref()), ("40", Some("x==")));
        let keys: Vec<_> =
            page.readings.iter().map(|r| r.key.as_ref().map(Key::to_string)).collect();
        assert_eq!(keys, [Some("Pod/d/a".to_owned()), None, Some("Pod/d/c".to_owned())]);
        assert_eq!(
            page.readings.iter().map(|r| r.object.is_ok()).collect::<Vec<_>>(),
            [true, false, false]
        );
        let last = super::page(
            Kind::Pod,
            r#"{"metadata":{"resourceVersion":"1","continue":""},"items":null}"#,
        );
        assert!(last.is_ok_and(|page| page.rest.is_none() && page.readings.is_empty()));
        for text in [
            "",
            "{}",
            "[]",
            r#"{"metadata":{},"items":[]}"#,
            r#"{"metadata":{"resourceVersion":"1"},"items":7}"#,
        ] {
            assert!(super::page(Kind::Pod, text).is_err(), "{text}");
        }
    }
}
