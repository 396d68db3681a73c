//! Lengths of time and sizes as people write them: `200ms`, `30s`, `5m`, `12h`, `30d`; `512B`, `64KiB`, `16MiB`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A length of time. Printed in the largest unit that shows it exactly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Period(pub Duration);

/// A number of bytes. Printed in the largest unit that shows it exactly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Size(pub u64);

/// A text that is no length of time or size.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadUnit {
    /// Not a period.
    #[error("`{0}` is no length of time; write a whole number and ms, s, m, h or d, such as 30s")]
    Period(String),
    /// Not a size.
    #[error("`{0}` is no size; write a whole number and B, KiB, MiB or GiB, such as 16MiB")]
    Size(String),
}

/// Milliseconds of each unit of time, smallest first.
const TIMES: [(&str, u64); 5] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

/// Bytes of each unit of size, smallest first.
const SIZES: [(&str, u64); 4] = [("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];

impl Period {
    /// So many milliseconds.
    pub const fn millis(count: u64) -> Self {
        Self(Duration::from_millis(count))
    }

    /// So many seconds.
    pub const fn secs(count: u64) -> Self {
        Self(Duration::from_secs(count))
    }
}

impl Size {
    /// So many KiB.
    pub const fn kib(count: u64) -> Self {
        Self(count << 10)
    }

    /// So many MiB.
    pub const fn mib(count: u64) -> Self {
        Self(count << 20)
    }

    /// The size as a length in memory.
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

/// The number times its unit; `None` if it is not of that form or too large.
fn parse(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let number: u64 = number.parse().ok()?;
    let unit = unit.trim_start();
    match units.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit)) {
        Some((_, factor)) => number.checked_mul(*factor),
        None if unit.is_empty() && number == 0 => Some(0),
        None => None,
    }
}

fn print(f: &mut fmt::Formatter<'_>, number: u64, units: &[(&str, u64)]) -> fmt::Result {
    let fits = |factor: u64| number != 0 && number.is_multiple_of(factor);
    let (unit, factor) =
        units.iter().rfind(|(_, factor)| fits(*factor)).or(units.first()).unwrap_or(&("", 1));
    write!(f, "{}{unit}", number / factor)
}

impl FromStr for Period {
    type Err = BadUnit;

    fn from_str(text: &str) -> Result<Self, BadUnit> {
        parse(text, &TIMES).map(Self::millis).ok_or_else(|| BadUnit::Period(text.to_owned()))
    }
}

impl FromStr for Size {
    type Err = BadUnit;

    fn from_str(text: &str) -> Result<Self, BadUnit> {
        parse(text, &SIZES).map(Self).ok_or_else(|| BadUnit::Size(text.to_owned()))
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        print(f, u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX), &TIMES)
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        print(f, self.0, &SIZES)
    }
}

impl TryFrom<String> for Period {
    type Error = BadUnit;

    fn try_from(text: String) -> Result<Self, BadUnit> {
        text.parse()
    }
}

impl TryFrom<String> for Size {
    type Error = BadUnit;

    fn try_from(text: String) -> Result<Self, BadUnit> {
        text.parse()
    }
}

impl From<Period> for String {
    fn from(period: Period) -> Self {
        period.to_string()
    }
}

impl From<Size> for String {
    fn from(size: Size) -> Self {
        size.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods_and_sizes_print_as_they_are_written() {
        for text in ["0ms", "1ms", "200ms", "30s", "5m", "12h", "30d"] {
            assert_eq!(text.parse::<Period>().unwrap().to_string(), text);
        }
        for text in ["0B", "1B", "1000B", "64KiB", "16MiB", "3GiB"] {
            assert_eq!(text.parse::<Size>().unwrap().to_string(), text);
        }
        assert_eq!("1000ms".parse::<Period>().unwrap().to_string(), "1s");
        assert_eq!("0".parse::<Period>(), Ok(Period::secs(0)));
        assert_eq!("2 mib".parse::<Size>(), Ok(Size::mib(2)));
    }

    #[test]
    fn what_has_no_unit_or_is_too_large_is_refused() {
        for text in ["", "30", "s", "-1s", "1.5h", "30sec", "18446744073709551615d", "99999999999999999999s"]
        {
            assert!(text.parse::<Period>().is_err(), "{text}");
        }
        for text in ["", "16", "MiB", "16MB", "-1B", "18446744073709551615GiB"] {
            assert!(text.parse::<Size>().is_err(), "{text}");
        }
    }
}
