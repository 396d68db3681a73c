//! Tests of the tree of filters.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// The rules of section 4.7, level by level and without any index.
fn naive_match(filter: &str, topic: &str) -> bool {
    fn levels(filter: &[&str], topic: &[&str]) -> bool {
        match (filter, topic) {
            (["#"], _) | ([], []) => true,
            (["+", filter @ ..], [_, topic @ ..]) => levels(filter, topic),
            ([a, filter @ ..], [b, topic @ ..]) if a == b => levels(filter, topic),
            _ => false,
        }
    }
    let filter: Vec<&str> = filter.split('/').collect();
    let topic: Vec<&str> = topic.split('/').collect();
    if topic[0].starts_with('$') && matches!(filter[0], "+" | "#") {
        return false;
    }
    levels(&filter, &topic)
}

fn found(trie: &Trie<u8>, topic: &str) -> Vec<(u32, u8)> {
    let mut found = Vec::new();
    trie.matches(topic, &mut found);
    found.iter().map(|(subscriber, value)| (subscriber.0, *value)).collect()
}

fn trie(filters: &[&str]) -> Trie<u8> {
    let mut trie = Trie::new();
    for (subscriber, filter) in (0..).zip(filters) {
        trie.insert(filter, SubscriberId(subscriber), 0);
    }
    trie
}

fn matching(filters: &[&str], topic: &str) -> Vec<u32> {
    found(&trie(filters), topic).iter().map(|(subscriber, _)| *subscriber).collect()
}

/// [MQTT-4.7.1-2]
#[test]
fn hash_matches_the_level_above_it_and_all_below() {
    let filters = ["sport/tennis/player1/#"];
    for topic in
        ["sport/tennis/player1", "sport/tennis/player1/ranking", "sport/tennis/player1/score/wimbledon"]
    {
        assert_eq!(matching(&filters, topic), [0], "{topic}");
    }
    assert!(matching(&filters, "sport/tennis/player2").is_empty());
    assert_eq!(matching(&["sport/#"], "sport"), [0]);
}

/// [MQTT-4.7.1-3]
#[test]
fn plus_matches_exactly_one_level_which_may_be_empty() {
    assert_eq!(matching(&["sport/+"], "sport/"), [0]);
    assert!(matching(&["sport/+"], "sport").is_empty());
    assert_eq!(matching(&["+/+", "/+", "+"], "/finance"), [0, 1]);
    assert_eq!(matching(&["sport/+/player1"], "sport/tennis/player1"), [0]);
}

/// [MQTT-4.7.2-1]
#[test]
fn wildcards_at_the_first_level_do_not_see_dollar_topics() {
    let filters = ["#", "+/monitor/Clients", "$SYS/#", "$SYS/monitor/+"];
    assert_eq!(matching(&filters, "$SYS/monitor/Clients"), [2, 3]);
    assert_eq!(matching(&filters, "SYS/monitor/Clients"), [0, 1]);
}

/// [MQTT-3.3.5-1]
#[test]
fn overlapping_filters_of_one_subscriber_all_match_the_highest_value_first() {
    let mut trie = Trie::new();
    trie.insert("a/#", SubscriberId(7), 0);
    trie.insert("a/+", SubscriberId(7), 2);
    trie.insert("a/b", SubscriberId(7), 1);
    trie.insert("a/b", SubscriberId(3), 1);
    assert_eq!(found(&trie, "a/b"), [(3, 1), (7, 2), (7, 1), (7, 0)]);
    assert_eq!(found(&trie, "a/b/c"), [(7, 0)]);
}

/// [MQTT-3.8.4-3]
#[test]
fn a_repeated_subscription_replaces_the_value() {
    let mut trie = Trie::new();
    assert_eq!(trie.insert("a", SubscriberId(1), 2), None);
    assert_eq!(trie.insert("a", SubscriberId(1), 0), Some(2));
    assert_eq!(trie.len(), 1);
    assert_eq!(found(&trie, "a"), [(1, 0)]);
}

#[test]
fn a_removed_filter_leaves_nothing_behind() {
    let filters = ["a/b/c/d", "a/b", "a/+/c", "a/#", "#", "+", "/", "$SYS/x"];
    let mut trie = trie(&filters);
    trie.insert("keep", SubscriberId(99), 0);
    for (subscriber, filter) in (0..).zip(filters) {
        assert_eq!(trie.remove(filter, SubscriberId(subscriber)), Some(0));
        assert_eq!(trie.remove(filter, SubscriberId(subscriber)), None);
    }
    assert_eq!(trie.len(), 1);
    assert_eq!(trie.edges.len(), 1);
    assert_eq!(trie.nodes.len() - trie.free.len(), 2);
    assert_eq!(trie.levels.index.len(), 1);
}

#[test]
fn ten_thousand_siblings_and_ten_thousand_subscribers_of_one_filter() {
    let mut trie = Trie::new();
    for n in 0..10_000 {
        trie.insert(&format!("dev/{n}/cmd"), SubscriberId(n), 1);
        trie.insert("all", SubscriberId(n), 0);
    }
    assert_eq!(found(&trie, "dev/4711/cmd"), [(4711, 1)]);
    assert_eq!(found(&trie, "all").len(), 10_000);
    for n in 1..10_000 {
        assert_eq!(trie.remove("all", SubscriberId(n)), Some(0));
        assert_eq!(trie.remove(&format!("dev/{n}/cmd"), SubscriberId(n)), Some(1));
    }
    assert_eq!(found(&trie, "all"), [(0, 0)]);
    assert_eq!(trie.len(), 2);
}

#[test]
fn a_million_filters_stay_below_200_bytes_each() {
    let mut trie = Trie::new();
    for n in 0..1_000_000 {
        trie.insert(&format!("site/{}/dev/{n}", n % 1000), SubscriberId(n % 5000), 1_u8);
    }
    let bytes = trie.nodes.capacity() * size_of::<Node<u8>>()
        + trie.edges.capacity() * (size_of::<((u32, u32), u32)>() + 1) * 8 / 7
        + trie.levels.names.capacity() * size_of::<(CompactString, u32)>()
        + trie.levels.index.capacity() * 5 * 8 / 7;
    assert!(bytes < 200_000_000, "{bytes}");
    assert_eq!(found(&trie, "site/567/dev/234567"), [(234_567 % 5000, 1)]);
}

fn level() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["", "a", "b", "$x"])
}

fn topic() -> impl Strategy<Value = String> {
    prop::collection::vec(level(), 1..5).prop_map(|levels| levels.join("/"))
}

fn filter() -> impl Strategy<Value = String> {
    let level = prop_oneof![3 => level(), 1 => Just("+")];
    (prop::collection::vec(level, 0..5), prop::bool::ANY).prop_map(|(mut levels, hash)| {
        if hash || levels.is_empty() {
            levels.push("#");
        }
        levels.join("/")
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn agrees_with_the_naive_matcher(
        changes in prop::collection::vec((filter(), 0_u32..20, prop::option::weighted(0.7, 0_u8..3)), 1..200),
        topics in prop::collection::vec(topic(), 1..20),
    ) {
        let mut trie = Trie::new();
        let mut model: BTreeMap<(String, u32), u8> = BTreeMap::new();
        for (filter, subscriber, change) in changes {
            let id = SubscriberId(subscriber);
            match change {
                Some(value) => prop_assert_eq!(trie.insert(&filter, id, value), model.insert((filter, subscriber), value)),
                None => prop_assert_eq!(trie.remove(&filter, id), model.remove(&(filter, subscriber))),
            }
            prop_assert_eq!(trie.len(), model.len());
        }
        for topic in topics {
            let matching = model.iter().filter(|((filter, _), _)| naive_match(filter, &topic));
            let mut expected: Vec<(u32, u8)> = matching.map(|((_, subscriber), value)| (*subscriber, *value)).collect();
            expected.sort_by_key(|(subscriber, value)| (*subscriber, std::cmp::Reverse(*value)));
            prop_assert_eq!(found(&trie, &topic), expected);
        }
        for ((filter, subscriber), _) in model {
            trie.remove(&filter, SubscriberId(subscriber));
        }
        prop_assert!(trie.edges.is_empty() && trie.levels.index.is_empty() && trie.is_empty());
    }
}
