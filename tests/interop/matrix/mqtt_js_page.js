// MQTT.js in a page in headless Chromium, driven as README.md says. argv has the broker's certificate.
"use strict";

const { readFileSync } = require("node:fs");
const { dirname, join } = require("node:path");
const { createInterface } = require("node:readline");
const { show } = require("./chromium.js");

const PAGE = `<!DOCTYPE html>
<meta charset="utf-8">
<script src="/mqtt.js"></script>
<script src="/adapter.js"></script>
<script>
"use strict";
// One answer after the other, in their order.
let said = Promise.resolve();
const say = (...words) => { said = said.then(() => fetch("/say", { method: "POST", body: words.join(" ") })); };
const carryOut = makeAdapter(mqtt, say, () => undefined);
(async () => {
    for (;;) carryOut(await (await fetch("/next")).text());
})();
</script>`;
const FILES = {
    "/": ["text/html", PAGE],
    "/adapter.js": ["text/javascript", readFileSync(join(__dirname, "mqtt_js_adapter.js"))],
    "/mqtt.js": ["text/javascript", readFileSync(join(dirname(require.resolve("mqtt/package.json")), "dist/mqtt.min.js"))],
};

// Lines that the page has not asked for yet, or the page's request that waits for one.
const waiting = [];
let asking;

function pass() {
    if (asking && waiting.length > 0) {
        asking.end(waiting.shift());
        asking = undefined;
    }
}

const end = show(FILES, process.argv[2], (path, response, words) => {
    if (path === "/next") {
        asking = response;
        pass();
    } else {
        if (path === "/say") console.log(words);
        response.end();
    }
});
const lines = createInterface({ input: process.stdin });
lines.on("line", (line) => { waiting.push(line); pass(); });
lines.on("close", end);
console.log(`client|MQTT.js (page in Chromium)|${require("mqtt/package.json").version}|3.1.1 5|ws wss`);
