//! Plans carried out in real kernels, with both backends, next to rules of others.

mod changes;
mod detection;
mod faults;
mod host;
mod tampering;
