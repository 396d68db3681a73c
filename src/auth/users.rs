//! The users who may log in by SCRAM, from a file with one of them in each line:
//!
//! ```text
//! # a comment
//! NAME:SCRAM-SHA-256$ITERATIONS:SALT$STOREDKEY:SERVERKEY
//! ```
//!
//! What follows the name is a verifier as PostgreSQL writes it, too. A name has no `:` in it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::RwLock;
use thiserror::Error;

use super::scram::{self, Account, BadVerifier, ITERATIONS_MIN, Verifier};

/// Why there is no list of users.
#[derive(Debug, Error)]
pub enum UsersError {
    /// The file can't be read.
    #[error("can't read the users of `mqtt.scram_users_file`, {}: {error}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        error: std::io::Error,
    },
    /// One of its lines is wrong.
    #[error("{}, line {line}: {problem}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1 on.
        line: usize,
        /// What is wrong with it.
        problem: BadLine,
    },
    /// There is no randomness for a secret of our own.
    #[error("the system gives no random numbers: {0}")]
    Random(getrandom::Error),
}

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BadLine {
    /// There is no `:` behind a name.
    #[error("a user has the form NAME:VERIFIER; `distkv user scram` makes such a line")]
    Form,
    /// Empty, too long, or with control characters.
    #[error("a name has 1 to {} bytes and no control characters", scram::NAME_MAX)]
    Name,
    /// The user is in the list already.
    #[error("there is a user `{0}` already")]
    Twice(String),
    /// What follows the name is no verifier.
    #[error("user `{0}`: {1}")]
    Verifier(String, BadVerifier),
}

/// The users of one file as it was read.
#[derive(Debug)]
pub struct List {
    verifiers: HashMap<String, Arc<Verifier>>,
    /// Of the first user: those who are not known seem to have the same.
    iterations: u32,
}

impl List {
    /// Reads the file.
    ///
    /// # Errors
    /// It can't be read, or one of its lines is wrong.
    pub fn read(path: &Path) -> Result<Self, UsersError> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| UsersError::Unreadable { path: path.to_owned(), error })?;
        Self::parse(&text).map_err(|(line, problem)| UsersError::Line {
            path: path.to_owned(),
            line,
            problem,
        })
    }

    /// Reads the text of such a file. An error has the number of its line.
    fn parse(text: &str) -> Result<Self, (usize, BadLine)> {
        let mut list = Self { verifiers: HashMap::new(), iterations: ITERATIONS_MIN };
        for (index, line) in text.lines().enumerate() {
            if !line.trim().is_empty() && !line.starts_with('#') {
                list.add(line).map_err(|problem| (index + 1, problem))?;
            }
        }
        Ok(list)
    }

    fn add(&mut self, line: &str) -> Result<(), BadLine> {
        let (name, verifier) = line.split_once(':').ok_or(BadLine::Form)?;
        if !scram::is_name(name) {
            return Err(BadLine::Name);
        }
        let verifier: Verifier =
            verifier.trim_end().parse().map_err(|problem| BadLine::Verifier(name.to_owned(), problem))?;
        if self.verifiers.is_empty() {
            self.iterations = verifier.iterations();
        }
        match self.verifiers.insert(name.to_owned(), Arc::new(verifier)) {
            None => Ok(()),
            Some(_) => Err(BadLine::Twice(name.to_owned())),
        }
    }

    /// How many users there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.verifiers.len()
    }

    /// Nobody may log in.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.verifiers.is_empty()
    }
}

/// The users of a running server.
pub struct Users {
    list: RwLock<Arc<List>>,
    /// For what is said of users that there are not. New at each start.
    secret: [u8; 32],
}

impl Users {
    /// Those of a list.
    ///
    /// # Errors
    /// There are no random numbers.
    pub fn new(list: List) -> Result<Self, UsersError> {
        let mut secret = [0; 32];
        getrandom::fill(&mut secret).map_err(UsersError::Random)?;
        Ok(Self { list: RwLock::new(Arc::new(list)), secret })
    }

    /// None at all: what is said of them are decoys.
    pub(super) fn none() -> Result<Self, getrandom::Error> {
        let mut secret = [0; 32];
        getrandom::fill(&mut secret)?;
        let list = List { verifiers: HashMap::new(), iterations: ITERATIONS_MIN };
        Ok(Self { list: RwLock::new(Arc::new(list)), secret })
    }

    /// From now on these. Who is connected stays so.
    pub fn replace(&self, list: List) {
        *self.list.write() = Arc::new(list);
    }

    /// The user of that name, or what stands for it if there is none: the same at each time until the next start.
    #[must_use]
    pub fn account(&self, name: &str) -> Account {
        let list = Arc::clone(&self.list.read());
        // Made in any case: time must not tell whether there is such a user.
        let decoy = Verifier::decoy(&self.secret, name, list.iterations);
        match list.verifiers.get(name) {
            Some(verifier) => Account { verifier: Arc::clone(verifier), known: true },
            None => Account { verifier: Arc::new(decoy), known: false },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(name: &str, iterations: u32) -> String {
        format!("{name}:{}", Verifier::of_password(b"secret", b"0123456789abcdef", iterations).unwrap())
    }

    #[test]
    fn users_are_read_line_by_line() {
        let text = format!("# users\n\n{}\r\n  \n{}\n", line("ann", 5000), line("B\u{e4}r #1", 4096));
        let list = List::parse(&text).unwrap();
        assert_eq!((list.len(), list.is_empty(), list.iterations), (2, false, 5000));
        let users = Users::new(list).unwrap();
        assert!(users.account("ann").known && users.account("B\u{e4}r #1").known);
        assert!(!users.account("Ann").known);
        assert_eq!(List::parse("").unwrap().len(), 0);
    }

    #[test]
    fn a_wrong_line_is_told_with_its_number() {
        let ann = line("ann", 4096);
        let refused = |second: &str| List::parse(&format!("{ann}\n{second}\n")).unwrap_err();
        assert_eq!(refused("bob"), (2, BadLine::Form));
        assert_eq!(refused(":x"), (2, BadLine::Name));
        assert_eq!(refused("a\tb:x"), (2, BadLine::Name));
        assert_eq!(refused(&ann), (2, BadLine::Twice("ann".into())));
        assert_eq!(refused("bob:plain"), (2, BadLine::Verifier("bob".into(), BadVerifier::Form)));
        let path = Path::new("/no/such/file");
        assert!(List::read(path).unwrap_err().to_string().contains("/no/such/file"));
    }

    #[test]
    fn who_is_not_known_looks_like_a_user_and_always_the_same() {
        let users = Users::new(List::parse(&line("ann", 5000)).unwrap()).unwrap();
        let [first, again, other] = ["bob", "bob", "eve"].map(|name| users.account(name));
        assert_eq!(first.verifier, again.verifier);
        assert_ne!(first.verifier, other.verifier);
        assert_eq!(first.verifier.iterations(), 5000);
        let shape = |verifier: &Verifier| verifier.to_string().split('$').map(str::len).collect::<Vec<_>>();
        assert_eq!(shape(&first.verifier), shape(&users.account("ann").verifier));
        let elsewhere = Users::new(List::parse("").unwrap()).unwrap();
        assert_ne!(elsewhere.account("bob").verifier, first.verifier, "the secret is the server's own");
    }

    #[test]
    fn another_list_takes_the_place_of_the_first() {
        let users = Users::new(List::parse(&line("ann", 4096)).unwrap()).unwrap();
        users.replace(List::parse(&line("bob", 4096)).unwrap());
        assert!(!users.account("ann").known && users.account("bob").known);
    }
}
