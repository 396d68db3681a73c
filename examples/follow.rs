//! A subtree followed in two ways: as events, and as a copy in memory that is always up to date.
//!
//!     cargo run --example follow -- localhost

use distkv::client::{Client, Error, Event, Options};

/// Follows three changes.
///
/// # Errors
/// What the server or the connection says.
pub(crate) async fn run(server: &str) -> Result<(), Error> {
    let client = Client::connect(Options::new(server)).await?;
    client.set("example.rooms.kitchen", "cold").await?;

    // A mirror is complete from the beginning; reading it costs no message.
    let mirror = client.mirror("example.rooms").await?;
    println!("the kitchen is {:?}", mirror.get::<String>("example.rooms.kitchen")?);

    // A watch tells the whole first, then each change. It goes on over lost connections.
    let mut watch = client.watch("example.rooms").await?;
    while watch.next().await? != Event::Current {}

    client.set("example.rooms.kitchen", "warm").await?;
    client.set("example.rooms.cellar", "cold").await?;
    client.delete("example.rooms.cellar").await?;
    loop {
        match watch.next().await? {
            Event::Change(entry) => {
                println!("{} is now {:?}", entry.path, entry.decode::<String>()?);
                if entry.value.is_none() {
                    break;
                }
            }
            other => println!("{other:?}"),
        }
    }

    mirror.wait_until_current().await?;
    println!("the kitchen is {:?}", mirror.get::<String>("example.rooms.kitchen")?);
    client.delete_tree("example").await?;
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
#[allow(dead_code, reason = "the tests run this example as a module")]
async fn main() -> Result<(), Error> {
    let server = std::env::args().nth(1).unwrap_or_else(|| "localhost".to_owned());
    run(&server).await
}
