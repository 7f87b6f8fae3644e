/* Publishes one message: how large is a program that does no more? */

#include <MQTTClient.h>

int main(int argc, char **argv) {
    MQTTClient client;
    MQTTClient_connectOptions options = MQTTClient_connectOptions_initializer;
    MQTTClient_deliveryToken token;
    if (argc != 2 || MQTTClient_create(&client, argv[1], "minimal", MQTTCLIENT_PERSISTENCE_NONE, NULL)) return 1;
    if (MQTTClient_connect(client, &options)) return 1;
    if (MQTTClient_publish(client, "t", 7, "payload", 1, 0, &token)) return 1;
    return MQTTClient_waitForCompletion(client, token, 5000) != MQTTCLIENT_SUCCESS;
}
