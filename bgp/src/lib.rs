//! BGP without I/O: octets in, messages, sessions, best paths, octets out; and BFD, which
//! finds out sooner that a peer is gone; and BMP, which tells monitoring stations of it all.

pub mod bfd;
pub mod bmp;
pub mod filter;
pub mod fsm;
pub mod mrt;
pub mod msg;
pub mod net;
pub mod rib;
