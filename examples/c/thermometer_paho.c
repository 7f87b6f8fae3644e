// A thermometer with Paho's client for C: publishes a temperature every second, and takes a target. See
// examples/README.md.
#include <MQTTClient.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define STATUS "home/thermometer/status"

// Messages come on a thread of the library's.
static pthread_mutex_t target_lock = PTHREAD_MUTEX_INITIALIZER;
static char target[32] = "21.5";
static volatile sig_atomic_t is_interrupted;

static const char *setting(const char *name, const char *otherwise) {
    const char *value = getenv(name);
    return value ? value : otherwise;
}

static void on_lost(void *data, char *cause) {
    (void)data;
    printf("disconnected: %s\n", cause ? cause : "the connection is lost");
}

static int on_message(void *data, char *topic, int length, MQTTClient_message *message) {
    (void)data, (void)length;
    pthread_mutex_lock(&target_lock);
    snprintf(target, sizeof target, "%.*s", message->payloadlen, (const char *)message->payload);
    printf("set %s\n", target);
    pthread_mutex_unlock(&target_lock);
    MQTTClient_freeMessage(&message);
    MQTTClient_free(topic);
    return 1;
}

static void on_interrupt(int signal) {
    (void)signal;
    is_interrupted = 1;
}

// Publishes and waits for the broker's acknowledgement. Returns whether it came.
static int publish(MQTTClient client, const char *topic, const char *text, int is_retained) {
    MQTTClient_deliveryToken token;
    MQTTResponse sent = MQTTClient_publish5(client, topic, (int)strlen(text), text, 1, is_retained, NULL, &token);
    int is_published = sent.reasonCode == MQTTREASONCODE_SUCCESS
        && MQTTClient_waitForCompletion(client, token, 5000) == MQTTCLIENT_SUCCESS;
    MQTTResponse_free(sent);
    return is_published;
}

// Connects, and does what every new connection begins with. Returns whether there is one.
static int start(MQTTClient client) {
    MQTTClient_SSLOptions tls = MQTTClient_SSLOptions_initializer;
    tls.trustStore = setting("MQTT_CA", "ca.pem");
    MQTTClient_willOptions will = MQTTClient_willOptions_initializer;
    will.topicName = STATUS;
    will.message = "offline";
    will.qos = 1;
    will.retained = 1;
    MQTTClient_connectOptions options = MQTTClient_connectOptions_initializer5;
    options.username = setting("MQTT_USER", "thermometer");
    options.password = setting("MQTT_PASSWORD", "");
    options.ssl = &tls;
    options.will = &will;
    // What is sent to us while we are away waits for us for an hour.
    options.cleanstart = 0;
    MQTTProperties session = MQTTProperties_initializer;
    MQTTProperty expiry = {.identifier = MQTTPROPERTY_CODE_SESSION_EXPIRY_INTERVAL, .value.integer4 = 3600};
    MQTTProperties_add(&session, &expiry);

    MQTTResponse connected = MQTTClient_connect5(client, &options, &session, NULL);
    int code = connected.reasonCode;
    MQTTProperties_free(&session);
    MQTTResponse_free(connected);
    if (code != MQTTREASONCODE_SUCCESS) {
        const char *why = code < 0 ? MQTTClient_strerror(code) : MQTTReasonCode_toString(code);
        printf("disconnected: %s (%d)\n", why ? why : "no connection", code);
        return 0;
    }
    printf("connected\n");
    MQTTResponse_free(MQTTClient_subscribe5(client, "home/thermometer/set", 1, NULL, NULL));
    return publish(client, STATUS, "online", 1);
}

int main(void) {
    setvbuf(stdout, NULL, _IOLBF, BUFSIZ);
    signal(SIGINT, on_interrupt);
    char url[256];
    snprintf(url, sizeof url, "ssl://%s:%s", setting("MQTT_HOST", "localhost"), setting("MQTT_PORT", "8883"));
    MQTTClient client;
    MQTTClient_createOptions version = MQTTClient_createOptions_initializer;
    version.MQTTVersion = MQTTVERSION_5;
    MQTTClient_createWithOptions(&client, url, "thermometer", MQTTCLIENT_PERSISTENCE_NONE, NULL, &version);
    MQTTClient_setCallbacks(client, NULL, on_lost, on_message, NULL);
    while (!is_interrupted) {
        if (MQTTClient_isConnected(client) || start(client)) {
            char reading[sizeof target];
            pthread_mutex_lock(&target_lock);
            memcpy(reading, target, sizeof reading);
            pthread_mutex_unlock(&target_lock);
            if (publish(client, "home/thermometer/temperature", reading, 0)) printf("published %s\n", reading);
        }
        sleep(1);
    }
    publish(client, STATUS, "offline", 1);
    MQTTClient_disconnect5(client, 1000, MQTTREASONCODE_SUCCESS, NULL);
    MQTTClient_destroy(&client);
    return 0;
}
