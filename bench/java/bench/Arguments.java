package bench;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;

/** The command line, which is that of bench/src/arguments.rs with the shape of the workload by name. */
final class Arguments {
    final String name;
    final List<String> inputs = new ArrayList<>();
    final Properties settings = new Properties();
    private final Map<String, String> values = new HashMap<>();

    Arguments(String[] words) {
        name = words[0];
        for (int index = 1; index < words.length; index += 2) {
            String option = words[index].substring("--".length());
            String value = words[index + 1];
            switch (option) {
                case "input":
                    inputs.add(value);
                    break;
                case "set": {
                    int equals = value.indexOf('=');
                    settings.setProperty(value.substring(0, equals), value.substring(equals + 1));
                    break;
                }
                default:
                    values.put(option, value);
            }
        }
    }

    String text(String option) {
        String value = values.get(option);
        if (value == null) {
            throw new IllegalArgumentException("--" + option + " is missing");
        }
        return value;
    }

    long number(String option) {
        return Long.parseLong(text(option));
    }
}
