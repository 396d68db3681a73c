//! Runners for the clients of others: mosquitto's, paho for Python, MQTT.js. A test whose tool is missing fails.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;

use tempfile::TempDir;

use super::clock::{SOON, wait_for, wait_until};

/// A running client. What it writes goes to a file, so that it never blocks.
pub(crate) struct Tool {
    name: String,
    process: Child,
    directory: TempDir,
}

impl Tool {
    pub(crate) fn start(program: impl AsRef<Path>, arguments: &[&str]) -> Self {
        let program = program.as_ref();
        let name = format!("{} {}", program.display(), arguments.join(" "));
        let directory = tempfile::Builder::new().prefix("distkv-tool-").tempdir().unwrap();
        let output = File::create(directory.path().join("output")).unwrap();
        let errors = File::create(directory.path().join("errors")).unwrap();
        let process = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .spawn()
            .unwrap_or_else(|error| panic!("{name}: {error}; tests/run installs what the tests need"));
        Self { name, process, directory }
    }

    /// What it wrote to standard output so far.
    pub(crate) fn output(&self) -> Vec<u8> {
        fs::read(self.directory.path().join("output")).unwrap()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.output()).into_owned()
    }

    pub(crate) fn errors(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.directory.path().join("errors")).unwrap()).into_owned()
    }

    /// Waits until `text` is in its output.
    #[track_caller]
    pub(crate) fn wait_for_text(&mut self, text: &str) {
        wait_until(&format!("{text:?} from {}", self.name), SOON, || {
            if self.text().contains(text) {
                return true;
            }
            if let Some(status) = self.process.try_wait().unwrap() {
                // It may have written in its last moment.
                assert!(self.text().contains(text), "{}: {status} without {text:?}\n{self}", self.name);
            }
            false
        });
    }

    /// Waits until it ends by itself.
    #[track_caller]
    pub(crate) fn status(&mut self) -> ExitStatus {
        wait_for(&format!("the end of {}", self.name), 2 * SOON, || self.process.try_wait().unwrap())
    }

    /// Waits for its end, which must be a success; its output.
    #[track_caller]
    pub(crate) fn finish(mut self) -> String {
        let status = self.status();
        assert!(status.success(), "{}: {status}\n{self}", self.name);
        self.text()
    }

    /// `kill -9`: its connections end without a word.
    pub(crate) fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl std::fmt::Display for Tool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}\n{}", self.text(), self.errors())
    }
}

impl Drop for Tool {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
        if thread::panicking() {
            println!("--- what {} wrote:\n{self}\n---", self.name);
        }
    }
}

/// A file of this repository.
pub(crate) fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Python with paho-mqtt of the major version 1 or 2.
pub(crate) fn python(paho: u8) -> PathBuf {
    python_of(&format!("paho{paho}"))
}

/// Python of one of the environments that tests/run makes.
pub(crate) fn python_of(environment: &str) -> PathBuf {
    let path = repository(&format!("tests/.venv/{environment}/bin/python"));
    assert!(path.exists(), "{} is missing; tests/run installs it", path.display());
    path
}

/// A scenario of a script below `tests/clients`, to its end; what it wrote. A script says `: ok` when it is through.
#[track_caller]
pub(crate) fn run_scenario(program: impl AsRef<Path>, script: &str, arguments: &[&str]) -> String {
    let script = repository(script).display().to_string();
    let mut all = vec![script.as_str()];
    all.extend(arguments);
    let said = Tool::start(program, &all).finish();
    assert!(said.contains(": ok"), "{said}");
    said
}

/// mosquitto_pub to its end, which must be a success.
#[track_caller]
pub(crate) fn mosquitto_pub(port: &str, arguments: &[&str]) {
    let mut all = vec!["-h", "127.0.0.1", "-p", port];
    all.extend(arguments);
    Tool::start("mosquitto_pub", &all).finish();
}

/// A mosquitto_sub that has its subscription. `-d` tells when, so its output also holds lines that are not messages.
#[track_caller]
pub(crate) fn mosquitto_sub(port: &str, arguments: &[&str]) -> Tool {
    // Into a file it would write by the block, not by the line.
    let mut all = vec!["-oL", "mosquitto_sub", "-h", "127.0.0.1", "-p", port, "-d"];
    all.extend(arguments);
    let mut tool = Tool::start("stdbuf", &all);
    tool.wait_for_text("Subscribed (mid:");
    tool
}
