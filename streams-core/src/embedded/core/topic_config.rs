//! The configuration of a topic: Kafka's names, types and defaults, checked when set.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The type of a setting, with the code `DescribeConfigs` gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SettingType {
    /// `true` or `false`.
    Boolean = 1,
    /// A word, one of a few for some settings.
    String = 2,
    /// A whole number.
    Int = 3,
    /// A whole number of 64 bits.
    Long = 5,
    /// A number.
    Double = 6,
    /// Words separated by commas.
    List = 7,
}

/// A setting a topic can have.
#[derive(Debug)]
pub(crate) struct Setting {
    pub(crate) name: &'static str,
    pub(crate) setting_type: SettingType,
    pub(crate) default: &'static str,
    /// The smallest value of a number.
    min: f64,
    /// The words allowed; empty for any.
    words: &'static [&'static str],
}

const LONG_MAX: &str = "9223372036854775807";

const fn number(
    name: &'static str,
    setting_type: SettingType,
    default: &'static str,
    min: f64,
) -> Setting {
    Setting {
        name,
        setting_type,
        default,
        min,
        words: &[],
    }
}

const fn words(
    name: &'static str,
    setting_type: SettingType,
    default: &'static str,
    words: &'static [&'static str],
) -> Setting {
    Setting {
        name,
        setting_type,
        default,
        min: 0.0,
        words,
    }
}

/// Every setting of Kafka's `TopicConfig`, in alphabetical order. What concerns replicas, disks and remote storage is
/// accepted and shown but has no effect here. The lower bound of `segment.bytes` is Kafka's before 4.0, so that tests
/// can have small segments.
pub(crate) const SETTINGS: &[Setting] = &[
    words(
        "cleanup.policy",
        SettingType::List,
        "delete",
        &["delete", "compact"],
    ),
    number("compression.gzip.level", SettingType::Int, "-1", -1.0),
    number("compression.lz4.level", SettingType::Int, "9", 1.0),
    words(
        "compression.type",
        SettingType::String,
        "producer",
        &["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"],
    ),
    number("compression.zstd.level", SettingType::Int, "3", -131_072.0),
    number("delete.retention.ms", SettingType::Long, "86400000", 0.0),
    number("file.delete.delay.ms", SettingType::Long, "60000", 0.0),
    number("flush.messages", SettingType::Long, LONG_MAX, 1.0),
    number("flush.ms", SettingType::Long, LONG_MAX, 0.0),
    words(
        "follower.replication.throttled.replicas",
        SettingType::List,
        "",
        &[],
    ),
    number("index.interval.bytes", SettingType::Int, "4096", 0.0),
    words(
        "leader.replication.throttled.replicas",
        SettingType::List,
        "",
        &[],
    ),
    number("local.retention.bytes", SettingType::Long, "-2", -2.0),
    number("local.retention.ms", SettingType::Long, "-2", -2.0),
    number("max.compaction.lag.ms", SettingType::Long, LONG_MAX, 1.0),
    number("max.message.bytes", SettingType::Int, "1048588", 0.0),
    number(
        "message.timestamp.after.max.ms",
        SettingType::Long,
        "3600000",
        0.0,
    ),
    number(
        "message.timestamp.before.max.ms",
        SettingType::Long,
        LONG_MAX,
        0.0,
    ),
    words(
        "message.timestamp.type",
        SettingType::String,
        "CreateTime",
        &["CreateTime", "LogAppendTime"],
    ),
    number("min.cleanable.dirty.ratio", SettingType::Double, "0.5", 0.0),
    number("min.compaction.lag.ms", SettingType::Long, "0", 0.0),
    number("min.insync.replicas", SettingType::Int, "1", 1.0),
    words(
        "preallocate",
        SettingType::Boolean,
        "false",
        &["true", "false"],
    ),
    words(
        "remote.storage.enable",
        SettingType::Boolean,
        "false",
        &["true", "false"],
    ),
    number("retention.bytes", SettingType::Long, "-1", -1.0),
    number("retention.ms", SettingType::Long, "604800000", -1.0),
    number("segment.bytes", SettingType::Int, "1073741824", 14.0),
    number("segment.index.bytes", SettingType::Int, "10485760", 4.0),
    number("segment.jitter.ms", SettingType::Long, "0", 0.0),
    number("segment.ms", SettingType::Long, "604800000", 1.0),
    words(
        "unclean.leader.election.enable",
        SettingType::Boolean,
        "false",
        &["true", "false"],
    ),
];

/// The configuration of one topic. It is kept as what was set for the topic.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(
    try_from = "BTreeMap<String, String>",
    into = "BTreeMap<String, String>"
)]
pub(crate) struct TopicConfig {
    overrides: BTreeMap<String, String>,
    effective: Effective,
}

/// The settings that have an effect, parsed.
#[derive(Clone, Debug, PartialEq)]
struct Effective {
    is_compacted: bool,
    is_deleted: bool,
    is_log_append_time: bool,
    delete_retention_ms: i64,
    max_compaction_lag_ms: i64,
    max_message_bytes: u64,
    timestamp_after_max_ms: i64,
    timestamp_before_max_ms: i64,
    min_cleanable_dirty_ratio: f64,
    min_compaction_lag_ms: i64,
    retention_bytes: Option<u64>,
    retention_ms: Option<i64>,
    segment_bytes: u64,
    segment_ms: i64,
}

impl Default for TopicConfig {
    fn default() -> Self {
        let overrides = BTreeMap::new();
        let effective = Effective::from(&overrides);
        Self {
            overrides,
            effective,
        }
    }
}

impl TryFrom<BTreeMap<String, String>> for TopicConfig {
    type Error = String;

    fn try_from(overrides: BTreeMap<String, String>) -> Result<Self, String> {
        overrides
            .iter()
            .try_for_each(|(name, value)| check(name, value))?;
        Ok(Self {
            effective: Effective::from(&overrides),
            overrides,
        })
    }
}

impl From<TopicConfig> for BTreeMap<String, String> {
    fn from(config: TopicConfig) -> Self {
        config.overrides
    }
}

impl TopicConfig {
    /// Sets one setting.
    ///
    /// # Errors
    /// A message for the user when the name is unknown or the value does not fit it.
    pub(crate) fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        check(name, value)?;
        self.overrides.insert(name.to_owned(), value.to_owned());
        self.effective = Effective::from(&self.overrides);
        Ok(())
    }

    /// Adds words to a list setting, or removes them.
    ///
    /// # Errors
    /// As [`Self::set`], and when the setting is not a list.
    pub(crate) fn change_list(
        &mut self,
        name: &str,
        value: &str,
        is_append: bool,
    ) -> Result<(), String> {
        if setting(name)?.setting_type != SettingType::List {
            return Err(format!(
                "Config value append or subtract is not allowed for config key: {name}"
            ));
        }
        let current = self.get(name).unwrap_or_default().to_owned();
        let mut list: Vec<&str> = current.split(',').filter(|word| !word.is_empty()).collect();
        for word in value
            .split(',')
            .map(str::trim)
            .filter(|word| !word.is_empty())
        {
            list.retain(|present| *present != word);
            if is_append {
                list.push(word);
            }
        }
        self.set(name, &list.join(","))
    }

    /// Puts one setting back to its default.
    ///
    /// # Errors
    /// A message for the user when the name is unknown.
    pub(crate) fn reset(&mut self, name: &str) -> Result<(), String> {
        setting(name)?;
        self.overrides.remove(name);
        self.effective = Effective::from(&self.overrides);
        Ok(())
    }

    /// The value of a setting, its default if it was never set.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let default = || setting(name).ok().map(|setting| setting.default);
        self.overrides
            .get(name)
            .map(String::as_str)
            .or_else(default)
    }

    /// Whether the setting was set for this topic.
    pub(crate) fn is_overridden(&self, name: &str) -> bool {
        self.overrides.contains_key(name)
    }

    pub(crate) fn is_compacted(&self) -> bool {
        self.effective.is_compacted
    }

    pub(crate) fn is_deleted(&self) -> bool {
        self.effective.is_deleted
    }

    pub(crate) fn is_log_append_time(&self) -> bool {
        self.effective.is_log_append_time
    }

    pub(crate) fn delete_retention_ms(&self) -> i64 {
        self.effective.delete_retention_ms
    }

    pub(crate) fn max_compaction_lag_ms(&self) -> i64 {
        self.effective.max_compaction_lag_ms
    }

    pub(crate) fn max_message_bytes(&self) -> u64 {
        self.effective.max_message_bytes
    }

    pub(crate) fn min_cleanable_dirty_ratio(&self) -> f64 {
        self.effective.min_cleanable_dirty_ratio
    }

    pub(crate) fn min_compaction_lag_ms(&self) -> i64 {
        self.effective.min_compaction_lag_ms
    }

    /// The size at which old segments go; `None` for never.
    pub(crate) fn retention_bytes(&self) -> Option<u64> {
        self.effective.retention_bytes
    }

    /// The age at which segments go; `None` for never.
    pub(crate) fn retention_ms(&self) -> Option<i64> {
        self.effective.retention_ms
    }

    pub(crate) fn segment_bytes(&self) -> u64 {
        self.effective.segment_bytes
    }

    pub(crate) fn segment_ms(&self) -> i64 {
        self.effective.segment_ms
    }

    /// Whether a batch with timestamps from `first_ms` to `max_ms` is too far from the broker's clock.
    pub(crate) fn refuses_timestamps(&self, first_ms: i64, max_ms: i64, now_ms: i64) -> bool {
        !self.is_log_append_time()
            && (max_ms.saturating_sub(now_ms) > self.effective.timestamp_after_max_ms
                || (first_ms >= 0
                    && now_ms.saturating_sub(first_ms) > self.effective.timestamp_before_max_ms))
    }
}

impl Effective {
    fn from(overrides: &BTreeMap<String, String>) -> Self {
        let text = |name: &str| {
            let default = || {
                setting(name)
                    .expect("only known names are asked for")
                    .default
            };
            overrides.get(name).map_or_else(default, String::as_str)
        };
        let long = |name: &str| {
            text(name)
                .parse::<i64>()
                .expect("values are checked when set")
        };
        let policy = text("cleanup.policy");
        let has_policy = |word: &str| policy.split(',').any(|present| present.trim() == word);
        Self {
            is_compacted: has_policy("compact"),
            is_deleted: has_policy("delete"),
            is_log_append_time: text("message.timestamp.type") == "LogAppendTime",
            delete_retention_ms: long("delete.retention.ms"),
            max_compaction_lag_ms: long("max.compaction.lag.ms"),
            max_message_bytes: long("max.message.bytes").unsigned_abs(),
            timestamp_after_max_ms: long("message.timestamp.after.max.ms"),
            timestamp_before_max_ms: long("message.timestamp.before.max.ms"),
            min_cleanable_dirty_ratio: text("min.cleanable.dirty.ratio")
                .parse()
                .expect("values are checked when set"),
            min_compaction_lag_ms: long("min.compaction.lag.ms"),
            retention_bytes: u64::try_from(long("retention.bytes")).ok(),
            retention_ms: Some(long("retention.ms")).filter(|ms| *ms >= 0),
            segment_bytes: long("segment.bytes").unsigned_abs(),
            segment_ms: long("segment.ms"),
        }
    }
}

fn setting(name: &str) -> Result<&'static Setting, String> {
    SETTINGS
        .iter()
        .find(|setting| setting.name == name)
        .ok_or_else(|| format!("Unknown topic config name: {name}"))
}

fn check(name: &str, value: &str) -> Result<(), String> {
    let setting = setting(name)?;
    let refuse = |why: &str| {
        Err(format!(
            "Invalid value {value} for configuration {name}: {why}"
        ))
    };
    let at_least_min = |number: f64| {
        if number < setting.min {
            refuse(&format!("Value must be at least {}", setting.min))
        } else {
            Ok(())
        }
    };
    match setting.setting_type {
        SettingType::Int => match value.parse::<i32>() {
            Ok(number) => at_least_min(f64::from(number)),
            Err(_) => refuse("Not a number of type INT"),
        },
        SettingType::Long => match value.parse::<i64>() {
            Ok(number) => at_least_min(number as f64),
            Err(_) => refuse("Not a number of type LONG"),
        },
        SettingType::Double => match value.parse::<f64>() {
            Ok(number) if (0.0..=1.0).contains(&number) => Ok(()),
            _ => refuse("Value must be a number from 0 to 1"),
        },
        SettingType::Boolean | SettingType::String | SettingType::List => {
            let is_list = setting.setting_type == SettingType::List;
            let words = value
                .split(',')
                .map(str::trim)
                .filter(|word| !is_list || !word.is_empty());
            for word in words {
                if !setting.words.is_empty() && !setting.words.contains(&word) {
                    return refuse(&format!(
                        "String must be one of: {}",
                        setting.words.join(", ")
                    ));
                }
            }
            Ok(())
        }
    }
}
