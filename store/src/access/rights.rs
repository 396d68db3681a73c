//! Rights: what a rule of an access list allows, as letters.

use std::fmt;
use std::str::FromStr;

/// One right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Right {
    /// `r`: read the value.
    Read,
    /// `w`: change a value that is there.
    Write,
    /// `d`: delete the value.
    Delete,
    /// `c`: give a value to an entry that has none.
    Create,
    /// `x`: pass, on the way to what is below.
    Pass,
    /// `e`: list what is below.
    List,
    /// `n`: make new entries below.
    New,
    /// `a`: ask what one may do.
    Ask,
}

impl Right {
    /// All of them, in the order in which they are printed.
    pub const ALL: [Self; 8] =
        [Self::Read, Self::Write, Self::Delete, Self::Create, Self::Pass, Self::List, Self::New, Self::Ask];

    /// Its letter.
    pub fn letter(self) -> char {
        match self {
            Self::Read => 'r',
            Self::Write => 'w',
            Self::Delete => 'd',
            Self::Create => 'c',
            Self::Pass => 'x',
            Self::List => 'e',
            Self::New => 'n',
            Self::Ask => 'a',
        }
    }

    /// The right of a letter.
    pub fn from_letter(letter: char) -> Option<Self> {
        Self::ALL.into_iter().find(|right| right.letter() == letter)
    }

    /// What it lets one do with an entry, as a verb.
    pub fn verb(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Delete => "delete",
            Self::Create => "create",
            Self::Pass => "pass",
            Self::List => "list",
            Self::New => "make new entries below",
            Self::Ask => "ask about",
        }
    }

    fn bit(self) -> u8 {
        1 << self as u8
    }
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.letter())
    }
}

/// A set of rights. As text: their letters.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Rights(u8);

impl Rights {
    /// No right at all.
    pub const NONE: Self = Self(0);
    /// Every right.
    pub const ALL: Self = Self(u8::MAX);

    /// Whether `right` is among them.
    pub fn has(self, right: Right) -> bool {
        self.0 & right.bit() != 0
    }

    /// These, and `right`.
    #[must_use]
    pub fn with(self, right: Right) -> Self {
        Self(self.0 | right.bit())
    }

    /// These, but not `right`.
    #[must_use]
    pub fn without(self, right: Right) -> Self {
        Self(self.0 & !right.bit())
    }

    /// Those which both sets have.
    #[must_use]
    pub fn both(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Reads what is stored: letters that mean nothing are passed over.
    pub fn read(text: &str) -> Self {
        text.chars().filter_map(Right::from_letter).collect()
    }

    /// The rights, in order.
    pub fn iter(self) -> impl Iterator<Item = Right> {
        Right::ALL.into_iter().filter(move |right| self.has(*right))
    }
}

impl FromIterator<Right> for Rights {
    fn from_iter<I: IntoIterator<Item = Right>>(rights: I) -> Self {
        rights.into_iter().fold(Self::NONE, Self::with)
    }
}

/// A letter which is no right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no right: write some of the letters rwdcxena, or nothing for no right at all")]
pub struct NoRight(
    /// The letter.
    pub char,
);

impl FromStr for Rights {
    type Err = NoRight;

    /// Reads letters from people: one that means nothing is an error.
    fn from_str(text: &str) -> Result<Self, NoRight> {
        text.chars().map(|letter| Right::from_letter(letter).ok_or(NoRight(letter))).collect()
    }
}

impl fmt::Display for Rights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.iter().try_for_each(|right| right.fmt(f))
    }
}

impl fmt::Debug for Rights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_set_is_read_as_it_is_printed() {
        for bits in 0..=u8::MAX {
            let rights = Rights(bits);
            assert_eq!(rights.to_string().parse(), Ok(rights));
            assert_eq!(rights.iter().collect::<Rights>(), rights);
        }
        assert_eq!(Rights::ALL.to_string(), "rwdcxena");
    }

    #[test]
    fn unknown_letters_are_an_error_for_people_and_nothing_in_the_store() {
        assert_eq!("rq".parse::<Rights>(), Err(NoRight('q')));
        assert_eq!(Rights::read("r q"), Rights::NONE.with(Right::Read));
    }

    #[test]
    fn sets() {
        let rights = Rights::read("rx");
        assert!(rights.has(Right::Pass) && !rights.has(Right::Write));
        assert_eq!(rights.without(Right::Pass), Rights::read("r"));
        assert_eq!(rights.both(Rights::read("xw")), Rights::read("x"));
    }
}
