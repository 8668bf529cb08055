//! What is said of mistakes in `bgp.filters`.

use super::named;

#[test]
fn each_mistake_about_filters_is_named() {
    named(&[
        (
            "bgp: {filters: [{name: f}]}",
            "f:1:17  bgp.filters[0]: rules is missing; write for instance \"rules: [{action: reject}]\"",
        ),
        (
            "bgp: {filters: [{name: f, rules: [{}]}]}",
            "f:1:35  bgp.filters[0].rules[0]: action is missing; write for instance \"action: accept\"",
        ),
        (
            "bgp: {filters: [{name: f, rules: [{action: permit}]}]}",
            "f:1:44  bgp.filters[0].rules[0].action: \"permit\" is not accepted here; accepted: accept, reject, continue",
        ),
        (
            "bgp: {filters: [{name: f, rules: [{action: accept, cidr: 10.1.0.0/8}]}]}",
            "f:1:58  bgp.filters[0].rules[0].cidr: \"10.1.0.0/8\" has host bits set; its network is 10.0.0.0/8",
        ),
        (
            "bgp: {filters: [{name: f, rules: [{action: accept, prefixLengths: 32-16}]}]}",
            "f:1:67  bgp.filters[0].rules[0].prefixLengths: \"32-16\" is an empty range; did you mean 16-32?",
        ),
        (
            "bgp: {filters: [{name: f, rules: [{action: accept, prefixLengths: 129}]}]}",
            "f:1:67  bgp.filters[0].rules[0].prefixLengths: \"129\" is too long; an IPv6 prefix has at most 128 bits",
        ),
        (
            "bgp: {filters: [{name: f, rules: [{action: accept, prefixLengths: long}]}]}",
            "f:1:67  bgp.filters[0].rules[0].prefixLengths: \"long\" is not a range of prefix lengths; accepted is for instance 24 or 16-32",
        ),
        (
            "bgp: {filters: [{name: f, rules: [{action: accept, cidr: 10.0.0.0/8, prefixLengths: 8-33}]}]}",
            "f:1:85  bgp.filters[0].rules[0].prefixLengths: 33 is too long; an ipv4 prefix such as 10.0.0.0/8 has at most 32 bits",
        ),
        (
            "bgp: {filters: [{name: f, rules: [{action: accept, cidr: 10.0.0.0/16, prefixLengths: 8-24}]}]}",
            "f:1:86  bgp.filters[0].rules[0].prefixLengths: 8 is shorter than 10.0.0.0/16 itself, in which no prefix has under 16 bits",
        ),
        (
            "bgp: {filters: [{name: f, rules: [{action: accept, cidr: 10.0.0.0/16, matchOperator: Equal, prefixLengths: 24}]}]}",
            "f:1:108  bgp.filters[0].rules[0].prefixLengths: the length of 10.0.0.0/16 is none of these: the rule could match nothing",
        ),
        (
            "bgp: {filters: [{name: f, rules: [{action: accept, matchOperator: NotIn}]}]}",
            "f:1:67  bgp.filters[0].rules[0].matchOperator: compares the prefix with cidr, which is missing",
        ),
        (
            "bgp: {filters: [{name: f, rules: [{action: accept, cidr: 10.0.0.0/16, family: ipv6}]}]}",
            "f:1:79  bgp.filters[0].rules[0].family: no ipv6 prefix is inside 10.0.0.0/16",
        ),
        (
            "bgp: {filters: [{name: f, rules: [{action: accept, sources: [local], nextHops: [10.0.0.0/8]}]}]}",
            "f:1:80  bgp.filters[0].rules[0].nextHops: our own routes have no next hop: the rule could match nothing",
        ),
        (
            "bgp: {filters: [{name: f, rules: [{action: accept, sources: [world]}]}]}",
            "f:1:62  bgp.filters[0].rules[0].sources[0]: \"world\" is not accepted here; accepted: local, service, mesh, peer",
        ),
        (
            "bgp: {filters: [{name: f, rules: [{action: accept, sources: []}]}]}",
            "f:1:61  bgp.filters[0].rules[0].sources: an empty list would never match; leave it out, or name something",
        ),
        (
            "bgp: {filters: [{name: f, rules: [{action: accept, asPath: {regex: '(1'}}]}]}",
            "f:1:68  bgp.filters[0].rules[0].asPath.regex: \"(1\" is not an expression over AS paths: unclosed group; accepted is for instance \"^65001 .* 65010$\" or \"_65001_\"",
        ),
        (
            "bgp: {filters: [{name: f, rules: [{action: accept, asPath: {length: 5-1}}]}]}",
            "f:1:69  bgp.filters[0].rules[0].asPath.length: \"5-1\" is not a range of AS path lengths; accepted is for instance 3 or 1-5",
        ),
        (
            "bgp: {filters: [{name: f, rules: [{action: accept, asPath: {length: 1, prefix: [1, 2]}}]}]}",
            "f:1:80  bgp.filters[0].rules[0].asPath.prefix: has 2 numbers, more than asPath.length: the rule could match nothing",
        ),
        (
            "bgp: {filters: [{name: f, rules: [{action: accept, asPath: {first: [3], prefix: [1, 2]}}]}]}",
            "f:1:81  bgp.filters[0].rules[0].asPath.prefix: begins with another AS than asPath.first: the rule could match nothing",
        ),
        (
            "bgp: {filters: [{name: f, rules: [{action: accept, asPath: {}}]}]}",
            "f:1:60  bgp.filters[0].rules[0].asPath: asPath is empty; write for instance \"asPath: {contains: [65001]}\"",
        ),
        (
            "bgp: {filters: [{name: f, rules: [{action: accept, communities: {any: ['65536:1']}}]}]}",
            "f:1:72  bgp.filters[0].rules[0].communities.any[0]: \"65536:1\" is not a community or a pattern of them; accepted are 65001:1, 65001:*, large ones such as 65001:1:*, extended ones such as rt:65001:*, rt:* or 0x and 16 hexadecimal digits, and no-export, no-advertise, no-export-subconfed, graceful-shutdown, blackhole, llgr-stale, no-llgr",
        ),
        (
            "bgp: {filters: [{name: f, rules: [{action: reject, set: {med: 1}}]}]}",
            "f:1:57  bgp.filters[0].rules[0].set: a rule that rejects changes nothing; leave it out, or accept or continue",
        ),
        (
            "bgp: {filters: [{name: f, rules: [{set: {}}]}]}",
            "f:1:41  bgp.filters[0].rules[0].set: set is empty; write for instance \"set: {localPref: 200}\"",
        ),
        (
            "bgp: {filters: [{name: f, rules: [{set: {med: 1, addMed: -5}}]}]}",
            "f:1:58  bgp.filters[0].rules[0].set.addMed: one of med, addMed and removeMed is enough",
        ),
        (
            "bgp: {filters: [{name: f, rules: [{set: {addMed: 1.5}}]}]}",
            "f:1:50  bgp.filters[0].rules[0].set.addMed: \"1.5\" is not a whole number from -4294967295 to 4294967295",
        ),
        (
            "bgp: {filters: [{name: f, rules: [{set: {prepend: {times: 33}}}]}]}",
            "f:1:59  bgp.filters[0].rules[0].set.prepend.times: \"33\" is not a whole number from 1 to 32",
        ),
        (
            "bgp: {filters: [{name: f, rules: [{set: {addCommunities: ['65001:*']}}]}]}",
            "f:1:59  bgp.filters[0].rules[0].set.addCommunities[0]: \"65001:*\" is not a community; accepted are 65001:1, large ones such as 65001:1:2, extended ones such as rt:65001:1, ro:10.0.0.1:1 or 0x and 16 hexadecimal digits, and no-export, no-advertise, no-export-subconfed, graceful-shutdown, blackhole, llgr-stale, no-llgr",
        ),
        (
            "bgp: {filters: [{name: f, otherwise: pass, rules: []}]}",
            "f:1:38  bgp.filters[0].otherwise: \"pass\" is not accepted here; accepted: accept, reject",
        ),
        (
            "bgp: {filters: [{name: f, rules: []}, {name: f, rules: []}]}",
            "f:1:46  bgp.filters[1].name: \"f\" is the name of another filter, at f:1:24",
        ),
    ]);
}
