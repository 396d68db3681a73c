//! Paths: the names of entries, in both of their forms.
//!
//! A path is a sequence of [`Element`]s: strings, integers, floats, booleans, null, byte strings, lists of elements.
//! Elements of different type differ: `1` is not `"1"`, not `1.0` and not `true`.
//!
//! - The *byte form* is what is kept in memory and on disk ([`Path::as_bytes`]). Its order is the order of paths: element
//!   by element; null, booleans, integers, floats, byte strings, strings, lists; each by its own natural order. No
//!   element's bytes begin another's, so a path's bytes begin those of exactly the paths below it, and a subtree is one
//!   contiguous range of an ordered map: from the path itself up to the path followed by [`AFTER`].
//! - The *text form* (`a.b:12`) is for people: see below. `parse(print(p)) == p` for every path.
//!
//! # Text form
//!
//! Elements are joined by `.`; the root is a lone `:`. Inside an element `:.` is a dot, `::` a colon, `:_` a space (a plain
//! space is read, too). A `:` before anything else ends the element and begins one that is no plain string:
//!
//! | text | element |
//! |---|---|
//! | `:t` `:f` `:n` | true, false, null |
//! | `:e` | the empty string |
//! | `:12` `:-3` `:x1F` `:b101` | integers: decimal, hexadecimal, binary |
//! | `:1:.5` `:1e300` `:inf` `:NaN` | floats; their dot is escaped as any other: `:1.5` is the integer 1, then the string "5" |
//! | `:vTEXT` `:yHEX` | byte strings, as ASCII text or in hexadecimal |
//! | `:[1,'a',[true,null],b'\x00']` | lists; a dot, colon or space in them is escaped, too |
//!
//! For the sake of older scripts `:1,2`, `:(1,2)`, `:()`, `:'text'`, `:0x1F`, `:1_000`, `:True`, `:None` are read as well.
//!
//! # Canonical floats
//!
//! `-0.0` is `0.0`, and there is one NaN, which follows infinity in the order. So equal floats are one element.

mod element;
mod pattern;
mod text;

use std::fmt;
use std::str::FromStr;

pub use element::Element;
pub use pattern::{Pattern, PatternElement, Seek};

/// The greatest number of elements of a path.
pub const MAX_ELEMENTS: usize = 255;
/// The greatest length of a path's byte form: room for a topic of 65 535 bytes with [`MAX_ELEMENTS`] levels and a mount.
pub const MAX_BYTES: usize = 65 * 1024;
/// How deep lists may nest in one element.
pub const MAX_LIST_DEPTH: usize = 8;
/// The greatest size of an integer's magnitude, in bytes.
pub const MAX_INTEGER_BYTES: usize = 255;
/// A byte above every byte that can follow a path in the byte form of a path below it.
pub const AFTER: u8 = 0xFF;

/// Why something is no path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// More than [`MAX_ELEMENTS`] elements.
    #[error("a path has at most {MAX_ELEMENTS} elements")]
    TooDeep,
    /// More than [`MAX_BYTES`] bytes.
    #[error("a path takes at most {MAX_BYTES} bytes")]
    TooLong,
    /// Lists nest deeper than [`MAX_LIST_DEPTH`].
    #[error("lists in a path nest at most {MAX_LIST_DEPTH} deep")]
    ListTooDeep,
    /// An integer below -2^63, or longer than [`MAX_INTEGER_BYTES`].
    #[error("an integer in a path lies between -2^63 and 2^{}", MAX_INTEGER_BYTES * 8)]
    IntegerRange,
    /// The bytes are no path's byte form.
    #[error("not the byte form of a path: bad element at byte {at}")]
    Malformed {
        /// Where the bad element begins.
        at: usize,
    },
    /// The text is no path's text form.
    #[error("not a path at byte {at}: {what}")]
    Text {
        /// Byte offset in the text.
        at: usize,
        /// What is wrong there and what to write instead.
        what: &'static str,
    },
}

/// A path, owned. As small as can be: its byte form in an exact allocation.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Path {
    bytes: Box<[u8]>,
}

impl Path {
    /// The path without elements.
    pub fn root() -> Self {
        Self::default()
    }

    /// Checks that `bytes` are a path's byte form. Safe on bytes from anywhere.
    pub fn from_bytes(bytes: impl Into<Box<[u8]>>) -> Result<Self, PathError> {
        let bytes = bytes.into();
        PathRef::from_bytes(&bytes)?;
        Ok(Self { bytes })
    }

    /// A path of the given elements.
    pub fn from_elements<'e>(elements: impl IntoIterator<Item = Element<'e>>) -> Result<Self, PathError> {
        let mut builder = PathBuilder::new();
        for element in elements {
            builder.push(&element)?;
        }
        Ok(builder.finish())
    }

    /// A path of strings.
    pub fn from_strs<'e>(names: impl IntoIterator<Item = &'e str>) -> Result<Self, PathError> {
        let mut builder = PathBuilder::new();
        for name in names {
            builder.push_str(name)?;
        }
        Ok(builder.finish())
    }

    /// The path borrowed.
    pub fn as_path(&self) -> PathRef<'_> {
        PathRef { bytes: &self.bytes }
    }

    /// The byte form.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// This path and one more element.
    pub fn child(&self, element: &Element<'_>) -> Result<Self, PathError> {
        self.as_path().child(element)
    }

    /// The elements in order.
    pub fn elements(&self) -> Elements<'_> {
        self.as_path().elements()
    }

    /// How many elements there are.
    pub fn len(&self) -> usize {
        self.as_path().len()
    }

    /// Whether this is the root.
    pub fn is_root(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The same as [`Path::is_root`].
    pub fn is_empty(&self) -> bool {
        self.is_root()
    }

    /// Whether this is `other` or a path below it.
    pub fn starts_with(&self, other: &Self) -> bool {
        self.bytes.starts_with(&other.bytes)
    }
}

impl FromStr for Path {
    type Err = PathError;

    /// Reads the text form.
    fn from_str(text: &str) -> Result<Self, PathError> {
        text::parse(text)
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        text::print(self.as_path(), f)
    }
}

impl fmt::Debug for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        text::print(self.as_path(), f)
    }
}

/// A path borrowed from somebody else's bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PathRef<'a> {
    bytes: &'a [u8],
}

impl PathRef<'static> {
    /// The path of internal data: the one element null.
    pub const NULL: Self = Self { bytes: &[element::tag::NULL] };
}

impl<'a> PathRef<'a> {
    /// Checks that `bytes` are a path's byte form. Safe on bytes from anywhere.
    pub fn from_bytes(bytes: &'a [u8]) -> Result<Self, PathError> {
        if bytes.len() > MAX_BYTES {
            return Err(PathError::TooLong);
        }
        let (mut at, mut count) = (0, 0);
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            at += element::check(rest).ok_or(PathError::Malformed { at })?;
            count += 1;
        }
        if count > MAX_ELEMENTS {
            return Err(PathError::TooDeep);
        }
        Ok(Self { bytes })
    }

    /// Bytes which were a path's before, such as a key of the tree.
    pub(crate) fn known(bytes: &'a [u8]) -> Self {
        debug_assert!(Self::from_bytes(bytes).is_ok(), "not a path: {bytes:?}");
        Self { bytes }
    }

    /// The byte form.
    pub fn as_bytes(self) -> &'a [u8] {
        self.bytes
    }

    /// An owned copy.
    pub fn to_path(self) -> Path {
        Path { bytes: self.bytes.into() }
    }

    /// This path and one more element.
    pub fn child(self, element: &Element<'_>) -> Result<Path, PathError> {
        let mut builder = PathBuilder::below(self);
        builder.push(element)?;
        Ok(builder.finish())
    }

    /// The elements in order. Strings and byte strings without the bytes 0 and 1 are borrowed.
    pub fn elements(self) -> Elements<'a> {
        Elements { rest: self.bytes }
    }

    /// How many elements there are.
    pub fn len(self) -> usize {
        let (mut rest, mut count) = (self.bytes, 0);
        while let Some(len) = element::len(rest) {
            rest = rest.get(len..).unwrap_or_default();
            count += 1;
        }
        count
    }

    /// Whether this is the root.
    pub fn is_root(self) -> bool {
        self.bytes.is_empty()
    }

    /// The same as [`PathRef::is_root`].
    pub fn is_empty(self) -> bool {
        self.is_root()
    }

    /// Whether this is `other` or a path below it.
    pub fn starts_with(self, other: PathRef<'_>) -> bool {
        self.bytes.starts_with(other.bytes)
    }

    /// What is left below `prefix`: `a.b.c` below `a` is `b.c`. `None` if this path doesn't start with it.
    pub fn below(self, prefix: PathRef<'_>) -> Option<Self> {
        self.bytes.strip_prefix(prefix.bytes).map(|bytes| Self { bytes })
    }

    /// The first element, as a path of its own, and what is below it. `None` at the root.
    pub fn split_first(self) -> Option<(Self, Self)> {
        let (first, behind) = self.bytes.split_at_checked(element::len(self.bytes)?)?;
        Some((Self { bytes: first }, Self { bytes: behind }))
    }

    /// The path of the first `elements` elements; the whole if it has no more.
    pub fn first(self, elements: usize) -> Self {
        let mut rest = self;
        for _ in 0..elements {
            let Some((_, behind)) = rest.split_first() else { return self };
            rest = behind;
        }
        let len = self.bytes.len() - rest.bytes.len();
        Self { bytes: self.bytes.get(..len).unwrap_or_default() }
    }

    /// The path without its first `count` elements; nothing is left if there are no more.
    pub fn without(self, count: usize) -> Self {
        let front = self.first(count).bytes.len();
        Self { bytes: self.bytes.get(front..).unwrap_or_default() }
    }

    /// How many elements this path has in common, from the front, with the path whose byte form is `other`; and what follows them.
    pub fn beyond(self, other: &[u8]) -> (usize, Self) {
        let (mut rest, mut other, mut count) = (self.bytes, other, 0);
        while let Some(len) = element::len(rest)
            && let Some((first, behind)) = rest.split_at_checked(len)
            && let Some(others) = other.strip_prefix(first)
        {
            (rest, other) = (behind, others);
            count += 1;
        }
        (count, Self { bytes: rest })
    }

    /// Where its elements end in the byte form, one after another.
    pub(crate) fn ends(self) -> impl Iterator<Item = usize> + 'a {
        let mut end = 0;
        std::iter::from_fn(move || {
            end += element::len(self.bytes.get(end..)?)?;
            Some(end)
        })
    }

    /// The path of its first elements, which [end](Self::ends) there.
    pub(crate) fn until(self, end: usize) -> Option<Self> {
        self.bytes.get(..end).map(PathRef::known)
    }

    /// Whether the first element is null: internal data.
    pub fn is_internal(self) -> bool {
        self.bytes.first() == Some(&element::tag::NULL)
    }

    /// Appends the elements, joined by `separator`, if all of them are strings: a topic from a path.
    /// Answers whether they were; if not, `out` is as it was.
    pub fn join_strs(self, separator: char, out: &mut String) -> bool {
        let start = out.len();
        let mut rest = self.bytes;
        while !rest.is_empty() {
            if rest.len() != self.bytes.len() {
                out.push(separator);
            }
            let Some(len) = element::push_text(rest, out) else {
                out.truncate(start);
                return false;
            };
            rest = rest.get(len..).unwrap_or_default();
        }
        true
    }
}

impl<'a> From<&'a Path> for PathRef<'a> {
    fn from(path: &'a Path) -> Self {
        path.as_path()
    }
}

impl fmt::Display for PathRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        text::print(*self, f)
    }
}

impl fmt::Debug for PathRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        text::print(*self, f)
    }
}

/// The elements of a path, in order.
#[derive(Clone, Debug)]
pub struct Elements<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Elements<'a> {
    type Item = Element<'a>;

    fn next(&mut self) -> Option<Element<'a>> {
        let (element, len) = element::decode(self.rest)?;
        self.rest = self.rest.get(len..).unwrap_or_default();
        Some(element)
    }
}

/// Builds a path in a buffer that can be used again: no allocation per element, none per path once it is warm.
///
/// After an error the builder holds what it held before the call.
#[derive(Clone, Debug, Default)]
pub struct PathBuilder {
    bytes: Vec<u8>,
    elements: usize,
}

impl PathBuilder {
    /// Begins at the root.
    pub fn new() -> Self {
        Self::default()
    }

    /// Begins with the elements of `path`.
    pub fn below(path: PathRef<'_>) -> Self {
        Self { bytes: path.bytes.to_vec(), elements: path.len() }
    }

    /// Begins again with the elements of `path`, keeping the buffer.
    pub fn restart(&mut self, path: PathRef<'_>) {
        self.bytes.clear();
        self.bytes.extend_from_slice(path.bytes);
        self.elements = path.len();
    }

    /// Appends a string.
    pub fn push_str(&mut self, name: &str) -> Result<(), PathError> {
        let before = self.bytes.len();
        element::append_str(&mut self.bytes, element::tag::STR, name.as_bytes());
        self.pushed(before)
    }

    /// Appends each part of `text` between separators as a string: `a//b` gives `a`, an empty string, `b`; an empty text
    /// gives one empty string.
    pub fn push_split(&mut self, text: &str, separator: char) -> Result<(), PathError> {
        let (bytes, elements) = (self.bytes.len(), self.elements);
        for name in text.split(separator) {
            if let Err(error) = self.push_str(name) {
                self.bytes.truncate(bytes);
                self.elements = elements;
                return Err(error);
            }
        }
        Ok(())
    }

    /// Appends an element.
    pub fn push(&mut self, element: &Element<'_>) -> Result<(), PathError> {
        let before = self.bytes.len();
        if let Err(error) = element::append(&mut self.bytes, element, 0) {
            self.bytes.truncate(before);
            return Err(error);
        }
        self.pushed(before)
    }

    /// Where it stands now, for [`PathBuilder::return_to`].
    pub fn mark(&self) -> BuilderMark {
        BuilderMark { bytes: self.bytes.len(), elements: self.elements }
    }

    /// Takes back what was appended since `mark` was taken.
    pub fn return_to(&mut self, mark: BuilderMark) {
        self.bytes.truncate(mark.bytes);
        self.elements = self.elements.min(mark.elements);
    }

    /// Appends all elements of a path.
    pub fn push_path(&mut self, path: PathRef<'_>) -> Result<(), PathError> {
        let elements = self.elements + path.len();
        if elements > MAX_ELEMENTS {
            return Err(PathError::TooDeep);
        }
        if self.bytes.len() + path.bytes.len() > MAX_BYTES {
            return Err(PathError::TooLong);
        }
        self.bytes.extend_from_slice(path.bytes);
        self.elements = elements;
        Ok(())
    }

    /// What has been built so far.
    pub fn as_path(&self) -> PathRef<'_> {
        PathRef { bytes: &self.bytes }
    }

    /// A path of its own from what has been built.
    pub fn finish(&self) -> Path {
        self.as_path().to_path()
    }

    fn pushed(&mut self, before: usize) -> Result<(), PathError> {
        let error = if self.elements == MAX_ELEMENTS {
            PathError::TooDeep
        } else if self.bytes.len() > MAX_BYTES {
            PathError::TooLong
        } else {
            self.elements += 1;
            return Ok(());
        };
        self.bytes.truncate(before);
        Err(error)
    }
}

/// A place in a [`PathBuilder`].
#[derive(Clone, Copy, Debug)]
pub struct BuilderMark {
    bytes: usize,
    elements: usize,
}

#[cfg(test)]
mod tests;
