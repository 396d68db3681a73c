//! How results are shown: tables for people at a terminal, the same cells between tabs for programs; progress; questions.

use std::io::{self, BufRead as _, IsTerminal as _, Write};

use distkv_store::path::{Element, Path};
use distkv_store::value::{Token, Value};

use super::failure::Failure;
use crate::bridge::json;
use crate::log::escape_controls;

/// A value in one line, for people: JSON, but bytes are marked as such.
pub(super) fn value_text(value: &Value) -> String {
    match value.decode() {
        Token::Bin(bytes) => format!("bytes {}", hex(bytes)),
        _ => json::text(value),
    }
}

/// An optional value in one line.
pub(super) fn optional_text(value: Option<&Value>) -> String {
    value.map_or_else(|| "-".to_owned(), value_text)
}

pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut out, byte| {
        // Writing to a string does not fail.
        let _written = write!(out, "{byte:02x}");
        out
    })
}

/// The text form of one name.
pub(super) fn name_text(name: Element<'_>) -> String {
    Path::from_elements([name]).map_or_else(|error| error.to_string(), |path| path.to_string())
}

/// A table.
pub(super) struct Table {
    head: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// With these columns.
    pub(super) fn new(head: &[&'static str]) -> Self {
        Self { head: head.to_vec(), rows: Vec::new() }
    }

    /// Appends a row, of as many cells as there are columns.
    pub(super) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells.into_iter().map(|cell| escape_controls(&cell)).collect());
    }

    /// Prints it on standard output.
    pub(super) fn print(&self) -> io::Result<()> {
        let mut out = io::BufWriter::new(io::stdout().lock());
        self.write(&mut out, io::stdout().is_terminal())?;
        out.flush()
    }

    fn write(&self, out: &mut impl Write, terminal: bool) -> io::Result<()> {
        if !terminal {
            return self.rows.iter().try_for_each(|row| writeln!(out, "{}", row.join("\t")));
        }
        let width = |column: usize, head: &str| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).fold(head.len(), usize::max)
        };
        let widths: Vec<usize> =
            self.head.iter().enumerate().map(|(column, head)| width(column, head)).collect();
        let head: Vec<String> = self.head.iter().map(|head| head.to_uppercase()).collect();
        for row in std::iter::once(&head).chain(&self.rows) {
            let line: Vec<String> =
                row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:width$}")).collect();
            writeln!(out, "{}", line.join("  ").trim_end())?;
        }
        Ok(())
    }
}

/// A count on the terminal while something takes long; nothing if standard error is none, or the result itself runs over it.
pub(super) struct Progress {
    what: &'static str,
    count: u64,
    shown: bool,
}

impl Progress {
    /// The count is told anew after this many.
    const STEP: u64 = 1000;

    /// Counts `what`, which is printed on standard output if `printed` says so.
    pub(super) fn new(what: &'static str, printed: bool) -> Self {
        let shown = io::stderr().is_terminal() && !(printed && io::stdout().is_terminal());
        Self { what, count: 0, shown }
    }

    /// One more.
    pub(super) fn step(&mut self) {
        self.count += 1;
        if self.shown && self.count.is_multiple_of(Self::STEP) {
            // If it can't be shown, nothing is lost.
            let _ = write!(io::stderr(), "\r{} {} ", self.count, self.what);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown && self.count >= Self::STEP {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

/// How much of a whole is done, on the terminal.
pub(super) struct Share {
    shown: bool,
    percent: Option<u64>,
}

impl Share {
    pub(super) fn new() -> Self {
        Self { shown: io::stderr().is_terminal(), percent: None }
    }

    /// So much of it is done.
    pub(super) fn show(&mut self, done: u64, all: u64) {
        const CELLS: u64 = 40;
        let percent = done.saturating_mul(100) / all.max(1);
        if self.shown && self.percent != Some(percent) {
            let filled = (percent * CELLS / 100).min(CELLS) as usize;
            let bar = "#".repeat(filled) + &" ".repeat(CELLS as usize - filled);
            // If it can't be shown, nothing is lost.
            let _ = write!(io::stderr(), "\r[{bar}] {percent:3} % ");
            self.percent = Some(percent);
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        if self.percent.is_some() {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

/// Asks before something that can't be undone. Without a terminal nobody can answer, so that `--yes` is needed.
pub(super) fn confirm(question: &str, yes: bool) -> anyhow::Result<()> {
    if yes {
        return Ok(());
    }
    if !io::stdin().is_terminal() {
        return Err(Failure::Usage(format!("{question} Say so with --yes")).into());
    }
    write!(io::stderr(), "{question} [y/N] ")?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    match answer.trim() {
        "y" | "Y" | "yes" => Ok(()),
        _ => Err(Failure::NotConfirmed.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(terminal: bool) -> String {
        let mut table = Table::new(&["name", "rights"]);
        table.row(vec!["a".to_owned(), "rw".to_owned()]);
        table.row(vec!["longer\n".to_owned(), String::new()]);
        let mut out = Vec::new();
        table.write(&mut out, terminal).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_table_is_aligned_on_a_terminal_and_tabbed_elsewhere() {
        assert_eq!(written(false), "a\trw\nlonger\\n\t\n");
        assert_eq!(written(true), "NAME      RIGHTS\na         rw\nlonger\\n\n");
    }

    #[test]
    fn a_name_is_shown_as_in_a_path() {
        assert_eq!(name_text(Element::str("a.b")), "a:.b");
        assert_eq!(name_text(Element::Int(7)), ":7");
    }
}
