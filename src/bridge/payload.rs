//! Payloads and values, by the default codec `text`: what is valid UTF-8 is a string, all else is binary. It is exact
//! both ways. Native values of other types are shown as JSON.

use bytes::Bytes;
use distkv_store::value::Value;

use super::json;

/// The value of a payload. The value is a copy of its own size, never a slice of a read buffer.
pub(super) fn to_value(payload: &[u8]) -> Value {
    match std::str::from_utf8(payload) {
        Ok(text) => Value::string(text),
        Err(_) => Value::binary(payload),
    }
}

/// The payload of a value: strings and byte strings share the value's bytes.
pub(super) fn from_value(value: &Value) -> Bytes {
    value.payload().unwrap_or_else(|| json::text(value).into())
}
