//! The CNI plug-in: connects pods to their node, and what it agrees on with the agent.

pub mod protocol;
pub mod record;
