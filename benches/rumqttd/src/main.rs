//! rumqttd as a program, so that `benches/compare` can measure it: `distkv-bench-rumqttd PORT PORT-FOR-MQTT-5`.
//!
//! Its limits are as wide as those of the other servers in the comparison. It keeps nothing on disk.

use std::collections::HashMap;
use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr};

use rumqttd::{Broker, Config, ConnectionSettings, RouterConfig, ServerSettings};

fn main() -> Result<(), Box<dyn Error>> {
    let port = |at| std::env::args().nth(at).ok_or("usage: distkv-bench-rumqttd PORT PORT-FOR-MQTT-5");
    let server = |port: u16| ServerSettings {
        name: "bench".to_owned(),
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
        tls: None,
        next_connection_delay_ms: 0,
        connections: ConnectionSettings {
            connection_timeout_ms: 60_000,
            max_payload_size: 1 << 20,
            max_inflight_count: 100,
            auth: None,
            external_auth: None,
            dynamic_filters: true,
        },
    };
    let config = Config {
        router: RouterConfig {
            max_connections: 20_000,
            // As in its own sample configuration.
            max_outgoing_packet_count: 200,
            max_segment_size: 100 << 20,
            max_segment_count: 10,
            ..RouterConfig::default()
        },
        v4: Some(HashMap::from([("mqtt3".to_owned(), server(port(1)?.parse()?))])),
        v5: Some(HashMap::from([("mqtt5".to_owned(), server(port(2)?.parse()?))])),
        ..Config::default()
    };
    Broker::new(config).start()?;
    Ok(())
}
