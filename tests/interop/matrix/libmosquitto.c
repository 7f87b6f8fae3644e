// libmosquitto, driven as README.md says.
#include <mosquitto.h>
#include <mqtt_protocol.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static atomic_int unfinished;
static char announced[16];

static void say(const char *format, ...) {
    va_list words;
    va_start(words, format);
    flockfile(stdout);
    vprintf(format, words);
    putchar('\n');
    fflush(stdout);
    funlockfile(stdout);
    va_end(words);
}

static void on_connect(struct mosquitto *client, void *data, int code, int flags) {
    (void)client, (void)data;
    if (code == 0) say("connected %d", flags & 1);
    else say("refused %d", code);
}

static void on_disconnect(struct mosquitto *client, void *data, int code) {
    (void)client, (void)data;
    say(code == 0 ? "disconnected" : "lost");
}

static void on_subscribe(struct mosquitto *client, void *data, int id, int count, const int *granted) {
    (void)client, (void)data, (void)id, (void)count, (void)granted;
    say("subscribed");
}

static void on_publish(struct mosquitto *client, void *data, int id) {
    (void)client, (void)data, (void)id;
    if (--unfinished == 0) say("published %s", announced);
}

static void on_message(struct mosquitto *client, void *data, const struct mosquitto_message *message) {
    (void)client, (void)data;
    int digits = (int)strcspn(message->payload, " ");
    say("message %d %d %.*s", message->qos, message->payloadlen, digits, (const char *)message->payload);
}

static struct mosquitto *begin(const char *version, const char *way, int port, const char *id, int keep, const char *ca) {
    struct mosquitto *client = mosquitto_new(id, !keep, NULL);
    int is_5 = strcmp(version, "5") == 0;
    mosquitto_property *properties = NULL;
    mosquitto_int_option(client, MOSQ_OPT_PROTOCOL_VERSION, is_5 ? MQTT_PROTOCOL_V5 : MQTT_PROTOCOL_V311);
    mosquitto_connect_with_flags_callback_set(client, on_connect);
    mosquitto_disconnect_callback_set(client, on_disconnect);
    mosquitto_subscribe_callback_set(client, on_subscribe);
    mosquitto_publish_callback_set(client, on_publish);
    mosquitto_message_callback_set(client, on_message);
    mosquitto_reconnect_delay_set(client, 1, 1, false);
    if (strcmp(way, "tls") == 0) mosquitto_tls_set(client, ca, NULL, NULL, NULL, NULL);
    if (is_5) mosquitto_property_add_int32(&properties, MQTT_PROP_SESSION_EXPIRY_INTERVAL, keep ? 600 : 0);
    int error = mosquitto_connect_bind_v5(client, "localhost", port, 60, NULL, properties);
    if (error) say("refused %s", mosquitto_strerror(error));
    mosquitto_property_free_all(&properties);
    mosquitto_loop_start(client);
    return client;
}

static void publish(struct mosquitto *client, const char *topic, int qos, int count, int size) {
    char number[16];
    snprintf(announced, sizeof announced, "%d", count);
    unfinished = count;
    for (int it = 0; it < count; it++) {
        int length = snprintf(number, sizeof number, "%d ", it);
        if (size > length) length = size;
        char *payload = malloc((size_t)length + 1);
        memset(payload, 'x', (size_t)length);
        memcpy(payload, number, strlen(number));
        int error = mosquitto_publish(client, NULL, topic, length, payload, qos, false);
        if (error) say("refused %s", mosquitto_strerror(error));
        free(payload);
    }
}

int main(void) {
    char line[1024], first[256], second[256], third[256], fourth[256], fifth[256], sixth[256];
    int major, minor, revision;
    struct mosquitto *client = NULL;
    mosquitto_lib_init();
    mosquitto_lib_version(&major, &minor, &revision);
    say("client|libmosquitto (C)|%d.%d.%d|3.1.1 5|tcp tls", major, minor, revision);
    while (fgets(line, sizeof line, stdin)) {
        char command[32];
        sscanf(line, "%31s %255s %255s %255s %255s %255s %255s", command, first, second, third, fourth, fifth, sixth);
        if (strcmp(command, "connect") == 0) client = begin(first, second, atoi(third), fourth, atoi(fifth), sixth);
        if (strcmp(command, "subscribe") == 0) mosquitto_subscribe(client, NULL, first, atoi(second));
        if (strcmp(command, "publish") == 0) publish(client, first, atoi(second), atoi(third), atoi(fourth));
        if (strcmp(command, "disconnect") == 0) {
            mosquitto_disconnect(client);
            mosquitto_loop_stop(client, false);
            mosquitto_destroy(client);
        }
    }
    return 0;
}
