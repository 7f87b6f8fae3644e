"""paho-mqtt (Python) over TLS and WebSocket: argv has the directory of the certificates, and the ports of TLS, of TLS
with certificates of clients, of WebSocket, and of WebSocket over TLS."""

import queue
import sys

import paho.mqtt.client as mqtt

DIRECTORY, TLS, MUTUAL, WS, WSS = sys.argv[1], *map(int, sys.argv[2:6])
PATIENCE_SECS = 10


def passes(port, transport, is_secure, certificate=None, size=5):
    events = queue.Queue()
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, transport=transport)
    if is_secure:
        own = [f"{DIRECTORY}/{certificate}.{it}" for it in ("pem", "key")] if certificate else [None, None]
        client.tls_set(ca_certs=f"{DIRECTORY}/ca.pem", certfile=own[0], keyfile=own[1])
    client.on_connect = lambda *_: events.put("connected")
    client.on_subscribe = lambda *_: events.put("subscribed")
    client.on_message = lambda _c, _u, message: events.put(message.payload)
    client.connect("localhost", port)
    client.loop_start()
    try:
        assert events.get(timeout=PATIENCE_SECS) == "connected"
        topic = f"paho/{port}/{size}"
        client.subscribe(topic, 1)
        assert events.get(timeout=PATIENCE_SECS) == "subscribed"
        payload = bytes(index % 251 for index in range(size))
        client.publish(topic, payload, 1)
        assert events.get(timeout=PATIENCE_SECS) == payload
    finally:
        client.disconnect()
        client.loop_stop()


CASES = {
    "TLS": lambda: passes(TLS, "tcp", True),
    "TLS with a certificate": lambda: passes(MUTUAL, "tcp", True, "client"),
    "WebSocket": lambda: passes(WS, "websockets", False),
    "WebSocket over TLS": lambda: passes(WSS, "websockets", True),
    "1 MB over TLS": lambda: passes(TLS, "tcp", True, size=1_000_000),
    "1 MB over WebSocket over TLS": lambda: passes(WSS, "websockets", True, size=1_000_000),
}

failed = False
for name, case in CASES.items():
    try:
        case()
        print(f"ok - paho: {name}", flush=True)
    except Exception as error:
        print(f"not ok - paho: {name}: {error!r}", flush=True)
        failed = True
sys.exit(failed)
