//! What a commit costs: writes of 200-byte values, with and without a journal, in nanoseconds of the writer's processor time.
//!
//! `cargo bench -p distkv-store --bench commit`. The figures depend on the machine; they are printed, never asserted.

use std::error::Error;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;

use distkv_store::meta::Meta;
use distkv_store::path::{Path, PathRef, Pattern};
use distkv_store::store::{Durability, JournalFailed, Lsn, Options, Store};
use distkv_store::ticks::NodeName;
use distkv_store::value::Value;
use distkv_store::view::Who;

const ENTRIES: usize = 100_000;
const WRITES: usize = 2_000_000;
/// How many writes are acknowledged together, as by a connection that reads many packets at once.
const BATCH: usize = 64;

fn main() -> Result<(), Box<dyn Error>> {
    for (name, durability) in [("memory", Durability::Memory), ("interval", Durability::Interval)] {
        let dir = tempfile::tempdir()?;
        let mut options = Options::new(NodeName::new("bench")?);
        options.durability = durability;
        let (store, _) = Store::open(dir.path(), options, &mut |_| {})?;
        overwrite(&store, name)?;
        store.close()?;
    }
    Ok(())
}

fn overwrite(store: &Store, name: &str) -> Result<(), Box<dyn Error>> {
    let view = store.view(Who::system());
    let paths = (0..ENTRIES)
        .map(|number| Path::from_strs(["building", "device", &number.to_string()]))
        .collect::<Result<Vec<_>, _>>()?;
    let value = vec![b'x'; 198];
    let mut place = 1_usize;
    for round in ["new", "overwrite"] {
        let writes = if round == "new" { ENTRIES } else { WRITES };
        let start = processor_nanos()?;
        for number in 0..writes {
            // A walk that visits all entries in no order.
            place = (place + 7919) % ENTRIES;
            let committed =
                view.set(paths[place].as_path(), Value::binary(&value), Meta::default().with_qos(1), None)?;
            if number % BATCH == 0 {
                settle(store, committed.lsn)?;
            }
        }
        let nanos = (processor_nanos()? - start) / writes as u64;
        println!("{name:>9}: {nanos:6} ns to write an entry ({round})");
    }
    let start = processor_nanos()?;
    let mut cursor = view.cursor(Pattern::subtree(PathRef::from(&Path::root()))?);
    let mut read = 0_u64;
    while !cursor.is_done() {
        view.slice(&mut cursor, 256, 1 << 20, &mut |_, _| read += 1);
    }
    println!("{name:>9}: {:6} ns to read an entry", (processor_nanos()? - start) / read);
    let stats = store.stats();
    println!(
        "{name:>9}: {} snapshots, {} writes and {} syncs of the journal, longest slice {:?}",
        stats.snapshots.taken, stats.journal.writes, stats.journal.syncs, stats.snapshots.longest_slice
    );
    Ok(())
}

/// The processor time of this thread: other load on the machine disturbs it less than the clock.
fn processor_nanos() -> Result<u64, Box<dyn Error>> {
    let line = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    Ok(line.split_whitespace().next().unwrap_or_default().parse()?)
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn settle(store: &Store, lsn: Lsn) -> Result<(), JournalFailed> {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    loop {
        match store.poll_settled(lsn, &mut Context::from_waker(&waker)) {
            Poll::Ready(result) => return result,
            Poll::Pending => std::thread::park(),
        }
    }
}
