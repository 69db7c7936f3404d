package conformance;

import com.fasterxml.jackson.databind.JsonNode;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.AutoOffsetReset;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.JoinWindows;
import org.apache.kafka.streams.kstream.Joined;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Named;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.kstream.Repartitioned;
import org.apache.kafka.streams.kstream.StreamJoined;
import org.apache.kafka.streams.kstream.Suppressed;
import org.apache.kafka.streams.kstream.TableJoined;
import org.apache.kafka.streams.processor.FailOnInvalidTimestamp;
import org.apache.kafka.streams.processor.LogAndSkipOnInvalidTimestamp;
import org.apache.kafka.streams.processor.StreamPartitioner;
import org.apache.kafka.streams.processor.TimestampExtractor;
import org.apache.kafka.streams.processor.UsePartitionTimeOnInvalidTimestamp;
import org.apache.kafka.streams.processor.WallclockTimestampExtractor;
import org.apache.kafka.streams.state.BuiltInDslStoreSuppliers;
import org.apache.kafka.streams.state.StoreBuilder;
import org.apache.kafka.streams.state.Stores;
import org.apache.kafka.streams.state.WindowBytesStoreSupplier;

/** The options of the operations: Consumed, Produced, Materialized and so on, written as JSON. */
@SuppressWarnings({"unchecked", "rawtypes"})
final class Options {
    private Options() { }

    static void only(final JsonNode node, final String... allowed) {
        if (node == null) {
            return;
        }
        final Set<String> unknown = new HashSet<>();
        node.fieldNames().forEachRemaining(unknown::add);
        unknown.removeAll(List.of(allowed));
        if (!unknown.isEmpty()) {
            throw new IllegalArgumentException("unknown options " + unknown + " in " + node);
        }
    }

    static String text(final JsonNode node, final String field) {
        return node == null || !node.hasNonNull(field) ? null : node.get(field).asText();
    }

    static String required(final JsonNode node, final String field) {
        final String text = text(node, field);
        if (text == null) {
            throw new IllegalArgumentException("'" + field + "' is missing in " + node);
        }
        return text;
    }

    static long number(final JsonNode node, final String field, final long otherwise) {
        return node == null || !node.hasNonNull(field) ? otherwise : node.get(field).asLong();
    }

    static Duration ms(final JsonNode node, final String field, final long otherwise) {
        return Duration.ofMillis(number(node, field, otherwise));
    }

    static List<String> texts(final JsonNode node, final String field) {
        final List<String> texts = new ArrayList<>();
        if (node != null && node.has(field)) {
            node.get(field).forEach(each -> texts.add(each.asText()));
        }
        return texts;
    }

    static Named named(final JsonNode step) {
        final String name = text(step, "name");
        return name == null ? null : Named.as(name);
    }

    static Map<String, String> map(final JsonNode node) {
        final Map<String, String> map = new HashMap<>();
        node.fields().forEachRemaining(each -> map.put(each.getKey(), each.getValue().asText()));
        return map;
    }

    private static TimestampExtractor extractor(final String name) {
        switch (name) {
            case "fail": return new FailOnInvalidTimestamp();
            case "log_and_skip": return new LogAndSkipOnInvalidTimestamp();
            case "partition_time": return new UsePartitionTimeOnInvalidTimestamp();
            case "wallclock": return new WallclockTimestampExtractor();
            // What stands after an `@` in the value; the record's own where there is none.
            case "value": return (record, partitionTime) -> {
                final String value = Functions.text(record.value());
                final int at = value == null ? -1 : value.indexOf('@');
                return at < 0 ? record.timestamp() : Long.parseLong(value.substring(at + 1));
            };
            case "partition_time_or_record": return (record, partitionTime) -> partitionTime < 0 ? record.timestamp() : partitionTime;
            default: throw Functions.unknown("extractor", name);
        }
    }

    static Consumed<Object, Object> consumed(final JsonNode step, final boolean isLong) {
        final JsonNode node = step.get("consumed");
        only(node, "name", "reset", "extractor");
        Consumed consumed = Consumed.with(Serdes.String(), isLong ? (Serde) Serdes.Long() : (Serde) Serdes.String());
        if (text(node, "name") != null) {
            consumed = consumed.withName(text(node, "name"));
        }
        if (text(node, "reset") != null) {
            switch (text(node, "reset")) {
                case "earliest": consumed = consumed.withOffsetResetPolicy(AutoOffsetReset.earliest()); break;
                case "latest": consumed = consumed.withOffsetResetPolicy(AutoOffsetReset.latest()); break;
                case "none": consumed = consumed.withOffsetResetPolicy(AutoOffsetReset.none()); break;
                default: throw Functions.unknown("reset", text(node, "reset"));
            }
        }
        if (text(node, "extractor") != null) {
            consumed = consumed.withTimestampExtractor(extractor(text(node, "extractor")));
        }
        return consumed;
    }

    /** {@code const:1}, {@code multicast:0,1}, {@code drop}. */
    static StreamPartitioner<Object, Object> partitioner(final String name) {
        final String argument = name.substring(name.indexOf(':') + 1);
        if (name.startsWith("const:")) {
            return (topic, key, value, partitions) -> Optional.of(Set.of(Integer.parseInt(argument)));
        } else if (name.startsWith("multicast:")) {
            final Set<Integer> all = new HashSet<>();
            for (final String each : argument.split(",")) {
                all.add(Integer.parseInt(each));
            }
            return (topic, key, value, partitions) -> Optional.of(all);
        } else if (name.equals("drop")) {
            return (topic, key, value, partitions) -> Optional.of(Set.of());
        } else if (name.equals("default")) {
            return (topic, key, value, partitions) -> Optional.empty();
        }
        throw Functions.unknown("partitioner", name);
    }

    static Produced<Object, Object> produced(final JsonNode step, final Handle of) {
        final JsonNode node = step.get("produced");
        only(node, "name", "partitioner", "unwritable_key", "unwritable");
        Produced<Object, Object> produced = Produced.with(
            failing(of.keySerde(), text(node, "unwritable_key")), failing(of.valueSerde(), text(node, "unwritable")));
        if (text(node, "name") != null) {
            produced = produced.withName(text(node, "name"));
        }
        if (text(node, "partitioner") != null) {
            produced = produced.withStreamPartitioner(partitioner(text(node, "partitioner")));
        }
        return produced;
    }

    /** A serde that does not write what contains a text, if that is given. */
    private static Serde<Object> failing(final Serde<Object> serde, final String text) {
        if (text == null) {
            return serde;
        }
        return Serdes.serdeFrom((topic, any) -> {
            if (Functions.shown(any).contains(text)) {
                throw new org.apache.kafka.common.errors.SerializationException("cannot write " + any);
            }
            return serde.serializer().serialize(topic, any);
        }, serde.deserializer());
    }

    static Repartitioned<Object, Object> repartitioned(final JsonNode step, final Handle of) {
        final JsonNode node = step.get("repartitioned");
        only(node, "name", "partitions", "partitioner");
        Repartitioned<Object, Object> repartitioned = Repartitioned.with(of.keySerde(), of.valueSerde());
        if (text(node, "name") != null) {
            repartitioned = repartitioned.withName(text(node, "name"));
        }
        if (text(node, "partitions") != null) {
            repartitioned = repartitioned.withNumberOfPartitions(node.get("partitions").asInt());
        }
        if (text(node, "partitioner") != null) {
            repartitioned = repartitioned.withStreamPartitioner(partitioner(text(node, "partitioner")));
        }
        return repartitioned;
    }

    static Grouped<Object, Object> grouped(final JsonNode step, final Serde<Object> key, final Serde<Object> value) {
        final JsonNode node = step.get("grouped");
        only(node, "name");
        final String name = text(node, "name");
        return name == null ? Grouped.with(key, value) : Grouped.with(name, key, value);
    }

    static Joined<Object, Object, Object> joined(final JsonNode step, final Handle left, final Handle right) {
        final JsonNode node = step.get("joined");
        only(node, "name", "grace");
        Joined<Object, Object, Object> joined = Joined.with(left.keySerde(), left.valueSerde(), right.valueSerde());
        if (text(node, "name") != null) {
            joined = joined.withName(text(node, "name"));
        }
        if (node != null && node.has("grace")) {
            joined = joined.withGracePeriod(ms(node, "grace", 0));
        }
        return joined;
    }

    static JoinWindows joinWindows(final JsonNode step) {
        final JsonNode node = step.get("windows");
        only(node, "difference", "before", "after", "grace");
        JoinWindows windows = node.has("grace")
            ? JoinWindows.ofTimeDifferenceAndGrace(ms(node, "difference", 0), ms(node, "grace", 0))
            : JoinWindows.ofTimeDifferenceWithNoGrace(ms(node, "difference", 0));
        if (node.has("before")) {
            windows = windows.before(ms(node, "before", 0));
        }
        if (node.has("after")) {
            windows = windows.after(ms(node, "after", 0));
        }
        return windows;
    }

    private static WindowBytesStoreSupplier windowSupplier(final JsonNode node, final boolean timestamped) {
        final String name = required(node, "name");
        final Duration retention = ms(node, "retention", 0);
        final Duration size = ms(node, "window_size", 0);
        final boolean duplicates = node.has("retain_duplicates") && node.get("retain_duplicates").asBoolean();
        if ("in_memory".equals(text(node, "store"))) {
            return Stores.inMemoryWindowStore(name, retention, size, duplicates);
        }
        return timestamped
            ? Stores.persistentTimestampedWindowStore(name, retention, size, duplicates)
            : Stores.persistentWindowStore(name, retention, size, duplicates);
    }

    static StreamJoined<Object, Object, Object> streamJoined(final JsonNode step, final Handle left, final Handle right) {
        final JsonNode node = step.get("stream_joined");
        only(node, "name", "store_name", "store", "this_store", "other_store", "logging");
        StreamJoined<Object, Object, Object> joined = StreamJoined.with(left.keySerde(), left.valueSerde(), right.valueSerde());
        if (text(node, "name") != null) {
            joined = joined.withName(text(node, "name"));
        }
        if (text(node, "store_name") != null) {
            joined = joined.withStoreName(text(node, "store_name"));
        }
        if (text(node, "store") != null) {
            joined = joined.withDslStoreSuppliers("in_memory".equals(text(node, "store"))
                ? new BuiltInDslStoreSuppliers.InMemoryDslStoreSuppliers()
                : new BuiltInDslStoreSuppliers.RocksDBDslStoreSuppliers());
        }
        if (node != null && node.has("this_store")) {
            joined = joined.withThisStoreSupplier(windowSupplier(node.get("this_store"), false));
        }
        if (node != null && node.has("other_store")) {
            joined = joined.withOtherStoreSupplier(windowSupplier(node.get("other_store"), false));
        }
        if (node != null && node.has("logging")) {
            joined = node.get("logging").isBoolean() && !node.get("logging").asBoolean()
                ? joined.withLoggingDisabled()
                : joined.withLoggingEnabled(map(node.get("logging")));
        }
        return joined;
    }

    static TableJoined<Object, Object> tableJoined(final JsonNode step) {
        final JsonNode node = step.get("table_joined");
        only(node, "name", "partitioner", "other_partitioner");
        TableJoined<Object, Object> joined = TableJoined.as(text(node, "name"));
        if (text(node, "partitioner") != null) {
            joined = joined.withPartitioner((StreamPartitioner) partitioner(text(node, "partitioner")));
        }
        if (text(node, "other_partitioner") != null) {
            joined = joined.withOtherPartitioner((StreamPartitioner) partitioner(text(node, "other_partitioner")));
        }
        return joined;
    }

    enum StoreKind { KEY_VALUE, WINDOW, SESSION }

    /** Null where the step has no "materialized": the overload without it is called then. */
    static Materialized materialized(final JsonNode step, final StoreKind kind, final Serde<?> key, final Serde<?> value) {
        final JsonNode node = step.get("materialized");
        if (node == null) {
            return null;
        }
        only(node, "name", "store", "supplier", "caching", "logging", "retention", "history", "segment_interval", "window_size", "max_entries", "retain_duplicates");
        final String name = text(node, "name");
        Materialized materialized;
        if (node.has("supplier")) {
            materialized = supplied(node, name, kind);
        } else {
            materialized = name == null ? Materialized.with(null, null) : Materialized.as(name);
        }
        materialized = materialized.withKeySerde(key).withValueSerde(value);
        if (text(node, "store") != null) {
            materialized = materialized.withStoreType("in_memory".equals(text(node, "store")) ? Materialized.StoreType.IN_MEMORY : Materialized.StoreType.ROCKS_DB);
        }
        if (node.has("caching")) {
            materialized = node.get("caching").asBoolean() ? materialized.withCachingEnabled() : materialized.withCachingDisabled();
        }
        if (node.has("logging")) {
            materialized = node.get("logging").isBoolean() && !node.get("logging").asBoolean()
                ? materialized.withLoggingDisabled()
                : materialized.withLoggingEnabled(map(node.get("logging")));
        }
        if (node.has("retention") && !node.has("supplier")) {
            materialized = materialized.withRetention(ms(node, "retention", 0));
        }
        return materialized;
    }

    private static Materialized supplied(final JsonNode node, final String name, final StoreKind kind) {
        final String supplier = text(node, "supplier");
        final boolean inMemory = supplier.equals("in_memory");
        if (supplier.equals("lru")) {
            return Materialized.as(Stores.lruMap(name, (int) number(node, "max_entries", 1)));
        }
        if (supplier.equals("versioned")) {
            return node.has("segment_interval")
                ? Materialized.as(Stores.persistentVersionedKeyValueStore(name, ms(node, "history", 0), ms(node, "segment_interval", 0)))
                : Materialized.as(Stores.persistentVersionedKeyValueStore(name, ms(node, "history", 0)));
        }
        if (!inMemory && !supplier.equals("rocksdb") && !supplier.equals("rocksdb_plain")) {
            throw Functions.unknown("supplier", supplier);
        }
        switch (kind) {
            case WINDOW: {
                final boolean duplicates = node.has("retain_duplicates") && node.get("retain_duplicates").asBoolean();
                final Duration retention = ms(node, "retention", 0);
                final Duration size = ms(node, "window_size", 0);
                return Materialized.as(inMemory
                    ? Stores.inMemoryWindowStore(name, retention, size, duplicates)
                    : supplier.equals("rocksdb")
                        ? Stores.persistentTimestampedWindowStore(name, retention, size, duplicates)
                        : Stores.persistentWindowStore(name, retention, size, duplicates));
            }
            case SESSION:
                return Materialized.as(inMemory
                    ? Stores.inMemorySessionStore(name, ms(node, "retention", 0))
                    : Stores.persistentSessionStore(name, ms(node, "retention", 0)));
            default:
                return Materialized.as(inMemory
                    ? Stores.inMemoryKeyValueStore(name)
                    : supplier.equals("rocksdb")
                        ? Stores.persistentTimestampedKeyValueStore(name)
                        : Stores.persistentKeyValueStore(name));
        }
    }

    static Suppressed suppressed(final JsonNode step) {
        final JsonNode node = step.get("suppressed");
        only(node, "until", "limit", "name", "max_records", "max_bytes", "full", "logging");
        Suppressed.BufferConfig buffer = Suppressed.BufferConfig.unbounded();
        if (node.has("max_records") || node.has("max_bytes")) {
            Suppressed.EagerBufferConfig bounded;
            if (node.has("max_records")) {
                bounded = Suppressed.BufferConfig.maxRecords(number(node, "max_records", 0));
                if (node.has("max_bytes")) {
                    bounded = bounded.withMaxBytes(number(node, "max_bytes", 0));
                }
            } else {
                bounded = Suppressed.BufferConfig.maxBytes(number(node, "max_bytes", 0));
            }
            buffer = "shut_down".equals(text(node, "full")) ? bounded.shutDownWhenFull() : bounded.emitEarlyWhenFull();
        }
        if (node.has("logging")) {
            buffer = node.get("logging").isBoolean() && !node.get("logging").asBoolean()
                ? buffer.withLoggingDisabled()
                : buffer.withLoggingEnabled(map(node.get("logging")));
        }
        Suppressed suppressed;
        switch (required(node, "until")) {
            case "window_closes": suppressed = Suppressed.untilWindowCloses((Suppressed.StrictBufferConfig) buffer); break;
            case "time_limit": suppressed = Suppressed.untilTimeLimit(ms(node, "limit", 0), buffer); break;
            default: throw Functions.unknown("until", text(node, "until"));
        }
        return text(node, "name") == null ? suppressed : suppressed.withName(text(node, "name"));
    }

    /** A store added by hand. */
    static StoreBuilder<?> store(final JsonNode node) {
        only(node, "name", "type", "store", "value", "caching", "logging", "retention", "window_size", "retain_duplicates", "history", "segment_interval", "max_entries");
        final String name = required(node, "name");
        final Serde key = Serdes.String();
        final Serde value = "long".equals(text(node, "value")) ? Serdes.Long() : Serdes.String();
        final boolean inMemory = "in_memory".equals(text(node, "store"));
        StoreBuilder<?> store;
        switch (required(node, "type")) {
            case "key_value":
                store = Stores.keyValueStoreBuilder(inMemory ? Stores.inMemoryKeyValueStore(name) : Stores.persistentKeyValueStore(name), key, value);
                break;
            case "timestamped_key_value":
                store = Stores.timestampedKeyValueStoreBuilder(inMemory ? Stores.inMemoryKeyValueStore(name) : Stores.persistentTimestampedKeyValueStore(name), key, value);
                break;
            case "lru":
                store = Stores.keyValueStoreBuilder(Stores.lruMap(name, (int) number(node, "max_entries", 1)), key, value);
                break;
            case "versioned":
                store = Stores.versionedKeyValueStoreBuilder(node.has("segment_interval")
                    ? Stores.persistentVersionedKeyValueStore(name, ms(node, "history", 0), ms(node, "segment_interval", 0))
                    : Stores.persistentVersionedKeyValueStore(name, ms(node, "history", 0)), key, value);
                break;
            case "window":
                store = Stores.windowStoreBuilder(windowSupplier(node, false), key, value);
                break;
            case "timestamped_window":
                store = Stores.timestampedWindowStoreBuilder(windowSupplier(node, true), key, value);
                break;
            case "session":
                store = Stores.sessionStoreBuilder(inMemory
                    ? Stores.inMemorySessionStore(name, ms(node, "retention", 0))
                    : Stores.persistentSessionStore(name, ms(node, "retention", 0)), key, value);
                break;
            default: throw Functions.unknown("type of store", text(node, "type"));
        }
        if (node.has("caching")) {
            store = node.get("caching").asBoolean() ? store.withCachingEnabled() : store.withCachingDisabled();
        }
        if (node.has("logging")) {
            store = node.get("logging").isBoolean() && !node.get("logging").asBoolean()
                ? store.withLoggingDisabled()
                : store.withLoggingEnabled(map(node.get("logging")));
        }
        return store;
    }
}
