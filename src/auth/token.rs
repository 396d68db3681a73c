//! Device tokens: random secrets of ours which stand where a password would. As nobody can guess one, it costs two hashes to check
//! and nothing to try.
//!
//! ```text
//! distkv.NAME.SECRET
//! ```
//!
//! `NAME` is the user's name and `SECRET` has 256 random bits, both in base64 for URLs without padding. The name is for HTTP, where a
//! bearer token stands alone.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;

use super::digest::Digest;

const PREFIX: &str = "distkv.";
const RANDOM_BYTES: usize = 32;

/// A new token. The text is told to the device's owner, once; the other is for the record.
pub struct Token {
    /// What the device sends as its password.
    pub text: String,
    /// What is kept (`token` in the user's record).
    pub stored: [u8; 32],
}

impl Token {
    /// Makes one for a user.
    ///
    /// # Errors
    /// The system gives no random numbers.
    pub fn make(user: &str) -> Result<Self, getrandom::Error> {
        let mut random = [0; RANDOM_BYTES];
        getrandom::fill(&mut random)?;
        let text = format!("{PREFIX}{}.{}", BASE64.encode(user), BASE64.encode(random));
        let stored = Digest::of(text.as_bytes()).as_stored_token();
        Ok(Self { text, stored })
    }
}

/// The name of the user that a token is for; `None` if it is none of ours. That it is his token is not proven by that.
#[must_use]
pub fn user_of(token: &str) -> Option<String> {
    let (name, _secret) = token.strip_prefix(PREFIX)?.split_once('.')?;
    String::from_utf8(BASE64.decode(name).ok()?).ok()
}

/// Without its secret.
impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_names_its_user_and_is_never_the_same() {
        let [one, other] = [0, 1].map(|_| Token::make("l\u{e4}mp.1").unwrap());
        assert_eq!(user_of(&one.text).as_deref(), Some("l\u{e4}mp.1"));
        assert_ne!(one.text, other.text);
        assert_eq!(Digest::of(one.text.as_bytes()).as_stored_token(), one.stored);
        assert_eq!(format!("{one:?}"), "Token(..)");
        for none in ["", "distkv.", "distkv.x", "distkv.!.x", "other.bA.x"] {
            assert_eq!(user_of(none), None, "{none}");
        }
    }
}
