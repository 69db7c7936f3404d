package conformance;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Properties;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.stream.Stream;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.utils.AppInfoParser;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.TopologyConfig;

/**
 * Runs scenarios and writes down what Kafka Streams answers.
 * <ul>
 * <li>{@code record DIRECTORY [FILTER]}: every scenario whose path contains FILTER, the file is written again;</li>
 * <li>{@code serve}: one scenario a line on the standard input, its answers a line on the standard output.</li>
 * </ul>
 */
public final class Recorder {
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final List<String> RECORDED = List.of("error", "describe", "produced", "failed");

    private Recorder() { }

    public static void main(final String[] arguments) throws Exception {
        switch (arguments.length == 0 ? "" : arguments[0]) {
            case "record":
                record(Path.of(arguments[1]), arguments.length > 2 ? arguments[2] : "");
                break;
            case "serve":
                serve();
                break;
            default:
                System.err.println("usage: record DIRECTORY [FILTER] | serve");
                System.exit(2);
        }
    }

    private static void record(final Path directory, final String filter) throws Exception {
        final List<Path> files = new ArrayList<>();
        try (Stream<Path> all = Files.walk(directory)) {
            all.filter(file -> file.toString().endsWith(".json") && file.toString().contains(filter)).sorted().forEach(files::add);
        }
        int wrong = 0;
        for (final Path file : files) {
            try {
                final JsonNode read = JSON.readTree(Files.readString(file));
                if (!read.isObject()) {
                    throw new IllegalArgumentException("a scenario is an object");
                }
                final ObjectNode scenario = (ObjectNode) read;
                scenario.remove(RECORDED);
                final ObjectNode answers = run(scenario);
                final ObjectNode whole = JSON.createObjectNode();
                whole.put("kafka", AppInfoParser.getVersion());
                scenario.fields().forEachRemaining(each -> {
                    if (!each.getKey().equals("kafka")) {
                        whole.set(each.getKey(), each.getValue());
                    }
                });
                whole.setAll(answers);
                Files.writeString(file, Layout.show(whole));
                System.out.println(file + (answers.has("error") ? ": " + answers.get("error").asText() : "")
                    + (answers.has("failed") ? ": " + answers.get("failed") : ""));
            } catch (final IllegalArgumentException | IOException wrongScenario) {
                System.out.println(file + ": NOT RECORDED: " + wrongScenario.getMessage());
                wrong++;
            }
        }
        System.out.println(files.size() - wrong + " scenarios recorded" + (wrong > 0 ? ", " + wrong + " NOT recorded" : ""));
        System.exit(wrong > 0 || files.isEmpty() ? 1 : 0);
    }

    /** Several scenarios run at a time; their answers are written in the order of the questions. */
    private static void serve() throws Exception {
        final BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        final PrintStream out = new PrintStream(System.out, false, StandardCharsets.UTF_8);
        final ExecutorService pool = Executors.newFixedThreadPool(Runtime.getRuntime().availableProcessors());
        final BlockingQueue<Future<String>> asked = new LinkedBlockingQueue<>();
        final Thread writer = new Thread(() -> {
            try {
                while (true) {
                    out.println(asked.take().get());
                    out.flush();
                }
            } catch (final InterruptedException ended) {
                // Nobody asks any more.
            } catch (final ExecutionException error) {
                error.getCause().printStackTrace();
                System.exit(1);
            }
        });
        writer.start();
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            final String question = line;
            asked.add(pool.submit(() -> answer(question)));
        }
        pool.shutdownNow();
        writer.interrupt();
    }

    private static String answer(final String question) throws IOException {
        ObjectNode answers;
        try {
            answers = run((ObjectNode) JSON.readTree(question));
        } catch (final IllegalArgumentException wrongScenario) {
            answers = JSON.createObjectNode().put("wrong", wrongScenario.getMessage());
        }
        return JSON.writeValueAsString(answers);
    }

    /** In memory where there is room: opening and closing RocksDB waits for the disk. */
    private static Path temporary() throws IOException {
        final Path memory = Path.of("/dev/shm");
        final boolean hasRoom = Files.isWritable(memory) && Files.getFileStore(memory).getUsableSpace() > 1 << 30;
        return hasRoom ? Files.createTempDirectory(memory, "conformance") : Files.createTempDirectory("conformance");
    }

    /** A scenario's answers. What is wrong with the scenario itself is an IllegalArgumentException of this package. */
    static ObjectNode run(final ObjectNode scenario) throws IOException {
        Options.only(scenario, "kafka", "source", "shows", "differs", "difference", "settings", "commit", "topology", "input");
        final ObjectNode answers = JSON.createObjectNode();
        final Path state = temporary();
        try {
            final Properties settings = settings(scenario, state);
            final Topology topology;
            final String description;
            final Run run;
            try {
                final StreamsBuilder builder = new StreamsBuilder(new TopologyConfig(new StreamsConfig(settings)));
                final Interpreter interpreter = new Interpreter(builder);
                interpreter.build(scenario.get("topology"));
                topology = builder.build(settings);
                interpreter.complete(topology);
                description = topology.describe().toString().stripTrailing()
                    .replaceAll("extractor class: [^\n]*\n", "extractor class: closure)\n");
                run = new Run(topology, settings, scenario);
            } catch (final RuntimeException error) {
                if (isOurs(error)) {
                    throw new IllegalArgumentException(error.getMessage());
                }
                return answers.put("error", error.getClass().getName() + ": " + withoutIdentities(error.getMessage()));
            }
            final ArrayNode lines = answers.putArray("describe");
            description.lines().forEach(lines::add);
            answers.setAll(run.answers());
            return answers;
        } finally {
            delete(state);
        }
    }

    /** What objects without a text of their own show is another thing in each run. */
    private static String withoutIdentities(final String message) {
        return message == null ? null : message.replaceAll("@[0-9a-f]{4,8}\\b", "").replaceAll("\\$\\$Lambda[^, }]*", "");
    }

    /** Whether a step is wrong, as opposed to Kafka Streams refusing it. */
    private static boolean isOurs(final RuntimeException error) {
        final StackTraceElement[] trace = error.getStackTrace();
        final boolean thrownHere = trace.length > 0 && trace[0].getClassName().startsWith("conformance.");
        return thrownHere && !(error instanceof org.apache.kafka.common.KafkaException);
    }

    private static Properties settings(final JsonNode scenario, final Path state) {
        final Properties settings = new Properties();
        settings.put("application.id", "test");
        settings.put("bootstrap.servers", "none:1");
        settings.put("default.key.serde", Serdes.StringSerde.class.getName());
        settings.put("default.value.serde", Serdes.StringSerde.class.getName());
        settings.put("state.dir", state.toString());
        if (scenario.has("settings")) {
            Options.map(scenario.get("settings")).forEach((name, value) -> settings.put(name, value.startsWith("handler:") ? handler(value) : value));
        }
        return settings;
    }

    /** {@code handler:deserialization:continue} and the like, because the classes' names are Java's. */
    private static String handler(final String name) {
        switch (name) {
            case "handler:deserialization:continue": return "org.apache.kafka.streams.errors.LogAndContinueExceptionHandler";
            case "handler:deserialization:fail": return "org.apache.kafka.streams.errors.LogAndFailExceptionHandler";
            case "handler:processing:continue": return "org.apache.kafka.streams.errors.LogAndContinueProcessingExceptionHandler";
            case "handler:processing:fail": return "org.apache.kafka.streams.errors.LogAndFailProcessingExceptionHandler";
            case "handler:processing:context": return Handlers.Processing.class.getName();
            case "handler:production:default": return "org.apache.kafka.streams.errors.DefaultProductionExceptionHandler";
            case "handler:production:context": return Handlers.Production.class.getName();
            case "handler:deserialization:context": return Handlers.Deserialization.class.getName();
            default: throw Functions.unknown("handler", name);
        }
    }

    private static void delete(final Path directory) throws IOException {
        try (Stream<Path> all = Files.walk(directory)) {
            for (final Path each : all.sorted(Comparator.reverseOrder()).toList()) {
                Files.deleteIfExists(each);
            }
        }
    }

    static ArrayNode array() {
        return JSON.createArrayNode();
    }

    static ObjectNode object() {
        return JSON.createObjectNode();
    }

    static String compact(final JsonNode node) {
        return node.toString();
    }
}
