//! Writes msgpack, each thing in its shortest form.

use super::{EXT_BIG, EXT_PATH};
use crate::path::{Element, PathRef};

/// Appends msgpack to a buffer.
#[derive(Debug)]
pub struct Packer<'a>(
    /// The buffer.
    pub &'a mut Vec<u8>,
);

/// The size of the head of a string of that length.
pub(super) fn str_header(len: usize) -> usize {
    match len {
        0..=31 => 1,
        32..=0xFF => 2,
        0x100..=0xFFFF => 3,
        _ => 5,
    }
}

/// The size of the head of a byte string of that length.
pub(super) fn bin_header(len: usize) -> usize {
    match len {
        0..=0xFF => 2,
        0x100..=0xFFFF => 3,
        _ => 5,
    }
}

impl Packer<'_> {
    /// Nil.
    pub fn nil(&mut self) {
        self.0.push(0xC0);
    }

    /// A boolean.
    pub fn bool(&mut self, it: bool) {
        self.0.push(0xC2 + u8::from(it));
    }

    /// An unsigned integer.
    pub fn uint(&mut self, it: u64) {
        match it {
            0..=0x7F => self.0.push(it as u8),
            0x80..=0xFF => self.head(0xCC, it, 1),
            0x100..=0xFFFF => self.head(0xCD, it, 2),
            0x1_0000..=0xFFFF_FFFF => self.head(0xCE, it, 4),
            _ => self.head(0xCF, it, 8),
        }
    }

    /// An integer.
    pub fn int(&mut self, it: i64) {
        match it {
            0.. => self.uint(it.unsigned_abs()),
            -0x20..0 => self.0.push(it as u8),
            -0x80..-0x20 => self.head(0xD0, it.cast_unsigned(), 1),
            -0x8000..-0x80 => self.head(0xD1, it.cast_unsigned(), 2),
            -0x8000_0000..-0x8000 => self.head(0xD2, it.cast_unsigned(), 4),
            _ => self.head(0xD3, it.cast_unsigned(), 8),
        }
    }

    /// A float.
    pub fn float(&mut self, it: f64) {
        self.head(0xCB, it.to_bits(), 8);
    }

    /// A string.
    pub fn str(&mut self, text: &str) {
        let len = text.len() as u64;
        match str_header(text.len()) {
            1 => self.0.push(0xA0 | len as u8),
            2 => self.head(0xD9, len, 1),
            3 => self.head(0xDA, len, 2),
            _ => self.head(0xDB, len, 4),
        }
        self.0.extend_from_slice(text.as_bytes());
    }

    /// A byte string.
    pub fn bin(&mut self, bytes: &[u8]) {
        let len = bytes.len() as u64;
        match bin_header(bytes.len()) {
            2 => self.head(0xC4, len, 1),
            3 => self.head(0xC5, len, 2),
            _ => self.head(0xC6, len, 4),
        }
        self.0.extend_from_slice(bytes);
    }

    /// The head of an array; so many values must follow.
    pub fn array(&mut self, len: u32) {
        match len {
            0..=15 => self.0.push(0x90 | len as u8),
            16..=0xFFFF => self.head(0xDC, len.into(), 2),
            _ => self.head(0xDD, len.into(), 4),
        }
    }

    /// The head of a map; so many pairs of key and value must follow.
    pub fn map(&mut self, len: u32) {
        match len {
            0..=15 => self.0.push(0x80 | len as u8),
            16..=0xFFFF => self.head(0xDE, len.into(), 2),
            _ => self.head(0xDF, len.into(), 4),
        }
    }

    /// An extension.
    pub fn ext(&mut self, kind: i8, content: &[u8]) {
        self.ext_head(kind, content.len());
        self.0.extend_from_slice(content);
    }

    fn ext_head(&mut self, kind: i8, len: usize) {
        match len {
            1 | 2 | 4 | 8 | 16 => self.0.push(0xD4 + len.trailing_zeros() as u8),
            0..=0xFF => self.head(0xC7, len as u64, 1),
            0x100..=0xFFFF => self.head(0xC8, len as u64, 2),
            _ => self.head(0xC9, len as u64, 4),
        }
        self.0.push(kind.cast_unsigned());
    }

    /// An encoded value, as it is.
    pub fn raw(&mut self, encoded: &[u8]) {
        self.0.extend_from_slice(encoded);
    }

    /// A path, as extension 3.
    pub fn path(&mut self, path: PathRef<'_>) {
        let start = self.0.len();
        for element in path.elements() {
            self.element(&element);
        }
        // Its length is known only now, and decides how long the head is.
        let len = self.0.len() - start;
        self.ext_head(EXT_PATH, len);
        self.0[start..].rotate_left(len);
    }

    /// A path, as an array.
    pub fn path_array(&mut self, path: PathRef<'_>) {
        self.array(path.len() as u32);
        for element in path.elements() {
            self.element(&element);
        }
    }

    /// A path's element.
    pub fn element(&mut self, element: &Element<'_>) {
        match element {
            Element::Null => self.nil(),
            Element::Bool(it) => self.bool(*it),
            Element::Int(it) => match (u64::try_from(*it), i64::try_from(*it)) {
                (Ok(it), _) => self.uint(it),
                (_, Ok(it)) => self.int(it),
                // No path holds such a number.
                _ => self.nil(),
            },
            Element::Big(magnitude) => self.ext(EXT_BIG, magnitude),
            Element::Float(it) => self.float(*it),
            Element::Bytes(it) => self.bin(it),
            Element::Str(it) => self.str(it),
            Element::List(items) => {
                self.array(items.len() as u32);
                for item in items {
                    self.element(item);
                }
            }
        }
    }

    /// A marker and the last `len` bytes of a number, big-endian.
    fn head(&mut self, marker: u8, number: u64, len: usize) {
        self.0.push(marker);
        self.0.extend(number.to_be_bytes().iter().skip(8 - len));
    }
}
