//! Patterns over paths, and how a scan in key order skips what can't match.

use super::element::{self, tag};
use super::{AFTER, Element, MAX_BYTES, MAX_ELEMENTS, PathError, PathRef};

/// One element of a [`Pattern`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PatternElement {
    /// This element: its byte form.
    Exact(Box<[u8]>),
    /// Any one element (`+`).
    One,
    /// One or more elements of any kind (`#`).
    Many,
}

/// What a scan does at a key: see [`Pattern::seek_into`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seek {
    /// The key matches.
    Match,
    /// Neither this key nor any other before the answered place matches.
    Skip,
    /// Neither this key nor any greater one matches.
    End,
}

/// Which paths are meant: exact elements and wildcards, `+` for one element and `#` for one or more, each as often as
/// one likes and at any place.
///
/// Options narrow or widen it: [`tail_may_be_empty`](Self::tail_may_be_empty), [`strings_only`](Self::strings_only),
/// [`hide`](Self::hide), [`hide_names`](Self::hide_names).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pattern {
    elements: Vec<PatternElement>,
    /// How many elements stand before the first `#`. From there on, elements can't be skipped by seeking.
    head: usize,
    /// The byte form of the exact elements at the front: every match begins with it.
    prefix: Vec<u8>,
    /// The bytes of all exact elements, for the limit.
    bytes: usize,
    tail_may_be_empty: bool,
    strings_only: bool,
    hidden: Vec<Hidden>,
}

/// A range of keys which the pattern does not see.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Hidden {
    /// Keys that begin so are hidden.
    prefix: Vec<u8>,
    /// The first place in the order of keys behind them.
    end: Vec<u8>,
}

impl Pattern {
    /// The empty pattern, which matches the root; elements are appended.
    pub fn new() -> Self {
        Self::default()
    }

    /// Matches nothing.
    pub fn nothing() -> Self {
        let mut pattern = Self::new();
        pattern.hide(PathRef::known(&[]));
        pattern
    }

    /// Matches `path` alone.
    pub fn exactly(path: PathRef<'_>) -> Result<Self, PathError> {
        let mut pattern = Self::new();
        for element in path.elements() {
            pattern.push(&element)?;
        }
        Ok(pattern)
    }

    /// Matches `path` and everything below it.
    pub fn subtree(path: PathRef<'_>) -> Result<Self, PathError> {
        let mut pattern = Self::exactly(path)?;
        pattern.push_many()?;
        pattern.tail_may_be_empty();
        Ok(pattern)
    }

    /// Reads the strings `+` and `#` among the elements of `path` as wildcards.
    pub fn from_path(path: PathRef<'_>) -> Result<Self, PathError> {
        let mut pattern = Self::new();
        for element in path.elements() {
            match &element {
                Element::Str(text) if text == "+" => pattern.push_one()?,
                Element::Str(text) if text == "#" => pattern.push_many()?,
                element => pattern.push(element)?,
            }
        }
        Ok(pattern)
    }

    /// Appends an element that must stand there.
    pub fn push(&mut self, element: &Element<'_>) -> Result<(), PathError> {
        let mut bytes = Vec::new();
        element::append(&mut bytes, element, 0)?;
        self.push_element(PatternElement::Exact(bytes.into()))
    }

    /// Appends a string that must stand there.
    pub fn push_str(&mut self, name: &str) -> Result<(), PathError> {
        let mut bytes = Vec::new();
        element::append_str(&mut bytes, tag::STR, name.as_bytes());
        self.push_element(PatternElement::Exact(bytes.into()))
    }

    /// Appends `+`: any one element.
    pub fn push_one(&mut self) -> Result<(), PathError> {
        self.push_element(PatternElement::One)
    }

    /// Appends `#`: one or more elements.
    pub fn push_many(&mut self) -> Result<(), PathError> {
        self.push_element(PatternElement::Many)
    }

    /// Lets a `#` at the end match zero elements, too, as it does in MQTT: `a.#` then matches `a`.
    pub fn tail_may_be_empty(&mut self) -> &mut Self {
        self.tail_may_be_empty = true;
        self
    }

    /// Matches only paths all of whose elements are strings.
    pub fn strings_only(&mut self) -> &mut Self {
        self.strings_only = true;
        self
    }

    /// Hides `path` and everything below it, whatever the elements say.
    pub fn hide(&mut self, path: PathRef<'_>) -> &mut Self {
        let prefix = path.as_bytes().to_vec();
        let end = after(&prefix);
        self.hidden.push(Hidden { prefix, end });
        self
    }

    /// Hides what lies below `parent` at string elements that begin with `start`, whatever the elements say.
    pub fn hide_names(&mut self, parent: PathRef<'_>, start: &str) -> &mut Self {
        let mut name = Vec::new();
        element::append_str(&mut name, tag::STR, start.as_bytes());
        name.pop();
        let prefix = [parent.as_bytes(), &name].concat();
        // The last byte is a tag or one of UTF-8 text: below 0xFF.
        let mut end = prefix.clone();
        if let Some(last) = end.last_mut() {
            *last += 1;
        }
        self.hidden.push(Hidden { prefix, end });
        self
    }

    /// This pattern with `to` in place of the exact elements `from` at its front: what it matches below `from`, the new one matches
    /// below `to`. `None` if it does not begin so.
    ///
    /// # Errors
    /// The pattern would be longer than a path.
    pub fn moved(&self, from: PathRef<'_>, to: PathRef<'_>) -> Result<Option<Self>, PathError> {
        if !self.prefix.starts_with(from.bytes) {
            return Ok(None);
        }
        let mut pattern = Self::exactly(to)?;
        for element in self.elements.iter().skip(from.len()) {
            pattern.push_element(element.clone())?;
        }
        pattern.tail_may_be_empty = self.tail_may_be_empty;
        pattern.strings_only = self.strings_only;
        for hidden in &self.hidden {
            let below = hidden.prefix.strip_prefix(from.bytes).zip(hidden.end.strip_prefix(from.bytes));
            if let Some((prefix, end)) = below {
                let (prefix, end) = ([to.bytes, prefix].concat(), [to.bytes, end].concat());
                pattern.hidden.push(Hidden { prefix, end });
            } else if from.bytes.starts_with(&hidden.prefix) {
                pattern.hide(to);
            }
        }
        Ok(Some(pattern))
    }

    /// The exact elements at the front, if a wildcard follows: where matches are looked for by listing.
    pub fn listed(&self) -> Option<PathRef<'_>> {
        (!self.is_exact()).then(|| PathRef::known(&self.prefix))
    }

    /// The elements.
    pub fn elements(&self) -> &[PatternElement] {
        &self.elements
    }

    /// The smallest place in the order of keys at which a match can stand: where a scan begins.
    pub fn start(&self) -> &[u8] {
        &self.prefix
    }

    /// The one path which can match, if there is but one.
    pub fn single(&self) -> Option<PathRef<'_>> {
        self.is_exact().then(|| PathRef::known(&self.prefix))
    }

    /// Whether `path` matches.
    pub fn matches(&self, path: PathRef<'_>) -> bool {
        matches!(self.look(path.as_bytes()), Look::Match)
    }

    /// Where a scan that stands at the key `path` goes on: see [`Seek`]. With [`Seek::Skip`] the place is put into `next`: a
    /// place in the order of keys, behind `path`, which need not be a path itself. Else `next` stays as it is.
    pub fn seek_into(&self, path: PathRef<'_>, next: &mut Vec<u8>) -> Seek {
        let key = path.as_bytes();
        let (start, end): (&[u8], &[u8]) = match self.look(key) {
            Look::Match => return Seek::Match,
            Look::End => return Seek::End,
            Look::Hidden(index) => match self.hidden.get(index) {
                Some(hidden) => (&hidden.end, &[]),
                None => return Seek::End,
            },
            Look::Step => (key, &[0]),
            Look::Inside(at, next) => (key.get(..at).unwrap_or_default(), next),
            Look::Behind(at) => (key.get(..at).unwrap_or_default(), &[AFTER]),
        };
        next.clear();
        next.extend_from_slice(start);
        next.extend_from_slice(end);
        Seek::Skip
    }

    fn is_exact(&self) -> bool {
        self.elements.iter().all(|element| matches!(element, PatternElement::Exact(_)))
    }

    fn push_element(&mut self, element: PatternElement) -> Result<(), PathError> {
        if self.elements.len() == MAX_ELEMENTS {
            return Err(PathError::TooDeep);
        }
        if let PatternElement::Exact(bytes) = &element {
            if self.bytes + bytes.len() > MAX_BYTES {
                return Err(PathError::TooLong);
            }
            self.bytes += bytes.len();
            if self.is_exact() {
                self.prefix.extend_from_slice(bytes);
            }
        }
        if self.head == self.elements.len() && element != PatternElement::Many {
            self.head += 1;
        }
        self.elements.push(element);
        Ok(())
    }

    /// Looks at a key: does it match, and if not, what is the next place where one could?
    fn look(&self, key: &[u8]) -> Look<'_> {
        if let Some(index) = self.hidden.iter().position(|hidden| key.starts_with(&hidden.prefix)) {
            return Look::Hidden(index);
        }
        let mut at = 0;
        // The end of the last element that stands at a `+`: the nearest place where a greater one is welcome.
        let mut open = None;
        for element in self.elements.iter().take(self.head) {
            let rest = key.get(at..).unwrap_or_default();
            let Some(len) = element::len(rest) else {
                return match element {
                    PatternElement::Exact(exact) => Look::Inside(at, exact),
                    _ => Look::Inside(at, self.least()),
                };
            };
            match element {
                PatternElement::Exact(exact) => {
                    let here = rest.get(..len).unwrap_or_default();
                    match here.cmp(exact) {
                        std::cmp::Ordering::Less => return Look::Inside(at, exact),
                        std::cmp::Ordering::Equal if self.not_a_string(rest).is_none() => {}
                        _ => return open.map_or(Look::End, Look::Behind),
                    }
                }
                _ => {
                    match self.not_a_string(rest) {
                        Some(Kind::Before) => return Look::Inside(at, self.least()),
                        // Nothing but other lists can follow below the same parent.
                        Some(Kind::Behind) => return open.map_or(Look::End, Look::Behind),
                        None => {}
                    }
                    open = Some(at + len);
                }
            }
            at += len;
        }
        let rest = key.get(at..).unwrap_or_default();
        match self.elements.get(self.head..) {
            None | Some([]) if rest.is_empty() => Look::Match,
            // The key goes on where the pattern has ended.
            None | Some([]) => open.map_or(Look::End, Look::Behind),
            Some(tail) => self.look_at_tail(tail, key, at),
        }
    }

    /// The part from the first `#` on. It welcomes every element, so a mismatch says nothing about the next key.
    fn look_at_tail(&self, tail: &[PatternElement], key: &[u8], start: usize) -> Look<'_> {
        let mut at = start;
        while self.strings_only && at < key.len() {
            let rest = key.get(at..).unwrap_or_default();
            match self.not_a_string(rest) {
                Some(Kind::Before) => return Look::Inside(at, self.least()),
                Some(Kind::Behind) => return Look::Behind(at),
                None => at += element::len(rest).unwrap_or(rest.len()),
            }
        }
        let rest = key.get(start..).unwrap_or_default();
        if rest.is_empty() {
            return if self.tail_may_be_empty && tail.len() == 1 {
                Look::Match
            } else {
                Look::Inside(start, self.least())
            };
        }
        if tail.len() == 1 || tail_matches(tail, rest, self.tail_may_be_empty) {
            Look::Match
        } else {
            Look::Step
        }
    }

    /// The least that an element at a wildcard can begin with.
    fn least(&self) -> &'static [u8] {
        if self.strings_only { &[tag::STR] } else { &[tag::NULL] }
    }

    /// If strings alone are wanted and the first element is none: on which side of the strings does it stand?
    fn not_a_string(&self, rest: &[u8]) -> Option<Kind> {
        match rest.first() {
            Some(&first) if self.strings_only && first < tag::STR => Some(Kind::Before),
            Some(&first) if self.strings_only && first > tag::STR => Some(Kind::Behind),
            _ => None,
        }
    }
}

enum Kind {
    Before,
    Behind,
}

enum Look<'p> {
    Match,
    /// The key lies in this hidden range.
    Hidden(usize),
    /// The next key may match.
    Step,
    /// The next match is not below the key's first bytes followed by these.
    Inside(usize, &'p [u8]),
    /// The next match lies behind everything that begins with the key's first bytes.
    Behind(usize),
    End,
}

/// The first place in the order of keys behind `path` and all that is below it.
fn after(path: &[u8]) -> Vec<u8> {
    let mut end = Vec::with_capacity(path.len() + 1);
    end.extend_from_slice(path);
    end.push(AFTER);
    end
}

/// Whether the elements in `key` match `tail`, which begins with `#`. Linear in key times tail: on a mismatch only the last
/// `#` takes one element more, since an earlier one gains nothing by doing so.
fn tail_matches(tail: &[PatternElement], key: &[u8], tail_may_be_empty: bool) -> bool {
    let (mut rest, mut wanted) = (key, tail);
    // The last `#`: the key behind what it has taken, and the pattern behind it.
    let mut retry: Option<(&[u8], &[PatternElement])> = None;
    loop {
        let next = element::len(rest).and_then(|len| Some((rest.get(..len)?, rest.get(len..)?)));
        let step = match (wanted.split_first(), next) {
            (None, None) => return true,
            (Some((PatternElement::Many, [])), None) if tail_may_be_empty => return true,
            (Some((PatternElement::Many, behind)), Some((_, after))) => {
                retry = Some((after, behind));
                Some((after, behind))
            }
            (Some((PatternElement::One, behind)), Some((_, after))) => Some((after, behind)),
            (Some((PatternElement::Exact(exact), behind)), Some((here, after))) if **exact == *here => {
                Some((after, behind))
            }
            // The key ended too early; taking more can only make it worse.
            (Some(_), None) => return false,
            _ => None,
        };
        (rest, wanted) = match (step, &mut retry) {
            (Some(step), _) => step,
            (None, Some((taken, behind))) => {
                let Some(len) = element::len(taken) else { return false };
                *taken = taken.get(len..).unwrap_or_default();
                (*taken, *behind)
            }
            (None, None) => return false,
        };
    }
}
