// MQTT.js over TLS and WebSocket: argv has the directory of the certificates, and the ports of TLS, of TLS with
// certificates of clients, of WebSocket, and of WebSocket over TLS.
"use strict";

const assert = require("node:assert/strict");
const { once } = require("node:events");
const { readFileSync } = require("node:fs");
const mqtt = require("mqtt");

const [directory, tls, mutual, ws, wss] = process.argv.slice(2);
const PATIENCE_MS = 10_000;
const file = (name) => readFileSync(`${directory}/${name}`);

async function passes(url, options, size) {
    const client = mqtt.connect(url, { reconnectPeriod: 0, protocolVersion: 5, ...options });
    const signal = AbortSignal.timeout(PATIENCE_MS);
    try {
        await once(client, "connect", { signal });
        const topic = `mqtt.js/${new URL(url).port}/${size}`;
        await client.subscribeAsync(topic, { qos: 1 });
        const payload = Buffer.alloc(size, "payload");
        const message = once(client, "message", { signal });
        await client.publishAsync(topic, payload, { qos: 1 });
        assert.deepEqual((await message)[1], payload);
    } finally {
        await client.endAsync(true);
    }
}

async function main() {
    const ca = file("ca.pem");
    const own = { ca, cert: file("client.pem"), key: file("client.key") };
    const cases = [];
    for (const size of [5, 1_000_000]) {
        cases.push([`TLS, ${size} bytes`, `mqtts://localhost:${tls}`, { ca }, size]);
        cases.push([`TLS with a certificate, ${size} bytes`, `mqtts://localhost:${mutual}`, own, size]);
        cases.push([`WebSocket, ${size} bytes`, `ws://localhost:${ws}/mqtt`, {}, size]);
        cases.push([`WebSocket over TLS, ${size} bytes`, `wss://localhost:${wss}/mqtt`, { ca }, size]);
    }
    let failed = false;
    for (const [name, url, options, size] of cases) {
        try {
            await passes(url, options, size);
            console.log(`ok - MQTT.js: ${name}`);
        } catch (error) {
            console.log(`not ok - MQTT.js: ${name}: ${error.message.split("\n").join(" ")}`);
            failed = true;
        }
    }
    process.exit(failed ? 1 : 0);
}

main();
