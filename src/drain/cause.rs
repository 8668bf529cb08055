//! What of a Node object asks for its node to be drained.

use brindle_config::DrainSettings;

use crate::cluster::Node;

/// Why the settings want this node drained, as a sentence without a dot; `None` if they do not.
pub fn wanted_by(settings: &DrainSettings, node: &Node) -> Option<String> {
    if settings.on_cordon && node.cordon.unschedulable {
        return Some(format!("Node/{} is cordoned", node.name));
    }
    let is_meant = |taint: &&crate::cluster::Taint| {
        let matches = |wanted: &brindle_config::TaintMatch| {
            wanted.key == taint.key
                && wanted.value.as_ref().is_none_or(|value| *value == taint.value)
                && wanted.effect.as_ref().is_none_or(|effect| *effect == taint.effect)
        };
        settings.taints.iter().any(matches)
    };
    let taint = node.cordon.taints.iter().find(is_meant)?;
    Some(format!("Node/{} has the taint {taint}", node.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_drained_for_its_cordon_or_a_taint_if_the_settings_say_so() {
        let maintenance = "spec: {taints: [{key: maintenance, value: disk, effect: NoExecute}]}";
        let cordoned = "spec: {unschedulable: true}";
        let cases = [
            ("{}", cordoned, None),
            ("{onCordon: true}", cordoned, Some("Node/n1 is cordoned")),
            ("{onCordon: true}", "spec: {unschedulable: false}", None),
            ("{onCordon: true}", "spec: {}", None),
            ("{onCordon: true}", maintenance, None),
            (
                "{taints: [maintenance]}",
                maintenance,
                Some("Node/n1 has the taint maintenance=disk:NoExecute"),
            ),
            ("{taints: ['maintenance=disk']}", maintenance, Some("")),
            ("{taints: ['maintenance:NoExecute']}", maintenance, Some("")),
            ("{taints: ['maintenance=disk:NoExecute']}", maintenance, Some("")),
            ("{taints: ['maintenance=fan']}", maintenance, None),
            ("{taints: ['maintenance:NoSchedule']}", maintenance, None),
            ("{taints: [other, maintenance]}", maintenance, Some("")),
            ("{taints: [other]}", maintenance, None),
            (
                "{taints: [gone]}",
                "spec: {taints: [{key: gone, effect: NoSchedule}]}",
                Some("Node/n1 has the taint gone:NoSchedule"),
            ),
        ];
        for (settings, node, want) in cases {
            let yaml = format!("bgp: {{drain: {settings}}}");
            let config = brindle_config::Config::from_yaml("test.yaml", &yaml).unwrap();
            let object = serde_yaml::from_str(&format!("metadata: {{name: n1}}\n{node}")).unwrap();
            let node = crate::cluster::node::read(&object).unwrap();
            let got = wanted_by(&config.bgp.drain, &node);
            assert_eq!(got.is_some(), want.is_some(), "{settings} {node:?}");
            if let Some(want) = want.filter(|want| !want.is_empty()) {
                assert_eq!(got.as_deref(), Some(want), "{settings}");
            }
        }
    }
}
