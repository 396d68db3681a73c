//! SCRAM-SHA-256 [RFC 5802, RFC 7677], the server's side, as a state machine: it is given messages, a nonce and what is known of
//! the user, and answers with messages. Without channel binding.
//!
//! ```text
//! client-first  n,,n=NAME,r=NONCE            ->  ClientFirst::parse
//! server-first  r=NONCE+OURS,s=SALT,i=COUNT  <-  ClientFirst::challenge
//! client-final  c=biws,r=NONCE+OURS,p=PROOF  ->  Challenge::finish
//! server-final  v=SIGNATURE                  <-
//! ```
//!
//! Names and passwords are taken byte by byte as they come. (What SASLprep would change about them is no ASCII.)

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use thiserror::Error;

/// The name of the method, in MQTT and before a verifier.
pub const METHOD: &str = "SCRAM-SHA-256";
/// The fewest iterations that a verifier may have [RFC 7677: 4].
pub const ITERATIONS_MIN: u32 = 4096;
/// The most: a client of ours would take seconds for it.
pub const ITERATIONS_MAX: u32 = 10_000_000;
/// The longest name of a user, in bytes.
pub const NAME_MAX: usize = 255;
/// The longest message of a client, in bytes.
const MESSAGE_MAX: usize = 2048;
/// The longest nonce of a client.
const NONCE_MAX: usize = 256;
/// The longest salt, in bytes.
const SALT_MAX: usize = 256;

type Key = [u8; 32];

/// Why a login ends. Its client is told only that it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ScramError {
    /// More than any true message has.
    #[error("the message is too long")]
    TooLong,
    /// Not of the form that it should have.
    #[error("the message is malformed: {0}")]
    Malformed(&'static str),
    /// The client wants channel binding.
    #[error("the client wants channel binding, which there is none")]
    ChannelBinding,
    /// The client wants to act as somebody else.
    #[error("the client logs in as one user and wants to be another")]
    OtherUser,
    /// The client relies on something that we do not know.
    #[error("the client demands an extension that is not known")]
    Extension,
    /// The messages are not of one exchange.
    #[error("the nonce or the channel binding is not that of the first message")]
    OtherExchange,
    /// There is no such user, or the password is wrong.
    #[error("there is no such user, or the password is wrong")]
    WrongProof,
}

/// Why a text is no verifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BadVerifier {
    /// Another form.
    #[error("a verifier has the form SCRAM-SHA-256$ITERATIONS:SALT$STOREDKEY:SERVERKEY")]
    Form,
    /// A count that is none, or too small or large to be of use.
    #[error("the iterations must be a number from {ITERATIONS_MIN} to {ITERATIONS_MAX}")]
    Iterations,
    /// The salt is not base64, or empty or too long.
    #[error("the salt must be 1 to {SALT_MAX} bytes in base64")]
    Salt,
    /// A key that is not base64 of 32 bytes.
    #[error("the {0} key must be 32 bytes in base64")]
    Key(&'static str),
}

/// What a server knows of a user: enough to check a proof, not enough to make one.
#[derive(Clone, PartialEq, Eq)]
pub struct Verifier {
    iterations: u32,
    salt: Vec<u8>,
    stored_key: Key,
    server_key: Key,
}

impl Verifier {
    /// The verifier of a password. It takes its time.
    ///
    /// # Errors
    /// The iterations or the salt are out of bounds.
    pub fn of_password(password: &[u8], salt: &[u8], iterations: u32) -> Result<Self, BadVerifier> {
        check_bounds(salt, iterations)?;
        let salted = salted_password(password, salt, iterations);
        let stored_key = Sha256::digest(hmac(&salted, &[b"Client Key"])).into();
        let server_key = hmac(&salted, &[b"Server Key"]);
        Ok(Self { iterations, salt: salt.to_vec(), stored_key, server_key })
    }

    /// One that fits to no password: made of a secret and a name, always the same for both, and like those of true users.
    pub(super) fn decoy(secret: &Key, name: &str, iterations: u32) -> Self {
        let made_of = |what: &[u8]| hmac(secret, &[what, name.as_bytes()]);
        let [salt, stored_key, server_key] = [&b"salt:"[..], b"stored:", b"server:"].map(made_of);
        Self { iterations, salt: salt[..SALT_BYTES].to_vec(), stored_key, server_key }
    }

    /// How often the password was hashed.
    #[must_use]
    pub fn iterations(&self) -> u32 {
        self.iterations
    }
}

/// Bytes of a salt that we make.
pub const SALT_BYTES: usize = 16;

fn check_bounds(salt: &[u8], iterations: u32) -> Result<(), BadVerifier> {
    if !(ITERATIONS_MIN..=ITERATIONS_MAX).contains(&iterations) {
        return Err(BadVerifier::Iterations);
    }
    if salt.is_empty() || salt.len() > SALT_MAX {
        return Err(BadVerifier::Salt);
    }
    Ok(())
}

/// In the form that PostgreSQL has for it.
impl fmt::Display for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [salt, stored, server] =
            [&self.salt[..], &self.stored_key, &self.server_key].map(|it| BASE64.encode(it));
        write!(f, "{METHOD}${}:{salt}${stored}:{server}", self.iterations)
    }
}

impl FromStr for Verifier {
    type Err = BadVerifier;

    fn from_str(text: &str) -> Result<Self, BadVerifier> {
        let parts = || {
            let rest = text.strip_prefix(METHOD)?.strip_prefix('$')?;
            let (cost, keys) = rest.split_once('$')?;
            Some((cost.split_once(':')?, keys.split_once(':')?))
        };
        let ((iterations, salt), (stored, server)) = parts().ok_or(BadVerifier::Form)?;
        let digits = iterations.bytes().all(|byte| byte.is_ascii_digit());
        let iterations = iterations.parse().ok().filter(|_| digits).ok_or(BadVerifier::Iterations)?;
        let salt = BASE64.decode(salt).map_err(|_| BadVerifier::Salt)?;
        check_bounds(&salt, iterations)?;
        let stored_key = key(stored).ok_or(BadVerifier::Key("stored"))?;
        let server_key = key(server).ok_or(BadVerifier::Key("server"))?;
        Ok(Self { iterations, salt, stored_key, server_key })
    }
}

/// Without its secrets.
impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").field("iterations", &self.iterations).finish_non_exhaustive()
    }
}

/// A user as the exchange sees one.
#[derive(Clone, Debug)]
pub struct Account {
    /// What the proof is checked against.
    pub verifier: Arc<Verifier>,
    /// There is such a user. If not, the exchange goes on as if there were, and fails.
    pub known: bool,
}

/// The client's first message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientFirst {
    name: String,
    /// The header about channel binding, which the last message repeats.
    header: String,
    /// What follows it: the proof is over this.
    bare: String,
    nonce: String,
}

impl ClientFirst {
    /// Reads it.
    ///
    /// # Errors
    /// It is not of the form that it should have, or wants what there is not.
    pub fn parse(message: &[u8]) -> Result<Self, ScramError> {
        let message = text(message)?;
        let malformed = ScramError::Malformed("it has no header");
        let (binding, rest) = message.split_once(',').ok_or(malformed)?;
        match binding {
            // `y`: it could, and takes it that we can't. So it is.
            "n" | "y" => {}
            _ if binding.starts_with("p=") => return Err(ScramError::ChannelBinding),
            _ => return Err(malformed),
        }
        let (authorized, bare) = rest.split_once(',').ok_or(malformed)?;
        let mut attributes = bare.split(',');
        let first = attributes.next().unwrap_or_default();
        if first.starts_with("m=") {
            return Err(ScramError::Extension);
        }
        let name = first.strip_prefix("n=").ok_or(ScramError::Malformed("it has no name"))?;
        let name = decode_name(name)?;
        if !authorized.is_empty() {
            let authorized = authorized.strip_prefix("a=").ok_or(malformed)?;
            if decode_name(authorized)? != name {
                return Err(ScramError::OtherUser);
            }
        }
        let nonce = attributes.next().and_then(|attribute| attribute.strip_prefix("r="));
        let nonce = nonce.filter(|nonce| is_nonce(nonce)).ok_or(ScramError::Malformed("it has no nonce"))?;
        check_extensions(attributes)?;
        let header = message[..message.len() - bare.len()].to_owned();
        Ok(Self { name, header, bare: bare.to_owned(), nonce: nonce.to_owned() })
    }

    /// Who wants to log in.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The answer, and what is to be known for the next message. `nonce`: printable ASCII without comma, never used before.
    #[must_use]
    pub fn challenge(self, account: Account, nonce: &str) -> (Challenge, String) {
        let nonce = format!("{}{nonce}", self.nonce);
        let Verifier { iterations, salt, .. } = &*account.verifier;
        let server_first = format!("r={nonce},s={},i={iterations}", BASE64.encode(salt));
        let signed = format!("{},{server_first},", self.bare);
        let binding = BASE64.encode(self.header);
        (Challenge { name: self.name, account, nonce, binding, signed }, server_first)
    }
}

/// An exchange that waits for the client's last message.
#[derive(Clone, Debug)]
pub struct Challenge {
    name: String,
    account: Account,
    nonce: String,
    /// What the client must say of its channel binding.
    binding: String,
    /// What is signed before the last message.
    signed: String,
}

impl Challenge {
    /// Checks the last message. Answers who it is, and our own proof for the client.
    ///
    /// # Errors
    /// It is not of the form that it should have, or the client does not know the password.
    pub fn finish(self, message: &[u8]) -> Result<(String, String), ScramError> {
        let message = text(message)?;
        let malformed = ScramError::Malformed("it has no proof at its end");
        let (before, proof) = message.rsplit_once(",p=").ok_or(malformed)?;
        let proof = key(proof).ok_or(malformed)?;
        let mut attributes = before.split(',');
        let mut next = |prefix| attributes.next().and_then(|attribute| attribute.strip_prefix(prefix));
        let binding = next("c=").ok_or(ScramError::Malformed("it has no channel binding"))?;
        let nonce = next("r=").ok_or(ScramError::Malformed("it has no nonce"))?;
        check_extensions(attributes)?;
        if binding != self.binding || nonce != self.nonce {
            return Err(ScramError::OtherExchange);
        }
        let signed = [self.signed.as_bytes(), before.as_bytes()];
        let Verifier { stored_key, server_key, .. } = &*self.account.verifier;
        let mut client_key = hmac(stored_key, &signed);
        client_key.iter_mut().zip(&proof).for_each(|(byte, proven)| *byte ^= proven);
        let proven: Key = Sha256::digest(client_key).into();
        // Both are always looked at: time must not tell whether there is such a user.
        let right = proven.ct_eq(stored_key) & u8::from(self.account.known).ct_eq(&1);
        if !bool::from(right) {
            return Err(ScramError::WrongProof);
        }
        Ok((self.name, format!("v={}", BASE64.encode(hmac(server_key, &signed)))))
    }
}

/// Random bytes as a nonce.
#[must_use]
pub fn nonce(random: &[u8]) -> String {
    BASE64.encode(random)
}

fn text(message: &[u8]) -> Result<&str, ScramError> {
    if message.len() > MESSAGE_MAX {
        return Err(ScramError::TooLong);
    }
    let text = std::str::from_utf8(message).map_err(|_| ScramError::Malformed("it is not UTF-8"))?;
    if text.contains('\0') { Err(ScramError::Malformed("it has a U+0000")) } else { Ok(text) }
}

/// In a name `=2C` stands for a comma, `=3D` for an equals sign.
fn decode_name(encoded: &str) -> Result<String, ScramError> {
    let bad = ScramError::Malformed("the name is not one");
    let mut parts = encoded.split('=');
    let mut name = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (c, rest) = match part.split_at_checked(2) {
            Some(("2C", rest)) => (',', rest),
            Some(("3D", rest)) => ('=', rest),
            _ => return Err(bad),
        };
        name.push(c);
        name.push_str(rest);
    }
    if is_name(&name) { Ok(name) } else { Err(bad) }
}

/// Can a user have this name?
#[must_use]
pub fn is_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= NAME_MAX && !name.chars().any(char::is_control)
}

fn is_nonce(nonce: &str) -> bool {
    (1..=NONCE_MAX).contains(&nonce.len())
        && nonce.bytes().all(|byte| byte.is_ascii_graphic() && byte != b',')
}

/// Further attributes mean nothing to us, unless one says that it must.
fn check_extensions<'a>(attributes: impl Iterator<Item = &'a str>) -> Result<(), ScramError> {
    for attribute in attributes {
        match attribute.as_bytes() {
            [b'm', b'=', ..] => return Err(ScramError::Extension),
            [letter, b'=', _, ..] if letter.is_ascii_alphabetic() => {}
            _ => return Err(ScramError::Malformed("an extension is not one")),
        }
    }
    Ok(())
}

fn key(text: &str) -> Option<Key> {
    BASE64.decode(text).ok()?.try_into().ok()
}

fn hmac(key: &[u8], message: &[&[u8]]) -> Key {
    let mut mac = keyed(key);
    message.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

fn keyed(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes keys of any length")
}

/// `Hi` of RFC 5802: PBKDF2 with a single block.
fn salted_password(password: &[u8], salt: &[u8], iterations: u32) -> Key {
    let keyed = keyed(password);
    let first = keyed.clone().chain_update(salt).chain_update(1_u32.to_be_bytes());
    let mut last: Key = first.finalize().into_bytes().into();
    let mut all = last;
    for _ in 1..iterations {
        last = keyed.clone().chain_update(last).finalize().into_bytes().into();
        all.iter_mut().zip(&last).for_each(|(sum, byte)| *sum ^= byte);
    }
    all
}

#[cfg(test)]
mod tests;
