// MQTT.js in Node, driven as README.md says.
"use strict";

const { readFileSync } = require("node:fs");
const { createInterface } = require("node:readline");
const mqtt = require("mqtt");
const makeAdapter = require("./mqtt_js_adapter.js");

const say = (...words) => console.log(...words);
say(`client|MQTT.js (Node)|${require("mqtt/package.json").version}|3.1.1 5|tcp tls ws wss`);
const lines = createInterface({ input: process.stdin });
lines.on("line", makeAdapter(mqtt, say, readFileSync));
lines.on("close", () => process.exit(0));
