//! What is said of mistakes in `node`.

use super::named;

#[test]
fn each_mistake_about_the_node_is_named() {
    named(&[
        ("node: {name: N1}", "f:1:14  node.name: \"N1\" is not a node name; did you mean \"n1\"?"),
        (
            "node: {name: a_b}",
            "f:1:14  node.name: \"a_b\" is not a node name; accepted are up to 253 lower-case letters, digits, \"-\" and \".\", each part between dots with a letter or digit first and last",
        ),
        (
            "node: {addresses: [10.0.0.300]}",
            "f:1:20  node.addresses[0]: \"10.0.0.300\" is not an IP address; accepted is for instance 10.0.0.1 or fd00::1",
        ),
        (
            "node: {addresses: [10.0.0.1/24]}",
            "f:1:20  node.addresses[0]: \"10.0.0.1/24\" is not an IP address; without the prefix length it would be 10.0.0.1",
        ),
        (
            "node: {addresses: [0.0.0.0]}",
            "f:1:20  node.addresses[0]: 0.0.0.0 stands for every address; name one",
        ),
        (
            "node: {addresses: [224.0.0.5]}",
            "f:1:20  node.addresses[0]: 224.0.0.5 is a multicast address; accepted are unicast ones",
        ),
        (
            "node: {addresses: [255.255.255.255]}",
            "f:1:20  node.addresses[0]: 255.255.255.255 is a broadcast address",
        ),
        (
            "node: {addresses: ['fe80::1']}",
            "f:1:20  node.addresses[0]: fe80::1 is a link-local address, which means nothing without its link; write a global or unique local one",
        ),
        (
            "node: {addresses: ['::ffff:10.0.0.1']}",
            "f:1:20  node.addresses[0]: ::ffff:10.0.0.1 is an IPv4 address in IPv6 clothes; write 10.0.0.1",
        ),
        (
            "node: {addresses: [10.0.0.1, 10.0.0.2]}",
            "f:1:30  node.addresses[1]: 10.0.0.2 is a second ipv4 address; a node has one of a family, here 10.0.0.1",
        ),
        (
            "node: {podCIDRs: [10.244.1.7/24]}",
            "f:1:19  node.podCIDRs[0]: \"10.244.1.7/24\" has host bits set; its network is 10.244.1.0/24",
        ),
        (
            "node: {podCIDRs: [10.244.1.0]}",
            "f:1:19  node.podCIDRs[0]: \"10.244.1.0\" is not a prefix; accepted is address/length, for instance 10.244.0.0/16",
        ),
        (
            "node: {podCIDRs: [10.244.1.0/33]}",
            "f:1:19  node.podCIDRs[0]: prefix length 33 is over 32",
        ),
        (
            "node: {podCIDRs: [0.0.0.0/0]}",
            "f:1:19  node.podCIDRs[0]: 0.0.0.0/0 is every address; name the range of this node",
        ),
        (
            "node: {podCIDRs: [10.244.1.0/24, 10.244.0.0/16]}",
            "f:1:34  node.podCIDRs[1]: 10.244.0.0/16 overlaps with 10.244.1.0/24 at f:1:19; pod ranges must be apart",
        ),
        (
            "node: {podCIDRs: [10.244.1.0/24, 10.244.1.0/24]}",
            "f:1:34  node.podCIDRs[1]: 10.244.1.0/24 stands here already, at f:1:19",
        ),
        (
            "node: {addresses: [10.244.1.1], podCIDRs: [10.244.1.0/24]}",
            "f:1:44  node.podCIDRs[0]: the node's own address 10.244.1.1 lies in 10.244.1.0/24; pods need a range of their own",
        ),
        (
            "node: {addresses: [10.0.0.1], podCIDRs: ['fd00:1::/64']}",
            "f:1:42  node.podCIDRs[0]: no other node could reach fd00:1::/64: node.addresses has no ipv6 address to be its next hop; add one, or leave node.addresses out to have them detected",
        ),
    ]);
}
