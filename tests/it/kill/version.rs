//! The protocol version that clients speak in the loop, and the properties that their messages have in MQTT 5.

use crate::harness::packet::{
    Connect, MESSAGE_EXPIRY, Publish, USER_PROPERTY, property, sorted_properties, string, subscribe,
    subscribe5,
};

/// Seconds in which no message expires.
const LONG: u32 = 3600;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    Mqtt311,
    Mqtt5,
}

impl Version {
    pub(super) fn clean(self, client_id: &str) -> Connect {
        self.connect(Connect::new(client_id))
    }

    pub(super) fn persistent(self, client_id: &str) -> Connect {
        self.connect(Connect::persistent(client_id))
    }

    fn connect(self, connect: Connect) -> Connect {
        if self == Self::Mqtt5 { connect.mqtt5() } else { connect }
    }

    pub(super) fn subscribe(self, id: u16, filter: &str, qos: u8) -> Vec<u8> {
        let encode = if self == Self::Mqtt5 { subscribe5 } else { subscribe };
        encode(id, &[(filter, qos)])
    }

    /// The message with this number as it is sent: in MQTT 5 with properties that tell the number, and an expiry.
    pub(super) fn dress(self, publish: Publish, number: u64) -> Publish {
        if self == Self::Mqtt311 {
            return publish;
        }
        let mut properties = property(MESSAGE_EXPIRY, &LONG.to_be_bytes());
        for (id, value) in kept_properties(number) {
            properties.extend(property(id, &value));
        }
        publish.properties(properties)
    }

    /// A message came with its properties as they were, and its expiry counted down.
    pub(super) fn check(self, publish: &Publish, number: u64) {
        let Some(properties) = &publish.properties else {
            assert_eq!(self, Self::Mqtt311);
            return;
        };
        let (expiry, rest): (Vec<_>, Vec<_>) =
            sorted_properties(properties).into_iter().partition(|(id, _)| *id == MESSAGE_EXPIRY);
        let left = expiry.first().map_or(0, |(_, value)| seconds(value));
        assert!((LONG - 600..=LONG).contains(&left), "{left} s are left: {publish:?}");
        let kept = kept_properties(number);
        assert!(rest.iter().copied().eq(kept.iter().map(|(id, value)| (*id, &value[..]))), "{publish:?}");
    }
}

/// Seconds as a property has them.
pub(super) fn seconds(value: &[u8]) -> u32 {
    u32::from_be_bytes(value.try_into().expect("four bytes"))
}

/// The properties of the message with this number that nobody may change, sorted.
fn kept_properties(number: u64) -> Vec<(u8, Vec<u8>)> {
    let pair = |name: &str, value: &str| [string(name.as_bytes()), string(value.as_bytes())].concat();
    vec![
        (0x01, vec![1]),
        (0x03, string(b"text/plain")),
        (0x08, string(b"answers/here")),
        (0x09, string(&number.to_le_bytes())),
        (USER_PROPERTY, pair("z", &number.to_string())),
        (USER_PROPERTY, pair("a", "")),
        (USER_PROPERTY, pair("z", "again")),
    ]
}
