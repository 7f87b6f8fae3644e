#!/usr/bin/env bash
# A thermometer with mosquitto_pub and mosquitto_sub: publishes a temperature every second, and takes a target. See
# examples/README.md.
set -u

broker=(-h "${MQTT_HOST:-localhost}" -p "${MQTT_PORT:-8883}" --cafile "${MQTT_CA:-ca.pem}"
    -u "${MQTT_USER:-thermometer}" -P "${MQTT_PASSWORD:-}")
set_file=$(mktemp)
target=21.5
is_online=no

# Publishes at QoS 1: it succeeds when the broker has acknowledged the message.
publish() {
    mosquitto_pub "${broker[@]}" -q 1 -t "home/thermometer/$1" -m "$2" "${@:3}"
}

stop() {
    kill "$listener"
    publish status offline -r
    rm "$set_file"
    exit
}

# Listens, with a session that is kept (-c), and with a will. mosquitto_sub connects again after a loss, but not after
# every fault of TLS.
listen() {
    trap 'kill "$!"; exit' TERM
    while true; do
        mosquitto_sub "${broker[@]}" -i thermometer -c -q 1 -t home/thermometer/set \
            --will-topic home/thermometer/status --will-payload offline --will-qos 1 --will-retain >> "$set_file" &
        wait "$!"
        sleep 1
    done
}

listen &
listener=$!
trap stop INT TERM

while sleep 1; do
    if [ -s "$set_file" ]; then
        target=$(tail -n 1 "$set_file")
        : > "$set_file"
        echo "set $target"
    fi
    if [ $is_online = no ] && publish status online -r; then
        is_online=yes
        echo "connected"
    fi
    if publish temperature "$target"; then
        echo "published $target"
    elif [ $is_online = yes ]; then
        is_online=no
        echo "disconnected"
    fi
done
