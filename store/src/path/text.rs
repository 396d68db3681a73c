//! The text form of paths, for people. Its grammar is in the documentation of [`path`](super).
//!
//! Reading has two layers, as writing has. The outer one splits at `.` and `:` and undoes the three escapes; the inner one
//! looks at a piece that a `:` began and decides what it is.

use std::borrow::Cow;
use std::fmt::{self, Write as _};

use super::{Element, MAX_INTEGER_BYTES, MAX_LIST_DEPTH, Path, PathBuilder, PathError, PathRef};

/// Reads the text form.
pub(super) fn parse(text: &str) -> Result<Path, PathError> {
    if text == ":" {
        return Ok(Path::root());
    }
    let mut builder = PathBuilder::new();
    let mut pieces = Pieces { text, at: 0 };
    let mut piece = String::new();
    let mut typed = false;
    loop {
        let start = pieces.at;
        piece.clear();
        let separator = pieces.next(&mut piece)?;
        if typed {
            builder.push(&typed_element(&piece).map_err(|what| PathError::Text { at: start, what })?)?;
        } else if !piece.is_empty() {
            builder.push_str(&piece)?;
        } else if start != 0 || separator != Separator::Colon {
            let what = "nothing stands here; the empty string is written `:e`, the root `:`";
            return Err(PathError::Text { at: start, what });
        }
        match separator {
            Separator::End => return Ok(builder.finish()),
            Separator::Dot => typed = false,
            Separator::Colon => typed = true,
        }
    }
}

/// What ended a piece.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Separator {
    End,
    /// A plain string follows.
    Dot,
    /// Something else follows.
    Colon,
}

struct Pieces<'a> {
    text: &'a str,
    at: usize,
}

impl Pieces<'_> {
    /// Appends the text up to the next separator, escapes undone, and goes behind the separator.
    fn next(&mut self, piece: &mut String) -> Result<Separator, PathError> {
        loop {
            let rest = self.text.get(self.at..).unwrap_or_default();
            let plain = rest.find(['.', ':']).unwrap_or(rest.len());
            piece.push_str(rest.get(..plain).unwrap_or_default());
            self.at += plain;
            let mut chars = rest.get(plain..).unwrap_or_default().chars();
            match (chars.next(), chars.next()) {
                (None, _) => return Ok(Separator::End),
                (Some('.'), _) => {
                    self.at += 1;
                    return Ok(Separator::Dot);
                }
                (_, Some(escaped @ ('.' | ':' | '_'))) => {
                    piece.push(if escaped == '_' { ' ' } else { escaped });
                    self.at += 2;
                }
                (_, Some(_)) => {
                    self.at += 1;
                    return Ok(Separator::Colon);
                }
                (_, None) => {
                    let what = "a `:` at the end; a colon is written `::`";
                    return Err(PathError::Text { at: self.at, what });
                }
            }
        }
    }
}

type Problem = &'static str;

/// What stands behind a `:`.
fn typed_element(piece: &str) -> Result<Element<'static>, Problem> {
    let mut chars = piece.chars();
    let (first, rest) = (chars.next(), chars.as_str());
    match (first, rest) {
        (Some('t'), "") => Ok(Element::Bool(true)),
        (Some('f'), "") => Ok(Element::Bool(false)),
        (Some('n'), "") => Ok(Element::Null),
        (Some('e'), "") => Ok(Element::Str(Cow::Borrowed(""))),
        (Some('t' | 'f' | 'n' | 'e'), _) => {
            Err("after `:t`, `:f`, `:n` and `:e` comes a separator or the end; a colon is written `::`")
        }
        (Some('x'), digits) => integer(digits, 16, false),
        (Some('b'), digits) if !digits.starts_with(['\'', '"']) => integer(digits, 2, false),
        (Some('v'), text) if text.is_ascii() => Ok(Element::Bytes(text.as_bytes().to_vec().into())),
        (Some('v'), _) => Err("`:v` takes ASCII text; other bytes are written `:yHEX`"),
        (Some('y'), digits) => hex(digits).map(|bytes| Element::Bytes(bytes.into())),
        _ => Expression { rest: piece, depth: 0 }.whole(),
    }
}

const UNKNOWN: Problem = "no element begins so; a colon is written `::`, a list `:[1,'a']`";

/// Numbers, quoted text, words and lists of them.
struct Expression<'a> {
    rest: &'a str,
    depth: usize,
}

impl Expression<'_> {
    fn whole(mut self) -> Result<Element<'static>, Problem> {
        let first = self.value()?;
        if self.rest.is_empty() {
            return Ok(first);
        }
        // `1,2` without brackets is a list as well.
        let mut items = vec![first];
        while self.eat(',') && !self.rest.is_empty() {
            items.push(self.value()?);
        }
        if self.rest.is_empty() { Ok(Element::List(items)) } else { Err(UNKNOWN) }
    }

    fn value(&mut self) -> Result<Element<'static>, Problem> {
        self.rest = self.rest.trim_start();
        let value = if self.eat('[') {
            self.list(']')
        } else if self.eat('(') {
            self.list(')')
        } else if self.rest.starts_with(['\'', '"']) {
            let text = self.quoted()?;
            String::from_utf8(text).map(|text| Element::Str(text.into())).map_err(|_| "the text is not UTF-8")
        } else if self.rest.starts_with("b'") || self.rest.starts_with("b\"") {
            self.eat('b');
            self.quoted().map(|bytes| Element::Bytes(bytes.into()))
        } else {
            self.word()
        };
        self.rest = self.rest.trim_start();
        value
    }

    fn list(&mut self, close: char) -> Result<Element<'static>, Problem> {
        self.depth += 1;
        if self.depth > MAX_LIST_DEPTH {
            return Err("lists nest too deep");
        }
        let mut items = Vec::new();
        self.rest = self.rest.trim_start();
        while !self.eat(close) {
            items.push(self.value()?);
            if !self.eat(',') && !self.rest.starts_with(close) {
                return Err("a list's elements are separated by `,` and end with its bracket");
            }
            self.rest = self.rest.trim_start();
        }
        self.depth -= 1;
        Ok(Element::List(items))
    }

    fn quoted(&mut self) -> Result<Vec<u8>, Problem> {
        const OPEN: Problem = "the closing quote is missing";
        let mut chars = self.rest.chars();
        let quote = chars.next().ok_or(OPEN)?;
        let mut out = Vec::new();
        loop {
            match chars.next().ok_or(OPEN)? {
                '\\' => match chars.next().ok_or(OPEN)? {
                    'n' => out.push(b'\n'),
                    'r' => out.push(b'\r'),
                    't' => out.push(b'\t'),
                    'x' => {
                        let digits = chars.as_str().get(..2).ok_or(OPEN)?;
                        out.extend(hex(digits)?);
                        chars = chars.as_str().get(2..).unwrap_or_default().chars();
                    }
                    escaped @ ('\\' | '\'' | '"') => out.push(escaped as u8),
                    _ => return Err("unknown escape; known are \\\\ \\' \\\" \\n \\r \\t \\xHH"),
                },
                end if end == quote => break,
                char => out.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        self.rest = chars.as_str();
        Ok(out)
    }

    fn word(&mut self) -> Result<Element<'static>, Problem> {
        let end = self.rest.find([',', ']', ')', ' ']).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at_checked(end).ok_or(UNKNOWN)?;
        self.rest = rest;
        match word {
            "true" | "True" => return Ok(Element::Bool(true)),
            "false" | "False" => return Ok(Element::Bool(false)),
            "null" | "None" => return Ok(Element::Null),
            "inf" => return Ok(Element::Float(f64::INFINITY)),
            "-inf" => return Ok(Element::Float(f64::NEG_INFINITY)),
            "NaN" | "nan" => return Ok(Element::Float(f64::NAN)),
            _ => {}
        }
        let (negative, digits) = match word.strip_prefix('-') {
            Some(digits) => (true, digits),
            None => (false, word),
        };
        if !digits.starts_with(|first: char| first.is_ascii_digit()) {
            return Err(UNKNOWN);
        }
        if let Some(digits) = digits.strip_prefix("0x") {
            integer(digits, 16, negative)
        } else if let Some(digits) = digits.strip_prefix("0b") {
            integer(digits, 2, negative)
        } else if digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'_') {
            integer(digits, 10, negative)
        } else {
            word.parse().map(Element::Float).map_err(|_| "neither an integer nor a float")
        }
    }

    fn eat(&mut self, expected: char) -> bool {
        match self.rest.strip_prefix(expected) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }
}

/// An integer of any size; `_` may stand between digits.
fn integer(digits: &str, base: u32, negative: bool) -> Result<Element<'static>, Problem> {
    const TOO_LARGE: Problem = "the integer is too large for a path, or below -2^63";
    // Little-endian while it grows.
    let mut magnitude: Vec<u8> = Vec::new();
    let mut any = false;
    for char in digits.chars().filter(|&char| char != '_') {
        let mut carry = char.to_digit(base).ok_or("not a digit of this kind of integer")?;
        any = true;
        for byte in &mut magnitude {
            carry += u32::from(*byte) * base;
            *byte = carry as u8;
            carry >>= 8;
        }
        if carry > 0 {
            magnitude.push(carry as u8);
        }
        if magnitude.len() > MAX_INTEGER_BYTES {
            return Err(TOO_LARGE);
        }
    }
    if !any {
        return Err("the integer's digits are missing");
    }
    magnitude.reverse();
    if magnitude.len() > 8 {
        return if negative { Err(TOO_LARGE) } else { Ok(Element::Big(magnitude.into())) };
    }
    let number = magnitude.iter().fold(0, |number, &byte| number << 8 | i128::from(byte));
    let number = if negative { -number } else { number };
    if number < i128::from(i64::MIN) { Err(TOO_LARGE) } else { Ok(Element::Int(number)) }
}

fn decimal(magnitude: &[u8]) -> String {
    // Little-endian decimal digits.
    let mut digits: Vec<u8> = vec![0];
    for &byte in magnitude {
        let mut carry = u32::from(byte);
        for digit in &mut digits {
            carry += u32::from(*digit) * 256;
            *digit = (carry % 10) as u8;
            carry /= 10;
        }
        while carry > 0 {
            digits.push((carry % 10) as u8);
            carry /= 10;
        }
    }
    digits.iter().rev().map(|&digit| char::from(b'0' + digit)).collect()
}

fn hex(digits: &str) -> Result<Vec<u8>, Problem> {
    const BAD: Problem = "bytes in hexadecimal are pairs of 0-9 and a-f";
    let mut bytes = Vec::with_capacity(digits.len() / 2);
    let mut chars = digits.chars();
    while let Some(high) = chars.next() {
        let high = high.to_digit(16).ok_or(BAD)?;
        let low = chars.next().and_then(|low| low.to_digit(16)).ok_or(BAD)?;
        bytes.push((high << 4 | low) as u8);
    }
    Ok(bytes)
}

/// Writes the text form.
pub(super) fn print(path: PathRef<'_>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    if path.is_root() {
        return f.write_str(":");
    }
    for (index, element) in path.elements().enumerate() {
        match element {
            Element::Str(text) if text.is_empty() => f.write_str(":e")?,
            Element::Str(text) => {
                if index > 0 {
                    f.write_char('.')?;
                }
                escaped(&text, f)?;
            }
            Element::Null => f.write_str(":n")?,
            Element::Bool(true) => f.write_str(":t")?,
            Element::Bool(false) => f.write_str(":f")?,
            Element::Int(number) => write!(f, ":{number}")?,
            Element::Bytes(bytes) if bytes.iter().all(|byte| matches!(byte, b' '..=b'~')) => {
                f.write_str(":v")?;
                escaped(&String::from_utf8_lossy(&bytes), f)?;
            }
            Element::Bytes(bytes) => {
                f.write_str(":y")?;
                bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
            }
            element @ (Element::Big(_) | Element::Float(_) | Element::List(_)) => {
                let mut piece = String::new();
                expression(&element, &mut piece)?;
                f.write_char(':')?;
                escaped(&piece, f)?;
            }
        }
    }
    Ok(())
}

fn escaped(text: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut rest = text;
    while let Some((plain, (special, behind))) = rest.find(['.', ':', ' ']).and_then(|at| {
        let (plain, behind) = rest.split_at_checked(at)?;
        Some((plain, behind.split_at_checked(1)?))
    }) {
        f.write_str(plain)?;
        f.write_char(':')?;
        f.write_str(if special == " " { "_" } else { special })?;
        rest = behind;
    }
    f.write_str(rest)
}

fn expression(element: &Element<'_>, out: &mut String) -> fmt::Result {
    match element {
        Element::Null => out.push_str("null"),
        Element::Bool(bool) => write!(out, "{bool}")?,
        Element::Int(number) => write!(out, "{number}")?,
        Element::Big(magnitude) => out.push_str(&decimal(magnitude)),
        // Rust's shortest form that reads back as the same number: always with a dot, an exponent, `inf` or `NaN`.
        Element::Float(number) => write!(out, "{number:?}")?,
        Element::Str(text) => {
            out.push('\'');
            for char in text.chars() {
                if matches!(char, '\\' | '\'') {
                    out.push('\\');
                }
                out.push(char);
            }
            out.push('\'');
        }
        Element::Bytes(bytes) => {
            out.push_str("b'");
            for &byte in bytes.iter() {
                match byte {
                    b'\\' | b'\'' | 0..b' ' | 0x7F.. => write!(out, "\\x{byte:02x}")?,
                    _ => out.push(char::from(byte)),
                }
            }
            out.push('\'');
        }
        Element::List(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                expression(item, out)?;
            }
            out.push(']');
        }
    }
    Ok(())
}
