//! What the value of a setting may be.

use super::settings::PRODUCTION_HANDLERS;

/// What a value may be.
pub(super) enum Allowed {
    /// The id of the application.
    ApplicationId,
    /// A topic's name.
    Topic,
    /// `host:port`, one.
    Server,
    /// `host:port`, one or more.
    Servers,
    /// Anything but nothing.
    Text,
    /// A whole number of something within bounds, and what a special value means.
    Number {
        unit: &'static str,
        min: i64,
        max: i64,
        special: Option<(i64, &'static str)>,
    },
    /// One of these words, in any case.
    Words(&'static [&'static str]),
    /// A handler of records that fail, with the names Java has for them.
    Handler(&'static [&'static str; 4]),
    /// A handler of records that cannot be written.
    ProductionHandler,
    /// None, all or some of the optimizations of a topology.
    Optimizations,
}

/// The optimizations that can be named one by one.
pub(super) const OPTIMIZATIONS: [&str; 3] = [
    "reuse.ktable.source.topics",
    "merge.repartition.topics",
    "single.store.self.join",
];

pub(super) const fn milliseconds(min: i64, special: Option<(i64, &'static str)>) -> Allowed {
    Allowed::Number {
        unit: "milliseconds",
        min,
        max: i64::MAX,
        special,
    }
}

pub(super) const fn count(unit: &'static str, min: i64, max: i64) -> Allowed {
    Allowed::Number {
        unit,
        min,
        max,
        special: None,
    }
}

impl Allowed {
    /// Whether a value is one of those.
    pub(super) fn accepts(&self, value: &str) -> bool {
        match self {
            Allowed::ApplicationId => is_topic_name(value, APPLICATION_ID_LENGTH_MAX),
            Allowed::Topic => is_topic_name(value, TOPIC_LENGTH_MAX),
            Allowed::Server => is_server(value),
            Allowed::Servers => value.split(',').all(|server| is_server(server.trim())),
            Allowed::Text => !value.is_empty(),
            Allowed::Number {
                min, max, special, ..
            } => value.parse().is_ok_and(|number: i64| {
                (*min..=*max).contains(&number)
                    || special.is_some_and(|(special, _)| number == special)
            }),
            Allowed::Words(words) => words.iter().any(|word| word.eq_ignore_ascii_case(value)),
            Allowed::Handler(handlers) => handlers.contains(&value),
            Allowed::ProductionHandler => PRODUCTION_HANDLERS.contains(&value),
            Allowed::Optimizations => {
                matches!(value, "none" | "all")
                    || value
                        .split(',')
                        .all(|optimization| OPTIMIZATIONS.contains(&optimization.trim()))
            }
        }
    }
}

impl std::fmt::Display for Allowed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Allowed::ApplicationId => {
                f.write_str("1 to 200 of the characters a-z, A-Z, 0-9, '.', '_' and '-'")
            }
            Allowed::Topic => f.write_str("the name of a topic"),
            Allowed::Server => f.write_str("host:port"),
            Allowed::Servers => {
                f.write_str("host:port,host:port,.. (leave it out to run with the embedded broker)")
            }
            Allowed::Text => f.write_str("some text"),
            Allowed::Number {
                unit,
                min,
                max,
                special,
            } => {
                write!(f, "a whole number of {unit}, {min} ")?;
                match *max {
                    i64::MAX => f.write_str("or more")?,
                    max => write!(f, "to {max}")?,
                }
                special.map_or(Ok(()), |(special, meaning)| {
                    write!(f, ", or {special} for {meaning}")
                })
            }
            Allowed::Words(words) => f.write_str(&words.join(" or ")),
            Allowed::Handler(_) => {
                f.write_str("LogAndFail or LogAndContinue (other handlers are given in code)")
            }
            Allowed::ProductionHandler => f.write_str("Default (other handlers are given in code)"),
            Allowed::Optimizations => write!(
                f,
                "none, all, or some of {} separated by commas",
                OPTIMIZATIONS.join(", ")
            ),
        }
    }
}

/// The longest name of a topic.
const TOPIC_LENGTH_MAX: usize = 249;
/// The longest application id: it leaves room for the rest of the names of internal topics.
const APPLICATION_ID_LENGTH_MAX: usize = 200;

/// Whether a topic may have this name (Kafka's `Topic#validate`).
fn is_topic_name(name: &str, length_max: usize) -> bool {
    (1..=length_max).contains(&name.len())
        && name != "."
        && name != ".."
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

fn is_server(server: &str) -> bool {
    // A listener's name may stand in front, as in `SASL_SSL://host:port`.
    let address = server
        .split_once("://")
        .map_or(server, |(_, address)| address);
    address.rsplit_once(':').is_some_and(|(host, port)| {
        !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0)
    })
}

#[cfg(test)]
mod tests {
    use super::super::settings::check;

    #[track_caller]
    fn check_refused(name: &str, value: &str, expected: &str) {
        assert_eq!(check(name, value).unwrap_err(), expected);
    }

    #[test]
    fn bad_values_are_refused_with_what_is_allowed() {
        check_refused(
            "num.stream.threads",
            "0",
            "num.stream.threads must be a whole number of threads, 1 to 10000; got '0'",
        );
        check_refused(
            "max.task.idle.ms",
            "-2",
            "max.task.idle.ms must be a whole number of milliseconds, 0 or more, or -1 for never wait; got '-2'",
        );
        check_refused(
            "processing.guarantee",
            "exactly_once",
            "processing.guarantee must be at_least_once or exactly_once_v2; got 'exactly_once'",
        );
        check_refused(
            "bootstrap.servers",
            "",
            "bootstrap.servers must be host:port,host:port,.. (leave it out to run with the embedded broker); got ''",
        );
        check_refused(
            "application.id",
            "my app",
            "application.id must be 1 to 200 of the characters a-z, A-Z, 0-9, '.', '_' and '-'; got 'my app'",
        );
        check_refused(
            "deserialization.exception.handler",
            "com.example.Mine",
            "deserialization.exception.handler must be LogAndFail or LogAndContinue \
             (other handlers are given in code); got 'com.example.Mine'",
        );
        check_refused(
            "topology.optimization",
            "all,none",
            "topology.optimization must be none, all, or some of reuse.ktable.source.topics, \
             merge.repartition.topics, single.store.self.join separated by commas; got 'all,none'",
        );
        for name in [
            "memory.max.bytes",
            "state.dir",
            "client.id",
            "application.server",
        ] {
            assert!(check(name, "").is_err(), "{name}");
        }
    }

    #[test]
    fn servers_have_a_host_and_a_port() {
        for servers in ["a:1", "a:1, b:65535", "[::1]:9092", "SASL_SSL://a.b:9093"] {
            assert_eq!(check("bootstrap.servers", servers), Ok(()), "{servers}");
        }
        for servers in ["a", "a:", ":1", "a:0", "a:65536", "a:1,", "a:1,b"] {
            assert!(check("bootstrap.servers", servers).is_err(), "{servers}");
        }
    }
}
