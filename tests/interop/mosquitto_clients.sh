#!/usr/bin/env bash
# mosquitto_pub and mosquitto_sub against the broker at $1:$2.
#
# To know that a subscriber is ready, it either subscribes and leaves (-E: it exits when the subscription is
# acknowledged, and its session stays) or runs with -d, which prints a line when the SUBACK comes.
set -u
host=$1 port=$2
failed=0
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

publish() { mosquitto_pub -h "$host" -p "$port" -V "$version" "$@"; }
subscribe() { "${subscriber[@]}" "$@"; }

# Runs a case: a function that fails, or says on its output what went wrong.
check() {
    local name="mosquitto $version: $1" why
    shift
    if why=$("$@" 2>&1) && [ -z "$why" ]; then
        echo "ok - $name"
    else
        echo "not ok - $name: ${why:-it failed}"
        failed=1
    fi
}

expect() {
    [ "$1" = "$2" ] || echo "expected '$2', got '$1'"
}

# Starts a subscriber in the background and returns when it is subscribed. What it receives goes to
# $scratch/received and its process id to $listener.
listen() {
    rm -f "$scratch/received" "$scratch/progress"
    mkfifo "$scratch/progress"
    subscribe -d "$@" >"$scratch/progress" 2>/dev/null &
    listener=$!
    exec 3<"$scratch/progress"
    while read -r line <&3; do
        case $line in Subscribed*) break ;; esac
    done
    # With -d the program tells of its packets too: the messages are the lines that we format.
    sed -n 's/^got //p' <&3 >"$scratch/received" &
    collector=$!
    exec 3<&-
}

# Waits for the subscriber's end: what it printed is then in $scratch/received.
finish() {
    wait "$listener" || echo "the subscriber failed with $?"
    wait "$collector"
}

# Waits for the subscriber's end and compares what it printed, its lines joined by blanks.
expect_received() {
    finish
    expect "$(paste -sd ' ' "$scratch/received")" "$1"
}

# Session options of a subscriber whose session outlives it.
keep=(-c)

messages_pass() {
    local qos=$1 topic="mosquitto/$version/pass/$1"
    listen -t "$topic" -q "$qos" -C 1 -F 'got %q %r %p'
    publish -t "$topic" -q "$qos" -m hello
    expect_received "$qos 0 hello"
}

publish_is_downgraded() {
    local topic="mosquitto/$version/downgraded"
    listen -t "$topic" -q 1 -C 1 -F 'got %q %p'
    publish -t "$topic" -q 2 -m hello
    expect_received "1 hello"
}

wildcards_match() {
    local topic="mosquitto/$version/wild"
    listen -t "$topic/+/b/#" -C 3 -F 'got %t'
    for leaf in a/b a/c a/b/c/d b a//b; do publish -t "$topic/$leaf" -m x; done
    publish -t "$topic//b" -m x
    expect_received "$topic/a/b $topic/a/b/c/d $topic//b"
}

retained_is_kept_and_cleared() {
    local topic="mosquitto/$version/retained"
    publish -t "$topic" -q 1 -r -m first
    publish -t "$topic" -q 1 -r -m second
    expect "$(subscribe -t "$topic" -q 1 -C 1 -F '%r %p')" "1 second"
    publish -t "$topic" -q 1 -r -n
    publish -t "$topic/end" -q 1 -r -m end
    expect "$(subscribe -t "$topic/#" -C 1 -F '%p')" "end"
    publish -t "$topic/end" -q 1 -r -n
}

will_is_sent_when_the_client_is_lost() {
    local topic="mosquitto/$version/will" line
    listen -t "$topic" -q 1 -C 1 -F 'got %p'
    while read -r line; do
        case $line in Subscribed*) break ;; esac
    done < <(exec "${subscriber[@]}" -d -t "$topic/other" --will-topic "$topic" --will-payload gone --will-qos 1 2>&1)
    kill -KILL $!
    expect_received "gone"
}

session_is_resumed() {
    local qos=$1 topic="mosquitto/$version/resumed/$1" client="keeper-$version-$1"
    subscribe -i "$client" "${keep[@]}" -q "$qos" -t "$topic" -E
    for message in 1 2 3; do publish -t "$topic" -q "$qos" -m "$message"; done
    expect "$(subscribe -i "$client" "${keep[@]}" -q "$qos" -t "$topic" -C 3 -F '%q %p' | tr '\n' ' ')" \
        "$qos 1 $qos 2 $qos 3 "
    # A clean session of the same client ends the kept one.
    subscribe -i "$client" -q "$qos" -t "$topic" -E
}

order_is_kept() {
    local qos=$1 topic="mosquitto/$version/order/$1"
    local -a window=()
    # Debian's mosquitto_sub 2.0.11 does not give back its Receive Maximum after a PUBREL: it refuses the
    # message after twice the default of 20.
    [ "$version" = mqttv5 ] && window=(-D connect receive-maximum 2000)
    seq 1000 >"$scratch/numbers"
    listen -t "$topic" -q "$qos" "${window[@]}" -C 1000 -F 'got %p'
    publish -t "$topic" -q "$qos" -l <"$scratch/numbers"
    finish
    diff -q "$scratch/numbers" "$scratch/received" >/dev/null || echo "not the numbers 1 to 1000 in order"
}

large_payload_passes() {
    local topic="mosquitto/$version/large"
    head -c 750000 /dev/urandom | base64 -w 0 | head -c 1000000 >"$scratch/large"
    listen -t "$topic" -q 1 -C 1 -F 'got %p'
    publish -t "$topic" -q 1 -f "$scratch/large"
    finish
    head -c 1000000 "$scratch/received" | cmp -s "$scratch/large" - || echo "another payload arrived"
}

shared_subscription_gives_each_message_once() {
    local topic="mosquitto/$version/shared" member message
    # The members keep their sessions, so each message waits in one of them; the last goes to both, and is
    # the sign that a member has everything.
    for member in 1 2; do
        subscribe -i "member-$member" "${keep[@]}" -q 1 -t "\$share/group/$topic" -t "$topic/end" -E
    done
    for message in 1 2 3 4 5 6 end; do
        [ "$message" = end ] && topic+=/end
        publish -t "$topic" -q 1 -m "$message"
    done
    for member in 1 2; do
        while read -r message; do
            echo "$message"
            [ "$message" = end ] && break
        done < <(exec "${subscriber[@]}" -i "member-$member" "${keep[@]}" -q 1 -t "$topic" 2>&1)
        kill $!
    done >"$scratch/shared"
    expect "$(sort "$scratch/shared" | paste -sd ' ')" "1 2 3 4 5 6 end end"
}

user_properties_pass() {
    local topic="mosquitto/$version/properties"
    listen -t "$topic" -C 1 -F 'got %P %C %D %R'
    publish -t "$topic" -m x -D publish user-property name value -D publish content-type text/plain \
        -D publish correlation-data token -D publish response-topic reply/here
    expect_received "name:value text/plain token reply/here"
}

expired_message_is_not_delivered() {
    local topic="mosquitto/$version/expiry" client=late
    subscribe -i "$client" "${keep[@]}" -q 1 -t "$topic" -E
    publish -t "$topic" -q 1 -m lasting -D publish message-expiry-interval 600
    subscribe -i "$client" "${keep[@]}" -q 1 -t "$topic" -C 1 -F '%E' >"$scratch/expiry"
    local left
    left=$(cat "$scratch/expiry")
    [ "${left:-0}" -ge 500 ] && [ "$left" -le 600 ] || echo "the expiry that is left is '$left'"
    subscribe -i "$client" -t "$topic" -E
}

for version in mqttv31 mqttv311 mqttv5; do
    # With its output line by line, also into a pipe.
    subscriber=(stdbuf -oL mosquitto_sub -h "$host" -p "$port" -V "$version" -W 10)
    [ $version = mqttv5 ] && keep=(-c -x 600)
    for qos in 0 1 2; do check "QoS $qos passes" messages_pass $qos; done
    check "a publish is downgraded to the granted QoS" publish_is_downgraded
    check "wildcards match" wildcards_match
    check "a retained message is kept, replaced and cleared" retained_is_kept_and_cleared
    check "the will is sent when the client is lost" will_is_sent_when_the_client_is_lost
    for qos in 1 2; do check "a session is resumed with QoS $qos" session_is_resumed $qos; done
    for qos in 0 1 2; do check "1,000 messages of QoS $qos stay in order" order_is_kept $qos; done
    check "1 MB passes" large_payload_passes
done
check "a shared subscription gives each message once" shared_subscription_gives_each_message_once
check "user properties and their like pass" user_properties_pass
check "a message's expiry is counted down" expired_message_is_not_delivered
exit $failed
