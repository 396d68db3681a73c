//! A counter that several programs raise at once, and none of their counts is lost: read, raise, write only if nobody came between.
//!
//!     cargo run --example counter -- localhost

use distkv::client::{Client, Error, Options};

/// Adds one; what the count is now.
///
/// # Errors
/// What the server or the connection says.
pub(crate) async fn raise(client: &Client, path: &str) -> Result<u64, Error> {
    loop {
        let entry = client.entry(path, 1).await?;
        let count = entry.decode::<u64>()?.unwrap_or(0) + 1;
        let write = client.set(path, &count);
        let write = match entry.version() {
            Some(version) if entry.value.is_some() => write.if_version(version),
            _ => write.if_new(),
        };
        match write.await {
            Ok(_) => return Ok(count),
            Err(error) if error.is_conflict() => {}
            Err(error) => return Err(error),
        }
    }
}

/// Raises a counter a hundred times, by four connections at once.
///
/// # Errors
/// What the server or the connection says.
pub(crate) async fn run(server: &str) -> Result<(), Error> {
    let raise_some = async || {
        let client = Client::connect(Options::new(server)).await?;
        for _ in 0..25 {
            raise(&client, "example.counter").await?;
        }
        Ok::<_, Error>(())
    };
    let (a, b, c, d) = tokio::join!(raise_some(), raise_some(), raise_some(), raise_some());
    a.and(b).and(c).and(d)?;
    let client = Client::connect(Options::new(server)).await?;
    println!("the counter is at {:?}", client.get::<u64>("example.counter").await?);
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
#[allow(dead_code, reason = "the tests run this example as a module")]
async fn main() -> Result<(), Error> {
    let server = std::env::args().nth(1).unwrap_or_else(|| "localhost".to_owned());
    run(&server).await
}
