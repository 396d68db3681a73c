//! What ties a reply to its request.

use distkv_store::value::Token;
use smallvec::SmallVec;

/// The sequence number of a request. It should be a positive integer; whatever it is, it is given back as it came, as long as it is
/// a scalar.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Seq {
    /// An integer.
    Int(i64),
    /// Any other scalar of at most [`Seq::BYTES_MAX`] bytes, as it was encoded.
    Other(SmallVec<[u8; 16]>),
}

impl Seq {
    /// The greatest length of an encoded number that is none.
    pub const BYTES_MAX: usize = 64;

    /// Reads one; `None` for containers, nil, and what is too long.
    pub fn read(raw: &[u8]) -> Option<Self> {
        match distkv_store::value::Tokens::new(raw).next()? {
            Token::Int(number) => Some(Self::Int(number)),
            Token::Nil | Token::Array(_) | Token::Map(_) => None,
            _ if raw.len() <= Self::BYTES_MAX => Some(Self::Other(raw.into())),
            _ => None,
        }
    }

    /// The number of a handshake message.
    pub fn is_zero(&self) -> bool {
        *self == Self::Int(0)
    }
}

impl From<i64> for Seq {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}

impl std::fmt::Debug for Seq {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Int(number) => write!(f, "{number}"),
            Self::Other(raw) => write!(f, "{:?}", distkv_store::value::Tokens::new(raw).next()),
        }
    }
}
