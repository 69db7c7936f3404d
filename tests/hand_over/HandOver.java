import java.time.Duration;
import java.util.Arrays;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.KTable;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.kstream.TimeWindows;
import org.apache.kafka.streams.kstream.WindowedSerdes;

/** What tests/programs/hand_over.rs is, in Java: either goes on where the other stopped. Settings are given as NAME=VALUE. */
public final class HandOver {
    private static final long WINDOW_MS = 5_000;

    public static void main(String[] arguments) throws InterruptedException {
        Properties settings = new Properties();
        for (String argument : arguments) {
            String[] parts = argument.split("=", 2);
            settings.put(parts[0], parts[1]);
        }
        settings.put(StreamsConfig.DEFAULT_KEY_SERDE_CLASS_CONFIG, Serdes.StringSerde.class);
        settings.put(StreamsConfig.DEFAULT_VALUE_SERDE_CLASS_CONFIG, Serdes.StringSerde.class);
        StreamsBuilder builder = new StreamsBuilder();

        builder.<String, String>stream("lines")
            .flatMapValues(line -> Arrays.asList(line.split(" ")))
            .groupBy((key, word) -> word)
            .count(Materialized.as("counts"))
            .toStream()
            .to("word-counts", Produced.with(Serdes.String(), Serdes.Long()));

        builder.stream("readings", Consumed.with(Serdes.String(), Serdes.Long()))
            .groupByKey(Grouped.with(Serdes.String(), Serdes.Long()))
            .windowedBy(TimeWindows.ofSizeAndGrace(Duration.ofMillis(WINDOW_MS), Duration.ofHours(1)))
            .aggregate(
                () -> "0 0",
                (key, reading, mean) -> {
                    String[] parts = mean.split(" ");
                    return (Long.parseLong(parts[0]) + 1) + " " + (Long.parseLong(parts[1]) + reading);
                },
                Materialized.as("means"))
            .toStream()
            .mapValues(mean -> {
                String[] parts = mean.split(" ");
                return Double.parseDouble(parts[1]) / Double.parseDouble(parts[0]);
            })
            .to("window-means", Produced.with(
                WindowedSerdes.timeWindowedSerdeFrom(String.class, WINDOW_MS), Serdes.Double()));

        KTable<String, String> regions = builder.table("regions", Materialized.as("regions"));
        builder.<String, String>stream("views")
            .join(regions, (view, region) -> view + " " + region)
            .to("regional-views");

        KafkaStreams streams = new KafkaStreams(builder.build(), settings);
        CountDownLatch ended = new CountDownLatch(1);
        streams.setStateListener((now, before) -> {
            System.out.println(now);
            if (now == KafkaStreams.State.ERROR) {
                ended.countDown();
            }
        });
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            System.out.println(streams.close(Duration.ofSeconds(30)) ? "closed" : "not closed");
        }));
        streams.start();
        ended.await();
        System.exit(1);
    }
}
