//! Passwords as they are kept: Argon2id over the SHA-256 of the password, in the PHC string form:
//!
//! ```text
//! $argon2id$v=19$m=19456,t=2,p=1$SALT$HASH
//! ```
//!
//! Salt and hash are base64 without padding. Any salt and cost that is within the bounds here is taken, so a hash made by
//! other tools of `sha256(password)` works, too.

use std::fmt;
use std::str::FromStr;

use argon2::{Algorithm, Argon2, Params, Version};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
use subtle::ConstantTimeEq as _;
use thiserror::Error;

use super::digest::Digest;

/// Bytes of a salt that we make.
pub const SALT_BYTES: usize = 16;
/// What comes before the parameters.
const PREFIX: &str = "$argon2id$v=19$";
const HASH_BYTES: usize = 32;
/// Salts of others may be shorter or longer, within the algorithm's and a reasonable bound.
const SALT_BYTES_MIN: usize = 8;
const SALT_BYTES_MAX: usize = 64;
/// The dearest check that is made: a record that asks for more is refused, as it would hold up all others.
const MEMORY_KIB_MAX: u32 = 1 << 20;
const PASSES_MAX: u32 = 16;
const LANES_MAX: u32 = 16;

/// What one hash takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    /// Memory in KiB.
    pub memory_kib: u32,
    /// Passes over it.
    pub passes: u32,
    /// Lanes, which we work off one after another.
    pub lanes: u32,
}

impl Default for Cost {
    /// 19 MiB, two passes: what OWASP recommends at least.
    fn default() -> Self {
        Self { memory_kib: 19 * 1024, passes: 2, lanes: 1 }
    }
}

/// Why a text is no hash of a password, or none can be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BadHash {
    /// Another form.
    #[error("a hash of a password has the form $argon2id$v=19$m=KIB,t=PASSES,p=LANES$SALT$HASH")]
    Form,
    /// A cost that is none, or too high.
    #[error(
        "Argon2id takes 8 KiB to 1 GiB of memory for each lane (m), 1 to {PASSES_MAX} passes (t) and 1 to {LANES_MAX} lanes (p)"
    )]
    Cost,
    /// The salt or the hash.
    #[error(
        "salt and hash are base64 without padding; a salt has {SALT_BYTES_MIN} to {SALT_BYTES_MAX} bytes, a hash {HASH_BYTES}"
    )]
    Bytes,
}

/// A hashed password.
#[derive(Clone, PartialEq, Eq)]
pub struct Hashed {
    cost: Cost,
    salt: Vec<u8>,
    hash: [u8; HASH_BYTES],
}

impl Hashed {
    /// Hashes a password. It takes its time and `cost.memory_kib` of memory.
    ///
    /// # Errors
    /// The cost or the salt are out of bounds.
    pub fn make(digest: &Digest, salt: &[u8], cost: Cost) -> Result<Self, BadHash> {
        if !(SALT_BYTES_MIN..=SALT_BYTES_MAX).contains(&salt.len()) {
            return Err(BadHash::Bytes);
        }
        let mut hash = [0; HASH_BYTES];
        algorithm(cost)?.hash_password_into(digest.as_bytes(), salt, &mut hash).map_err(|_| BadHash::Cost)?;
        Ok(Self { cost, salt: salt.to_vec(), hash })
    }

    /// One that no password fits to, and that takes as long to check as those which we make: for users that there are not.
    ///
    /// # Errors
    /// The cost is out of bounds.
    pub fn decoy(cost: Cost) -> Result<Self, BadHash> {
        algorithm(cost)?;
        Ok(Self { cost, salt: vec![0; SALT_BYTES], hash: [0; HASH_BYTES] })
    }

    /// Is this the password? It takes as long as [`Hashed::make`].
    #[must_use]
    pub fn check(&self, digest: &Digest) -> bool {
        Self::make(digest, &self.salt, self.cost).is_ok_and(|made| made.hash[..].ct_eq(&self.hash).into())
    }

    /// What a check takes.
    #[must_use]
    pub fn cost(&self) -> Cost {
        self.cost
    }
}

fn algorithm(cost: Cost) -> Result<Argon2<'static>, BadHash> {
    let Cost { memory_kib, passes, lanes } = cost;
    if memory_kib > MEMORY_KIB_MAX || passes > PASSES_MAX || lanes > LANES_MAX {
        return Err(BadHash::Cost);
    }
    let params = Params::new(memory_kib, passes, lanes, Some(HASH_BYTES)).map_err(|_| BadHash::Cost)?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

impl fmt::Display for Hashed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Cost { memory_kib, passes, lanes } = self.cost;
        let (salt, hash) = (BASE64.encode(&self.salt), BASE64.encode(self.hash));
        write!(f, "{PREFIX}m={memory_kib},t={passes},p={lanes}${salt}${hash}")
    }
}

impl FromStr for Hashed {
    type Err = BadHash;

    fn from_str(text: &str) -> Result<Self, BadHash> {
        let rest = text.strip_prefix(PREFIX).ok_or(BadHash::Form)?;
        let mut parts = rest.split('$');
        let (Some(costs), Some(salt), Some(hash), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(BadHash::Form);
        };
        let mut costs = costs.split(',');
        let mut number = |name| {
            let value = costs.next().and_then(|part: &str| part.strip_prefix(name)).ok_or(BadHash::Form)?;
            let digits = value.bytes().all(|byte| byte.is_ascii_digit());
            value.parse().ok().filter(|_| digits).ok_or(BadHash::Cost)
        };
        let cost = Cost { memory_kib: number("m=")?, passes: number("t=")?, lanes: number("p=")? };
        if costs.next().is_some() {
            return Err(BadHash::Form);
        }
        algorithm(cost)?;
        let salt = BASE64.decode(salt).map_err(|_| BadHash::Bytes)?;
        if !(SALT_BYTES_MIN..=SALT_BYTES_MAX).contains(&salt.len()) {
            return Err(BadHash::Bytes);
        }
        let hash = BASE64.decode(hash).map_err(|_| BadHash::Bytes)?;
        Ok(Self { cost, salt, hash: hash.try_into().map_err(|_| BadHash::Bytes)? })
    }
}

/// Without its secrets.
impl fmt::Debug for Hashed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hashed").field("cost", &self.cost).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHEAP: Cost = Cost { memory_kib: 8, passes: 1, lanes: 1 };

    #[test]
    fn a_password_fits_to_its_own_hash_alone() {
        let hashed = Hashed::make(&Digest::of(b"secret"), b"0123456789abcdef", CHEAP).unwrap();
        assert!(hashed.check(&Digest::of(b"secret")));
        assert!(!hashed.check(&Digest::of(b"Secret")) && !hashed.check(&Digest::of(b"")));
        let again: Hashed = hashed.to_string().parse().unwrap();
        assert_eq!(again, hashed);
        assert!(again.check(&Digest::of(b"secret")));
        assert!(!Hashed::decoy(CHEAP).unwrap().check(&Digest::of(b"secret")));
    }

    /// Made with `printf %s secret | openssl dgst -sha256 -binary | argon2 0123456789abcdef -id -k 8 -t 1 -p 1 -l 32 -e`
    /// would be the same; the algorithm itself is the crate's affair. Here is the form.
    #[test]
    fn the_form_is_that_of_phc_strings() {
        let hashed = Hashed::make(&Digest::of(b"secret"), b"0123456789abcdef", CHEAP).unwrap();
        let text = hashed.to_string();
        assert!(text.starts_with("$argon2id$v=19$m=8,t=1,p=1$MDEyMzQ1Njc4OWFiY2RlZg$"), "{text}");
        assert_eq!(format!("{hashed:?}"), "Hashed { cost: Cost { memory_kib: 8, passes: 1, lanes: 1 }, .. }");
    }

    #[test]
    fn what_is_no_hash_or_too_dear_is_refused() {
        let good = Hashed::make(&Digest::of(b"x"), b"0123456789abcdef", CHEAP).unwrap().to_string();
        let parse = |text: &str| text.parse::<Hashed>().unwrap_err();
        assert_eq!(parse(""), BadHash::Form);
        assert_eq!(parse(&good.replace("argon2id", "argon2i")), BadHash::Form);
        assert_eq!(parse(&format!("{good}$x")), BadHash::Form);
        assert_eq!(parse(&good.replace(",p=1", ",p=1,k=1")), BadHash::Form);
        for (from, to) in
            [("m=8", "m=1048577"), ("m=8", "m=7"), ("t=1", "t=17"), ("t=1", "t=0"), ("p=1", "p=+1")]
        {
            assert_eq!(parse(&good.replace(from, to)), BadHash::Cost, "{to}");
        }
        assert_eq!(parse(&good.replace("MDEyMzQ1Njc4OWFiY2RlZg", "MDEy")), BadHash::Bytes);
        assert_eq!(parse(&good[..good.len() - 4]), BadHash::Bytes);
        assert!(Hashed::make(&Digest::of(b"x"), b"short", CHEAP).is_err());
    }
}
