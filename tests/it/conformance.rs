//! The table of what MQTT 3.1.1 and MQTT 5 demand, and of the tests that show it: `docs/conformance.md`.
//!
//! `tests/conformance/statements-3.1.1.tsv` and `statements-5.tsv` have a line for each normative statement: its number, the rule, and,
//! where no test of a server can show it, the reason. A test shows a statement if a comment at or in it has the tag
//! `[MQTT-3.3.1-5]` (3.1.1) or `[MQTT5-3.3.1-5]` (5), also as a list, `[MQTT-3.3.1-5, 3.3.1-6]`; how tags are found is in
//! `conformance::tags`. `tests/conformance/open.txt` lists statements that have neither yet.
//!
//! After a change of tags or rules: `UPDATE_CONFORMANCE=1 cargo test --test it conformance_document`. It writes the document again, and takes
//! from the list of open statements those that are so no more.

mod tags;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::{env, fmt, fs};

use tags::Tests;

use crate::harness::tools::repository;

const DOCUMENT: &str = "docs/conformance.md";
const OPEN: &str = "tests/conformance/open.txt";

/// Tests named for one statement, at most; others are counted.
const NAMED: usize = 3;

/// Numbers as they are printed in the standard, where they do not follow its own pattern.
const MISPRINTS: &[(&str, &str)] = &[("3.1.2.7", "3.1.2-7"), ("3-8.3-4", "3.8.3-4")];

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Version {
    V3_1_1,
    V5,
}

impl Version {
    const ALL: [Self; 2] = [Self::V3_1_1, Self::V5];

    fn name(self) -> &'static str {
        match self {
            Self::V3_1_1 => "3.1.1",
            Self::V5 => "5",
        }
    }

    /// What its tags begin with.
    fn prefix(self) -> &'static str {
        match self {
            Self::V3_1_1 => "MQTT-",
            Self::V5 => "MQTT5-",
        }
    }
}

/// The version and the number of a statement.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    version: Version,
    number: String,
}

impl Key {
    fn new(version: Version, number: &str) -> Self {
        let proper = MISPRINTS.iter().find(|(printed, _)| *printed == number);
        Self { version, number: proper.map_or(number, |(_, proper)| proper).to_owned() }
    }

    /// Reads `MQTT5-3.1.0-1`.
    fn parse(text: &str) -> Option<Self> {
        let (version, number) =
            Version::ALL.iter().find_map(|version| Some((*version, text.strip_prefix(version.prefix())?)))?;
        Some(Self::new(version, number))
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.version.prefix(), self.number)
    }
}

struct Statement {
    key: Key,
    rule: String,
    /// Why no test can show it.
    reason: Option<String>,
}

fn read(name: &str) -> String {
    fs::read_to_string(repository(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The statements of a version, in the order of the standard.
fn statements(version: Version) -> Vec<Statement> {
    let file = format!("tests/conformance/statements-{}.tsv", version.name());
    let statement = |line: &str| {
        let mut columns = line.split('\t').map(str::to_owned);
        let number = columns.next().filter(|number| !number.is_empty());
        let rule = columns.next().filter(|rule| !rule.is_empty());
        let reason = columns.next();
        match (number, rule, columns.next()) {
            (Some(number), Some(rule), None) => Statement { key: Key::new(version, &number), rule, reason },
            _ => panic!("{file}: not `number, rule, reason` with tabs between: {line:?}"),
        }
    };
    read(&file).lines().map(statement).collect()
}

fn all_statements() -> Vec<Statement> {
    Version::ALL.into_iter().flat_map(statements).collect()
}

/// The statements that may lack a test for now.
fn open() -> BTreeSet<Key> {
    read(OPEN)
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| Key::parse(line).unwrap_or_else(|| panic!("{OPEN}: not a statement's tag: {line:?}")))
        .collect()
}

/// The list of open statements, without those that have got a test or a reason.
fn still_open(shown: &BTreeMap<Key, Tests>) -> String {
    let statements = all_statements();
    let is_open = |key: &Key| {
        !shown.contains_key(key)
            && statements.iter().any(|statement| statement.key == *key && statement.reason.is_none())
    };
    read(OPEN)
        .lines()
        .filter(|line| Key::parse(line.trim()).is_none_or(|key| is_open(&key)))
        .fold(String::new(), |text, line| text + line + "\n")
}

/// What the document says of a statement's tests.
fn evidence(statement: &Statement, shown: &BTreeMap<Key, Tests>) -> String {
    let Some(tests) = shown.get(&statement.key) else {
        return statement.reason.clone().unwrap_or_else(|| "**open**".to_owned());
    };
    let mut parts: Vec<String> =
        tests.named(NAMED).map(|test| format!("`{}: {}`", test.file, test.name)).collect();
    if tests.count() > NAMED {
        parts.push(format!("and {} more", tests.count() - NAMED));
    }
    parts.join("<br>")
}

fn render(shown: &BTreeMap<Key, Tests>) -> String {
    let mut page = String::from(
        "# Conformance\n\n\
         Each normative statement of MQTT 3.1.1 and of MQTT 5 by its number in the standard, what it demands in our words, and \
         the tests that show that DistKV does it, or the reason why no test of a server can. MQTT 3.1 has no numbered statements; it \
         is served by the rules of 3.1.1 but for what its own text has otherwise.\n\n\
         This page is made from `tests/conformance/*.tsv` and from tags in the tests, such as `[MQTT-3.3.1-5]` and \
         `[MQTT5-3.3.1-5]`; `UPDATE_CONFORMANCE=1 cargo test --test it conformance_document` writes it again.\n",
    );
    for version in Version::ALL {
        let statements = statements(version);
        let tested = statements.iter().filter(|statement| shown.contains_key(&statement.key)).count();
        let reasoned = statements.iter().filter(|statement| statement.reason.is_some()).count();
        let _ = write!(
            page,
            "\n## MQTT {}\n\n{} statements: {tested} shown by tests, {reasoned} with a reason, {} open.\n\n\
             | Number | Rule | Shown by, or why not |\n|---|---|---|\n",
            version.name(),
            statements.len(),
            statements.len() - tested - reasoned,
        );
        for statement in &statements {
            let number = &statement.key.number;
            let printed = MISPRINTS
                .iter()
                .find(|(_, proper)| version == Version::V3_1_1 && proper == number)
                .map_or(String::new(), |(printed, _)| format!(" (printed as {printed})"));
            let _ =
                writeln!(page, "| {number}{printed} | {} | {} |", statement.rule, evidence(statement, shown));
        }
    }
    page
}

#[track_caller]
fn assert_none(what: &str, faults: &[String]) {
    assert!(faults.is_empty(), "{what}:\n  {}", faults.join("\n  "));
}

#[test]
fn the_conformance_document_is_what_the_tests_say() {
    let shown = tags::find();
    let page = render(&shown);
    if env::var_os("UPDATE_CONFORMANCE").is_some() {
        fs::write(repository(DOCUMENT), &page).unwrap();
        fs::write(repository(OPEN), still_open(&shown)).unwrap();
    }
    let written = read(DOCUMENT);
    let different = written.lines().zip(page.lines()).find(|(written, page)| written != page);
    assert!(
        written == page,
        "{DOCUMENT} is out of date, first at {different:?}: UPDATE_CONFORMANCE=1 cargo test --test it conformance_document"
    );
}

#[test]
fn every_statement_has_a_test_or_a_reason() {
    let shown = tags::find();
    let open = open();
    let faults: Vec<String> = all_statements()
        .iter()
        .filter(|statement| {
            !shown.contains_key(&statement.key)
                && statement.reason.is_none()
                && !open.contains(&statement.key)
        })
        .map(|statement| format!("{}: {}", statement.key, statement.rule))
        .collect();
    assert_none("statements without a test or a reason", &faults);
}

#[test]
fn no_statement_with_a_test_is_called_open_or_untestable() {
    let shown = tags::find();
    let statements = all_statements();
    let mut faults: Vec<String> = statements
        .iter()
        .filter(|statement| statement.reason.is_some() && shown.contains_key(&statement.key))
        .map(|statement| format!("{} has a reason, and a test", statement.key))
        .collect();
    for key in open() {
        match statements.iter().find(|statement| statement.key == key) {
            None => faults.push(format!("{key} is in {OPEN}, and not in the standard")),
            Some(statement) if statement.reason.is_some() => {
                faults.push(format!("{key} is in {OPEN}, and has a reason"));
            }
            Some(_) if shown.contains_key(&key) => faults.push(format!("{key} is in {OPEN}, and has a test")),
            Some(_) => {}
        }
    }
    assert_none("statements that are shown after all", &faults);
}

#[test]
fn every_tag_names_a_statement() {
    let known: BTreeSet<Key> = all_statements().into_iter().map(|statement| statement.key).collect();
    let faults: Vec<String> = tags::find()
        .iter()
        .filter(|(key, _)| !known.contains(key))
        .flat_map(|(key, tests)| {
            tests.named(usize::MAX).map(move |test| format!("{key} at {}: {}", test.file, test.name))
        })
        .collect();
    assert_none("tags of statements that do not exist", &faults);
}

#[test]
fn statements_are_as_many_as_the_standards_have() {
    let counts = Version::ALL.map(|version| {
        let keys: BTreeSet<Key> = statements(version).into_iter().map(|statement| statement.key).collect();
        keys.len()
    });
    assert_eq!(counts, [141, 252]);
}
