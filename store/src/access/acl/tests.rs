//! The matcher against a naive one, which knows the documented rules and nothing of trees.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn path(text: &str) -> Path {
    text.parse().unwrap()
}

fn acl(rules: &[(&str, &str)]) -> Acl {
    let rules: Vec<(Path, Rights)> =
        rules.iter().map(|(pattern, rights)| (path(pattern), Rights::read(rights))).collect();
    Acl::new(rules.iter().map(|(pattern, rights)| (pattern.as_path(), *rights)))
}

fn names() -> Names {
    Names::new(Some("ann"), Some("dev")).unwrap()
}

fn rights(acl: &Acl, at: &str) -> String {
    acl.grant(path(at).as_path(), &names()).rights.to_string()
}

/// How a rule may match a path: for each element of the path, the rank of what takes it.
fn derivations(pattern: &[Element<'_>], path: &[Element<'_>], is_first: bool) -> Vec<Vec<u8>> {
    let (Some((wanted, pattern_rest)), Some((element, path_rest))) =
        (pattern.split_first(), path.split_first())
    else {
        return if pattern.is_empty() && path.is_empty() { vec![Vec::new()] } else { Vec::new() };
    };
    let reserved = match element {
        Element::Null => true,
        Element::Str(name) if is_first => name.starts_with('$') || name == ".distkv",
        _ => false,
    };
    let wild = |rank: u8, holds: bool| (holds && !reserved).then_some(rank);
    let rank = match wanted {
        Element::Str(name) if name == "%u" => wild(1, *element == Element::str("ann")),
        Element::Str(name) if name == "%c" => wild(2, *element == Element::str("dev")),
        Element::Str(name) if name == "+" => wild(3, true),
        Element::Str(name) if name == "#" => wild(4, true),
        exact => (exact == element).then_some(0),
    };
    let Some(rank) = rank else { return Vec::new() };
    let mut found = Vec::new();
    let mut add = |ranks: Vec<u8>, rest: Vec<Vec<u8>>| {
        found.extend(rest.into_iter().map(|rest| [&ranks[..], &rest].concat()));
    };
    add(vec![rank], derivations(pattern_rest, path_rest, false));
    if *wanted == Element::str("#") {
        // It goes on, over one element after another.
        let mut ranks = vec![rank];
        for (at, element) in path_rest.iter().enumerate() {
            if *element == Element::Null {
                break;
            }
            ranks.push(5);
            add(ranks.clone(), derivations(pattern_rest, &path_rest[at + 1..], false));
        }
    }
    found
}

/// The rule that holds for a path, by trying all of them.
fn naive<'r>(rules: &'r [(Path, Rights)], path: &[Element<'_>]) -> Option<&'r (Path, Rights)> {
    let ranked = rules.iter().flat_map(|rule| {
        let pattern: Vec<Element<'_>> = rule.0.elements().collect();
        derivations(&pattern, path, true).into_iter().map(move |ranks| (ranks, rule))
    });
    let best = ranked.min_by(|(a, _), (b, _)| a.cmp(b)).map(|(_, rule)| rule);
    // The root has the rights of `#`, if it has no rule of its own.
    let many = || rules.iter().find(|(pattern, _)| pattern.to_string() == "#").filter(|_| path.is_empty());
    best.or_else(many)
}

fn name() -> impl Strategy<Value = Element<'static>> {
    prop::sample::select(vec!["a", "b", "ann", "dev", "$x", ".distkv", "null", "1"]).prop_map(|name| {
        match name {
            "null" => Element::Null,
            "1" => Element::Int(1),
            name => Element::str(name),
        }
    })
}

fn pattern() -> impl Strategy<Value = Path> {
    let wild = prop::sample::select(vec!["+", "#", "#", "%u", "%c"]).prop_map(Element::str);
    vec(prop_oneof![name(), wild], 0..5).prop_map(|elements| Path::from_elements(elements).unwrap())
}

fn letters() -> impl Strategy<Value = Rights> {
    "[rwdcxena]{0,8}".prop_map(|letters| Rights::read(&letters))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn the_matcher_finds_what_the_rules_say(
        rules in prop::collection::btree_map(pattern(), letters(), 0..12),
        path in vec(name(), 0..6),
    ) {
        let rules: Vec<(Path, Rights)> = rules.into_iter().collect();
        let acl = Acl::new(rules.iter().map(|(pattern, rights)| (pattern.as_path(), *rights)));
        let whole = Path::from_elements(path.iter().cloned()).unwrap();
        let grant = acl.grant(whole.as_path(), &names());
        let expected = naive(&rules, &path);
        prop_assert_eq!(acl.rule(&grant).map(|rule| &rule.pattern), expected.map(|(pattern, _)| pattern));
        prop_assert_eq!(grant.rights, expected.map_or(Rights::NONE, |(_, rights)| *rights));

        // The levels above: each by its own rule; one without a rule, and the root without its own, is no barrier.
        let levels: Vec<Rights> = (0..path.len())
            .map(|level| {
                let free = Rights::NONE.with(Right::Pass).with(Right::New);
                match naive(&rules, &path[..level]) {
                    None => free,
                    Some((pattern, rights)) if level == 0 && !pattern.is_root() => {
                        rights.with(Right::Pass).with(Right::New)
                    }
                    Some((_, rights)) => *rights,
                }
            })
            .collect();
        let without = |right| levels.iter().position(move |rights: &Rights| !rights.has(right));
        prop_assert_eq!(grant.barrier(), without(Right::Pass));
        for right in Right::ALL {
            prop_assert_eq!(grant.may(right), grant.rights.has(right) && without(Right::Pass).is_none());
        }
        for from in 0..=path.len() {
            let unlisted = (from..path.len()).rev().find(|level| !levels[*level].has(Right::List));
            prop_assert_eq!(grant.unlisted(from), unlisted, "from level {}", from);
            let passes = levels[..from].iter().all(|rights| rights.has(Right::Pass));
            let makes = levels[from..].iter().all(|rights| rights.has(Right::New));
            prop_assert_eq!(grant.may_create(from), grant.rights.has(Right::Create) && passes && makes);
        }
    }

    #[test]
    fn any_path_can_be_a_pattern(patterns in vec(vec(name(), 0..4), 0..4), path in vec(name(), 0..4)) {
        let patterns: Vec<Path> = patterns.into_iter().map(|it| Path::from_elements(it).unwrap()).collect();
        let acl = Acl::new(patterns.iter().map(|pattern| (pattern.as_path(), Rights::ALL)));
        let path = Path::from_elements(path).unwrap();
        let matches = patterns.contains(&path);
        prop_assert_eq!(acl.grant(path.as_path(), &Names::default()).rights.has(Right::Read), matches);
    }
}

#[test]
fn the_most_specific_rule_holds() {
    let rules = [("a.b", "r"), ("a.+", "w"), ("a.#", "d"), ("#.b", "c"), ("#", "x"), ("a.+.c", "e")];
    let acl = acl(&rules);
    assert_eq!(rights(&acl, "a.b"), "r");
    assert_eq!(rights(&acl, "a.c"), "w");
    assert_eq!(rights(&acl, "a.c.d"), "d");
    assert_eq!(rights(&acl, "a.x.b"), "d");
    assert_eq!(rights(&acl, "x.b"), "c");
    assert_eq!(rights(&acl, "x.y.z.b"), "c");
    assert_eq!(rights(&acl, "x.y"), "x");
    assert_eq!(rights(&acl, "a.x.c"), "e");
}

#[test]
fn names_stand_for_the_user_and_the_client_and_for_nobody_else() {
    let acl = acl(&[("user.%u.#", "rw"), ("client.%c", "r"), ("user.+.public", "r")]);
    assert_eq!(rights(&acl, "user.ann.x"), "rw");
    assert_eq!(rights(&acl, "user.ann.public"), "rw");
    assert_eq!(rights(&acl, "user.bob.x"), "");
    assert_eq!(rights(&acl, "user.bob.public"), "r");
    assert_eq!(rights(&acl, "client.dev"), "r");
    // Not even a name that looks like a wildcard is one.
    let sly = Names::new(Some("#"), Some("+")).unwrap();
    assert_eq!(acl.grant(path("user.bob.x").as_path(), &sly).rights, Rights::NONE);
    assert_eq!(acl.grant(path("client.dev").as_path(), &sly).rights, Rights::NONE);
    // Without a name the rule is for nobody.
    assert_eq!(acl.grant(path("user.%u.x").as_path(), &Names::default()).rights, Rights::NONE);
}

#[test]
fn an_empty_rule_takes_away_what_a_wider_one_gives() {
    let acl = acl(&[("#", "rwdcxen"), ("a.secret", ""), ("a.secret.open", "r")]);
    assert_eq!(rights(&acl, "a.secret"), "");
    assert_eq!(rights(&acl, "a.other"), "rwdcxen");
    // Which can't be reached, as `a.secret` can't be passed.
    assert!(!acl.grant(path("a.secret.open").as_path(), &names()).may(Right::Read));
}

#[test]
fn many_wildcards_in_a_long_path_take_no_time() {
    let pattern = vec!["#"; 60].join(".a.");
    let rules = [(pattern.as_str(), "r")];
    let acl = acl(&rules);
    let long = path(&vec!["a"; 250].join("."));
    assert!(acl.grant(long.as_path(), &names()).rights.has(Right::Read));
}
