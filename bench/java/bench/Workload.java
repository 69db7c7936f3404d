package bench;

import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.Properties;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.streams.CloseOptions;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsConfig;

/** Runs one workload in Kafka Streams and says what it took: the other side of bench/src/bin/workload.rs. */
public final class Workload {
    /** Longer than Kafka Streams waits between two looks for windows that have closed. */
    private static final long EMIT_INTERVAL_MS = 1100;
    private static final long START_MS = 1_700_000_000_000L;

    private Workload() {
    }

    public static void main(String[] words) throws Exception {
        if (words[0].equals("delete-topics")) {
            Topics.delete(words[1], words[2]);
            return;
        }
        Arguments arguments = new Arguments(words);
        long records = arguments.number("records");
        boolean isWordCount = arguments.text("shape").equals("word-count");
        String threads = arguments.settings.getProperty(StreamsConfig.NUM_STREAM_THREADS_CONFIG, "1");
        Watch watch = new Watch(isWordCount ? records * 10 : records, threads.equals("1"), arguments.number("marker"));

        Properties settings = new Properties();
        settings.setProperty(StreamsConfig.APPLICATION_ID_CONFIG, arguments.text("application-id"));
        settings.setProperty(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, arguments.text("bootstrap"));
        settings.setProperty(StreamsConfig.STATE_DIR_CONFIG, arguments.text("state-dir"));
        settings.putAll(arguments.settings);

        KafkaStreams streams = new KafkaStreams(Topologies.build(arguments, watch), settings);
        streams.setStateListener(watch);
        streams.setGlobalStateRestoreListener(watch);
        streams.start();
        boolean isDone = drive(arguments, watch);
        // The next run of a restoration joins the same group.
        streams.close(CloseOptions.timeout(Duration.ofSeconds(300))
            .withGroupMembershipOperation(CloseOptions.GroupMembershipOperation.LEAVE_GROUP));
        Watch.Mark closed = new Watch.Mark();
        if (!isDone) {
            System.err.println("the application ended before it was done");
            System.exit(1);
        }
        System.out.println("{\"event\":\"result\",\"workload\":\"" + arguments.name + "\",\"records\":" + records
            + ",\"counted\":" + watch.counted() + ",\"running\":" + watch.runningMark
            + ",\"running_memory_kb\":" + watch.runningMemoryKb + ",\"restore_start\":" + watch.restoreStartMark
            + ",\"half\":" + watch.halfMark + ",\"full\":" + watch.fullMark + ",\"closed\":" + closed
            + ",\"peak_memory_kb\":" + Watch.statusKb("VmHWM:") + "}");
        System.exit(0);
    }

    /** Waits for what the mode says. */
    private static boolean drive(Arguments arguments, Watch watch) throws Exception {
        switch (arguments.text("mode")) {
            case "start":
                return watch.await(() -> watch.runningMark != null);
            case "serve":
                while (System.in.read() >= 0) {
                    // Until it ends.
                }
                return true;
            default:
        }
        if (arguments.text("shape").equals("restore")) {
            long records = arguments.number("records");
            boolean isDone = watch.await(() -> watch.restored >= records && watch.runningMark != null);
            watch.fullMark = new Watch.Mark();
            return isDone;
        }
        boolean isDone = watch.await(() -> watch.fullMark != null);
        if (arguments.text("shape").equals("windows") && arguments.number("on-close") != 0) {
            Thread.sleep(EMIT_INTERVAL_MS);
            closeWindows(arguments);
            long partitions = arguments.number("partitions");
            isDone &= watch.await(() -> watch.markers >= partitions);
        }
        return isDone;
    }

    /** As the function of bench/src/app.rs. */
    private static void closeWindows(Arguments arguments) {
        long last = START_MS + arguments.number("records") * 1000 / arguments.number("rate");
        long advance = arguments.number("advance-ms");
        long beyond = (last / advance + 1) * advance;
        long marker = arguments.number("marker");
        long timestamp = beyond + Math.min(marker, advance - 1);
        byte[] value = ByteBuffer.allocate(8).putDouble(-(double) marker).array();
        byte[] key = "closing!".getBytes(StandardCharsets.UTF_8);
        Properties settings = new Properties();
        settings.setProperty(ProducerConfig.BOOTSTRAP_SERVERS_CONFIG, arguments.text("bootstrap"));
        try (KafkaProducer<byte[], byte[]> producer =
                 new KafkaProducer<>(settings, new ByteArraySerializer(), new ByteArraySerializer())) {
            for (int partition = 0; partition < arguments.number("partitions"); partition++) {
                producer.send(new ProducerRecord<>(arguments.inputs.get(0), partition, timestamp, key, value));
            }
        }
    }
}
