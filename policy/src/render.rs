//! From values to the text that `iptables-restore` and `ipset restore` read.
