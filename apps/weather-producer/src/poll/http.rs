//! One request, tried until it is answered or hopeless.

use super::PollSettings;
use crate::backoff::Backoff;
use crate::stop::Stop;
use std::time::Duration;

/// The longest answer that is read, in bytes.
const BODY_LENGTH_MAX: u64 = 1024 * 1024;
/// The longest wait that a `Retry-After` is granted.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);

pub(super) struct Client {
    agent: ureq::Agent,
    tries_max: u32,
    first_wait: Duration,
}

/// Why a request has no answer.
struct Failed {
    message: String,
    /// Whether the same request may succeed later, and how long the server wants it to wait.
    retry: Option<Option<Duration>>,
}

impl Client {
    pub(super) fn new(settings: &PollSettings) -> Self {
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(settings.timeout))
            .http_status_as_error(false)
            .user_agent(concat!("weather-producer/", env!("CARGO_PKG_VERSION")))
            .build();
        Client {
            agent: config.new_agent(),
            tries_max: settings.tries_max.max(1),
            first_wait: settings.first_wait,
        }
    }

    /// The body of a successful answer, or why there is none after all tries.
    pub(super) fn get(&self, url: &str, stop: &Stop) -> Result<String, String> {
        let mut backoff = Backoff::new(self.first_wait, self.first_wait.saturating_mul(30));
        let mut tries = 1;
        loop {
            let failed = match self.get_once(url) {
                Ok(body) => return Ok(body),
                Err(failed) => failed,
            };
            match failed.retry {
                Some(retry_after) if tries < self.tries_max => {
                    let wait = backoff
                        .next_wait()
                        .max(retry_after.unwrap_or_default().min(RETRY_AFTER_MAX));
                    tracing::debug!(url, tries, ?wait, "{}; trying again", failed.message);
                    if !stop.sleep(wait) {
                        return Err(format!("{url}: stopped after: {}", failed.message));
                    }
                    tries += 1;
                }
                Some(_) => {
                    return Err(format!("{url}: {} (tried {tries} times)", failed.message));
                }
                None => return Err(format!("{url}: {}", failed.message)),
            }
        }
    }

    fn get_once(&self, url: &str) -> Result<String, Failed> {
        let mut response = self.agent.get(url).call().map_err(transport)?;
        let status = response.status();
        if !status.is_success() {
            let retry_after = response
                .headers()
                .get("retry-after")
                .and_then(|value| value.to_str().ok()?.trim().parse().ok())
                .map(Duration::from_secs);
            let again = status.as_u16() == 429 || status.is_server_error();
            return Err(Failed {
                message: format!("the server answered {status}"),
                retry: again.then_some(retry_after),
            });
        }
        response
            .body_mut()
            .with_config()
            .limit(BODY_LENGTH_MAX)
            .read_to_string()
            .map_err(transport)
    }
}

fn transport(error: ureq::Error) -> Failed {
    use ureq::Error;
    let hopeless = matches!(
        error,
        Error::BadUri(_)
            | Error::BodyExceedsLimit(_)
            | Error::TooManyRedirects
            | Error::RequireHttpsOnly(_)
            | Error::Tls(_)
    );
    Failed {
        message: error.to_string(),
        retry: (!hopeless).then_some(None),
    }
}
