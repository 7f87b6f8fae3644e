"""Drives clients of every language through the same cases against a broker, and makes a table of what came of it.

argv: the program of the broker, the directory of the certificates, the document to write the table into (or -), and the
command of each client's adapter, one word each. README.md says what adapters understand."""

import os
import re
import shlex
import signal
import sys
import tempfile
from subprocess import PIPE

from broker import Broker, Lines
import paho.mqtt.publish as publish

WAYS = {"tls": "TLS", "ws": "WebSocket", "wss": "WebSocket over TLS"}
COLUMNS = ["QoS 0", "QoS 1", "QoS 2", *WAYS.values(), "1 MB", "1,000 in order", "resumed"]
MEGABYTE = 1_000_000
MANY = 1_000
# `{begin}` and `{end}` in the document, with the table between them.
BEGIN, END = "<!-- the matrix: written by `cargo xtask interop --document` -->", "<!-- end of the matrix -->"


class Client:
    def __init__(self, command, broker):
        self.broker = broker
        self.lines = Lines(shlex.split(command), stdin=PIPE, start_new_session=True)
        _, self.name, self.release, versions, ways = self.wait_for("client|").split("|")
        self.versions, self.ways = versions.split(), ways.split()
        self.connections = 0

    def say(self, *words):
        self.lines.program.stdin.write(" ".join(map(str, words)) + "\n")
        self.lines.program.stdin.flush()

    def wait_for(self, start):
        def wanted(line):
            assert not line.startswith("refused"), line
            return line if line.startswith(start) else None
        return self.lines.wait_for(wanted)

    def connect(self, version, way, keep=False):
        """Connects with a client id of its own, which is the topic, too."""
        self.connections += 1
        words = re.sub(r"\W+", "-", self.name)
        self.topic = f"matrix-{words}-{self.connections}"
        ca = self.broker.certificates / "ca.pem"
        self.say("connect", version, way, self.broker.ports[way], self.topic, int(keep), ca)
        self.wait_for("connected")

    def subscribe(self, qos):
        self.say("subscribe", self.topic, qos)
        self.wait_for("subscribed")

    def exchange(self, qos, count=1, size=0):
        """Publishes what it is subscribed to, and expects each message once, in order, and all acknowledgements."""
        self.say("publish", self.topic, qos, count, size)
        arrived, published = [], False
        while len(arrived) < count or not published:
            line = self.wait_for(("message", "published"))
            if line.startswith("published"):
                published = True
                continue
            _, arrived_qos, length, number = line.split(" ")
            assert arrived_qos in (str(qos), "?"), f"it arrived with QoS {arrived_qos}"
            assert int(length) == max(size, len(number) + 1), f"{length} bytes arrived instead of {size}"
            arrived.append(int(number))
        assert arrived == list(range(count)), f"they arrived as {arrived[:10]}..."

    def disconnect(self):
        self.say("disconnect")
        self.wait_for("disconnected")

    def end(self):
        self.lines.program.stdin.close()
        self.lines.program.wait(30)

    def kill(self):
        """With all that it has started."""
        os.killpg(self.lines.program.pid, signal.SIGKILL)
        self.lines.program.wait()


def exchanged(client, version, way, qos, **size):
    client.connect(version, way)
    client.subscribe(qos)
    client.exchange(qos, **size)
    client.disconnect()


def resumed(client, version):
    """The broker is killed and comes back: the session is there, and with it what was published meanwhile."""
    way = client.ways[0]
    client.connect(version, way, keep=True)
    client.subscribe(1)
    client.exchange(1)
    client.broker.kill()
    publish.single(client.topic, "7 meanwhile", 1, hostname="localhost", port=client.broker.ports["tcp"])
    connected, message = None, None
    while not (connected and message):
        line = client.wait_for(("connected", "message"))
        connected = line if line.startswith("connected") else connected
        message = line if line.startswith("message") and line.endswith(" 7") else message
    assert connected in ("connected 1", "connected ?"), f"the session is gone: {connected}"
    client.exchange(1)
    client.disconnect()


def cases(ways):
    """What a client that has these ways is put through."""
    first = ways[0]
    for qos in (0, 1, 2):
        yield f"QoS {qos}", lambda client, version, qos=qos: exchanged(client, version, first, qos)
    for way, name in WAYS.items():
        if way in ways:
            yield name, lambda client, version, way=way: exchanged(client, version, way, 1)
    yield "1 MB", lambda client, version: exchanged(client, version, first, 1, size=MEGABYTE)
    yield "1,000 in order", lambda client, version: exchanged(client, version, first, 1, count=MANY)
    yield "resumed", resumed


def judge(command, broker):
    """Returns the rows of a client. One that fails a case begins anew with the next."""
    rows, failed = [], False
    client = Client(command, broker)
    for version in client.versions:
        row = {}
        for name, case in cases(client.ways):
            try:
                case(client, version)
                row[name] = "yes"
                print(f"ok - {client.name}, MQTT {version}: {name}", flush=True)
            except (AssertionError, OSError) as why:
                row[name] = "**no**"
                print(f"not ok - {client.name}, MQTT {version}: {name}: {why}", flush=True)
                failed = True
                connections = client.connections
                client.kill()
                client = Client(command, broker)
                client.connections = connections
        rows.append((client.name, client.release, version, row))
    client.end()
    return rows, failed


def table(rows):
    lines = ["| client | release | MQTT | " + " | ".join(COLUMNS) + " |", "|---" * (3 + len(COLUMNS)) + "|"]
    for name, release, version, row in rows:
        lines.append(f"| {name} | {release} | {version} | " + " | ".join(row.get(it, "") for it in COLUMNS) + " |")
    return "\n".join(lines)


def write(document, text):
    with open(document, encoding="utf-8") as file:
        before, rest = file.read().split(BEGIN)
    after = rest.split(END)[1]
    with open(document, "w", encoding="utf-8") as file:
        file.write(f"{before}{BEGIN}\n{text}\n{END}{after}")


def main():
    binary, certificates, document, *commands = sys.argv[1:]
    rows, failed = [], False
    with tempfile.TemporaryDirectory() as directory:
        broker = Broker(binary, directory, certificates)
        for command in commands:
            more, has_failed = judge(command, broker)
            rows += more
            failed = failed or has_failed
        if broker.stop() != 0:
            print("not ok - the broker stops", flush=True)
            failed = True
    if document != "-":
        write(document, table(rows))
    sys.exit(failed)


main()
