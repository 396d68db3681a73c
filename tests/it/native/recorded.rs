//! Dialogues with the original server, played again to ours: `recorded.jsonl` has what was said, a dialogue a line. A reply counts as the
//! same if it says the same; what never matters is below (`VOLATILE`, `same`). Every other difference must be listed in
//! `recorded.txt`, by dialogue, with how many replies differ and why; one too few is as wrong as one too many.
//!
//! Dialogues of one `run` went to one server, in their order.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Write as _;
use std::fs;

use serde_json::{Map, Value as Json, json};

use crate::harness::native::{Native, from_hex};
use crate::harness::server::{Options, Server};
use crate::harness::tools::repository;

/// Fields of replies that are not compared: counters of the network's clock, the size of windows, numbers of stream messages; what is random;
/// what the original has never said.
const VOLATILE: &[&str] = &["tock", "qlen", "wseq", "pubkey", "etype", "entries", "bytes", "resumed"];

/// Runs which can't be played: with several servers, with a file that was loaded, with keys that are random.
const NOT_PLAYED: &[(&str, &str)] = &[
    ("multi", "there were several servers"),
    ("after load as s1", "the server had loaded a file: src/original has tests with such files"),
    (
        "diffie_hellman",
        "keys are random, so the recorded boxes can't be opened: logins.rs and the original client do it",
    ),
    ("login required", "logins are refused there, and further ones are answered late: logins.rs has them"),
    ("lib: password", "as above"),
    ("lib: login missing", "it follows the login by password"),
    ("cli/auth password", "as above"),
    ("cli/auth password login", "as above"),
];

struct Dialogue {
    run: u64,
    group: String,
    name: String,
    steps: Vec<(String, char, Json)>,
}

fn dialogues() -> Vec<Dialogue> {
    let text = fs::read_to_string(repository("tests/it/native/recorded.jsonl")).unwrap();
    text.lines()
        .map(|line| {
            let json: Json = serde_json::from_str(line).unwrap();
            let steps = json["steps"].as_array().unwrap().iter().map(|step| {
                let who = step[1].as_str().unwrap().chars().next().unwrap();
                (step[0].as_str().unwrap_or_default().to_owned(), who, step[2].clone())
            });
            Dialogue {
                run: json["run"].as_u64().unwrap(),
                group: json["group"].as_str().unwrap().to_owned(),
                name: json["name"].as_str().unwrap().to_owned(),
                steps: steps.collect(),
            }
        })
        .collect()
}

/// One run under way.
struct Player {
    server: Server,
    connections: HashMap<String, Native>,
    /// Numbers of events: what the original called them, and what they are here.
    ticks: BTreeMap<u64, u64>,
    /// The entries of streams, by connection and number: with their whole paths, the original's and ours.
    streams: BTreeMap<(String, String), [Entries; 2]>,
    fence: u64,
    /// What we have said beyond what the original has.
    rest: Vec<String>,
    /// Connections that may ask something without being sent away.
    admitted: HashSet<String>,
}

#[derive(Default)]
struct Entries {
    before: Vec<Json>,
    /// Without regard to their order: ours is that of names, the original's that in which they were made.
    all: Vec<(String, Json)>,
}

impl Entries {
    fn add(&mut self, message: &Json) {
        let depth = message["depth"].as_u64().unwrap_or(0) as usize;
        self.before.truncate(depth);
        self.before.extend(elements(&message["path"]));
        let mut entry = message.clone();
        let fields = entry.as_object_mut().unwrap();
        fields.retain(|key, _| {
            !["path", "depth", "seq"].contains(&key.as_str()) && !VOLATILE.contains(&key.as_str())
        });
        self.all.push((Json::from(self.before.clone()).to_string(), entry));
    }
}

fn elements(path: &Json) -> Vec<Json> {
    let items = path.get("$path").unwrap_or(path);
    items.as_array().cloned().unwrap_or_default()
}

impl Player {
    fn start() -> Self {
        let options = Options::new().durability("memory").argument("--name").argument("s1");
        let server = options.set("native.test_users=true").start();
        Native::open(server.native()).call(json!({ "action": "set_value", "path": [], "value": "hello" }));
        Self {
            server,
            connections: HashMap::new(),
            ticks: BTreeMap::new(),
            streams: BTreeMap::new(),
            fence: 0,
            admitted: HashSet::new(),
            rest: Vec::new(),
        }
    }

    /// Plays a dialogue; what differs, a line each.
    fn play(&mut self, dialogue: &Dialogue) -> Vec<String> {
        let mut differences = Vec::new();
        for (number, (connection, who, message)) in dialogue.steps.iter().enumerate() {
            let said = match who {
                'C' => {
                    self.say(connection, message);
                    Ok(())
                }
                'S' => self.hear(connection, message),
                _ => {
                    // Who ended it there is not compared: ours goes on after most errors.
                    self.forget(connection);
                    Ok(())
                }
            };
            if let Err(difference) = said {
                differences.push(format!("{number} {connection}: {difference}"));
            }
        }
        let labels: Vec<String> = self.connections.keys().cloned().collect();
        labels.iter().for_each(|label| self.forget(label));
        differences.extend(self.compare_streams());
        differences.extend(std::mem::take(&mut self.rest));
        differences
    }

    /// Takes what has come on a connection, and ends it.
    fn forget(&mut self, label: &str) {
        let Some(mut connection) = self.connections.remove(label) else { return };
        self.admitted.remove(label);
        connection.read_until(|_| false);
        while let Some(rest) = connection.take(|_| true) {
            if is_entry(&rest) {
                let key = (label.to_owned(), rest["seq"].to_string());
                self.streams.entry(key).or_default()[1].add(&rest);
            } else if !rest["seq"].to_string().contains("fence") {
                self.rest.push(format!("{label}: there was also {rest}"));
            }
        }
    }

    fn connection(&mut self, label: &str) -> &mut Native {
        let address = self.server.native();
        self.connections.entry(label.to_owned()).or_insert_with(|| Native::open_silently(address))
    }

    fn say(&mut self, connection: &str, message: &Json) {
        if let Some(hex) = message.get("$hex") {
            let bytes = from_hex(hex.as_str().unwrap());
            return self.connection(connection).send_bytes(&bytes);
        }
        let mut message = message.clone();
        self.translate(&mut message);
        self.connection(connection).send(&message);
    }

    /// Puts our numbers of events in place of the original's.
    fn translate(&self, json: &mut Json) {
        match json {
            Json::Object(map) => {
                for (key, it) in map {
                    match it.as_u64().filter(|_| key == "tick") {
                        Some(tick) => *it = self.ticks.get(&tick).copied().unwrap_or(tick).into(),
                        None => self.translate(it),
                    }
                }
            }
            Json::Array(items) => items.iter_mut().for_each(|item| self.translate(item)),
            _ => {}
        }
    }

    /// Waits for the reply that the original gave. Entries of streams are put aside, ours when the connection ends.
    fn hear(&mut self, label: &str, expected: &Json) -> Result<(), String> {
        let seq = expected.get("seq").cloned();
        if is_entry(expected) {
            // Where the client says how far it has read, it must have read that far.
            let is_due = |message: &Json| {
                message.get("wseq") == expected.get("wseq") && message.get("seq") == seq.as_ref()
            };
            if expected.get("wseq").is_some() && !self.connection(label).has(is_due) {
                self.connection(label).read_until(is_due);
            }
            let key = (label.to_owned(), seq.clone().unwrap_or_default().to_string());
            self.streams.entry(key).or_default()[0].add(expected);
            return Ok(());
        }
        let Some(found) = self.find(label, seq.as_ref(), expected) else {
            return Err(format!("missing {expected}"));
        };
        let admits = ["value", "tock", "changed"].iter().any(|field| found.get(field).is_some());
        let is_handshake = found["seq"] == 0 && found.get("auth").is_some_and(|auth| !auth[0].is_null());
        if admits && !is_handshake && found.get("error").is_none() && found["state"] != "start" {
            self.admitted.insert(label.to_owned());
        }
        if self.same_message(expected, &found) { Ok(()) } else { Err(format!("{expected} is {found}")) }
    }

    /// The next message with that number that is no entry; one without a number may have one with us.
    fn find(&mut self, label: &str, seq: Option<&Json>, expected: &Json) -> Option<Json> {
        let is_error = expected.get("error").is_some();
        let fits = |message: &Json| match seq {
            Some(seq) => message.get("seq") == Some(seq) && !is_entry(message),
            None => is_error && message.get("error").is_some(),
        };
        if let Some(found) = self.connection(label).take(fits) {
            return Some(found);
        }
        self.connection(label).read_until(fits);
        if let Some(found) = self.connection(label).take(fits) {
            return Some(found);
        }
        // Everything that is on its way comes before the answer to this; what takes a while comes a little later.
        for _ in 0..3 {
            if self.connection(label).closed || !self.admitted.contains(label) {
                self.connection(label).read_until(fits);
            } else {
                self.fence += 1;
                let fence = json!(format!("fence {}", self.fence));
                self.connection(label).send(&json!({ "seq": fence, "action": "get_tock" }));
                self.connection(label).read_until(|message| message.get("seq") == Some(&fence));
            }
            if let Some(found) = self.connection(label).take(fits) {
                return Some(found);
            }
        }
        None
    }

    /// Learns what the original's numbers of events are here.
    fn note_ticks(&mut self, theirs: &Json, ours: &Json) {
        match (theirs, ours) {
            (Json::Object(theirs), Json::Object(ours)) => {
                for (key, theirs) in theirs {
                    let Some(ours) = ours.get(key) else { continue };
                    match (key.as_str(), theirs.as_u64(), ours.as_u64()) {
                        ("tick", Some(theirs), Some(ours)) => {
                            self.ticks.entry(theirs).or_insert(ours);
                        }
                        _ => self.note_ticks(theirs, ours),
                    }
                }
            }
            (Json::Array(theirs), Json::Array(ours)) => {
                theirs.iter().zip(ours).for_each(|(theirs, ours)| self.note_ticks(theirs, ours));
            }
            _ => {}
        }
    }

    fn same_message(&mut self, theirs: &Json, ours: &Json) -> bool {
        if theirs.get("error").is_some() && ours.get("error").is_some() {
            // Theirs is a text of Python, ours a sentence and a kind.
            return ours.get("etype").is_some() || ours.get("raw").is_some();
        }
        self.note_ticks(theirs, ours);
        self.same(theirs, ours)
    }

    /// Do both say the same, but for numbers of events, and for what does not matter?
    fn same(&self, theirs: &Json, ours: &Json) -> bool {
        match (theirs, ours) {
            (Json::Object(theirs), Json::Object(ours)) => {
                let counts = |map: &Map<String, Json>| {
                    map.keys().filter(|key| !VOLATILE.contains(&key.as_str())).count()
                };
                counts(theirs) == counts(ours)
                    && theirs.iter().filter(|(key, _)| !VOLATILE.contains(&key.as_str())).all(
                        |(key, theirs)| {
                            ours.get(key).is_some_and(|ours| {
                                match theirs.as_u64().filter(|_| key == "tick") {
                                    Some(tick) => self.ticks.get(&tick) == ours.as_u64().as_ref(),
                                    None => self.same(theirs, ours),
                                }
                            })
                        },
                    )
            }
            (Json::Array(theirs), Json::Array(ours)) => {
                theirs.len() == ours.len()
                    && theirs.iter().zip(ours).all(|(theirs, ours)| self.same(theirs, ours))
            }
            (theirs, ours) => theirs == ours,
        }
    }

    /// Compares the entries of all streams.
    fn compare_streams(&mut self) -> Vec<String> {
        let mut differences = Vec::new();
        for ((label, seq), [mut theirs, mut ours]) in std::mem::take(&mut self.streams) {
            // Of one path they keep their order.
            theirs.all.sort_by(|(a, _), (b, _)| a.cmp(b));
            ours.all.sort_by(|(a, _), (b, _)| a.cmp(b));
            let mut ours = ours.all.into_iter().peekable();
            for (path, theirs) in theirs.all {
                while let Some((_, entry)) = ours.next_if(|(ours, _)| *ours < path) {
                    differences.push(format!("stream {seq} {label}: {path}: there was also {entry}"));
                }
                match ours.next_if(|(ours, _)| *ours == path) {
                    Some((_, entry)) if self.same_message(&theirs, &entry) => {}
                    Some((_, entry)) => {
                        differences.push(format!("stream {seq} {label}: {path} {theirs} is {entry}"));
                    }
                    None => differences.push(format!("stream {seq} {label}: {path}: missing {theirs}")),
                }
            }
            differences.extend(
                ours.map(|(path, entry)| format!("stream {seq} {label}: {path}: there was also {entry}")),
            );
        }
        differences
    }
}

/// Is it an entry of a stream?
fn is_entry(message: &Json) -> bool {
    message.get("depth").is_some() && message.get("path").is_some()
}

/// The listed differences: by dialogue, how many.
fn listed() -> BTreeMap<String, usize> {
    let text = fs::read_to_string(repository("tests/it/native/recorded.txt")).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty());
    lines
        .map(|line| {
            let (count, rest) = line.split_once(' ').unwrap();
            let (dialogue, reason) = rest.split_once(" -- ").unwrap_or_else(|| panic!("no reason: {line}"));
            assert!(reason.len() > 8, "{line}");
            (dialogue.to_owned(), count.parse().unwrap())
        })
        .collect()
}

#[test]
fn recorded_dialogues_go_as_they_went_but_for_what_is_listed() {
    let dialogues = dialogues();
    assert_eq!(dialogues.len(), 414);
    let skipped = |dialogue: &Dialogue| {
        NOT_PLAYED.iter().any(|(what, _)| {
            dialogue.group == *what || dialogue.name == *what || dialogue.name.starts_with(what)
        })
    };
    let mut listed = listed();
    let (mut report, mut played, mut replies, mut different) = (String::new(), 0, 0, 0);
    let mut times = HashMap::new();
    let mut player: Option<(u64, Player)> = None;
    for dialogue in dialogues.iter().filter(|dialogue| !skipped(dialogue)) {
        let (_, player) = match &mut player {
            Some((run, _)) if *run == dialogue.run => player.as_mut().unwrap(),
            _ => player.insert((dialogue.run, Player::start())),
        };
        let differences = player.play(dialogue);
        played += 1;
        replies += dialogue.steps.iter().filter(|(_, who, _)| *who == 'S').count();
        different += differences.len();
        let time: &mut u32 = times.entry((&dialogue.group, &dialogue.name)).or_default();
        *time += 1;
        let again = if *time > 1 { format!(" #{time}") } else { String::new() };
        let name = format!("{} / {}{again}", dialogue.group, dialogue.name);
        let expected = listed.remove(&name).unwrap_or(0);
        if differences.len() != expected {
            writeln!(report, "{} {name} -- ({expected} are listed)", differences.len()).unwrap();
            differences.iter().for_each(|difference| writeln!(report, "    {difference}").unwrap());
        }
    }
    listed.keys().for_each(|name| writeln!(report, "{name}: listed, and there is no such dialogue").unwrap());
    println!("{played} dialogues, {replies} replies, {different} of them different");
    if let Ok(file) = std::env::var("RECORDED_REPORT") {
        fs::write(file, &report).unwrap();
    }
    assert!(report.is_empty(), "{report}");
}
