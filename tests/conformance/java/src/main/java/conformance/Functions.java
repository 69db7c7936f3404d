package conformance;

import java.util.ArrayList;
import java.util.List;
import org.apache.kafka.streams.kstream.Windowed;

/**
 * The functions that a topology written as data may name: {@code name} or {@code name:argument}. Keys are strings or
 * windowed strings, values strings or longs, each of them possibly null. The Rust side has the same.
 */
final class Functions {
    private Functions() { }

    interface Predicate { boolean test(Object key, Object value); }

    interface Mapper { Object apply(Object key, Object value); }

    interface FlatMapper { List<Object> apply(Object key, Object value); }

    interface Joiner { Object apply(Object key, Object left, Object right); }

    private static String[] split(final String function) {
        final int colon = function.indexOf(':');
        return colon < 0
            ? new String[] {function, ""}
            : new String[] {function.substring(0, colon), function.substring(colon + 1)};
    }

    static IllegalArgumentException unknown(final String kind, final String function) {
        return new IllegalArgumentException("there is no " + kind + " '" + function + "'");
    }

    /** What the functions {@code fail_if} throw; its message begins as no other does. */
    static IllegalStateException failure(final Object value) {
        return new IllegalStateException("fails on " + shown(value));
    }

    private static boolean fails(final Object value, final String argument) {
        return shown(value).contains(argument);
    }

    /** The text of a key or value; null stays null. A windowed key is {@code [key@start/end]}. */
    static String text(final Object any) {
        return any == null ? null : any.toString();
    }

    static String shown(final Object any) {
        return String.valueOf(any);
    }

    static Predicate predicate(final String function) {
        final String argument = split(function)[1];
        switch (split(function)[0]) {
            case "all": return (key, value) -> true;
            case "none": return (key, value) -> false;
            case "value_null": return (key, value) -> value == null;
            case "value_not_null": return (key, value) -> value != null;
            case "key_null": return (key, value) -> key == null;
            case "key_not_null": return (key, value) -> key != null;
            case "value_contains": return (key, value) -> value != null && text(value).contains(argument);
            case "value_longer": return (key, value) -> value != null && text(value).length() > Integer.parseInt(argument);
            case "key_is": return (key, value) -> key != null && text(key).equals(argument);
            case "key_contains": return (key, value) -> key != null && text(key).contains(argument);
            case "fail_if": return (key, value) -> {
                if (fails(value, argument)) {
                    throw failure(value);
                }
                return true;
            };
            case "even": return (key, value) -> value instanceof Long ? (Long) value % 2 == 0 : value != null && text(value).length() % 2 == 0;
            default: throw unknown("predicate", function);
        }
    }

    /** Functions of key and value: value mappers as well as selectors of keys. */
    static Mapper mapper(final String function) {
        final String argument = split(function)[1];
        switch (split(function)[0]) {
            case "value": return (key, value) -> text(value);
            case "key": return (key, value) -> text(key);
            case "inner_key": return (key, value) -> key instanceof Windowed ? text(((Windowed<?>) key).key()) : text(key);
            case "null": return (key, value) -> null;
            case "const": return (key, value) -> argument;
            case "show": return (key, value) -> shown(value);
            case "upper": return (key, value) -> value == null ? null : text(value).toUpperCase(java.util.Locale.ROOT);
            case "append": return (key, value) -> value == null ? null : text(value) + argument;
            case "show_append": return (key, value) -> shown(value) + argument;
            case "key_append": return (key, value) -> key == null ? null : text(key) + argument;
            case "with_key": return (key, value) -> shown(key) + ":" + shown(value);
            case "first": return (key, value) -> first(value);
            case "key_first": return (key, value) -> first(key);
            case "last": return (key, value) -> last(value);
            case "length": return (key, value) -> value == null ? null : "" + text(value).length();
            case "null_if": return (key, value) -> value == null || text(value).contains(argument) ? null : text(value);
            case "key_null_if": return (key, value) -> key == null || value != null && text(value).contains(argument) ? null : text(key);
            case "before": return (key, value) -> before(value, argument);
            case "fail_if": return (key, value) -> {
                if (fails(value, argument)) {
                    throw failure(value);
                }
                return text(value);
            };
            default: throw unknown("mapper", function);
        }
    }

    private static String first(final Object any) {
        final String text = text(any);
        return text == null || text.isEmpty() ? text : text.substring(0, 1);
    }

    private static String last(final Object any) {
        final String text = text(any);
        return text == null || text.isEmpty() ? text : text.substring(text.length() - 1);
    }

    /** What stands before the argument; null where it does not occur. */
    private static String before(final Object any, final String argument) {
        final String text = text(any);
        return text == null || !text.contains(argument) ? null : text.substring(0, text.indexOf(argument));
    }

    static FlatMapper flatMapper(final String function) {
        final String argument = split(function)[1];
        switch (split(function)[0]) {
            case "none": return (key, value) -> List.of();
            case "split": return (key, value) -> {
                final List<Object> parts = new ArrayList<>();
                if (value != null) {
                    String rest = text(value);
                    for (int at = rest.indexOf(argument); at >= 0; at = rest.indexOf(argument)) {
                        parts.add(rest.substring(0, at));
                        rest = rest.substring(at + argument.length());
                    }
                    parts.add(rest);
                }
                return parts;
            };
            case "twice": return (key, value) -> {
                final List<Object> parts = new ArrayList<>();
                parts.add(text(value));
                parts.add(text(value));
                return parts;
            };
            case "with_null": return (key, value) -> {
                final List<Object> parts = new ArrayList<>();
                parts.add(text(value));
                parts.add(null);
                return parts;
            };
            case "fail_if": return (key, value) -> {
                if (fails(value, argument)) {
                    throw failure(value);
                }
                final List<Object> parts = new ArrayList<>();
                parts.add(text(value));
                return parts;
            };
            default: throw unknown("flat mapper", function);
        }
    }

    static Joiner joiner(final String function) {
        final String argument = split(function)[1];
        switch (split(function)[0]) {
            case "plus": return (key, left, right) -> shown(left) + "+" + shown(right);
            case "with_key": return (key, left, right) -> shown(key) + ":" + shown(left) + "+" + shown(right);
            case "left": return (key, left, right) -> text(left);
            case "right": return (key, left, right) -> text(right);
            case "null": return (key, left, right) -> null;
            case "null_if": return (key, left, right) -> shown(left).contains(argument) ? null : shown(left) + "+" + shown(right);
            case "fail_if": return (key, left, right) -> {
                final String joined = shown(left) + "+" + shown(right);
                if (fails(joined, argument)) {
                    throw failure(joined);
                }
                return joined;
            };
            default: throw unknown("joiner", function);
        }
    }

    static Object initial(final String function) {
        switch (split(function)[0]) {
            case "zero": return "0";
            case "empty": return "";
            case "null": return null;
            case "const": return split(function)[1];
            default: throw unknown("initializer", function);
        }
    }

    /** Of aggregations: the key, the value, what was aggregated before. */
    static Joiner aggregator(final String function) {
        final String argument = split(function)[1];
        switch (split(function)[0]) {
            case "plus": return (key, value, aggregate) -> shown(aggregate) + "+" + shown(value);
            case "minus": return (key, value, aggregate) -> shown(aggregate) + "-" + shown(value);
            case "concat": return (key, value, aggregate) -> shown(aggregate) + shown(value);
            case "with_key": return (key, value, aggregate) -> shown(aggregate) + "+" + shown(key) + shown(value);
            case "value": return (key, value, aggregate) -> text(value);
            case "aggregate": return (key, value, aggregate) -> text(aggregate);
            case "max": return (key, value, aggregate) -> aggregate == null || value != null && text(value).compareTo(text(aggregate)) > 0 ? text(value) : text(aggregate);
            case "null": return (key, value, aggregate) -> null;
            case "null_if": return (key, value, aggregate) -> shown(value).contains(argument) ? null : shown(aggregate) + "+" + shown(value);
            case "fail_if": return (key, value, aggregate) -> {
                if (fails(value, argument)) {
                    throw failure(value);
                }
                return shown(aggregate) + "+" + shown(value);
            };
            default: throw unknown("aggregator", function);
        }
    }

    /** Of two values, the earlier first. */
    static Joiner reducer(final String function) {
        final Joiner aggregator = aggregator(function);
        return (key, before, value) -> aggregator.apply(key, value, before);
    }

    /** Of two sessions. */
    static Joiner merger(final String function) {
        final String argument = split(function)[1];
        switch (split(function)[0]) {
            case "bar": return (key, left, right) -> shown(left) + "|" + shown(right);
            case "left": return (key, left, right) -> text(left);
            case "null": return (key, left, right) -> null;
            case "null_if": return (key, left, right) -> shown(right).contains(argument) ? null : shown(left) + "|" + shown(right);
            case "fail_if": return (key, left, right) -> {
                final String merged = shown(left) + "|" + shown(right);
                if (fails(merged, argument)) {
                    throw failure(merged);
                }
                return merged;
            };
            default: throw unknown("merger", function);
        }
    }
}
