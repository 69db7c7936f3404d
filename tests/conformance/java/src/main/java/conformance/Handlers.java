package conformance;

import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.streams.errors.DeserializationExceptionHandler;
import org.apache.kafka.streams.errors.ErrorHandlerContext;
import org.apache.kafka.streams.errors.ProcessingExceptionHandler;
import org.apache.kafka.streams.errors.ProductionExceptionHandler;
import org.apache.kafka.streams.processor.api.Record;

/**
 * Handlers that go on and write down what they were told, to the topic {@code handled}: the node as the key, the rest of the
 * context as the value.
 */
public final class Handlers {
    private Handlers() { }

    private static List<ProducerRecord<byte[], byte[]>> note(final ErrorHandlerContext context, final String what) {
        final String value = context.topic() + "/" + context.partition() + "/" + context.offset() + " @" + context.timestamp()
            + " " + context.taskId() + " " + what;
        final ProducerRecord<byte[], byte[]> note = new ProducerRecord<>("handled", null, Math.max(context.timestamp(), 0),
            context.processorNodeId().getBytes(StandardCharsets.UTF_8), value.getBytes(StandardCharsets.UTF_8));
        context.headers().forEach(note.headers()::add);
        return List.of(note);
    }

    public static final class Processing implements ProcessingExceptionHandler {
        @Override
        public Response handleError(final ErrorHandlerContext context, final Record<?, ?> record, final Exception error) {
            final String of = record == null ? "no record" : record.key() + " @" + record.timestamp();
            final String message = String.valueOf(error.getMessage());
            return Response.resume(note(context, of + ": " + (message.startsWith("fails on ") ? message : "*")));
        }

        @Override
        public void configure(final Map<String, ?> settings) { }
    }

    public static final class Production implements ProductionExceptionHandler {
        @Override
        @SuppressWarnings("rawtypes")
        public Response handleSerializationError(final ErrorHandlerContext context, final ProducerRecord record, final Exception error, final SerializationExceptionOrigin origin) {
            return Response.resume(note(context, origin.name().toLowerCase() + " of " + record.key() + " for " + record.topic() + "/" + record.partition() + " @" + record.timestamp()));
        }

        @Override
        public void configure(final Map<String, ?> settings) { }
    }

    public static final class Deserialization implements DeserializationExceptionHandler {
        @Override
        public Response handleError(final ErrorHandlerContext context, final ConsumerRecord<byte[], byte[]> record, final Exception error) {
            return Response.resume(note(context, Text.show(context.sourceRawKey()) + " " + Text.show(context.sourceRawValue())));
        }

        @Override
        public void configure(final Map<String, ?> settings) { }
    }
}
