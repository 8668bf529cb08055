//! The codec against golden octets, the tables of RFC 7606, generated messages and two
//! other implementations.

mod again;
mod corpus;
mod filter_text;
mod generate;
mod golden;
mod incidents;
mod meaning;
mod notifications;
mod oracles;
mod packing;
mod properties;
mod refused;
mod rfc7606;
mod support;
