//! Names of objects, ports and labels: what the API server takes for one.

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::{Problems, shown};
use crate::model::Problem;

/// The namespace of objects that say none, as for `kubectl`.
const DEFAULT_NAMESPACE: &str = "default";

/// What [`is_subdomain`] takes, in words.
const SUBDOMAIN: &str = "up to 253 lower-case letters, digits, \"-\" and \".\", each part between \
                         dots with a letter or digit first and last";

/// `metadata.name`. Fails if there is none; one that the API server would refuse is a problem
/// only, since to ignore the object might open what it closes.
pub(super) fn name(
    kind: &str,
    metadata: &ObjectMeta,
    problems: &mut Problems,
) -> Result<Arc<str>, Problem> {
    let field = "metadata.name";
    let name = metadata.name.as_deref().unwrap_or_default();
    if name.is_empty() {
        let message = format!("a {kind} must have a name; this one is ignored");
        return Err(Problem { field: field.to_owned(), message });
    }
    if !is_subdomain(name) {
        let message = format!("{} is not a name; accepted are {SUBDOMAIN}", shown(name));
        problems.add(field, format!("{message}; the object counts nevertheless"));
    }
    Ok(name.into())
}

/// `metadata.namespace`, or `default` if it is missing.
pub(super) fn namespace(metadata: &ObjectMeta, problems: &mut Problems) -> Arc<str> {
    let typed = metadata.namespace.as_deref().filter(|namespace| !namespace.is_empty());
    let namespace = typed.unwrap_or(DEFAULT_NAMESPACE);
    if !is_label(namespace) {
        problems.add(
            "metadata.namespace",
            format!(
                "{} is not the name of a namespace; accepted are up to 63 lower-case letters, \
                 digits and \"-\", with a letter or digit first and last; the object counts in a \
                 namespace of this name nevertheless",
                shown(namespace)
            ),
        );
    }
    namespace.into()
}

/// A DNS subdomain (RFC 1123).
pub(super) fn is_subdomain(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(is_part)
}

/// A DNS label (RFC 1123).
pub(super) fn is_label(text: &str) -> bool {
    text.len() <= 63 && is_part(text)
}

/// The name of a port: an IANA service name (RFC 6335 section 5.1).
pub(super) fn is_port_name(text: &str) -> bool {
    text.len() <= 15
        && is_part(text)
        && text.bytes().any(|b| b.is_ascii_lowercase())
        && !text.contains("--")
}

fn is_part(text: &str) -> bool {
    let ends = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    ends(text.as_bytes().first()) && ends(text.as_bytes().last()) && text.bytes().all(fits)
}

/// The key of a label: a name, before it perhaps a DNS subdomain and a slash.
pub(super) fn is_label_key(text: &str) -> bool {
    match text.split_once('/') {
        Some((prefix, name)) => is_subdomain(prefix) && is_qualified(name),
        None => is_qualified(text),
    }
}

/// The value of a label.
pub(super) fn is_label_value(text: &str) -> bool {
    text.is_empty() || is_qualified(text)
}

fn is_qualified(text: &str) -> bool {
    let ends = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
    let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    text.len() <= 63
        && ends(text.as_bytes().first())
        && ends(text.as_bytes().last())
        && text.bytes().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_the_api_server_takes() {
        type Check = fn(&str) -> bool;
        let long = |n: usize| "a".repeat(n);
        for (what, check, text, want) in [
            ("subdomain", is_subdomain as Check, "a.b-c.9", true),
            ("subdomain", is_subdomain, "", false),
            ("subdomain", is_subdomain, "a..b", false),
            ("subdomain", is_subdomain, "A", false),
            ("subdomain", is_subdomain, "a_b", false),
            ("subdomain", is_subdomain, &long(253), true),
            ("subdomain", is_subdomain, &long(254), false),
            ("label", is_label, "kube-system", true),
            ("label", is_label, "a.b", false),
            ("label", is_label, "-a", false),
            ("label", is_label, &long(63), true),
            ("label", is_label, &long(64), false),
            ("port name", is_port_name, "http", true),
            ("port name", is_port_name, "p-8080", true),
            ("port name", is_port_name, "8080", false),
            ("port name", is_port_name, "a--b", false),
            ("port name", is_port_name, "a-", false),
            ("port name", is_port_name, "Http", false),
            ("port name", is_port_name, "", false),
            ("port name", is_port_name, &long(15), true),
            ("port name", is_port_name, &long(16), false),
            ("key", is_label_key, "app", true),
            ("key", is_label_key, "kubernetes.io/metadata.name", true),
            ("key", is_label_key, "A_b.c-D", true),
            ("key", is_label_key, "a/b/c", false),
            ("key", is_label_key, "/a", false),
            ("key", is_label_key, "A/b", false),
            ("key", is_label_key, "", false),
            ("key", is_label_key, "a b", false),
            ("key", is_label_key, &long(64), false),
            ("value", is_label_value, "", true),
            ("value", is_label_value, "A.b_c-9", true),
            ("value", is_label_value, "-a", false),
            ("value", is_label_value, "a\n", false),
            ("value", is_label_value, "é", false),
            ("value", is_label_value, &long(63), true),
            ("value", is_label_value, &long(64), false),
        ] {
            assert_eq!(check(text), want, "{what} {text:?}");
        }
    }
}
