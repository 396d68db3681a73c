//! Values as Rust types, versions, conditions, several writes in one step.
//!
//!     cargo run --example values -- localhost

use distkv::client::{Client, Error, Options};
use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize, Deserialize, PartialEq)]
struct Light {
    on: bool,
    level: u8,
}

/// Writes and reads a few entries on the server at `server`.
///
/// # Errors
/// What the server or the connection says.
pub(crate) async fn run(server: &str) -> Result<(), Error> {
    let client = Client::connect(Options::new(server)).await?;

    // A structure is a map by its fields' names; whoever else reads the entry sees {"on": true, "level": 7}.
    client.set("example.light", &Light { on: true, level: 7 }).await?;
    let light: Option<Light> = client.get("example.light").await?;
    println!("the light is {light:?}");

    // Each entry has a version. A write can demand that it is still the one that we know.
    let entry = client.entry("example.light", 1).await?;
    if let Some(version) = entry.version() {
        client.set("example.light", &Light { on: false, level: 0 }).if_version(version).await?;
        let late = client.set("example.light", &Light { on: true, level: 1 }).if_version(version).await;
        println!("the second write with version {version}: {}", late.is_err_and(|error| error.is_conflict()));
    }

    // All or nothing, in one step.
    client.batch().set("example.a", &1).set("example.b", &2).delete("example.light").await?;

    println!("{} deleted", client.delete_tree("example").await?);
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
#[allow(dead_code, reason = "the tests run this example as a module")]
async fn main() -> Result<(), Error> {
    let server = std::env::args().nth(1).unwrap_or_else(|| "localhost".to_owned());
    run(&server).await
}
