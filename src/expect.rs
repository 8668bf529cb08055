//! Expectations of policies, as they stand in a file: who may reach whom.
//!
//! ```yaml
//! apiVersion: brindle.dev/v1
//! kind: PolicyTest
//! manifests: [cluster.yaml, policies]     # beside this file
//! tests:
//! - name: the api may reach its database
//!   from: shop/api                        # or a list of them
//!   to: shop/db-0                         # a pod, an address, node/n1
//!   ports: [5432, 53/udp, icmp]           # any, if there are none
//!   expect: allow
//!   decidedBy: NetworkPolicy shop/db-clients
//! ```

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer};
use serde_saphyr::Spanned;

use crate::control::view::{API_VERSION, Outcome};
use crate::flow::{End, Service};

/// The `kind` of such a file.
pub const KIND: &str = "PolicyTest";
/// The largest file that is read.
const MAX_FILE_BYTES: u64 = 4 << 20;

/// What a file expects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expectations {
    /// The file.
    pub file: PathBuf,
    /// Folders and files with the objects that it is about.
    pub manifests: Vec<PathBuf>,
    /// The tests, in the order of the file.
    pub tests: Vec<Test>,
}

/// What is expected of the flows between some ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Test {
    /// What it is called; no two alike.
    pub name: String,
    /// Where it stands, from one.
    pub line: u64,
    /// Where flows come from.
    pub from: Vec<End>,
    /// Where they go; each from each.
    pub to: Vec<End>,
    /// To what; none is about every port and ICMP.
    pub services: Vec<Service>,
    /// What is to become of all of them.
    pub expect: Outcome,
    /// Whose policies are asked.
    pub direction: Asked,
    /// The policy that is to decide: `NetworkPolicy shop/db-clients`.
    pub decided_by: Option<String>,
}

/// Whose policies are asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Asked {
    /// Those of both ends: whether the flow arrives.
    #[default]
    Both,
    /// Those of the destination.
    Ingress,
    /// Those of the source.
    Egress,
}

impl Test {
    /// Each flow that it is about; `None` for the service is any.
    pub fn flows(&self) -> impl Iterator<Item = (&End, &End, Option<Service>)> {
        let services: Vec<Option<Service>> = match self.services.as_slice() {
            [] => vec![None],
            some => some.iter().copied().map(Some).collect(),
        };
        let pairs = self.from.iter().flat_map(|from| self.to.iter().map(move |to| (from, to)));
        pairs.flat_map(move |(from, to)| {
            let services = services.clone();
            services.into_iter().map(move |service| (from, to, service))
        })
    }
}

/// What is wrong with a file: one `file:line:column  message` each.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct BadExpectations(pub Vec<String>);

/// Reads a file of expectations.
///
/// # Errors
/// Everything that is wrong with it.
pub fn read(path: &Path) -> Result<Expectations, BadExpectations> {
    from_text(path, &text(path)?)
}

/// What stands in a file of expectations.
///
/// # Errors
/// Why it cannot be read, or that it is too large.
pub(crate) fn text(path: &Path) -> Result<String, BadExpectations> {
    let bad = |what: String| BadExpectations(vec![format!("{}: {what}", path.display())]);
    let size = fs::metadata(path).map_err(|error| bad(error.to_string()))?.len();
    if size > MAX_FILE_BYTES {
        return Err(bad(format!("it has {size} bytes; accepted are at most {MAX_FILE_BYTES}")));
    }
    fs::read_to_string(path).map_err(|error| bad(error.to_string()))
}

/// The YAML of a file of expectations as a `T`.
///
/// # Errors
/// What is wrong with it, and where.
pub(crate) fn parse<T: serde::de::DeserializeOwned>(
    path: &Path,
    text: &str,
) -> Result<T, BadExpectations> {
    let options = serde_saphyr::options! {
        strict_booleans: true,
        with_snippet: false,
        budget: serde_saphyr::budget! { max_depth: 16 },
    };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        let error = error.without_snippet();
        let place = match error.location() {
            Some(at) => format!("{}:{}:{}", path.display(), at.line(), at.column()),
            None => path.display().to_string(),
        };
        let said = serde_saphyr::MessageFormatter::format_message(
            &serde_saphyr::UserMessageFormatter,
            error,
        );
        BadExpectations(vec![format!("{place}  {said}")])
    })
}

/// `file:line:column  message`.
pub(crate) fn problem<T>(path: &Path, at: &Spanned<T>, message: &str) -> String {
    let at = at.referenced;
    format!("{}:{}:{}  {message}", path.display(), at.line(), at.column())
}

/// The same for text that is known to stand in `path`.
///
/// # Errors
/// Everything that is wrong with it.
pub fn from_text(path: &Path, text: &str) -> Result<Expectations, BadExpectations> {
    let raw: RawFile = parse(path, text)?;
    let mut reader = Reader { path, problems: Vec::new(), names: BTreeSet::new() };
    let expectations = reader.file(raw);
    if reader.problems.is_empty() {
        Ok(expectations)
    } else {
        Err(BadExpectations(reader.problems))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RawFile {
    api_version: Spanned<String>,
    kind: Spanned<String>,
    #[serde(default)]
    manifests: Vec<String>,
    tests: Vec<Spanned<RawTest>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RawTest {
    name: Spanned<String>,
    from: OneOrMore,
    to: OneOrMore,
    #[serde(default)]
    ports: Vec<Spanned<Scalar>>,
    expect: Expected,
    #[serde(default)]
    direction: Asked,
    decided_by: Option<Spanned<String>>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Expected {
    Allow,
    Deny,
}

/// A text, or a list of them.
struct OneOrMore(Vec<Spanned<String>>);

impl<'de> Deserialize<'de> for OneOrMore {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "a pod, a node, an address, or a list of them is expected")]
        enum Either {
            One(String),
            More(Vec<String>),
        }
        let Spanned { value, referenced, defined } = Spanned::<Either>::deserialize(deserializer)?;
        let texts = match value {
            Either::One(text) => vec![text],
            Either::More(texts) => texts,
        };
        let spanned = |text| Spanned { value: text, referenced, defined };
        Ok(Self(texts.into_iter().map(spanned).collect()))
    }
}

/// A text or a number, as text.
struct Scalar(String);

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Scalar;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a port, for instance 80, 53/udp or icmp")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Scalar, E> {
                Ok(Scalar(text.to_owned()))
            }

            fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Scalar, E> {
                Ok(Scalar(number.to_string()))
            }

            fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<Scalar, E> {
                Ok(Scalar(number.to_string()))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

struct Reader<'a> {
    path: &'a Path,
    problems: Vec<String>,
    names: BTreeSet<String>,
}

impl Reader<'_> {
    fn file(&mut self, raw: RawFile) -> Expectations {
        for (has, want) in [(&raw.api_version, API_VERSION), (&raw.kind, KIND)] {
            if has.value != want {
                self.complain(has, &format!("{:?} is not {want}", has.value));
            }
        }
        let folder = self.path.parent().unwrap_or(Path::new("")).to_owned();
        Expectations {
            file: self.path.to_owned(),
            manifests: raw.manifests.iter().map(|manifest| folder.join(manifest)).collect(),
            tests: raw.tests.into_iter().map(|test| self.test(test)).collect(),
        }
    }

    fn test(&mut self, raw: Spanned<RawTest>) -> Test {
        let line = raw.referenced.line();
        let raw = raw.value;
        if raw.name.value.is_empty() {
            self.complain(&raw.name, "the test has no name");
        }
        if !self.names.insert(raw.name.value.clone()) {
            self.complain(&raw.name, &format!("two tests are called {:?}", raw.name.value));
        }
        for (name, ends) in [("from", &raw.from.0), ("to", &raw.to.0)] {
            if ends.is_empty() {
                self.complain(&raw.name, &format!("{name} is empty: nothing would be tested"));
            }
        }
        let decided_by = raw.decided_by.map(|policy| {
            if policy.value.split_once(' ').is_none_or(|(_, name)| name.is_empty()) {
                let message = format!(
                    "{:?} names no policy; accepted is for instance NetworkPolicy shop/db-clients",
                    policy.value
                );
                self.complain(&policy, &message);
            }
            policy.value
        });
        Test {
            line,
            from: self.all(&raw.from.0),
            to: self.all(&raw.to.0),
            services: self.services(&raw.ports),
            expect: match raw.expect {
                Expected::Allow => Outcome::Allowed,
                Expected::Deny => Outcome::Denied,
            },
            direction: raw.direction,
            decided_by,
            name: raw.name.value,
        }
    }

    fn all(&mut self, texts: &[Spanned<String>]) -> Vec<End> {
        let mut ends = Vec::new();
        for text in texts {
            match text.value.parse::<End>() {
                Ok(end) => ends.push(end),
                Err(bad) => self.complain(text, &bad.to_string()),
            }
        }
        ends
    }

    fn services(&mut self, texts: &[Spanned<Scalar>]) -> Vec<Service> {
        let mut services = Vec::new();
        for text in texts {
            match text.value.0.parse::<Service>() {
                Ok(service) => services.push(service),
                Err(bad) => self.complain(text, &bad.to_string()),
            }
        }
        services
    }

    fn complain<T>(&mut self, at: &Spanned<T>, message: &str) {
        self.problems.push(problem(self.path, at, message));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Expectations, BadExpectations> {
        from_text(Path::new("dir/tests.yaml"), text)
    }

    const HEAD: &str = "apiVersion: brindle.dev/v1\nkind: PolicyTest\n";

    #[test]
    fn a_file_says_what_is_expected() {
        let text = format!(
            "{HEAD}manifests: [cluster.yaml]\ntests:\n- name: all\n  from: [shop/a, 10.0.0.1]\n  \
             to: node/n1\n  ports: [80, 53/UDP, icmp]\n  expect: deny\n  direction: egress\n  \
             decidedBy: NetworkPolicy shop/p\n- {{name: any, from: a, to: 'fd00::1', expect: \
             allow}}\n"
        );
        let read = read(&text).unwrap();
        assert_eq!(read.manifests, [PathBuf::from("dir/cluster.yaml")]);
        let [all, any] = &read.tests[..] else { panic!("{read:?}") };
        assert_eq!((all.line, all.expect, all.direction), (5, Outcome::Denied, Asked::Egress));
        assert_eq!(all.decided_by.as_deref(), Some("NetworkPolicy shop/p"));
        let flows: Vec<String> = all
            .flows()
            .map(|(from, to, service)| format!("{from} {to} {}", service.unwrap().written()))
            .collect();
        assert_eq!(
            flows[..3],
            ["shop/a node/n1 80/tcp", "shop/a node/n1 53/udp", "shop/a node/n1 icmp"]
        );
        assert_eq!(flows.len(), 6);
        assert_eq!(any.flows().map(|(_, _, service)| service).collect::<Vec<_>>(), [None]);
        assert_eq!(any.from[0].to_string(), "default/a");
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        let test = "- {name: x, from: a, to: b, expect: allow}\n";
        for (text, want) in [
            ("apiVersion: v1\nkind: PolicyTest\ntests: []\n".to_owned(), "1:13  \"v1\" is not"),
            (format!("{HEAD}tests:\n{test}{test}"), "5:10  two tests are called \"x\""),
            (
                format!("{HEAD}tests:\n- {{name: x, from: a/b/c, to: b, expect: allow}}\n"),
                "4:19  \"a/b/c\" is no end",
            ),
            (
                format!("{HEAD}tests:\n- {{name: x, from: a, to: b, ports: [0], expect: allow}}\n"),
                "4:37  \"0\" is no port",
            ),
            (
                format!("{HEAD}tests:\n- {{name: x, from: [], to: b, expect: allow}}\n"),
                "from is empty",
            ),
            (
                format!("{HEAD}tests:\n- {{name: x, from: a, to: b, expect: maybe}}\n"),
                "4:37  unknown variant",
            ),
            (format!("{HEAD}tests:\n- {{name: x, from: a, to: b}}\n"), "expect"),
            (
                format!("{HEAD}tests:\n- {{name: x, from: a, to: b, expect: allow, prots: [1]}}\n"),
                "prots",
            ),
            (
                format!("{HEAD}tests: [{{name: x, from: {{}}, to: b, expect: allow}}]\n"),
                "a pod, a node",
            ),
            ("[".to_owned(), "dir/tests.yaml:1:"),
        ] {
            let said = read(&text).unwrap_err().to_string();
            assert!(said.contains(want), "{text}\nsays {said:?}, not {want:?}");
        }
    }
}
