package conformance;

import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.kstream.WindowedSerdes;

/** What an operation of the DSL returned, and how its keys and values are written. */
record Handle(Object it, Keys keys, boolean isLong) {
    /** Plain text, or windowed: by windows of a size, or by sessions. */
    record Keys(Kind kind, long size) {
        enum Kind { TEXT, TIME, SESSION }

        static final Keys TEXT = new Keys(Kind.TEXT, 0);
        static final Keys SESSION = new Keys(Kind.SESSION, 0);

        static Keys time(final long size) {
            return new Keys(Kind.TIME, size);
        }
    }

    @SuppressWarnings({"unchecked", "rawtypes"})
    Serde<Object> keySerde() {
        switch (keys.kind()) {
            case TIME: return (Serde) WindowedSerdes.timeWindowedSerdeFrom(String.class, keys.size());
            case SESSION: return (Serde) WindowedSerdes.sessionWindowedSerdeFrom(String.class);
            default: return (Serde) Serdes.String();
        }
    }

    @SuppressWarnings({"unchecked", "rawtypes"})
    Serde<Object> valueSerde() {
        return isLong ? (Serde) Serdes.Long() : (Serde) Serdes.String();
    }

    Handle with(final Object other) {
        return new Handle(other, keys, isLong);
    }

    /** The same keys with values of text. */
    Handle texts(final Object other) {
        return new Handle(other, keys, false);
    }

    Handle longs(final Object other) {
        return new Handle(other, keys, true);
    }

    Handle keyed(final Object other, final Keys otherKeys) {
        return new Handle(other, otherKeys, isLong);
    }
}
