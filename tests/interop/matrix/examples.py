"""Runs the examples with the commands of examples/README.md, and kills the broker under each, and then the example.

argv: the program of the broker, the command that shows examples/javascript/thermometer.html in a browser (or an empty
word), and the headings of the examples to run."""

import os
import pathlib
import queue
import re
import signal
import subprocess
import sys
import tempfile

from broker import PATIENCE_SECS, Lines, listening_port
import paho.mqtt.client as mqtt

ROOT = pathlib.Path(__file__).resolve().parents[3]
PAGE = "JavaScript: a page"
# It does not learn that its listener has connected again.
SHELL = "Shell"
# What the watcher notes when its subscription stands.
SUBSCRIBED = ("", "subscribed", 1)
# Installing what an example needs.
START_PATIENCE_SECS = 300


class Broker:
    """The broker of the examples, as its configuration stands but for ports and where it keeps its data."""

    def __init__(self, binary, directory):
        self.binary, self.directory = binary, directory
        self.ports = [0, 0]
        subprocess.run(["bash", ROOT / "examples/broker/certificates.sh"], cwd=directory, check=True, capture_output=True)
        for user in ("thermometer", "me"):
            add = [binary, "passwd", "passwd", user, "--batch"]
            subprocess.run(add, cwd=directory, input=b"secret", check=True, capture_output=True)
        self.start()

    def start(self):
        text = (ROOT / "examples/broker/quelea.toml").read_text()
        for usual, port in zip((8883, 8084), self.ports):
            text = text.replace(f":{usual}", f":{port}")
        text = text.replace("http://localhost:8000", "*")
        (self.directory / "quelea.toml").write_text(text)
        command = [self.binary, "serve", "--config", "quelea.toml"]
        self.lines = Lines(command, cwd=self.directory, stderr=subprocess.STDOUT)
        self.ports = [self.lines.wait_for(listening_port) for _ in self.ports]

    def kill(self):
        self.lines.end(signal.SIGKILL)
        self.start()


class Watcher:
    """Somebody who sees all that the thermometer says."""

    def __init__(self, broker):
        self.arrived = queue.Queue()
        self.client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, "watcher", protocol=mqtt.MQTTv5)
        self.client.username_pw_set("me", "secret")
        self.client.tls_set(str(broker.directory / "ca.pem"))
        self.client.on_connect = lambda *_: self.client.subscribe("home/#", 1)
        self.client.on_subscribe = lambda *_: self.arrived.put(SUBSCRIBED)
        self.client.on_message = lambda _c, _d, message: self.arrived.put(
            (message.topic.removeprefix("home/thermometer/"), message.payload.decode(), message.qos))
        self.client.reconnect_delay_set(1, 1)
        self.client.connect("localhost", broker.ports[0])
        self.client.loop_start()
        self.expect(*SUBSCRIBED)

    def expect(self, topic, text, qos=1):
        """Passes over what comes until this does."""
        while True:
            try:
                arrived = self.arrived.get(timeout=PATIENCE_SECS)
            except queue.Empty:
                raise AssertionError(f"{topic} {text} does not come") from None
            if arrived == (topic, text, qos):
                return

    def publish(self, topic, text, retain=False):
        self.client.publish(f"home/thermometer/{topic}", text, 1, retain).wait_for_publish(PATIENCE_SECS)

    def end(self):
        self.client.disconnect()
        self.client.loop_stop()


def start(commands, broker):
    environment = os.environ | {
        "MQTT_PASSWORD": "secret",
        "MQTT_CA": str(broker.directory / "ca.pem"),
        "MQTT_PORT": str(broker.ports[0]),
        "PAGE_BROKER": f"wss://localhost:{broker.ports[1]}/mqtt",
        "PAGE_CERTIFICATE": str(broker.directory / "server.pem"),
    }
    example = Lines(["bash", "-ec", commands], cwd=ROOT, env=environment, start_new_session=True)
    example.wait_for(lambda line: line == "connected", START_PATIENCE_SECS)
    return example


def signal_all(example, how):
    os.killpg(example.program.pid, how)
    example.program.wait(PATIENCE_SECS)


def run(name, commands, broker):
    watcher = Watcher(broker)
    example = start(commands, broker)
    try:
        watcher.expect("status", "online")
        watcher.expect("temperature", "21.5")
        watcher.publish("set", "23")
        example.wait_for(lambda line: line == "set 23")
        watcher.expect("temperature", "23")
        if name != SHELL:
            # As the will does when the network fails.
            watcher.publish("status", "offline", retain=True)
        broker.kill()
        watcher.expect(*SUBSCRIBED)
        if name != SHELL:
            watcher.expect("status", "online")
        watcher.publish("set", "24")
        watcher.expect("temperature", "24")
        if name != PAGE:
            signal_all(example, signal.SIGINT)
            watcher.expect("status", "offline")
            example = start(commands, broker)
            watcher.expect("status", "online")
    finally:
        signal_all(example, signal.SIGKILL)
    watcher.expect("status", "offline")
    watcher.end()


def sections():
    """The commands of each example, by its heading."""
    text = (ROOT / "examples/README.md").read_text()
    for section in text.split("\n### ")[1:]:
        heading = section.split("\n", 1)[0]
        if block := re.search(r"```sh\n(.*?)```", section, re.DOTALL):
            yield heading, block[1]


def main():
    binary, page, *headings = sys.argv[1:]
    commands = dict(sections())
    if page:
        commands[PAGE] = page
        headings.append(PAGE)
    failed = False
    for name in headings:
        # Each has a broker of its own, with nobody's session.
        with tempfile.TemporaryDirectory() as directory:
            broker = Broker(binary, pathlib.Path(directory))
            try:
                run(name, commands[name], broker)
                print(f"ok - example, {name}", flush=True)
            except (AssertionError, OSError, subprocess.TimeoutExpired) as why:
                print(f"not ok - example, {name}: {why}", flush=True)
                failed = True
            broker.lines.end()
    sys.exit(failed)


main()
