// MQTT.js in headless Chromium: argv has the directory of the certificates, and the ports of two listeners for
// WebSocket, without and with TLS, that let in pages from http://app.example.com only.
"use strict";

const { spawn } = require("node:child_process");
const { createHash, X509Certificate } = require("node:crypto");
const { once } = require("node:events");
const { mkdtempSync, readFileSync, rmSync } = require("node:fs");
const { createServer } = require("node:http");
const { tmpdir } = require("node:os");
const { dirname, join } = require("node:path");

const [directory, ws, wss] = process.argv.slice(2);
const PATIENCE_MS = 30_000;
const FILES = {
    "/": ["text/html", readFileSync(join(__dirname, "browser.html"))],
    "/mqtt.js": ["text/javascript", readFileSync(join(dirname(require.resolve("mqtt/package.json")), "dist/mqtt.min.js"))],
};

// Serves the page, and passes on what it says.
function serve() {
    const server = createServer((request, response) => {
        const { pathname } = new URL(request.url, "http://localhost");
        if (request.method === "POST" && pathname === "/outcome") {
            let why = "";
            request.on("data", (data) => { why += data; });
            request.on("end", () => { response.end(); server.emit("outcome", why); });
            return;
        }
        const file = FILES[pathname];
        response.writeHead(file ? 200 : 404, { "Content-Type": file?.[0] ?? "text/plain" }).end(file?.[1]);
    });
    return server.listen(0, "127.0.0.1");
}

// The key of the broker's certificate, which no authority of the browser has signed.
function trustedKey() {
    const { publicKey } = new X509Certificate(readFileSync(join(directory, "server.pem")));
    return createHash("sha256").update(publicKey.export({ type: "spki", format: "der" })).digest("base64");
}

// Opens a page in a browser of its own, and returns what the page says.
async function open(server, page) {
    const profile = mkdtempSync(join(tmpdir(), "quelea-browser-"));
    const names = ["app", "other"].map((name) => `MAP ${name}.example.com:80 127.0.0.1:${server.address().port}`);
    const browser = spawn("chromium", [
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--disable-background-networking",
        "--disable-component-update",
        "--no-first-run",
        `--user-data-dir=${profile}`,
        `--host-resolver-rules=${names.join(", ")}`,
        `--ignore-certificate-errors-spki-list=${trustedKey()}`,
        page,
    ], { stdio: "ignore", detached: true });
    const ended = once(browser, "exit");
    try {
        const [why] = await once(server, "outcome", { signal: AbortSignal.timeout(PATIENCE_MS) });
        return why;
    } catch (error) {
        return `the page says nothing: ${error.message}`;
    } finally {
        // With all its processes.
        try { process.kill(-browser.pid, "SIGKILL"); } catch { /* It has ended by itself. */ }
        await ended;
        rmSync(profile, { recursive: true, force: true, maxRetries: 10 });
    }
}

async function main() {
    const server = serve();
    await once(server, "listening");
    const ways = [["WebSocket", `ws://localhost:${ws}/mqtt`], ["WebSocket over TLS", `wss://localhost:${wss}/mqtt`]];
    const cases = [];
    for (const name of ["MQTT 3.1.1", "MQTT 5.0", "a large message", "a thousand messages in order", "a session is resumed"]) {
        cases.push([...ways[1], "app", name]);
    }
    cases.push([...ways[0], "app", "MQTT 5.0"]);
    ways.forEach((way) => cases.push([...way, "other", "another origin is refused"]));
    let failed = false;
    for (const [way, broker, site, name] of cases) {
        const query = new URLSearchParams({ broker, case: name });
        const why = await open(server, `http://${site}.example.com/?${query}`);
        console.log(why ? `not ok - Chromium, ${way}: ${name}: ${why}` : `ok - Chromium, ${way}: ${name}`);
        failed ||= why !== "";
    }
    server.close();
    process.exit(failed ? 1 : 0);
}

main();
