// A thermometer with MQTT.js in Node: publishes a temperature every second, and takes a target. See examples/README.md.

import { readFileSync } from "node:fs";
import mqtt from "mqtt";

const { MQTT_HOST = "localhost", MQTT_PORT = "8883", MQTT_USER = "thermometer", MQTT_PASSWORD, MQTT_CA = "ca.pem" } = process.env;
let target = "21.5";

// It connects by itself, and again after each loss.
const client = mqtt.connect(`mqtts://${MQTT_HOST}:${MQTT_PORT}`, {
    username: MQTT_USER,
    password: MQTT_PASSWORD,
    ca: readFileSync(MQTT_CA),
    clientId: "thermometer",
    protocolVersion: 5,
    // What is sent to us while we are away waits for us for an hour.
    clean: false,
    properties: { sessionExpiryInterval: 3600 },
    will: { topic: "home/thermometer/status", payload: Buffer.from("offline"), qos: 1, retain: true },
});

client.on("connect", () => {
    console.log("connected");
    client.subscribe("home/thermometer/set", { qos: 1 });
    client.publish("home/thermometer/status", "online", { qos: 1, retain: true });
});
client.on("close", () => console.log("disconnected"));
client.on("error", (error) => console.error(error.message));
client.on("message", (_topic, payload) => {
    target = payload.toString();
    console.log(`set ${target}`);
});

const ticks = setInterval(() => {
    const reading = target;
    client.publish("home/thermometer/temperature", reading, { qos: 1 }, (error) => {
        console.log(error ? `${reading} is not published: ${error.message}` : `published ${reading}`);
    });
}, 1000);

// A second Ctrl-C ends it at once.
process.once("SIGINT", () => {
    clearInterval(ticks);
    // Without a connection nothing is published: then the broker has published the will.
    setTimeout(() => client.end(true), 5000).unref();
    client.publish("home/thermometer/status", "offline", { qos: 1, retain: true }, () => client.end());
});
