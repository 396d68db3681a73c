//! Values on the command line: JSON, text, or what a file holds; and one member of a value that is a map.

use std::io::Read as _;
use std::path::PathBuf;

use distkv_store::value::Value;
use serde_json::{Map, Value as Json};

use super::failure::Failure;
use crate::client::to_value;

/// A value that is given.
#[derive(Clone, Debug, clap::Args)]
#[group(skip)]
pub(super) struct Given {
    /// The value as JSON: 12, true, '"on"', '{"level": 3}'
    #[arg(value_name = "JSON", allow_hyphen_values = true)]
    value: Option<String>,
    /// The value is this text
    #[arg(long, value_name = "TEXT", conflicts_with = "value", allow_hyphen_values = true)]
    text: Option<String>,
    /// The value is what this file holds: as text if it is UTF-8, else as bytes. `-` is standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["value", "text"])]
    file: Option<PathBuf>,
}

impl Given {
    pub(super) fn read(&self) -> anyhow::Result<Value> {
        use anyhow::Context as _;
        match (&self.value, &self.text, &self.file) {
            (Some(json), ..) => Ok(to_value(&json_of(json)?)?),
            (_, Some(text), _) => Ok(Value::string(text)),
            (_, _, Some(file)) => {
                let what = || format!("can't read {}", file.display());
                let bytes = if file.as_os_str() == "-" {
                    let mut bytes = Vec::new();
                    std::io::stdin().lock().read_to_end(&mut bytes).with_context(what)?;
                    bytes
                } else {
                    std::fs::read(file).with_context(what)?
                };
                Ok(match std::str::from_utf8(&bytes) {
                    Ok(text) => Value::string(text),
                    Err(_) => Value::binary(&bytes),
                })
            }
            (None, None, None) => {
                Err(Failure::Usage("the value is missing: give JSON, --text or --file".to_owned()).into())
            }
        }
    }
}

/// A value from JSON text.
pub(super) fn json_of(text: &str) -> anyhow::Result<Json> {
    let json: Json = serde_json::from_str(text).map_err(|error| {
        Failure::Usage(format!(
            "`{text}` is no JSON ({error}); a text is written '\"{text}\"' or --text '{text}'"
        ))
    })?;
    // JSON's numbers have no end, msgpack's have.
    if json.is_f64() && text.trim().trim_start_matches('-').bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Failure::Usage(format!("`{text}` is an integer beyond 64 bits")).into());
    }
    Ok(json)
}

/// Names of members, outermost first: `a.b`.
#[derive(Clone, Debug)]
pub(super) struct Member(Vec<String>);

impl std::str::FromStr for Member {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let names: Vec<String> = text.split('.').map(str::to_owned).collect();
        if names.iter().any(String::is_empty) {
            return Err("a member is written NAME or NAME.NAME...");
        }
        Ok(Self(names))
    }
}

impl std::fmt::Display for Member {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.join("."))
    }
}

impl Member {
    /// Sets the member within `whole`. Maps on the way are made; what is something else is not replaced.
    pub(super) fn set(&self, whole: &mut Json, member: Json) -> Result<(), Failure> {
        let (last, way) = self.split()?;
        self.map_at(whole, way, true)?.insert(last.clone(), member);
        Ok(())
    }

    /// Takes the member out. Whether it was there.
    pub(super) fn remove(&self, whole: &mut Json) -> Result<bool, Failure> {
        let (last, way) = self.split()?;
        Ok(self.map_at(whole, way, false)?.remove(last).is_some())
    }

    fn split(&self) -> Result<(&String, &[String]), Failure> {
        self.0.split_last().ok_or_else(|| Failure::Usage("a member has a name".to_owned()))
    }

    fn map_at<'j>(
        &self,
        whole: &'j mut Json,
        way: &[String],
        make: bool,
    ) -> Result<&'j mut Map<String, Json>, Failure> {
        let mut at = whole;
        let mut names = way.iter();
        loop {
            if at.is_null() && make {
                *at = Json::Object(Map::new());
            }
            let shown = at.to_string();
            let Json::Object(map) = at else {
                return Err(Failure::Usage(format!("there is no member {self}: {shown} is no map")));
            };
            match names.next() {
                None => return Ok(map),
                Some(name) => at = map.entry(name.clone()).or_insert(Json::Null),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_no_json_is_told_how_to_write() {
        assert_eq!(json_of("{\"a\": [1]}").unwrap(), json!({"a": [1]}));
        assert!(json_of("on").unwrap_err().to_string().contains("--text 'on'"));
        assert!(json_of("18446744073709551615").is_ok());
        assert!(json_of("18446744073709551616").is_err());
        assert!(json_of("-1.5e300").is_ok());
    }

    #[test]
    fn members_are_set_and_removed_where_there_is_a_map() {
        let member: Member = "a.b".parse().unwrap();
        let mut whole = json!(null);
        member.set(&mut whole, json!(1)).unwrap();
        assert_eq!(whole, json!({"a": {"b": 1}}));
        assert!(member.remove(&mut whole).unwrap());
        assert!(!member.remove(&mut whole).unwrap());
        assert_eq!(whole, json!({"a": {}}));
        let mut scalar = json!({"a": 3});
        assert!(member.set(&mut scalar, json!(1)).is_err());
        assert_eq!(scalar, json!({"a": 3}));
        for text in ["", ".", "a.", "a..b"] {
            assert!(text.parse::<Member>().is_err(), "{text}");
        }
    }
}
