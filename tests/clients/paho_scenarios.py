"""paho-mqtt (1.x and 2.x) against a broker: python paho_scenarios.py PORT VERSION SCENARIO [TRANSPORT [CA]]

VERSION is 3.1, 3.1.1 or (paho 2) 5; TRANSPORT is mqtt (the default), mqtts, ws or wss, and CA then a file. A scenario ends with
exit code 0, or with the reason on standard error. The scenarios are those of mqttjs/scenarios.js, and tests/it/clients.rs
runs both.
"""

import functools
import sys
import time

import paho.mqtt.client as mqtt

import paho_client
from paho_client import Broker

PORT, VERSION, SCENARIO = int(sys.argv[1]), sys.argv[2], sys.argv[3]
Client = functools.partial(paho_client.Client, Broker("127.0.0.1", PORT, VERSION, *sys.argv[4:6]))


def expect_in_order(client, topic, count):
    """Messages 0, 1, ... which alternate between QoS 1 and 2. The order is promised within each QoS: paho shows a
    message of QoS 2 when PUBREL has come."""
    found = sorted((client.message() for _ in range(count)), key=lambda message: message[2])
    wanted = [(topic, b"%d" % number, 1 + number % 2, False) for number in range(count)]
    assert found == sorted(wanted, key=lambda message: message[2]), found


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
    expect_in_order(again, "queue/x", 300)
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
    expect_in_order(keeper, "crash/x", 100)
    keeper.subscribe("kept/#", 1)
    keeper.expect("kept/x", b"kept", 1, True)
    keeper.disconnect()


SCENARIOS = (every_qos, retained, wills, persistent_session, takeover, keep_alive, before_crash, after_crash)
{scenario.__name__: scenario for scenario in SCENARIOS}[SCENARIO]()
print(f"{SCENARIO} with paho-mqtt {mqtt.__version__ if hasattr(mqtt, '__version__') else ''}: ok")
