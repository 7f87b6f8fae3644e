"""gmqtt (Python), driven as README.md says."""

import asyncio
import importlib.metadata
import ssl
import sys

import gmqtt
from gmqtt.mqtt.constants import MQTTv311, MQTTv50

VERSIONS = {"3.1.1": MQTTv311, "5": MQTTv50}


def say(*words):
    # In one piece, from whatever thread.
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


class Adapter:
    def __init__(self):
        self.client = None
        self.unfinished = 0
        self.is_leaving = False

    async def connect(self, version, way, port, client_id, keep, ca):
        properties = {"session_expiry_interval": 600 if keep == "1" else 0} if version == "5" else {}
        client = self.client = gmqtt.Client(client_id, clean_session=keep == "0", **properties)
        client.set_config({"reconnect_retries": gmqtt.constants.UNLIMITED_RECONNECTS, "reconnect_delay": 0.2})
        client.on_connect = lambda _c, flags, _rc, _p: say("connected", flags & 1)
        client.on_subscribe = lambda *_: say("subscribed")
        client.on_message = self.message
        client.on_disconnect = lambda *_: say("disconnected" if self.is_leaving else "lost")
        context = ssl.create_default_context(cafile=ca) if way == "tls" else False
        await client.connect("localhost", int(port), ssl=context, version=VERSIONS[version])

    def message(self, _client, _topic, payload, qos, _properties):
        say("message", qos, len(payload), payload.split(b" ")[0].decode())
        return 0

    async def subscribe(self, topic, qos):
        self.client.subscribe(topic, int(qos))

    async def publish(self, topic, qos, count, size):
        # It does not tell of acknowledgements; what it keeps until then does. Nor does it wait when the broker takes no
        # more at once.
        kept = self.client._persistent_storage
        for number in range(int(count)):
            if number % 100 == 0:
                await kept.wait_empty()
            self.client.publish(topic, f"{number} ".ljust(int(size), "x"), int(qos))
        await kept.wait_empty()
        say("published", count)

    async def disconnect(self):
        self.is_leaving = True
        await self.client.disconnect()


async def main():
    say(f"client|gmqtt (Python)|{importlib.metadata.version('gmqtt')}|3.1.1 5|tcp tls")
    adapter = Adapter()
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    tasks = []
    while line := await reader.readline():
        command, *words = line.decode().split()
        tasks.append(asyncio.create_task(getattr(adapter, command)(*words)))


asyncio.run(main())
