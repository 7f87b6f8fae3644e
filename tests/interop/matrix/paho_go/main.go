// Paho's client for Go, driven as README.md says.
package main

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
)

var schemes = map[string]string{"tcp": "tcp", "tls": "ssl", "ws": "ws", "wss": "wss"}

// Answers come from several goroutines, and each is a line.
var answers = make(chan string)

func say(format string, words ...interface{}) {
	answers <- fmt.Sprintf(format, words...)
}

func number(word string) int {
	value, err := strconv.Atoi(word)
	if err != nil {
		panic(err)
	}
	return value
}

func connect(way, port, clientID, keep, ca string) mqtt.Client {
	options := mqtt.NewClientOptions()
	path := ""
	if strings.HasPrefix(way, "ws") {
		path = "/mqtt"
	}
	options.AddBroker(schemes[way] + "://localhost:" + port + path)
	options.SetClientID(clientID).SetProtocolVersion(4).SetCleanSession(keep == "0")
	options.SetMaxReconnectInterval(time.Second).SetWriteTimeout(0)
	pem, err := os.ReadFile(ca)
	if err != nil {
		panic(err)
	}
	authorities := x509.NewCertPool()
	authorities.AppendCertsFromPEM(pem)
	options.SetTLSConfig(&tls.Config{RootCAs: authorities})
	// It does not tell whether there was a session.
	options.SetOnConnectHandler(func(mqtt.Client) { say("connected ?") })
	options.SetConnectionLostHandler(func(mqtt.Client, error) { say("lost") })
	options.SetDefaultPublishHandler(func(_ mqtt.Client, message mqtt.Message) {
		payload := string(message.Payload())
		say("message %d %d %s", message.Qos(), len(payload), strings.SplitN(payload, " ", 2)[0])
	})
	client := mqtt.NewClient(options)
	go func() {
		if token := client.Connect(); token.Wait() && token.Error() != nil {
			say("refused %v", token.Error())
		}
	}()
	return client
}

func publish(client mqtt.Client, topic string, qos, count, size int) {
	var tokens []mqtt.Token
	for it := 0; it < count; it++ {
		payload := fmt.Sprintf("%d ", it)
		if len(payload) < size {
			payload += strings.Repeat("x", size-len(payload))
		}
		tokens = append(tokens, client.Publish(topic, byte(qos), false, payload))
	}
	for _, token := range tokens {
		if token.Wait() && token.Error() != nil {
			say("refused %v", token.Error())
		}
	}
	say("published %d", count)
}

func main() {
	go func() {
		for answer := range answers {
			fmt.Println(answer)
		}
	}()
	say("client|Paho MQTT Go|%s|3.1.1|tcp tls ws wss", os.Args[1])
	var client mqtt.Client
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		switch words[0] {
		case "connect":
			client = connect(words[2], words[3], words[4], words[5], words[6])
		case "subscribe":
			go func() {
				client.Subscribe(words[1], byte(number(words[2])), nil).Wait()
				say("subscribed")
			}()
		case "publish":
			go publish(client, words[1], number(words[2]), number(words[3]), number(words[4]))
		case "disconnect":
			client.Disconnect(1000)
			say("disconnected")
		}
	}
}
