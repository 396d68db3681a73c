//! `distkv acl`: access lists. Each is a tree of rules in the store (`:n.acl.NAME.PATTERN`), and each rule a string of rights.

mod why;

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::Subcommand;
use distkv_store::access::{Rights, users};
use distkv_store::path::{Element, Path, PathRef};
use distkv_store::value::Value;

use super::connect::Connect;
use super::failure::Failure;
use super::home::{Home, Place};
use super::output::{Table, confirm};

/// Manage access lists
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A rule is a pattern and the rights on what it matches: + stands for one name, # for one or more, %u for the user's name, %c for the
MQTT client id. The most specific rule counts. What no rule matches is denied.

Rights: r read, w write, c create, d delete, x pass, e list, n make something new below, a ask for rights.")]
pub(super) struct Args {
    #[command(flatten)]
    connect: Connect,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the access lists, with how many rules each has
    List {
        #[command(flatten)]
        place: Place,
    },
    /// Show the rules of an access list, or one of them
    Get {
        /// The list's name
        list: String,
        /// The rule of this pattern only
        pattern: Option<Path>,
        #[command(flatten)]
        place: Place,
    },
    /// Set a rule; the list is made if it is not there
    Set {
        /// The list's name
        list: String,
        /// What it is for, such as home.+.light or device.%u.#
        pattern: Path,
        /// Some of the letters rwdcxena; empty for no right at all. `+rw` adds rights, `-d` takes some
        #[arg(allow_hyphen_values = true)]
        rights: String,
        #[command(flatten)]
        place: Place,
    },
    /// Delete a rule, or a whole list. Who is bound by a list that is not there may do nothing
    Delete {
        /// The list's name
        list: String,
        /// The rule of this pattern only
        pattern: Option<Path>,
        /// Do not ask before a whole list is deleted
        #[arg(short, long)]
        yes: bool,
        #[command(flatten)]
        place: Place,
    },
    /// Say whether a user may do something, and by which rule
    #[command(after_help = "Exit code 0: he may. 4: he may not.")]
    Why(why::Args),
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let connect = &args.connect;
    match &args.command {
        Command::Why(args) => why::run(args, connect),
        Command::List { place } => Home::with(connect, place, async |home| list(home, connect.json).await),
        Command::Get { list, pattern, place } => {
            Home::with(connect, place, async |home| get(home, list, pattern.as_ref(), connect.json).await)
        }
        Command::Set { list, pattern, rights, place } => {
            let change = Change::parse(rights)?;
            Home::with(connect, place, async |home| set(home, list, pattern, change).await)
        }
        Command::Delete { list, pattern, yes, place } => {
            if pattern.is_none() {
                confirm(&format!("Delete the access list {list}?"), *yes)?;
            }
            Home::with(connect, place, async |home| delete(home, list, pattern.as_ref()).await)
        }
    }
}

async fn list(home: &mut Home, json: bool) -> anyhow::Result<()> {
    let mut lists: BTreeMap<String, u64> = BTreeMap::new();
    let root = home.path(&["acl"])?;
    for (path, _) in home.entries(&root).await? {
        if let Some(Element::Str(name)) = path.elements().nth(root.len()) {
            *lists.entry(name.into_owned()).or_default() += 1;
        }
    }
    let mut table = Table::new(&["list", "rules"]);
    for (name, rules) in lists {
        if json {
            writeln!(io::stdout(), "{}", serde_json::json!({"list": name, "rules": rules}))?;
        } else {
            table.row(vec![name, rules.to_string()]);
        }
    }
    if !json {
        table.print()?;
    }
    Ok(())
}

async fn get(home: &mut Home, list: &str, pattern: Option<&Path>, json: bool) -> anyhow::Result<()> {
    let root = home.path(&["acl", list])?;
    let rules = match pattern {
        None => home.entries(&root).await?,
        Some(pattern) => {
            let path = rule(home, list, pattern)?;
            home.read(&path).await?.map(|value| (path, value)).into_iter().collect()
        }
    };
    if rules.is_empty() {
        return Err(missing(list, pattern));
    }
    let mut table = Table::new(&["pattern", "rights"]);
    for (path, value) in rules {
        let shown =
            path.as_path().below(root.as_path()).map(PathRef::to_path).unwrap_or_default().to_string();
        let rights = value.as_str().map_or_else(|| "(no text, so no rule)".to_owned(), str::to_owned);
        if json {
            writeln!(io::stdout(), "{}", serde_json::json!({"pattern": shown, "rights": rights}))?;
        } else {
            table.row(vec![shown, rights]);
        }
    }
    if !json {
        table.print()?;
    }
    Ok(())
}

async fn set(home: &mut Home, list: &str, pattern: &Path, change: Change) -> anyhow::Result<()> {
    let path = rule(home, list, pattern)?;
    let before = home.read(&path).await?;
    let before = before.as_ref().and_then(Value::as_str).map(Rights::read).unwrap_or_default();
    let rights = change.apply(before);
    home.write(vec![(path, Some(Value::string(&rights.to_string())))]).await
}

async fn delete(home: &mut Home, list: &str, pattern: Option<&Path>) -> anyhow::Result<()> {
    let paths: Vec<Path> = match pattern {
        None => home.entries(&home.path(&["acl", list])?).await?.into_iter().map(|(path, _)| path).collect(),
        Some(pattern) => {
            let path = rule(home, list, pattern)?;
            home.read(&path).await?.map(|_| path).into_iter().collect()
        }
    };
    if paths.is_empty() {
        return Err(missing(list, pattern));
    }
    home.write(paths.into_iter().map(|path| (path, None)).collect()).await
}

fn rule(home: &Home, list: &str, pattern: &Path) -> anyhow::Result<Path> {
    Ok(users::rule_path(home.base().as_path(), list, pattern.as_path())?)
}

fn missing(list: &str, pattern: Option<&Path>) -> anyhow::Error {
    let text = match pattern {
        Some(pattern) => format!("the access list {list} has no rule for {pattern}"),
        None => format!("there is no access list {list}"),
    };
    Failure::NotFound(text).into()
}

/// What is to become of the rights of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    To(Rights),
    Add(Rights),
    Take(Rights),
}

impl Change {
    fn parse(text: &str) -> anyhow::Result<Self> {
        let (make, letters): (fn(Rights) -> Self, _) = match text.split_at_checked(1) {
            Some(("+", letters)) => (Self::Add, letters),
            Some(("-", letters)) => (Self::Take, letters),
            _ => (Self::To, text),
        };
        match letters.parse() {
            Ok(rights) => Ok(make(rights)),
            Err(error) => Err(Failure::Usage(format!("{error}")).into()),
        }
    }

    fn apply(self, before: Rights) -> Rights {
        match self {
            Self::To(rights) => rights,
            Self::Add(rights) => rights.iter().fold(before, Rights::with),
            Self::Take(rights) => rights.iter().fold(before, Rights::without),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_are_set_added_and_taken() {
        let apply = |text: &str| Change::parse(text).unwrap().apply(Rights::read("rx")).to_string();
        assert_eq!(apply("rw"), "rw");
        assert_eq!(apply(""), "");
        assert_eq!(apply("+wr"), "rwx");
        assert_eq!(apply("-x"), "r");
        assert!(Change::parse("rq").is_err());
    }
}
