// A thermometer with libmosquitto: publishes a temperature every second, and takes a target. See examples/README.md.
#include <mosquitto.h>
#include <mqtt_protocol.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define STATUS "home/thermometer/status"

static char target[32] = "21.5";
static volatile sig_atomic_t is_interrupted;

static const char *setting(const char *name, const char *otherwise) {
    const char *value = getenv(name);
    return value ? value : otherwise;
}

static void on_connect(struct mosquitto *client, void *data, int code) {
    (void)data;
    if (code != 0) {
        printf("refused: %s\n", mosquitto_reason_string(code));
        return;
    }
    printf("connected\n");
    mosquitto_subscribe(client, NULL, "home/thermometer/set", 1);
    mosquitto_publish(client, NULL, STATUS, 6, "online", 1, true);
}

static void on_disconnect(struct mosquitto *client, void *data, int code) {
    (void)client, (void)data;
    printf("disconnected: %s\n", mosquitto_strerror(code));
}

static void on_message(struct mosquitto *client, void *data, const struct mosquitto_message *message) {
    (void)client, (void)data;
    snprintf(target, sizeof target, "%.*s", message->payloadlen, (const char *)message->payload);
    printf("set %s\n", target);
}

static void on_publish(struct mosquitto *client, void *data, int id) {
    (void)client, (void)data;
    printf("published message %d\n", id);
}

static void on_interrupt(int signal) {
    (void)signal;
    is_interrupted = 1;
}

int main(void) {
    setvbuf(stdout, NULL, _IOLBF, BUFSIZ);
    signal(SIGINT, on_interrupt);
    mosquitto_lib_init();
    // What is sent to us while we are away waits for us for an hour.
    struct mosquitto *client = mosquitto_new("thermometer", false, NULL);
    mosquitto_property *session = NULL;
    mosquitto_property_add_int32(&session, MQTT_PROP_SESSION_EXPIRY_INTERVAL, 3600);
    mosquitto_int_option(client, MOSQ_OPT_PROTOCOL_VERSION, MQTT_PROTOCOL_V5);
    mosquitto_username_pw_set(client, setting("MQTT_USER", "thermometer"), setting("MQTT_PASSWORD", ""));
    // Without this the password would travel for everybody to read.
    int tls = mosquitto_tls_set(client, setting("MQTT_CA", "ca.pem"), NULL, NULL, NULL, NULL);
    if (tls != MOSQ_ERR_SUCCESS) {
        fprintf(stderr, "%s: %s\n", setting("MQTT_CA", "ca.pem"), mosquitto_strerror(tls));
        return 1;
    }
    mosquitto_will_set(client, STATUS, 7, "offline", 1, true);
    mosquitto_connect_callback_set(client, on_connect);
    mosquitto_disconnect_callback_set(client, on_disconnect);
    mosquitto_message_callback_set(client, on_message);
    mosquitto_publish_callback_set(client, on_publish);

    const char *host = setting("MQTT_HOST", "localhost");
    int port = atoi(setting("MQTT_PORT", "8883"));
    int error = mosquitto_connect_bind_v5(client, host, port, 60, NULL, session);
    time_t published_at = 0;
    while (!is_interrupted) {
        // The library has threads of its own, too, but they give up after some faults of TLS.
        if (error == MOSQ_ERR_SUCCESS) error = mosquitto_loop(client, 100, 1);
        if (error != MOSQ_ERR_SUCCESS) {
            printf("%s\n", mosquitto_strerror(error));
            sleep(1);
            error = mosquitto_reconnect(client);
        }
        if (time(NULL) != published_at) {
            published_at = time(NULL);
            mosquitto_publish(client, NULL, "home/thermometer/temperature", (int)strlen(target), target, 1, false);
        }
    }
    mosquitto_publish(client, NULL, STATUS, 7, "offline", 1, true);
    mosquitto_disconnect(client);
    mosquitto_destroy(client);
    mosquitto_property_free_all(&session);
    mosquitto_lib_cleanup();
    return 0;
}
