//! librdkafka's log lines as `tracing` events, target `rdkafka`.

/// One line: `level` as syslog counts, `facility` a short word such as `FAIL`.
pub(super) fn line(level: i32, client: &str, facility: &str, text: &str) {
    match level {
        // While a broker restarts, each partition says so with every answer.
        _ if facility == "METADATAUPDATE" => {
            tracing::debug!(target: "rdkafka", client, facility, "{text}");
        }
        ..=3 => tracing::error!(target: "rdkafka", client, facility, "{text}"),
        4 => tracing::warn!(target: "rdkafka", client, facility, "{text}"),
        5 | 6 => tracing::info!(target: "rdkafka", client, facility, "{text}"),
        _ => tracing::debug!(target: "rdkafka", client, facility, "{text}"),
    }
}
