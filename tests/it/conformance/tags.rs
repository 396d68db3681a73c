//! Finding the tags: in Rust, Python and JavaScript, by the layout that formatters give them.
//!
//! | where | what counts |
//! |---|---|
//! | a Rust function with `#[test]` or `#[tokio::test]` | comments above and in it |
//! | the codec's tables of bytes | the first word of a row, `"MQTT-3.3.1-4"`, also in brackets |
//! | a function of a Python scenario, at the left edge | comments above and in it, its docstring |
//! | an `async` method of a JavaScript scenario | comments above and in it |

use std::collections::{BTreeMap, BTreeSet};

use super::{Key, Version};
use crate::tidy::{Source, named};

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Test {
    pub(super) file: String,
    pub(super) name: String,
}

/// The tests of one statement.
#[derive(Default)]
pub(super) struct Tests(BTreeSet<Test>);

impl Tests {
    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    /// Some of them: those of different files first.
    pub(super) fn named(&self, most: usize) -> impl Iterator<Item = &Test> {
        let mut files = BTreeSet::new();
        let (first, rest): (Vec<&Test>, Vec<&Test>) =
            self.0.iter().partition(|test| files.insert(test.file.as_str()));
        first.into_iter().chain(rest).take(most)
    }
}

/// The statements that have a tag somewhere, whether they exist or not.
pub(super) fn find() -> BTreeMap<Key, Tests> {
    let mut found: BTreeMap<Key, Tests> = BTreeMap::new();
    let mut add = |source: &Source, name: &str, keys: Vec<Key>| {
        for key in keys {
            let test = Test { file: source.name.clone(), name: name.to_owned() };
            found.entry(key).or_default().0.insert(test);
        }
    };
    let sources = named(".rs");
    let own = |source: &Source| source.name.starts_with("tests/it/conformance");
    for source in sources.iter().filter(|source| !own(source) && is_compiled(source, &sources)) {
        let lines: Vec<&str> = source.text.lines().collect();
        for function in functions(&lines) {
            let region = &lines[function.comments..function.end];
            if is_test(&lines[function.comments..function.start]) {
                let comments = region.iter().filter_map(|line| line.split_once("//"));
                add(source, function.name, comments.flat_map(|(_, comment)| in_brackets(comment)).collect());
            } else if source.name.starts_with("broker/src/codec/tests") {
                add(source, &format!("rows of {}", function.name), rows(&region.join("\n")));
            }
        }
    }
    for source in named(".py").iter().chain(&named(".js")) {
        let lines: Vec<&str> = source.text.lines().collect();
        for function in scenarios(&lines) {
            let region = &lines[function.comments..function.end];
            add(source, function.name, region.iter().flat_map(|line| in_brackets(line)).collect());
        }
    }
    found
}

/// Is the file a root of a crate, or does the module above it declare it? (A test that is not compiled shows nothing.)
fn is_compiled(source: &Source, sources: &[Source]) -> bool {
    let path = source.name.strip_suffix(".rs").unwrap_or(&source.name);
    let path = path.strip_suffix("/mod").unwrap_or(path);
    let Some((directory, module)) = path.rsplit_once('/') else { return true };
    let above = [".rs", "/mod.rs", "/main.rs", "/lib.rs"].map(|end| format!("{directory}{end}"));
    let above: Vec<&Source> =
        sources.iter().filter(|parent| parent.name != source.name && above.contains(&parent.name)).collect();
    let declared = |parent: &&Source| {
        parent.text.lines().any(|line| {
            line.strip_suffix(';')
                .and_then(|line| line.rsplit_once("mod "))
                .is_some_and(|(_, name)| name == module)
        })
    };
    above.is_empty() || above.into_iter().any(|parent| declared(&parent) && is_compiled(parent, sources))
}

/// A function by its lines: where the comments and attributes above it begin, its first line, and the line behind its last.
struct Function<'a> {
    name: &'a str,
    comments: usize,
    start: usize,
    end: usize,
}

fn functions<'a>(lines: &[&'a str]) -> Vec<Function<'a>> {
    let mut found = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let text = line.trim_start();
        let words: Vec<&str> = text.split([' ', '(', '<']).collect();
        let Some(at) = words.iter().take(4).position(|word| *word == "fn") else { continue };
        let Some(name) = words.get(at + 1) else { continue };
        let indent = &line[..line.len() - text.len()];
        let above = |line: &&&str| ["//", "#["].iter().any(|begin| line.trim_start().starts_with(begin));
        let comments = start - lines[..start].iter().rev().take_while(above).count();
        let end = lines[start..].iter().position(|line| line.strip_prefix(indent) == Some("}"));
        found.push(Function { name, comments, start, end: end.map_or(start + 1, |end| start + end + 1) });
    }
    found
}

fn is_test(above: &[&str]) -> bool {
    above.iter().any(|line| ["#[test]", "#[tokio::test"].iter().any(|begin| line.trim().starts_with(begin)))
}

fn scenarios<'a>(lines: &[&'a str]) -> Vec<Function<'a>> {
    let beginning = |line: &&'a str| line.strip_prefix("def ").or_else(|| line.strip_prefix("  async "));
    let mut found = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let Some((name, _)) = beginning(line).and_then(|rest| rest.split_once('(')) else { continue };
        let above = |line: &&&str| ["//", "#"].iter().any(|begin| line.trim_start().starts_with(begin));
        let comments = start - lines[..start].iter().rev().take_while(above).count();
        // Up to what is as far left again, without the comments that belong to it.
        let indent = line.len() - line.trim_start().len();
        let outside = |line: &&str| !line.is_empty() && line.len() - line.trim_start().len() <= indent;
        let body = lines[start + 1..].iter().take_while(|line| !outside(line)).count();
        found.push(Function { name, comments, start, end: start + 1 + body });
    }
    found
}

/// Tags in brackets: `[MQTT-3.8.4-3, 3.8.4-4]`.
fn in_brackets(comment: &str) -> Vec<Key> {
    let mut keys = Vec::new();
    for version in Version::ALL {
        for part in comment.split(&format!("[{}", version.prefix())).skip(1) {
            let list = part.split(']').next().unwrap_or_default();
            keys.extend(list.split(", ").map(|number| Key::new(version, number)));
        }
    }
    keys
}

/// The rules that rows of a table begin with.
fn rows(text: &str) -> Vec<Key> {
    let mut keys = Vec::new();
    for version in Version::ALL {
        for begin in ["\"", "\"["] {
            for part in text.split(&format!("{begin}{}", version.prefix())).skip(1) {
                let list = part.split(['"', ':', ']']).next().unwrap_or_default();
                keys.extend(list.split(", ").map(|number| Key::new(version, number)));
            }
        }
    }
    keys
}

#[test]
fn tags_are_found_at_and_in_tests_only() {
    let text = "\
        /// Of a helper [MQTT-1.0.0-1].\n\
        fn helper() {\n\
        }\n\n\
        /// One: [MQTT-2.0.0-1, 2.0.0-2].\n\
        #[test]\n\
        fn first() {\n    \
            check(\"[MQTT-3.0.0-1]\"); // [MQTT5-4.0.0-1]\n\
        }\n";
    let lines: Vec<&str> = text.lines().collect();
    let found = functions(&lines);
    let test = found.iter().find(|function| function.name == "first").unwrap();
    assert!(is_test(&lines[test.comments..test.start]));
    assert!(!is_test(&lines[found[0].comments..found[0].start]));
    assert_eq!((test.comments, test.end), (4, 9));
    let keys = |text: &str| in_brackets(text).iter().map(Key::to_string).collect::<Vec<_>>();
    assert_eq!(keys(lines[4]), ["MQTT-2.0.0-1", "MQTT-2.0.0-2"]);
    assert_eq!(keys(lines[7].split_once("//").unwrap().1), ["MQTT5-4.0.0-1"]);
    assert_eq!(rows("bad(\"MQTT-3-8.3-4\", b\"\")").first().map(Key::to_string), Some("MQTT-3.8.3-4".into()));
}

#[test]
fn scenarios_of_other_languages_are_found() {
    let python =
        "def first():\n    \"\"\"Words.\"\"\"\n    return 1\n\n\n# About it.\ndef second():\n    pass\n";
    let lines: Vec<&str> = python.lines().collect();
    let found: Vec<_> =
        scenarios(&lines).into_iter().map(|found| (found.name, found.comments, found.end)).collect();
    assert_eq!(found, [("first", 0, 5), ("second", 5, 8)]);
    let script = "const scenarios = {\n  // About it.\n  async first() {\n    await x()\n  },\n\n  async second() {\n  }\n}\n";
    let lines: Vec<&str> = script.lines().collect();
    let found: Vec<_> =
        scenarios(&lines).into_iter().map(|found| (found.name, found.comments, found.end)).collect();
    assert_eq!(found, [("first", 1, 4), ("second", 6, 7)]);
}

#[test]
fn what_no_module_declares_is_not_compiled() {
    let source = |name: &str, text: &str| Source { name: name.into(), text: text.into() };
    let all = [
        source("a/src/lib.rs", "pub(crate) mod b;\n"),
        source("a/src/b.rs", "mod c;\n"),
        source("a/src/b/c.rs", ""),
        source("a/src/d/mod.rs", "mod e;\n"),
        source("a/src/d/e.rs", ""),
    ];
    let compiled: Vec<bool> = all.iter().map(|source| is_compiled(source, &all)).collect();
    assert_eq!(compiled, [true, true, true, false, false]);
}
