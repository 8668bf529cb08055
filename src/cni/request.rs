//! What a call of the plug-in asks for: environment and standard input as a typed request. No
//! I/O; whatever is not as the specification has it is refused here.

use std::path::{Component, Path, PathBuf};

use serde_json::Value;

use super::configuration::{Network, network};
use super::record::PodName;
use super::result::{Previous, previous};
use super::spec::{Code, Failure, SpecVersion};

/// The variables of a call, as they were given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment {
    /// `CNI_COMMAND`
    pub command: Option<String>,
    /// `CNI_CONTAINERID`
    pub container_id: Option<String>,
    /// `CNI_NETNS`
    pub netns: Option<String>,
    /// `CNI_IFNAME`
    pub interface: Option<String>,
    /// `CNI_ARGS`
    pub args: Option<String>,
}

impl Environment {
    /// Those that `look_up` finds. What is no UTF-8 cannot be valid anyway: no variable of the
    /// specification takes it.
    pub fn from(look_up: impl Fn(&str) -> Option<std::ffi::OsString>) -> Self {
        let text = |name| look_up(name).map(|value| value.to_string_lossy().into_owned());
        Self {
            command: text("CNI_COMMAND"),
            container_id: text("CNI_CONTAINERID"),
            netns: text("CNI_NETNS"),
            interface: text("CNI_IFNAME"),
            args: text("CNI_ARGS"),
        }
    }

    /// Whether the verb is VERSION, which takes nothing else.
    pub fn asks_for_version(&self) -> bool {
        self.command.as_deref() == Some("VERSION")
    }
}

/// What an interface of a container is known by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// `CNI_CONTAINERID`
    pub container_id: String,
    /// `CNI_IFNAME`
    pub interface: String,
}

/// An interface that a container is to have, has, or had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// What it is known by.
    pub key: Key,
    /// The pod, where Kubernetes is the caller.
    pub pod: Option<PodName>,
}

/// A call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Connect a container.
    Add(Attachment, PathBuf, Network),
    /// Disconnect it; its namespace may be gone.
    Del(Attachment, Network),
    /// Is it still as it was made?
    Check(Attachment, PathBuf, Network, Previous),
    /// Disconnect all but these.
    Gc(Vec<Key>, Network),
    /// Could a container be connected now?
    Status(Network),
    /// Which versions are spoken?
    Version,
}

/// The longest container id: its record's file name also takes an interface's name.
const MAX_CONTAINER_ID: usize = 200;
/// The longest `CNI_ARGS`.
const MAX_ARGS: usize = 4096;

/// Reads a call; `stdin` is the whole of standard input.
///
/// # Errors
/// If something is missing, of a wrong form or of a version that is not spoken; names it.
pub fn read(environment: &Environment, stdin: &[u8]) -> Result<Request, Failure> {
    if environment.asks_for_version() {
        return Ok(Request::Version);
    }
    let verb = environment.command.as_deref().unwrap_or_default();
    let json = document(stdin)?;
    let version = version(&json)?;
    let since = match verb {
        "ADD" | "DEL" => SpecVersion::V0_3_1,
        "CHECK" => SpecVersion::V0_4_0,
        "GC" | "STATUS" => SpecVersion::V1_1_0,
        other => {
            return Err(wrong(
                "CNI_COMMAND",
                other,
                "one of ADD, DEL, CHECK, GC, STATUS and VERSION",
            ));
        }
    };
    if version < since {
        let message = format!("{verb} exists since {since}; cniVersion is {version}");
        return Err(Failure::new(Code::IncompatibleVersion, message));
    }
    let network = network(&json, version)?;
    Ok(match verb {
        "ADD" => {
            if json.get("prevResult").is_some_and(|given| !given.is_null()) {
                return Err(Failure::new(
                    Code::UnsupportedField,
                    "prevResult: another plug-in has already connected the container; brindle makes the interface itself and must be the first of \"plugins\"",
                ));
            }
            Request::Add(attachment(environment)?, namespace(environment)?, network)
        }
        "DEL" => Request::Del(attachment(environment)?, network),
        "CHECK" => {
            let (attachment, namespace) = (attachment(environment)?, namespace(environment)?);
            Request::Check(attachment, namespace, network, previous(&json)?)
        }
        "GC" => Request::Gc(valid_attachments(&json)?, network),
        _ => Request::Status(network),
    })
}

/// The version to answer in, also to what cannot be understood.
pub fn version_to_answer_in(stdin: &[u8]) -> SpecVersion {
    document(stdin).and_then(|json| version(&json)).unwrap_or(SpecVersion::LATEST)
}

fn document(stdin: &[u8]) -> Result<Value, Failure> {
    let json: Value = serde_json::from_slice(stdin).map_err(|error| {
        Failure::new(Code::Decode, format!("the network configuration on standard input: {error}"))
    })?;
    if !json.is_object() {
        let message = "the network configuration on standard input is no JSON object";
        return Err(Failure::new(Code::Decode, message));
    }
    Ok(json)
}

fn version(json: &Value) -> Result<SpecVersion, Failure> {
    let asked = &json["cniVersion"];
    asked.as_str().and_then(SpecVersion::parse).ok_or_else(|| {
        let spoken: Vec<&str> = SpecVersion::ALL.iter().map(|one| one.as_str()).collect();
        let message = format!("cniVersion {asked}: accepted are {}", spoken.join(", "));
        Failure::new(Code::IncompatibleVersion, message)
    })
}

fn wrong(variable: &str, value: &str, accepted: &str) -> Failure {
    let message = match value {
        "" => format!("{variable} is missing; accepted is {accepted}"),
        _ => format!("{variable} {value:?}: accepted is {accepted}"),
    };
    Failure::new(Code::InvalidEnvironment, message)
}

fn attachment(environment: &Environment) -> Result<Attachment, Failure> {
    let container_id = environment.container_id.clone().unwrap_or_default();
    if !is_container_id(&container_id) {
        let accepted = "1 to 200 letters, digits, '_', '.' and '-', the first a letter or digit";
        return Err(wrong("CNI_CONTAINERID", &container_id, accepted));
    }
    let interface = environment.interface.clone().unwrap_or_default();
    if !is_interface(&interface) {
        let accepted = "1 to 15 visible ASCII characters without '/' and ':', not \".\", \"..\", \"lo\", \"all\" or \"default\"";
        return Err(wrong("CNI_IFNAME", &interface, accepted));
    }
    let pod = pod(environment.args.as_deref().unwrap_or_default())?;
    Ok(Attachment { key: Key { container_id, interface }, pod })
}

fn is_container_id(text: &str) -> bool {
    text.len() <= MAX_CONTAINER_ID
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c))
}

/// The kernel's rules, and no name that means something else among its settings.
fn is_interface(text: &str) -> bool {
    (1..16).contains(&text.len())
        && text.chars().all(|c| c.is_ascii_graphic() && !"/:%\\\"'".contains(c))
        && ![".", "..", "lo", "all", "default"].contains(&text)
}

/// `CNI_NETNS`: only its form is looked at here.
fn namespace(environment: &Environment) -> Result<PathBuf, Failure> {
    let text = environment.netns.as_deref().unwrap_or_default();
    let path = Path::new(text);
    let is_plain =
        path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
    if !path.is_absolute() || !is_plain || text.len() > 4095 || text.contains(char::is_control) {
        let accepted = "the absolute path of a network namespace, without \"..\"";
        return Err(wrong("CNI_NETNS", text, accepted));
    }
    Ok(path.to_owned())
}

/// The pod that `CNI_ARGS` names. Keys that we do not know belong to others.
fn pod(args: &str) -> Result<Option<PodName>, Failure> {
    if args.len() > MAX_ARGS {
        let message = format!("CNI_ARGS has {} octets; accepted are {MAX_ARGS}", args.len());
        return Err(Failure::new(Code::InvalidEnvironment, message));
    }
    let (mut namespace, mut name, mut uid) = (None, None, None);
    for pair in args.split(';').filter(|pair| !pair.is_empty()) {
        let Some((key, value)) = pair.split_once('=') else {
            return Err(wrong("CNI_ARGS", pair, "KEY=VALUE;KEY=VALUE"));
        };
        let is_word = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
        if key.is_empty() || !key.chars().all(is_word) || value.contains(char::is_control) {
            return Err(wrong("CNI_ARGS", pair, "KEY=VALUE;KEY=VALUE without control characters"));
        }
        let (slot, most) = match key {
            "K8S_POD_NAMESPACE" => (&mut namespace, 63),
            "K8S_POD_NAME" => (&mut name, 253),
            "K8S_POD_UID" => (&mut uid, 128),
            _ => continue,
        };
        let is_edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
        let is_fine = value.is_empty()
            || value.len() <= most
                && value.chars().all(|c| c.is_ascii_alphanumeric() || "-.".contains(c))
                && is_edge(value.chars().next())
                && is_edge(value.chars().next_back());
        if !is_fine {
            let accepted = format!("up to {most} letters, digits, '-' and '.' for {key}");
            return Err(wrong("CNI_ARGS", pair, &accepted));
        }
        if slot.is_some() {
            return Err(wrong("CNI_ARGS", pair, &format!("{key} once")));
        }
        *slot = Some(value.to_owned()).filter(|value| !value.is_empty());
    }
    match (namespace, name) {
        (Some(namespace), Some(name)) => Ok(Some(PodName { namespace, name, uid })),
        (None, None) => Ok(None),
        (Some(_), None) => Err(wrong("K8S_POD_NAME in CNI_ARGS", "", "a pod's name")),
        (None, Some(_)) => Err(wrong("K8S_POD_NAMESPACE in CNI_ARGS", "", "its namespace")),
    }
}

/// A missing list is no empty list: that would take the network from every container.
fn valid_attachments(json: &Value) -> Result<Vec<Key>, Failure> {
    const NAME: &str = "cni.dev/valid-attachments";
    let invalid = |what: &Value| {
        let message =
            format!("{NAME} {what}: accepted is a list of {{\"containerID\", \"ifname\"}}");
        Failure::new(Code::InvalidConfig, message)
    };
    // Callers of the time before 1.1.0 was final used the second name, and some give both.
    let given = json.get(NAME).or_else(|| json.get("cni.dev/attachments"));
    let given = given.unwrap_or(&Value::Null);
    let list = given.as_array().ok_or_else(|| invalid(given))?;
    let key = |one: &Value| {
        let text = |name: &str| one[name].as_str().map(str::to_owned);
        let key = Key { container_id: text("containerID")?, interface: text("ifname")? };
        Some(key).filter(|key| is_container_id(&key.container_id) && !key.interface.is_empty())
    };
    list.iter().map(|one| key(one).ok_or_else(|| invalid(one))).collect()
}

#[cfg(test)]
mod tests;
