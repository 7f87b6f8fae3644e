// Paho's client for C (MQTTAsync), driven as README.md says.
#include <MQTTAsync.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static atomic_int unfinished;
static char announced[16];
static int is_5;
static atomic_bool was_connected;

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

// It tells whether there was a session only of the first connection.
static void on_connected(void *data, char *cause) {
    (void)data, (void)cause;
    was_connected = true;
    say("connected ?");
}

static void on_lost(void *data, char *cause) { (void)data, (void)cause; say("lost"); }

// It tries again by itself, but not the first time.
static void failed(int code) {
    if (!was_connected) say("refused %d", code);
}

static void on_failure(void *data, MQTTAsync_failureData *why) { (void)data; failed(why ? why->code : 0); }
static void on_failure_5(void *data, MQTTAsync_failureData5 *why) { (void)data; failed(why ? why->code : 0); }
static void on_subscribed(void *data, MQTTAsync_successData *it) { (void)data, (void)it; say("subscribed"); }
static void on_subscribed_5(void *data, MQTTAsync_successData5 *it) { (void)data, (void)it; say("subscribed"); }
static void on_disconnected(void *data, MQTTAsync_successData *it) { (void)data, (void)it; say("disconnected"); }
static void on_disconnected_5(void *data, MQTTAsync_successData5 *it) { (void)data, (void)it; say("disconnected"); }

static void finished(void) {
    if (--unfinished == 0) say("published %s", announced);
}

static void on_published(void *data, MQTTAsync_successData *it) { (void)data, (void)it; finished(); }
static void on_published_5(void *data, MQTTAsync_successData5 *it) { (void)data, (void)it; finished(); }

static int on_message(void *data, char *topic, int length, MQTTAsync_message *message) {
    (void)data, (void)length;
    int digits = (int)strcspn(message->payload, " ");
    say("message %d %d %.*s", message->qos, message->payloadlen, digits, (const char *)message->payload);
    MQTTAsync_freeMessage(&message);
    MQTTAsync_free(topic);
    return 1;
}

static MQTTAsync begin(const char *version, const char *way, const char *port, const char *id, int keep, const char *ca) {
    is_5 = strcmp(version, "5") == 0;
    was_connected = false;
    const char *scheme = strcmp(way, "tls") == 0 ? "ssl" : way;
    char url[600];
    snprintf(url, sizeof url, "%s://localhost:%s%s", scheme, port, way[0] == 'w' ? "/mqtt" : "");

    MQTTAsync client;
    MQTTAsync_createOptions made = MQTTAsync_createOptions_initializer;
    made.MQTTVersion = is_5 ? MQTTVERSION_5 : MQTTVERSION_3_1_1;
    made.sendWhileDisconnected = 1;
    made.maxBufferedMessages = 10000;
    MQTTAsync_createWithOptions(&client, url, id, MQTTCLIENT_PERSISTENCE_NONE, NULL, &made);
    MQTTAsync_setCallbacks(client, NULL, on_lost, on_message, NULL);
    MQTTAsync_setConnected(client, NULL, on_connected);

    MQTTAsync_SSLOptions tls = MQTTAsync_SSLOptions_initializer;
    tls.trustStore = ca;
    MQTTAsync_connectOptions for_3 = MQTTAsync_connectOptions_initializer;
    MQTTAsync_connectOptions for_5 = MQTTAsync_connectOptions_initializer5;
    MQTTAsync_connectOptions options = is_5 ? for_5 : for_3;
    MQTTProperties properties = MQTTProperties_initializer;
    MQTTProperty expiry = {.identifier = MQTTPROPERTY_CODE_SESSION_EXPIRY_INTERVAL, .value.integer4 = keep ? 600 : 0};
    if (is_5) {
        MQTTProperties_add(&properties, &expiry);
        options.connectProperties = &properties;
        options.cleanstart = !keep;
        options.onFailure5 = on_failure_5;
    } else {
        options.MQTTVersion = MQTTVERSION_3_1_1;
        options.cleansession = !keep;
        options.onFailure = on_failure;
    }
    if (strcmp(way, "tls") == 0 || strcmp(way, "wss") == 0) options.ssl = &tls;
    options.automaticReconnect = 1;
    options.minRetryInterval = 1;
    options.maxRetryInterval = 1;
    options.maxInflight = 100;
    int error = MQTTAsync_connect(client, &options);
    if (error) say("refused %d", error);
    return client;
}

static void publish(MQTTAsync client, const char *topic, int qos, int count, int size) {
    char number[16];
    snprintf(announced, sizeof announced, "%d", count);
    unfinished = count;
    for (int it = 0; it < count; it++) {
        int length = snprintf(number, sizeof number, "%d ", it);
        if (size > length) length = size;
        char *payload = malloc((size_t)length + 1);
        memset(payload, 'x', (size_t)length);
        memcpy(payload, number, strlen(number));
        MQTTAsync_responseOptions response = MQTTAsync_responseOptions_initializer;
        if (is_5) response.onSuccess5 = on_published_5;
        else response.onSuccess = on_published;
        int error = MQTTAsync_send(client, topic, length, payload, qos, 0, &response);
        if (error) say("refused %d", error);
        free(payload);
    }
}

int main(void) {
    char line[1024], first[256], second[256], third[256], fourth[256], fifth[256], sixth[256];
    MQTTAsync client = NULL;
    const char *version = "?";
    for (MQTTAsync_nameValue *it = MQTTAsync_getVersionInfo(); it->name; it++)
        if (strcmp(it->name, "Version") == 0) version = it->value;
    say("client|Paho MQTT C|%s|3.1.1 5|tcp tls ws wss", version);
    while (fgets(line, sizeof line, stdin)) {
        char command[32];
        sscanf(line, "%31s %255s %255s %255s %255s %255s %255s", command, first, second, third, fourth, fifth, sixth);
        MQTTAsync_responseOptions response = MQTTAsync_responseOptions_initializer;
        if (strcmp(command, "connect") == 0) client = begin(first, second, third, fourth, atoi(fifth), sixth);
        if (strcmp(command, "subscribe") == 0) {
            if (is_5) response.onSuccess5 = on_subscribed_5;
            else response.onSuccess = on_subscribed;
            MQTTAsync_subscribe(client, first, atoi(second), &response);
        }
        if (strcmp(command, "publish") == 0) publish(client, first, atoi(second), atoi(third), atoi(fourth));
        if (strcmp(command, "disconnect") == 0) {
            MQTTAsync_disconnectOptions for_3 = MQTTAsync_disconnectOptions_initializer;
            MQTTAsync_disconnectOptions for_5 = MQTTAsync_disconnectOptions_initializer5;
            MQTTAsync_disconnectOptions options = is_5 ? for_5 : for_3;
            if (is_5) options.onSuccess5 = on_disconnected_5;
            else options.onSuccess = on_disconnected;
            MQTTAsync_disconnect(client, &options);
        }
    }
    return 0;
}
