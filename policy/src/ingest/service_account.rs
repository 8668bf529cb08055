//! Service accounts.

use k8s_openapi::api::core::v1::ServiceAccount as Object;

use super::labels::labels;
use super::{Problems, name};
use crate::model::{AccountKey, Problem, ServiceAccount};

/// What policy needs of `object`, and what is wrong with it. Fails only if it has no name.
pub fn service_account(object: &Object) -> Result<(ServiceAccount, Vec<Problem>), Problem> {
    let mut problems = Problems::default();
    let name = name::name("ServiceAccount", &object.metadata, &mut problems)?;
    let namespace = name::namespace(&object.metadata, &mut problems);
    let labels = labels(object.metadata.labels.as_ref(), &mut problems);
    Ok((ServiceAccount::new(AccountKey { namespace, name }, labels), problems.0))
}
