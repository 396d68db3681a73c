//! Names and filters, good and bad; matching against the standard's examples and a second definition.

//! Tests of topic names and filters.

use proptest::prelude::*;

use super::*;

#[test]
fn names_without_wildcards_are_valid() {
    for name in ["a", "/", "//", "a/b", "/a", "a/", "$SYS/x", "a b/ü/漢/\u{1F600}", "\u{feff}", "a\u{1}"] {
        assert_eq!(check_name(name), Ok(()), "{name:?}");
    }
    assert_eq!(check_name(&"x".repeat(LEN_MAX)), Ok(()));
}

#[test]
fn bad_names_are_refused_with_their_reason() {
    assert_eq!(check_name(""), Err(NameError::Empty)); // [MQTT-4.7.3-1]
    assert_eq!(check_name("a\0"), Err(NameError::Nul)); // [MQTT-4.7.3-2]
    assert_eq!(check_name(&"x".repeat(LEN_MAX + 1)), Err(NameError::TooLong)); // [MQTT-4.7.3-3]
    for name in ["+", "#", "a/+", "a/#", "a+", "a/b#c"] {
        assert_eq!(check_name(name), Err(NameError::Wildcard), "{name}"); // [MQTT-3.3.2-2]
    }
}

/// [MQTT-4.7.1-1]
#[test]
fn filters_take_wildcards_that_fill_a_level() {
    for filter in ["#", "+", "/", "+/+", "/+", "a/#", "+/a/#", "a//b", "//#", "$SYS/#", "$share/g/+"] {
        assert_eq!(check_filter(filter), Ok(()), "{filter}");
    }
}

#[test]
fn bad_filters_are_refused_with_their_reason() {
    assert_eq!(check_filter(""), Err(FilterError::Empty)); // [MQTT-4.7.3-1]
    assert_eq!(check_filter("a/\0"), Err(FilterError::Nul)); // [MQTT-4.7.3-2]
    assert_eq!(check_filter(&"x/".repeat(LEN_MAX)), Err(FilterError::TooLong)); // [MQTT-4.7.3-3]
    for filter in ["#/", "#/a", "a/#/b", "+/#/"] {
        assert_eq!(check_filter(filter), Err(FilterError::HashNotLast), "{filter}"); // [MQTT-4.7.1-2]
    }
    for filter in ["a#", "a/b#", "##", "+#", "a+", "+a", "a/+b/c", "++"] {
        assert_eq!(check_filter(filter), Err(FilterError::WildcardInLevel), "{filter}"); // [MQTT-4.7.1-3]
    }
}

#[test]
fn empty_levels_count_as_levels() {
    for (topic, count) in [("a", 1), ("/", 2), ("//", 3), ("a/b", 2), ("/a/", 3), ("+/#", 2)] {
        assert_eq!(levels(topic), count, "{topic}");
    }
}

#[test]
fn filters_match_as_the_standard_says() {
    for (filter, name) in [
        ("a", "a"),
        ("a/b", "a/b"),
        ("+", "a"),
        ("+/+", "/a"), // MQTT-4.7.3: levels may be empty
        ("/+", "/a"),
        ("a/+", "a/"),
        ("a/+/c", "a/b/c"),
        ("#", "a/b"),
        ("#", "/"),
        ("a/#", "a"), // [MQTT-4.7.1-2]: the parent level too
        ("a/#", "a/b/c"),
        ("+/#", "a"),
        ("$SYS/#", "$SYS/broker/x"),
        ("$SYS/+/x", "$SYS/a/x"),
        ("a/+", "a/$b"),
        ("/#", "/$SYS"),
    ] {
        assert!(matches(filter, name), "{filter} should match {name}");
    }
    for (filter, name) in [
        ("a", "A"), // [MQTT-4.7.3-4]: nothing is normalised
        ("a", "a/"),
        ("a", "/a"),
        ("+", "/a"),
        ("+", "a/b"),
        ("a/+", "a"),
        ("a/+", "a/b/c"),
        ("a/b/#", "a"),
        ("a/#", "ab"),
        ("#", "$SYS/x"), // [MQTT-4.7.2-1]
        ("+/x", "$SYS/x"),
        ("+/#", "$SYS/x"),
        ("é", "e\u{301}"),
    ] {
        assert!(!matches(filter, name), "{filter} should not match {name}");
    }
}

#[test]
fn a_share_prefix_is_taken_apart() {
    assert_eq!(share("a/b"), Ok(None));
    assert_eq!(share("$share"), Ok(None));
    assert_eq!(share("$shared/g/a"), Ok(None));
    assert_eq!(share("$share/g/a/+"), Ok(Some(Share { group: "g", filter: "a/+" })));
    assert_eq!(share("$share/g//"), Ok(Some(Share { group: "g", filter: "/" })));
    for bad in ["$share/", "$share/g", "$share/g/", "$share//a", "$share/+/a", "$share/#"] {
        assert_eq!(share(bad), Err(FilterError::Share), "{bad}");
    }
    assert_eq!(share("$share/g/a#"), Err(FilterError::WildcardInLevel));
}

proptest! {
    #[test]
    fn a_name_is_a_filter_that_matches_itself(name in "[$a/]{1,8}") {
        prop_assert_eq!(check_name(&name), Ok(()));
        prop_assert_eq!(check_filter(&name), Ok(()));
        prop_assert!(matches(&name, &name));
        prop_assert_eq!(matches("#", &name), !starts_with_dollar(&name));
    }

    #[test]
    fn matching_equals_trying_every_expansion(filter in "(a|b|\\+|)(/(a|b|\\+|)){0,3}(/#)?", name in "[ab/]{1,6}") {
        prop_assume!(!filter.is_empty());
        prop_assert_eq!(check_filter(&filter), Ok(()));
        prop_assert_eq!(matches(&filter, &name), expands(&filter, &name));
    }
}

/// Fills the wildcards of the filter with every choice of the name's levels and looks whether the name comes out.
fn expands(filter: &str, name: &str) -> bool {
    let given: Vec<&str> = name.split('/').collect();
    let mut wanted: Vec<&str> = filter.split('/').collect();
    if wanted.last() == Some(&"#") {
        wanted.pop();
        return (wanted.len()..=given.len()).any(|len| {
            let mut longer = wanted.clone();
            longer.resize(len, "+");
            same(&longer, &given)
        });
    }
    same(&wanted, &given)
}

fn same(wanted: &[&str], given: &[&str]) -> bool {
    wanted.len() == given.len() && wanted.iter().zip(given).all(|(want, have)| *want == "+" || want == have)
}
