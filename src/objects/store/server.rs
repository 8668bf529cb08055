//! Objects that an API server keeps: as `projectcalico.org/v3`, or as Calico stores them
//! (`crd.projectcalico.org/v1`) where that is all that is served.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error as _;
use std::time::Duration;

use hyper::Request;
use kube::Client;
use serde_json::{Map, Value};
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

use super::{Store, Trouble, Why};
use crate::cluster::kind::{CALICO, Kind};
use crate::cluster::kubernetes::client::{self, ClientSettings};
use crate::objects::convert::{TIER_PREFIX, has_tier_in_name, restore};
use crate::objects::found::{Id, Object};
use crate::objects::read::STORED;

/// How many objects a page of a list has.
const PAGE: usize = 500;
/// The ClusterRole that lets people write policies.
const EDITOR: &str = "brindle-policy-editor";
/// The one that lets them read policies.
const VIEWER: &str = "brindle-policy-viewer";

/// An API server.
pub struct Server {
    runtime: Runtime,
    client: Client,
    limit: Duration,
    /// Under which API each kind is kept, of those that were asked for.
    kept: BTreeMap<Kind, String>,
}

impl Server {
    /// A client of the API server that the settings, `KUBECONFIG`, the pod's service account or
    /// `~/.kube/config` lead to. Nothing is asked of it yet.
    ///
    /// # Errors
    /// There is no way to one, for a reason on this machine.
    pub fn connect(settings: &ClientSettings, limit: Duration) -> Result<Self, Trouble> {
        let cannot = |error: String| Trouble::new(Why::Unreachable, error);
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| cannot(error.to_string()))?;
        let client = runtime.block_on(client::connect(settings));
        // People say it on the command line, the agent in its configuration.
        let said = |error: client::ConnectError| {
            let said = error.to_string();
            said.replace("source.kubeconfig", "--kubeconfig").replace("source.context", "--context")
        };
        let client = client.map_err(|error| cannot(said(error)))?;
        Ok(Self { runtime, client, limit, kept: BTreeMap::new() })
    }

    /// Asks for something.
    ///
    /// # Errors
    /// What the server says against it, or that it says nothing.
    pub fn ask(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, kube::Error> {
        let body = body.map(|body| serde_json::to_vec(body).map_err(kube::Error::SerdeError));
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", "application/json")
            .body(body.transpose()?.unwrap_or_default())
            .map_err(kube::Error::HttpError)?;
        let asked = self.client.request::<Value>(request);
        self.runtime.block_on(async {
            match timeout(self.limit, asked).await {
                Ok(answer) => answer,
                Err(_) => {
                    let message = format!("no answer within {} s", self.limit.as_secs());
                    Err(kube::Error::Service(message.into()))
                }
            }
        })
    }

    /// The names of the resources that an API serves; `None` if it is not served.
    fn served(&self, api: &str) -> Result<Option<BTreeSet<String>>, kube::Error> {
        let list = match self.ask("GET", &format!("/apis/{api}"), None) {
            Ok(list) => list,
            Err(kube::Error::Api(status)) if status.code == 404 => return Ok(None),
            Err(error) => return Err(error),
        };
        let resources = list["resources"].as_array().into_iter().flatten();
        Ok(Some(resources.filter_map(|one| one["name"].as_str().map(str::to_owned)).collect()))
    }

    /// The API under which objects of a kind are kept.
    fn api(&mut self, kind: Kind) -> Result<String, Trouble> {
        if let Some(api) = self.kept.get(&kind) {
            return Ok(api.clone());
        }
        let candidates: &[&str] = match kind.api_version() {
            // Every cluster has these.
            api if kind == Kind::NetworkPolicy => return Ok(api.to_owned()),
            CALICO => &[CALICO, STORED],
            other => &[other],
        };
        for api in candidates {
            let served = match self.served(api) {
                Ok(served) => served,
                // Who may not even ask what there is may still be allowed to use it.
                Err(kube::Error::Api(status)) if status.code == 403 => None,
                Err(error) => return Err(trouble(&error, "get", kind, None)),
            };
            if served.is_some_and(|names| names.contains(kind.plural())) {
                self.kept.insert(kind, (*api).to_owned());
                return Ok((*api).to_owned());
            }
        }
        Err(Trouble::new(
            Why::Failed,
            format!(
                "the API server does not know {} of {}; where Calico was never installed: brindle \
                 crds | kubectl apply -f -",
                kind.plural(),
                kind.group()
            ),
        ))
    }

    fn path(&mut self, kind: Kind, namespace: Option<&str>) -> Result<String, Trouble> {
        let api = self.api(kind)?;
        let within = namespace.map(|name| format!("/namespaces/{name}")).unwrap_or_default();
        Ok(format!("/apis/{api}{within}/{}", kind.plural()))
    }

    /// The object, and the name under which it is kept. Calico puts the tier before the names of
    /// policies that it stores itself; not every version of it does.
    fn find(&mut self, id: &Id, verb: &str) -> Result<Option<(String, Value)>, Trouble> {
        let path = self.path(id.kind, id.namespace.as_deref())?;
        let mut names = vec![id.name.clone()];
        if has_tier_in_name(id.kind) && self.api(id.kind)? == STORED {
            names.insert(0, format!("{TIER_PREFIX}{}", id.name));
        }
        for name in names {
            match self.ask("GET", &format!("{path}/{name}"), None) {
                Ok(value) => return Ok(Some((name, value))),
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                Err(error) => return Err(trouble(&error, verb, id.kind, Some(id))),
            }
        }
        Ok(None)
    }

    /// The name under which an object is kept that is there.
    fn kept_name(&mut self, id: &Id) -> Result<String, Trouble> {
        if !has_tier_in_name(id.kind) || self.api(id.kind)? != STORED {
            return Ok(id.name.clone());
        }
        self.find(id, "get")?.map(|(name, _)| name).ok_or_else(|| Trouble::missing(id))
    }

    /// The object as the server wants it, under this name.
    fn outgoing(&mut self, object: &Object, name: String) -> Result<Value, Trouble> {
        let mut value = object.value.clone();
        value["apiVersion"] = self.api(object.id.kind)?.into();
        value["metadata"]["name"] = name.into();
        Ok(value)
    }
}

impl Store for Server {
    fn get(&mut self, id: &Id) -> Result<Option<Value>, Trouble> {
        Ok(self.find(id, "get")?.map(|(_, value)| incoming(id.kind, value)))
    }

    fn list(&mut self, kind: Kind, namespace: Option<&str>) -> Result<Vec<Value>, Trouble> {
        let path = self.path(kind, namespace)?;
        let mut found = Vec::new();
        let mut rest = String::new();
        loop {
            let page = format!("{path}?limit={PAGE}{rest}");
            let mut list = self.ask("GET", &page, None);
            let list = list.as_mut().map_err(|error| trouble(error, "list", kind, None))?;
            if let Some(Value::Array(items)) = list.get_mut("items").map(Value::take) {
                found.extend(items.into_iter().map(|item| incoming(kind, item)));
            }
            match list["metadata"]["continue"].as_str() {
                Some(token) if !token.is_empty() => rest = format!("&continue={token}"),
                _ => return Ok(found),
            }
        }
    }

    fn create(&mut self, object: &Object) -> Result<(), Trouble> {
        let id = &object.id;
        let tier = object.value["spec"]["tier"].as_str();
        let is_default = has_tier_in_name(id.kind) && matches!(tier, None | Some("" | "default"));
        let name = match is_default && self.api(id.kind)? == STORED {
            true if self.find(id, "get")?.is_some() => return Err(Trouble::exists(id)),
            true => format!("{TIER_PREFIX}{}", id.name),
            false => id.name.clone(),
        };
        let mut value = self.outgoing(object, name)?;
        if let Some(Value::Object(metadata)) = value.get_mut("metadata") {
            of_its_own(metadata);
        }
        let path = self.path(id.kind, id.namespace.as_deref())?;
        match self.ask("POST", &path, Some(&value)) {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.reason == "AlreadyExists" => {
                Err(Trouble::exists(id))
            }
            Err(error) => Err(trouble(&error, "create", id.kind, Some(id))),
        }
    }

    fn replace(&mut self, object: &Object, before: &Value) -> Result<(), Trouble> {
        let id = &object.id;
        let name = self.kept_name(id)?;
        let path = format!("{}/{name}", self.path(id.kind, id.namespace.as_deref())?);
        let mut value = self.outgoing(object, name)?;
        take_over(&mut value, before);
        match self.ask("PUT", &path, Some(&value)) {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.code == 409 => Err(Trouble::new(
                Why::Changed,
                format!(
                    "update conflict: {id}: somebody else changed it since metadata.resourceVersion \
                     {}; get it again, or leave the field out to write over it",
                    value["metadata"]["resourceVersion"]
                ),
            )),
            Err(kube::Error::Api(status)) if status.code == 404 => Err(Trouble::missing(id)),
            Err(error) => Err(trouble(&error, "update", id.kind, Some(id))),
        }
    }

    fn delete(&mut self, id: &Id) -> Result<(), Trouble> {
        let path =
            format!("{}/{}", self.path(id.kind, id.namespace.as_deref())?, self.kept_name(id)?);
        match self.ask("DELETE", &path, None) {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.code == 404 => Err(Trouble::missing(id)),
            Err(error) => Err(trouble(&error, "delete", id.kind, Some(id))),
        }
    }
}

/// What the server sends, as the manifest of it would be: items of lists do not say what they
/// are, and nobody reads who wrote which field.
fn incoming(kind: Kind, mut value: Value) -> Value {
    // What Calico noted there and cannot be read is shown as it is.
    let _ = restore(kind, &mut value);
    value["apiVersion"] = kind.api_version().into();
    value["kind"] = kind.name().into();
    if let Some(Value::Object(metadata)) = value.get_mut("metadata") {
        metadata.remove("managedFields");
    }
    value
}

/// Takes out what belongs to one object in one cluster: a new one gets its own.
pub(in crate::objects) fn of_its_own(metadata: &mut Map<String, Value>) {
    for field in
        ["resourceVersion", "uid", "creationTimestamp", "generation", "managedFields", "selfLink"]
    {
        metadata.remove(field);
    }
}

/// Makes `value` a new version of `before`: what only the cluster says of an object stays.
fn take_over(value: &mut Value, before: &Value) {
    let asked = value["metadata"]["resourceVersion"].clone();
    let Some(Value::Object(metadata)) = value.get_mut("metadata") else { return };
    of_its_own(metadata);
    for field in ["uid", "resourceVersion", "creationTimestamp", "finalizers", "ownerReferences"] {
        if let Some(kept) = before["metadata"].get(field) {
            metadata.entry(field).or_insert_with(|| kept.clone());
        }
    }
    if asked.as_str().is_some_and(|asked| !asked.is_empty()) {
        metadata.insert("resourceVersion".to_owned(), asked);
    }
    if let (Value::Object(value), Some(status)) = (value, before.get("status")) {
        value.insert("status".to_owned(), status.clone());
    }
}

/// What a failed request comes down to, and what to do about it.
fn trouble(error: &kube::Error, verb: &str, kind: Kind, id: Option<&Id>) -> Trouble {
    let what = id.map_or_else(|| kind.plural().to_owned(), ToString::to_string);
    match error {
        kube::Error::Api(status) => refusal(status.code, &status.message, verb, kind, &what),
        kube::Error::Auth(error) => {
            Trouble::new(Why::Forbidden, format!("no credentials for the API server: {error}"))
        }
        kube::Error::FromUtf8(_) | kube::Error::SerdeError(_) => {
            let message = format!("{verb} {what}: what answers is no API server: {error}");
            Trouble::new(Why::Unreachable, message)
        }
        error => {
            let why = why_unreachable(error);
            let message = format!("{verb} {what}: the API server cannot be reached: {why}");
            Trouble::new(Why::Unreachable, message)
        }
    }
}

/// What keeps us from a server: the error's causes down to the last.
pub fn why_unreachable(error: &kube::Error) -> String {
    let mut why = error.source().map_or_else(|| error.to_string(), ToString::to_string);
    let mut source = error.source().and_then(std::error::Error::source);
    while let Some(inner) = source {
        if !why.contains(&inner.to_string()) {
            why.push_str(&format!(": {inner}"));
        }
        source = inner.source();
    }
    why
}

fn refusal(code: u16, said: &str, verb: &str, kind: Kind, what: &str) -> Trouble {
    let resource = format!("{}.{}", kind.plural(), kind.group());
    match code {
        401 => Trouble::new(
            Why::Forbidden,
            format!(
                "{verb} {what}: the API server does not accept our credentials ({said}); renew \
                 the token or certificate that the kubeconfig or service account names"
            ),
        ),
        403 => {
            // As the server has it: User "..." cannot ...
            let user = said.split_once("User \"").and_then(|(_, rest)| rest.split_once('"'));
            let who = user.map_or_else(|| "we".to_owned(), |(user, _)| format!("User {user:?}"));
            let within = match said.split_once("in the namespace \"") {
                Some((_, rest)) => rest.split_once('"').map(|(name, _)| name),
                None => None,
            };
            let (place, flag) = match within {
                Some(name) => (format!(" in namespace {name:?}"), format!(" -n {name}")),
                None => (String::new(), String::new()),
            };
            let impersonate = user.map(|(user, _)| format!(" --as {user}")).unwrap_or_default();
            let role = if matches!(verb, "get" | "list") { VIEWER } else { EDITOR };
            Trouble::new(
                Why::Forbidden,
                format!(
                    "{who} cannot {verb} {resource}{place}; the ClusterRole {role} gives it; see: \
                     kubectl auth can-i {verb} {resource}{flag}{impersonate}"
                ),
            )
        }
        404 => Trouble::new(Why::Missing, format!("{verb} {what}: {said}")),
        400 | 422 => Trouble::new(Why::Invalid, format!("{what}: {said}")),
        code => {
            Trouble::new(Why::Failed, format!("{verb} {what}: the API server says {code}: {said}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_refusal_names_verb_resource_user_and_role() {
        let said = "globalnetworkpolicies.projectcalico.org \"a\" is forbidden: User \
                    \"system:serviceaccount:dev:ed\" cannot create resource \
                    \"globalnetworkpolicies\" in API group \"projectcalico.org\" at the cluster \
                    scope";
        let trouble = refusal(403, said, "create", Kind::GlobalNetworkPolicy, "x");
        assert_eq!(trouble.why, Why::Forbidden);
        assert_eq!(
            trouble.message,
            "User \"system:serviceaccount:dev:ed\" cannot create \
             globalnetworkpolicies.projectcalico.org; the ClusterRole brindle-policy-editor gives \
             it; see: kubectl auth can-i create globalnetworkpolicies.projectcalico.org --as \
             system:serviceaccount:dev:ed"
        );
        let said = "networkpolicies.projectcalico.org is forbidden: User \"jo\" cannot list \
                    resource \"networkpolicies\" in API group \"projectcalico.org\" in the \
                    namespace \"shop\"";
        let trouble = refusal(403, said, "list", Kind::CalicoNetworkPolicy, "x");
        assert_eq!(
            trouble.message,
            "User \"jo\" cannot list networkpolicies.projectcalico.org in namespace \"shop\"; the \
             ClusterRole brindle-policy-viewer gives it; see: kubectl auth can-i list \
             networkpolicies.projectcalico.org -n shop --as jo"
        );
    }

    #[test]
    fn a_new_version_keeps_what_only_the_cluster_says() {
        let before = json!({
            "metadata": {
                "name": "a", "uid": "u", "resourceVersion": "7", "creationTimestamp": "t",
                "labels": {"old": "1"}, "finalizers": ["f"],
            },
            "status": {"conditions": []},
        });
        for (asked, want) in [(json!(null), "7"), (json!(""), "7"), (json!("5"), "5")] {
            let mut value = json!({
                "metadata": {"name": "a", "labels": {"new": "2"}, "resourceVersion": asked, "uid": "v"},
                "spec": {},
            });
            take_over(&mut value, &before);
            assert_eq!(
                value,
                json!({
                    "metadata": {
                        "name": "a", "uid": "u", "resourceVersion": want,
                        "creationTimestamp": "t", "labels": {"new": "2"}, "finalizers": ["f"],
                    },
                    "spec": {},
                    "status": {"conditions": []},
                })
            );
        }
    }
}
