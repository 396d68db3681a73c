//! A masterless, versioned key-value store that every node holds whole. It knows nothing of MQTT.
//!
//! ```
//! use distkv_store::meta::Meta;
//! use distkv_store::path::{Path, Pattern};
//! use distkv_store::store::{Options, Store};
//! use distkv_store::ticks::NodeName;
//! use distkv_store::value::Value;
//! use distkv_store::view::Who;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! # let dir = dir.path();
//! let path: Path = "kitchen.light".parse()?;
//! let options = Options::new(NodeName::new("kitchen")?);
//! let (store, _) = Store::open(dir, options.clone(), &mut |_| {})?;
//! let view = store.view(Who::system());
//! view.set(path.as_path(), Value::string("on"), Meta::default(), None)?;
//! store.close()?;
//! # drop((store, view));
//!
//! // After a restart it is still there.
//! let (store, _) = Store::open(dir, options, &mut |_| {})?;
//! let view = store.view(Who::system());
//! let entry = view.get(path.as_path())?.ok_or("lost")?;
//! assert_eq!(entry.value, Some(Value::string("on")));
//!
//! // Everything below "kitchen", a slice at a time.
//! let mut cursor = view.cursor(Pattern::subtree("kitchen".parse::<Path>()?.as_path())?);
//! let mut found = Vec::new();
//! while !cursor.is_done() {
//!     view.slice(&mut cursor, 100, 1 << 16, &mut |path, _| found.push(path.to_string()));
//! }
//! assert_eq!(found, ["kitchen.light"]);
//! # Ok(())
//! # }
//! ```

pub mod access;
pub mod chain;
mod clock;
pub mod feed;
pub mod journal;
pub mod ledger;
pub mod meta;
pub mod path;
pub mod replica;
pub mod store;
pub mod ticks;
pub mod tree;
pub mod value;
pub mod view;
