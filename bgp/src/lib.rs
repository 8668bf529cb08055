//! BGP without I/O: octets in, messages, sessions, best paths, octets out.

pub mod filter;
pub mod fsm;
pub mod msg;
pub mod net;
pub mod rib;
