//! From the [`World`](crate::World) to the chains and sets of one node and family.
