//! The files of the original program: snapshots (`save`) and event logs (`log`). We write both, and read both, ours and the original's.
//!
//! Both are msgpack maps, one after another:
//!
//! | record | fields |
//! |---|---|
//! | state | `nodes`: name → number of the last event; `known`, `deleted`: name → ranges; `node`, `tock` |
//! | entry | `value`, `chain`, `tock`, `path`, `depth` |
//! | change | `node`, `tick`, `prev`, `path`, `depth`, `value` (none: deleted), `tock` |
//!
//! A range is a number, or a pair: from, and up to but not with. `known` are events which were replaced, `deleted` such as are deletions.
//! `depth` is how many elements a path shares with the one in the record before; `path` is the rest. A snapshot has entries, a log has
//! changes (and entries before them, if it was to begin with what was there). The state stands at the beginning, and in a log again now
//! and then.
//!
//! These nodes know no lives: all their events are taken in as of life 0.
//!
//! One thing differs from what the original writes. It reads a deletion in a log as a state, so its idea of the path before is wrong from then on;
//! in our logs the record behind a deletion therefore has a whole path.

mod events;
mod folder;
mod load;
mod log;
mod reader;
mod record;
mod save;
mod sink;

pub use events::{Events, EventsError};
pub use folder::{Folder, FolderError};
pub use load::{LoadError, Loaded, load};
pub use log::{EventLog, LogError, LogFigures, LogWriter};
pub use reader::ReadError;
pub use save::{SaveError, Saved, save};

#[cfg(test)]
mod tests;
