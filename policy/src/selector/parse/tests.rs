//! What selectors mean, and what is said about text that is none.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::model::Labels;
use crate::selector::Subject;

fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect()
}

/// Whether a selector holds for something in no namespace that has these labels.
fn holds(text: &str, own: &[(&str, &str)]) -> bool {
    let own = labels(own);
    let subject = Subject { namespace: None, own: &own, of_namespace: None, of_account: None };
    parse(text).unwrap_or_else(|error| panic!("{text}: {error}")).matches(&subject)
}

#[test]
fn each_operator_with_the_label_absent_empty_and_there() {
    for (id, text, absent, empty, there) in [
        ("C01", r#"k == "ab""#, false, false, true),
        ("C01", r#"k == """#, false, true, false),
        ("C01", r#"k != "ab""#, true, true, false),
        ("C01", r#"k != """#, true, false, true),
        ("C01", r#"k in {"ab", "c"}"#, false, false, true),
        ("C01", r#"k in {""}"#, false, true, false),
        ("C01", r#"k in {}"#, false, false, false),
        ("C01", r#"k not in {"ab"}"#, true, true, false),
        ("C01", r#"k not in {}"#, true, true, true),
        ("C01", r#"k contains "b""#, false, false, true),
        ("C01", r#"k contains "B""#, false, false, false),
        ("C01", r#"k contains """#, false, true, true),
        ("C01", r#"k starts with "a""#, false, false, true),
        ("C01", r#"k starts with "b""#, false, false, false),
        ("C01", r#"k ends with "b""#, false, false, true),
        ("C01", r#"k ends with "a""#, false, false, false),
        ("C01", "has(k)", false, true, true),
        ("C01", "!has(k)", true, false, false),
        ("C01", "all()", true, true, true),
        ("", "", true, true, true),
        ("", " \t ", true, true, true),
        ("C02", "!!has(k)", false, true, true),
        ("C02", "! ! ! has(k)", true, false, false),
        ("C04", r#"k startswith "a""#, false, false, true),
        ("C04", r#"k starts  with "a""#, false, false, true),
        ("C04", r#"k endswith "b""#, false, false, true),
        ("C04", r#"k notin {"ab"}"#, true, true, false),
        ("C04", "k\tnot\tin\t{\"ab\"}", true, true, false),
        ("", r#"k=="ab""#, false, false, true),
        ("", "k == 'ab'", false, false, true),
        ("", r#"k in{"ab",}"#, false, false, true),
        ("", r#"k in { "ab" , }"#, false, false, true),
        ("", r#"k contains"b""#, false, false, true),
        ("", "(((has( k ))))", false, true, true),
        ("", "all( )", true, true, true),
    ] {
        assert_eq!(holds(text, &[]), absent, "{id} {text} without k");
        assert_eq!(holds(text, &[("k", "")]), empty, "{id} {text} with k empty");
        assert_eq!(holds(text, &[("k", "ab")]), there, "{id} {text} with k=ab");
    }
}

#[test]
fn not_binds_more_than_and_and_and_more_than_or() {
    for (id, text, own, want) in [
        ("C02", r#"!(a == "x" || b == "y") && c in {"z"}"#, &[("c", "z")][..], true),
        ("C02", r#"!(a == "x" || b == "y") && c in {"z"}"#, &[("c", "z"), ("b", "y")], false),
        ("C02", r#"!(a == "x" || b == "y") && c in {"z"}"#, &[], false),
        ("C02", "has(a) || has(b) && has(c)", &[("a", "")], true),
        ("C02", "has(a) && has(b) || has(c)", &[("c", "")], true),
        ("C02", "(has(a) || has(b)) && has(c)", &[("a", "")], false),
        ("C02", "!has(a) && has(b)", &[("b", "")], true),
        ("C02", "!has(a) || has(a)", &[("a", "")], true),
    ] {
        assert_eq!(holds(text, own), want, "{id} {text} for {own:?}");
    }
}

#[test]
fn names_may_be_words_of_the_language() {
    for (text, key) in [
        (r#"in in {"x"}"#, "in"),
        (r#"not not in {"y"}"#, "not"),
        (r#"contains contains "x""#, "contains"),
        (r#"has == "x""#, "has"),
        ("has(has)", "has"),
        (r#"all == "x""#, "all"),
        (r#"global == "x""#, "global"),
        (r#"starts starts with "x""#, "starts"),
        (r#"a-b.c/d_E9 == "x""#, "a-b.c/d_E9"),
        ("has(-)", "-"),
    ] {
        assert!(holds(text, &[(key, "x")]), "{text}");
    }
}

#[test]
fn names_stand_for_the_labels_that_calico_gives_endpoints() {
    for (whose, text, want) in [
        (Whose::Endpoint, r#"app == "a""#, "app=a"),
        (Whose::Endpoint, r#"projectcalico.org/namespace == "shop""#, "ns=shop"),
        (Whose::Endpoint, r#"pcns.projectcalico.org/name == "shop""#, "ns=shop"),
        (Whose::Endpoint, r#"projectcalico.org/namespace != "shop""#, "not (ns=shop)"),
        (
            Whose::Endpoint,
            r#"projectcalico.org/namespace in {"b", "a"} && has(x)"#,
            "has x and (ns=a or ns=b)",
        ),
        (Whose::Endpoint, r#"projectcalico.org/namespace in {}"#, "nothing"),
        (Whose::Endpoint, "has(projectcalico.org/namespace)", "has ns.kubernetes.io/metadata.name"),
        (
            Whose::Endpoint,
            r#"projectcalico.org/namespace starts with "dev-""#,
            "ns.kubernetes.io/metadata.name starts with dev-",
        ),
        (Whose::Endpoint, r#"pcns.team == "dba""#, "ns.team=dba"),
        (
            Whose::Endpoint,
            r#"projectcalico.org/serviceaccount == "web""#,
            "sa.projectcalico.org/serviceaccount=web",
        ),
        (
            Whose::Endpoint,
            r#"projectcalico.org/orchestrator == "k8s""#,
            "sa.projectcalico.org/orchestrator=k8s",
        ),
        (
            Whose::Endpoint,
            r#"pcsa.projectcalico.org/name == "web""#,
            "sa.projectcalico.org/name=web",
        ),
        (Whose::Endpoint, r#"pcsa.role == "web""#, "sa.role=web"),
        (Whose::Namespace, r#"team == "dba""#, "ns.team=dba"),
        (Whose::Namespace, r#"projectcalico.org/name == "shop""#, "ns=shop"),
        (Whose::Namespace, r#"kubernetes.io/metadata.name in {"shop"}"#, "ns=shop"),
        (Whose::Namespace, "all()", "has ns.kubernetes.io/metadata.name"),
        (Whose::Namespace, "", "has ns.kubernetes.io/metadata.name"),
        (
            Whose::Namespace,
            r#"env == "prod" || all()"#,
            "has ns.kubernetes.io/metadata.name or ns.env=prod",
        ),
        (Whose::ServiceAccount, r#"role == "web""#, "sa.role=web"),
        (Whose::ServiceAccount, r#"projectcalico.org/name == "w""#, "sa.projectcalico.org/name=w"),
        (Whose::ServiceAccount, "all()", "has sa.projectcalico.org/name"),
    ] {
        let expr = parse_of(text, whose).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(expr.to_string(), want, "{text} of {whose:?}");
    }
}

#[test]
fn global_is_legal_only_as_the_whole_selector_of_a_peers_namespaces() {
    for text in ["global()", " global( ) "] {
        let expr = parse_peer_namespaces(text).unwrap();
        assert_eq!(expr.to_string(), "not (has ns.kubernetes.io/metadata.name)", "{text}");
        let error = parse(text).unwrap_err();
        assert!(error.message.starts_with("found \"global()\""), "{error}");
        assert!(parse_of(text, Whose::Namespace).is_err());
    }
    for text in ["!global()", "global() || has(a)", "(global())", "has(a) && global()"] {
        assert!(parse_peer_namespaces(text).is_err(), "{text}");
    }
    assert_eq!(parse_peer_namespaces("has(a)").unwrap().to_string(), "has ns.a");
}

#[test]
fn text_that_is_no_selector_is_refused_with_place_and_hint() {
    let long_name = format!("has({})", "n".repeat(513));
    let too_long = format!("{:<1025}", "has(a)");
    let deep = "(".repeat(100);
    let operators = "==, !=, in, not in, contains, starts with or ends with after the name";
    let term = "the name of a label, \"has(\", \"all()\", \"!\" or \"(\"";
    for (id, text, column, want) in [
        (
            "C03",
            r#"app = "web""#,
            5,
            format!("found \"=\"; accepted is {operators}; did you mean ==?"),
        ),
        (
            "C03",
            r#"app === "web""#,
            7,
            "found \"=\"; accepted is a value in quotes; equality is ==".to_owned(),
        ),
        ("C03", "has(a) &&\n has(b)", 10, format!("found \"\\n\"; accepted is {term}")),
        (
            "C03",
            r#"app == "web"#,
            8,
            "found a value that does not end; accepted is \" after it".to_owned(),
        ),
        (
            "C03",
            r#"app == "web'"#,
            8,
            "found a value that does not end; accepted is \" after it".to_owned(),
        ),
        ("C03", r#"app in {"a", "b""#, 17, "found the end; accepted is \",\" or \"}\"".to_owned()),
        (
            "C03",
            r#"app in "a""#,
            8,
            "found \"\"\"; accepted is \"{\" and values in quotes".replace("\"\"\"", "\"\\\"\""),
        ),
        ("C03", "app in {", 9, "found the end; accepted is a value in quotes or \"}\"".to_owned()),
        ("C03", "app in {,}", 9, "found \",\"; accepted is a value in quotes".to_owned()),
        ("", "app in {a}", 9, "found \"a\"; accepted is a value in quotes".to_owned()),
        ("", "app == web", 8, "found \"web\"; accepted is a value in quotes".to_owned()),
        (
            "",
            "app",
            4,
            format!("found the end; accepted is {operators}; did you mean has(\"app\")?"),
        ),
        ("", "all", 4, format!("found the end; accepted is {operators}; did you mean all()?")),
        ("", "not has(a)", 5, format!("found \"has\"; accepted is {operators}; did you mean !?")),
        (
            "",
            "has (a)",
            5,
            format!("found \"(\"; accepted is {operators}; did you mean has( without a space?"),
        ),
        ("", "has(a", 6, "found the end; accepted is \")\" after the name".to_owned()),
        ("", "has()", 5, "found \")\"; accepted is the name of a label".to_owned()),
        (
            "",
            "has(\"a\")",
            5,
            "found \"\\\"\"; accepted is the name of a label; names are not quoted".to_owned(),
        ),
        (
            "",
            "has(a) & has(b)",
            8,
            "found \"&\"; accepted is \"&&\", \"||\" or the end of the selector; did you mean &&?"
                .to_owned(),
        ),
        (
            "",
            "(has(a) | has(b))",
            9,
            "found \"|\"; accepted is \"&&\", \"||\" or \")\"; did you mean ||?".to_owned(),
        ),
        (
            "",
            "has(a))",
            7,
            "found \")\"; accepted is \"&&\", \"||\" or the end of the selector".to_owned(),
        ),
        ("", "(has(a)", 8, "found the end; accepted is \"&&\", \"||\" or \")\"".to_owned()),
        ("", "!", 2, format!("found the end; accepted is {term}")),
        ("", "app inx {\"a\"}", 5, format!("found \"inx\"; accepted is {operators}")),
        ("", "app contains_ \"a\"", 5, format!("found \"contains_\"; accepted is {operators}")),
        ("", "é == \"a\"", 1, format!("found \"é\"; accepted is {term}")),
        (
            "",
            "a == \"é\" x",
            10,
            "found \"x\"; accepted is \"&&\", \"||\" or the end of the selector".to_owned(),
        ),
        ("", &long_name, 5, "a name of 513 characters; accepted are 512".to_owned()),
        ("", &too_long, 1025, "a selector of 1025 octets; accepted are 1024".to_owned()),
        ("", &deep, 65, "found a bracket in 64 others; accepted are 64".to_owned()),
    ] {
        match parse(text) {
            Ok(expr) => panic!("{id} {text} is taken for {expr}"),
            Err(error) => {
                assert_eq!((error.column, &error.message), (column, &want), "{id} {text}");
                assert_eq!(error.to_string(), format!("column {column}: {want}"));
            }
        }
    }
}

#[test]
fn what_is_as_long_and_deep_as_accepted_is_taken() {
    let name = "n".repeat(LONGEST_NAME);
    assert!(holds(&format!("has({name})"), &[(&name, "")]));
    let padded = format!("{:<width$}", "has(a)", width = MOST_OCTETS);
    assert!(holds(&padded, &[("a", "")]));
    let deep = format!("{}has(a){}", "(".repeat(DEEPEST), ")".repeat(DEEPEST));
    assert!(holds(&deep, &[("a", "")]));
    let nots = format!("{}has(a)", "!".repeat(1000));
    assert!(holds(&nots, &[("a", "")]));
}

/// A selector with what it means, worked out apart from [`Expr`].
#[derive(Clone, Debug)]
enum Tree {
    Has(&'static str),
    Is(&'static str, &'static str),
    IsNot(&'static str, &'static str),
    In(&'static str, Vec<&'static str>, bool),
    StartsWith(&'static str, &'static str),
    Not(Box<Tree>),
    And(Vec<Tree>),
    Or(Vec<Tree>),
}

impl Tree {
    fn holds(&self, own: &Labels) -> bool {
        let value = |key: &str| own.get(key).map(|value| &**value);
        match self {
            Tree::Has(key) => value(key).is_some(),
            Tree::Is(key, wanted) => value(key) == Some(wanted),
            Tree::IsNot(key, wanted) => value(key) != Some(wanted),
            Tree::In(key, wanted, negated) => {
                value(key).is_some_and(|value| wanted.contains(&value)) != *negated
            }
            Tree::StartsWith(key, start) => value(key).is_some_and(|v| v.starts_with(start)),
            Tree::Not(inner) => !inner.holds(own),
            Tree::And(parts) => parts.iter().all(|part| part.holds(own)),
            Tree::Or(parts) => parts.iter().any(|part| part.holds(own)),
        }
    }

    /// As text, with brackets only where it needs them.
    fn text(&self) -> String {
        let join = |parts: &[Tree], word: &str, brackets: fn(&Tree) -> bool| {
            let text = |part: &Tree| match brackets(part) {
                true => format!("({})", part.text()),
                false => part.text(),
            };
            parts.iter().map(text).collect::<Vec<_>>().join(word)
        };
        match self {
            Tree::Has(key) => format!("has({key})"),
            Tree::Is(key, value) => format!("{key} == \"{value}\""),
            Tree::IsNot(key, value) => format!("{key}!='{value}'"),
            Tree::In(key, values, negated) => {
                let values: Vec<_> = values.iter().map(|value| format!("'{value}'")).collect();
                let word = if *negated { "not in" } else { "in" };
                format!("{key} {word} {{{}}}", values.join(", "))
            }
            Tree::StartsWith(key, start) => format!("{key} starts with \"{start}\""),
            Tree::Not(inner) => match **inner {
                Tree::And(_) | Tree::Or(_) => format!("!({})", inner.text()),
                _ => format!("!{}", inner.text()),
            },
            Tree::And(parts) => join(parts, " && ", |part| matches!(part, Tree::Or(_))),
            Tree::Or(parts) => join(parts, " || ", |_| false),
        }
    }
}

fn tree() -> impl Strategy<Value = Tree> {
    let key = || prop::sample::select(vec!["a", "b", "in", "x.y/z"]);
    let value = || prop::sample::select(vec!["", "1", "12", "}"]);
    let leaf = prop_oneof![
        key().prop_map(Tree::Has),
        (key(), value()).prop_map(|(key, value)| Tree::Is(key, value)),
        (key(), value()).prop_map(|(key, value)| Tree::IsNot(key, value)),
        (key(), prop::collection::vec(value(), 0..3), any::<bool>())
            .prop_map(|(key, values, negated)| Tree::In(key, values, negated)),
        (key(), value()).prop_map(|(key, value)| Tree::StartsWith(key, value)),
    ];
    leaf.prop_recursive(4, 24, 3, |inner| {
        let parts = || prop::collection::vec(inner.clone(), 1..4);
        prop_oneof![
            inner.clone().prop_map(|inner| Tree::Not(Box::new(inner))),
            parts().prop_map(Tree::And),
            parts().prop_map(Tree::Or),
        ]
    })
}

fn some_labels() -> impl Strategy<Value = Labels> {
    let value = prop::sample::select(vec!["", "1", "12", "}"]);
    let key = prop::sample::select(vec!["a", "b", "in", "x.y/z"]);
    let pair = (key, value).prop_map(|(key, value)| (Arc::from(key), Arc::from(value)));
    prop::collection::btree_map(any::<u8>(), pair, 0..4)
        .prop_map(|pairs| pairs.into_values().collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn a_selector_means_what_its_tree_does(
        tree in tree(),
        owns in prop::collection::vec(some_labels(), 1..6),
    ) {
        let text = tree.text();
        prop_assume!(text.len() <= MOST_OCTETS);
        let expr = parse(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
        for own in owns {
            let subject =
                Subject { namespace: None, own: &own, of_namespace: None, of_account: None };
            prop_assert_eq!(expr.matches(&subject), tree.holds(&own), "{} for {:?}", text, own);
        }
    }

    #[test]
    fn no_text_makes_the_parser_panic(
        text in prop_oneof![
            ".{0,40}",
            "[ab(){}!&|=\"',\t in-]{0,60}",
            "[(!]{0,1024}",
        ],
    ) {
        for whose in [Whose::Endpoint, Whose::Namespace, Whose::ServiceAccount] {
            if let Err(error) = parse_of(&text, whose) {
                prop_assert!(error.offset <= text.len() && text.is_char_boundary(error.offset));
                prop_assert_eq!(text[..error.offset].chars().count() + 1, error.column);
            }
        }
    }
}
