#!/usr/bin/env bash
# Makes a certificate for a broker on this machine (server.pem, server.key), and the authority that signs it (ca.pem).
set -eu
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 365 -subj "/CN=My authority" \
    -keyout ca.key -out ca.pem
openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=localhost" -keyout server.key -out server.csr
openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -days 90 -out server.pem \
    -extfile <(echo "subjectAltName=DNS:localhost,IP:127.0.0.1")
