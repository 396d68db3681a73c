//! What a client may send, for the fuzzer: any bytes go into a session, and what comes out must make sense.

use std::cell::RefCell;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::task::{Context, Waker};

use distkv_broker::Broker;
use distkv_broker::hooks::memory::{MemoryHooks, NoLog};
use distkv_broker::limits::Limits;
use distkv_store::path::Path;
use distkv_store::store::{Durability, Options as StoreOptions, Quota, Store};
use distkv_store::ticks::NodeName;
use tokio::runtime::{Builder, Runtime};

use super::session::{Out, Session};
use super::wire::{Fields, Frames};
use super::{Face, Files, Options};
use crate::auth::checks::Bounds;
use crate::auth::logins::{Logins, Rules};
use crate::auth::password::Cost;
use crate::bridge::Bridge;
use crate::original::{EventLog, Folder};

/// The longest message of a session here.
const MESSAGE_BYTES: usize = 1 << 20;

/// How often what streams have to say is asked for at the end, and how often a server serves before there is a fresh one.
const ROUNDS: usize = 64;
const LIVES: usize = 256;

/// A server without sockets.
struct World {
    runtime: Runtime,
    face: Arc<Face>,
    store: Store,
    lives: usize,
}

thread_local! {
    static WORLD: RefCell<Option<World>> = const { RefCell::new(None) };
}

impl World {
    /// `None` if the system gives no threads or random numbers.
    fn new() -> Option<Self> {
        let runtime = Builder::new_current_thread().enable_all().build().ok()?;
        let node = NodeName::new("s1").ok()?;
        let options = StoreOptions { durability: Durability::Memory, ..StoreOptions::new(node) };
        let (store, _) = Store::open("nowhere".as_ref(), options, &mut |_| ()).ok()?;
        store.set_quota(Quota { entries: 1000, bytes: 1 << 20 });
        let broker = Arc::new(Broker::new(Limits::default(), Arc::new(MemoryHooks::new()), Arc::new(NoLog)));
        let bounds = Bounds { cost: Cost { memory_kib: 8, passes: 1, lanes: 1 }, parallel: 1, queue: 1 };
        let rules = Rules { bounds, anonymous_acl: "anonymous".into(), allow_test: true };
        let logins = Arc::new(Logins::new(store.clone(), rules, None).ok()?);
        let folder = Folder::new(None);
        let bridge = Bridge::new(store.clone(), Path::root(), Arc::clone(&logins)).ok()?;
        let (log, _writer) = EventLog::new(store.clone(), folder.clone());
        let options = Options { message_bytes: MESSAGE_BYTES, streams: 16, ..Options::default() };
        let face = Face::new("s1", store.clone(), (broker, bridge), logins, Files { folder, log }, options);
        Some(Self { runtime, face: Arc::new(face), store, lives: 0 })
    }
}

/// Puts `data` into a session as what a client sends, in pieces whose length the first byte tells.
///
/// # Panics
/// If what comes out is no sequence of messages, or there is no end to it.
pub fn check_session(data: &[u8]) {
    let Some((&first, bytes)) = data.split_first() else { return };
    WORLD.with_borrow_mut(|place| {
        if place.as_ref().is_none_or(|world| world.lives >= LIVES || world.face.logins.are_on()) {
            *place = World::new();
        }
        let Some(world) = place else { return };
        world.lives += 1;
        let _inside = world.runtime.enter();
        let peer = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        let mut client = Client {
            session: Session::new(Arc::clone(&world.face), peer),
            out: Out::default(),
            frames: Frames::new(MESSAGE_BYTES),
            input: Vec::new(),
        };
        client.session.greet(&mut client.out);
        for piece in bytes.chunks(usize::from(first) + 1) {
            if !client.send(piece) {
                break;
            }
        }
        for _ in 0..ROUNDS {
            // What takes a while goes on meanwhile.
            world.runtime.block_on(tokio::task::yield_now());
            client.take();
        }
        assert!(world.store.counts().values <= 1000, "more than the quota");
    });
}

/// A client, as far as its connection goes.
struct Client {
    session: Session,
    out: Out,
    frames: Frames,
    input: Vec<u8>,
}

impl Client {
    /// Answers whether the connection stands.
    fn send(&mut self, piece: &[u8]) -> bool {
        self.input.extend_from_slice(piece);
        loop {
            if self.session.is_busy() {
                return true;
            }
            match self.session.take_first(&self.input, &mut self.frames, &mut self.out) {
                Ok(Some(len)) => {
                    self.input.drain(..len);
                    self.take();
                }
                Ok(None) => return true,
                Err(error) => {
                    self.session.refuse(None, &error.into(), &mut self.out);
                    self.take();
                    return false;
                }
            }
            if self.out.is_closing() {
                return false;
            }
        }
    }

    /// Reads what the server says.
    fn take(&mut self) {
        self.session.pump(&mut Context::from_waker(Waker::noop()), &mut self.out);
        self.session.recheck(&mut self.out);
        let mut frames = Frames::new(usize::MAX >> 1);
        let mut rest = &self.out.bytes[..];
        while !rest.is_empty() {
            let len = match frames.next(rest) {
                Ok(Some(len)) => len,
                other => panic!("no message but {other:?}: {rest:x?}"),
            };
            let (message, behind) = rest.split_at(len);
            if let Err(bad) = Fields::parse(message) {
                panic!("{bad}: {message:x?}");
            }
            rest = behind;
        }
        self.out.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;

    use super::*;

    /// The inputs that are kept for the fuzzer.
    fn corpus() -> Vec<Vec<u8>> {
        let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus/native");
        let files = fs::read_dir(directory).unwrap().map(|file| fs::read(file.unwrap().path()).unwrap());
        let mut all: Vec<Vec<u8>> = files.collect();
        all.sort();
        all
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]

        #[test]
        fn what_has_gone_wrong_on_its_way_does_no_harm(
            which in any::<prop::sample::Index>(),
            edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..12),
            cut in any::<prop::sample::Index>(),
            pieces in any::<u8>(),
        ) {
            let corpus = corpus();
            let mut data = which.get(&corpus).clone();
            for (place, byte) in edits {
                let at = place.index(data.len());
                data[at] = byte;
            }
            data[0] = pieces;
            data.truncate(cut.index(data.len()).max(data.len() / 2));
            check_session(&data);
        }
    }
}
