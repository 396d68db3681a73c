"""What there is only in MQTT 5, with paho-mqtt 2: python paho_mqtt5.py PORT SCENARIO [TRANSPORT [CA]]

TRANSPORT is mqtt (the default), mqtts, ws or wss, and CA then a file. A scenario ends with exit code 0, or with the reason on
standard error. tests/it/clients.rs runs them; mqttjs/mqtt5.js has those of the same names for MQTT.js.
"""

import functools
import queue
import socket
import sys
import time

from paho.mqtt.packettypes import PacketTypes

import paho_client
from paho_client import SOON, Broker

PORT, SCENARIO = int(sys.argv[1]), sys.argv[2]
BROKER = Broker("127.0.0.1", PORT, "5", *sys.argv[3:5])
Client = functools.partial(paho_client.Client, BROKER)


def sent(message):
    """The properties of a message as paho names them, without those that are not there."""
    named = message.properties.json()
    return {name: value for name, value in named.items() if value is not None}


def reason_of(client, mid):
    """The reason of the acknowledgement of that message."""
    found, reason = client.acknowledgements.get(timeout=SOON)
    assert found == mid, f"{found} was acknowledged, not {mid}"
    return reason


def publish(client, *arguments, **named):
    """Publishes at QoS 1 or 2: the reason in PUBACK, PUBREC or PUBCOMP."""
    return reason_of(client, client.publish(*arguments, **named).mid)


# [MQTT5-3.3.2-15, 3.3.2-16, 3.3.2-17, 3.3.2-18, 3.3.2-20, 3.3.2-4]
def properties_arrive_as_they_were_sent():
    publisher, early = Client("publisher"), Client("early")
    early.subscribe("#", 2)
    named = {
        "UserProperty": [("b", "1"), ("a", "2"), ("b", "1"), ("", "empty name"), ("Größe", "")],
        "ContentType": "text/plain; charset=utf-8", "ResponseTopic": "answer/here",
        "CorrelationData": bytes(range(256)), "PayloadFormatIndicator": 1,
    }
    for qos in (0, 1, 2):
        publisher.publish("some/topic", "x", qos, retain=True, **named)
        late = Client(f"late{qos}")
        late.subscribe("some/topic", qos)
        for reader in (early, late):
            message = reader.delivery()
            properties = message.properties
            assert properties.UserProperty == named["UserProperty"], properties.UserProperty
            assert properties.CorrelationData == named["CorrelationData"], properties.CorrelationData
            assert properties.ContentType == named["ContentType"] and properties.ResponseTopic == named["ResponseTopic"]
            assert properties.PayloadFormatIndicator == 1 and len(sent(message)) == len(named), sent(message)
    publisher.publish("some/topic", "bare", 1)
    assert sent(early.delivery()) == {}


# [MQTT5-3.3.2-15, 3.3.2-16]
def a_request_is_answered():
    asking, answering = Client("asking"), Client("answering")
    answering.subscribe("service/double", 1)
    asking.subscribe("answers/asking", 1)
    for number in range(20):
        asking.publish("service/double", f"{number}", 1, ResponseTopic="answers/asking", CorrelationData=b"%d" % number)
    for _ in range(20):
        request = answering.delivery()
        answering.publish(request.properties.ResponseTopic, f"{2 * int(request.payload)}", 1,
                          CorrelationData=request.properties.CorrelationData)
    for number in range(20):
        answer = asking.delivery()
        assert (answer.payload, answer.properties.CorrelationData) == (b"%d" % (2 * number), b"%d" % number)


# [MQTT5-3.3.2-5, 3.3.2-6]
def a_message_expires():
    publisher = Client("publisher")
    keeper = Client("keeper", clean=False)
    keeper.subscribe("queue/#", 1)
    keeper.disconnect()
    publisher.publish("queue/short", "x", 1, expiry=1)
    publisher.publish("queue/long", "x", 1, expiry=1000)
    publisher.publish("queue/kept", "x", 1, retain=True, expiry=1)
    publisher.publish("queue/none", "x", 1)
    # The time itself is what is tested.
    time.sleep(2.5)
    keeper = Client("keeper", clean=False)
    long, none = keeper.delivery(), keeper.delivery()
    assert (long.topic, none.topic) == ("queue/long", "queue/none"), (long.topic, none.topic)
    assert 900 < long.properties.MessageExpiryInterval <= 998, long.properties.MessageExpiryInterval
    assert sent(none) == {}
    keeper.subscribe("queue/#", 1)
    keeper.expect_nothing_before("queue/end")


# [MQTT5-3.1.2-23, 3.1.2-8, 4.1.0-2]
def a_session_expires():
    watcher = Client("watcher")
    watcher.subscribe("will", 1)
    short = Client("short", clean=False, connect={"SessionExpiryInterval": 1})
    short.disconnect()
    shortened = Client("shortened", clean=False, will=("will", "shortened", 1, False),
                       will_properties={"WillDelayInterval": 500})
    shortened.disconnect("Disconnect with will message", SessionExpiryInterval=1)
    long = Client("long", clean=False, connect={"SessionExpiryInterval": 1})
    long.disconnect(SessionExpiryInterval=1000)
    # The will comes at the end of the session, which is sooner than its delay.
    watcher.expect("will", b"shortened", 1, False)
    # The time itself is what is tested.
    time.sleep(1.5)
    for name, present in (("short", False), ("shortened", False), ("long", True)):
        client = Client(name, clean=False)
        assert client.session_present == present, name
        client.disconnect(SessionExpiryInterval=0)
        assert not Client(name, clean=False).session_present, name


# [MQTT5-3.3.4-3, 3.3.4-4]
def identifiers_tell_subscriptions_apart():
    client, publisher = Client("client"), Client("publisher")
    client.subscribe("a/b", 0, identifier=1)
    client.subscribe("a/+", 1, identifier=268_435_455)
    client.subscribe("#", 2)
    client.subscribe("c", 2, identifier=7)
    for topic, identifiers in (("a/b", [1, 268_435_455]), ("a/c", [268_435_455]), ("c", [7]), ("d", [])):
        publisher.publish(topic, "x", 2)
        message = client.delivery()
        assert (message.topic, message.qos) == (topic, 2)
        assert sorted(sent(message).get("SubscriptionIdentifier", [])) == identifiers, sent(message)


# [MQTT5-3.8.3-3]
def no_local_keeps_own_messages_away():
    client, other = Client("client"), Client("other")
    client.subscribe("room", 1, noLocal=True)
    client.subscribe("end", 1)
    client.publish("room", "own", 1)
    other.publish("room", "foreign", 1)
    client.expect("room", b"foreign", 1, False)
    client.expect_nothing_before("end")


# [MQTT5-3.3.1-12, 3.3.1-13]
def retain_as_published_keeps_the_flag():
    as_published, as_usual, publisher = Client("one"), Client("two"), Client("publisher")
    as_published.subscribe("kept", 1, retainAsPublished=True)
    as_usual.subscribe("kept", 1)
    for retain in (True, False):
        publisher.publish("kept", "x", 1, retain)
        as_published.expect("kept", b"x", 1, retain)
        as_usual.expect("kept", b"x", 1, False)


# [MQTT5-3.3.1-9, 3.3.1-10, 3.3.1-11]
def retain_handling_says_when_there_is_a_replay():
    publisher = Client("publisher")
    publisher.publish("kept", "x", 1, True)
    # What a first SUBSCRIBE brings, and what its repetition does.
    for handling, replays in ((0, (True, True)), (1, (True, False)), (2, (False, False))):
        client = Client(f"client{handling}")
        client.subscribe("end", 1)
        for replayed in replays:
            client.subscribe("kept", 1, retainHandling=handling)
            if replayed:
                client.expect("kept", b"x", 1, True)
            client.expect_nothing_before("end")


# [MQTT5-3.1.2-26, 3.3.2-11, 3.3.2-12]
def topic_aliases_go_both_ways():
    # paho sends and shows aliases as its user says them, and keeps no table of its own.
    client, publisher = Client("client", connect={"TopicAliasMaximum": 3}), Client("publisher")
    client.subscribe("alias/#", 1)
    assert publisher.connack.TopicAliasMaximum >= 2
    for round in range(3):
        publisher.publish("" if round else "alias/one", f"{round}", round % 2, TopicAlias=1)
        publisher.publish("" if round else "alias/two", f"{round}", round % 2, TopicAlias=2)
    publisher.publish("alias/other", "x", 1, TopicAlias=1)
    publisher.publish("", "y", 1, TopicAlias=1)
    wanted = [(f"alias/{name}", b"%d" % round) for round in range(3) for name in ("one", "two")]
    wanted += [("alias/other", b"x"), ("alias/other", b"y")]
    table, found, spared = {}, [], 0
    for _ in wanted:
        message = client.delivery()
        alias = sent(message).get("TopicAlias")
        assert alias is None or 1 <= alias <= 3, alias
        spared += message.topic == ""
        topic = message.topic or table[alias]
        if alias:
            table[alias] = topic
        found.append((topic, message.payload))
    assert found == wanted, found
    assert spared >= 4, f"{spared} topics were spared"


# [MQTT5-3.1.2-8, 3.1.3-9, 3.1.3-10]
def a_will_waits_for_its_delay():
    watcher = Client("watcher")
    watcher.subscribe("will/#", 1)
    properties = {"WillDelayInterval": 2, "ContentType": "text/plain", "UserProperty": [("b", "1"), ("a", "2")]}
    lost = Client("lost", clean=False, will=("will/lost", "gone", 1, False), will_properties=properties)
    back = Client("back", clean=False, will=("will/back", "must not come", 1, False), will_properties=properties)
    start = time.monotonic()
    lost.vanish()
    back.vanish()
    assert Client("back", clean=False).session_present
    message = watcher.delivery()
    took = time.monotonic() - start
    assert (message.topic, message.payload) == ("will/lost", b"gone"), message.topic
    assert took >= 2, f"it came after {took:.2f} s"
    assert message.properties.UserProperty == properties["UserProperty"]
    assert message.properties.ContentType == "text/plain" and len(sent(message)) == 2, sent(message)
    watcher.expect_nothing_before("will/end")


# [MQTT5-3.11.3-1]
def reasons_are_told():
    client = Client("client")
    for qos in (1, 2):
        assert publish(client, "nobody/listens", "x", qos) == (0x10 if qos == 1 else 0)
    # Nobody may speak in the broker's name.
    assert publish(client, "$SYS/broker/version", "mine", 1) == 0x87
    client.subscribe("listens", 1)
    assert publish(client, "listens", "x", 1) == 0
    client.expect("listens", b"x", 1, False)
    assert client.subscribe_all([("a", 0), ("b", 1), ("c", 2)]) == [0, 1, 2]
    # It is not subscribed to the second one.
    client.client.unsubscribe(["a", "other", "b"])
    assert client.event("unsuback") == [0, 0x11, 0]


# [MQTT5-3.1.4-3]
def the_server_says_why_it_disconnects():
    def ended(client):
        client.client.on_disconnect = lambda c, u, flags, reason, p: (
            client.events.put(("disconnect", (flags.is_disconnect_packet_from_server, reason.value))),
            client.client.disconnect())

    first = Client("twin")
    ended(first)
    second = Client("twin")
    assert first.event("disconnect") == (True, 0x8e)
    # A packet above the server's maximum; or an alias above its maximum.
    ended(second)
    second.send("x", "x", 0, TopicAlias=second.connack.TopicAliasMaximum + 1)
    assert second.event("disconnect") == (True, 0x94)


# [MQTT5-3.3.4-9, 3.3.4-10]
def no_more_are_under_way_than_the_receive_maximum():
    slow, publisher = Client("slow", connect={"ReceiveMaximum": 5}, manual_ack=True), Client("publisher")
    slow.subscribe("flow", 1)
    for number in range(40):
        publisher.publish("flow", f"{number}", 1)
    under_way = [slow.delivery() for _ in range(5)]
    for number in range(5, 40):
        # An answer to something else shows that the server holds the next one back.
        assert slow.subscribe_all([("other", 0)]) == [0]
        assert slow.messages.empty()
        oldest = under_way.pop(0)
        slow.client.ack(oldest.mid, oldest.qos)
        under_way.append(slow.delivery())
        assert under_way[-1].payload == b"%d" % number


def a_shared_subscription_is_shared():
    members = [Client(f"member{number}") for number in range(3)]
    for member in members:
        member.subscribe("$share/group/work/#", 1)
    outside, publisher = Client("outside"), Client("publisher")
    outside.subscribe("work/#", 1)
    for number in range(300):
        publisher.publish("work/x", f"{number}", 1)
    for number in range(300):
        outside.expect("work/x", b"%d" % number, 1, False)
    parts = []
    for member in members:
        member.subscribe(f"end/{len(parts)}", 1)
        publisher.publish(f"end/{len(parts)}", "end", 1)
        part = []
        while (message := member.delivery()).topic == "work/x":
            part.append(int(message.payload))
        assert part == sorted(part)
        parts.append(part)
    assert sorted(sum(parts, [])) == list(range(300)), "each message goes to one member"
    assert all(len(part) >= 50 for part in parts), [len(part) for part in parts]


# [MQTT5-3.1.3-6, 3.1.3-7, 3.2.2-16]
def connack_assigns_a_name():
    names = {Client("").connack.AssignedClientIdentifier for _ in range(3)}
    assert len(names) == 3 and all(names), names


SCENARIOS = (
    properties_arrive_as_they_were_sent, a_request_is_answered, a_message_expires, a_session_expires,
    identifiers_tell_subscriptions_apart, no_local_keeps_own_messages_away, retain_as_published_keeps_the_flag,
    retain_handling_says_when_there_is_a_replay, topic_aliases_go_both_ways, a_will_waits_for_its_delay, reasons_are_told,
    the_server_says_why_it_disconnects, no_more_are_under_way_than_the_receive_maximum, a_shared_subscription_is_shared,
    connack_assigns_a_name,
)
{scenario.__name__: scenario for scenario in SCENARIOS}[SCENARIO]()
print(f"{SCENARIO} with paho-mqtt 2: ok")
