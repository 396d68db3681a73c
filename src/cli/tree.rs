//! `distkv tree`: the entries of a subtree.

use std::io::{self, IsTerminal as _, Write};
use std::process::ExitCode;

use distkv_store::path::{Element, Path};

use super::connect::Connect;
use super::entry_line;
use super::output::{Progress, name_text, value_text};
use crate::client::{Entry, Scope};
use crate::log::escape_controls;

/// Show a subtree
#[derive(Debug, clap::Args)]
#[command(after_help = "\
On a terminal it is drawn as a tree; elsewhere each entry is one line, PATH = VALUE. With --json it can be read again by `distkv load`.")]
pub(super) struct Args {
    #[command(flatten)]
    connect: Connect,
    /// The path; a lone colon is the root
    #[arg(default_value = ":")]
    path: Path,
    /// How many levels to go down
    #[arg(short, long, value_name = "LEVELS")]
    depth: Option<u32>,
    /// Leave the entry at the path itself out
    #[arg(long)]
    below: bool,
    /// Show entries without a value, too: those that only have others below, and deleted ones
    #[arg(long)]
    empty: bool,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    args.connect.run(async |client| {
        let scope = Scope {
            min_depth: u32::from(args.below),
            max_depth: args.depth,
            empty: args.empty,
            chain: u32::from(args.connect.json || args.empty),
        };
        let mut tree = client.tree(&args.path, &scope).await?;
        let mut progress = Progress::new("entries", true);
        let mut out = io::BufWriter::new(io::stdout().lock());
        let mut drawing = Drawing::default();
        let drawn = io::stdout().is_terminal() && !args.connect.json;
        while let Some(entry) = tree.next().await? {
            progress.step();
            match () {
                () if args.connect.json => writeln!(out, "{}", entry_line::json(&entry)?)?,
                () if drawn => drawing.draw(&entry, &mut out)?,
                () => writeln!(out, "{}", entry_line::text(&entry))?,
            }
        }
        out.flush()?;
        Ok(ExitCode::SUCCESS)
    })
}

/// A tree by indentation.
#[derive(Default)]
struct Drawing {
    /// The names on the way to the entry drawn last.
    last: Vec<Element<'static>>,
}

impl Drawing {
    fn draw(&mut self, entry: &Entry, out: &mut impl Write) -> io::Result<()> {
        let names: Vec<Element<'static>> = entry.path.elements().map(Element::into_owned).collect();
        let value = match &entry.value {
            Some(value) => format!(" = {}", value_text(value)),
            None if entry.chain.is_empty() => String::new(),
            None => " deleted".to_owned(),
        };
        let Some((name, way)) = names.split_last() else {
            return writeln!(out, "{}", escape_controls(&format!(":{value}")));
        };
        let shared = self.last.iter().zip(way).take_while(|(a, b)| a == b).count();
        for (level, name) in way.iter().enumerate().skip(shared) {
            line(out, level, name, "")?;
        }
        line(out, way.len(), name, &value)?;
        self.last = names;
        Ok(())
    }
}

fn line(out: &mut impl Write, level: usize, name: &Element<'static>, value: &str) -> io::Result<()> {
    let text = format!("{}{value}", name_text(name.clone()));
    writeln!(out, "{:indent$}{}", "", escape_controls(&text), indent = 2 * level)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Value;

    #[test]
    fn what_lies_between_is_drawn_once() {
        let mut drawing = Drawing::default();
        let mut out = Vec::new();
        for path in ["a", "a.b.c", "a.b.d", "e.f"] {
            let value = Some(Value::string(path));
            let entry = Entry { path: path.parse().unwrap(), value, chain: Vec::new(), tock: 0 };
            drawing.draw(&entry, &mut out).unwrap();
        }
        let drawn = "a = \"a\"\n  b\n    c = \"a.b.c\"\n    d = \"a.b.d\"\ne\n  f = \"e.f\"\n";
        assert_eq!(String::from_utf8(out).unwrap(), drawn);
    }
}
