// MQTT.js, driven as README.md says, in Node and in a page: what both have in common.
"use strict";

const SCHEMES = { tcp: "mqtt", tls: "mqtts", ws: "ws", wss: "wss" };

// Returns what carries out a line. `say` passes on an answer, and `authority` reads a certificate, where that is wanted.
function makeAdapter(mqtt, say, authority) {
    let client;
    let isLeaving = false;

    const commands = {
        connect(version, way, port, clientId, keep, ca) {
            isLeaving = false;
            client = mqtt.connect(`${SCHEMES[way]}://localhost:${port}/mqtt`, {
                clientId,
                protocolVersion: version === "5" ? 5 : 4,
                clean: keep === "0",
                properties: version === "5" ? { sessionExpiryInterval: keep === "1" ? 600 : 0 } : undefined,
                ca: authority(ca),
                reconnectPeriod: 200,
                resubscribe: false,
            });
            client.on("connect", (connack) => say("connected", Number(connack.sessionPresent)));
            client.on("close", () => say(isLeaving ? "disconnected" : "lost"));
            client.on("error", () => {});
            client.on("message", (_, payload, { qos }) => say("message", qos, payload.length, payload.toString().split(" ")[0]));
        },

        async subscribe(topic, qos) {
            await client.subscribeAsync(topic, { qos: Number(qos) });
            say("subscribed");
        },

        async publish(topic, qos, count, size) {
            const payloads = Array.from({ length: Number(count) }, (_, number) => `${number} `.padEnd(Number(size), "x"));
            await Promise.all(payloads.map((it) => client.publishAsync(topic, it, { qos: Number(qos) })));
            say("published", count);
        },

        disconnect() {
            isLeaving = true;
            client.end();
        },
    };

    return (line) => {
        const [command, ...words] = line.split(" ");
        return commands[command](...words);
    };
}

if (typeof module !== "undefined") module.exports = makeAdapter;
