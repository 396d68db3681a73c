//! A moment as a date and a time of day in UTC, and the letters of `strftime(3)` over it.

use std::fmt::Write as _;
use std::time::Duration;

const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

const DAYS_IN_400_YEARS: u64 = 146_097;

/// A moment in UTC, of the Gregorian calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moment {
    seconds_since_epoch: u64,
    nanos: u32,
    year: u64,
    /// 1 to 12.
    month: usize,
    /// 1 to 31.
    day: u64,
    /// 1 to 366.
    day_of_year: u64,
    /// 0 is Sunday.
    weekday: usize,
    hour: u64,
    minute: u64,
    second: u64,
}

impl Moment {
    /// The moment that lies `since_epoch` after the beginning of 1970.
    pub(crate) fn new(since_epoch: Duration) -> Self {
        let seconds = since_epoch.as_secs();
        let (days, of_day) = (seconds / 86_400, seconds % 86_400);
        // 400 years are always of the same length; without this a date far off would take long.
        let (mut year, mut left) = (1970 + 400 * (days / DAYS_IN_400_YEARS), days % DAYS_IN_400_YEARS);
        while left >= days_in_year(year) {
            left -= days_in_year(year);
            year += 1;
        }
        let day_of_year = left + 1;
        let mut month = 1;
        while left >= days_in_month(year, month) {
            left -= days_in_month(year, month);
            month += 1;
        }
        Self {
            seconds_since_epoch: seconds,
            nanos: since_epoch.subsec_nanos(),
            year,
            month,
            day: left + 1,
            day_of_year,
            // The first of January 1970 was a Thursday.
            weekday: ((days + 4) % 7) as usize,
            hour: of_day / 3600,
            minute: of_day / 60 % 60,
            second: of_day % 60,
        }
    }

    /// Appends what `strftime` makes of `%letter` in the C locale; `N` is nanoseconds.
    /// Returns false, and appends nothing, for a letter that it does not know.
    pub(crate) fn append(&self, letter: char, out: &mut String) -> bool {
        let hour12 = (self.hour + 11) % 12 + 1;
        let month_name = MONTHS.get(self.month - 1).copied().unwrap_or_default();
        let day_name = DAYS.get(self.weekday).copied().unwrap_or_default();
        let written = match letter {
            'Y' => write!(out, "{}", self.year),
            'C' => write!(out, "{:02}", self.year / 100),
            'y' => write!(out, "{:02}", self.year % 100),
            'm' => write!(out, "{:02}", self.month),
            'd' => write!(out, "{:02}", self.day),
            'e' => write!(out, "{:2}", self.day),
            'j' => write!(out, "{:03}", self.day_of_year),
            'H' => write!(out, "{:02}", self.hour),
            'I' => write!(out, "{hour12:02}"),
            'M' => write!(out, "{:02}", self.minute),
            'S' => write!(out, "{:02}", self.second),
            'N' => write!(out, "{:09}", self.nanos),
            's' => write!(out, "{}", self.seconds_since_epoch),
            'p' => write!(out, "{}", if self.hour < 12 { "AM" } else { "PM" }),
            'F' => write!(out, "{}-{:02}-{:02}", self.year, self.month, self.day),
            'T' => write!(out, "{:02}:{:02}:{:02}", self.hour, self.minute, self.second),
            'R' => write!(out, "{:02}:{:02}", self.hour, self.minute),
            'D' => write!(out, "{:02}/{:02}/{:02}", self.month, self.day, self.year % 100),
            'A' => write!(out, "{day_name}"),
            'a' => write!(out, "{}", day_name.get(..3).unwrap_or_default()),
            'B' => write!(out, "{month_name}"),
            'b' | 'h' => write!(out, "{}", month_name.get(..3).unwrap_or_default()),
            'u' => write!(out, "{}", (self.weekday + 6) % 7 + 1),
            'w' => write!(out, "{}", self.weekday),
            'z' => write!(out, "+0000"),
            'Z' => write!(out, "UTC"),
            'n' => writeln!(out),
            't' => write!(out, "\t"),
            _ => return false,
        };
        // Writing to a String does not fail.
        written.is_ok()
    }

    /// ISO 8601 with an offset: `2016-08-10T09:47:38+0000`.
    pub(crate) fn iso(&self) -> String {
        let mut out = String::with_capacity(24);
        for letter in ['F', 'T', 'z'] {
            if letter == 'T' {
                out.push('T');
            }
            self.append(letter, &mut out);
        }
        out
    }

    /// ISO 8601 with microseconds and the mark of UTC: `2020-05-06T22:12:00.000000Z+0000`, as mosquitto_sub's JSON has it.
    pub(crate) fn json(&self) -> String {
        let mut out = String::with_capacity(32);
        self.append('F', &mut out);
        out.push('T');
        self.append('T', &mut out);
        let _ = write!(out, ".{:06}Z+0000", self.nanos / 1000);
        out
    }

    /// Seconds since 1970 with nanoseconds: `1470818943.786368637`.
    pub(crate) fn unix(&self) -> String {
        format!("{}.{:09}", self.seconds_since_epoch, self.nanos)
    }
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

fn days_in_year(year: u64) -> u64 {
    if is_leap(year) { 366 } else { 365 }
}

fn days_in_month(year: u64, month: usize) -> u64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64, letters: &str) -> String {
        let moment = Moment::new(Duration::new(seconds, 7_000));
        let mut out = String::new();
        for letter in letters.chars() {
            assert!(moment.append(letter, &mut out), "{letter}");
            out.push(' ');
        }
        out.trim_end().to_owned()
    }

    #[test]
    fn dates_agree_with_known_ones() {
        assert_eq!(at(0, "FTaj"), "1970-01-01 00:00:00 Thu 001");
        assert_eq!(at(951_782_400, "FjA"), "2000-02-29 060 Tuesday");
        assert_eq!(at(1_470_818_858, "FTB"), "2016-08-10 08:47:38 August");
        assert_eq!(at(4_107_542_399, "FTI"), "2100-02-28 23:59:59 11");
        assert_eq!(at(4_107_542_400, "FuwpI"), "2100-03-01 1 1 AM 12");
    }

    #[test]
    fn fractions_are_printed_with_leading_zeros() {
        assert_eq!(at(1, "N"), "000007000");
        let moment = Moment::new(Duration::new(1, 7_000));
        assert_eq!(moment.unix(), "1.000007000");
        assert_eq!(moment.json(), "1970-01-01T00:00:01.000007Z+0000");
        assert_eq!(moment.iso(), "1970-01-01T00:00:01+0000");
    }

    #[test]
    fn an_unknown_letter_is_told() {
        assert!(!Moment::new(Duration::ZERO).append('Q', &mut String::new()));
    }
}
