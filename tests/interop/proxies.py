"""paho-mqtt (Python) through HAProxy and nginx, with the recipes of docs/listeners.md: argv has the directory of the
certificates, and the ports of a listener for the PROXY protocol and of one for X-Forwarded-For. Clients come from
addresses of their own, 127.0.0.2 and 127.0.0.3; whoever has started this looks for them in the broker's log."""

import os
import pathlib
import queue
import re
import socket
import subprocess
import sys

import paho.mqtt.client as mqtt

DIRECTORY, PROXY_PROTOCOL, FORWARDED_FOR = pathlib.Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
DOCUMENT = pathlib.Path(__file__).parents[2] / "docs" / "listeners.md"
ENVIRONMENT = {**os.environ, "PATH": os.environ["PATH"] + ":/usr/sbin"}
ORIGIN = "https://app.example.com"
PATIENCE_SECS = 10


def recipe(proxy, address, port):
    """Returns the recipe that the document has for a proxy, with the broker on a port of this test."""
    text = re.search(rf"{proxy}:\n\n```text\n(.*?)```", DOCUMENT.read_text(), re.S).group(1)
    assert address in text, text
    return text.replace(address, f"127.0.0.1:{port}")


def listening():
    """Opens a port for a proxy, which inherits it: clients can connect before the proxy has started."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.set_inheritable(True)
    # nginx takes it for one that it has made itself.
    listener.setblocking(False)
    return listener


def haproxy(listener):
    pem = DIRECTORY / "haproxy.pem"
    pem.write_text((DIRECTORY / "server.pem").read_text() + (DIRECTORY / "server.key").read_text())
    configuration = DIRECTORY / "haproxy.cfg"
    configuration.write_text(
        "defaults\n    timeout connect 10s\n    timeout client 60s\n    timeout server 60s\n"
        f"frontend mqtts\n    mode tcp\n    bind fd@{listener.fileno()} ssl crt {pem}\n    default_backend quelea\n"
        + recipe("HAProxy", "10.0.0.5:1884", PROXY_PROTOCOL)
    )
    return start(["haproxy", "-db", "-f", configuration], listener)


def nginx(listener):
    configuration = DIRECTORY / "nginx.conf"
    paths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
    temporary = "".join(f"    {it}_temp_path {DIRECTORY}/nginx-{it};\n" for it in paths)
    configuration.write_text(
        f"daemon off;\npid {DIRECTORY}/nginx.pid;\nerror_log stderr;\nevents {{ }}\nhttp {{\n"
        f"    access_log off;\n{temporary}    server {{\n        listen 127.0.0.1:{listener.getsockname()[1]} ssl;\n"
        f"        ssl_certificate {DIRECTORY}/server.pem;\n        ssl_certificate_key {DIRECTORY}/server.key;\n"
        + recipe("nginx", "127.0.0.1:8083", FORWARDED_FOR)
        + "    }\n}\n"
    )
    command = ["nginx", "-p", DIRECTORY, "-e", "stderr", "-c", configuration]
    return start(command, listener, NGINX=f"{listener.fileno()};")


def start(command, listener, **environment):
    return subprocess.Popen(
        command, pass_fds=[listener.fileno()], env={**ENVIRONMENT, **environment}, stderr=subprocess.PIPE
    )


def passes(port, client_id, source, transport="tcp"):
    events = queue.Queue()
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id, transport=transport)
    client.tls_set(ca_certs=DIRECTORY / "ca.pem")
    # What a client says of itself is not believed: nginx says whom it comes from, behind that.
    client.ws_set_options(headers={"Origin": ORIGIN, "X-Forwarded-For": "203.0.113.1"})
    client.on_connect = lambda _c, _u, _f, reason, _p: events.put(reason.value)
    client.on_subscribe = lambda *_: events.put("subscribed")
    client.on_message = lambda _c, _u, message: events.put(message.payload)
    client.connect("localhost", port, bind_address=source)
    client.loop_start()
    try:
        assert events.get(timeout=PATIENCE_SECS) == 0
        client.subscribe(client_id, 1)
        assert events.get(timeout=PATIENCE_SECS) == "subscribed"
        payload = bytes(index % 251 for index in range(300_000))
        client.publish(client_id, payload, 1)
        assert events.get(timeout=PATIENCE_SECS) == payload
    finally:
        client.disconnect()
        client.loop_stop()


def through(proxy, case):
    with listening() as listener, proxy(listener) as process:
        try:
            case(listener.getsockname()[1])
        except Exception as error:
            process.terminate()
            raise RuntimeError(process.stderr.read().decode()[-500:]) from error
        finally:
            process.terminate()


def is_turned_away():
    """Connects past the proxy, and pretends to be one."""
    with socket.create_connection(("127.0.0.1", PROXY_PROTOCOL), PATIENCE_SECS, ("127.0.0.2", 0)) as stream:
        try:
            stream.sendall(b"PROXY TCP4 203.0.113.1 10.0.0.1 4711 8883\r\n")
            assert stream.recv(1) == b""
        except (ConnectionResetError, BrokenPipeError):
            pass


CASES = {
    "TLS that ends at HAProxy": lambda: through(haproxy, lambda port: passes(port, "behind-haproxy", "127.0.0.2")),
    "WebSocket over TLS that ends at nginx": lambda: through(
        nginx, lambda port: passes(port, "behind-nginx", "127.0.0.3", "websockets")
    ),
    "who comes past the proxy is turned away": is_turned_away,
}

failed = False
for name, case in CASES.items():
    try:
        case()
        print(f"ok - proxies: {name}", flush=True)
    except Exception as error:
        print(f"not ok - proxies: {name}: {error!r}, {error.__cause__!r}", flush=True)
        failed = True
sys.exit(failed)
