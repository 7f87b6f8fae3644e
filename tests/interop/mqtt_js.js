// MQTT.js against the broker at argv[2]:argv[3].
"use strict";

const assert = require("node:assert/strict");
const { on, once } = require("node:events");
const mqtt = require("mqtt");

const [host, port] = process.argv.slice(2);
const PATIENCE_MS = 10_000;
const VERSIONS = {
    "3.1": { protocolId: "MQIsdp", protocolVersion: 3 },
    "3.1.1": { protocolId: "MQTT", protocolVersion: 4 },
    "5.0": { protocolId: "MQTT", protocolVersion: 5 },
};

// A client that is connected, with `sessionPresent` and its messages as a queue.
async function connect(version, options = {}) {
    const client = mqtt.connect({ host, port, reconnectPeriod: 0, ...VERSIONS[version], ...options });
    const messages = on(client, "message");
    const [connack] = await Promise.race([once(client, "connect"), closed(client)]);
    return {
        client,
        sessionPresent: connack.sessionPresent,
        receive: async () => {
            const [topic, payload, packet] = (await within(messages.next())).value;
            return { topic, payload: payload.toString(), packet };
        },
        subscribe: async (filter, qos) => {
            const granted = await within(client.subscribeAsync(filter, { qos }));
            assert.deepEqual(granted.map((it) => it.qos), [qos]);
        },
        publish: (topic, payload, options) => within(client.publishAsync(topic, payload, options)),
        end: () => within(client.endAsync()),
    };
}

async function closed(client) {
    await once(client, "close");
    throw new Error("the connection closed");
}

// Fails when `promise` takes longer than anyone would wait.
function within(promise) {
    let timer;
    const timeout = new Promise((_, reject) => {
        timer = setTimeout(() => reject(new Error("nothing came")), PATIENCE_MS);
    });
    return Promise.race([promise, timeout]).finally(() => clearTimeout(timer));
}

async function messagesPass(version, topic, qos) {
    const [subscriber, publisher] = [await connect(version), await connect(version)];
    await subscriber.subscribe(topic, qos);
    await publisher.publish(topic, "hello", { qos });
    const { payload, packet } = await subscriber.receive();
    assert.deepEqual([payload, packet.qos, packet.retain], ["hello", qos, false]);
    await Promise.all([subscriber.end(), publisher.end()]);
}

async function retainedIsKeptAndCleared(version, topic) {
    const publisher = await connect(version);
    await publisher.publish(topic, "first", { qos: 1, retain: true });
    await publisher.publish(topic, "second", { qos: 1, retain: true });
    const early = await connect(version);
    await early.subscribe(topic, 1);
    const { payload, packet } = await early.receive();
    assert.deepEqual([payload, packet.retain], ["second", true]);

    await publisher.publish(topic, "", { qos: 1, retain: true });
    const late = await connect(version);
    await late.subscribe(topic, 1);
    await publisher.publish(topic, "live", { qos: 1 });
    assert.equal((await late.receive()).payload, "live");
    await Promise.all([publisher.end(), early.end(), late.end()]);
}

async function willIsSentWhenTheClientIsLost(version, topic) {
    const subscriber = await connect(version);
    await subscriber.subscribe(topic, 1);
    const victim = await connect(version, { will: { topic, payload: Buffer.from("gone"), qos: 1 } });
    victim.client.stream.destroy();
    assert.equal((await subscriber.receive()).payload, "gone");
    await subscriber.end();
}

async function sessionIsResumed(version, topic, qos) {
    const keeper = { clientId: `keeper-js-${version}-${qos}`, clean: false };
    if (version === "5.0") keeper.properties = { sessionExpiryInterval: 600 };
    // Left on, MQTT.js subscribes again by itself.
    keeper.resubscribe = false;
    const before = await connect(version, keeper);
    assert.equal(Boolean(before.sessionPresent), false);
    await before.subscribe(topic, qos);
    await before.end();

    const publisher = await connect(version);
    for (const payload of ["1", "2", "3"]) await publisher.publish(topic, payload, { qos });
    await publisher.end();

    const after = await connect(version, keeper);
    // CONNACK says so only since 3.1.1.
    assert.equal(Boolean(after.sessionPresent), version !== "3.1");
    for (const payload of ["1", "2", "3"]) assert.equal((await after.receive()).payload, payload);
    await after.end();
    await (await connect(version, { clientId: keeper.clientId, clean: true })).end();
}

async function orderIsKept(version, topic, qos) {
    const [subscriber, publisher] = [await connect(version), await connect(version)];
    await subscriber.subscribe(topic, qos);
    const sent = Array.from({ length: 1000 }, (_, number) => String(number));
    // MQTT.js has no window of its own: a broker may refuse a thousand at once.
    for (let start = 0; start < sent.length; start += 20) {
        const batch = sent.slice(start, start + 20);
        await Promise.all(batch.map((payload) => publisher.publish(topic, payload, { qos })));
    }
    for (const payload of sent) assert.equal((await subscriber.receive()).payload, payload);
    await Promise.all([subscriber.end(), publisher.end()]);
}

async function largePayloadPasses(version, topic) {
    const payload = "0123456789".repeat(100_000);
    const [subscriber, publisher] = [await connect(version), await connect(version)];
    await subscriber.subscribe(topic, 2);
    await publisher.publish(topic, payload, { qos: 2 });
    assert.ok((await subscriber.receive()).payload === payload, "another payload arrived");
    await Promise.all([subscriber.end(), publisher.end()]);
}

async function sharedSubscriptionGivesEachMessageOnce(version, topic) {
    const members = [await connect(version), await connect(version)];
    const publisher = await connect(version);
    const received = [];
    const sent = Array.from({ length: 100 }, (_, number) => String(number));
    const complete = new Promise((resolve) => {
        for (const { client } of members) {
            client.on("message", (_, payload) => received.push(String(payload)) === sent.length && resolve());
        }
    });
    for (const member of members) await member.subscribe(`$share/group/${topic}`, 1);
    for (const payload of sent) await publisher.publish(topic, payload, { qos: 1 });
    await within(complete);
    assert.deepEqual(received.sort(), sent.sort());
    await Promise.all([...members, publisher].map((it) => it.end()));
}

async function propertiesPass(version, topic) {
    const [subscriber, publisher] = [await connect(version), await connect(version)];
    await subscriber.subscribe(topic, 1);
    const properties = {
        payloadFormatIndicator: true,
        contentType: "text/plain",
        responseTopic: "reply/here",
        correlationData: Buffer.from([0, 1, 2]),
        userProperties: { name: ["value", "again"], other: "one" },
    };
    await publisher.publish(topic, "grüße", { qos: 1, properties });
    const { payload, packet } = await subscriber.receive();
    assert.equal(payload, "grüße");
    assert.deepEqual({ ...packet.properties, userProperties: { ...packet.properties.userProperties } }, properties);
    await Promise.all([subscriber.end(), publisher.end()]);
}

async function main() {
    const cases = [
        ...[0, 1, 2].map((qos) => [`QoS ${qos} passes`, messagesPass, qos]),
        ["a retained message is kept, replaced and cleared", retainedIsKeptAndCleared],
        ["the will is sent when the client is lost", willIsSentWhenTheClientIsLost],
        ...[1, 2].map((qos) => [`a session is resumed with QoS ${qos}`, sessionIsResumed, qos]),
        ...[0, 1, 2].map((qos) => [`1,000 messages of QoS ${qos} stay in order`, orderIsKept, qos]),
        ["1 MB passes", largePayloadPasses],
    ];
    const onlyV5 = [
        ["a shared subscription gives each message once", sharedSubscriptionGivesEachMessageOnce],
        ["properties pass unaltered", propertiesPass],
    ];
    let failed = false;
    for (const version of Object.keys(VERSIONS)) {
        const all = version === "5.0" ? [...cases, ...onlyV5] : cases;
        for (const [number, [name, test, ...rest]] of all.entries()) {
            try {
                await test(version, `mqtt.js/${version}/${number}`, ...rest);
                console.log(`ok - MQTT.js ${version}: ${name}`);
            } catch (error) {
                console.log(`not ok - MQTT.js ${version}: ${name}: ${error.message.split("\n").join(" ")}`);
                failed = true;
            }
        }
    }
    // Ends the connections of cases that failed.
    process.exit(failed ? 1 : 0);
}

main();
