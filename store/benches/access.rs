//! What a check of rights costs, with 1 000 rules, in nanoseconds of processor time: when the view remembers the path, when it does
//! not, and when the user has no limits.
//!
//! `cargo bench -p distkv-store --bench access`. The figures depend on the machine; they are printed, never asserted.

use std::error::Error;
use std::hint::black_box;

use distkv_store::access::{Names, Right, Rights, users};
use distkv_store::meta::Meta;
use distkv_store::path::{Path, PathRef};
use distkv_store::store::{Durability, Options, Store};
use distkv_store::ticks::NodeName;
use distkv_store::value::Value;
use distkv_store::view::Who;

const RULES: usize = 1000;
const CHECKS: usize = 2_000_000;
const CHANGES: usize = 10_000;

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options { durability: Durability::Memory, ..Options::new(NodeName::new("bench")?) };
    let (store, _) = Store::open("".as_ref(), options, &mut |_| {})?;
    let system = store.view(Who::system());
    let set = |path: &Path, value| system.set(path.as_path(), value, Meta::default(), None).map(drop);
    for rule in 0..RULES {
        let pattern: Path = match rule % 4 {
            0 => format!("building.{rule}.floor.+.room.#"),
            1 => format!("building.{rule}.#.temperature"),
            2 => format!("building.+.floor.{rule}.#"),
            _ => format!("user.%u.{rule}.+"),
        }
        .parse()?;
        let rule = users::rule_path(PathRef::NULL, "std", pattern.as_path())?;
        set(&rule, Value::string("rwdcxen"))?;
    }
    let record = users::path(PathRef::NULL, "password", "ann")?;
    set(&record, users::record(&[], false, None))?;
    set(&record.child(&distkv_store::path::Element::str("acl"))?, users::key("std"))?;
    let user = store.access().find("ann", "password").ok_or("no user")?;
    let view = store.view(Who::login(user));

    let paths = (0..4096)
        .map(|number| {
            format!("building.{}.floor.{}.room.{number}.temperature", number % RULES, number % 7)
                .parse::<Path>()
        })
        .collect::<Result<Vec<_>, _>>()?;
    let few = paths.get(..32).unwrap_or_default();
    let read = |paths: &[Path], check: &dyn Fn(&Path) -> bool| -> Result<(u64, usize), Box<dyn Error>> {
        let start = processor_nanos()?;
        let mut allowed = 0;
        for path in paths.iter().cycle().take(CHECKS) {
            allowed += usize::from(black_box(check(black_box(path))));
        }
        Ok(((processor_nanos()? - start) / CHECKS as u64, allowed))
    };
    let acl = store.access().acl(&Path::root(), "std").ok_or("no list")?;
    let names = Names::new(Some("ann"), None)?;
    let system_check = |path: &Path| system.may(path.as_path(), Right::Read);
    let check = |path: &Path| view.may(path.as_path(), Right::Read);
    let cold = |path: &Path| acl.grant(path.as_path(), &names).may(Right::Read);
    for (name, (nanos, allowed)) in [
        ("without limits", read(few, &system_check)?),
        ("remembered", read(few, &check)?),
        ("looked up", read(&paths, &cold)?),
        ("not remembered", read(&paths, &check)?),
    ] {
        println!("{nanos:6} ns a check, {name} ({allowed} of {CHECKS} allowed)");
    }

    let rule = users::rule_path(PathRef::NULL, "std", "building.x".parse::<Path>()?.as_path())?;
    let start = processor_nanos()?;
    for number in 0..CHANGES {
        let rights: Rights = if number % 2 == 0 { "r".parse()? } else { Rights::NONE };
        set(&rule, Value::string(&rights.to_string()))?;
        black_box(check(few.first().ok_or("no path")?));
    }
    println!("{:6} ns to change a rule and check again", (processor_nanos()? - start) / CHANGES as u64);
    Ok(())
}

/// The processor time of this thread: other load on the machine disturbs it less than the clock.
fn processor_nanos() -> Result<u64, Box<dyn Error>> {
    let line = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    Ok(line.split_whitespace().next().unwrap_or_default().parse()?)
}
