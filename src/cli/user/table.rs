//! The list of users.

use std::collections::BTreeMap;
use std::io::{self, Write as _};

use distkv_store::path::{Element, Path};
use distkv_store::value::Value;
use serde::Serialize;

use super::super::home::Home;
use super::super::output::Table;
use super::record::{Facts, facts};
use crate::client::from_value;

/// What is told of a user.
#[derive(Debug, Default, Serialize)]
struct Line {
    name: String,
    method: String,
    admin: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    acl: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    root: Option<String>,
    /// By what he may log in: the names of the secrets that are kept of him.
    secrets: Vec<String>,
    #[serde(skip)]
    is_user: bool,
}

/// Prints all users.
pub(super) async fn print(home: &mut Home, json: bool) -> anyhow::Result<()> {
    let entries = home.entries(&home.path(&["auth"])?).await?;
    let base = home.base().len();
    let mut table = Table::new(&["name", "method", "rights", "root", "login by"]);
    let mut out = io::stdout().lock();
    for line in lines(entries, base).into_values().filter(|line| line.is_user) {
        if json {
            writeln!(out, "{}", serde_json::to_string(&line)?)?;
            continue;
        }
        let rights = match (&line.acl, line.admin) {
            (None, _) => "all".to_owned(),
            (Some(acl), true) => format!("{acl}, admin"),
            (Some(acl), false) => acl.clone(),
        };
        let root = line.root.unwrap_or_default();
        table.row(vec![line.name, line.method, rights, root, line.secrets.join(", ")]);
    }
    drop(out);
    if !json {
        table.print()?;
    }
    Ok(())
}

/// The users by method and name, from the entries below `auth`: METHOD, `user`, NAME, and what is below that.
fn lines(entries: Vec<(Path, Value)>, base: usize) -> BTreeMap<(String, String), Line> {
    let mut lines: BTreeMap<(String, String), Line> = BTreeMap::new();
    for (path, value) in entries {
        let names: Vec<String> = path.elements().skip(base).filter_map(text).collect();
        let [_, method, user, name, rest @ ..] = names.as_slice() else { continue };
        if user != "user" {
            continue;
        }
        let line = lines.entry((method.clone(), name.clone())).or_default();
        (line.method, line.name) = (method.clone(), name.clone());
        match rest {
            [] => {
                let Facts { admin, root, secrets } = facts(&value);
                (line.admin, line.secrets, line.is_user) = (admin, secrets, true);
                line.root = (!root.is_root()).then(|| root.to_string());
            }
            [below] if below == "acl" => {
                let key = from_value::<BTreeMap<String, String>>(&value).unwrap_or_default().remove("key");
                line.acl = Some(key.unwrap_or_else(|| "(unreadable)".to_owned())).filter(|key| key != "*");
            }
            _ => {}
        }
    }
    lines
}

fn text(name: Element<'_>) -> Option<String> {
    match name {
        Element::Str(text) => Some(text.into_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use distkv_store::access::users;

    use super::*;

    #[test]
    fn users_are_put_together_from_their_entries() {
        let entry = |path: &str, value: Value| (path.parse().unwrap(), value);
        let entries = vec![
            entry(":n.auth", users::current("password")),
            entry(":n.auth.password.user.ann", users::record(&[("token", Value::nil())], true, None)),
            entry(":n.auth.password.user.ann.acl", users::key("staff")),
            entry(":n.auth.password.user.bob.acl", users::key("left behind")),
        ];
        let lines = lines(entries, 1);
        let lines: Vec<String> = lines
            .values()
            .filter(|line| line.is_user)
            .map(|line| serde_json::to_string(line).unwrap())
            .collect();
        assert_eq!(
            lines,
            [r#"{"name":"ann","method":"password","admin":true,"acl":"staff","secrets":["token"]}"#]
        );
    }
}
