package bench;

import com.sun.management.OperatingSystemMXBean;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.BooleanSupplier;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.processor.StateRestoreListener;

/** What the topology, the listeners and the main thread tell each other; bench/src/app.rs has the same. */
final class Watch implements StateRestoreListener, KafkaStreams.StateListener {
    private static final OperatingSystemMXBean SYSTEM =
        (OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean();
    private static final long STARTED_MS = ManagementFactory.getRuntimeMXBean().getStartTime();

    private final AtomicLong count = new AtomicLong();
    private final long half;
    private final long full;
    private final boolean isSingleThread;
    private final double marker;

    Mark restoreStartMark;
    Mark halfMark;
    Mark fullMark;
    Mark runningMark;
    long runningMemoryKb;
    long restored;
    long markers;
    boolean ended;

    /** CPU and wall time since the start of the process. */
    static final class Mark {
        final double cpuMs = SYSTEM.getProcessCpuTime() / 1e6;
        final double wallMs = System.currentTimeMillis() - STARTED_MS;

        @Override
        public String toString() {
            return "{\"cpu_ms\":" + cpuMs + ",\"wall_ms\":" + wallMs + "}";
        }
    }

    Watch(long counted, boolean isSingleThread, long marker) {
        this.half = counted / 2;
        this.full = counted;
        this.isSingleThread = isSingleThread;
        this.marker = -(double) marker;
    }

    long counted() {
        return count.get();
    }

    void see(byte[] value) {
        // Readings are positive; a negative one is there to close windows.
        if (value[0] < 0) {
            seeMarker(value);
            return;
        }
        see();
    }

    void see() {
        long now;
        if (isSingleThread) {
            // Nobody else writes it.
            now = count.getPlain() + 1;
            count.setPlain(now);
        } else {
            now = count.incrementAndGet();
        }
        if (now == half || now == full) {
            mark(now);
        }
    }

    private synchronized void mark(long now) {
        Mark mark = new Mark();
        if (now == half) {
            halfMark = mark;
        }
        if (now == full) {
            fullMark = mark;
        }
        notifyAll();
    }

    private synchronized void seeMarker(byte[] value) {
        if (Topologies.reading(value) == marker) {
            markers++;
            notifyAll();
        }
    }

    /** Waits until something is so, or the application has ended by itself. */
    synchronized boolean await(BooleanSupplier isSo) throws InterruptedException {
        while (!isSo.getAsBoolean() && !ended) {
            wait();
        }
        return isSo.getAsBoolean();
    }

    @Override
    public synchronized void onChange(KafkaStreams.State now, KafkaStreams.State before) {
        if (now == KafkaStreams.State.RUNNING) {
            if (runningMark == null) {
                System.out.println("{\"event\":\"running\"}");
                runningMemoryKb = statusKb("VmRSS:");
            }
            runningMark = new Mark();
        }
        if (now == KafkaStreams.State.ERROR || now == KafkaStreams.State.NOT_RUNNING) {
            ended = true;
        }
        notifyAll();
    }

    @Override
    public synchronized void onRestoreStart(TopicPartition partition, String store, long from, long to) {
        if (restoreStartMark == null) {
            restoreStartMark = new Mark();
        }
    }

    @Override
    public void onBatchRestored(TopicPartition partition, String store, long end, long records) {
    }

    @Override
    public synchronized void onRestoreEnd(TopicPartition partition, String store, long records) {
        restored += records;
        notifyAll();
    }

    static long statusKb(String field) {
        try {
            for (String line : Files.readAllLines(Path.of("/proc/self/status"))) {
                if (line.startsWith(field)) {
                    return Long.parseLong(line.replaceAll("[^0-9]", ""));
                }
            }
        } catch (IOException error) {
            // Reported as nothing.
        }
        return 0;
    }
}
