//! Conflict records: what lost against a concurrent event is kept, as an internal entry.
//!
//! Its path is made from the loser's dot, so each loser has one record, whoever merges:
//! `[null, "conflict", NODE, LIFE, TICK]`. Its value is a map:
//!
//! | key | value |
//! |---|---|
//! | `path` | the path of the entry, as extension 3 |
//! | `value` | the loser's value; left out if the loser was a deletion |
//! | `meta` | the loser's meta map |
//! | `by` | the winner's dot: `[node, life, tick]` |

use crate::chain::Dot;
use crate::path::{Element, Path, PathRef};
use crate::tree::Entry;
use crate::value::{Packer, Value};

/// The second element of the paths of conflict records.
pub const CONFLICT: &str = "conflict";

/// Where the record about an event lies that has lost.
pub(super) fn path(loser: &Dot) -> Path {
    let path = Path::from_elements([
        Element::Null,
        Element::str(CONFLICT),
        Element::str(loser.origin.node().as_str()),
        Element::Int(loser.origin.life().0.into()),
        Element::Int(loser.tick.0.into()),
    ]);
    debug_assert!(path.is_ok(), "a path of five short elements keeps within all limits");
    path.unwrap_or_default()
}

/// Whether `path` is a conflict record's. Such entries are exempt from conflict detection.
pub(super) fn is_record(path: PathRef<'_>) -> bool {
    let mut elements = path.elements();
    path.is_internal() && elements.nth(1).is_some_and(|element| element == Element::str(CONFLICT))
}

/// The record's value.
pub(super) fn value(path: PathRef<'_>, loser: &Entry, winner: &Dot) -> Value {
    let mut out = Vec::new();
    let mut pack = Packer(&mut out);
    pack.map(3 + u32::from(loser.value.is_some()));
    pack.str("path");
    pack.path(path);
    if let Some(value) = &loser.value {
        pack.str("value");
        pack.raw(value.as_bytes());
    }
    pack.str("by");
    pack.array(3);
    pack.str(winner.origin.node().as_str());
    pack.uint(winner.origin.life().0);
    pack.uint(winner.tick.0);
    pack.str("meta");
    loser.meta.encode(&mut out);
    Value::packed(out)
}
