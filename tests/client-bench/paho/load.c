/* The load through the asynchronous client of Eclipse Paho: HOST PORT (0|1|2|idle) COUNT. */

#include <MQTTAsync.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#define WINDOW 1000

static sem_t done, window;
static long left_to_receive, left_to_acknowledge;
static sem_t received, acknowledged;

static void fail(const char *what) {
    fprintf(stderr, "%s failed\n", what);
    exit(1);
}

static void succeeded(void *context, MQTTAsync_successData *data) { sem_post(&done); }
static void failed(void *context, MQTTAsync_failureData *data) { fail("a request"); }

static int arrived(void *context, char *topic, int length, MQTTAsync_message *message) {
    MQTTAsync_freeMessage(&message);
    MQTTAsync_free(topic);
    sem_post(&window);
    if (--left_to_receive == 0) sem_post(&received);
    return 1;
}

static void sent(void *context, MQTTAsync_successData *data) {
    if (__sync_sub_and_fetch(&left_to_acknowledge, 1) == 0) sem_post(&acknowledged);
}

static MQTTAsync connect_to(const char *uri, int number) {
    MQTTAsync client;
    char id[32];
    snprintf(id, sizeof id, "load-%d", number);
    if (MQTTAsync_create(&client, uri, id, MQTTCLIENT_PERSISTENCE_NONE, NULL)) fail("create");
    MQTTAsync_setCallbacks(client, NULL, NULL, arrived, NULL);
    MQTTAsync_connectOptions options = MQTTAsync_connectOptions_initializer;
    options.MQTTVersion = MQTTVERSION_3_1_1;
    options.maxInflight = WINDOW;
    options.onSuccess = succeeded;
    options.onFailure = failed;
    if (MQTTAsync_connect(client, &options)) fail("connect");
    sem_wait(&done);
    return client;
}

static long micros(struct timeval it) { return it.tv_sec * 1000000L + it.tv_usec; }

static long cpu(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return micros(usage.ru_utime) + micros(usage.ru_stime);
}

static long wall(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000L + now.tv_nsec / 1000;
}

static long memory(void) {
    long kib = -1;
    char line[128];
    FILE *status = fopen("/proc/self/status", "r");
    while (status && fgets(line, sizeof line, status)) sscanf(line, "VmRSS: %ld", &kib);
    return kib * 1024;
}

int main(int argc, char **argv) {
    if (argc != 5) fail("the arguments: HOST PORT (0|1|2|idle) COUNT");
    char uri[128], payload[64];
    snprintf(uri, sizeof uri, "tcp://%s:%s", argv[1], argv[2]);
    memset(payload, 'x', sizeof payload);
    long count = atol(argv[4]);
    sem_init(&done, 0, 0);
    sem_init(&window, 0, WINDOW);
    sem_init(&received, 0, 0);
    sem_init(&acknowledged, 0, 0);
    MQTTAsync subscriber = connect_to(uri, 0);
    if (!strcmp(argv[3], "idle")) {
        long before = memory();
        for (long number = 1; number <= count; number++) connect_to(uri, number);
        printf("%ld\n", (memory() - before) / count);
        return 0;
    }
    int qos = atoi(argv[3]);
    left_to_receive = left_to_acknowledge = count;
    MQTTAsync_responseOptions subscribe = MQTTAsync_responseOptions_initializer;
    subscribe.onSuccess = succeeded;
    subscribe.onFailure = failed;
    if (MQTTAsync_subscribe(subscriber, "load", qos, &subscribe)) fail("subscribe");
    sem_wait(&done);
    MQTTAsync publisher = connect_to(uri, 1);
    long wall_start = wall(), cpu_start = cpu();
    MQTTAsync_responseOptions publish = MQTTAsync_responseOptions_initializer;
    publish.onSuccess = sent;
    publish.onFailure = failed;
    for (long index = 0; index < count; index++) {
        sem_wait(&window);
        if (MQTTAsync_send(publisher, "load", sizeof payload, payload, qos, 0, &publish)) fail("send");
    }
    sem_wait(&received);
    sem_wait(&acknowledged);
    printf("%ld %ld\n", wall() - wall_start, cpu() - cpu_start);
    return 0;
}
