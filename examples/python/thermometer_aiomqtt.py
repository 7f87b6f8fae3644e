"""A thermometer with aiomqtt: publishes a temperature every second, and takes a target. See examples/README.md."""

import asyncio
import os

import aiomqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

target = "21.5"


async def measure(client):
    while True:
        reading = target
        await client.publish("home/thermometer/temperature", reading, qos=1)
        print(f"published {reading}", flush=True)
        await asyncio.sleep(1)


async def listen(client):
    global target
    async for message in client.messages:
        target = message.payload.decode()
        print(f"set {target}", flush=True)


async def main():
    # What is sent to us while we are away waits for us for an hour.
    session = Properties(PacketTypes.CONNECT)
    session.SessionExpiryInterval = 3600
    client = aiomqtt.Client(
        os.environ.get("MQTT_HOST", "localhost"),
        int(os.environ.get("MQTT_PORT", "8883")),
        username=os.environ.get("MQTT_USER", "thermometer"),
        password=os.environ.get("MQTT_PASSWORD"),
        tls_params=aiomqtt.TLSParameters(ca_certs=os.environ.get("MQTT_CA", "ca.pem")),
        identifier="thermometer",
        protocol=aiomqtt.ProtocolVersion.V5,
        clean_start=False,
        properties=session,
        will=aiomqtt.Will("home/thermometer/status", "offline", qos=1, retain=True),
    )
    while True:
        try:
            async with client:
                print("connected", flush=True)
                try:
                    await client.subscribe("home/thermometer/set", qos=1)
                    await client.publish("home/thermometer/status", "online", qos=1, retain=True)
                    # Where one ends by an error, so does the other.
                    async with asyncio.TaskGroup() as tasks:
                        tasks.create_task(measure(client))
                        tasks.create_task(listen(client))
                except asyncio.CancelledError:
                    await client.publish("home/thermometer/status", "offline", qos=1, retain=True)
                    raise
        except* aiomqtt.MqttError as group:
            print(f"disconnected: {group.exceptions[0]}", flush=True)
            await asyncio.sleep(1)


try:
    asyncio.run(main())
except (KeyboardInterrupt, asyncio.CancelledError):  # Ctrl-C.
    pass
