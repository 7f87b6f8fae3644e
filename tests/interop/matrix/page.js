// Shows examples/javascript/thermometer.html in headless Chromium, fills in its form, and says what it says.
"use strict";

const { readFileSync } = require("node:fs");
const { dirname, join } = require("node:path");
const { show } = require("./chromium.js");

const PAGE = join(__dirname, "../../../examples/javascript/thermometer.html");
const DRIVER = `<script>
new MutationObserver(() => fetch("/say", { method: "POST", body: document.getElementById("log").textContent }))
    .observe(document.getElementById("log"), { childList: true });
document.getElementById("url").value = ${JSON.stringify(process.env.PAGE_BROKER)};
document.getElementById("password").value = ${JSON.stringify(process.env.MQTT_PASSWORD)};
document.querySelector("form").requestSubmit();
</script>`;
const FILES = {
    "/": ["text/html", readFileSync(PAGE, "utf8") + DRIVER],
    "/node_modules/mqtt/dist/mqtt.min.js": [
        "text/javascript",
        readFileSync(join(dirname(require.resolve("mqtt/package.json")), "dist/mqtt.min.js")),
    ],
};

// What the page says is all that it has said, and may be overtaken.
let saidBytes = 0;
show(FILES, process.env.PAGE_CERTIFICATE, (_, response, log) => {
    response.end();
    if (log.length > saidBytes) {
        process.stdout.write(log.slice(saidBytes));
        saidBytes = log.length;
    }
});
