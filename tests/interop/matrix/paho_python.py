"""paho-mqtt (Python), driven as README.md says."""

import sys
import threading

import paho.mqtt
import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

VERSIONS = {"3.1.1": mqtt.MQTTv311, "5": mqtt.MQTTv5}


def say(*words):
    # In one piece, from whatever thread.
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


def connect(version, way, port, client_id, keep, ca):
    transport = "websockets" if way in ("ws", "wss") else "tcp"
    options = {"protocol": VERSIONS[version], "transport": transport}
    if version != "5":
        options["clean_session"] = keep == "0"
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id, **options)
    if way in ("tls", "wss"):
        client.tls_set(ca)
    client.reconnect_delay_set(1, 1)
    client.max_queued_messages_set(0)
    client.on_connect = lambda _c, _d, flags, reason, _p: say(
        "refused" if reason.is_failure else "connected", int(flags.session_present))
    client.on_disconnect = lambda _c, _d, _f, reason, _p: say("lost" if reason.is_failure else "disconnected")
    client.on_subscribe = lambda *_: say("subscribed")
    client.on_message = lambda _c, _d, message: say(
        "message", message.qos, len(message.payload), message.payload.split(b" ")[0].decode())
    if version == "5":
        properties = Properties(PacketTypes.CONNECT)
        properties.SessionExpiryInterval = 600 if keep == "1" else 0
        client.connect("localhost", int(port), clean_start=keep == "0", properties=properties)
    else:
        client.connect("localhost", int(port))
    client.loop_start()
    return client


def publish(client, topic, qos, count, size):
    sent = [client.publish(topic, f"{number} ".ljust(int(size), "x"), int(qos)) for number in range(int(count))]
    for message in sent:
        message.wait_for_publish()
    say("published", len(sent))


say(f"client|paho-mqtt (Python)|{paho.mqtt.__version__}|3.1.1 5|tcp tls ws wss")
client = None
for line in sys.stdin:
    command, *words = line.split()
    if command == "connect":
        client = connect(*words)
    elif command == "subscribe":
        client.subscribe(words[0], int(words[1]))
    elif command == "publish":
        threading.Thread(target=publish, args=(client, *words), daemon=True).start()
    elif command == "disconnect":
        client.disconnect()
        client.loop_stop()
