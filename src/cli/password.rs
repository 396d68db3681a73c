//! Passwords on their way in: from a file, from standard input, or asked for on the terminal. Never from the command line, which
//! other users of the machine can see.

use std::io::{self, IsTerminal as _, Write as _};
use std::path::Path;

use anyhow::{Context as _, bail};
use rustix::termios::{self, LocalModes, OptionalActions, SpecialCodeIndex, Termios};

/// A new password of a user: from the file; else asked for twice, or, if standard input is no terminal, its first line.
pub(super) fn new(name: &str, file: Option<&Path>) -> anyhow::Result<String> {
    let password = match file {
        Some(file) => of_file(file)?,
        None if io::stdin().is_terminal() => ask_twice(name)?,
        None => first_line(&mut io::stdin().lock()).context("can't read the password")?,
    };
    if password.is_empty() {
        bail!("the password is empty");
    }
    Ok(password)
}

/// The first line of a file.
pub(super) fn of_file(file: &Path) -> anyhow::Result<String> {
    let what = || format!("can't read the password from {}", file.display());
    let opened = std::fs::File::open(file).with_context(what)?;
    first_line(&mut io::BufReader::new(opened)).with_context(what)
}

fn first_line(from: &mut dyn io::BufRead) -> io::Result<String> {
    let mut line = String::new();
    from.read_line(&mut line)?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

fn ask_twice(name: &str) -> anyhow::Result<String> {
    let first = ask(&format!("Password of {name}: "))?;
    if ask("Once more: ")? != first {
        bail!("the two passwords differ");
    }
    Ok(first)
}

/// Asks on the terminal, which does not show what is typed.
pub(super) fn ask(words: &str) -> anyhow::Result<String> {
    // First, as what is typed before it is not taken.
    let hidden = Hidden::new().context("can't turn the echo of the terminal off")?;
    let mut out = io::stderr();
    write!(out, "{words}")?;
    let line = typed_line(&mut io::stdin().lock());
    drop(hidden);
    writeln!(out)?;
    match line? {
        Some(line) => Ok(line),
        None => std::process::exit(130),
    }
}

/// A line up to its end; `None` if Ctrl-C ends it.
fn typed_line(from: &mut dyn io::BufRead) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    loop {
        let typed = from.fill_buf()?;
        let end = typed.iter().position(|byte| [b'\n', INTERRUPT].contains(byte));
        let taken = end.map_or(typed.len(), |end| end + 1);
        line.extend_from_slice(typed.get(..taken).unwrap_or_default());
        let over = end.is_some() || typed.is_empty();
        from.consume(taken);
        if over {
            break;
        }
    }
    if line.ends_with(&[INTERRUPT]) {
        return Ok(None);
    }
    let line = String::from_utf8(line).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    Ok(Some(line.trim_end_matches(['\r', '\n']).to_owned()))
}

/// What Ctrl-C types.
const INTERRUPT: u8 = 3;

/// As long as it lives, the terminal shows nothing of what is typed.
struct Hidden(Termios);

impl Hidden {
    fn new() -> io::Result<Self> {
        let before = termios::tcgetattr(io::stdin())?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        // As a signal, Ctrl-C would end us before the echo is on again. So it ends the line.
        silent.local_modes.remove(LocalModes::ISIG);
        silent.special_codes[SpecialCodeIndex::VEOL] = INTERRUPT;
        termios::tcsetattr(io::stdin(), OptionalActions::Flush, &silent)?;
        Ok(Self(before))
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        // If it fails, there is nobody to tell.
        let _ = termios::tcsetattr(io::stdin(), OptionalActions::Now, &self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interrupt_ends_the_line() {
        assert_eq!(typed_line(&mut &b"a\x03b\n"[..]).unwrap(), None);
    }

    #[test]
    fn a_password_is_the_first_line_without_its_end() {
        for text in ["a b", "a b\n", "a b\r\nc"] {
            assert_eq!(first_line(&mut text.as_bytes()).unwrap(), "a b");
            assert_eq!(typed_line(&mut text.as_bytes()).unwrap().unwrap(), "a b");
        }
    }
}
