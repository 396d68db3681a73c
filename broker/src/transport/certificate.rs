//! What a certificate says of itself: its subject's name, and until when it is valid.
//!
//! A reader of just that much DER. Whether a certificate can be believed is rustls' business, which has checked it before
//! a name is taken from it; but rustls tells neither of the two, and the crates that do bring a dozen others. Nothing here
//! can fail in any other way than by not finding what is asked for.

use std::fmt::{self, Write as _};

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OBJECT_IDENTIFIER: u8 = 0x06;
const EXPLICIT_VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// The attribute types which have short names in RFC 4514, by the DER of their identifiers.
const SHORT_NAMES: [(&[u8], &str); 9] = [
    (COMMON_NAME, "CN"),
    (&[0x55, 4, 7], "L"),
    (&[0x55, 4, 8], "ST"),
    (&[0x55, 4, 10], "O"),
    (&[0x55, 4, 11], "OU"),
    (&[0x55, 4, 6], "C"),
    (&[0x55, 4, 9], "STREET"),
    (&[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 25], "DC"),
    (&[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 1], "UID"),
];
const COMMON_NAME: &[u8] = &[0x55, 4, 3];

/// The parts of a certificate that are asked for. The bytes are the certificate's.
#[derive(Clone, Copy, Debug)]
pub struct Certificate<'a> {
    validity: &'a [u8],
    subject: &'a [u8],
}

/// The distinguished name of a certificate's subject. Printed as RFC 4514 says: `CN=kitchen,O=Example`.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a>(&'a [u8]);

impl<'a> Certificate<'a> {
    /// Finds its parts in DER.
    #[must_use]
    pub fn parse(der: &'a [u8]) -> Option<Self> {
        let mut certificate = Der(Der(der).expect(SEQUENCE)?);
        let mut fields = Der(certificate.expect(SEQUENCE)?);
        if fields.0.first() == Some(&EXPLICIT_VERSION) {
            fields.next()?;
        }
        let _serial_number = fields.next()?;
        let _signature_algorithm = fields.next()?;
        let _issuer = fields.next()?;
        let validity = fields.expect(SEQUENCE)?;
        let subject = fields.expect(SEQUENCE)?;
        Some(Self { validity, subject })
    }

    /// The subject's name.
    #[must_use]
    pub fn subject(&self) -> Subject<'a> {
        Subject(self.subject)
    }

    /// From when until when it is valid, in seconds since 1970.
    #[must_use]
    pub fn validity(&self) -> Option<(i64, i64)> {
        let mut times = Der(self.validity);
        Some((time(times.next()?)?, time(times.next()?)?))
    }
}

impl Subject<'_> {
    /// The first common name.
    #[must_use]
    pub fn common_name(&self) -> Option<String> {
        let mut sets = Der(self.0);
        while let Some(set) = sets.expect(SET) {
            let mut attributes = Der(set);
            while let Some((kind, tag, value)) = attribute(&mut attributes) {
                if kind == COMMON_NAME {
                    return text(tag, value);
                }
            }
        }
        None
    }
}

impl fmt::Display for Subject<'_> {
    /// Last set first.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut sets = Vec::new();
        let mut rest = Der(self.0);
        while let Some(set) = rest.expect(SET) {
            sets.push(set);
        }
        for (index, set) in sets.iter().rev().enumerate() {
            f.write_str(if index == 0 { "" } else { "," })?;
            let mut attributes = Der(set);
            let mut first = true;
            while let Some((kind, tag, value)) = attribute(&mut attributes) {
                f.write_str(if std::mem::take(&mut first) { "" } else { "+" })?;
                write_attribute(f, kind, tag, value)?;
            }
        }
        Ok(())
    }
}

fn write_attribute(f: &mut fmt::Formatter<'_>, kind: &[u8], tag: u8, value: &[u8]) -> fmt::Result {
    let name = SHORT_NAMES.iter().find(|(identifier, _)| *identifier == kind).map(|(_, name)| *name);
    match (name, text(tag, value)) {
        (Some(name), Some(text)) => {
            write!(f, "{name}=")?;
            write_escaped(f, &text)
        }
        // Without a name that everybody knows, its value is told byte by byte.
        (name, _) => {
            match name {
                Some(name) => f.write_str(name)?,
                None => write_identifier(f, kind)?,
            }
            f.write_str("=#")?;
            write!(f, "{tag:02x}")?;
            write_hex_length(f, value.len())?;
            value.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
        }
    }
}

/// The length of a value as DER has it.
fn write_hex_length(f: &mut fmt::Formatter<'_>, length: usize) -> fmt::Result {
    match length {
        0..=0x7f => write!(f, "{length:02x}"),
        0x80..=0xff => write!(f, "81{length:02x}"),
        _ => write!(f, "82{length:04x}"),
    }
}

fn write_escaped(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    let last = text.chars().count().saturating_sub(1);
    for (index, c) in text.chars().enumerate() {
        match c {
            '"' | '+' | ',' | ';' | '<' | '>' | '\\' => write!(f, "\\{c}")?,
            ' ' | '#' if index == 0 => write!(f, "\\{c}")?,
            ' ' if index == last => f.write_str("\\ ")?,
            c if c.is_control() => {
                let mut bytes = [0; 4];
                c.encode_utf8(&mut bytes).bytes().try_for_each(|byte| write!(f, "\\{byte:02X}"))?;
            }
            c => f.write_char(c)?,
        }
    }
    Ok(())
}

/// An object identifier with dots.
fn write_identifier(f: &mut fmt::Formatter<'_>, identifier: &[u8]) -> fmt::Result {
    let mut arc = 0_u64;
    let mut first = true;
    for byte in identifier {
        arc = (arc << 7) | u64::from(byte & 0x7f);
        if byte & 0x80 != 0 {
            continue;
        }
        if std::mem::take(&mut first) {
            let root = (arc / 40).min(2);
            write!(f, "{root}.{}", arc - root * 40)?;
        } else {
            write!(f, ".{arc}")?;
        }
        arc = 0;
    }
    Ok(())
}

/// The next attribute of a set: its type, and its value with the tag.
fn attribute<'a>(set: &mut Der<'a>) -> Option<(&'a [u8], u8, &'a [u8])> {
    let mut pair = Der(set.expect(SEQUENCE)?);
    let kind = pair.expect(OBJECT_IDENTIFIER)?;
    let (tag, value) = pair.next()?;
    Some((kind, tag, value))
}

/// The text of a string of whatever type.
fn text(tag: u8, value: &[u8]) -> Option<String> {
    match tag {
        // UTF8String; NumericString, PrintableString, IA5String and VisibleString are parts of it.
        0x0c | 0x12 | 0x13 | 0x16 | 0x1a => std::str::from_utf8(value).ok().map(str::to_owned),
        // TeletexString, which everybody reads as Latin-1.
        0x14 => Some(value.iter().map(|byte| char::from(*byte)).collect()),
        // UniversalString and BMPString.
        0x1c => value
            .chunks(4)
            .map(|chunk| Some(u32::from_be_bytes(chunk.try_into().ok()?)).and_then(char::from_u32))
            .collect(),
        0x1e => {
            let units: Option<Vec<u16>> =
                value.chunks(2).map(|chunk| Some(u16::from_be_bytes(chunk.try_into().ok()?))).collect();
            String::from_utf16(&units?).ok()
        }
        _ => None,
    }
}

/// Seconds since 1970 of a time, which is in UTC and has seconds, as RFC 5280 demands.
fn time((tag, text): (u8, &[u8])) -> Option<i64> {
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    let (year, rest) = match tag {
        UTC_TIME => {
            let year: i64 = text.get(..2)?.parse().ok()?;
            (if year < 50 { 2000 + year } else { 1900 + year }, text.get(2..)?)
        }
        GENERALIZED_TIME => (text.get(..4)?.parse().ok()?, text.get(4..)?),
        _ => return None,
    };
    let field = |at: usize| rest.get(at..at + 2)?.parse::<i64>().ok();
    let (month, day, hour, minute, second) = (field(0)?, field(2)?, field(4)?, field(6)?, field(8)?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    Some(days_since_1970(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second)
}

/// Days of the Gregorian calendar: years begin in March, so that the leap day is their last.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let before_year = year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    let before_month = (month * 153 + 2) / 5;
    before_year + before_month + day - 1 - 719_468
}

/// Elements of DER, one after the other.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// The next element: its tag and its contents.
    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, rest) = rest.split_first()?;
        let (length, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            0x81..=0x84 => {
                let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
                (bytes.iter().fold(0, |length, byte| (length << 8) | usize::from(*byte)), rest)
            }
            // Of a length that is not known, or larger than any certificate.
            _ => return None,
        };
        let (contents, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((tag, contents))
    }

    /// The next element's contents, if it has this tag.
    fn expect(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.next().filter(|(found, _)| *found == tag).map(|(_, contents)| contents)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(names: &[(rcgen::DnType, &str)]) -> Vec<u8> {
        let mut params = rcgen::CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        for (kind, name) in names {
            params.distinguished_name.push(kind.clone(), *name);
        }
        params.not_before = rcgen::date_time_ymd(2024, 2, 29);
        params.not_after = rcgen::date_time_ymd(2051, 12, 31);
        params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    #[test]
    fn names_and_times_are_those_of_the_certificate() {
        use rcgen::DnType;
        let der = certificate(&[
            (DnType::CountryName, "AT"),
            (DnType::OrganizationName, "Küche, Keller & Co."),
            (DnType::CustomDnType(vec![1, 2, 840, 113_549, 1, 9, 1]), "a@example.org"),
            (DnType::CommonName, "#kitchen "),
        ]);
        let found = Certificate::parse(&der).unwrap();
        assert_eq!(found.subject().common_name().unwrap(), "#kitchen ");
        let mail = "1.2.840.113549.1.9.1=#0c0d61406578616d706c652e6f7267";
        assert_eq!(
            found.subject().to_string(),
            format!("CN=\\#kitchen\\ ,{mail},O=Küche\\, Keller & Co.,C=AT")
        );
        // 2024-02-29 and 2051-12-31, at midnight; the second one needs four digits for its year.
        assert_eq!(found.validity(), Some((1_709_164_800, 2_587_593_600)));
    }

    #[test]
    fn a_certificate_without_a_common_name_has_none() {
        let der = certificate(&[(rcgen::DnType::OrganizationName, "Example")]);
        let found = Certificate::parse(&der).unwrap();
        assert_eq!(found.subject().common_name(), None);
        assert_eq!(found.subject().to_string(), "O=Example");
    }

    #[test]
    fn whatever_is_cut_off_or_changed_nothing_panics() {
        let der = certificate(&[(rcgen::DnType::CommonName, "kitchen")]);
        for end in 0..der.len() {
            assert!(Certificate::parse(&der[..end]).is_none(), "{end}");
        }
        for at in 0..der.len() {
            for change in [1, 0x80, 0xff] {
                let mut changed = der.clone();
                changed[at] ^= change;
                if let Some(found) = Certificate::parse(&changed) {
                    let _ = (found.subject().common_name(), found.subject().to_string(), found.validity());
                }
            }
        }
    }

    #[test]
    fn strings_of_every_type_are_read() {
        assert_eq!(text(0x1e, &[0, b'a', 0x20, 0xac]).as_deref(), Some("a€"));
        assert_eq!(text(0x1c, &[0, 1, 0xf6, 0]).as_deref(), Some("😀"));
        assert_eq!(text(0x14, &[0xe9]).as_deref(), Some("é"));
        assert_eq!(text(0x1e, &[0]), None);
        assert_eq!(text(0x0c, &[0xff]), None);
        assert_eq!(text(0x02, b"1"), None);
    }
}
