#!/usr/bin/env bash
# mosquitto_pub, mosquitto_sub and openssl against the listeners of a broker: TLS at $2, TLS with certificates of
# clients at $3. Certificates are in the directory $1, where certificates.sh has made them.
set -u
cd "$1" || exit 1
tls=$2 mutual=$3
failed=0

# Runs a case: a function that fails, or says on its output what went wrong.
check() {
    local name="TLS: $1" why
    shift
    if why=$("$@" 2>&1) && [ -z "$why" ]; then
        echo "ok - $name"
    else
        echo "not ok - $name: ${why:-it failed}"
        failed=1
    fi
}

message_passes() {
    local port=$1
    shift
    # Retained, so that the order does not matter.
    mosquitto_pub -h localhost -p "$port" "$@" -t secure -m hello -q 1 -r || return
    local got
    got=$(timeout 10 mosquitto_sub -h localhost -p "$port" "$@" -t secure -C 1)
    [ "$got" = hello ] || echo "got '$got'"
}

is_refused() {
    local port=$1
    shift
    if mosquitto_pub -h localhost -p "$port" "$@" -t secure -m hello -q 1 >/dev/null 2>&1; then
        echo "it was let in"
    fi
}

# s_client OUTPUT-PATTERN FLAGS...: what openssl says of a connection has the pattern.
s_client() {
    local pattern=$1 said
    shift
    said=$(timeout 10 openssl s_client -connect "localhost:$tls" -CAfile ca.pem "$@" </dev/null 2>&1)
    grep -q -e "$pattern" <<<"$said" || echo "no '$pattern' in: $(tr '\n' ' ' <<<"$said" | tail -c 300)"
}

resumes() {
    rm -f session
    # The ticket comes after the handshake, so something has to be waited for: the end that the broker makes, which
    # sees no CONNECT in this.
    printf 'x' | timeout 10 openssl s_client -connect "localhost:$tls" -CAfile ca.pem "$@" -sess_out session -ign_eof >/dev/null 2>&1
    [ -s session ] || { echo "there is no session"; return; }
    s_client "Reused, TLSv" "$@" -sess_in session
}

renegotiation_is_refused() {
    local said
    # openssl asks for it when it reads an R, and ends when the input does: so that stays open.
    rm -f commands
    mkfifo commands
    exec 4<>commands
    echo R >&4
    said=$(timeout 10 openssl s_client -connect "localhost:$tls" -CAfile ca.pem -tls1_2 <commands 2>&1)
    exec 4>&-
    grep -q -i -e "no renegotiation" -e "handshake failure" -e "ssl3_read_bytes" -e "unexpected" <<<"$said" ||
        echo "got: $(tail -c 300 <<<"$said" | tr '\n' ' ')"
}

for version in mqttv31 mqttv311 mqttv5; do
    check "mosquitto passes a message ($version)" message_passes "$tls" --cafile ca.pem -V "$version"
    check "mosquitto passes a message with a certificate ($version)" \
        message_passes "$mutual" --cafile ca.pem --cert client.pem --key client.key -V "$version"
done
for version in tlsv1.2 tlsv1.3; do
    check "mosquitto passes a message ($version)" message_passes "$tls" --cafile ca.pem --tls-version "$version"
done
check "a broker of an unknown authority is not trusted" is_refused "$tls" --cafile other.pem
check "a client without a certificate is refused" is_refused "$mutual" --cafile ca.pem
check "a client of an unknown authority is refused" is_refused "$mutual" --cafile ca.pem --cert stranger.pem --key stranger.key
check "an expired client is refused" is_refused "$mutual" --cafile ca.pem --cert expired.pem --key expired.key
check "openssl verifies the chain" s_client "Verify return code: 0" -verify_return_error
check "TLS 1.2 is spoken" s_client "Protocol *: TLSv1.2" -tls1_2
check "TLS 1.3 is spoken" s_client "TLSv1.3" -tls1_3
check "TLS 1.1 is not" s_client "alert protocol version\|no protocols available\|Cipher *: 0000" -tls1_1 -cipher "DEFAULT@SECLEVEL=0"
check "ALPN is mqtt" s_client "ALPN protocol: mqtt" -alpn mqtt
check "another ALPN is refused" s_client "no application protocol" -alpn h2
check "a session is resumed in TLS 1.2" resumes -tls1_2
check "a session is resumed in TLS 1.3" resumes -tls1_3
check "renegotiation is refused" renegotiation_is_refused
exit "$failed"
