// A thermometer with Paho's client for Go: publishes a temperature every second, and takes a target. See
// examples/README.md.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log"
	"os"
	"os/signal"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
)

func main() {
	pem, err := os.ReadFile(setting("MQTT_CA", "ca.pem"))
	if err != nil {
		log.Fatal(err)
	}
	authorities := x509.NewCertPool()
	if !authorities.AppendCertsFromPEM(pem) {
		log.Fatal("there is no certificate in the file of MQTT_CA")
	}
	targets := make(chan string, 1)

	options := mqtt.NewClientOptions()
	options.AddBroker("ssl://" + setting("MQTT_HOST", "localhost") + ":" + setting("MQTT_PORT", "8883"))
	options.SetTLSConfig(&tls.Config{RootCAs: authorities})
	options.SetUsername(setting("MQTT_USER", "thermometer")).SetPassword(setting("MQTT_PASSWORD", ""))
	// What is sent to us while we are away waits for us.
	options.SetClientID("thermometer").SetCleanSession(false)
	options.SetWill("home/thermometer/status", "offline", 1, true)
	// What waited for us comes at once, before we could subscribe with a function of its own.
	options.SetDefaultPublishHandler(func(_ mqtt.Client, message mqtt.Message) {
		targets <- string(message.Payload())
	})
	options.SetMaxReconnectInterval(30 * time.Second)
	options.SetOnConnectHandler(func(client mqtt.Client) {
		fmt.Println("connected")
		client.Subscribe("home/thermometer/set", 1, nil)
		client.Publish("home/thermometer/status", 1, true, "online")
	})
	options.SetConnectionLostHandler(func(_ mqtt.Client, err error) {
		fmt.Println("disconnected:", err)
	})

	client := mqtt.NewClient(options)
	// It connects again by itself, but only after the first time.
	for token := client.Connect(); token.Wait() && token.Error() != nil; token = client.Connect() {
		fmt.Println("disconnected:", token.Error())
		time.Sleep(time.Second)
	}
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, os.Interrupt)
	target := "21.5"
	for ticks := time.Tick(time.Second); ; {
		select {
		case <-ticks:
			go publish(client, target)
		case target = <-targets:
			fmt.Println("set", target)
		case <-interrupted:
			client.Publish("home/thermometer/status", 1, true, "offline").WaitTimeout(5 * time.Second)
			client.Disconnect(250)
			return
		}
	}
}

func publish(client mqtt.Client, reading string) {
	token := client.Publish("home/thermometer/temperature", 1, false, reading)
	if token.Wait() && token.Error() != nil {
		fmt.Println(reading, "is not published:", token.Error())
		return
	}
	fmt.Println("published", reading)
}

func setting(name, otherwise string) string {
	if value, ok := os.LookupEnv(name); ok {
		return value
	}
	return otherwise
}
