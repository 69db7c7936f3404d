package conformance;

import java.time.Duration;
import java.util.Optional;
import java.util.StringJoiner;
import org.apache.kafka.common.header.Headers;
import org.apache.kafka.common.header.internals.RecordHeaders;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.kstream.ValueTransformerWithKey;
import org.apache.kafka.streams.kstream.Windowed;
import org.apache.kafka.streams.kstream.internals.SessionWindow;
import org.apache.kafka.streams.processor.PunctuationType;
import org.apache.kafka.streams.processor.Punctuator;
import org.apache.kafka.streams.processor.StateStore;
import org.apache.kafka.streams.processor.api.FixedKeyProcessor;
import org.apache.kafka.streams.processor.api.FixedKeyProcessorContext;
import org.apache.kafka.streams.processor.api.FixedKeyRecord;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.processor.api.RecordMetadata;
import org.apache.kafka.streams.state.KeyValueIterator;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.SessionStore;
import org.apache.kafka.streams.state.TimestampedKeyValueStore;
import org.apache.kafka.streams.state.TimestampedWindowStore;
import org.apache.kafka.streams.state.ValueAndTimestamp;
import org.apache.kafka.streams.state.VersionedKeyValueStore;
import org.apache.kafka.streams.state.VersionedRecord;
import org.apache.kafka.streams.state.WindowStore;
import org.apache.kafka.streams.state.WindowStoreIterator;

/** The fixed processors of {@code process}, {@code process_values}, {@code transform_values} and global stores. */
@SuppressWarnings({"unchecked", "rawtypes"})
final class Processors {
    private Processors() { }

    /** What the logic of a processor sees, be its key fixed or not. */
    interface Context {
        <S extends StateStore> S store(int number);

        void schedule(long interval, PunctuationType type, Punctuator punctuator);

        long streamTime();

        long systemTime();

        Optional<RecordMetadata> metadata();

        /** The key is that of the record where it is fixed. A child of null stands for all. */
        void forward(Object key, Object value, long timestamp, Headers headers, String child);
    }

    interface Logic {
        void process(Context context, Object key, Object value, long timestamp, Headers headers);

        default void init(final Context context) { }
    }

    private static String shown(final ValueAndTimestamp<?> entry) {
        return entry == null ? "null" : entry.value() + "@" + entry.timestamp();
    }

    private static String shownVersion(final VersionedRecord<?> version) {
        if (version == null) {
            return "null";
        }
        final Optional<Long> to = version.validTo();
        return version.value() + "@" + version.timestamp() + (to.isPresent() ? "-" + to.get() : "");
    }

    private static String all(final KeyValueStore<Object, Object> store) {
        final StringJoiner text = new StringJoiner(" ");
        try (KeyValueIterator<Object, Object> entries = store.all()) {
            while (entries.hasNext()) {
                final KeyValue<Object, Object> entry = entries.next();
                final Object value = entry.value instanceof ValueAndTimestamp ? shown((ValueAndTimestamp<?>) entry.value) : entry.value;
                text.add(entry.key + "=" + value);
            }
        }
        return text.toString();
    }

    static Logic logic(final String processor) {
        final int colon = processor.indexOf(':');
        final String name = colon < 0 ? processor : processor.substring(0, colon);
        final String argument = colon < 0 ? "" : processor.substring(colon + 1);
        switch (name) {
            case "forward": return (c, key, value, ts, headers) -> c.forward(key, value, ts, headers, null);
            case "fail_if": return (c, key, value, ts, headers) -> {
                if (Functions.shown(value).contains(argument)) {
                    throw Functions.failure(value);
                }
                c.forward(key, value, ts, headers, null);
            };
            case "fail_after": return (c, key, value, ts, headers) -> {
                c.forward(key, value, ts, headers, null);
                if (Functions.shown(value).contains(argument)) {
                    throw Functions.failure(value);
                }
            };
            case "drop": return (c, key, value, ts, headers) -> { };
            case "twice": return (c, key, value, ts, headers) -> {
                c.forward(key, value, ts, headers, null);
                c.forward(key, Functions.shown(value) + "'", ts, headers, null);
            };
            case "map": {
                final Functions.Mapper mapper = Functions.mapper(argument);
                return (c, key, value, ts, headers) -> c.forward(key, mapper.apply(key, value), ts, headers, null);
            }
            case "rekey": {
                final Functions.Mapper mapper = Functions.mapper(argument);
                return (c, key, value, ts, headers) -> c.forward(mapper.apply(key, value), value, ts, headers, null);
            }
            case "to_child": return (c, key, value, ts, headers) -> c.forward(key, value, ts, headers, argument);
            case "shift": return (c, key, value, ts, headers) -> c.forward(key, value, ts + Long.parseLong(argument), headers, null);
            case "headers": return (c, key, value, ts, headers) -> {
                final RecordHeaders own = new RecordHeaders(headers.toArray());
                own.add("own", argument.getBytes());
                c.forward(key, value, ts, own, null);
                c.forward(key, value, ts, new RecordHeaders(), null);
            };
            case "metadata": return (c, key, value, ts, headers) -> {
                final String where = c.metadata().map(m -> m.topic() + "/" + m.partition() + "/" + m.offset()).orElse("none");
                c.forward(key, where + " stream " + c.streamTime() + " system " + c.systemTime(), ts, headers, null);
            };
            // A plain key-value store of longs: counts per key, null deletes.
            case "count": return (c, key, value, ts, headers) -> {
                final KeyValueStore<Object, Long> store = c.store(0);
                final Long before = store.get(key);
                if (value == null) {
                    c.forward(key, "deleted " + store.delete(key), ts, headers, null);
                } else {
                    final long now = before == null ? 1 : before + 1;
                    store.put(key, now);
                    c.forward(key, "" + now, ts, headers, null);
                }
            };
            // A plain key-value store of text: values one after the other, null deletes, all of it listed.
            case "concat": return (c, key, value, ts, headers) -> {
                final KeyValueStore<Object, Object> store = c.store(0);
                final Object before = store.get(key);
                if (value == null) {
                    store.delete(key);
                } else {
                    store.put(key, before == null ? value : before + "," + value);
                }
                c.forward(key, all(store), ts, headers, null);
            };
            case "put_if_absent": return (c, key, value, ts, headers) -> {
                final KeyValueStore<Object, Object> store = c.store(0);
                c.forward(key, Functions.shown(store.putIfAbsent(key, value)) + " " + all(store), ts, headers, null);
            };
            // `range:from,to`, either of them may be empty: no bound.
            case "range": return (c, key, value, ts, headers) -> {
                final KeyValueStore<Object, Object> store = c.store(0);
                store.put(key, value);
                final String from = argument.substring(0, argument.indexOf(','));
                final String to = argument.substring(argument.indexOf(',') + 1);
                final StringJoiner text = new StringJoiner(" ");
                try (KeyValueIterator<Object, Object> entries = store.range(from.isEmpty() ? null : from, to.isEmpty() ? null : to)) {
                    while (entries.hasNext()) {
                        final KeyValue<Object, Object> entry = entries.next();
                        text.add(entry.key + "=" + entry.value);
                    }
                }
                text.add("/");
                try (KeyValueIterator<Object, Object> entries = store.reverseAll()) {
                    while (entries.hasNext()) {
                        final KeyValue<Object, Object> entry = entries.next();
                        text.add(entry.key + "=" + entry.value);
                    }
                }
                c.forward(key, text.toString(), ts, headers, null);
            };
            case "latest": return (c, key, value, ts, headers) -> {
                final TimestampedKeyValueStore<Object, Object> store = c.store(0);
                final ValueAndTimestamp<Object> before = store.get(key);
                store.put(key, ValueAndTimestamp.make(value, ts));
                c.forward(key, shown(before), ts, headers, null);
            };
            // Any key-value store, read only.
            case "list": return (c, key, value, ts, headers) -> c.forward(key, all(c.store(0)), ts, headers, null);
            case "lookup": return (c, key, value, ts, headers) -> {
                final Object found = key == null ? null : c.<KeyValueStore<Object, Object>>store(0).get(key);
                final String text = found instanceof ValueAndTimestamp ? shown((ValueAndTimestamp<?>) found) : Functions.shown(found);
                c.forward(key, Functions.shown(value) + "+" + text, ts, headers, null);
            };
            // A window store: `window:size`.
            case "window": return (c, key, value, ts, headers) -> {
                final long size = Long.parseLong(argument);
                final WindowStore<Object, Object> store = c.store(0);
                store.put(key, value, ts / size * size);
                final StringJoiner text = new StringJoiner(" ");
                try (WindowStoreIterator<Object> entries = store.fetch(key, 0L, ts + size)) {
                    while (entries.hasNext()) {
                        final KeyValue<Long, Object> entry = entries.next();
                        text.add(entry.key + "=" + entry.value);
                    }
                }
                text.add("/");
                try (KeyValueIterator<Windowed<Object>, Object> entries = store.all()) {
                    while (entries.hasNext()) {
                        final KeyValue<Windowed<Object>, Object> entry = entries.next();
                        text.add(entry.key + "=" + entry.value);
                    }
                }
                c.forward(key, text.toString(), ts, headers, null);
            };
            case "timestamped_window": return (c, key, value, ts, headers) -> {
                final long size = Long.parseLong(argument);
                final TimestampedWindowStore<Object, Object> store = c.store(0);
                final ValueAndTimestamp<Object> before = store.fetch(key, ts / size * size);
                store.put(key, ValueAndTimestamp.make(value, ts), ts / size * size);
                c.forward(key, shown(before), ts, headers, null);
            };
            // A session store: `session:gap`; the newest value is the session's.
            case "session": return (c, key, value, ts, headers) -> {
                final long gap = Long.parseLong(argument);
                final SessionStore<Object, Object> store = c.store(0);
                long start = ts;
                long end = ts;
                final StringJoiner text = new StringJoiner(" ");
                final java.util.List<Windowed<Object>> found = new java.util.ArrayList<>();
                try (KeyValueIterator<Windowed<Object>, Object> sessions = store.findSessions(key, ts - gap, ts + gap)) {
                    while (sessions.hasNext()) {
                        final KeyValue<Windowed<Object>, Object> session = sessions.next();
                        text.add(session.key + "=" + session.value);
                        found.add(session.key);
                        start = Math.min(start, session.key.window().start());
                        end = Math.max(end, session.key.window().end());
                    }
                }
                found.forEach(store::remove);
                if (value != null) {
                    store.put(new Windowed<>(key, new SessionWindow(start, end)), value);
                }
                text.add("/");
                try (KeyValueIterator<Windowed<Object>, Object> sessions = store.fetch(key)) {
                    while (sessions.hasNext()) {
                        final KeyValue<Windowed<Object>, Object> session = sessions.next();
                        text.add(session.key + "=" + session.value);
                    }
                }
                c.forward(key, text.toString(), ts, headers, null);
            };
            // A session store: `session_keys:gap,from,to`; a session of each record, then those of a range of keys.
            case "session_keys": return (c, key, value, ts, headers) -> {
                final String[] arguments = argument.split(",", -1);
                final long from = ts - Long.parseLong(arguments[0]);
                final SessionStore<Object, Object> store = c.store(0);
                store.put(new Windowed<>(key, new SessionWindow(from, ts)), value);
                final Object first = arguments[1].isEmpty() ? null : arguments[1];
                final Object last = arguments[2].isEmpty() ? null : arguments[2];
                final StringJoiner text = new StringJoiner(" ");
                try (KeyValueIterator<Windowed<Object>, Object> sessions = store.fetch(first, last)) {
                    while (sessions.hasNext()) {
                        final KeyValue<Windowed<Object>, Object> session = sessions.next();
                        text.add(session.key + "=" + session.value);
                    }
                }
                text.add("/");
                try (KeyValueIterator<Windowed<Object>, Object> sessions = store.backwardFindSessions(first, last, from, ts)) {
                    while (sessions.hasNext()) {
                        final KeyValue<Windowed<Object>, Object> session = sessions.next();
                        text.add(session.key + "=" + session.value);
                    }
                }
                c.forward(key, text.toString(), ts, headers, null);
            };
            // A versioned store: puts, then asks for now and for `versioned:ago` before the record.
            case "versioned": return (c, key, value, ts, headers) -> {
                final VersionedKeyValueStore<Object, Object> store = c.store(0);
                final long validTo = store.put(key, value, ts);
                c.forward(key, validTo + " " + shownVersion(store.get(key)) + " " + shownVersion(store.get(key, ts - Long.parseLong(argument))), ts, headers, null);
            };
            case "versioned_delete": return (c, key, value, ts, headers) -> {
                final VersionedKeyValueStore<Object, Object> store = c.store(0);
                if (value == null) {
                    c.forward(key, "deleted " + shownVersion(store.delete(key, ts)), ts, headers, null);
                } else {
                    c.forward(key, store.put(key, value, ts) + " " + shownVersion(store.get(key)), ts, headers, null);
                }
            };
            case "versioned_lookup": return (c, key, value, ts, headers) -> {
                final VersionedKeyValueStore<Object, Object> store = c.store(0);
                c.forward(key, shownVersion(store.get(key)) + " " + shownVersion(store.get(key, ts - Long.parseLong(argument))), ts, headers, null);
            };
            case "punctuate_fail": return punctuating(PunctuationType.STREAM_TIME, Long.parseLong(argument), true);
            case "punctuate_stream": return punctuating(PunctuationType.STREAM_TIME, Long.parseLong(argument), false);
            case "punctuate_wall": return punctuating(PunctuationType.WALL_CLOCK_TIME, Long.parseLong(argument), false);
            // For global and read-only stores.
            case "put": return (c, key, value, ts, headers) -> c.<KeyValueStore<Object, Object>>store(0).put(key, value);
            case "put_fail": return (c, key, value, ts, headers) -> {
                if (Functions.shown(value).contains(argument)) {
                    throw Functions.failure(value);
                }
                c.<KeyValueStore<Object, Object>>store(0).put(key, value);
            };
            case "put_upper": return (c, key, value, ts, headers) ->
                c.<KeyValueStore<Object, Object>>store(0).put(key, value == null ? null : Functions.text(value).toUpperCase(java.util.Locale.ROOT));
            default: throw Functions.unknown("processor", processor);
        }
    }

    private static Logic punctuating(final PunctuationType type, final long interval, final boolean fails) {
        return new Logic() {
            private long records;

            @Override
            public void init(final Context c) {
                c.schedule(interval, type, time -> {
                    c.forward("punctuated", records + " stream " + c.streamTime() + " system " + c.systemTime(), time, new RecordHeaders(), null);
                    if (fails) {
                        throw Functions.failure("time " + time);
                    }
                });
            }

            @Override
            public void process(final Context c, final Object key, final Object value, final long ts, final Headers headers) {
                records++;
                c.forward(key, value, ts, headers, null);
            }
        };
    }

    static Processor<Object, Object, Object, Object> processor(final String name, final String[] stores) {
        final Logic logic = logic(name);
        return new Processor<>() {
            private Context context;

            @Override
            public void init(final ProcessorContext<Object, Object> c) {
                context = new Context() {
                    @Override
                    public <S extends StateStore> S store(final int number) {
                        return c.getStateStore(stores[number]);
                    }

                    @Override
                    public void schedule(final long interval, final PunctuationType type, final Punctuator punctuator) {
                        c.schedule(Duration.ofMillis(interval), type, punctuator);
                    }

                    @Override
                    public long streamTime() {
                        return c.currentStreamTimeMs();
                    }

                    @Override
                    public long systemTime() {
                        return c.currentSystemTimeMs();
                    }

                    @Override
                    public Optional<RecordMetadata> metadata() {
                        return c.recordMetadata();
                    }

                    @Override
                    public void forward(final Object key, final Object value, final long timestamp, final Headers headers, final String child) {
                        final Record<Object, Object> record = new Record<>(key, value, timestamp, headers);
                        if (child == null) {
                            c.forward(record);
                        } else {
                            c.forward(record, child);
                        }
                    }
                };
                logic.init(context);
            }

            @Override
            public void process(final Record<Object, Object> record) {
                logic.process(context, record.key(), Functions.text(record.value()), record.timestamp(), record.headers());
            }
        };
    }

    static FixedKeyProcessor<Object, Object, Object> fixedKeyProcessor(final String name, final String[] stores) {
        final Logic logic = logic(name);
        return new FixedKeyProcessor<>() {
            private Context context;
            private FixedKeyRecord<Object, Object> current;

            @Override
            public void init(final FixedKeyProcessorContext<Object, Object> c) {
                context = new Context() {
                    @Override
                    public <S extends StateStore> S store(final int number) {
                        return c.getStateStore(stores[number]);
                    }

                    @Override
                    public void schedule(final long interval, final PunctuationType type, final Punctuator punctuator) {
                        c.schedule(Duration.ofMillis(interval), type, punctuator);
                    }

                    @Override
                    public long streamTime() {
                        return c.currentStreamTimeMs();
                    }

                    @Override
                    public long systemTime() {
                        return c.currentSystemTimeMs();
                    }

                    @Override
                    public Optional<RecordMetadata> metadata() {
                        return c.recordMetadata();
                    }

                    @Override
                    public void forward(final Object key, final Object value, final long timestamp, final Headers headers, final String child) {
                        final FixedKeyRecord<Object, Object> record = current.withValue(value).withTimestamp(timestamp).withHeaders(headers);
                        if (child == null) {
                            c.forward(record);
                        } else {
                            c.forward(record, child);
                        }
                    }
                };
                logic.init(context);
            }

            @Override
            public void process(final FixedKeyRecord<Object, Object> record) {
                current = record;
                logic.process(context, record.key(), Functions.text(record.value()), record.timestamp(), record.headers());
            }
        };
    }

    /** For tables: {@code map:mapper}, or {@code calls} with a plain store of longs, counting calls per key. */
    static ValueTransformerWithKey<Object, Object, Object> transformer(final String name, final String[] stores) {
        final Functions.Mapper mapper = name.startsWith("map:") ? Functions.mapper(name.substring(4)) : null;
        if (mapper == null && !name.equals("calls") && !name.equals("context")) {
            throw Functions.unknown("transformer", name);
        }
        return new ValueTransformerWithKey<>() {
            private org.apache.kafka.streams.processor.ProcessorContext context;

            @Override
            public void init(final org.apache.kafka.streams.processor.ProcessorContext c) {
                context = c;
            }

            @Override
            public Object transform(final Object key, final Object value) {
                if (mapper != null) {
                    return mapper.apply(key, value);
                }
                if (name.equals("context")) {
                    return Functions.shown(value) + " " + context.timestamp() + " " + context.topic() + " " + context.offset();
                }
                final KeyValueStore<Object, Long> store = (KeyValueStore) context.getStateStore(stores[0]);
                final Long before = store.get(key);
                final long now = before == null ? 1 : before + 1;
                store.put(key, now);
                return value == null ? null : value + "#" + now;
            }

            @Override
            public void close() { }
        };
    }
}
