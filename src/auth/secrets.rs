//! What a user's record holds to check him by, and how it is changed. A record is a msgpack map; these are the keys that count here, each of
//! which may be missing:
//!
//! | key | value |
//! |---|---|
//! | `password` | Argon2id as a PHC string; or 32 bytes, a bare SHA-256 (imported; it is upgraded at the first login) |
//! | `token` | 32 bytes, the SHA-256 of the SHA-256 of a token; or a list of such |
//! | `scram` | a verifier `SCRAM-SHA-256$...` |
//!
//! All other keys are left as they are.

use std::fmt;

use distkv_store::access::User;
use distkv_store::value::{Packer, Token, Tokens, Value};
use thiserror::Error;

use super::digest::Digest;
use super::password::Hashed;
use super::scram::Verifier;

/// Tokens that a user may have.
pub const TOKENS_MAX: usize = 16;

const PASSWORD: &str = "password";
const TOKEN: &str = "token";
const SCRAM: &str = "scram";

/// The secrets of one record. It borrows from the record.
#[derive(Clone, Default)]
pub struct Secrets<'a> {
    /// The password.
    pub password: Option<Password<'a>>,
    /// What is kept of tokens, at most [`TOKENS_MAX`].
    pub tokens: Vec<&'a [u8]>,
    /// The verifier for SCRAM, as text.
    pub scram: Option<&'a str>,
}

/// A password as it is kept.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Password<'a> {
    /// Argon2id, as a PHC string.
    Hashed(&'a str),
    /// A bare SHA-256, as the original keeps it.
    Imported(&'a [u8; 32]),
}

/// Why a record can't be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum RecordError {
    /// It is no map.
    #[error("the user's record is not a map")]
    NotAMap,
    /// There are [`TOKENS_MAX`] already.
    #[error("the user has {TOKENS_MAX} tokens, which is the limit: take one back first")]
    TooManyTokens,
}

impl<'a> Secrets<'a> {
    /// Those of a record. What has another form than it should is as good as missing: nobody can log in by it.
    #[must_use]
    pub fn of(record: &'a Value) -> Self {
        let mut secrets = Self::default();
        for (key, value) in pairs(record) {
            secrets.take(key.unwrap_or_default(), value);
        }
        secrets
    }

    /// Those of a user as the store has read him.
    #[must_use]
    pub fn of_user(user: &'a User) -> Self {
        let mut secrets = Self::default();
        for (key, value) in user.secrets.iter() {
            secrets.take(key, value.as_bytes());
        }
        secrets
    }

    fn take(&mut self, key: &str, value: &'a [u8]) {
        let mut tokens = Tokens::new(value);
        match (key, tokens.next()) {
            (PASSWORD, Some(Token::Str(text))) => self.password = Some(Password::Hashed(text)),
            (PASSWORD, Some(Token::Bin(bytes))) => {
                self.password = bytes.try_into().ok().map(Password::Imported);
            }
            (TOKEN, Some(Token::Bin(bytes))) => self.tokens.push(bytes),
            (TOKEN, Some(Token::Array(count))) => {
                let some = tokens.take(TOKENS_MAX.min(count as usize));
                self.tokens.extend(some.filter_map(|token| match token {
                    Token::Bin(bytes) => Some(bytes),
                    _ => None,
                }));
            }
            (SCRAM, Some(Token::Str(text))) => self.scram = Some(text),
            _ => {}
        }
    }

    /// Is one of the tokens this one? All are compared, each in the same time.
    #[must_use]
    pub fn has_token(&self, stored: &[u8; 32]) -> bool {
        let stored = Digest::from_bytes(*stored);
        self.tokens.iter().fold(false, |found, token| found | stored.is(token))
    }
}

/// Which secrets there are, not what they are.
impl fmt::Debug for Secrets<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { password, tokens, scram } = self;
        f.debug_struct("Secrets")
            .field("password", &password.is_some())
            .field("tokens", &tokens.len())
            .field("scram", &scram.is_some())
            .finish()
    }
}

/// The record with another password. A SCRAM verifier goes unless there is a new one: it would let the old password in.
///
/// # Errors
/// The record is no map.
pub fn with_password(
    record: &Value,
    password: &Hashed,
    scram: Option<&Verifier>,
) -> Result<Value, RecordError> {
    let (password, scram) =
        (Value::string(&password.to_string()), scram.map(|it| Value::string(&it.to_string())));
    replaced(record, &[(PASSWORD, Some(&password)), (SCRAM, scram.as_ref())])
}

/// The record with the same password in a better form: all else stays.
///
/// # Errors
/// The record is no map.
pub fn upgraded(record: &Value, password: &Hashed) -> Result<Value, RecordError> {
    replaced(record, &[(PASSWORD, Some(&Value::string(&password.to_string())))])
}

/// The record with one more token.
///
/// # Errors
/// The record is no map, or has as many tokens as it may.
pub fn with_token(record: &Value, stored: &[u8; 32]) -> Result<Value, RecordError> {
    let tokens = Secrets::of(record).tokens;
    if tokens.len() >= TOKENS_MAX {
        return Err(RecordError::TooManyTokens);
    }
    replaced(record, &[(TOKEN, Some(&list(tokens.iter().copied().chain([&stored[..]]))))])
}

/// The record without any token.
///
/// # Errors
/// The record is no map.
pub fn without_tokens(record: &Value) -> Result<Value, RecordError> {
    replaced(record, &[(TOKEN, None)])
}

fn list<'a>(items: impl Iterator<Item = &'a [u8]>) -> Value {
    let items: Vec<&[u8]> = items.collect();
    let mut bytes = Vec::new();
    let mut packer = Packer(&mut bytes);
    packer.array(u32::try_from(items.len()).unwrap_or_default());
    items.iter().for_each(|item| packer.bin(item));
    // What a packer writes is well-formed.
    Value::from_msgpack(&bytes).unwrap_or_else(|_| Value::nil())
}

/// The map with other values for these keys; with `None` without them.
fn replaced(record: &Value, changes: &[(&str, Option<&Value>)]) -> Result<Value, RecordError> {
    if !matches!(record.decode(), Token::Map(_) | Token::Nil) {
        return Err(RecordError::NotAMap);
    }
    let changed = |key: Option<&str>| changes.iter().any(|(name, _)| key == Some(*name));
    let mut bytes = Vec::new();
    let mut kept = 0_u32;
    let mut pair_tokens = record.tokens();
    pair_tokens.next();
    for (key, value) in pairs(record) {
        let Ok(key_bytes) = pair_tokens.whole() else { return Err(RecordError::NotAMap) };
        if pair_tokens.whole().is_err() {
            return Err(RecordError::NotAMap);
        }
        if !changed(key) {
            bytes.extend_from_slice(key_bytes);
            bytes.extend_from_slice(value);
            kept += 1;
        }
    }
    let mut whole = Vec::with_capacity(bytes.len() + 128);
    let mut packer = Packer(&mut whole);
    let new = changes.iter().filter_map(|(key, value)| value.map(|value| (key, value)));
    packer.map(kept + u32::try_from(new.clone().count()).unwrap_or_default());
    packer.raw(&bytes);
    for (key, value) in new {
        packer.str(key);
        packer.raw(value.as_bytes());
    }
    Value::from_msgpack(&whole).map_err(|_| RecordError::NotAMap)
}

/// The pairs of a map: the key, if it is a string, and the value's bytes. None for another value.
fn pairs(record: &Value) -> impl Iterator<Item = (Option<&str>, &[u8])> {
    let mut tokens = record.tokens();
    let count = match tokens.next() {
        Some(Token::Map(count)) => count,
        _ => 0,
    };
    (0..count).map_while(move |_| {
        let key = tokens.whole().ok()?;
        let value = tokens.whole().ok()?;
        let key = match Tokens::new(key).next() {
            Some(Token::Str(key)) => Some(key),
            _ => None,
        };
        Some((key, value))
    })
}

#[cfg(test)]
mod tests {
    use super::super::password::Cost;
    use super::*;

    fn record(json: &[(&str, Value)]) -> Value {
        let mut bytes = Vec::new();
        let mut packer = Packer(&mut bytes);
        packer.map(json.len() as u32);
        for (key, value) in json {
            packer.str(key);
            packer.raw(value.as_bytes());
        }
        Value::from_msgpack(&bytes).unwrap()
    }

    fn hashed(password: &[u8]) -> Hashed {
        let cost = Cost { memory_kib: 8, passes: 1, lanes: 1 };
        Hashed::make(&Digest::of(password), b"0123456789abcdef", cost).unwrap()
    }

    #[test]
    fn secrets_are_changed_and_all_else_stays() {
        let empty = record(&[("acl", Value::string("x"))]);
        let one = with_password(&empty, &hashed(b"one"), None).unwrap();
        assert!(Secrets::of(&one).password == Some(Password::Hashed(&hashed(b"one").to_string())));
        let two = with_token(&one, &[7; 32]).unwrap();
        let two = with_token(&two, &[8; 32]).unwrap();
        let secrets = Secrets::of(&two);
        assert!(secrets.has_token(&[7; 32]) && secrets.has_token(&[8; 32]) && !secrets.has_token(&[9; 32]));
        assert!(secrets.password.is_some());
        assert_eq!(format!("{secrets:?}"), "Secrets { password: true, tokens: 2, scram: false }");
        let none = without_tokens(&two).unwrap();
        assert_eq!(Secrets::of(&none).tokens.len(), 0);
        assert!(none.tokens().any(|token| token == Token::Str("acl")));
    }

    #[test]
    fn an_old_verifier_goes_with_its_password_but_not_at_an_upgrade() {
        let verifier = Verifier::of_password(b"one", b"0123456789abcdef", 4096).unwrap();
        let digest = Digest::of(b"one");
        let imported = record(&[("password", Value::binary(digest.as_bytes()))]);
        assert!(Secrets::of(&imported).password == Some(Password::Imported(digest.as_bytes())));
        let one = with_password(&imported, &hashed(b"one"), Some(&verifier)).unwrap();
        assert!(Secrets::of(&one).scram.is_some());
        assert!(Secrets::of(&upgraded(&one, &hashed(b"one")).unwrap()).scram.is_some());
        assert!(Secrets::of(&with_password(&one, &hashed(b"two"), None).unwrap()).scram.is_none());
    }

    #[test]
    fn what_is_no_secret_lets_nobody_in() {
        for strange in [Value::nil(), Value::string("x"), record(&[("password", Value::binary(b"short"))])] {
            let secrets = Secrets::of(&strange);
            assert!(secrets.password.is_none() && secrets.tokens.is_empty() && secrets.scram.is_none());
        }
        assert_eq!(upgraded(&Value::string("x"), &hashed(b"x")), Err(RecordError::NotAMap));
        assert!(upgraded(&Value::nil(), &hashed(b"x")).is_ok(), "a user of whom nothing is known yet");
    }

    #[test]
    fn there_are_not_more_tokens_than_the_limit() {
        let mut all = record(&[]);
        for n in 0..TOKENS_MAX {
            all = with_token(&all, &[n as u8; 32]).unwrap();
        }
        assert_eq!(with_token(&all, &[99; 32]), Err(RecordError::TooManyTokens));
    }
}
