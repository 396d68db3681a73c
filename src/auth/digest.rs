//! The SHA-256 of a secret: what all checks are made on. A native client sends nothing else, so a password that comes in clear is
//! brought to this form first.

use std::fmt;

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

/// The SHA-256 of a password or of a token as text. It is as good as the secret itself, so it is shown nowhere.
#[derive(Clone, Copy)]
pub struct Digest([u8; 32]);

impl Digest {
    /// That of a secret in clear.
    #[must_use]
    pub fn of(secret: &[u8]) -> Self {
        Self(Sha256::digest(secret).into())
    }

    /// One that came ready made.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// What of a token stands in its user's record: the hash of the digest, as the digest alone would be enough to log in.
    #[must_use]
    pub fn as_stored_token(&self) -> [u8; 32] {
        Sha256::digest(self.0).into()
    }

    /// Are they the same? It takes the same time whatever they are.
    #[must_use]
    pub fn is(&self, other: &[u8]) -> bool {
        self.0[..].ct_eq(other).into()
    }
}

/// Without what it holds.
impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Digest(..)")
    }
}
