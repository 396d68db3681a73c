//! How clients, subscriptions and delayed messages look in JSON.

use distkv_broker::clients::{ClientInfo, Receiver, SubscriptionInfo};
use distkv_broker::codec::ProtocolVersion;
use distkv_broker::delayed::DelayedInfo;
use serde_json::{Map, Value, json};

/// The names of protocol versions.
pub(super) const VERSIONS: &[(ProtocolVersion, &str)] =
    &[(ProtocolVersion::V3_1, "3.1"), (ProtocolVersion::V3_1_1, "3.1.1"), (ProtocolVersion::V5, "5")];

pub(super) fn client(info: &ClientInfo) -> Value {
    let protocol = VERSIONS.iter().find(|(version, _)| *version == info.version).map(|(_, name)| *name);
    let dropped: Map<String, Value> =
        info.dropped.iter().map(|(reason, n)| (reason.name().to_owned(), json!(n))).collect();
    let since = if info.connected { "connected_since" } else { "away_since" };
    json!({
        "id": &*info.id,
        "user": info.user.as_deref(),
        "address": info.address.as_ref().map(ToString::to_string),
        "protocol": protocol,
        "connected": info.connected,
        since: info.since,
        "session_since": info.created,
        "clean": info.clean,
        "session_expiry": info.session_expiry.filter(|_| !info.clean).map(|expiry| expiry.as_secs()),
        "keep_alive": info.keep_alive,
        "subscriptions": info.subscriptions,
        "queue": { "messages": info.queue_messages, "bytes": info.queue_bytes },
        "inflight": info.inflight,
        "incoming_qos2": info.incoming,
        "outbox_bytes": info.outbox_bytes,
        "messages_in": info.messages_in,
        "messages_out": info.messages_out,
        "dropped": dropped,
    })
}

pub(super) fn subscription(info: &SubscriptionInfo) -> Value {
    json!({
        "filter": &*info.filter,
        "qos": info.qos.as_u8(),
        "no_local": info.no_local,
        "retain_as_published": info.retain_as_published,
        "identifier": info.identifier,
    })
}

pub(super) fn delayed(info: &DelayedInfo) -> Value {
    json!({
        "number": info.number,
        "topic": &*info.topic,
        "due": info.due_ms / 1000,
        "qos": info.qos.as_u8(),
        "retain": info.retain,
        "bytes": info.size,
        "client": &*info.client_id,
        "user": info.user.as_deref(),
    })
}

pub(super) fn receiver(receiver: &Receiver) -> Value {
    json!({ "client": &*receiver.client, "filter": receiver.filter, "qos": receiver.qos.as_u8() })
}
