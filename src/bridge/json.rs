//! A native value as JSON text, for MQTT clients: what a number, bool, nil, list or map looks like as a payload.
//!
//! What JSON cannot say is said as near as can be: byte strings and extension types become strings of hex digits, a map
//! key that is no string becomes the JSON text of that key, and a float that is not finite becomes null.

use std::fmt::Write as _;

use distkv_store::value::{Token, Tokens, Value};

/// The JSON text of a value.
pub(crate) fn text(value: &Value) -> String {
    let mut out = String::with_capacity(value.as_bytes().len() + value.as_bytes().len() / 4);
    write_value(&mut value.tokens(), &mut out);
    out
}

/// Writes the next value. The store bounds how deep values nest, and so this recursion.
fn write_value(tokens: &mut Tokens<'_>, out: &mut String) {
    // Writing to a String cannot fail: the results are dropped.
    let _ = match tokens.next() {
        Some(Token::Float(number)) if number.is_finite() => write!(out, "{number:?}"),
        None | Some(Token::Nil | Token::Float(_)) => out.write_str("null"),
        Some(Token::Bool(flag)) => write!(out, "{flag}"),
        Some(Token::Int(number)) => write!(out, "{number}"),
        Some(Token::UInt(number)) => write!(out, "{number}"),
        Some(Token::Str(text)) => quote(text, out),
        Some(Token::Bin(bytes) | Token::Ext(_, bytes)) => hex(bytes, out),
        Some(Token::Array(len)) => list(tokens, len, out),
        Some(Token::Map(len)) => map(tokens, len, out),
    };
}

fn list(tokens: &mut Tokens<'_>, len: u32, out: &mut String) -> std::fmt::Result {
    out.push('[');
    for index in 0..len {
        if index > 0 {
            out.push(',');
        }
        write_value(tokens, out);
    }
    out.write_char(']')
}

fn map(tokens: &mut Tokens<'_>, len: u32, out: &mut String) -> std::fmt::Result {
    out.push('{');
    for index in 0..len {
        if index > 0 {
            out.push(',');
        }
        let mut key = String::new();
        write_value(tokens, &mut key);
        if key.starts_with('"') {
            out.push_str(&key);
        } else {
            quote(&key, out)?;
        }
        out.push(':');
        write_value(tokens, out);
    }
    out.write_char('}')
}

fn hex(bytes: &[u8], out: &mut String) -> std::fmt::Result {
    out.push('"');
    for byte in bytes {
        write!(out, "{byte:02x}")?;
    }
    out.write_char('"')
}

fn quote(text: &str, out: &mut String) -> std::fmt::Result {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c < ' ' => write!(out, "\\u{:04x}", u32::from(c))?,
            c => out.push(c),
        }
    }
    out.write_char('"')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bytes: &[u8], json: &str) {
        assert_eq!(text(&Value::from_msgpack(bytes).unwrap()), json);
        // Whatever we write, a JSON parser reads.
        serde_json::from_str::<serde_json::Value>(json).unwrap();
    }

    #[test]
    fn scalars_read_as_json() {
        check(&[0xc0], "null");
        check(&[0xc3], "true");
        check(&[0xc2], "false");
        check(&[0x07], "7");
        check(&[0xff], "-1");
        check(&[0xcf, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], "18446744073709551615");
        check(&[0xd3, 0x80, 0, 0, 0, 0, 0, 0, 0], "-9223372036854775808");
        check(&[0xcb, 0x3f, 0xf8, 0, 0, 0, 0, 0, 0], "1.5");
        check(&[0xcb, 0x3f, 0xf0, 0, 0, 0, 0, 0, 0], "1.0");
        check(&[0xca, 0x3f, 0x00, 0, 0], "0.5");
        check(&[0xcb, 0x7f, 0xf8, 0, 0, 0, 0, 0, 0], "null");
    }

    #[test]
    fn text_is_quoted_and_bytes_become_hex() {
        check(b"\xa5a\"\\\n\x01", r#""a\"\\\n\u0001""#);
        check(&[0xc4, 2, 0x00, 0xff], r#""00ff""#);
        check(&[0xd5, 2, 0x01, 0x02], r#""0102""#);
    }

    #[test]
    fn containers_nest_and_odd_keys_become_strings() {
        check(&[0x93, 1, 0x90, 0x80], "[1,[],{}]");
        check(&[0x82, 0xa1, b'a', 1, 2, 0xc0], r#"{"a":1,"2":null}"#);
        check(&[0x81, 0x92, 1, 0xa1, b'x', 3], r#"{"[1,\"x\"]":3}"#);
    }
}
