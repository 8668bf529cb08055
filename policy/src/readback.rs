//! From what `iptables-save` and `ipset save` print to values.
