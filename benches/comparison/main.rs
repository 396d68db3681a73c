//! The comparison with other brokers: the same scenarios, round after round, each against every server in turn, and a table of
//! the ratios. Run it by `benches/compare`.

mod results;
mod scenarios;
mod servers;

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Parser;

use self::results::Results;
use self::scenarios::Scenario;
use self::servers::Kind;

/// Compare DistKV with mosquitto and rumqttd
#[derive(Debug, Parser)]
struct Options {
    /// Rounds; the table has the medians
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Multiply the numbers of messages, connections and filters by this
    #[arg(long, default_value_t = 1.0)]
    scale: f64,
    /// Only scenarios whose names contain one of these; may be given more than once
    #[arg(long)]
    only: Vec<String>,
    /// No scenarios whose names contain one of these; may be given more than once
    #[arg(long)]
    without: Vec<String>,
    /// Only these servers; may be given more than once
    #[arg(long, value_enum)]
    server: Vec<Kind>,
    /// Measure this program as DistKV; the load tool stays that of this build
    #[arg(long, value_name = "PROGRAM")]
    distkv: Option<PathBuf>,
    /// Where the table is written; `-` only prints it
    #[arg(long, default_value = "benches/RESULTS.md")]
    out: PathBuf,
    /// List the scenarios and leave
    #[arg(long)]
    list: bool,
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let scenarios: Vec<Scenario> = scenarios::all(options.scale)
        .into_iter()
        .filter(|scenario| {
            let named = |words: &[String]| words.iter().any(|word| scenario.name.contains(word.as_str()));
            (options.only.is_empty() || named(&options.only)) && !named(&options.without)
        })
        .collect();
    if options.list {
        scenarios.iter().for_each(|scenario| println!("{:<28} {}", scenario.name, scenario.description));
        return Ok(());
    }
    let kinds = if options.server.is_empty() { Kind::ALL.to_vec() } else { options.server.clone() };
    let programs = servers::Programs::find(&kinds, options.distkv.as_deref())?;
    let mut results = Results::new(options.rounds, options.scale, &programs);
    for round in 1..=options.rounds {
        for scenario in &scenarios {
            for &kind in kinds.iter().filter(|kind| scenario.is_for(**kind)) {
                eprint!("round {round}/{}  {:<28} {kind:<10} ", options.rounds, scenario.name);
                let outcome = match scenario.impossible_for(kind) {
                    Some(reason) => Err(reason.to_owned()),
                    None => scenario.run(kind, &programs).map_err(|error| format!("{error:#}")),
                };
                match &outcome {
                    Ok(figures) => eprintln!(
                        "{}",
                        figures.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
                    ),
                    Err(reason) => eprintln!("{reason}"),
                }
                results.add(scenario, kind, outcome);
            }
        }
    }
    let table = results.table();
    if options.out != Path::new("-") {
        std::fs::write(&options.out, &table)
            .with_context(|| format!("can't write {}", options.out.display()))?;
    }
    print!("{table}");
    Ok(())
}
