//! Values as Rust types, by serde.
//!
//! Structures are maps by their fields' names, so that whoever reads the store sees what they mean. What serde has no word for (paths, integers
//! from 2^64 on, other extension types) travels as a [`Value`], untouched.

use distkv_store::value::Value;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::error::Error;

/// The value that stands for `it`.
pub fn to_value<T: Serialize + ?Sized>(it: &T) -> Result<Value, Error> {
    let packed = rmp_serde::to_vec_named(it).map_err(|error| Error::Type(error.to_string()))?;
    Value::from_msgpack(&packed).map_err(|error| Error::Type(error.to_string()))
}

/// The value as a `T`.
pub fn from_value<T: DeserializeOwned>(value: &Value) -> Result<T, Error> {
    rmp_serde::from_slice(value.as_bytes()).map_err(|error| Error::Type(error.to_string()))
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Serialize, Deserialize, PartialEq)]
    struct Light {
        on: bool,
        level: Option<u8>,
    }

    #[test]
    fn a_structure_is_a_map_by_names() {
        let light = Light { on: true, level: None };
        let value = to_value(&light).unwrap();
        assert_eq!(value.as_bytes(), b"\x82\xa2on\xc3\xa5level\xc0");
        assert_eq!(from_value::<Light>(&value).unwrap(), light);
        let error = from_value::<Light>(&Value::nil()).unwrap_err();
        assert!(matches!(error, Error::Type(_)), "{error}");
    }
}
