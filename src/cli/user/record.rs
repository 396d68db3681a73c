//! A user's entries, and how they are changed.

use anyhow::Context as _;
use distkv_store::access::users;
use distkv_store::path::{Element, Path};
use distkv_store::value::{Token, Tokens, Value};

use super::super::failure::Failure;
use super::super::home::{Change as Write, Home};
use super::{RightsArgs, verifier};
use crate::auth::digest::Digest;
use crate::auth::password::{Cost, Hashed, SALT_BYTES};
use crate::auth::scram::{self, ITERATIONS_MIN, Verifier};
use crate::auth::secrets;
use crate::auth::token::Token as Device;

/// The method by which users log in that we make.
const METHOD: &str = "password";

/// What becomes of a user's secrets.
pub(super) enum Change {
    Nothing,
    Password { hashed: Hashed, scram: Option<Verifier> },
    Token(Device),
    NoTokens,
}

impl Change {
    /// A new password. Hashing it takes a moment, as it is meant to.
    pub(super) fn password(password: &str, with_scram: bool) -> anyhow::Result<Self> {
        let mut salt = [0; SALT_BYTES];
        getrandom::fill(&mut salt).context("the system gives no random numbers")?;
        let hashed = Hashed::make(&Digest::of(password.as_bytes()), &salt, Cost::default())?;
        let scram = with_scram.then(|| verifier(password, ITERATIONS_MIN)).transpose()?;
        Ok(Self::Password { hashed, scram })
    }

    /// A new device token.
    pub(super) fn token(user: &str) -> anyhow::Result<Self> {
        Ok(Self::Token(Device::make(user).context("the system gives no random numbers")?))
    }

    fn apply(&self, record: &Value) -> anyhow::Result<Value> {
        Ok(match self {
            Self::Nothing => record.clone(),
            Self::Password { hashed, scram } => secrets::with_password(record, hashed, scram.as_ref())?,
            Self::Token(token) => secrets::with_token(record, &token.stored)?,
            Self::NoTokens => secrets::without_tokens(record)?,
        })
    }
}

/// Where a user's record lies.
fn place(home: &Path, name: &str) -> anyhow::Result<Path> {
    if !scram::is_name(name) {
        let text = format!(
            "`{name}` can't be a user's name: it has 1 to {} bytes, and no control characters",
            scram::NAME_MAX
        );
        return Err(Failure::Usage(text).into());
    }
    Ok(users::path(home.as_path(), METHOD, name)?)
}

fn below(place: &Path, name: &str) -> anyhow::Result<Path> {
    Ok(place.child(&Element::str(name))?)
}

/// Makes a user. The first one switches logins on.
pub(super) async fn add(
    home: &mut Home,
    name: &str,
    change: &Change,
    rights: &RightsArgs,
) -> anyhow::Result<()> {
    let place = place(home.base(), name)?;
    if home.read(&place).await?.is_some() {
        return Err(
            Failure::Conflict(format!("there is a user {name} already: see `distkv user change`")).into()
        );
    }
    let method = users::method_path(home.base().as_path())?;
    let mut writes = Vec::new();
    if !home.is_past_logins() && home.read(&method).await?.is_none() {
        if !rights.admin || rights.root.is_some() || rights.acl.is_some() {
            let text =
                "the first user must be one who can make others: --admin, and neither --acl nor --root";
            return Err(Failure::Usage(text.to_owned()).into());
        }
        writes.push((method, Some(users::current(METHOD))));
    }
    let root = rights.root.as_ref().map(Path::as_path);
    let record = change.apply(&users::record(&[], rights.admin, root))?;
    writes.push((place.clone(), Some(record)));
    writes.extend(list_of(&place, rights)?);
    home.write(writes).await
}

/// Changes a user.
pub(super) async fn change(
    home: &mut Home,
    name: &str,
    change: &Change,
    rights: Option<&RightsArgs>,
) -> anyhow::Result<()> {
    let place = place(home.base(), name)?;
    let record = home.read(&place).await?.ok_or_else(|| no_user(name))?;
    let mut changed = change.apply(&record)?;
    let mut writes = Vec::new();
    if let Some(rights) = rights {
        changed = with_rights(&changed, rights);
        writes.extend(list_of(&place, rights)?);
    }
    if changed != record {
        writes.push((place, Some(changed)));
    }
    home.write(writes).await
}

/// Deletes a user, with what is said of him.
pub(super) async fn delete(home: &mut Home, name: &str) -> anyhow::Result<()> {
    let place = place(home.base(), name)?;
    home.read(&place).await?.ok_or_else(|| no_user(name))?;
    let entries = home.entries(&place).await?;
    home.write(entries.into_iter().map(|(path, _)| (path, None)).collect()).await
}

fn no_user(name: &str) -> anyhow::Error {
    Failure::NotFound(format!("there is no user {name}")).into()
}

/// The entry which names the user's access list.
fn list_of(place: &Path, rights: &RightsArgs) -> anyhow::Result<Option<Write>> {
    let Some(acl) = &rights.acl else { return Ok(None) };
    Ok(Some((below(place, "acl")?, Some(users::key(acl)))))
}

/// The record with other rights: what is not said stays.
fn with_rights(record: &Value, rights: &RightsArgs) -> Value {
    let (before, secrets) = split(record);
    let admin = rights.admin || (before.admin && !rights.no_admin);
    let root = rights.root.clone().unwrap_or(before.root);
    let secrets: Vec<(&str, Value)> = secrets.iter().map(|(name, it)| (name.as_str(), it.clone())).collect();
    users::record(&secrets, admin, Some(root.as_path()))
}

/// What a record says besides its secrets.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Facts {
    pub(super) admin: bool,
    pub(super) root: Path,
    pub(super) secrets: Vec<String>,
}

/// The facts of a record.
pub(super) fn facts(record: &Value) -> Facts {
    let (mut facts, secrets) = split(record);
    facts.secrets = secrets.into_iter().map(|(name, _)| name).collect();
    facts
}

fn split(record: &Value) -> (Facts, Vec<(String, Value)>) {
    let (mut facts, mut secrets) = (Facts::default(), Vec::new());
    let mut tokens = record.tokens();
    let Some(Token::Map(count)) = tokens.next() else { return (facts, secrets) };
    for _ in 0..count {
        let (Some(Token::Str(key)), Ok(field)) = (tokens.next(), tokens.whole()) else { break };
        let value = Value::from_msgpack(field).unwrap_or_else(|_| Value::nil());
        match (key, Tokens::new(field).next()) {
            ("admin", Some(Token::Bool(admin))) => facts.admin = admin,
            ("root", Some(Token::Str(text))) => facts.root = text.parse().unwrap_or_default(),
            ("root", _) => facts.root = value.to_path().unwrap_or_default(),
            _ => secrets.push((key.to_owned(), value)),
        }
    }
    (facts, secrets)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rights(admin: bool, no_admin: bool, root: Option<&str>) -> RightsArgs {
        RightsArgs { admin, no_admin, acl: None, root: root.map(|root| root.parse().unwrap()) }
    }

    #[test]
    fn rights_change_and_secrets_stay() {
        let record = users::record(&[("password", Value::string("x"))], true, None);
        assert_eq!(with_rights(&record, &rights(false, false, None)), record);
        let bound = with_rights(&record, &rights(false, true, Some("a.b")));
        assert_eq!(
            facts(&bound),
            Facts { admin: false, root: "a.b".parse().unwrap(), secrets: vec!["password".to_owned()] }
        );
        assert_eq!(with_rights(&bound, &rights(true, false, Some(":"))), record);
    }

    #[test]
    fn names_that_are_none_are_refused() {
        let home = crate::client::internal(&[]);
        assert_eq!(place(&home, "ann").unwrap().to_string(), ":n.auth.password.user.ann");
        assert!(place(&home, "").is_err());
    }
}
