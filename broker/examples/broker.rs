//! A broker in memory on a port, for a look at its speed with `perf` or `valgrind`:
//! `cargo run --release -p distkv-broker --example broker -- 127.0.0.1:1883`.

use std::sync::Arc;
use std::time::Duration;

use distkv_broker::hooks::memory::{MemoryHooks, NoLog};
use distkv_broker::{Broker, limits::Limits};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:1883".into());
    let broker = Broker::new(Limits::default(), Arc::new(MemoryHooks::new()), Arc::new(NoLog));
    broker.start();
    broker.listen(TcpListener::bind(&address).await?);
    println!("serving MQTT on {address}; end it with Ctrl-C");
    tokio::signal::ctrl_c().await?;
    broker.shutdown(Duration::from_secs(5)).await;
    Ok(())
}
