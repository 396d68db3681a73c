"""The real Home Assistant against a broker: python real_home_assistant.py PORT VERSION HTTP_PORT

It sets up the MQTT integration by the dialogue that a user goes through, and no more of Home Assistant than that needs;
HTTP_PORT is for its web server. VERSION is what the dialogue's field "MQTT protocol" is set to.
tests/it/home_assistant/real.rs runs it.
"""

import asyncio
import json
import logging
import pathlib
import sys
import tempfile
import time

from homeassistant import auth, bootstrap, config_entries, const, core, loader
from homeassistant.helpers import entity_registry
from homeassistant.setup import async_setup_component

from paho_client import SOON, Broker, Client

DEVICE = {"identifiers": ["it"], "name": "It"}
SENSOR = {"name": "Temperature", "unique_id": "it_temperature", "state_topic": "it/temperature",
          "object_id": "it_temperature", "device": DEVICE}
SWITCH = {"name": "Plug", "unique_id": "it_plug", "state_topic": "it/plug", "command_topic": "it/plug/set",
          "object_id": "it_plug", "qos": 1, "device": DEVICE}


async def until(what, condition):
    deadline = time.monotonic() + SOON
    while not condition():
        assert time.monotonic() < deadline, f"waited {SOON} s for this: {what}"
        await asyncio.sleep(0.02)


async def start(directory, http_port):
    """Home Assistant with what the MQTT integration builds on."""
    pathlib.Path(directory, "configuration.yaml").touch()
    hass = core.HomeAssistant(directory)
    loader.async_setup(hass)
    # What it needs is installed.
    hass.config.skip_pip = True
    hass.config_entries = config_entries.ConfigEntries(hass, {})
    await bootstrap.async_load_base_functionality(hass)
    hass.auth = await auth.auth_manager_from_config(hass, [], [])
    http = {"http": {"server_host": "127.0.0.1", "server_port": http_port}}
    for name, config in (("homeassistant", {}), ("http", http)):
        assert await async_setup_component(hass, name, config), f"{name} was not set up"
    await hass.async_start()
    return hass


async def add_broker(hass, port, version):
    """The dialogue "add integration": it tries the connection before it says yes."""
    context = {"source": config_entries.SOURCE_USER, "show_advanced_options": True}
    step = await hass.config_entries.flow.async_init("mqtt", context=context)
    fields = {"broker": "127.0.0.1", "port": port}
    assert step["step_id"] == "broker", step
    step = await hass.config_entries.flow.async_configure(step["flow_id"], {**fields, "advanced_options": True})
    assert step["step_id"] == "broker" and not step["errors"], step
    step = await hass.config_entries.flow.async_configure(step["flow_id"], {**fields, "protocol": version})
    assert step["type"] == "create_entry", f"the broker was refused: {step}"
    entry = step["result"]
    assert entry.state is config_entries.ConfigEntryState.LOADED, f"the integration is {entry.state}"
    return entry


async def a_device_is_discovered_and_used(hass, device):
    def state(entity):
        found = hass.states.get(entity)
        return found and found.state

    def tell(*arguments):
        return hass.async_add_executor_job(device.publish, *arguments)

    await tell("it/temperature", "21.5", 1, True)
    await tell("homeassistant/sensor/it/config", json.dumps(SENSOR), 1, True)
    await until("the retained state", lambda: state("sensor.it_temperature") == "21.5")
    for value in ("22.0", "22.5"):
        await tell("it/temperature", value, 1, True)
        await until(f"the state {value}", lambda value=value: state("sensor.it_temperature") == value)

    await tell("homeassistant/switch/it/config", json.dumps(SWITCH), 1, True)
    await until("a switch", lambda: state("switch.it_plug") == const.STATE_UNKNOWN)
    await hass.services.async_call("switch", "turn_on", {"entity_id": "switch.it_plug"}, blocking=True)
    await hass.async_add_executor_job(device.expect, "it/plug/set", b"ON", 1, False)
    await tell("it/plug", "ON", 1, True)
    await until("a switch that is on", lambda: state("switch.it_plug") == "on")

    # An empty payload takes the device away, and it is told live.
    await tell("homeassistant/sensor/it/config", b"", 1, True)
    await until("no more sensor", lambda: state("sensor.it_temperature") is None)
    assert entity_registry.async_get(hass).async_get("sensor.it_temperature") is None


async def main():
    port, version, http_port = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    device = Client(Broker("127.0.0.1", port, "3.1.1"), "device")
    device.subscribe("homeassistant/status", 0)
    device.subscribe("it/plug/set", 1)
    with tempfile.TemporaryDirectory(prefix="distkv-hass-") as directory:
        hass = await start(directory, http_port)
        entry = await add_broker(hass, port, version)
        assert entry.data["protocol"] == version, entry.data
        await asyncio.to_thread(device.expect, "homeassistant/status", b"online", 0, False)
        await a_device_is_discovered_and_used(hass, device)
        await hass.async_stop(force=True)
    device.disconnect()
    # Its connection ends with the process, without DISCONNECT: who is subscribed then sees the will.
    print(f"Home Assistant {const.__version__} with MQTT {version}: ok")


logging.basicConfig(level=logging.WARNING)
asyncio.run(main())
