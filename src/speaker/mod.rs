//! The BGP speaker: sockets and clock around the pure core.
