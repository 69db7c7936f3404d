package conformance;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.lang.reflect.Field;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.time.Duration;
import java.time.Instant;
import java.util.Map;
import java.util.Properties;
import java.util.TreeMap;
import java.util.TreeSet;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.Headers;
import org.apache.kafka.common.header.internals.RecordHeaders;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.common.utils.Time;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.TopologyTestDriver;
import org.apache.kafka.streams.processor.internals.StreamTask;
import org.apache.kafka.streams.test.TestRecord;

/** One run of a scenario's input. */
final class Run {
    private final TopologyTestDriver driver;
    private final JsonNode input;
    private final boolean commitsExplicitly;
    private final Map<String, ArrayNode> produced = new TreeMap<>();
    private int step;

    Run(final Topology topology, final Properties settings, final JsonNode scenario) {
        driver = new TopologyTestDriver(topology, settings, Instant.EPOCH);
        input = scenario.has("input") ? scenario.get("input") : Recorder.array();
        commitsExplicitly = "explicit".equals(Options.text(scenario, "commit"));
    }

    ObjectNode answers() {
        final ObjectNode answers = Recorder.object();
        try {
            drain();
            for (final JsonNode each : input) {
                step++;
                try {
                    give(each);
                } catch (final RuntimeException error) {
                    if (error.getStackTrace().length > 0 && error.getStackTrace()[0].getClassName().equals("conformance.Run")) {
                        throw new IllegalArgumentException(error.getMessage());
                    }
                    drain();
                    Throwable cause = error;
                    while (cause.getCause() != null) {
                        cause = cause.getCause();
                    }
                    final ObjectNode failed = answers.putObject("failed");
                    failed.put("step", step);
                    failed.put("error", cause.getClass().getName() + ": " + cause.getMessage());
                    break;
                }
                drain();
            }
        } finally {
            try {
                driver.close();
            } catch (final RuntimeException ofAFailedTask) {
                // The failure stands in the answers already.
            }
        }
        final ObjectNode topics = answers.putObject("produced");
        produced.forEach(topics::set);
        return answers;
    }

    private void give(final JsonNode each) {
        if (each.has("advance")) {
            Options.only(each, "advance");
            advance(each.get("advance").asLong());
        } else if (each.has("commit")) {
            Options.only(each, "commit");
            if (!commitsExplicitly) {
                throw new IllegalArgumentException("a commit is a step only with \"commit\": \"explicit\"");
            }
            commit();
        } else {
            Options.only(each, "topic", "key", "value", "ts", "headers");
            final RecordHeaders headers = new RecordHeaders();
            if (each.has("headers")) {
                each.get("headers").forEach(h -> headers.add(h.get(0).asText(), h.get(1).isNull() ? null : Text.read(h.get(1).asText())));
            }
            pipe(Options.required(each, "topic"), Text.read(Options.text(each, "key")), value(each), each.get("ts").asLong(), headers);
        }
    }

    /** Text, or a number, which is written as a long. */
    private static byte[] value(final JsonNode each) {
        final JsonNode value = each.get("value");
        if (value != null && value.isNumber()) {
            return java.nio.ByteBuffer.allocate(8).putLong(value.asLong()).array();
        }
        return Text.read(Options.text(each, "value"));
    }

    private void pipe(final String topic, final byte[] key, final byte[] value, final long timestamp, final Headers headers) {
        if (!commitsExplicitly) {
            driver.createInputTopic(topic, new ByteArraySerializer(), new ByteArraySerializer())
                .pipeInput(new TestRecord<>(key, value, headers, timestamp));
            return;
        }
        // What TopologyTestDriver.pipeRecord does, without the commit after each record.
        final Object partition = call("getInputTopicOrPatternPartition", new Class<?>[] {String.class}, topic);
        final Map<?, ?> global = (Map<?, ?>) field("globalPartitionsByInputTopic");
        if (partition == null && global.get(topic) == null) {
            throw new IllegalArgumentException("Unknown topic: " + topic);
        }
        if (partition != null) {
            call("enqueueTaskRecord", new Class<?>[] {String.class, org.apache.kafka.common.TopicPartition.class, long.class, byte[].class, byte[].class, Headers.class},
                topic, partition, timestamp, key, value, headers);
            process();
        }
        if (global.get(topic) != null) {
            call("processGlobalRecord", new Class<?>[] {org.apache.kafka.common.TopicPartition.class, long.class, byte[].class, byte[].class, Headers.class},
                global.get(topic), timestamp, key, value, headers);
        }
    }

    /** What TopologyTestDriver.completeAllProcessableWork does, without the commit after each record. */
    private void process() {
        final StreamTask task = (StreamTask) field("task");
        final Time time = (Time) field("mockWallClockTime");
        capture();
        if (task == null) {
            return;
        }
        task.resumePollingForPartitionsWithAvailableSpace();
        task.updateLags();
        while (task.hasRecordsQueued() && task.isProcessable(time.milliseconds())) {
            task.process(time.milliseconds());
            task.maybePunctuateStreamTime();
            capture();
        }
    }

    private void advance(final long ms) {
        if (!commitsExplicitly) {
            driver.advanceWallClockTime(Duration.ofMillis(ms));
            return;
        }
        ((Time) field("mockWallClockTime")).sleep(ms);
        final StreamTask task = (StreamTask) field("task");
        if (task != null) {
            task.maybePunctuateSystemTime();
        }
        process();
    }

    private void commit() {
        final StreamTask task = (StreamTask) field("task");
        if (task != null) {
            call("commit", new Class<?>[] {Map.class}, task.prepareCommit(true));
            task.postCommit(true);
        }
        process();
    }

    private void capture() {
        call("captureOutputsAndReEnqueueInternalResults", new Class<?>[0]);
    }

    private Object field(final String name) {
        try {
            final Field field = TopologyTestDriver.class.getDeclaredField(name);
            field.setAccessible(true);
            return field.get(driver);
        } catch (final ReflectiveOperationException error) {
            throw new IllegalStateException(error);
        }
    }

    private Object call(final String name, final Class<?>[] types, final Object... arguments) {
        try {
            final Method method = TopologyTestDriver.class.getDeclaredMethod(name, types);
            method.setAccessible(true);
            return method.invoke(driver, arguments);
        } catch (final InvocationTargetException error) {
            if (error.getCause() instanceof RuntimeException) {
                throw (RuntimeException) error.getCause();
            }
            throw new IllegalStateException(error.getCause());
        } catch (final ReflectiveOperationException error) {
            throw new IllegalStateException(error);
        }
    }

    /** What only Java writes: names of classes, stack traces, messages of its own. */
    private static boolean isJavas(final Header header) {
        return header.key().equals("__streams.errors.exception") || header.key().equals("__streams.errors.stacktrace")
            || header.key().equals("__streams.errors.message") && !Text.show(header.value()).startsWith("fails on ");
    }

    /** Each record is [step, key, value, timestamp, headers if there are any]. */
    private void drain() {
        for (final String topic : new TreeSet<>(driver.producedTopicNames())) {
            final var output = driver.createOutputTopic(topic, new ByteArrayDeserializer(), new ByteArrayDeserializer());
            for (final TestRecord<byte[], byte[]> record : output.readRecordsToList()) {
                final ArrayNode line = Recorder.array();
                line.add(step).add(Text.show(record.key())).add(Text.show(record.value())).add(record.timestamp());
                if (record.headers().iterator().hasNext()) {
                    final ArrayNode headers = line.addArray();
                    for (final Header header : record.headers()) {
                        headers.addArray().add(header.key()).add(isJavas(header) ? "*" : Text.show(header.value()));
                    }
                }
                produced.computeIfAbsent(topic, name -> Recorder.array()).add(line);
            }
        }
    }
}
