"""A client on paho-mqtt (1.x or 2.x) whose messages and events wait in queues, so that a scenario reads as a dialogue."""

import collections
import itertools
import queue
import select
import socket
import threading

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

try:
    from paho.mqtt.reasoncodes import ReasonCode
except ImportError:
    from paho.mqtt.reasoncodes import ReasonCodes as ReasonCode

SOON = 30
PROTOCOLS = {"3.1": mqtt.MQTTv31, "3.1.1": mqtt.MQTTv311, "5": mqtt.MQTTv5}
PAHO2 = hasattr(mqtt, "CallbackAPIVersion")

# `transport` is mqtt, mqtts, ws or wss, the last two at the path /mqtt; `ca` is a file.
Broker = collections.namedtuple("Broker", "host port version transport ca", defaults=("mqtt", None))


def send_whole(self, data):
    """paho forgets a packet that a WebSocket connection does not take at once, so this waits until it has."""
    frame = memoryview(self._create_frame(self.OPCODE_BINARY, bytearray(data)))
    while frame:
        try:
            frame = frame[self._socket.send(frame):]
        except BlockingIOError:
            select.select([], [self._socket], [], SOON)
    return len(data)


(mqtt._WebsocketWrapper if PAHO2 else mqtt.WebsocketWrapper)._send_impl = send_whole


def properties(packet, **named):
    """MQTT 5 properties of a packet such as "SUBSCRIBE", under paho's names; those that are None are left out."""
    found = Properties(getattr(PacketTypes, packet))
    for name, value in named.items():
        if value is not None:
            setattr(found, name, value)
    return found


class Client:
    """A connected client. `clean` is clean session, or clean start in MQTT 5, where a client that is not clean leaves a
    session which lasts an hour. `connect` and `will_properties` are properties of MQTT 5 under paho's names."""

    def __init__(self, broker, client_id, clean=True, will=None, keepalive=60, login=None, accepted=True,
                 receive_buffer=None, connect=None, will_properties=None, manual_ack=False):
        self.messages = queue.Queue()
        self.events = queue.Queue()
        # Of QoS 1 and 2 (of QoS 0 that they are sent): (packet identifier, reason). paho 2 only.
        self.acknowledgements = queue.Queue()
        self.reads = threading.Event()
        self.reads.set()
        self.is_mqtt5 = broker.version == "5"
        self.numbers = itertools.count()
        options = {"client_id": client_id, "protocol": PROTOCOLS[broker.version]}
        options["transport"] = "websockets" if broker.transport.startswith("ws") else "tcp"
        if not self.is_mqtt5:
            options["clean_session"] = clean
        self.client = self.make(options)
        self.client.on_message = self.on_message
        self.client.max_inflight_messages_set(20)
        # Quick, and never while a test wants the client to stay away.
        self.client.reconnect_delay_set(1, 1)
        if broker.transport.startswith("ws"):
            self.client.ws_set_options("/mqtt")
        if broker.transport in ("mqtts", "wss"):
            self.client.tls_set(broker.ca)
        if receive_buffer:
            # Over WebSocket paho wraps the socket.
            self.client.on_socket_open = lambda c, u, opened: getattr(opened, "_socket", opened).setsockopt(
                socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        if will:
            topic, payload, qos, retain = will
            more = {"properties": properties("WILLMESSAGE", **will_properties)} if will_properties else {}
            self.client.will_set(topic, payload, qos, retain, **more)
        if login:
            self.client.username_pw_set(*login)
        if manual_ack:
            self.client.manual_ack_set(True)
        more = {}
        if self.is_mqtt5:
            lasting = {} if clean else {"SessionExpiryInterval": 3600}
            more = {"clean_start": clean, "properties": properties("CONNECT", **{**lasting, **(connect or {})})}
        self.client.connect(broker.host, broker.port, keepalive, **more)
        self.client.loop_start()
        self.code = self.event("connect")
        assert not accepted or self.code == 0, f"CONNACK with {self.code}"

    def make(self, options):
        """A client with its callbacks, which each major version of paho calls in its own way. Refusals of MQTT 3 come in
        paho 2 under the codes of MQTT 5."""
        if PAHO2:
            client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, **options)
            client.on_connect = lambda c, u, flags, reason, p: self.connected(flags.session_present, reason.value, p)
            client.on_disconnect = lambda c, u, flags, reason, p: self.events.put(("disconnect", reason.value))
            client.on_subscribe = lambda c, u, mid, codes, p: self.events.put(("suback", [x.value for x in codes]))
            client.on_unsubscribe = lambda c, u, mid, codes, p: self.events.put(("unsuback", [x.value for x in codes]))
            client.on_publish = lambda c, u, mid, reason, p: self.acknowledgements.put((mid, reason.value))
        else:
            client = mqtt.Client(**options)
            client.on_connect = lambda c, u, flags, code: self.connected(bool(flags["session present"]), code, None)
            client.on_disconnect = lambda c, u, code: self.events.put(("disconnect", code))
            client.on_subscribe = lambda c, u, mid, codes: self.events.put(("suback", list(codes)))
            client.on_unsubscribe = lambda c, u, mid: self.events.put(("unsuback", []))
        return client

    def connected(self, session_present, code, told):
        self.session_present = session_present
        self.connack = told
        self.events.put(("connect", code))

    def on_message(self, _client, _userdata, message):
        # While this waits, paho reads nothing from its socket.
        self.reads.wait()
        self.messages.put(message)

    def event(self, name):
        try:
            found, value = self.events.get(timeout=SOON)
        except queue.Empty:
            raise AssertionError(f"waited {SOON} s for this: {name}") from None
        assert found == name, f"{found} {value} instead of {name}"
        return value

    def subscribe(self, topic, qos, identifier=None, **options):
        """`options` are those of MQTT 5 under paho's names, such as `noLocal`."""
        codes = self.subscribe_all([(topic, qos)], identifier, **options)
        assert codes == [qos], f"{topic} at QoS {qos} got {codes}"

    def subscribe_all(self, filters, identifier=None, **options):
        """One SUBSCRIBE with these (filter, QoS), and the codes of its SUBACK."""
        self.send_subscribe(filters, identifier, **options)
        return self.event("suback")

    def send_subscribe(self, filters, identifier=None, **options):
        if self.is_mqtt5:
            filters = [(topic, mqtt.SubscribeOptions(qos, **options)) for topic, qos in filters]
            self.client.subscribe(filters, properties=properties("SUBSCRIBE", SubscriptionIdentifier=identifier))
        else:
            self.client.subscribe(filters)

    def unsubscribe(self, topic):
        self.client.unsubscribe(topic)
        codes = self.event("unsuback")
        assert all(code == 0 for code in codes), f"UNSUBSCRIBE of {topic} got {codes}"

    def send(self, topic, payload, qos=0, retain=False, expiry=None, **named):
        """Publishes, and does not wait; `publish` does. `named` are more properties of MQTT 5."""
        more = {}
        if expiry or named:
            more = {"properties": properties("PUBLISH", MessageExpiryInterval=expiry, **named)}
        return self.client.publish(topic, payload, qos, retain, **more)

    def publish(self, topic, payload, qos=0, retain=False, expiry=None, **named):
        info = self.send(topic, payload, qos, retain, expiry, **named)
        info.wait_for_publish(SOON)
        assert info.is_published(), f"{topic} at QoS {qos} was not acknowledged"
        return info

    def delivery(self):
        """The next message as paho has it."""
        try:
            return self.messages.get(timeout=SOON)
        except queue.Empty:
            raise AssertionError(f"no message within {SOON} s") from None

    def message(self):
        """The next message as (topic, payload, QoS, retain)."""
        message = self.delivery()
        return message.topic, message.payload, message.qos, bool(message.retain)

    def expect(self, *message):
        found = self.message()
        assert found == message, f"{found!s:.300} instead of {message!s:.300}"

    def expect_nothing_before(self, topic):
        """Publishes to a topic that this client is subscribed to: this must be the next message."""
        number = f"nothing before {next(self.numbers)}".encode()
        self.publish(topic, number, 1)
        found = self.delivery()
        assert found.payload == number, f"{found.topic} {found.payload[:100]} where nothing was to come"

    def disconnect(self, reason=None, **named):
        """`reason` (such as "Disconnect with will message") and `named` properties are for MQTT 5."""
        more = {}
        if reason:
            more["reasoncode"] = ReasonCode(PacketTypes.DISCONNECT, reason)
        if named:
            more["properties"] = properties("DISCONNECT", **named)
        self.client.disconnect(**more)
        self.client.loop_stop()

    def freeze(self):
        """Neither reads nor sends any more, but leaves the connection open."""
        self.client.on_disconnect = None
        self.client.loop_stop()

    def vanish(self):
        """Ends the connection without DISCONNECT, for good."""
        self.freeze()
        self.client.socket().close()
