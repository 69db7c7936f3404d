package bench;

import java.util.Properties;
import java.util.Set;
import java.util.stream.Collectors;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AdminClientConfig;

/** Makes room on the broker between runs. */
final class Topics {
    private Topics() {
    }

    /** Deletes the topics whose names begin so. */
    static void delete(String bootstrap, String prefix) throws Exception {
        Properties settings = new Properties();
        settings.setProperty(AdminClientConfig.BOOTSTRAP_SERVERS_CONFIG, bootstrap);
        try (Admin admin = Admin.create(settings)) {
            Set<String> topics = admin.listTopics().names().get().stream()
                .filter(name -> name.startsWith(prefix)).collect(Collectors.toSet());
            admin.deleteTopics(topics).all().get();
        }
    }
}
