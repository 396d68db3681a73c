//! Writes a message straight into a buffer, field by field.

use distkv_store::chain::Version;
use distkv_store::path::PathRef;
use distkv_store::value::{Packer, Token, Tokens};

use super::{PathForm, Seq, chain};

/// A message under construction at the end of a buffer. It is whole after every field; at most 15 of them fit.
#[derive(Debug)]
pub struct Writer<'o> {
    out: &'o mut Vec<u8>,
    start: usize,
}

impl<'o> Writer<'o> {
    /// Begins a message behind what the buffer holds.
    pub fn new(out: &'o mut Vec<u8>) -> Self {
        let start = out.len();
        out.push(0x80);
        Self { out, start }
    }

    /// Begins a field: one value must be packed.
    pub fn key(&mut self, name: &str) -> Packer<'_> {
        if let Some(head) = self.out.get_mut(self.start) {
            debug_assert!(*head < 0x8F, "a message of more than 15 fields");
            *head += 1;
        }
        let mut pack = Packer(self.out);
        pack.str(name);
        pack
    }

    /// A string.
    pub fn str(&mut self, name: &str, text: &str) -> &mut Self {
        self.key(name).str(text);
        self
    }

    /// A number.
    pub fn uint(&mut self, name: &str, number: u64) -> &mut Self {
        self.key(name).uint(number);
        self
    }

    /// A boolean.
    pub fn bool(&mut self, name: &str, it: bool) -> &mut Self {
        self.key(name).bool(it);
        self
    }

    /// Nil.
    pub fn nil(&mut self, name: &str) -> &mut Self {
        self.key(name).nil();
        self
    }

    /// A byte string.
    pub fn bin(&mut self, name: &str, bytes: &[u8]) -> &mut Self {
        self.key(name).bin(bytes);
        self
    }

    /// A value that is encoded already.
    pub fn raw(&mut self, name: &str, encoded: &[u8]) -> &mut Self {
        self.key(name).raw(encoded);
        self
    }

    /// The number that ties the message to a request.
    pub fn seq(&mut self, seq: &Seq) -> &mut Self {
        match seq {
            Seq::Int(number) => self.key("seq").int(*number),
            Seq::Other(raw) => self.key("seq").raw(raw),
        }
        self
    }

    /// A path.
    pub fn path(&mut self, name: &str, path: PathRef<'_>, form: PathForm) -> &mut Self {
        match form {
            PathForm::Ext => self.key(name).path(path),
            PathForm::Array => self.key(name).path_array(path),
        }
        self
    }

    /// The chain of a version, cut at `length` links; nothing if that is 0.
    pub fn chain(&mut self, version: &Version, length: usize) -> &mut Self {
        if length > 0 {
            chain::write_chain(self.key("chain").0, version, length);
        }
        self
    }

    /// The chain of a version as fields of this message: `node`, `tick`, `prev`.
    pub fn flat_chain(&mut self, version: &Version, length: usize) -> &mut Self {
        let mut chain = Vec::new();
        chain::write_chain(&mut chain, version, length.max(1));
        let mut tokens = Tokens::new(&chain);
        let count = match tokens.next() {
            Some(Token::Map(count)) => count,
            _ => 0,
        };
        for _ in 0..count {
            let (key, value) = (tokens.next(), tokens.whole());
            if let (Some(Token::Str(key)), Ok(value)) = (key, value) {
                self.raw(key, value);
            }
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_whole_after_every_field() {
        let mut out = vec![0xC0];
        let mut message = Writer::new(&mut out);
        message.seq(&Seq::Int(-1)).uint("a", 300).nil("b");
        assert_eq!(out, b"\xc0\x83\xa3seq\xff\xa1a\xcd\x01\x2c\xa1b\xc0");
    }

    #[test]
    fn paths_have_two_forms() {
        let path: distkv_store::path::Path = "a:1".parse().unwrap();
        let mut out = Vec::new();
        Writer::new(&mut out).path("p", path.as_path(), PathForm::Ext);
        assert_eq!(out, b"\x81\xa1p\xc7\x03\x03\xa1a\x01");
        out.clear();
        Writer::new(&mut out).path("p", path.as_path(), PathForm::Array);
        assert_eq!(out, b"\x81\xa1p\x92\xa1a\x01");
    }
}
