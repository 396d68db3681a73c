"""What Home Assistant asks of its broker: python home_assistant.py PORT VERSION SCENARIO [TRANSPORT [CA]]

VERSION is 3.1, 3.1.1 or 5; TRANSPORT is mqtt (the default), mqtts, ws or wss, and CA then a file. A scenario takes where the broker is, and ends
with exit code 0 or with the reason on standard error. tests/it/home_assistant.rs runs each with each version.

The filters, their packing, will, birth and identifiers are those of Home Assistant's versions 2024 to 2026.
"""

import json
import random
import socket
import statistics
import string
import sys
import threading
import time

from paho_client import SOON, Broker, Client

# The components that can be discovered, as far as their number matters.
COMPONENTS = """alarm_control_panel binary_sensor button camera climate cover device_automation device_tracker event fan
    humidifier image lawn_mower light lock notify number scene select sensor siren switch tag text update vacuum valve
    water_heater ai_task date datetime time""".split()
# One SUBSCRIBE each, each awaited: two for each component, two for devices, ten for makers with a discovery of their own.
WILDCARDS = [f"homeassistant/{component}/{levels}/config" for component in COMPONENTS for levels in ("+", "+/+")] + """
    homeassistant/device/+/config homeassistant/device/+/+/config drop_connect/discovery/# dsmr/# fully/deviceInfo/+
    tasmota/discovery/# esphome/discover/# pglab/discovery/# cloudapp/QBUSMQTTGW/state cloudapp/QBUSMQTTGW/config
    cloudapp/QBUSMQTTGW/+/state inels/status/#""".split()
STATUS = "homeassistant/status"
WILL = (STATUS, "offline", 0, False)
# Seconds to an acknowledgement: what is wanted at the median. Home Assistant takes one for lost after 10.
GOAL = 0.020


def home_assistant(broker, **more):
    """Home Assistant's connection: a client id of its own each time, a will which is not retained."""
    client_id = "".join(random.choices(string.ascii_letters + string.digits, k=22))
    return Client(broker, client_id, **{"will": WILL, **more})


def identifiers(message):
    """The subscription identifiers in a message, sorted; the standard promises no order."""
    return sorted(getattr(message.properties, "SubscriptionIdentifier", []))


def only_in_mqtt5(broker):
    assert broker.version == "5", "there is no such thing before MQTT 5"


# Discovery, states, commands.


def an_entity_is_discovered_and_used(broker):
    """The whole course: a device announces itself, Home Assistant finds it, shows its state, commands it."""
    config = {"name": "Kitchen", "unique_id": "lamp1", "qos": 1,
              "state_topic": "lamp/kitchen/state", "command_topic": "lamp/kitchen/set"}
    device = Client(broker, "lamp")
    device.subscribe(STATUS, 0)
    device.subscribe("lamp/kitchen/set", 1)
    device.publish("homeassistant/light/lamp1/config", json.dumps(config), 1, True)
    device.publish("lamp/kitchen/state", "OFF", 1, True)
    assistant = home_assistant(broker)
    assert not assistant.session_present
    for number, filter in enumerate(WILDCARDS):
        # 1 is for all filters without wildcards.
        assistant.subscribe(filter, 0, identifier=number + 2)
    topic, payload, _, retain = assistant.message()
    assert (topic, json.loads(payload), retain) == ("homeassistant/light/lamp1/config", config, True)
    assistant.subscribe(config["state_topic"], config["qos"], identifier=1)
    assistant.expect("lamp/kitchen/state", b"OFF", 1, True)
    assistant.publish(STATUS, "online")
    device.expect(STATUS, b"online", 0, False)
    assistant.publish(config["command_topic"], "ON", 1)
    device.expect("lamp/kitchen/set", b"ON", 1, False)
    device.publish("lamp/kitchen/state", "ON", 1, True)
    assistant.expect("lamp/kitchen/state", b"ON", 1, False)
    # It ends without DISCONNECT, so that devices know.
    assistant.vanish()
    device.expect(STATUS, b"offline", 0, False)
    device.disconnect()


def a_test_connection_may_come_right_before_the_real_one(broker):
    """When its options change, Home Assistant tries them on a connection of the same client id, which it leaves before it
    has read CONNACK, and comes again at once."""
    watcher = Client(broker, "watcher")
    watcher.subscribe(STATUS, 1)
    for _ in range(20):
        hasty = socket.create_connection((broker.host, broker.port))
        name, level = {"3.1": (b"\0\6MQIsdp", 3), "3.1.1": (b"\0\4MQTT", 4), "5": (b"\0\4MQTT", 5)}[broker.version]
        body = name + bytes([level, 2, 0, 60]) + (b"\0" if level == 5 else b"") + b"\0\4twin"
        hasty.sendall(b"\x10" + bytes([len(body)]) + body + b"\xe0\0")
        # Else the broker may well see the second one first.
        hasty.recv(1)
        assistant = Client(broker, "twin", will=WILL)
        assistant.subscribe("homeassistant/#", 0)
        assistant.expect_nothing_before("homeassistant/end")
        assistant.disconnect()
        hasty.close()
    watcher.expect_nothing_before(STATUS)
    watcher.disconnect()


def hundreds_of_filters_in_one_subscribe_get_a_code_each(broker):
    """618 filters in 11.6 kB were seen; all of them have a retained message, and again at the next SUBSCRIBE."""
    topics = [f"zigbee2mqtt/bridge/{n:04}" for n in range(618)]
    publisher = Client(broker, "publisher")
    for topic in topics:
        publisher.send(topic, topic, 0, True)
    publisher.publish("end", "", 1)
    assistant = home_assistant(broker)
    for _ in range(2):
        filters = [(topic, number % 3) for number, topic in enumerate(topics)]
        codes = assistant.subscribe_all(filters, identifier=1)
        assert codes == [qos for _, qos in filters], f"{len(codes)} codes for {len(filters)} filters: {codes}"
        found = sorted(assistant.message() for _ in topics)
        assert found == [(topic, topic.encode(), 0, True) for topic in topics], found
    assistant.expect_nothing_before(topics[0])
    publisher.publish(topics[617], "live", 2)
    assistant.expect(topics[617], b"live", 2, False)


def subacks_are_quick_during_a_flood_of_retained_messages(broker):
    """20 000 retained messages are under way to a client (its `#`) which subscribes 76 times more, and publishes in between:
    each acknowledgement is awaited, as Home Assistant does."""
    count = 20_000
    publisher = Client(broker, "publisher")
    for number in range(count):
        component = COMPONENTS[number % len(COMPONENTS)]
        config = {"name": f"Sensor {number}", "unique_id": f"sensor{number}", "state_topic": f"states/{number}",
                  "device": {"identifiers": ["bridge"], "name": "A bridge", "model": "M" * 150}}
        publisher.send(f"homeassistant/{component}/{number}/config", json.dumps(config), 0, True)
    publisher.publish("end", "", 1)
    assistant = home_assistant(broker)
    assistant.subscribe("#", 0)
    subacks, pubacks, waited_behind = [], [], []
    for number, filter in enumerate(WILDCARDS):
        before, start = assistant.messages.qsize(), time.monotonic()
        assistant.subscribe(filter, 0, identifier=number + 2)
        subacks.append(time.monotonic() - start)
        if before < count:
            waited_behind.append(assistant.messages.qsize() - before)
        start = time.monotonic()
        assistant.publish("states/answer", "x", 1)
        pubacks.append(time.monotonic() - start)
    # Once for `#` and once for the component's filter, and the answers.
    expected = 2 * count + len(WILDCARDS)
    topics = [assistant.delivery().topic for _ in range(expected)]
    assert len(set(topics)) == count + 1, f"{len(set(topics))} topics instead of {count + 1}"
    print(f"SUBACKs during the replay of `#` came behind {waited_behind} messages of it")
    for name, times in (("SUBACK", subacks), ("PUBACK", pubacks)):
        median, most = statistics.median(times), max(times)
        print(f"{name} of {len(times)}: median {median * 1000:.1f} ms, at most {most * 1000:.1f} ms")
        # Each, but for a few: on a busy machine a client may itself be late with its next SUBSCRIBE.
        slow = [time for time in times if time > GOAL]
        assert median < GOAL, f"{name}: median of {median * 1000:.1f} ms; the goal is {GOAL * 1000:.0f} ms"
        assert len(slow) <= len(times) // 10, f"{name}: {len(slow)} took longer than {GOAL * 1000:.0f} ms: {slow}"
        assert most < 10, f"{name} after {most:.1f} s: Home Assistant gives up after 10 s"
    assert waited_behind, "there was no flood any more when the first of them was sent"


# Retained messages.


def slow_reader(broker, qos, count):
    publisher = Client(broker, "publisher")
    for number in range(count):
        publisher.send(f"homeassistant/sensor/{number}/config", f"{number:0500}", qos, True)
    publisher.publish("end", "", 1)
    prober = Client(broker, "prober")
    prober.subscribe("probe", 0)

    def others_are_served():
        for _ in range(50):
            prober.expect_nothing_before("probe")

    # A small buffer, so that it is the broker which has to wait.
    assistant = home_assistant(broker, receive_buffer=16 * 1024)
    assistant.reads.clear()
    assistant.send_subscribe([("homeassistant/#", qos)])
    found = []
    while len(found) < count:
        others_are_served()
        assistant.reads.set()
        found += [assistant.message() for _ in range(min(count // 4, count - len(found)))]
        assistant.reads.clear()
    assistant.reads.set()
    assert assistant.event("suback") == [qos]
    assert len(set(found)) == count, f"{len(set(found))} different messages instead of {count}"
    wrong = [message for message in found if message[2:] != (qos, True)]
    assert not wrong, f"not at QoS {qos} or not marked as retained: {wrong[:3]}"
    assistant.expect_nothing_before("homeassistant/end")
    for client in (publisher, prober, assistant):
        client.disconnect()


def a_slow_reader_gets_all_retained_messages_at_qos_0(broker):
    slow_reader(broker, 0, 20_000)


def a_slow_reader_gets_all_retained_messages_at_qos_1(broker):
    slow_reader(broker, 1, 5_000)


def retain_is_1_in_the_replay_and_0_live(broker):
    """Home Assistant drops a second message with RETAIN=1, so an entity whose state is retained would freeze."""
    device = Client(broker, "device")
    device.publish("state", "1", 1, True)
    for qos in (0, 1, 2):
        assistant = home_assistant(broker)
        assistant.subscribe("state", qos)
        assistant.expect("state", b"1", min(qos, 1), True)
        for payload in ("2", "3", "1"):
            device.publish("state", payload, 1, True)
            assistant.expect("state", payload.encode(), min(qos, 1), False)
        assistant.disconnect()
    device.disconnect()


def a_repeated_subscribe_brings_the_retained_message_again(broker):
    """A new entity on a topic which another entity uses already needs its value, too."""
    device = Client(broker, "device")
    device.publish("lamp/state", "ON", 1, True)
    assistant = home_assistant(broker)
    for filter in ("lamp/state", "lamp/+", "lamp/#"):
        for _ in range(4):
            assistant.subscribe(filter, 0, identifier=1)
            assistant.expect("lamp/state", b"ON", 0, True)
    assistant.expect_nothing_before("lamp/state")
    assistant.disconnect()
    device.disconnect()


def any_payload_arrives_byte_for_byte(broker):
    payloads = [bytes(range(256)), b"\0", b"\xff\xfe", "küche".encode(), b'{"a": 1}', b" ", bytes(range(256)) * 400]
    assistant = home_assistant(broker)
    assistant.subscribe("early/#", 1)
    device = Client(broker, "device")
    for number, payload in enumerate(payloads):
        device.publish(f"early/{number}", payload, 1, True)
        assistant.expect(f"early/{number}", payload, 1, False)
        assistant.subscribe(f"early/{number}", 0)
        assistant.expect(f"early/{number}", payload, 0, True)


def before_a_restart(broker):
    """Entities which the device deletes: told live, with RETAIN=0. `after_a_restart` looks for ghosts."""
    assistant = home_assistant(broker)
    assistant.subscribe("homeassistant/#", 1)
    device = Client(broker, "device")
    for number in range(100):
        topic = f"homeassistant/switch/{number}/config"
        device.publish(topic, f"{number}", 1, True)
        assistant.expect(topic, b"%d" % number, 1, False)
        if number % 2:
            device.publish(topic, b"", 1, True)
            assistant.expect(topic, b"", 1, False)
    # Deleted twice, and created anew.
    device.publish("homeassistant/switch/1/config", b"", 1, True)
    assistant.expect("homeassistant/switch/1/config", b"", 1, False)
    device.publish("homeassistant/switch/3/config", "again", 1, True)
    assistant.expect("homeassistant/switch/3/config", b"again", 1, False)
    assistant.disconnect()
    device.disconnect()


def after_a_restart(broker):
    assistant = home_assistant(broker)
    assistant.subscribe("homeassistant/#", 1)
    wanted = {f"homeassistant/switch/{number}/config": b"%d" % number for number in range(0, 100, 2)}
    wanted["homeassistant/switch/3/config"] = b"again"
    found = [assistant.message() for _ in wanted]
    assert {topic: payload for topic, payload, _, _ in found} == wanted, found
    assert all(retain for _, _, _, retain in found), found
    assistant.expect_nothing_before("homeassistant/end")
    assistant.disconnect()


def hash_is_without_sys_and_holds_nobody_up(broker):
    """A program that shows everything comes to a broker with 20 000 retained messages while others work."""
    count = 20_000
    publisher = Client(broker, "publisher")
    for number in range(count):
        publisher.send(f"all/{number % 100}/{number}", f"{number}", 0, True)
    publisher.publish("all/end", "", 1)
    # There is something that `#` could match.
    publisher.subscribe("$SYS/#", 0)
    publisher.delivery()
    publisher.unsubscribe("$SYS/#")
    prober = Client(broker, "prober")
    prober.subscribe("probe/x", 1)
    explorer = Client(broker, "explorer")
    explorer.subscribe("#", 0)
    times = []
    while len(times) < 100:
        start = time.monotonic()
        prober.expect_nothing_before("probe/x")
        times.append(time.monotonic() - start)
    found, probes = {}, 0
    while len(found) < count or probes < len(times):
        message = explorer.delivery()
        assert not message.topic.startswith("$"), message.topic
        if message.topic == "probe/x":
            probes += 1
        else:
            assert message.topic not in found, f"{message.topic} came twice"
            found[message.topic] = message.retain
    assert all(found.values()), "a retained message came without the flag"
    assert max(times) < 2, f"another client waited for {max(times):.1f} s"
    explorer.expect_nothing_before("probe/x")


# Wills.


def the_will_comes_at_once_when_the_connection_breaks(broker):
    watcher = Client(broker, "watcher")
    watcher.subscribe(STATUS, 1)
    for _ in range(5):
        assistant = home_assistant(broker)
        assistant.subscribe("homeassistant/#", 0)
        # paho's own thread takes its time to stop.
        assistant.freeze()
        start = time.monotonic()
        assistant.vanish()
        watcher.expect(STATUS, b"offline", 0, False)
        took = time.monotonic() - start
        assert took < 2, f"the will came after {took:.1f} s"
    # It is not kept.
    watcher.subscribe(STATUS, 1)
    watcher.expect_nothing_before(STATUS)
    watcher.disconnect()


def the_will_comes_after_one_and_a_half_keep_alives(broker):
    keepalive = 4
    watcher = Client(broker, "watcher")
    watcher.subscribe(STATUS, 1)
    before = time.monotonic()
    assistant = home_assistant(broker, keepalive=keepalive)
    # Its last word: nothing after it, not even a PINGREQ.
    assistant.freeze()
    last = time.monotonic()
    watcher.expect(STATUS, b"offline", 0, False)
    now = time.monotonic()
    assert now - before >= 1.5 * keepalive, f"the will came {now - before:.1f} s after CONNECT"
    assert now - last < 1.5 * keepalive + 3, f"the will came only after {now - last:.1f} s"
    watcher.disconnect()


def there_is_no_will_after_a_disconnect(broker):
    watcher = Client(broker, "watcher")
    watcher.subscribe(STATUS, 1)
    for _ in range(5):
        home_assistant(broker).disconnect()
        watcher.expect_nothing_before(STATUS)
    watcher.disconnect()


# Sessions and login.


def a_clean_session_resumes_nothing(broker):
    """Home Assistant 2024 with MQTT 5 comes back with clean start 0, but its sessions expire at once."""
    publisher = Client(broker, "publisher")
    for clean in (True, False, False, True) if broker.version == "5" else (True, True):
        assistant = Client(broker, "fixed", clean=clean, will=WILL, connect={"SessionExpiryInterval": None})
        assert not assistant.session_present, f"session present 1 with clean {clean}"
        publisher.publish("state", "nobody is subscribed", 1)
        assistant.subscribe("end", 1)
        assistant.expect_nothing_before("end")
        assistant.subscribe("state", 1)
        assistant.vanish()
        publisher.publish("state", "nobody is there", 1)


def a_wrong_password_is_refused_in_the_connack(broker):
    """The broker must have no user `homeassistant` with such a password, and no anonymous access."""
    for login in (("homeassistant", "wrong"), ("homeassistant", ""), None):
        start = time.monotonic()
        refused = home_assistant(broker, login=login, accepted=False)
        took = time.monotonic() - start
        refused.client.loop_stop()
        assert refused.code in (134, 135), f"code {refused.code} instead of a refusal for {login}"
        assert took < 5, f"the refusal came after {took:.1f} s, when the user has been told of a failure"


# Overlaps, order, sizes, names.


def overlapping_filters_bring_one_copy(broker):
    """Several copies would be legal, and every event would be taken for several."""
    device = Client(broker, "device")
    assistant = home_assistant(broker)
    for number, (filter, qos) in enumerate([("lamp/#", 0), ("lamp/+", 2), ("lamp/event", 1), ("#", 0)]):
        assistant.subscribe(filter, qos, identifier=number + 1)
    for sent in (0, 1, 2):
        for number in range(20):
            device.publish("lamp/event", f"{number}", sent)
            assistant.expect("lamp/event", b"%d" % number, sent, False)
    assistant.expect_nothing_before("lamp/end")


def every_qos_goes_both_ways(broker):
    left, right = home_assistant(broker), home_assistant(broker)
    for qos in (0, 1, 2):
        left.subscribe(f"left/{qos}", qos)
        right.subscribe(f"right/{qos}", qos)
        # In batches that paho has not to hold back: what waits in it may be overtaken in it.
        for batch in range(0, 60, 10):
            for number in range(batch, batch + 10):
                left.send(f"right/{qos}", f"{number}", qos)
                right.send(f"left/{qos}", f"{number}", qos)
            for number in range(batch, batch + 10):
                left.expect(f"left/{qos}", b"%d" % number, qos, False)
                right.expect(f"right/{qos}", b"%d" % number, qos, False)


def the_order_of_each_topic_is_kept(broker):
    """Several devices at once, each on topics of its own at each QoS."""
    count = 300
    assistant = home_assistant(broker)
    assistant.subscribe("order/#", 2)

    def send_all(name):
        device = Client(broker, name)
        # In batches, as above.
        for batch in range(0, count, 5):
            sent = [device.send(f"order/{name}/{qos}", f"{number}", qos, number % 2 == 1)
                    for number in range(batch, batch + 5) for qos in (0, 1, 2)]
            for info in sent:
                info.wait_for_publish(SOON)
        device.disconnect()

    devices = [threading.Thread(target=send_all, args=(f"device{n}",)) for n in range(3)]
    for device in devices:
        device.start()
    next_numbers = {}
    for _ in range(3 * 3 * count):
        topic, payload, qos, _ = assistant.message()
        assert topic.endswith(f"/{qos}"), f"{topic} at QoS {qos}"
        wanted = next_numbers.get(topic, 0)
        assert int(payload) == wanted, f"{topic}: {payload} instead of {wanted}"
        next_numbers[topic] = wanted + 1
    for device in devices:
        device.join(SOON)


def large_messages(broker, size):
    payload = random.Random(size).randbytes(size)
    camera = Client(broker, "camera")
    assistant = home_assistant(broker)
    for qos in (0, 1):
        topic = f"camera/{qos}"
        assistant.subscribe(topic, qos)
        camera.publish(topic, payload, qos, True)
        message = assistant.delivery()
        assert message.payload == payload, f"{len(message.payload)} bytes, or others, instead of {size}"
        assistant.subscribe(topic, qos)
        message = assistant.delivery()
        assert message.retain and message.payload == payload, f"{len(message.payload)} bytes of {size} in the replay"
        # The connections are as good as before.
        assistant.expect_nothing_before(topic)
        camera.publish(topic, b"", 1, True)
        assistant.expect(topic, b"", qos, False)
    for client in (camera, assistant):
        client.disconnect()


def two_megabytes_arrive(broker):
    large_messages(broker, 2_000_000)
    # One more byte than a broker that counts differently would take.
    large_messages(broker, 2 << 20)


def twenty_megabytes_arrive(broker):
    large_messages(broker, 20_000_000)


def the_discovery_of_a_large_device_arrives(broker):
    components = {f"sensor{n}": {"platform": "sensor", "unique_id": f"u{n}", "name": "n" * 60} for n in range(1_500)}
    payload = json.dumps({"device": {"identifiers": ["large"]}, "components": components}).encode()
    assert len(payload) > 100_000
    device = Client(broker, "device")
    device.publish("homeassistant/device/large/config", payload, 1, True)
    assistant = home_assistant(broker)
    assistant.subscribe("homeassistant/device/+/config", 0, identifier=2)
    assistant.expect("homeassistant/device/large/config", payload, 0, True)


def topics_are_utf8(broker):
    names = ["accept/küche/état", "帰宅/温度", "emoji/🏠/🔥", "space in it/ and before", "a//b", "/", "ẞ/ﬁ/e\u0301"]
    device = Client(broker, "gerät")
    live = home_assistant(broker)
    live.subscribe("#", 1)
    for name in names:
        device.publish(name, name, 1, True)
        live.expect(name, name.encode(), 1, False)
        exact = home_assistant(broker)
        exact.subscribe(name, 1)
        exact.expect(name, name.encode(), 1, True)
        exact.disconnect()


# MQTT 5.


def connack_offers_what_home_assistant_uses(broker):
    only_in_mqtt5(broker)
    told = home_assistant(broker).connack
    for name in ("SubscriptionIdentifierAvailable", "WildcardSubscriptionAvailable", "RetainAvailable"):
        assert getattr(told, name, 1) == 1, f"CONNACK denies {name}"
    assert getattr(told, "MaximumQoS", 2) == 2, f"CONNACK allows QoS {told.MaximumQoS} at most"
    assert getattr(told, "MaximumPacketSize", 2 << 20) > 2_000_000, f"packets of {told.MaximumPacketSize} bytes only"


def identifiers_come_with_retained_and_live_messages(broker):
    only_in_mqtt5(broker)
    device = Client(broker, "device")
    assistant = home_assistant(broker)
    filters = {"a/b": 1, "a/+/c": 2, "$share/group/x": None, "d/#": 268_435_455}
    for filter, number in filters.items():
        assistant.subscribe(filter, 1, identifier=number)
    for topic, number in (("a/b", 1), ("a/x/c", 2), ("d", 268_435_455), ("d/e/f", 268_435_455)):
        for qos in (0, 1):
            device.publish(topic, "live", qos, True)
            message = assistant.delivery()
            found = (message.topic, bool(message.retain), identifiers(message))
            assert found == (topic, False, [number]), f"live: {found}"
    for filter, number in (("a/b", 1), ("a/+/c", 2)):
        assistant.subscribe(filter, 1, identifier=number)
        message = assistant.delivery()
        assert (bool(message.retain), identifiers(message)) == (True, [number]), f"retained: {identifiers(message)}"
    # Without one, there is none.
    assistant.subscribe("none", 1)
    device.publish("none", "x", 1)
    assert identifiers(assistant.delivery()) == []


def a_repeated_subscribe_replaces_the_identifier(broker):
    only_in_mqtt5(broker)
    device = Client(broker, "device")
    device.publish("state/a", "kept", 1, True)
    assistant = home_assistant(broker)
    for filter in ("state/a", "state/+"):
        for number in (7, 8, 8, None, 9):
            wanted = [] if number is None else [number]
            assistant.subscribe(filter, 1, identifier=number)
            message = assistant.delivery()
            assert (bool(message.retain), identifiers(message)) == (True, wanted), f"{identifiers(message)} retained"
            for qos in (0, 1):
                device.publish("state/a", "live", qos)
                message = assistant.delivery()
                assert identifiers(message) == wanted, f"{identifiers(message)} live after {number}"
        assistant.unsubscribe(filter)


def an_unsubscribe_forgets_the_identifier(broker):
    """Home Assistant uses the numbers again."""
    only_in_mqtt5(broker)
    device = Client(broker, "device")
    assistant = home_assistant(broker)
    for filter, number, wanted in (("state/+", 2, [2]), ("state/+", None, []), ("state/#", 2, [2])):
        assistant.subscribe(filter, 1, identifier=number)
        device.publish("state/a", "x", 1)
        found = identifiers(assistant.delivery())
        assert found == wanted, f"{found} instead of {wanted}"
        assistant.unsubscribe(filter)
        device.publish("state/a", "nobody is subscribed", 1)
        # The number of before, for another filter.
        assistant.subscribe("other/+", 1, identifier=number)
        device.publish("other/a", "x", 1)
        message = assistant.delivery()
        assert (message.topic, identifiers(message)) == ("other/a", wanted), f"{message.topic} {identifiers(message)}"
        assistant.unsubscribe("other/+")


def one_copy_carries_the_identifiers_of_all_filters(broker):
    only_in_mqtt5(broker)
    device = Client(broker, "device")
    assistant = home_assistant(broker)
    assistant.subscribe("#", 0, identifier=2)
    assistant.subscribe("lamp/+", 2, identifier=3)
    assistant.subscribe_all([("lamp/a", 1), ("lamp/b", 1)], identifier=1)
    assistant.subscribe("+/a", 1)
    for topic, wanted in (("lamp/a", [1, 2, 3]), ("lamp/c", [2, 3]), ("x/a", [2])):
        for qos in (0, 1, 2):
            device.publish(topic, "x", qos, True)
            message = assistant.delivery()
            assert (message.topic, identifiers(message)) == (topic, wanted), f"{message.topic} {identifiers(message)}"
    assistant.unsubscribe("#")
    device.publish("lamp/a", "x", 1, True)
    assert identifiers(assistant.delivery()) == [1, 3]
    # In a replay, it is that of the subscription which asked for it.
    assistant.subscribe("lamp/+", 2, identifier=4)
    for _ in range(2):
        message = assistant.delivery()
        assert (bool(message.retain), identifiers(message)) == (True, [4]), f"{identifiers(message)} retained"
    assistant.expect_nothing_before("lamp/a")


def no_topic_alias_is_sent(broker):
    """Home Assistant's topic alias maximum is 0."""
    only_in_mqtt5(broker)
    device = Client(broker, "device")
    device.publish("alias/topic", "kept", 1, True)
    assistant = home_assistant(broker)
    assistant.subscribe("alias/#", 1, identifier=2)
    for number in range(100):
        device.send("alias/topic", f"{number}", number % 2)
    for _ in range(101):
        message = assistant.delivery()
        assert message.topic == "alias/topic", f"topic {message.topic!r}"
        assert not hasattr(message.properties, "TopicAlias"), f"{message.payload} with a topic alias"


def an_expired_message_is_replayed_no_more(broker):
    """What the action `mqtt.publish` can ask for."""
    only_in_mqtt5(broker)
    device = Client(broker, "device")
    device.publish("brief/x", "x", 1, True, expiry=2)
    device.publish("long/x", "x", 1, True, expiry=3600)
    assistant = home_assistant(broker)
    assistant.subscribe("long/+", 1)
    left = getattr(assistant.delivery().properties, "MessageExpiryInterval", None)
    assert left is not None and 3500 < left <= 3600, f"{left} s left of 3600"
    assistant.subscribe("sentinel", 1)
    deadline = time.monotonic() + SOON
    while True:
        assistant.subscribe("brief/+", 1)
        assistant.publish("sentinel", "", 1)
        topics = {assistant.delivery().topic}
        if topics != {"sentinel"}:
            topics.add(assistant.delivery().topic)
        assert "sentinel" in topics, topics
        if topics == {"sentinel"}:
            break
        assert time.monotonic() < deadline, "a message that lives for 2 s is replayed after half a minute"


def main():
    port, version, scenario = int(sys.argv[1]), sys.argv[2], sys.argv[3]
    broker = Broker("127.0.0.1", port, version, *sys.argv[4:6])
    globals()[scenario](broker)
    print(f"{scenario} with MQTT {version} over {broker.transport}: ok")


main()
