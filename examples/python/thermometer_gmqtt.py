"""A thermometer with gmqtt: publishes a temperature every second, and takes a target. See examples/README.md."""

import asyncio
import os
import signal
import ssl

import gmqtt

target = "21.5"


def on_connect(client, _flags, _reason, _properties):
    print("connected", flush=True)
    client.subscribe("home/thermometer/set", qos=1)
    client.publish("home/thermometer/status", "online", qos=1, retain=True)


def on_disconnect(_client, _packet, error=None):
    print(f"disconnected: {error}", flush=True)


def on_message(_client, _topic, payload, _qos, _properties):
    global target
    target = payload.decode()
    print(f"set {target}", flush=True)
    return 0  # The reason code of the acknowledgement: success.


async def main():
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, stop.set)
    will = gmqtt.Message("home/thermometer/status", "offline", qos=1, retain=True)
    # What is sent to us while we are away waits for us for an hour.
    client = gmqtt.Client("thermometer", clean_session=False, session_expiry_interval=3600, will_message=will)
    client.set_auth_credentials(os.environ.get("MQTT_USER", "thermometer"), os.environ.get("MQTT_PASSWORD"))
    client.set_config({"reconnect_retries": gmqtt.constants.UNLIMITED_RECONNECTS, "reconnect_delay": 1})
    client.on_connect = on_connect
    client.on_disconnect = on_disconnect
    client.on_message = on_message
    trust = ssl.create_default_context(cafile=os.environ.get("MQTT_CA", "ca.pem"))
    host, port = os.environ.get("MQTT_HOST", "localhost"), int(os.environ.get("MQTT_PORT", "8883"))
    # It connects again by itself, but only after the first time.
    while not client.is_connected:
        try:
            await client.connect(host, port, ssl=trust)
        except OSError as error:
            print(f"disconnected: {error}", flush=True)
            await asyncio.sleep(1)
    while not stop.is_set():
        # gmqtt repeats what is not acknowledged, but does not say when it is.
        client.publish("home/thermometer/temperature", target, qos=1)
        print(f"published {target}", flush=True)
        try:
            await asyncio.wait_for(stop.wait(), 1)
        except asyncio.TimeoutError:
            pass
    client.publish("home/thermometer/status", "offline", qos=1, retain=True)
    await client.disconnect()


asyncio.run(main())
