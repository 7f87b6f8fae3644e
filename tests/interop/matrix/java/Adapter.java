// FuseSource's client for Java, driven as README.md says.

import java.io.BufferedReader;
import java.io.FileInputStream;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.security.KeyStore;
import java.security.cert.CertificateFactory;
import java.util.concurrent.atomic.AtomicInteger;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManagerFactory;
import org.fusesource.hawtbuf.Buffer;
import org.fusesource.hawtbuf.UTF8Buffer;
import org.fusesource.mqtt.client.Callback;
import org.fusesource.mqtt.client.CallbackConnection;
import org.fusesource.mqtt.client.Listener;
import org.fusesource.mqtt.client.MQTT;
import org.fusesource.mqtt.client.QoS;
import org.fusesource.mqtt.client.Topic;

public final class Adapter {
    private CallbackConnection connection;

    public static void main(String[] arguments) throws Exception {
        say("client|FuseSource mqtt-client (Java)|" + arguments[0] + "|3.1.1|tcp tls");
        Adapter adapter = new Adapter();
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            adapter.carryOut(line.split(" "));
        }
        System.exit(0);
    }

    private static synchronized void say(String words) {
        System.out.println(words);
        System.out.flush();
    }

    private void carryOut(String[] words) throws Exception {
        switch (words[0]) {
            case "connect" -> connect(words[2], words[3], words[4], words[5].equals("1"), words[6]);
            case "subscribe" -> connection.getDispatchQueue().execute(() -> {
                Topic[] topics = {new Topic(words[1], qos(words[2]))};
                connection.subscribe(topics, new Then<>(() -> say("subscribed")));
            });
            case "publish" -> connection.getDispatchQueue().execute(
                () -> publish(words[1], qos(words[2]), Integer.parseInt(words[3]), Integer.parseInt(words[4])));
            case "disconnect" -> connection.getDispatchQueue().execute(
                () -> connection.disconnect(new Then<>(() -> say("disconnected"))));
            default -> throw new IllegalArgumentException(words[0]);
        }
    }

    private static QoS qos(String word) {
        return QoS.values()[Integer.parseInt(word)];
    }

    private void connect(String way, String port, String clientId, boolean keep, String ca) throws Exception {
        MQTT mqtt = new MQTT();
        mqtt.setHost((way.equals("tls") ? "tls" : "tcp") + "://localhost:" + port);
        mqtt.setVersion("3.1.1");
        mqtt.setClientId(clientId);
        mqtt.setCleanSession(!keep);
        mqtt.setReconnectDelay(200);
        mqtt.setReconnectDelayMax(500);
        if (way.equals("tls")) {
            mqtt.setSslContext(trusting(ca));
        }
        connection = mqtt.callbackConnection();
        connection.listener(new Listener() {
            @Override
            public void onConnected() {
                // It does not tell whether there was a session.
                say("connected ?");
            }

            @Override
            public void onDisconnected() {
                say("lost");
            }

            @Override
            public void onPublish(UTF8Buffer topic, Buffer payload, Runnable acknowledge) {
                // Nor does it tell the QoS.
                String text = payload.utf8().toString();
                say("message ? " + payload.length() + " " + text.split(" ")[0]);
                acknowledge.run();
            }

            @Override
            public void onFailure(Throwable why) {
                say("refused " + why);
            }
        });
        connection.connect(new Then<>(() -> {}));
    }

    private static SSLContext trusting(String ca) throws Exception {
        KeyStore store = KeyStore.getInstance(KeyStore.getDefaultType());
        store.load(null);
        try (FileInputStream file = new FileInputStream(ca)) {
            store.setCertificateEntry("ca", CertificateFactory.getInstance("X.509").generateCertificate(file));
        }
        TrustManagerFactory factory = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        factory.init(store);
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(null, factory.getTrustManagers(), null);
        return context;
    }

    private void publish(String topic, QoS qos, int count, int size) {
        AtomicInteger unfinished = new AtomicInteger(count);
        for (int number = 0; number < count; number++) {
            String payload = number + " ";
            payload += "x".repeat(Math.max(0, size - payload.length()));
            connection.publish(topic, payload.getBytes(StandardCharsets.UTF_8), qos, false, new Then<>(() -> {
                if (unfinished.decrementAndGet() == 0) {
                    say("published " + count);
                }
            }));
        }
    }

    private record Then<T>(Runnable next) implements Callback<T> {
        @Override
        public void onSuccess(T value) {
            next.run();
        }

        @Override
        public void onFailure(Throwable why) {
            say("refused " + why);
        }
    }
}
