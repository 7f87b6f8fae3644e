// A page in headless Chromium, from a server of its own.
"use strict";

const { spawn } = require("node:child_process");
const { createHash, X509Certificate } = require("node:crypto");
const { mkdtempSync, readFileSync, rmSync } = require("node:fs");
const { createServer } = require("node:http");
const { tmpdir } = require("node:os");
const { join } = require("node:path");

// Shows the page "/" of `files`, each a type and its content. The browser trusts the broker's `certificate`, whose
// authority it does not know. What else the page asks for goes to `answer`, with what was posted. Returns what ends it.
function show(files, certificate, answer) {
    const profile = mkdtempSync(join(tmpdir(), "quelea-page-"));
    const { publicKey } = new X509Certificate(readFileSync(certificate));
    const key = createHash("sha256").update(publicKey.export({ type: "spki", format: "der" })).digest("base64");
    let browser;
    const server = createServer((request, response) => {
        const { pathname } = new URL(request.url, "http://localhost");
        const file = files[pathname];
        if (file) {
            response.writeHead(200, { "Content-Type": file[0] }).end(file[1]);
            return;
        }
        let posted = "";
        request.on("data", (data) => { posted += data; });
        request.on("end", () => answer(pathname, response, posted));
    });
    server.listen(0, "127.0.0.1", () => {
        browser = spawn("chromium", [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-background-networking",
            "--disable-component-update",
            "--no-first-run",
            `--user-data-dir=${profile}`,
            `--ignore-certificate-errors-spki-list=${key}`,
            `http://localhost:${server.address().port}/`,
        ], { stdio: "ignore" });
    });
    return () => {
        browser.once("exit", () => {
            rmSync(profile, { recursive: true, force: true, maxRetries: 10 });
            process.exit(0);
        });
        browser.kill("SIGKILL");
    };
}

module.exports = { show };
