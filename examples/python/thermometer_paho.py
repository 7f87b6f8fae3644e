"""A thermometer with paho-mqtt: publishes a temperature every second, and takes a target. See examples/README.md."""

import os
import queue
import time

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

target = "21.5"
readings = {}  # Those that the broker has not acknowledged yet, by message id.
acknowledged = queue.SimpleQueue()  # The functions below are called on another thread.


def on_connect(client, _data, _flags, reason, _properties):
    if reason.is_failure:
        print(f"refused: {reason}", flush=True)
        return
    print("connected", flush=True)
    client.subscribe("home/thermometer/set", qos=1)
    client.publish("home/thermometer/status", "online", qos=1, retain=True)


def on_disconnect(_client, _data, _flags, reason, _properties):
    print(f"disconnected: {reason}", flush=True)


def on_message(_client, _data, message):
    global target
    target = message.payload.decode()
    print(f"set {target}", flush=True)


def on_publish(_client, _data, mid, _reason, _properties):
    acknowledged.put(mid)


client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id="thermometer", protocol=mqtt.MQTTv5)
client.username_pw_set(os.environ.get("MQTT_USER", "thermometer"), os.environ.get("MQTT_PASSWORD"))
client.tls_set(ca_certs=os.environ.get("MQTT_CA", "ca.pem"))
client.will_set("home/thermometer/status", "offline", qos=1, retain=True)
client.reconnect_delay_set(min_delay=1, max_delay=30)
client.on_connect = on_connect
client.on_disconnect = on_disconnect
client.on_message = on_message
client.on_publish = on_publish

# What is sent to us while we are away waits for us for an hour.
session = Properties(PacketTypes.CONNECT)
session.SessionExpiryInterval = 3600
host, port = os.environ.get("MQTT_HOST", "localhost"), int(os.environ.get("MQTT_PORT", "8883"))
client.connect_async(host, port, clean_start=False, properties=session)
client.loop_start()  # Connects, and connects again after each loss.
try:
    while True:
        sent = client.publish("home/thermometer/temperature", target, qos=1)
        readings[sent.mid] = target
        time.sleep(1)
        while not acknowledged.empty():
            mid = acknowledged.get()
            if mid in readings:
                print(f"published {readings.pop(mid)}", flush=True)
except KeyboardInterrupt:
    offline = client.publish("home/thermometer/status", "offline", qos=1, retain=True)
    if offline.rc == mqtt.MQTT_ERR_SUCCESS:  # Else there is no connection, and the broker has published the will.
        offline.wait_for_publish(5)
    client.disconnect()
    client.loop_stop()
