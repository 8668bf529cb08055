//! Two speakers on loopback.
