// A thermometer with FuseSource's client for Java: publishes a temperature every second, and takes a target. See
// examples/README.md.

import static java.nio.charset.StandardCharsets.UTF_8;

import java.io.FileInputStream;
import java.security.KeyStore;
import java.security.cert.CertificateFactory;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
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

public final class Thermometer implements Listener {
    private static final String STATUS = "home/thermometer/status";

    private final CallbackConnection connection;
    private volatile String target = "21.5";

    private Thermometer() throws Exception {
        MQTT mqtt = new MQTT();
        mqtt.setHost("tls://" + setting("MQTT_HOST", "localhost") + ":" + setting("MQTT_PORT", "8883"));
        mqtt.setSslContext(trusting(setting("MQTT_CA", "ca.pem")));
        mqtt.setVersion("3.1.1");
        mqtt.setUserName(setting("MQTT_USER", "thermometer"));
        mqtt.setPassword(setting("MQTT_PASSWORD", ""));
        // What is sent to us while we are away waits for us.
        mqtt.setClientId("thermometer");
        mqtt.setCleanSession(false);
        mqtt.setWillTopic(STATUS);
        mqtt.setWillMessage("offline");
        mqtt.setWillQos(QoS.AT_LEAST_ONCE);
        mqtt.setWillRetain(true);
        mqtt.setReconnectDelayMax(30_000);
        connection = mqtt.callbackConnection();
        connection.listener(this);
    }

    public static void main(String[] arguments) throws Exception {
        Thermometer thermometer = new Thermometer();
        // It connects by itself, and again after each loss.
        thermometer.connection.connect(then(() -> {}));
        Runtime.getRuntime().addShutdownHook(new Thread(thermometer::stop));
        Executors.newSingleThreadScheduledExecutor().scheduleAtFixedRate(thermometer::measure, 0, 1, TimeUnit.SECONDS);
    }

    /** Everything on the connection happens on its own queue. */
    private void measure() {
        String reading = target;
        connection.getDispatchQueue().execute(
            () -> publish("home/thermometer/temperature", reading, false, () -> System.out.println("published " + reading)));
    }

    private void publish(String topic, String text, boolean isRetained, Runnable next) {
        connection.publish(topic, text.getBytes(UTF_8), QoS.AT_LEAST_ONCE, isRetained, then(next));
    }

    private void stop() {
        CountDownLatch stopped = new CountDownLatch(1);
        connection.getDispatchQueue().execute(
            () -> publish(STATUS, "offline", true, () -> connection.disconnect(then(stopped::countDown))));
        try {
            stopped.await(5, TimeUnit.SECONDS);
        } catch (InterruptedException why) {
            Thread.currentThread().interrupt();
        }
    }

    @Override
    public void onConnected() {
        System.out.println("connected");
        Topic[] topics = {new Topic("home/thermometer/set", QoS.AT_LEAST_ONCE)};
        connection.subscribe(topics, then(() -> {}));
        publish(STATUS, "online", true, () -> {});
    }

    @Override
    public void onDisconnected() {
        System.out.println("disconnected");
    }

    @Override
    public void onPublish(UTF8Buffer topic, Buffer payload, Runnable acknowledge) {
        target = payload.utf8().toString();
        System.out.println("set " + target);
        acknowledge.run();
    }

    @Override
    public void onFailure(Throwable why) {
        System.out.println("refused: " + why);
    }

    private static <T> Callback<T> then(Runnable next) {
        return new Callback<>() {
            @Override
            public void onSuccess(T value) {
                next.run();
            }

            @Override
            public void onFailure(Throwable why) {
                System.out.println("failed: " + why);
            }
        };
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

    private static String setting(String name, String otherwise) {
        return System.getenv().getOrDefault(name, otherwise);
    }
}
