//! Tests of the session as a whole: its promises under any sequence of operations, and its rules one by one.

mod flows;
mod life;
mod mqtt5;
mod persistence;

use std::sync::Arc;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::message::QoS;

proptest! {
    #[test]
    fn promises_hold_under_any_operations(bytes in vec(any::<u8>(), 0..800)) {
        let _ = check_operations(&bytes);
    }
}

#[test]
fn random_operations_reach_every_part_of_the_world() {
    let mut total = CheckReport::default();
    let mut state = 1_u64;
    for _ in 0..150 {
        let bytes: Vec<u8> = (0..801)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 56) as u8
            })
            .collect();
        total = total + check_operations(&bytes);
    }
    let CheckReport {
        published,
        resent,
        dropped,
        lost_connections,
        crashes,
        lost_records,
        unfinished,
        trimmed,
        wrong_acks,
        expired,
        refused,
        narrowed,
        ended,
        handed_on,
    } = total;
    for count in [
        published,
        resent,
        dropped,
        lost_connections,
        crashes,
        lost_records,
        unfinished,
        trimmed,
        wrong_acks,
        expired,
        refused,
        narrowed,
        ended,
        handed_on,
    ] {
        assert!(count > 10, "{total:?}");
    }
}

impl std::ops::Add for CheckReport {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            published: self.published + other.published,
            resent: self.resent + other.resent,
            dropped: self.dropped + other.dropped,
            lost_connections: self.lost_connections + other.lost_connections,
            crashes: self.crashes + other.crashes,
            lost_records: self.lost_records + other.lost_records,
            unfinished: self.unfinished + other.unfinished,
            trimmed: self.trimmed + other.trimmed,
            wrong_acks: self.wrong_acks + other.wrong_acks,
            expired: self.expired + other.expired,
            refused: self.refused + other.refused,
            narrowed: self.narrowed + other.narrowed,
            ended: self.ended + other.ended,
            handed_on: self.handed_on + other.handed_on,
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ")
}

fn unhex(line: &str) -> Vec<u8> {
    line.split(' ').map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect()
}

/// A log whose records can be read.
#[derive(Debug, Default)]
struct Kept {
    buffer: Vec<u8>,
    records: Vec<Vec<u8>>,
}

impl Log for Kept {
    fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    fn append(&mut self) {
        self.records.push(std::mem::take(&mut self.buffer));
    }

    fn generation(&self) -> u64 {
        0
    }

    fn body(&mut self, _: &Message, _: u64) -> Option<u64> {
        None
    }
}

impl Kept {
    fn recover(&self) -> Recovered {
        let mut recovery = Recovery::new(SessionLimits::default(), 1000);
        for record in &self.records {
            assert_eq!(recovery.apply(record), Ok(()));
        }
        let recovered = recovery.finish();
        assert_eq!((recovered.lost, recovered.contradictions), (0, 0));
        recovered
    }
}

const SMALL: SessionLimits = SessionLimits {
    inflight: 2,
    queue_messages: 3,
    queue_bytes: 1000,
    queue_drop: DropPolicy::Newest,
    subscriptions: 3,
    incoming: 2,
};

fn id(number: u16) -> PacketId {
    PacketId::new(number).unwrap()
}

fn message(payload: &str) -> Arc<Message> {
    let payload = Bytes::copy_from_slice(payload.as_bytes());
    Arc::new(Message::new("a/b".into(), payload, QoS::ExactlyOnce))
}

fn connect(clean: bool) -> Connect {
    Connect {
        clean,
        expiry: if clean { Some(0) } else { None },
        receive_maximum: None,
        user: None,
        version: ProtocolVersion::V3_1_1,
        will: None,
    }
}

fn with_will(clean: bool, number: u64) -> Connect {
    let will = Will {
        topic: "gone".into(),
        payload: Bytes::from_static(b"x"),
        qos: QoS::AtLeastOnce,
        retain: true,
        properties: Bytes::new(),
        message_expiry: None,
        delay: 0,
    };
    Connect { will: Some((number, will)), user: Some("ann".into()), ..connect(clean) }
}

/// A connected persistent session.
fn session(limits: SessionLimits, log: &mut Kept) -> Session {
    let mut session = Session::new(7, "c".into(), limits, 100);
    session.connect(connect(false), 100, log);
    session
}

/// What may leave now, in short: `p1 one` a PUBLISH, `d1 one` one with DUP, `r1` a PUBREL.
fn transmits(session: &mut Session, log: &mut Kept) -> Vec<String> {
    std::iter::from_fn(|| session.poll_transmit(0, log))
        .map(|transmit| match transmit {
            Transmit::Pubrel { packet_id } => format!("r{}", packet_id.get()),
            Transmit::Publish { packet_id, dup, message, .. } => {
                let payload = String::from_utf8_lossy(&message.payload);
                format!("{}{} {payload}", if dup { 'd' } else { 'p' }, packet_id.get())
            }
        })
        .collect()
}
