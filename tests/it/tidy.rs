//! House rules, checked by reading the source: the invariants of ARCHITECTURE.md as far as they can be seen in the
//! text, and that the documents name what exists.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The modules that are state machines or plain data: bytes, time and seeds go in as arguments.
const PURE: &[&str] = &[
    "broker/src/topic",
    "broker/src/codec",
    "broker/src/message",
    "broker/src/session",
    "broker/src/trie",
    "broker/src/rate",
    "broker/src/flapping",
    "src/auth/delays",
    "src/auth/digest",
    "src/auth/password",
    "src/auth/scram",
    "src/client/backoff",
    "src/client/exchange",
    "src/native/wire",
    "src/auth/secrets",
    "store/src/path",
    "store/src/value",
    "store/src/meta",
    "store/src/ticks",
    "store/src/chain",
    "store/src/tree",
    "store/src/ledger",
    "store/src/replica",
    "store/src/access/acl",
    "store/src/access/rights",
    "store/src/access/users",
];

/// Where tasks and threads may be started. All others ask these.
const TASKS: &[&str] = &[
    "src/server",
    "src/bench",
    "src/cli",
    // The tasks of a client of the native port: each ends with the handle that needs it.
    "src/client/tasks",
    "broker/src/tasks",
    // The threads that sync and that write snapshots: named, and joined when the store is dropped.
    "store/src/journal",
    "store/src/store",
];

/// Above this a file is most likely two things.
const LINES_MAX: usize = 700;

/// Above this a function does not fit on a screen.
const FUNCTION_LINES_MAX: usize = 70;

/// One file of Rust source.
pub(crate) struct Source {
    /// From the root of the repository.
    pub(crate) name: String,
    pub(crate) text: String,
}

impl Source {
    /// The lines that are compiled into the product, with their numbers: without comments and without the unit tests,
    /// which close a file by custom.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let tests = self.is_test();
        self.text
            .lines()
            .enumerate()
            .take_while(move |(_, line)| !tests && line.trim() != "#[cfg(test)]")
            .map(|(index, line)| (index + 1, line.split("//").next().unwrap_or_default()))
    }

    fn is_test(&self) -> bool {
        let parts: Vec<&str> = self.name.split('/').collect();
        self.name.ends_with("/tests.rs")
            || parts.iter().any(|part| ["tests", "benches", "fuzz", "examples"].contains(part))
    }

    /// Is the file the module `module` (`broker/src/codec`), or in it?
    fn belongs_to(&self, module: &str) -> bool {
        self.name.strip_prefix(module).is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// All files below `directory` that end in `extension`, but what is built or installed.
fn files(directory: &Path, extension: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy();
        if path.is_dir() {
            let skipped = ["target", "node_modules", "corpus", "artifacts"].contains(&name.as_ref());
            if !skipped && !name.starts_with('.') {
                files(&path, extension, found);
            }
        } else if name.ends_with(extension) {
            found.push(path);
        }
    }
}

/// All files that end in `extension`, sorted.
pub(crate) fn named(extension: &str) -> Vec<Source> {
    let mut found = Vec::new();
    files(&root(), extension, &mut found);
    found.sort();
    found
        .into_iter()
        .map(|path| Source {
            name: path.strip_prefix(root()).unwrap().to_string_lossy().into_owned(),
            text: fs::read_to_string(&path).unwrap(),
        })
        .collect()
}

fn sources() -> Vec<Source> {
    let found = named(".rs");
    assert!(found.len() > 5, "the sources are not where this test looks for them");
    found
}

/// Does `line` hold `word` with no letter, digit or `_` right before or after it?
fn has_word(line: &str, word: &str) -> bool {
    let part_of_word = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        let starts_word = word.starts_with(part_of_word);
        let ends_word = word.ends_with(part_of_word);
        !(starts_word && before.is_some_and(part_of_word) || ends_word && after.is_some_and(part_of_word))
    })
}

#[track_caller]
fn assert_none(rule: &str, faults: &[String]) {
    assert!(faults.is_empty(), "{rule}:\n  {}", faults.join("\n  "));
}

/// The lines of product code (of files that `holds` picks) with one of `words` in it.
fn lines_with(words: &[&str], holds: impl Fn(&Source) -> bool) -> Vec<String> {
    let mut faults = Vec::new();
    for source in sources().iter().filter(|source| holds(source)) {
        for (number, line) in source.code() {
            if let Some(word) = words.iter().find(|word| has_word(line, word)) {
                faults.push(format!("{}:{number}: {word}", source.name));
            }
        }
    }
    faults
}

#[test]
fn pure_modules_name_no_io_no_clock_and_no_randomness() {
    let words = [
        "tokio",
        "std::fs",
        "std::io",
        "std::net",
        "std::thread",
        "std::process",
        "socket2",
        "rustix",
        "Instant::now",
        "SystemTime::now",
        "getrandom",
        "rand",
    ];
    let pure = |source: &Source| PURE.iter().any(|module| source.belongs_to(module));
    assert_none("a pure module reaches for the world", &lines_with(&words, pure));
}

#[test]
fn broker_and_store_do_not_name_each_other() {
    let mut faults = lines_with(&["distkv_store"], |source| source.name.starts_with("broker/"));
    faults.extend(lines_with(&["distkv_broker", "mqtt", "Mqtt"], |source| {
        source.name.starts_with("store/src/")
    }));
    for (manifest, other) in [
        ("broker/Cargo.toml", "distkv-store"),
        ("store/Cargo.toml", "distkv-broker"),
        ("broker/Cargo.toml", "distkv "),
    ] {
        if read(manifest).lines().any(|line| line.starts_with(other)) {
            faults.push(format!("{manifest}: {other}"));
        }
    }
    assert_none("two crates that do not know each other", &faults);
}

#[test]
fn each_file_opens_with_what_it_owns() {
    let faults: Vec<String> = sources()
        .iter()
        // A fuzz target has to begin with an attribute.
        .filter(|source| !source.text.trim_start_matches("#![no_main]\n").starts_with("//! "))
        .map(|source| source.name.clone())
        .collect();
    assert_none("a file begins with a line `//! ...` that says what it owns", &faults);
}

#[test]
fn nothing_is_left_behind() {
    // Written in two parts, so that this file does not find itself.
    let words = ["todo", "unimplemented", "dbg"].map(|word| format!("{word}!"));
    let marks = ["FIX", "TO", "XX", "HA"].iter().zip(["ME", "DO", "X", "CK"]).map(|(a, b)| format!("{a}{b}"));
    let words: Vec<String> = words.into_iter().chain(marks).collect();
    let switched_off = concat!("#[", "ignore");
    let mut faults = Vec::new();
    for source in sources() {
        for (index, line) in source.text.lines().enumerate() {
            if words.iter().any(|word| has_word(line, word)) || line.contains(switched_off) {
                faults.push(format!("{}:{}: {}", source.name, index + 1, line.trim()));
            }
        }
    }
    assert_none("unfinished work or a switched-off test", &faults);
}

#[test]
fn files_are_one_thing_long() {
    let faults: Vec<String> = sources()
        .iter()
        .map(|source| (source, source.text.lines().count()))
        .filter(|(_, lines)| *lines > LINES_MAX)
        .map(|(source, lines)| format!("{}: {lines} lines", source.name))
        .collect();
    assert_none("a file is longer than 700 lines: is it still one thing?", &faults);
}

/// The name and the length of each function of product code, in formatted source: it ends with a brace below its beginning.
fn function_lengths(source: &Source) -> Vec<(String, usize)> {
    let code: Vec<&str> = source.code().map(|(_, line)| line).collect();
    let mut lengths = Vec::new();
    for (start, line) in code.iter().enumerate() {
        let text = line.trim_start();
        let indent = &line[..line.len() - text.len()];
        let words: Vec<&str> = text.split([' ', '(', '<']).collect();
        let Some(at) = words.iter().take(4).position(|word| *word == "fn") else { continue };
        let end = code[start..].iter().position(|line| line.strip_prefix(indent) == Some("}"));
        // A declaration in a trait has no end of its own.
        if let (Some(end), Some(name)) = (end, words.get(at + 1)) {
            let declared = code[start..start + end]
                .iter()
                .take_while(|line| !line.ends_with('{'))
                .any(|line| line.ends_with(';'));
            if !declared {
                lengths.push(((*name).to_owned(), end + 1));
            }
        }
    }
    lengths
}

#[test]
fn functions_fit_on_a_screen() {
    let mut faults = Vec::new();
    let mut count = 0;
    for source in sources() {
        for (name, lines) in function_lengths(&source) {
            count += 1;
            if lines > FUNCTION_LINES_MAX {
                faults.push(format!("{}: {name}: {lines} lines", source.name));
            }
        }
    }
    assert!(count > 500, "{count} functions found: the search is broken");
    assert_none("a function is longer than 70 lines", &faults);
}

#[test]
fn every_queue_has_a_limit() {
    let words = ["unbounded_channel", "unbounded", "mpsc::channel()"];
    assert_none("a queue without a limit", &lines_with(&words, |_| true));
}

#[test]
fn tasks_and_threads_are_started_where_they_can_be_stopped() {
    let words =
        ["tokio::spawn", "task::spawn", "thread::spawn", "thread::Builder", "JoinSet", "Handle::spawn"];
    let others = |source: &Source| !TASKS.iter().any(|module| source.belongs_to(module));
    assert_none("a task or thread is started outside of the modules for it", &lines_with(&words, others));
}

#[test]
fn the_clock_is_read_in_one_module_of_each_shell() {
    let words = ["Instant::now", "SystemTime::now"];
    let others = |source: &Source| !source.name.ends_with("clock.rs");
    assert_none("the clock is read outside of a module `clock`", &lines_with(&words, others));
}

#[test]
fn no_code_is_unsafe() {
    assert_none("unsafe code", &lines_with(&["unsafe"], |_| true));
    for manifest in ["Cargo.toml", "broker/Cargo.toml", "store/Cargo.toml"] {
        assert!(
            read(manifest).contains("[lints]\nworkspace = true"),
            "{manifest} does not take the workspace's lints"
        );
    }
    assert!(read("Cargo.toml").contains("unsafe_code = \"forbid\""));
}

#[test]
fn lines_end_where_their_text_does() {
    let mut faults = Vec::new();
    for extension in [".rs", ".md", ".toml", ".py", ".js"] {
        for source in named(extension) {
            for (index, line) in source.text.lines().enumerate() {
                if line.ends_with([' ', '\t', '\r']) {
                    faults.push(format!("{}:{}", source.name, index + 1));
                }
            }
            if !source.text.ends_with('\n') || source.text.ends_with("\n\n") {
                faults.push(format!("{}: does not end in one newline", source.name));
            }
        }
    }
    assert_none("space at the end of a line or file", &faults);
}

/// The modules that a section `### \`directory\`...` of ARCHITECTURE.md lists in its table.
fn listed_modules(architecture: &str, directory: &str) -> Vec<String> {
    let heading = format!("### `{directory}`");
    let section = architecture
        .split("\n### ")
        .map(|part| format!("### {part}"))
        .find(|part| part.starts_with(&heading));
    let section = section.unwrap_or_else(|| panic!("ARCHITECTURE.md has no section {heading}"));
    section
        .lines()
        .filter_map(|line| line.strip_prefix("| `"))
        .flat_map(|line| {
            let cell = line.split(" |").next().unwrap_or_default();
            cell.split(',').map(|name| name.trim().trim_matches('`').to_owned()).collect::<Vec<_>>()
        })
        .collect()
}

fn modules_of(directory: &str) -> Vec<String> {
    let mut modules: Vec<String> = fs::read_dir(root().join(directory))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir() || path.extension().is_some_and(|extension| extension == "rs"))
        .map(|path| path.file_stem().unwrap().to_string_lossy().into_owned())
        .filter(|name| !["lib", "main"].contains(&name.as_str()))
        .collect();
    modules.sort();
    modules.dedup();
    modules
}

#[test]
fn the_architecture_lists_the_modules_that_exist() {
    let architecture = read("ARCHITECTURE.md");
    let mut faults = Vec::new();
    for directory in ["store/", "broker/", "src/"] {
        let source = if directory == "src/" { "src".to_owned() } else { format!("{directory}src") };
        let exist = modules_of(&source);
        let mut listed = listed_modules(&architecture, directory);
        faults.extend(
            listed.iter().filter(|name| !exist.contains(name)).map(|name| format!("{source}/{name} is gone")),
        );
        listed.sort();
        // Shells' clocks and tasks need no line of their own.
        let told = |name: &String| listed.contains(name) || ["clock", "tasks"].contains(&name.as_str());
        faults.extend(
            exist.iter().filter(|name| !told(name)).map(|name| format!("{source}/{name} is not listed")),
        );
    }
    assert_none("ARCHITECTURE.md and the source tree differ", &faults);
}

#[test]
fn the_readme_names_every_flag_of_the_server() {
    let output = Command::new(env!("CARGO_BIN_EXE_distkv")).args(["server", "--help"]).output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    let flags: Vec<&str> = help
        .split(|c: char| !(c.is_ascii_alphanumeric() || c == '-'))
        .filter(|word| word.starts_with("--") && word.len() > 2 && *word != "--help")
        .collect();
    assert!(flags.len() > 5, "`distkv server --help` tells no flags:\n{help}");
    let readme = read("README.md");
    let faults: Vec<String> =
        flags.iter().filter(|flag| !has_word(&readme, flag)).map(|flag| (*flag).to_owned()).collect();
    assert_none("README.md does not name a flag of `distkv server`", &faults);
}
