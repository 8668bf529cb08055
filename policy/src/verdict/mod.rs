//! What happens to a packet, and why.
