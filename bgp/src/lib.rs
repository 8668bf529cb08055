//! BGP without I/O: octets in, messages, sessions, best paths, octets out; and BFD, which
//! finds out sooner that a peer is gone.

pub mod bfd;
pub mod filter;
pub mod fsm;
pub mod msg;
pub mod net;
pub mod rib;
