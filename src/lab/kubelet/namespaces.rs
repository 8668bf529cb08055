//! The little that a lab needs of the controllers of namespaces.

use anyhow::Context;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod, Secret, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams};
use kube::core::NamespaceResourceScope;
use kube::{Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::json;

use super::unless_gone;

/// The label that every namespace has had since Kubernetes 1.21.
const NAME: &str = "kubernetes.io/metadata.name";

/// Labels a namespace with its name where the server does not, and empties one that is to be
/// deleted; once it is empty, lets it go.
pub(super) async fn look_after(client: &Client, space: &Namespace) -> anyhow::Result<()> {
    let name = space.name_any();
    if space.metadata.deletion_timestamp.is_some() {
        return empty(client, &name).await;
    }
    if space.labels().get(NAME) == Some(&name) {
        return Ok(());
    }
    let all: Api<Namespace> = Api::all(client.clone());
    let label = json!({"metadata": {"labels": {NAME: name}}});
    let labelled = all.patch(&name, &PatchParams::default(), &Patch::Merge(&label)).await;
    unless_gone(labelled.map(drop)).context("cannot label")
}

async fn empty(client: &Client, name: &str) -> anyhow::Result<()> {
    // pods go when their cables are gone: each that does brings us here again
    let left = delete_all::<Pod>(client, name).await?;
    delete_all::<NetworkPolicy>(client, name).await?;
    delete_all::<Service>(client, name).await?;
    delete_all::<ConfigMap>(client, name).await?;
    delete_all::<Secret>(client, name).await?;
    delete_all::<ServiceAccount>(client, name).await?;
    if left > 0 {
        return Ok(());
    }
    let finalized = json!({
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": name},
        "spec": {"finalizers": []},
    });
    let request = hyper::Request::put(format!("/api/v1/namespaces/{name}/finalize"))
        .header("content-type", "application/json")
        .body(finalized.to_string().into_bytes())
        .context("request")?;
    unless_gone(client.request_text(request).await.map(drop)).context("cannot finalize")
}

/// Asks for the deletion of all objects of a kind; says how many there were.
async fn delete_all<K>(client: &Client, namespace: &str) -> anyhow::Result<usize>
where
    K: Resource<Scope = NamespaceResourceScope> + Clone + DeserializeOwned + std::fmt::Debug,
    <K as Resource>::DynamicType: Default,
{
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    let all = api.list(&ListParams::default()).await.context("cannot list")?;
    for object in all.items.iter().filter(|o| o.meta().deletion_timestamp.is_none()) {
        let deleted = api.delete(&object.name_any(), &DeleteParams::default()).await;
        unless_gone(deleted.map(drop)).context("cannot delete")?;
    }
    Ok(all.items.len())
}
