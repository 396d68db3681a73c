"""paho-mqtt (1.x and 2.x) against a broker: python paho_scenarios.py PORT VERSION SCENARIO [TRANSPORT [CA]]

VERSION is 3.1 or 3.1.1. TRANSPORT is mqtt, mqtts, ws or wss, the last two at the path /mqtt; CA is a file. A scenario ends with exit code 0, or with the reason on standard error. The scenarios are
those of mqttjs/scenarios.js, and tests/it/clients.rs runs both.
"""

import queue
import socket
import sys
import time

import paho.mqtt.client as mqtt

PORT, VERSION, SCENARIO = int(sys.argv[1]), sys.argv[2], sys.argv[3]
PROTOCOL = {"3.1": mqtt.MQTTv31, "3.1.1": mqtt.MQTTv311}[VERSION]
TRANSPORT = sys.argv[4] if len(sys.argv) > 4 else "mqtt"
SOON = 30


class Client:
    """A connected client whose messages wait in a queue."""

    def __init__(self, client_id, clean=True, will=None, keepalive=60):
        self.messages = queue.Queue()
        self.events = queue.Queue()
        options = {"client_id": client_id, "clean_session": clean, "protocol": PROTOCOL}
        options["transport"] = "websockets" if TRANSPORT.startswith("ws") else "tcp"
        if hasattr(mqtt, "CallbackAPIVersion"):
            self.client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, **options)
            self.client.on_connect = lambda c, u, flags, reason, p: self.connected(flags.session_present, reason.value)
            self.client.on_disconnect = lambda c, u, flags, reason, p: self.events.put(("disconnect", reason.value))
            self.client.on_subscribe = lambda c, u, mid, codes, p: self.events.put(("suback", [x.value for x in codes]))
        else:
            self.client = mqtt.Client(**options)
            self.client.on_connect = lambda c, u, flags, code: self.connected(bool(flags["session present"]), code)
            self.client.on_disconnect = lambda c, u, code: self.events.put(("disconnect", code))
            self.client.on_subscribe = lambda c, u, mid, codes: self.events.put(("suback", list(codes)))
        self.client.on_message = lambda c, u, message: self.messages.put(message)
        if TRANSPORT.startswith("ws"):
            self.client.ws_set_options(path="/mqtt")
        if TRANSPORT in ("mqtts", "wss"):
            self.client.tls_set(ca_certs=sys.argv[5])
        self.client.max_inflight_messages_set(20)
        # Quick, and never while a test wants the client to stay away.
        self.client.reconnect_delay_set(1, 1)
        if will:
            topic, payload, qos, retain = will
            self.client.will_set(topic, payload, qos, retain)
        self.client.connect("127.0.0.1", PORT, keepalive)
        self.client.loop_start()
        assert self.event("connect") == 0

    def connected(self, session_present, code):
        self.session_present = session_present
        self.events.put(("connect", code))

    def event(self, name):
        found, value = self.events.get(timeout=SOON)
        assert found == name, f"{found} {value} instead of {name}"
        return value

    def subscribe(self, topic, qos):
        self.client.subscribe(topic, qos)
        assert self.event("suback") == [qos]

    def publish(self, topic, payload, qos=0, retain=False):
        info = self.client.publish(topic, payload, qos, retain)
        info.wait_for_publish(SOON)
        assert info.is_published(), f"{topic} at QoS {qos} was not acknowledged"

    def message(self):
        """The next message as (topic, payload, QoS, retain)."""
        message = self.messages.get(timeout=SOON)
        return message.topic, message.payload, message.qos, bool(message.retain)

    def expect(self, *message):
        found = self.message()
        assert found == message, f"{found} instead of {message}"

    def expect_in_order(self, topic, count):
        """Messages 0, 1, ... which alternate between QoS 1 and 2. The order is promised within each QoS: paho shows a
        message of QoS 2 when PUBREL has come."""
        found = sorted((self.message() for _ in range(count)), key=lambda message: message[2])
        wanted = [(topic, b"%d" % number, 1 + number % 2, False) for number in range(count)]
        assert found == sorted(wanted, key=lambda message: message[2]), found

    def disconnect(self):
        self.client.disconnect()
        self.client.loop_stop()

    def vanish(self):
        """Ends the connection without DISCONNECT, for good."""
        self.client.on_disconnect = None
        self.client.loop_stop()
        transport = self.client.socket()
        # Over WebSocket paho wraps the socket.
        getattr(transport, "_socket", transport).shutdown(socket.SHUT_RDWR)


# [MQTT-3.8.4-6, 7.0.0-2, 7.1.1-1]
def every_qos():
    publisher = Client("publisher")
    for granted in (0, 1, 2):
        subscriber = Client(f"subscriber{granted}")
        subscriber.subscribe("qos/+/#", granted)
        for sent in (0, 1, 2):
            for number in range(40):
                publisher.publish(f"qos/{sent}/x", f"{number}", sent)
        for sent in (0, 1, 2):
            for number in range(40):
                subscriber.expect(f"qos/{sent}/x", b"%d" % number, min(sent, granted), False)
        subscriber.disconnect()
    publisher.disconnect()


def retained():
    every_byte = bytes(range(256)) * 40
    publisher = Client("publisher")
    early = Client("early")
    early.subscribe("kept/#", 1)
    publisher.publish("kept/a", every_byte, 1, True)
    publisher.publish("kept/b", "gone", 2, True)
    publisher.publish("kept/b", "", 2, True)
    publisher.publish("kept/c", "not kept", 1)
    early.expect("kept/a", every_byte, 1, False)
    early.expect("kept/b", b"gone", 1, False)
    early.expect("kept/b", b"", 1, False)
    early.expect("kept/c", b"not kept", 1, False)
    late = Client("late")
    late.subscribe("kept/#", 2)
    late.expect("kept/a", every_byte, 1, True)
    publisher.publish("kept/end", "end", 1)
    late.expect("kept/end", b"end", 1, False)
    # A repeated SUBSCRIBE brings them again.
    late.subscribe("kept/#", 0)
    late.expect("kept/a", every_byte, 0, True)
    for client in (publisher, early, late):
        client.disconnect()


def wills():
    watcher = Client("watcher")
    watcher.subscribe("will/#", 1)
    Client("polite", will=("will/polite", "must not come", 1, False)).disconnect()
    Client("lost", will=("will/lost", "gone", 1, True)).vanish()
    watcher.expect("will/lost", b"gone", 1, False)
    late = Client("late")
    late.subscribe("will/#", 1)
    late.expect("will/lost", b"gone", 1, True)
    for client in (watcher, late):
        client.disconnect()


def persistent_session():
    first = Client("keeper", clean=False)
    assert not first.session_present
    first.subscribe("queue/#", 2)
    first.disconnect()
    publisher = Client("publisher")
    for number in range(300):
        publisher.publish("queue/x", f"{number}", 1 + number % 2)
    again = Client("keeper", clean=False)
    # MQTT 3.1 has no such flag.
    assert again.session_present or VERSION == "3.1"
    again.expect_in_order("queue/x", 300)
    again.disconnect()
    clean = Client("keeper", clean=True)
    assert not clean.session_present
    publisher.publish("queue/x", "nobody is subscribed", 1)
    clean.subscribe("end", 1)
    publisher.publish("end", "end", 1)
    clean.expect("end", b"end", 1, False)
    for client in (publisher, clean):
        client.disconnect()


def takeover():
    first = Client("twin")
    # Else paho comes back at once, and takes over in its turn.
    first.client.on_disconnect = lambda *rest: (first.events.put(("disconnect", 0)), first.client.disconnect())
    second = Client("twin")
    first.event("disconnect")
    first.client.loop_stop()
    second.subscribe("twin", 1)
    second.publish("twin", "alive", 1)
    second.expect("twin", b"alive", 1, False)
    second.disconnect()


def keep_alive():
    client = Client("pinger", keepalive=1)
    watcher = Client("watcher", keepalive=0)
    client.subscribe("alive", 1)
    # Several times 1.5 keep alives: the time itself is what is tested.
    time.sleep(4)
    watcher.publish("alive", "yes", 1)
    client.expect("alive", b"yes", 1, False)
    for client in (client, watcher):
        client.disconnect()


def before_crash():
    """Leaves a session and retained messages behind for `after_crash`; the server is killed in between."""
    keeper = Client("keeper", clean=False)
    keeper.subscribe("crash/#", 2)
    keeper.disconnect()
    publisher = Client("publisher")
    for number in range(100):
        publisher.publish("crash/x", f"{number}", 1 + number % 2)
    publisher.publish("kept/x", "kept", 1, True)
    publisher.disconnect()


def after_crash():
    keeper = Client("keeper", clean=False)
    assert keeper.session_present or VERSION == "3.1"
    keeper.expect_in_order("crash/x", 100)
    keeper.subscribe("kept/#", 1)
    keeper.expect("kept/x", b"kept", 1, True)
    keeper.disconnect()


SCENARIOS = (every_qos, retained, wills, persistent_session, takeover, keep_alive, before_crash, after_crash)
{scenario.__name__: scenario for scenario in SCENARIOS}[SCENARIO]()
print(f"{SCENARIO} with paho-mqtt {mqtt.__version__ if hasattr(mqtt, '__version__') else ''}: ok")
