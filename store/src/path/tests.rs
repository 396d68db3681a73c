//! Tests of paths and patterns against naive models.

use std::cmp::Ordering;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn path(text: &str) -> Path {
    text.parse().unwrap_or_else(|error| panic!("{text:?}: {error}"))
}

fn s(text: &str) -> Element<'_> {
    Element::str(text)
}

fn bytes(bytes: &[u8]) -> Element<'_> {
    Element::Bytes(bytes.into())
}

fn big(magnitude: &[u8]) -> Element<'_> {
    Element::Big(magnitude.into())
}

/// Elements of every kind, with many that collide or nearly do.
fn any_element() -> impl Strategy<Value = Element<'static>> {
    let leaf = prop_oneof![
        3 => prop::sample::select(vec!["", "a", "b", "ab", "$SYS", ".", ":", " ", "1", "+", "#", "\0", "\u{1}", "a\0", "a\u{1}b", "ä", "\u{10FFFF}"])
            .prop_map(Element::str),
        1 => ".{0,6}".prop_map(|text: String| Element::Str(text.into())),
        1 => Just(Element::Null),
        1 => any::<bool>().prop_map(Element::Bool),
        1 => (-3_i128..3).prop_map(Element::Int),
        1 => prop_oneof![any::<i64>().prop_map(i128::from), any::<u64>().prop_map(i128::from)].prop_map(Element::Int),
        1 => vec(any::<u8>(), 8..12).prop_map(|mut it| { it.insert(0, 1); Element::Big(it.into()) }),
        1 => prop_oneof![any::<f64>(), prop::sample::select(vec![0.0, -0.0, 1.0, -1.5, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MIN_POSITIVE])]
            .prop_map(Element::Float),
        1 => vec(prop_oneof![any::<u8>(), 0_u8..3, Just(b'a')], 0..4).prop_map(|it| Element::Bytes(it.into())),
    ];
    leaf.prop_recursive(3, 8, 4, |inner| vec(inner, 0..4).prop_map(Element::List))
}

fn any_path() -> impl Strategy<Value = Vec<Element<'static>>> {
    vec(any_element(), 0..5)
}

/// The order of elements, written down a second time and slowly.
fn order(a: &Element<'_>, b: &Element<'_>) -> Ordering {
    fn rank(element: &Element<'_>) -> usize {
        match element {
            Element::Null => 0,
            Element::Bool(_) => 1,
            Element::Int(_) => 2,
            Element::Big(_) => 3,
            Element::Float(_) => 4,
            Element::Bytes(_) => 5,
            Element::Str(_) => 6,
            Element::List(_) => 7,
        }
    }
    fn canonical(number: f64) -> f64 {
        if number.is_nan() { f64::NAN.abs() } else { number + 0.0 }
    }
    match (a, b) {
        (Element::Bool(a), Element::Bool(b)) => a.cmp(b),
        (Element::Int(a), Element::Int(b)) => a.cmp(b),
        (Element::Big(a), Element::Big(b)) => (a.len(), a).cmp(&(b.len(), b)),
        (Element::Float(a), Element::Float(b)) => canonical(*a).total_cmp(&canonical(*b)),
        (Element::Bytes(a), Element::Bytes(b)) => a.cmp(b),
        (Element::Str(a), Element::Str(b)) => a.cmp(b),
        (Element::List(a), Element::List(b)) => order_all(a, b),
        (a, b) => rank(a).cmp(&rank(b)),
    }
}

fn order_all(a: &[Element<'_>], b: &[Element<'_>]) -> Ordering {
    let first = a.iter().zip(b).map(|(a, b)| order(a, b)).find(|order| order.is_ne());
    first.unwrap_or(a.len().cmp(&b.len()))
}

proptest! {
    #[test]
    fn the_byte_form_keeps_every_element(elements in any_path()) {
        let path = Path::from_elements(elements.clone()).unwrap();
        prop_assert_eq!(path.elements().collect::<Vec<_>>(), elements.clone());
        prop_assert_eq!(path.len(), elements.len());
        prop_assert_eq!(Path::from_bytes(path.as_bytes()).unwrap(), path);
    }

    #[test]
    fn the_byte_form_orders_as_the_elements_do(a in any_path(), b in any_path()) {
        let (left, right) = (Path::from_elements(a.clone()).unwrap(), Path::from_elements(b.clone()).unwrap());
        prop_assert_eq!(left.cmp(&right), order_all(&a, &b), "{} and {}", left, right);
        prop_assert_eq!(left == right, a == b);
    }

    #[test]
    fn a_subtree_is_one_range(a in any_path(), b in any_path(), more in any_path()) {
        let above = Path::from_elements(a.clone()).unwrap();
        let below = Path::from_elements(a.iter().chain(&more).cloned()).unwrap();
        let other = Path::from_elements(b.clone()).unwrap();
        let end = [above.as_bytes(), &[AFTER]].concat();
        let range = above.as_bytes()..&end[..];
        prop_assert!(range.contains(&below.as_bytes()));
        let is_below = b.len() >= a.len() && b[..a.len()] == a[..];
        prop_assert_eq!(range.contains(&other.as_bytes()), is_below);
        prop_assert_eq!(other.starts_with(&above), is_below);
    }

    #[test]
    fn reading_undoes_printing(elements in any_path()) {
        let path = Path::from_elements(elements).unwrap();
        let text = path.to_string();
        prop_assert_eq!(text.parse::<Path>().unwrap(), path, "{}", text);
    }

    #[test]
    fn reading_any_text_answers(text in "[a:.+'\\[\\](),bxyvtfne0-9 _\\\\-]{0,12}") {
        if let Ok(path) = text.parse::<Path>() {
            prop_assert_eq!(path.to_string().parse::<Path>().unwrap(), path);
        }
    }

    #[test]
    fn any_bytes_are_a_path_that_prints_or_an_error(bytes in vec(prop_oneof![any::<u8>(), 0_u8..0x34], 0..24)) {
        if let Ok(path) = Path::from_bytes(bytes.clone()) {
            let again = Path::from_elements(path.elements()).unwrap();
            prop_assert_eq!(again.as_bytes(), &bytes[..]);
        }
    }

    #[test]
    fn topics_and_paths_of_strings_turn_into_each_other(levels in vec("[a\u{1}\u{0}ä]{0,3}", 1..6)) {
        let topic = levels.join("/");
        let mut builder = PathBuilder::new();
        builder.push_split(&topic, '/').unwrap();
        let path = builder.finish();
        prop_assert_eq!(&path, &Path::from_strs(levels.iter().map(String::as_str)).unwrap());
        let mut out = String::from("kept");
        prop_assert!(path.as_path().join_strs('/', &mut out));
        prop_assert_eq!(out, format!("kept{topic}"));
    }
}

#[test]
fn texts_are_read_as_documented() {
    let list = Element::List;
    for (text, elements, printed) in [
        (":", vec![], ":"),
        ("a.b", vec![s("a"), s("b")], "a.b"),
        ("foo:.bar", vec![s("foo.bar")], "foo:.bar"),
        ("a::b", vec![s("a:b")], "a::b"),
        ("a b.c", vec![s("a b"), s("c")], "a:_b.c"),
        (":e", vec![s("")], ":e"),
        ("a:e.b", vec![s("a"), s(""), s("b")], "a:e.b"),
        (":.distkv", vec![s(".distkv")], ":.distkv"),
        (":::t", vec![s(":"), Element::Bool(true)], ":::t"),
        ("a:t:f.c", vec![s("a"), Element::Bool(true), Element::Bool(false), s("c")], "a:t:f.c"),
        (":n.auth", vec![Element::Null, s("auth")], ":n.auth"),
        (":1", vec![Element::Int(1)], ":1"),
        ("1", vec![s("1")], "1"),
        (":-1", vec![Element::Int(-1)], ":-1"),
        (":1.5", vec![Element::Int(1), s("5")], ":1.5"),
        (":1:.5", vec![Element::Float(1.5)], ":1:.5"),
        (":1e300", vec![Element::Float(1e300)], ":1e300"),
        (":1:.0", vec![Element::Float(1.0)], ":1:.0"),
        (":-0:.0", vec![Element::Float(0.0)], ":0:.0"),
        (
            ":inf:-inf:NaN",
            [f64::INFINITY, f64::NEG_INFINITY, f64::NAN].map(Element::Float).into(),
            ":inf:-inf:NaN",
        ),
        ("a:x1F.b", vec![s("a"), Element::Int(31), s("b")], "a:31.b"),
        (":b101", vec![Element::Int(5)], ":5"),
        (":0x10:1_000", vec![Element::Int(16), Element::Int(1000)], ":16:1000"),
        (":1180591620717411303424", vec![big(&[0x40, 0, 0, 0, 0, 0, 0, 0, 0])], ":1180591620717411303424"),
        (":18446744073709551615", vec![Element::Int(u64::MAX.into())], ":18446744073709551615"),
        (":vabc", vec![bytes(b"abc")], ":vabc"),
        (":v", vec![bytes(b"")], ":v"),
        (":y00fF", vec![bytes(&[0, 255])], ":y00ff"),
        (":va:.b", vec![bytes(b"a.b")], ":va:.b"),
        (":[1,2]", vec![list(vec![Element::Int(1), Element::Int(2)])], ":[1,2]"),
        (":(1,2):1,2", vec![list(vec![Element::Int(1), Element::Int(2)]); 2], ":[1,2]:[1,2]"),
        (":():[]", vec![list(vec![]), list(vec![])], ":[]:[]"),
        (":[['a'],1:.5]", vec![list(vec![list(vec![s("a")]), Element::Float(1.5)])], ":[['a'],1:.5]"),
        (
            ":[b'\\x00',null,true]",
            vec![list(vec![bytes(&[0]), Element::Null, Element::Bool(true)])],
            ":[b'\\x00',null,true]",
        ),
        (":'x'", vec![s("x")], "x"),
        (":True:None", vec![Element::Bool(true), Element::Null], ":t:n"),
        ("ä./.#.+", vec![s("ä"), s("/"), s("#"), s("+")], "ä./.#.+"),
    ] {
        assert_eq!(path(text).elements().collect::<Vec<_>>(), elements, "{text}");
        assert_eq!(path(text).to_string(), printed, "{text}");
    }
}

#[test]
fn wrong_texts_are_told_where_they_are_wrong() {
    for (text, position) in [
        ("", 0),
        (".", 0),
        (".a", 0),
        ("a.", 2),
        ("a..b", 2),
        ("a.:n", 2),
        ("a:", 1),
        ("a:q", 2),
        (":tx", 1),
        (":x", 1),
        (":x1G", 1),
        (":b12", 1),
        (":y123", 1),
        (":vä", 1),
        (":[1", 1),
        (":[1 2]", 1),
        (":{}", 1),
        (":1+2", 1),
        (":'a", 1),
        (":-9223372036854775809", 1),
    ] {
        match text.parse::<Path>() {
            Err(PathError::Text { at, .. }) => assert_eq!(at, position, "{text:?}"),
            other => panic!("{text:?}: {other:?}"),
        }
    }
}

#[test]
fn elements_of_different_type_are_never_equal() {
    let ones = [Element::Int(1), Element::Float(1.0), Element::Bool(true), s("1"), bytes(b"1")];
    for (i, a) in ones.iter().enumerate() {
        for (j, b) in ones.iter().enumerate() {
            assert_eq!(a == b, i == j);
            let paths = [a, b].map(|element| Path::root().child(element).unwrap());
            assert_eq!(paths[0] == paths[1], i == j);
        }
    }
}

#[test]
fn hostile_byte_forms_are_refused() {
    let too_deep_list = [vec![0x32; 9], vec![0; 9]].concat();
    for bad in [
        &[0x31, b'a'][..],               // no end
        &[0x31, 0x01, 0x03, 0],          // unknown escape
        &[0x31, 0x01, 0],                // half an escape
        &[0x31, 0xFF, 0],                // not UTF-8
        &[0x15, 0],                      // leading zero
        &[0x13, 0xFF],                   // negative zero
        &[0x0C, 0, 0, 0, 0, 0, 0, 0, 0], // below -2^63
        &[0x1D, 8, 1, 2, 3, 4, 5, 6, 7, 8],
        &[0x1D, 200, 1],
        &[0x21, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF], // -0.0
        &[0x21, 0],
        &[0x32, 0x02],
        &[0x00],
        &[0x01],
        &[0xFF],
        &too_deep_list,
    ] {
        assert!(matches!(Path::from_bytes(bad), Err(PathError::Malformed { at: 0 })), "{bad:?}");
    }
}

#[test]
fn limits_are_errors_and_leave_the_builder_as_it_was() {
    let mut builder = PathBuilder::new();
    for _ in 0..MAX_ELEMENTS {
        builder.push_str("").unwrap();
    }
    let full = builder.finish();
    assert_eq!(builder.push_str("x"), Err(PathError::TooDeep));
    assert_eq!(builder.push(&Element::Null), Err(PathError::TooDeep));
    assert_eq!(builder.finish(), full);
    assert_eq!(Path::from_bytes([full.as_bytes(), &[0x02]].concat()), Err(PathError::TooDeep));

    let mut builder = PathBuilder::new();
    builder.push_str("a").unwrap();
    assert_eq!(builder.push_split(&format!("b/{}", "x".repeat(MAX_BYTES)), '/'), Err(PathError::TooLong));
    assert_eq!(builder.push_str("b").map(|()| builder.finish()), Ok(path("a.b")));

    let deep = (0..=MAX_LIST_DEPTH).fold(Element::Null, |inner, _| Element::List(vec![inner]));
    assert_eq!(builder.push(&deep), Err(PathError::ListTooDeep));
    assert_eq!(builder.push(&Element::Int(1 << 64)), Err(PathError::IntegerRange));
    assert_eq!(builder.push(&big(&[0; 9])), Err(PathError::IntegerRange));
    assert_eq!(builder.finish(), path("a.b"));

    let text = format!(":{}", "9".repeat(1000));
    assert!(text.parse::<Path>().is_err());
    let text = format!(":{}{}", "[".repeat(1000), "]".repeat(1000));
    assert!(text.parse::<Path>().is_err());
}

#[test]
fn a_path_with_another_element_is_no_topic() {
    let mut out = String::from("x");
    assert!(!path("a:1").as_path().join_strs('/', &mut out));
    assert_eq!(out, "x");
}

// Patterns.

#[derive(Clone, Debug)]
struct Naive {
    elements: Vec<Option<Element<'static>>>,
    /// Which of the wildcards (`None`) stand for many.
    many: Vec<bool>,
    tail_may_be_empty: bool,
    strings_only: bool,
    hidden: Vec<Vec<Element<'static>>>,
    hidden_names: Option<(Vec<Element<'static>>, &'static str)>,
}

impl Naive {
    fn pattern(&self) -> Pattern {
        let mut pattern = Pattern::new();
        for (element, many) in self.elements.iter().zip(&self.many) {
            match (element, many) {
                (Some(element), _) => pattern.push(element).unwrap(),
                (None, false) => pattern.push_one().unwrap(),
                (None, true) => pattern.push_many().unwrap(),
            }
        }
        if self.tail_may_be_empty {
            pattern.tail_may_be_empty();
        }
        if self.strings_only {
            pattern.strings_only();
        }
        for hidden in &self.hidden {
            pattern.hide(Path::from_elements(hidden.clone()).unwrap().as_path());
        }
        if let Some((parent, start)) = &self.hidden_names {
            pattern.hide_names(Path::from_elements(parent.clone()).unwrap().as_path(), start);
        }
        pattern
    }

    fn matches(&self, path: &[Element<'static>]) -> bool {
        let named =
            |element: &Element<'_>, start: &str| matches!(element, Element::Str(it) if it.starts_with(start));
        if self.strings_only && !path.iter().all(|element| named(element, "")) {
            return false;
        }
        if self.hidden.iter().any(|hidden| path.starts_with(hidden)) {
            return false;
        }
        if let Some((parent, start)) = &self.hidden_names
            && path.starts_with(parent)
            && path.get(parent.len()).is_some_and(|element| named(element, start))
        {
            return false;
        }
        self.rest_matches(0, path)
    }

    fn rest_matches(&self, at: usize, path: &[Element<'static>]) -> bool {
        let Some(element) = self.elements.get(at) else { return path.is_empty() };
        match element {
            Some(exact) => path.first() == Some(exact) && self.rest_matches(at + 1, &path[1..]),
            None if self.many[at] => {
                let least = if self.tail_may_be_empty && at + 1 == self.elements.len() { 0 } else { 1 };
                (least..=path.len()).any(|taken| self.rest_matches(at + 1, &path[taken..]))
            }
            None => !path.is_empty() && self.rest_matches(at + 1, &path[1..]),
        }
    }
}

fn few_elements() -> impl Strategy<Value = Element<'static>> {
    prop_oneof![
        6 => prop::sample::select(vec!["a", "b", "ab", "$a", ""]).prop_map(Element::str),
        1 => prop::sample::select(vec![Element::Null, Element::Int(255), Element::List(vec![]), Element::List(vec![Element::str("a")])]),
    ]
}

fn any_pattern() -> impl Strategy<Value = Naive> {
    let element = prop_oneof![2 => few_elements().prop_map(Some), 2 => Just(None)];
    (
        vec((element, any::<bool>()), 0..5),
        any::<bool>(),
        any::<bool>(),
        vec(vec(few_elements(), 1..3), 0..2),
        prop::option::of((vec(few_elements(), 0..2), prop::sample::select(vec!["$", "a", ""]))),
    )
        .prop_map(|(elements, tail_may_be_empty, strings_only, hidden, hidden_names)| {
            let (elements, many) = elements.into_iter().unzip();
            Naive { elements, many, tail_may_be_empty, strings_only, hidden, hidden_names }
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn patterns_match_as_the_naive_matcher_does(naive in any_pattern(), paths in vec(vec(few_elements(), 0..6), 1..20)) {
        let pattern = naive.pattern();
        for elements in paths {
            let path = Path::from_elements(elements.clone()).unwrap();
            prop_assert_eq!(pattern.matches(path.as_path()), naive.matches(&elements), "{}", path);
        }
    }

    #[test]
    fn seeking_goes_forward_and_skips_no_match(naive in any_pattern(), paths in vec(vec(few_elements(), 0..6), 1..20)) {
        let pattern = naive.pattern();
        let all: std::collections::BTreeMap<Vec<u8>, _> = paths
            .into_iter()
            .map(|elements| (Path::from_elements(elements.clone()).unwrap().as_bytes().to_vec(), elements))
            .collect();
        let wanted: Vec<_> = all.iter().filter(|(_, elements)| naive.matches(elements)).map(|(key, _)| key).collect();
        let mut found = Vec::new();
        let mut at = pattern.start().to_vec();
        while let Some((key, _)) = all.range(at.clone()..).next() {
            match pattern.seek_into(PathRef::from_bytes(key).unwrap(), &mut at) {
                Seek::Match => {
                    found.push(key);
                    at = [&key[..], &[0]].concat();
                }
                Seek::Skip => prop_assert!(&at > key),
                Seek::End => break,
            }
        }
        prop_assert_eq!(found, wanted);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_moved_pattern_matches_what_it_matched_elsewhere(
        naive in any_pattern(),
        front in 0_usize..3,
        to in vec(few_elements(), 0..3),
        paths in vec(vec(few_elements(), 0..5), 1..20),
    ) {
        let pattern = naive.pattern();
        let start = PathRef::from_bytes(pattern.start()).unwrap();
        let from = start.first(front.min(start.len()));
        let to = Path::from_elements(to).unwrap();
        let moved = pattern.moved(from, to.as_path()).unwrap().unwrap();
        let strings = |path: PathRef<'_>| path.elements().all(|element| matches!(element, Element::Str(_)));
        let comparable = !naive.strings_only || strings(from) == strings(to.as_path());
        for elements in paths {
            let rest = Path::from_elements(elements).unwrap();
            let below = |front: PathRef<'_>| {
                let mut path = PathBuilder::below(front);
                path.push_path(rest.as_path()).unwrap();
                path.finish()
            };
            let (there, here) = (below(from), below(to.as_path()));
            if comparable {
                prop_assert_eq!(moved.matches(here.as_path()), pattern.matches(there.as_path()), "{}", there);
            }
            prop_assert!(!moved.matches(rest.as_path()) || rest.starts_with(&to), "{}", rest);
        }
    }

    #[test]
    fn a_path_comes_apart_at_every_place(elements in any_path(), at in 0_usize..6) {
        let path = Path::from_elements(elements.clone()).unwrap();
        let first = path.as_path().first(at);
        prop_assert_eq!(first.len(), at.min(elements.len()));
        prop_assert_eq!(first.elements().collect::<Vec<_>>(), &elements[..at.min(elements.len())]);
        let mut whole = PathBuilder::below(first);
        whole.push_path(path.as_path().below(first).unwrap()).unwrap();
        prop_assert_eq!(&whole.finish(), &path);
        match path.as_path().split_first() {
            None => prop_assert!(path.is_root()),
            Some((first, rest)) => {
                prop_assert_eq!((first.len(), rest.len()), (1, path.len() - 1));
                prop_assert_eq!([first.as_bytes(), rest.as_bytes()].concat(), path.as_bytes());
            }
        }
    }
}

#[test]
fn nothing_matches_the_pattern_of_nothing() {
    for text in [":", "a", ":n.x"] {
        assert!(!Pattern::nothing().matches(path(text).as_path()));
    }
    let a = Pattern::from_path(path("a.+").as_path()).unwrap();
    assert_eq!(a.listed(), Some(path("a").as_path()));
    assert_eq!(Pattern::exactly(path("a").as_path()).unwrap().listed(), None);
    assert_eq!(a.moved(path("b").as_path(), Path::root().as_path()), Ok(None));
    let long = Path::from_elements((0..MAX_ELEMENTS).map(|_| Element::Null)).unwrap();
    assert_eq!(a.moved(Path::root().as_path(), long.as_path()), Err(PathError::TooDeep));
    assert!(PathBuilder::below(long.as_path()).push_path(path("a").as_path()).is_err());
}

fn skip(pattern: &Pattern, text: &str) -> Vec<u8> {
    let mut next = Vec::new();
    assert_eq!(pattern.seek_into(path(text).as_path(), &mut next), Seek::Skip, "{text}");
    next
}

#[test]
fn a_wildcard_in_the_middle_skips_whole_subtrees() {
    let pattern = Pattern::from_path(path("a.+.c").as_path()).unwrap();
    assert_eq!(pattern.start(), path("a").as_bytes());
    assert_eq!(skip(&pattern, "a.1.b"), path("a.1.c").as_bytes());
    assert_eq!(skip(&pattern, "a.1.d"), [path("a.1").as_bytes(), &[AFTER]].concat());
    assert_eq!(skip(&pattern, "a.1.c.x"), [path("a.1").as_bytes(), &[AFTER]].concat());
    assert_eq!(skip(&pattern, "a.1"), path("a.1.c").as_bytes());
    assert_eq!(pattern.seek_into(path("b").as_path(), &mut Vec::new()), Seek::End);
    assert_eq!(pattern.seek_into(path("a.1.c").as_path(), &mut Vec::new()), Seek::Match);
}

#[test]
fn a_hidden_range_is_skipped_at_once() {
    let mut pattern = Pattern::from_path(path("#").as_path()).unwrap();
    pattern.strings_only().hide(path(":.distkv").as_path()).hide_names(Path::root().as_path(), "$");
    assert_eq!(skip(&pattern, ":n.x"), [0x31]);
    assert_eq!(skip(&pattern, "$SYS.x"), [0x31, b'$' + 1]);
    assert_eq!(skip(&pattern, ":.distkv.x"), [path(":.distkv").as_bytes(), &[AFTER]].concat());
    assert!(pattern.matches(path(":.distkvx").as_path()));
}
