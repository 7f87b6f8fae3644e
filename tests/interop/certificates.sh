#!/usr/bin/env bash
# Makes the certificates that the other programs use, in the directory $1: an authority (ca), the broker's (server), and
# those of a client: a good one (client), one that has expired (expired), and one of a stranger (stranger).
set -eu
cd "$1"

authority() {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 90 -subj "/CN=$1" \
        -keyout "$1.key" -out "$1.pem"
}

# issue NAME AUTHORITY OPENSSL-X509-FLAGS...
issue() {
    local name=$1 authority=$2
    shift 2
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$name" -keyout "$name.key" -out "$name.csr"
    openssl x509 -req -in "$name.csr" -CA "$authority.pem" -CAkey "$authority.key" -out "$name.pem" \
        -extfile <(echo "subjectAltName=DNS:localhost,IP:127.0.0.1") "$@"
}

{
    authority ca
    authority other
    issue server ca -days 90
    issue client ca -days 90
    issue stranger other -days 90
    # Not every version of openssl can be told when a certificate begins, but all take a negative duration.
    issue expired ca -days -1
} 2>/dev/null
