"""paho-mqtt (Python) against the broker at argv[1]:argv[2]."""

import queue
import sys

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

HOST, PORT = sys.argv[1], int(sys.argv[2])
PATIENCE_SECS = 10
VERSIONS = {"3.1": mqtt.MQTTv31, "3.1.1": mqtt.MQTTv311, "5.0": mqtt.MQTTv5}


class Client:
    """A paho client whose callbacks are queues, so that a case reads from top to bottom."""

    def __init__(self, version, client_id="", clean=True, will=None, expiry_secs=None):
        self.version, self.messages, self.events = version, queue.Queue(), queue.Queue()
        is_v5 = version == mqtt.MQTTv5
        session = {} if is_v5 else {"clean_session": clean}
        self.paho = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id, protocol=version, **session)
        self.paho.max_queued_messages_set(0)
        self.paho.on_connect = lambda _c, _u, flags, reason, _p: self.events.put(("connected", (flags, reason)))
        self.paho.on_subscribe = lambda _c, _u, mid, reasons, _p: self.events.put(("subscribed", reasons))
        self.paho.on_message = lambda _c, _u, message: self.messages.put(message)
        self.paho.on_disconnect = lambda *_: self.events.put(("disconnected", None))
        if will:
            self.paho.will_set(*will)
        start = {}
        if is_v5:
            start["clean_start"] = clean
            start["properties"] = Properties(PacketTypes.CONNECT)
            if expiry_secs is not None:
                start["properties"].SessionExpiryInterval = expiry_secs
        self.paho.connect(HOST, PORT, keepalive=60, **start)
        self.paho.loop_start()
        flags, reason = self.wait_for("connected")
        assert not reason.is_failure, f"refused: {reason}"
        self.session_present = flags.session_present

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.paho.disconnect()
        self.wait_for("disconnected")
        self.paho.loop_stop()

    def wait_for(self, wanted):
        while True:
            event, value = self.events.get(timeout=PATIENCE_SECS)
            if event == wanted:
                return value

    def subscribe(self, topic_filter, qos):
        if self.version == mqtt.MQTTv5:
            self.paho.subscribe(topic_filter, options=SubscribeOptions(qos=qos))
        else:
            self.paho.subscribe(topic_filter, qos)
        granted = self.wait_for("subscribed")
        assert [it.value for it in granted] == [qos], f"granted {granted}"

    def publish(self, topic, payload, qos, **options):
        self.paho.publish(topic, payload, qos, **options).wait_for_publish(PATIENCE_SECS)

    def receive(self):
        return self.messages.get(timeout=PATIENCE_SECS)

    def lose_the_connection(self):
        """Closes the socket without a DISCONNECT."""
        self.paho.loop_stop()
        self.paho.socket().close()


def messages_pass(version, topic, qos):
    with Client(version) as subscriber, Client(version) as publisher:
        subscriber.subscribe(topic, qos)
        publisher.publish(topic, b"hello", qos)
        message = subscriber.receive()
        equal((message.payload, message.qos, message.retain), (b"hello", qos, False))


def retained_is_kept_and_cleared(version, topic):
    with Client(version) as publisher:
        publisher.publish(topic, b"first", 1, retain=True)
        publisher.publish(topic, b"second", 1, retain=True)
        with Client(version) as subscriber:
            subscriber.subscribe(topic, 1)
            message = subscriber.receive()
            equal((message.payload, message.retain), (b"second", True))
        publisher.publish(topic, b"", 1, retain=True)
        with Client(version) as subscriber:
            subscriber.subscribe(topic, 1)
            publisher.publish(topic, b"live", 1)
            equal(subscriber.receive().payload, b"live")


def will_is_sent_when_the_client_is_lost(version, topic):
    with Client(version) as subscriber:
        subscriber.subscribe(topic, 1)
        Client(version, will=(topic, b"gone", 1, False)).lose_the_connection()
        message = subscriber.receive()
        equal((message.payload, message.qos), (b"gone", 1))
        # A client that says goodbye has no will.
        with Client(version, will=(topic, b"not wanted", 1, False)):
            pass
        subscriber.publish(topic, b"end", 1)
        equal(subscriber.receive().payload, b"end")


def session_is_resumed(version, topic, qos):
    keeper = {"version": version, "client_id": f"keeper-{version}-{qos}", "expiry_secs": 600}
    with Client(**keeper, clean=True):
        pass
    with Client(**keeper, clean=False) as subscriber:
        # A clean start in 3.x leaves nothing behind; in 5.0 it is the expiry that decides.
        equal(subscriber.session_present, version == mqtt.MQTTv5)
        subscriber.subscribe(topic, qos)
    with Client(version) as publisher:
        for payload in (b"1", b"2", b"3"):
            publisher.publish(topic, payload, qos)
    with Client(**keeper, clean=False) as subscriber:
        # CONNACK says so only since 3.1.1.
        equal(subscriber.session_present, version != mqtt.MQTTv31)
        equal([subscriber.receive().payload for _ in range(3)], [b"1", b"2", b"3"])
    with Client(version, client_id=keeper["client_id"], clean=True) as subscriber:
        equal(subscriber.session_present, False)


def order_is_kept(version, topic, qos):
    with Client(version) as subscriber, Client(version) as publisher:
        subscriber.subscribe(topic, qos)
        sent = [str(number).encode() for number in range(1000)]
        for payload in sent:
            publisher.paho.publish(topic, payload, qos)
        equal([subscriber.receive().payload for _ in sent], sent)


def large_payload_passes(version, topic):
    payload = bytes(range(256)) * 3907  # a little over 1,000,000 bytes
    with Client(version) as subscriber, Client(version) as publisher:
        subscriber.subscribe(topic, 2)
        publisher.publish(topic, payload, 2)
        assert subscriber.receive().payload == payload, "another payload arrived"


def shared_subscription_gives_each_message_once(version, topic):
    with Client(version) as first, Client(version) as second, Client(version) as publisher:
        for member in (first, second):
            member.messages = shared = first.messages
            member.subscribe(f"$share/group/{topic}", 1)
        sent = [str(number).encode() for number in range(100)]
        for payload in sent:
            publisher.publish(topic, payload, 1)
        received = [shared.get(timeout=PATIENCE_SECS).payload for _ in sent]
        equal(sorted(received), sorted(sent))


def properties_pass(version, topic):
    with Client(version) as subscriber, Client(version) as publisher:
        subscriber.subscribe(topic, 1)
        properties = Properties(PacketTypes.PUBLISH)
        properties.PayloadFormatIndicator = 1
        properties.ContentType = "text/plain"
        properties.ResponseTopic = "reply/here"
        properties.CorrelationData = b"\x00token"
        properties.UserProperty = [("name", "value"), ("name", "again"), ("", "")]
        publisher.publish(topic, "grüße", 1, properties=properties)
        arrived = subscriber.receive().properties.json()
        equal(arrived, properties.json())


def equal(actual, expected):
    assert actual == expected, f"expected {expected!r}, got {actual!r}"


def main():
    cases = [(f"QoS {qos} passes", messages_pass, qos) for qos in (0, 1, 2)]
    cases += [
        ("a retained message is kept, replaced and cleared", retained_is_kept_and_cleared),
        ("the will is sent when the client is lost", will_is_sent_when_the_client_is_lost),
    ]
    cases += [(f"a session is resumed with QoS {qos}", session_is_resumed, qos) for qos in (1, 2)]
    cases += [(f"1,000 messages of QoS {qos} stay in order", order_is_kept, qos) for qos in (0, 1, 2)]
    cases += [("1 MB passes", large_payload_passes)]
    only_v5 = [
        ("a shared subscription gives each message once", shared_subscription_gives_each_message_once),
        ("properties pass unaltered", properties_pass),
    ]
    failed = False
    for version_name, version in VERSIONS.items():
        for number, (name, case, *arguments) in enumerate(cases + only_v5 * (version == mqtt.MQTTv5)):
            name = f"paho-mqtt {version_name}: {name}"
            try:
                case(version, f"paho/{version_name}/{number}", *arguments)
                print(f"ok - {name}", flush=True)
            except Exception as error:
                why = "nothing came" if isinstance(error, queue.Empty) else f"{type(error).__name__} {error}"
                print(f"not ok - {name}: {why}", flush=True)
                failed = True
    sys.exit(failed)


main()
