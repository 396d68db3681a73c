//! Measures the native port: against Redis (Debian's package) where that has the like, against goals elsewhere. `benches/native-compare` builds
//! and runs it. What counts is the CPU time of the server, which is much the same on a busy machine and on a quiet one.

mod load;
mod server;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use anyhow::{Context as _, bail};
use clap::Parser;
use distkv::client::{Client, Options};
use distkv_store::value::{Token, Tokens};

use load::{Ask, CONNECTIONS, Connection, KEYS, PIPELINE, Protocol, field};
use server::Server;

/// Measure the native port
#[derive(Debug, Parser)]
struct Args {
    /// Multiply all numbers of requests and entries
    #[arg(long, default_value_t = 1.0)]
    scale: f64,
    /// Write the table to this file
    #[arg(long, default_value = "benches/RESULTS-native.md")]
    out: PathBuf,
    /// Measure this build of DistKV
    #[arg(long, default_value = "target/release/distkv")]
    distkv: PathBuf,
    /// Measure only the scenarios whose name has this in it
    #[arg(long, default_value = "")]
    only: String,
}

/// One line of the table.
struct Row {
    name: &'static str,
    measured: String,
    /// What is to be compared with the goal, and the goal: at most that.
    value: f64,
    goal: f64,
    unit: &'static str,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let scenarios: [(&str, fn(&Args) -> anyhow::Result<Vec<Row>>); 5] =
        [("raw", raw), ("client", by_client), ("tree", tree), ("watches", watches), ("rights", rights)];
    let mut rows = Vec::new();
    for (name, scenario) in scenarios {
        if name.contains(&args.only) {
            rows.extend(scenario(&args).with_context(|| name.to_owned())?);
        }
    }
    let text = table(&rows, &args)?;
    print!("{text}");
    std::fs::write(&args.out, text)?;
    if rows.iter().any(|row| row.value > row.goal) {
        bail!("a goal is missed");
    }
    Ok(())
}

fn table(rows: &[Row], args: &Args) -> anyhow::Result<String> {
    let mut text = format!(
        "# The native port, measured\n\nMade by `benches/native-compare --scale {}`. CPU time is the server's; {CONNECTIONS} connections send {PIPELINE} \
         requests at a time, with {KEYS} keys and values of 64 bytes. Redis: append-only file, synced each second; DistKV: `interval`.\n\n",
        args.scale
    );
    text += "| scenario | measured | figure | goal | |\n|---|---|---|---|---|\n";
    for Row { name, measured, value, goal, unit } in rows {
        let verdict = if value <= goal { "reached" } else { "**missed**" };
        writeln!(text, "| {name} | {measured} | {value:.2} {unit} | at most {goal:.2} | {verdict} |")?;
    }
    Ok(text)
}

fn scaled(args: &Args, number: f64) -> usize {
    (number * args.scale).max(1000.0) as usize
}

/// CPU microseconds of one request.
fn cost(server: &Server, protocol: Protocol, ask: Ask, requests: usize) -> anyhow::Result<f64> {
    let before = server.cpu()?;
    load::run(protocol, server.port, ask, requests, KEYS)?;
    Ok((server.cpu()? - before) * 1e6 / requests as f64)
}

fn raw(args: &Args) -> anyhow::Result<Vec<Row>> {
    let requests = scaled(args, 2e6);
    let ours = Server::distkv(&args.distkv)?;
    let theirs = Server::redis()?;
    let both = |ask: Ask| -> anyhow::Result<(f64, f64)> {
        Ok((cost(&ours, Protocol::Native, ask, requests)?, cost(&theirs, Protocol::Redis, ask, requests)?))
    };
    let row = |name, (ours, theirs): (f64, f64), goal| Row {
        name,
        measured: format!("{ours:.2} us, Redis {theirs:.2} us"),
        value: ours / theirs,
        goal,
        unit: "x Redis",
    };
    let set = both(Ask::Set)?;
    let get = both(Ask::Get)?;
    Ok(vec![row("`get_value`, raw", get, 1.0), row("`set_value`, raw", set, 2.0)])
}

/// The same by the client library, with as many calls under way.
fn by_client(args: &Args) -> anyhow::Result<Vec<Row>> {
    let calls = scaled(args, 3e5);
    let ours = Server::distkv(&args.distkv)?;
    let theirs = Server::redis()?;
    load::run(Protocol::Native, ours.port, Ask::Set, KEYS, KEYS)?;
    load::run(Protocol::Redis, theirs.port, Ask::Set, KEYS, KEYS)?;
    let redis_get = cost(&theirs, Protocol::Redis, Ask::Get, calls)?;
    let redis_set = cost(&theirs, Protocol::Redis, Ask::Set, calls)?;
    let runtime = tokio::runtime::Runtime::new()?;
    let client = runtime.block_on(Client::connect(Options::new(&format!("127.0.0.1:{}", ours.port))))?;
    let mut rows = Vec::new();
    for (name, ask, redis, goal) in [
        ("`get_value`, Rust client", Ask::Get, redis_get, 1.0),
        ("`set_value`, Rust client", Ask::Set, redis_set, 2.0),
    ] {
        let before = ours.cpu()?;
        runtime.block_on(many_calls(&client, ask, calls))?;
        let cost = (ours.cpu()? - before) * 1e6 / calls as f64;
        rows.push(Row {
            name,
            measured: format!("{cost:.2} us, Redis (raw) {redis:.2} us"),
            value: cost / redis,
            goal,
            unit: "x Redis",
        });
    }
    Ok(rows)
}

async fn many_calls(client: &Client, ask: Ask, calls: usize) -> anyhow::Result<()> {
    const WORKERS: usize = CONNECTIONS * PIPELINE;
    let workers: Vec<_> = (0..WORKERS)
        .map(|worker| {
            let client = client.clone();
            tokio::spawn(async move {
                for call in 0..calls / WORKERS {
                    let path = format!("bench.{:08}", (worker * 31 + call * 7) % KEYS);
                    match ask {
                        Ask::Get => client.entry(path, 0).await.map(drop)?,
                        Ask::Set => client.set(path, &[7_u8; 64][..]).await.map(drop)?,
                    }
                }
                anyhow::Ok(())
            })
        })
        .collect();
    for worker in workers {
        worker.await??;
    }
    Ok(())
}

/// A million entries in one answer.
fn tree(args: &Args) -> anyhow::Result<Vec<Row>> {
    let entries = scaled(args, 1e6);
    let server = Server::distkv(&args.distkv)?;
    load::run(Protocol::Native, server.port, Ask::Set, entries, entries)?;
    let mut connection = Connection::open(Protocol::Native, server.port)?;
    let (before, _) = server.memory()?;
    let cpu = server.cpu()?;
    connection.request(1, "get_tree", |packer| {
        packer.str("path");
        packer.array(1);
        packer.str("bench");
    });
    connection.send()?;
    let mut seen = 0_usize;
    connection.read(&mut |reply| {
        seen += usize::from(field(reply, "value").is_some());
        !is_state(reply, "end")
    })?;
    if seen + CONNECTIONS * PIPELINE < entries {
        bail!("{seen} entries came instead of {entries}");
    }
    let cpu = server.cpu()? - cpu;
    let (_, most) = server.memory()?;
    let more = most.saturating_sub(before) as f64 / f64::from(1 << 20);
    Ok(vec![
        Row {
            name: "`get_tree`",
            measured: format!("{seen} entries: {cpu:.2} s"),
            value: cpu * 1e6 / seen as f64,
            goal: 1.0,
            unit: "s for a million",
        },
        Row {
            name: "`get_tree`, memory",
            measured: format!("{seen} entries"),
            value: more,
            goal: 16.0,
            unit: "MiB more",
        },
    ])
}

fn is_state(reply: &[u8], wanted: &str) -> bool {
    field(reply, "state").and_then(|state| Tokens::new(state).next()) == Some(Token::Str(wanted))
}

/// Many watches of one subtree that changes often.
fn watches(args: &Args) -> anyhow::Result<Vec<Row>> {
    const EACH: usize = 100;
    let changes = scaled(args, 2e3).next_multiple_of(CONNECTIONS * PIPELINE);
    let server = Server::distkv(&args.distkv)?;
    let alone = cost(&server, Protocol::Native, Ask::Set, changes)?;
    let mut watching = Vec::new();
    for _ in 0..10 {
        let mut connection = Connection::open(Protocol::Native, server.port)?;
        for _ in 0..EACH {
            connection.request(1, "watch", |packer| {
                packer.str("path");
                packer.array(1);
                packer.str("bench");
            });
        }
        connection.send()?;
        let mut open = 0;
        connection.read(&mut |reply| {
            open += usize::from(is_state(reply, "start"));
            open < EACH
        })?;
        watching.push(connection);
    }
    let number = watching.len() * EACH;
    let before = server.cpu()?;
    let readers: Vec<_> = watching
        .into_iter()
        .map(|mut connection| thread::spawn(move || connection.replies(EACH * changes, &mut |_| {})))
        .collect();
    // No faster than it is read: a watch that does not keep up ends.
    let mut setting = Connection::open(Protocol::Native, server.port)?;
    for change in 0..changes {
        setting.ask(Ask::Set, change % KEYS);
        if change % PIPELINE == PIPELINE - 1 {
            setting.send()?;
            setting.replies(PIPELINE, &mut |_| {})?;
            thread::sleep(std::time::Duration::from_millis(100));
        }
    }
    for reader in readers {
        reader.join().map_err(|_| anyhow::anyhow!("a reader has failed"))??;
    }
    let spent = (server.cpu()? - before) * 1e6 - alone * changes as f64;
    Ok(vec![Row {
        name: "watches",
        measured: format!("{number} watches, {changes} changes"),
        value: spent / (number * changes) as f64,
        goal: 2.0,
        unit: "us each per change",
    }])
}

/// MQTT of a user who is bound by an access list, compared with MQTT without users.
fn rights(args: &Args) -> anyhow::Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (name, qos, messages) in
        [("MQTT with rights, QoS 0", "0", 4e6), ("MQTT with rights, QoS 1", "1", 1e6)]
    {
        let messages = scaled(args, messages);
        let flow = |server: &Server, messages: usize, more: &[&str]| -> anyhow::Result<f64> {
            let before = server.cpu()?;
            let mut command = Command::new(&args.distkv);
            command.args(["bench", "mqtt", "flow", "-q", qos, "--in-flight", "100"]);
            command.args(["-p", &server.mqtt.to_string(), "-n", &messages.to_string()]).args(more);
            let output = command.output()?;
            if !output.status.success() {
                bail!("the load has failed: {}", String::from_utf8_lossy(&output.stderr));
            }
            Ok((server.cpu()? - before) * 1e6 / messages as f64)
        };
        let without = flow(&Server::distkv(&args.distkv)?, messages, &[])?;
        let (server, password) = with_user(&args.distkv)?;
        let user = ["-u", "device", "--password", &password];
        // The first login takes a hash that is made to be slow; then it is remembered.
        flow(&server, 1000, &user)?;
        let with = flow(&server, messages, &user)?;
        rows.push(Row {
            name,
            measured: format!("{with:.3} us, without {without:.3} us"),
            value: with / without,
            goal: 1.1,
            unit: "x without",
        });
    }
    Ok(rows)
}

/// A server with an admin, and a user with an access list of some rules.
fn with_user(program: &Path) -> anyhow::Result<(Server, String)> {
    let directory = tempfile::tempdir()?;
    let (data, secret) = (directory.path().join("data"), directory.path().join("password"));
    let password = "a password of the benchmark";
    std::fs::write(&secret, password)?;
    let run = |words: &[&str]| -> anyhow::Result<()> {
        let output = Command::new(program).args(words).arg("--data-dir").arg(&data).output()?;
        if !output.status.success() {
            bail!("{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(())
    };
    let secret = secret.display().to_string();
    run(&["user", "add", "admin", "--admin", "--new-password-file", &secret])?;
    run(&["user", "add", "device", "--acl", "devices", "--new-password-file", &secret])?;
    for rule in 0..50 {
        run(&["acl", "set", "devices", &format!("site.{rule}.#"), "rx"])?;
    }
    run(&["acl", "set", "devices", "#", "rwcdxen"])?;
    Ok((Server::distkv_in(program, directory, &[])?, password.to_owned()))
}
