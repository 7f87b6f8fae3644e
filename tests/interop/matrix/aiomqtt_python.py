"""aiomqtt (Python), driven as README.md says. It leaves connecting again to its user, as its documentation shows."""

import asyncio
import importlib.metadata
import logging
import sys

import aiomqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

VERSIONS = {"3.1.1": aiomqtt.ProtocolVersion.V311, "5": aiomqtt.ProtocolVersion.V5}


def say(*words):
    # In one piece, from whatever thread.
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


class Adapter:
    def __init__(self):
        self.client = None
        self.is_leaving = asyncio.Event()

    async def connect(self, version, way, port, client_id, keep, ca):
        options = {"identifier": client_id, "protocol": VERSIONS[version], "max_queued_outgoing_messages": 0}
        options["transport"] = "websockets" if way in ("ws", "wss") else "tcp"
        if way in ("tls", "wss"):
            options["tls_params"] = aiomqtt.TLSParameters(ca_certs=ca)
        if version == "5":
            properties = Properties(PacketTypes.CONNECT)
            properties.SessionExpiryInterval = 600 if keep == "1" else 0
            options |= {"clean_start": keep == "0", "properties": properties}
        else:
            options["clean_session"] = keep == "0"
        self.is_leaving.clear()
        while not self.is_leaving.is_set():
            try:
                async with aiomqtt.Client("localhost", int(port), **options) as client:
                    # It does not tell whether there was a session.
                    say("connected", "?")
                    self.client = client
                    receiving = asyncio.create_task(self.receive(client))
                    leaving = asyncio.create_task(self.is_leaving.wait())
                    await asyncio.wait([receiving, leaving], return_when=asyncio.FIRST_COMPLETED)
                    receiving.cancel()
                    leaving.cancel()
                    if receiving.done() and not receiving.cancelled():
                        receiving.result()
            except aiomqtt.MqttError:
                if not self.is_leaving.is_set():
                    say("lost")
                    await asyncio.sleep(0.2)
        say("disconnected")

    async def receive(self, client):
        async for message in client.messages:
            say("message", message.qos, len(message.payload), message.payload.split(b" ")[0].decode())

    async def subscribe(self, topic, qos):
        await self.client.subscribe(topic, int(qos))
        say("subscribed")

    async def publish(self, topic, qos, count, size):
        sending = [
            self.client.publish(topic, f"{number} ".ljust(int(size), "x"), int(qos), timeout=60)
            for number in range(int(count))
        ]
        await asyncio.gather(*sending)
        say("published", count)

    async def disconnect(self):
        self.is_leaving.set()


async def main():
    # It warns of more than ten publishes at once, line by line.
    logging.getLogger("mqtt").setLevel(logging.ERROR)
    say(f"client|aiomqtt (Python)|{importlib.metadata.version('aiomqtt')}|3.1.1 5|tcp tls ws wss")
    adapter = Adapter()
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    tasks = []
    while line := await reader.readline():
        command, *words = line.decode().split()
        tasks.append(asyncio.create_task(getattr(adapter, command)(*words)))


asyncio.run(main())
