//! Paths as they travel: in two forms, and shortened by what the entry before had in common.

use distkv_store::path::{Path, PathBuilder, PathRef};
use distkv_store::value::{ValueError, path_into};

/// The two forms of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathForm {
    /// Extension 3.
    Ext,
    /// An array.
    Array,
}

/// Appends the elements of an encoded path, in either form, to `path`. After an error that is as it was.
pub fn read_path(raw: &[u8], path: &mut PathBuilder) -> Result<(), ValueError> {
    path_into(raw, path)
}

/// Cuts off what a path shares with the one before: only the number of these elements is sent, as `depth`.
#[derive(Clone, Debug, Default)]
pub struct Shortener {
    last: Vec<u8>,
}

impl Shortener {
    /// The number of elements shared with the path before, and what is left. Paths are relative to where the stream begins.
    pub fn shorten<'p>(&mut self, path: PathRef<'p>) -> (usize, PathRef<'p>) {
        let (depth, rest) = path.beyond(&self.last);
        self.last.clear();
        self.last.extend_from_slice(path.as_bytes());
        (depth, rest)
    }
}

/// The inverse of [`Shortener`].
#[derive(Clone, Debug, Default)]
pub struct Lengthener {
    path: PathBuilder,
}

impl Lengthener {
    /// The whole path, relative to where the stream begins: `depth` elements of the path before, then the encoded path `rest`.
    pub fn lengthen(&mut self, depth: u64, rest: &[u8]) -> Result<Path, ValueError> {
        let shared = self.path.as_path().first(usize::try_from(depth).unwrap_or(usize::MAX)).to_path();
        let mut path = PathBuilder::below(shared.as_path());
        read_path(rest, &mut path)?;
        self.path = path;
        Ok(self.path.finish())
    }
}

#[cfg(test)]
mod tests {
    use distkv_store::path::Element;
    use proptest::prelude::*;

    use super::*;
    use crate::native::wire::Writer;

    fn path(names: &[u8]) -> Path {
        let element = |&name: &u8| match name {
            0 => Element::Int(1),
            1 => Element::Float(1.0),
            2 => Element::Bool(true),
            3 => Element::Bytes(b"x"[..].into()),
            4 => Element::List(vec![Element::Int(1), Element::str("x")]),
            5 => Element::Null,
            6 => Element::str("x"),
            _ => Element::str("xy"),
        };
        Path::from_elements(names.iter().map(element)).unwrap()
    }

    proptest! {
        #[test]
        fn what_was_shortened_is_lengthened_again(
            paths in prop::collection::vec(prop::collection::vec(0_u8..8, 0..6), 0..20),
            ext in any::<bool>(),
        ) {
            let (mut shortener, mut lengthener) = (Shortener::default(), Lengthener::default());
            let mut before = Path::root();
            for path in paths.iter().map(|names| path(names)) {
                let (depth, rest) = shortener.shorten(path.as_path());
                let shared = path.elements().zip(before.elements()).take_while(|(a, b)| a == b).count();
                prop_assert_eq!(depth, shared);
                let mut sent = Vec::new();
                Writer::new(&mut sent).path("p", rest, if ext { PathForm::Ext } else { PathForm::Array });
                // Behind the head of the map and the key.
                prop_assert_eq!(lengthener.lengthen(depth as u64, &sent[3..]).unwrap(), path.clone());
                before = path;
            }
        }
    }

    #[test]
    fn both_forms_are_read() {
        for raw in [&b"\xd5\x03\xa1a"[..], b"\x91\xa1a", b"\xc7\x02\x03\xa1a"] {
            let mut path = PathBuilder::new();
            read_path(raw, &mut path).unwrap();
            assert_eq!(path.finish(), "a".parse().unwrap());
        }
        for raw in [&b"\xa3a.b"[..], b"\x91\x80", b"\xc0", b"\xd5\x04\xa1a"] {
            let mut path = PathBuilder::new();
            assert!(read_path(raw, &mut path).is_err(), "{raw:x?}");
            assert!(path.as_path().is_root());
        }
    }
}
