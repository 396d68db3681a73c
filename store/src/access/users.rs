//! Users: their records in the store, how they are read and written.
//!
//! | place below a [home](super::home) | value |
//! |---|---|
//! | `auth` | `{current: METHOD}`: the method by which users log in |
//! | `auth.METHOD.user.NAME` | a map: `admin` (bool), `root` (a path, below the home's root); all else is a secret of the method: `password`, `token`, `scram` |
//! | `auth.METHOD.user.NAME.acl` | `{key: NAME}`: the user's access list; `*` is none |
//! | `auth.METHOD.user.NAME.conv` | `{key: NAME}`: the user's codecs |
//! | `acl.NAME.PATTERN...` | a string of letters: see [`acl`](super::acl) |
//!
//! A user without an access list may do everything below his root. One whose list does not exist may do nothing. A record which
//! can't be read is no user.

use std::fmt;
use std::sync::Arc;

use crate::path::{Element, Path, PathBuilder, PathError, PathRef};
use crate::value::{Packer, Token, Tokens, Value};

/// The name of an access list which is none: the user is not limited.
const UNLIMITED: &str = "*";

/// A user, as the store has him.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The name as he says it to log in: NAME, or NAME@ROOT if his record lies in the home of a root.
    pub login: Arc<str>,
    /// His name: what `%u` stands for.
    pub name: Arc<str>,
    /// The method by which he logs in.
    pub method: Arc<str>,
    /// The root in whose home his record lies.
    pub realm: Path,
    /// What he sees as the whole: the realm, or a path below it.
    pub root: Path,
    /// The name of his access list, in the home of his realm. `None`: no limits.
    pub acl: Option<Arc<str>>,
    /// The name of his codecs.
    pub conv: Option<Arc<str>>,
    /// Whether he has the mark `admin`. (Who has no access list is one, too.)
    pub admin: bool,
    /// What he proves himself by.
    pub secrets: Secrets,
}

impl User {
    /// May he see and change the internal data of his root?
    pub fn is_admin(&self) -> bool {
        self.admin || self.acl.is_none()
    }

    /// May he do what concerns the whole server: an admin who has no root?
    pub fn is_operator(&self) -> bool {
        self.is_admin() && self.root.is_root()
    }
}

/// The secrets of a user, by name. They are not shown by `Debug`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secrets(Vec<(Box<str>, Value)>);

impl Secrets {
    /// A secret.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.iter().find(|(known, _)| **known == *name).map(|(_, secret)| secret)
    }

    /// All of them, with their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(name, secret)| (&**name, secret))
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.0.iter().map(|(name, _)| (name, "***"))).finish()
    }
}

/// Why a record is no user's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// It is no map with strings as keys.
    #[error("the record is no map with names as keys")]
    NoMap,
    /// `admin` is no boolean.
    #[error("'admin' is neither true nor false")]
    Admin,
    /// `root` is no path, or one of internal data, or too long.
    #[error("'root' is no path, or not one of data")]
    Root,
    /// What should name an access list or codecs does not.
    #[error("'{0}' is no map with a string as 'key'")]
    Key(&'static str),
}

/// The value of a user's record. `root` is relative to the root in whose home the record will lie.
pub fn record(secrets: &[(&str, Value)], admin: bool, root: Option<PathRef<'_>>) -> Value {
    let mut out = Vec::new();
    let mut pack = Packer(&mut out);
    let root = root.filter(|root| !root.is_root());
    pack.map(secrets.len() as u32 + u32::from(admin) + u32::from(root.is_some()));
    for (name, secret) in secrets {
        pack.str(name);
        pack.raw(secret.as_bytes());
    }
    if admin {
        pack.str("admin");
        pack.bool(true);
    }
    if let Some(root) = root {
        pack.str("root");
        pack.path(root);
    }
    Value::packed(out)
}

/// The value which names an access list or codecs for a user: `{key: NAME}`.
pub fn key(name: &str) -> Value {
    let mut out = Vec::new();
    let mut pack = Packer(&mut out);
    pack.map(1);
    pack.str("key");
    pack.str(name);
    Value::packed(out)
}

/// The value which puts a method in force: `{current: METHOD}`.
pub fn current(method: &str) -> Value {
    let mut out = Vec::new();
    let mut pack = Packer(&mut out);
    pack.map(1);
    pack.str("current");
    pack.str(method);
    Value::packed(out)
}

/// Where the record of a user lies, below a home; `acl` and `conv` are children of it.
pub fn path(home: PathRef<'_>, method: &str, name: &str) -> Result<Path, PathError> {
    let mut path = PathBuilder::below(home);
    for element in ["auth", method, "user", name] {
        path.push_str(element)?;
    }
    Ok(path.finish())
}

/// Where it is said which method is in force.
pub fn method_path(home: PathRef<'_>) -> Result<Path, PathError> {
    home.child(&Element::str("auth"))
}

/// Where a rule of an access list lies, below a home.
pub fn rule_path(home: PathRef<'_>, acl: &str, pattern: PathRef<'_>) -> Result<Path, PathError> {
    let mut path = PathBuilder::below(home);
    path.push_str("acl")?;
    path.push_str(acl)?;
    path.push_path(pattern)?;
    Ok(path.finish())
}

/// The record and its children, as they are stored.
#[derive(Debug, Default)]
pub(super) struct Stored {
    pub(super) record: Option<Value>,
    pub(super) acl: Option<Value>,
    pub(super) conv: Option<Value>,
}

impl Stored {
    pub(super) fn is_empty(&self) -> bool {
        self.record.is_none() && self.acl.is_none() && self.conv.is_none()
    }

    /// The user; `None` without a record.
    pub(super) fn read(&self, realm: &Path, method: &str, name: &str) -> Result<Option<User>, RecordError> {
        let Some(record) = &self.record else { return Ok(None) };
        let Record { admin, root, secrets } = Record::read(record)?;
        let named = |value: &Option<Value>, what| match value {
            None => Ok(None),
            Some(value) => Ok(Some(text_at(value, "key").ok_or(RecordError::Key(what))?)),
        };
        let login = if realm.is_root() { name.into() } else { Arc::from(format!("{name}@{realm}").as_str()) };
        Ok(Some(User {
            login,
            name: name.into(),
            method: method.into(),
            realm: realm.clone(),
            root: join(realm.as_path(), root.as_path()).map_err(|_| RecordError::Root)?,
            acl: named(&self.acl, "acl")?.filter(|name| **name != *UNLIMITED),
            conv: named(&self.conv, "conv")?,
            admin,
            secrets,
        }))
    }
}

struct Record {
    admin: bool,
    root: Path,
    secrets: Secrets,
}

impl Record {
    fn read(value: &Value) -> Result<Self, RecordError> {
        let mut tokens = value.tokens();
        let Some(Token::Map(count)) = tokens.next() else { return Err(RecordError::NoMap) };
        let mut record = Self { admin: false, root: Path::root(), secrets: Secrets::default() };
        for _ in 0..count {
            let Some(Token::Str(name)) = tokens.next() else { return Err(RecordError::NoMap) };
            let value = Value::known(tokens.whole().map_err(|_| RecordError::NoMap)?);
            match name {
                "admin" => match value.decode() {
                    Token::Bool(admin) => record.admin = admin,
                    _ => return Err(RecordError::Admin),
                },
                "root" => record.root = read_root(&value)?,
                _ => record.secrets.0.push((name.into(), value)),
            }
        }
        Ok(record)
    }
}

fn read_root(value: &Value) -> Result<Path, RecordError> {
    let root = match value.as_str() {
        Some(text) => text.parse().map_err(|_| RecordError::Root)?,
        None => value.to_path().map_err(|_| RecordError::Root)?,
    };
    if root.as_path().is_internal() { Err(RecordError::Root) } else { Ok(root) }
}

/// The string at `key` of a map.
pub(super) fn text_at(value: &Value, key: &str) -> Option<Arc<str>> {
    let mut tokens: Tokens<'_> = value.tokens();
    let Some(Token::Map(count)) = tokens.next() else { return None };
    for _ in 0..count {
        let found = tokens.next()? == Token::Str(key);
        let value = Value::known(tokens.whole().ok()?);
        if found {
            return value.as_str().map(Arc::from);
        }
    }
    None
}

fn join(front: PathRef<'_>, behind: PathRef<'_>) -> Result<Path, PathError> {
    let mut path = PathBuilder::below(front);
    path.push_path(behind)?;
    Ok(path.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(record: Value, acl: Option<Value>) -> Stored {
        Stored { record: Some(record), acl, conv: None }
    }

    fn read(stored: &Stored) -> Result<User, RecordError> {
        Ok(stored.read(&"acme".parse().unwrap(), "password", "ann")?.unwrap())
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let root: Path = "plant.1".parse().unwrap();
        let record = record(&[("password", Value::string("$argon2id$x"))], true, Some(root.as_path()));
        let user = read(&stored(record, Some(key("device")))).unwrap();
        assert_eq!((&*user.login, &*user.name, &*user.method), ("ann@acme", "ann", "password"));
        assert_eq!(user.root.to_string(), "acme.plant.1");
        assert_eq!(user.acl.as_deref(), Some("device"));
        assert!(user.admin && user.is_admin() && !user.is_operator());
        assert_eq!(user.secrets.get("password"), Some(&Value::string("$argon2id$x")));
        assert!(!format!("{user:?}").contains("argon2id"), "{user:?}");
    }

    #[test]
    fn an_empty_record_is_a_user_without_limits() {
        let stored = stored(record(&[], false, None), None);
        let user = stored.read(&Path::root(), "root", "*").unwrap().unwrap();
        assert!(user.is_operator() && !user.admin);
        assert_eq!(&*user.login, "*");
    }

    #[test]
    fn a_star_is_no_list() {
        assert_eq!(read(&stored(record(&[], false, None), Some(key("*")))).unwrap().acl, None);
    }

    #[test]
    fn what_cannot_be_read_is_no_user() {
        assert_eq!(read(&stored(Value::nil(), None)), Err(RecordError::NoMap));
        assert_eq!(read(&stored(record(&[], false, None), Some(Value::nil()))), Err(RecordError::Key("acl")));
        let bad = |name: &str, value: Value| read(&stored(record(&[(name, value)], false, None), None));
        assert_eq!(bad("admin", Value::string("yes")), Err(RecordError::Admin));
        assert_eq!(bad("root", Value::string(":n.auth")), Err(RecordError::Root));
        assert_eq!(bad("root", Value::nil()), Err(RecordError::Root));
        assert!(bad("root", Value::string("x")).is_ok());
    }

    #[test]
    fn places() {
        let home: Path = ":n".parse().unwrap();
        assert_eq!(
            path(home.as_path(), "password", "a.b").unwrap().to_string(),
            ":n.auth.password.user.a:.b"
        );
        let pattern: Path = "a.+".parse().unwrap();
        assert_eq!(
            rule_path(home.as_path(), "std", pattern.as_path()).unwrap().to_string(),
            ":n.acl.std.a.+"
        );
    }
}
