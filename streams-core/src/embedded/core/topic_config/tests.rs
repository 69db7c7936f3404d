//! Settings set, checked and reset.

use super::*;

#[test]
fn defaults_are_kafkas() {
    let config = TopicConfig::default();
    assert!(config.is_deleted() && !config.is_compacted());
    assert_eq!(config.retention_ms(), Some(604_800_000));
    assert_eq!(config.retention_bytes(), None);
    assert_eq!(config.get("segment.bytes"), Some("1073741824"));
    assert!(!config.is_overridden("segment.bytes"));
    assert!(SETTINGS.is_sorted_by_key(|setting| setting.name));
    assert!(
        SETTINGS
            .iter()
            .all(|setting| check(setting.name, setting.default).is_ok())
    );
}

#[test]
fn values_are_checked_by_type_range_and_word() {
    let mut config = TopicConfig::default();
    assert!(config.set("retention.ms", "-1").is_ok());
    assert_eq!(config.retention_ms(), None);
    for (name, value) in [
        ("retention.ms", "soon"),
        ("retention.ms", "-2"),
        ("cleanup.policy", "forget"),
        ("min.cleanable.dirty.ratio", "1.5"),
        ("preallocate", "maybe"),
        ("no.such.setting", "1"),
    ] {
        let error = config.set(name, value).unwrap_err();
        assert!(error.contains(name), "{error}");
    }
}

#[test]
fn lists_grow_and_shrink() {
    let mut config = TopicConfig::default();
    config
        .change_list("cleanup.policy", "compact", true)
        .unwrap();
    assert_eq!(config.get("cleanup.policy"), Some("delete,compact"));
    assert!(config.is_deleted() && config.is_compacted());
    config
        .change_list("cleanup.policy", "delete", false)
        .unwrap();
    assert_eq!(config.get("cleanup.policy"), Some("compact"));
    assert!(config.change_list("retention.ms", "1", true).is_err());
    config.reset("cleanup.policy").unwrap();
    assert!(!config.is_compacted());
}
