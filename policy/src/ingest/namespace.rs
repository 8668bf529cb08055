//! Namespaces.

use k8s_openapi::api::core::v1::Namespace as Object;

use super::labels::labels;
use super::{Problems, name, shown};
use crate::model::{NAMESPACE_NAME_LABEL, Namespace, Problem};

/// What policy needs of `object`, and what is wrong with it. The label with its name is put
/// right if it is missing or wrong, as the API server does. Fails only if it has no name.
pub fn namespace(object: &Object) -> Result<(Namespace, Vec<Problem>), Problem> {
    let mut problems = Problems::default();
    let name = name::name("Namespace", &object.metadata, &mut problems)?;
    let mut labels = labels(object.metadata.labels.as_ref(), &mut problems);
    let former = labels.insert(NAMESPACE_NAME_LABEL.into(), name.clone());
    if let Some(former) = former.filter(|former| *former != name) {
        let former = shown(&former);
        problems.add(
            format!("metadata.labels[{NAMESPACE_NAME_LABEL}]"),
            format!("{former} is not the namespace's name; accepted is {name}, which it counts as"),
        );
    }
    Ok((Namespace { name, labels }, problems.0))
}
