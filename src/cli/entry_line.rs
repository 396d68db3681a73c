//! An entry in one line: JSON for programs, or `PATH = VALUE` for people.

use serde::Serialize;
use serde_json::value::RawValue;

use super::output::{hex, value_text};
use crate::bridge::json as value_json;
use crate::client::{Entry, Value};
use crate::log::escape_controls;
use distkv_store::value::Token;

/// An entry for programs.
#[derive(Serialize)]
struct Line<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<&'a str>,
    path: String,
    /// Absent: there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<Box<RawValue>>,
    /// The value's exact bytes, where JSON can't tell all of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    msgpack: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    /// The events before the version's, newest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    chain: Vec<String>,
    tock: u64,
}

/// The entry as a JSON object.
pub(super) fn json(entry: &Entry) -> Result<String, serde_json::Error> {
    line(None, entry)
}

/// The same as what happened.
pub(super) fn event_json(event: &str, entry: &Entry) -> Result<String, serde_json::Error> {
    line(Some(event), entry)
}

fn line(event: Option<&str>, entry: &Entry) -> Result<String, serde_json::Error> {
    let value = entry.value.as_ref();
    serde_json::to_string(&Line {
        event,
        path: entry.path.to_string(),
        value: value.map(|value| RawValue::from_string(value_json::text(value))).transpose()?,
        msgpack: value.filter(|value| !is_exact(value)).map(|value| hex(value.as_bytes())),
        version: entry.version().map(ToString::to_string),
        chain: entry.chain.iter().skip(1).map(ToString::to_string).collect(),
        tock: entry.tock,
    })
}

/// Does JSON tell all of the value?
fn is_exact(value: &Value) -> bool {
    value.tokens().all(|token| match token {
        Token::Nil | Token::Bool(_) | Token::Int(_) | Token::UInt(_) | Token::Str(_) | Token::Array(_) => {
            true
        }
        // A key that is no string would become one.
        Token::Map(count) => count == 0 || has_names_only(value),
        Token::Float(number) => number.is_finite(),
        Token::Bin(_) | Token::Ext(..) => false,
    })
}

fn has_names_only(value: &Value) -> bool {
    crate::client::from_value::<serde_json::Value>(value).is_ok()
}

/// `PATH = VALUE`, or `PATH deleted`.
pub(super) fn text(entry: &Entry) -> String {
    let text = match &entry.value {
        Some(value) => format!("{} = {}", entry.path, value_text(value)),
        None if entry.chain.is_empty() => entry.path.to_string(),
        None => format!("{} deleted", entry.path),
    };
    escape_controls(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(msgpack: &[u8]) -> Entry {
        let version = "a:7".parse().unwrap();
        let value = Some(Value::from_msgpack(msgpack).unwrap());
        Entry { path: "k:1".parse().unwrap(), value, chain: vec![version], tock: 9 }
    }

    #[test]
    fn what_json_can_not_tell_is_there_as_bytes() {
        let exact = r#"{"path":"k:1","value":{"a":[1.5]},"version":"a:7","tock":9}"#;
        assert_eq!(json(&entry(b"\x81\xa1a\x91\xcb\x3f\xf8\0\0\0\0\0\0")).unwrap(), exact);
        assert!(json(&entry(b"\xc4\x01\xff")).unwrap().contains(r#""value":"ff","msgpack":"c401ff""#));
        assert!(json(&entry(b"\x81\x01\x02")).unwrap().contains(r#""msgpack":"810102""#));
    }
}
