package conformance;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.ArrayList;
import java.util.List;

/** How a scenario stands in its file: one step, one record, one line of a description a line. */
final class Layout {
    private Layout() { }

    static String show(final ObjectNode scenario) {
        final List<String> parts = new ArrayList<>();
        scenario.fields().forEachRemaining(each -> parts.add("  " + quote(each.getKey()) + ": " + part(each.getKey(), each.getValue())));
        return "{\n" + String.join(",\n", parts) + "\n}\n";
    }

    private static String part(final String name, final JsonNode value) {
        switch (name) {
            case "topology": case "input": case "describe": case "difference":
                return lines(value, "  ");
            case "produced": {
                final List<String> topics = new ArrayList<>();
                value.fields().forEachRemaining(each -> topics.add("    " + quote(each.getKey()) + ": " + lines(each.getValue(), "    ")));
                return topics.isEmpty() ? "{}" : "{\n" + String.join(",\n", topics) + "\n  }";
            }
            default:
                return line(value);
        }
    }

    private static String lines(final JsonNode array, final String indent) {
        final List<String> lines = new ArrayList<>();
        array.forEach(each -> lines.add(indent + "  " + line(each)));
        return lines.isEmpty() ? "[]" : "[\n" + String.join(",\n", lines) + "\n" + indent + "]";
    }

    private static String line(final JsonNode node) {
        final List<String> parts = new ArrayList<>();
        if (node.isObject()) {
            node.fields().forEachRemaining(each -> parts.add(quote(each.getKey()) + ": " + line(each.getValue())));
            return "{" + String.join(", ", parts) + "}";
        } else if (node.isArray()) {
            node.forEach(each -> parts.add(line(each)));
            return "[" + String.join(", ", parts) + "]";
        }
        return Recorder.compact(node);
    }

    private static String quote(final String text) {
        return Recorder.compact(com.fasterxml.jackson.databind.node.TextNode.valueOf(text));
    }
}
