//! From Kubernetes objects to the [`model`](crate::model).
