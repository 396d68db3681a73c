//! Chains as they travel: `{node, tick, prev: CHAIN}`, the newest event first. `prev: nil` marks the end, no `prev` that it was cut.

use distkv_store::chain::{Dot, Version};
use distkv_store::value::{Packer, Token, Tokens};
use smallvec::SmallVec;

use super::fields::Fault;

/// The most links that are sent, or read. (Values nest only so deep.)
pub const CHAIN_MAX: usize = 32;

/// One link of a chain: an event's name, as people know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link<'a> {
    /// The node that made it.
    pub node: &'a str,
    /// That node's number for it. `None` in a request: the latest one.
    pub tick: Option<u64>,
}

/// Reads a chain; nil is an empty one. It reads at most [`CHAIN_MAX`] links.
pub fn read_chain<'a>(raw: &'a [u8], field: &'static str) -> Result<Vec<Link<'a>>, Fault> {
    let bad = Fault::Type { field, expected: "a chain: a map with `node` and `tick`, or nil" };
    let mut links = Vec::new();
    let mut next = Some(raw);
    while let Some(raw) = next.take().filter(|_| links.len() < CHAIN_MAX) {
        let mut tokens = Tokens::new(raw);
        let count = match tokens.next() {
            Some(Token::Nil) => break,
            Some(Token::Map(count)) => count,
            _ => return Err(bad),
        };
        let (mut node, mut tick) = (None, None);
        for _ in 0..count {
            let (key, value) = (tokens.whole()?, tokens.whole()?);
            let value_token = Tokens::new(value).next();
            match (Tokens::new(key).next(), value_token) {
                (Some(Token::Str("node")), Some(Token::Str(name))) => node = Some(name),
                (Some(Token::Str("tick")), Some(Token::Int(number))) => {
                    tick = Some(u64::try_from(number).map_err(|_| bad.clone())?);
                }
                (Some(Token::Str("tick")), Some(Token::UInt(number))) => tick = Some(number),
                (Some(Token::Str("tick")), Some(Token::Nil)) => {}
                (Some(Token::Str("prev")), _) => next = Some(value),
                (Some(Token::Str("node" | "tick")), _) => return Err(bad),
                _ => {}
            }
        }
        links.push(Link { node: node.ok_or_else(|| bad.clone())?, tick });
    }
    Ok(links)
}

/// Writes the chain of a version: at most `length` links, each node once, as this protocol knows no lives of nodes.
pub(super) fn write_chain(out: &mut Vec<u8>, version: &Version, length: usize) {
    let length = length.min(CHAIN_MAX);
    let all: SmallVec<[&Dot; 8]> = version.chain().collect();
    let links: SmallVec<[&Dot; 8]> = all
        .iter()
        .enumerate()
        .filter(|(index, dot)| all.iter().take(*index).all(|newer| newer.origin.node() != dot.origin.node()))
        .map(|(_, dot)| *dot)
        .collect();
    let cut = links.len() > length;
    let shown = links.len().min(length);
    for (index, dot) in links.iter().take(length).enumerate() {
        let last = index + 1 == shown;
        let mut pack = Packer(out);
        pack.map(if last && cut { 2 } else { 3 });
        pack.str("node");
        pack.str(dot.origin.node().as_str());
        pack.str("tick");
        pack.uint(dot.tick.0);
        if !(last && cut) {
            pack.str("prev");
        }
        if last && !cut {
            pack.nil();
        }
    }
}

#[cfg(test)]
mod tests {
    use distkv_store::chain::{Dot, Origin};
    use distkv_store::ticks::{Life, NodeName, Tick, Tock};

    use super::*;

    fn dot(node: &str, life: u64, tick: u64) -> Dot {
        Dot { origin: Origin::new(NodeName::new(node).unwrap(), Life(life)), tick: Tick(tick) }
    }

    fn links(version: &Version, length: usize) -> Vec<(String, u64)> {
        let mut out = Vec::new();
        write_chain(&mut out, version, length);
        let links = read_chain(&out, "chain").unwrap();
        links.iter().map(|link| (link.node.to_owned(), link.tick.unwrap())).collect()
    }

    #[test]
    fn a_chain_is_read_as_it_was_written() {
        let tail = vec![dot("b", 2, 7), dot("a", 9, 3), dot("c", 3, 1)];
        let version = Version::from_parts(dot("a", 1, 9), Tock::new(20).unwrap(), tail, Vec::new()).unwrap();
        let all = vec![("a".to_owned(), 9), ("b".to_owned(), 7), ("c".to_owned(), 1)];
        assert_eq!(links(&version, usize::MAX), all);
        assert_eq!(links(&version, 2), all[..2]);
    }

    #[test]
    fn the_end_is_marked_and_a_cut_is_not() {
        let version = Version::first(dot("a", 1, 9), Tock::new(20).unwrap());
        let mut out = Vec::new();
        write_chain(&mut out, &version, 1);
        assert_eq!(out, b"\x83\xa4node\xa1a\xa4tick\x09\xa4prev\xc0");
        let longer = version.next(dot("b", 2, 1), Tock::new(21).unwrap(), 5);
        out.clear();
        write_chain(&mut out, &longer, 1);
        assert_eq!(out, b"\x82\xa4node\xa1b\xa4tick\x01");
    }

    #[test]
    fn requests_may_leave_the_tick_out_and_nothing_else() {
        assert_eq!(read_chain(b"\xc0", "chain"), Ok(vec![]));
        assert_eq!(read_chain(b"\x81\xa4node\xa1a", "chain"), Ok(vec![Link { node: "a", tick: None }]));
        for bad in [&b"\x81\xa4tick\x03"[..], b"\x92\xa1a\x03", b"\x82\xa4node\xa1a\xa4tick\xff"] {
            assert!(read_chain(bad, "chain").is_err(), "{bad:x?}");
        }
    }
}
