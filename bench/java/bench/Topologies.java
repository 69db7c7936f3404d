package bench;

import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.Arrays;
import java.util.List;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.EmitStrategy;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.JoinWindows;
import org.apache.kafka.streams.kstream.Joined;
import org.apache.kafka.streams.kstream.KStream;
import org.apache.kafka.streams.kstream.KTable;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.kstream.Repartitioned;
import org.apache.kafka.streams.kstream.SessionWindows;
import org.apache.kafka.streams.kstream.SlidingWindows;
import org.apache.kafka.streams.kstream.StreamJoined;
import org.apache.kafka.streams.kstream.TimeWindows;
import org.apache.kafka.streams.kstream.WindowedSerdes;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.SessionStore;
import org.apache.kafka.streams.state.WindowStore;

/** The topologies. bench/src/topology.rs has the same ones. */
final class Topologies {
    private static final Serde<String> TEXT = Serdes.String();
    private static final Serde<byte[]> BYTES = Serdes.ByteArray();
    /** As in bench/src/topology.rs. */
    private static final Duration SESSION_GRACE = Duration.ofSeconds(3600);
    private static final Duration CLOSED_RETENTION = Duration.ofSeconds(600);

    /** Sum and count of readings. */
    static final class Mean {
        double sum;
        long count;

        Mean add(byte[] value) {
            sum += reading(value);
            count++;
            return this;
        }

        double value() {
            return sum / count;
        }
    }

    /** A mean in 16 bytes. */
    private static final Serde<Mean> MEAN = Serdes.serdeFrom(
        (topic, mean) -> mean == null ? null
            : ByteBuffer.allocate(16).putDouble(mean.sum).putLong(mean.count).array(),
        (topic, bytes) -> {
            if (bytes == null) {
                return null;
            }
            ByteBuffer buffer = ByteBuffer.wrap(bytes);
            Mean mean = new Mean();
            mean.sum = buffer.getDouble();
            mean.count = buffer.getLong();
            return mean;
        });

    private Topologies() {
    }

    /** The number a value begins with. */
    static double reading(byte[] value) {
        return ByteBuffer.wrap(value).getDouble();
    }

    /** Half of each value. */
    private static byte[] halves(byte[] left, byte[] right) {
        byte[] joined = Arrays.copyOf(left, 100);
        System.arraycopy(right, 0, joined, 50, 50);
        return joined;
    }

    static Topology build(Arguments arguments, Watch watch) {
        StreamsBuilder builder = new StreamsBuilder();
        List<String> inputs = arguments.inputs;
        String output = arguments.text("output");
        switch (arguments.text("shape")) {
            case "pass":
                records(builder, inputs.get(0), watch)
                    .filter((key, value) -> reading(value) >= 0)
                    .mapValues(value -> {
                        byte[] changed = value.clone();
                        changed[8] ^= 1;
                        return changed;
                    })
                    .to(output, Produced.with(TEXT, BYTES));
                break;
            case "word-count":
                builder.stream(inputs.get(0), Consumed.with(TEXT, TEXT))
                    .flatMapValues(line -> Arrays.asList(line.split(" ")))
                    .selectKey((key, word) -> word)
                    .repartition(Repartitioned.with(TEXT, TEXT).withName("words"))
                    .peek((key, word) -> watch.see())
                    .groupByKey(Grouped.with(TEXT, TEXT))
                    .count(Materialized.<String, Long, KeyValueStore<Bytes, byte[]>>as("counts")
                        .withKeySerde(TEXT).withValueSerde(Serdes.Long()))
                    .toStream()
                    .to(output, Produced.with(TEXT, Serdes.Long()));
                break;
            case "windows": {
                long size = arguments.number("size-ms");
                TimeWindows windows = TimeWindows.ofSizeWithNoGrace(Duration.ofMillis(size))
                    .advanceBy(Duration.ofMillis(arguments.number("advance-ms")));
                boolean onClose = arguments.number("on-close") != 0;
                EmitStrategy emit = onClose ? EmitStrategy.onWindowClose() : EmitStrategy.onWindowUpdate();
                Materialized<String, Mean, WindowStore<Bytes, byte[]>> means = onClose
                    ? means().withRetention(Duration.ofMillis(size).plus(CLOSED_RETENTION)) : means();
                records(builder, inputs.get(0), watch)
                    .groupByKey(Grouped.with(TEXT, BYTES))
                    .windowedBy(windows)
                    .emitStrategy(emit)
                    .aggregate(Mean::new, (key, value, mean) -> mean.add(value), means)
                    .toStream()
                    .mapValues(Mean::value)
                    .to(output, Produced.with(
                        WindowedSerdes.timeWindowedSerdeFrom(String.class, size), Serdes.Double()));
                break;
            }
            case "sliding": {
                long difference = arguments.number("difference-ms");
                records(builder, inputs.get(0), watch)
                    .groupByKey(Grouped.with(TEXT, BYTES))
                    .windowedBy(SlidingWindows.ofTimeDifferenceWithNoGrace(Duration.ofMillis(difference)))
                    .aggregate(Mean::new, (key, value, mean) -> mean.add(value), means())
                    .toStream()
                    .mapValues(Mean::value)
                    .to(output, Produced.with(
                        WindowedSerdes.timeWindowedSerdeFrom(String.class, difference), Serdes.Double()));
                break;
            }
            case "sessions":
                records(builder, inputs.get(0), watch)
                    .groupByKey(Grouped.with(TEXT, BYTES))
                    .windowedBy(SessionWindows.ofInactivityGapAndGrace(
                        Duration.ofMillis(arguments.number("gap-ms")), SESSION_GRACE))
                    .count(Materialized.<String, Long, SessionStore<Bytes, byte[]>>as("sessions")
                        .withKeySerde(TEXT).withValueSerde(Serdes.Long()))
                    .toStream()
                    .to(output, Produced.with(
                        WindowedSerdes.sessionWindowedSerdeFrom(String.class), Serdes.Long()));
                break;
            case "stream-table": {
                KTable<String, byte[]> table = builder.table(inputs.get(1), Consumed.with(TEXT, BYTES),
                    Materialized.<String, byte[], KeyValueStore<Bytes, byte[]>>as("rows"));
                records(builder, inputs.get(0), watch)
                    .join(table, Topologies::halves, Joined.with(TEXT, BYTES, BYTES))
                    .to(output, Produced.with(TEXT, BYTES));
                break;
            }
            case "stream-stream": {
                JoinWindows windows = JoinWindows.ofTimeDifferenceWithNoGrace(
                    Duration.ofMillis(arguments.number("difference-ms")));
                KStream<String, byte[]> right = records(builder, inputs.get(1), watch);
                records(builder, inputs.get(0), watch)
                    .join(right, Topologies::halves, windows, StreamJoined.with(TEXT, BYTES, BYTES))
                    .to(output, Produced.with(TEXT, BYTES));
                break;
            }
            case "count":
                records(builder, inputs.get(0), watch)
                    .groupByKey(Grouped.with(TEXT, BYTES))
                    .count(Materialized.<String, Long, KeyValueStore<Bytes, byte[]>>as("counts")
                        .withKeySerde(TEXT).withValueSerde(Serdes.Long()))
                    .toStream()
                    .to(output, Produced.with(TEXT, Serdes.Long()));
                break;
            case "restore":
                builder.table(inputs.get(0), Consumed.with(TEXT, BYTES),
                    Materialized.<String, byte[], KeyValueStore<Bytes, byte[]>>as("restored"));
                break;
            default:
                throw new IllegalArgumentException("there is no shape " + arguments.text("shape"));
        }
        return builder.build();
    }

    private static KStream<String, byte[]> records(StreamsBuilder builder, String topic, Watch watch) {
        return builder.stream(topic, Consumed.with(TEXT, BYTES)).peek((key, value) -> watch.see(value));
    }

    private static Materialized<String, Mean, WindowStore<Bytes, byte[]>> means() {
        return Materialized.<String, Mean, WindowStore<Bytes, byte[]>>as("means")
            .withKeySerde(TEXT).withValueSerde(MEAN);
    }
}
