#!/usr/bin/env bash
# mosquitto_pub and mosquitto_sub, driven as README.md says. They connect when they have something to do.
set -u

version=$(mosquitto_pub --help | sed -n 's/.*mosquitto_pub version \([0-9.]*\).*/\1/p' | head -n 1)
echo "client|mosquitto_pub, mosquitto_sub (shell)|$version|3.1.1 5|tcp tls"

# Passes on what mosquitto_sub says, with its debugging messages.
follow() {
    local word qos length number
    while read -r word qos length number _; do
        case $word in
            message) echo "message $qos $length $number" ;;
            Subscribed) echo subscribed ;;
            Client) [ "$length $number" = "received CONNACK" ] && echo "connected ?" ;;
        esac
    done
}

# Writes COUNT lines, each with its number, of SIZE bytes if that is more.
payloads() {
    local number
    for ((number = 0; number < $1; number++)); do
        printf '%s ' "$number"
        [ "$2" -gt 8 ] && head -c $(($2 - ${#number} - 1)) /dev/zero | tr '\0' x
        echo
    done
}

options=() id='' keep=0 subscriber=''
while read -r command first second third fourth fifth sixth; do
    case $command in
        connect)
            options=(-h localhost -p "$third" -V "${first/3.1.1/311}") id=$fourth keep=$fifth
            [ "$second" = tls ] && options+=(--cafile "$sixth")
            echo "connected ?"
            ;;
        subscribe)
            session=(-i "$id")
            [ "$keep" = 1 ] && session+=(-c)
            [ "$keep" = 1 ] && [ "${options[5]}" = 5 ] && session+=(-x 600)
            # Line by line, as the answers are needed.
            stdbuf -oL mosquitto_sub "${options[@]}" "${session[@]}" -d -t "$first" -q "$second" -F 'message %q %l %p' > >(stdbuf -oL cut -c 1-100 | follow) 2> /dev/null &
            subscriber=$!
            ;;
        publish)
            # Line mode would take a long payload apart.
            if [ "$third" = 1 ]; then
                payloads 1 "$fourth" | tr -d '\n' | mosquitto_pub "${options[@]}" -t "$first" -q "$second" -s
            else
                payloads "$third" "$fourth" | mosquitto_pub "${options[@]}" -t "$first" -q "$second" -l
            fi && echo "published $third"
            ;;
        disconnect)
            [ -n "$subscriber" ] && kill "$subscriber" && wait "$subscriber"
            subscriber=''
            echo disconnected
            ;;
    esac
done
[ -n "$subscriber" ] && kill "$subscriber"
exit 0
