//! What the processors do with their stores.

use super::processor_context::LogicContext;
use super::processors::{Logic, PlainValue, Scripted, shown};
use crate::functions;
use crate::values::{AnyKey, Key};
use streams_core::stores::{
    KeyValueStore, SessionStore, StoreHandle, TimestampedKeyValueStore, VersionedKeyValueStore,
    VersionedPut, VersionedRecord, WindowStore,
};
use streams_core::windowed::{Window, Windowed};
use streams_core::{Error, Result};

impl Scripted {
    fn texts(&self) -> StoreHandle<KeyValueStore<Key, String>> {
        StoreHandle::named(&self.store)
    }

    /// All entries of any key-value store.
    fn all(&self, context: &mut impl LogicContext) -> Result<String> {
        fn listed<V: ToString>(
            entries: impl Iterator<Item = Result<(Key, V)>>,
        ) -> Result<Vec<String>> {
            entries
                .map(|entry| entry.map(|(key, value)| line(&key, &value.to_string())))
                .collect()
        }
        fn stamped<V: ToString>(
            entries: impl Iterator<Item = Result<(Key, V, i64)>>,
        ) -> Result<Vec<String>> {
            entries
                .map(|entry| {
                    entry.map(|(key, value, timestamp)| {
                        line(&key, &format!("{}@{timestamp}", value.to_string()))
                    })
                })
                .collect()
        }
        let lines = match self.plain {
            Some(PlainValue::Text) => listed(context.store(&self.texts())?.all()?)?,
            Some(PlainValue::Long) => {
                let longs: StoreHandle<KeyValueStore<Key, i64>> = StoreHandle::named(&self.store);
                listed(context.store(&longs)?.all()?)?
            }
            None => {
                let texts: StoreHandle<TimestampedKeyValueStore<Key, String>> =
                    StoreHandle::named(&self.store);
                match context.store(&texts) {
                    Ok(mut store) => stamped(store.all()?)?,
                    Err(_) => {
                        let longs: StoreHandle<TimestampedKeyValueStore<Key, i64>> =
                            StoreHandle::named(&self.store);
                        stamped(context.store(&longs)?.all()?)?
                    }
                }
            }
        };
        Ok(lines.join(" "))
    }

    /// What any key-value store has of a key.
    fn found(&self, key: &Key, context: &mut impl LogicContext) -> Result<Option<String>> {
        if key.0.is_none() {
            return Ok(None);
        }
        match self.plain {
            Some(PlainValue::Text) => context.store(&self.texts())?.get(key),
            Some(PlainValue::Long) => {
                let longs: StoreHandle<KeyValueStore<Key, i64>> = StoreHandle::named(&self.store);
                let found = context.store(&longs)?.get(key)?;
                Ok(found.map(|value| value.to_string()))
            }
            None => {
                let texts: StoreHandle<TimestampedKeyValueStore<Key, String>> =
                    StoreHandle::named(&self.store);
                if let Ok(mut store) = context.store(&texts) {
                    return Ok(store.get(key)?.map(|(value, at)| format!("{value}@{at}")));
                }
                let longs: StoreHandle<TimestampedKeyValueStore<Key, i64>> =
                    StoreHandle::named(&self.store);
                let found = context.store(&longs)?.get(key)?;
                Ok(found.map(|(value, at)| format!("{value}@{at}")))
            }
        }
    }

    /// Logic over a key-value store; what it forwards.
    pub(super) fn key_value(
        &self,
        key: &Key,
        value: Option<String>,
        timestamp: i64,
        context: &mut impl LogicContext,
    ) -> Result<Option<String>> {
        let put = |value: Option<String>, context: &mut _| put(&self.texts(), key, value, context);
        Ok(Some(match &self.logic {
            Logic::Count => {
                let longs: StoreHandle<KeyValueStore<Key, i64>> = StoreHandle::named(&self.store);
                let mut counts = context.store(&longs)?;
                let before = counts.get(key)?;
                match value {
                    None => {
                        let before = counts.delete(key)?.map(|count| count.to_string());
                        format!("deleted {}", shown(before))
                    }
                    Some(_) => {
                        let now = before.unwrap_or(0) + 1;
                        counts.put(key, now)?;
                        now.to_string()
                    }
                }
            }
            Logic::Concat => {
                let before = context.store(&self.texts())?.get(key)?;
                let now = value.map(|value| match before {
                    None => value,
                    Some(before) => format!("{before},{value}"),
                });
                put(now, context)?;
                self.all(context)?
            }
            Logic::PutIfAbsent => {
                let before = context.store(&self.texts())?.get(key)?;
                if before.is_none() {
                    put(value, context)?;
                }
                format!("{} {}", shown(before), self.all(context)?)
            }
            Logic::Range(from, to) => {
                put(value, context)?;
                let mut store = context.store(&self.texts())?;
                let mut lines = Vec::new();
                let mut add = |entry: Result<(Key, String)>| -> Result<()> {
                    let (key, value) = entry?;
                    lines.push(line(&key, &value));
                    Ok(())
                };
                match (from, to) {
                    (Some(from), Some(to)) => store.range(from, to)?.try_for_each(&mut add)?,
                    (Some(from), None) => store.range_from(from)?.try_for_each(&mut add)?,
                    (None, Some(to)) => store.range_to(to)?.try_for_each(&mut add)?,
                    (None, None) => store.all()?.try_for_each(&mut add)?,
                }
                lines.push("/".to_owned());
                for entry in store.reverse_all()? {
                    let (key, value) = entry?;
                    lines.push(line(&key, &value));
                }
                lines.join(" ")
            }
            Logic::Latest => {
                let latest: StoreHandle<TimestampedKeyValueStore<Key, String>> =
                    StoreHandle::named(&self.store);
                let mut latest = context.store(&latest)?;
                let before = latest.get(key)?;
                match value {
                    Some(value) => latest.put(key, value, timestamp)?,
                    None => latest.delete(key)?,
                }
                shown(before.map(|(value, at)| format!("{value}@{at}")))
            }
            Logic::List => self.all(context)?,
            Logic::Lookup => {
                let found = self.found(key, context)?;
                format!("{}+{}", shown(value), shown(found))
            }
            Logic::Put => {
                put(value, context)?;
                return Ok(None);
            }
            Logic::PutFail(part) => {
                if functions::shown(value.as_deref()).contains(part) {
                    return Err(Error::data(functions::failure(value.as_deref())));
                }
                put(value, context)?;
                return Ok(None);
            }
            Logic::PutUpper => {
                put(value.map(|value| value.to_uppercase()), context)?;
                return Ok(None);
            }
            _ => return Ok(None),
        }))
    }

    /// Logic over a versioned store; what it forwards.
    pub(super) fn versioned(
        &self,
        key: &Key,
        value: Option<String>,
        timestamp: i64,
        context: &mut impl LogicContext,
    ) -> Result<String> {
        let versions: StoreHandle<VersionedKeyValueStore<Key, String>> =
            StoreHandle::named(&self.store);
        let mut versions = context.store(&versions)?;
        let shown_version = |version: Option<VersionedRecord<String>>| {
            shown(version.map(|version| format!("{}@{}", version.value, version.timestamp)))
        };
        // What Java's `put` returns.
        let valid_to = |put: VersionedPut| match put {
            VersionedPut::Latest => -1,
            VersionedPut::Older { valid_to } => valid_to,
            VersionedPut::Rejected => i64::MIN,
        };
        Ok(match self.logic {
            Logic::VersionedDelete if value.is_none() => {
                format!(
                    "deleted {}",
                    shown_version(versions.delete(key, timestamp)?)
                )
            }
            Logic::VersionedDelete => {
                let put = versions.put(key, value, timestamp)?;
                format!("{} {}", valid_to(put), shown_version(versions.get(key)?))
            }
            Logic::Versioned(ago) => {
                let put = versions.put(key, value, timestamp)?;
                let latest = shown_version(versions.get(key)?);
                let earlier = shown_version(versions.get_as_of(key, timestamp - ago)?);
                format!("{} {latest} {earlier}", valid_to(put))
            }
            Logic::VersionedLookup(ago) => {
                let latest = shown_version(versions.get(key)?);
                let earlier = shown_version(versions.get_as_of(key, timestamp - ago)?);
                format!("{latest} {earlier}")
            }
            _ => String::new(),
        })
    }

    pub(super) fn window(
        &self,
        size_ms: i64,
        key: &Key,
        value: Option<String>,
        timestamp: i64,
        context: &mut impl LogicContext,
    ) -> Result<String> {
        let start_ms = timestamp / size_ms * size_ms;
        let windows: StoreHandle<WindowStore<Key, String>> = StoreHandle::named(&self.store);
        let mut windows = context.store(&windows)?;
        match value {
            Some(value) => windows.put(key, value, start_ms)?,
            None => windows.delete(key, start_ms)?,
        }
        let mut lines = Vec::new();
        for entry in windows.fetch_range(key, 0, timestamp + size_ms)? {
            let (start_ms, value) = entry?;
            lines.push(format!("{start_ms}={value}"));
        }
        lines.push("/".to_owned());
        for entry in windows.all()? {
            let (key, start_ms, value) = entry?;
            let (key, end_ms) = (shown(key.text()), start_ms + size_ms);
            lines.push(format!("[{key}@{start_ms}/{end_ms}]={value}"));
        }
        Ok(lines.join(" "))
    }

    pub(super) fn session(
        &self,
        gap_ms: i64,
        key: &Key,
        value: Option<String>,
        timestamp: i64,
        context: &mut impl LogicContext,
    ) -> Result<String> {
        let sessions: StoreHandle<SessionStore<Key, String>> = StoreHandle::named(&self.store);
        let mut sessions = context.store(&sessions)?;
        let line = |(window, value): &(Window, String)| {
            let (key, start, end) = (shown(key.text()), window.start_ms, window.end_ms);
            format!("[{key}@{start}/{end}]={value}")
        };
        let found = sessions.find_sessions(key, timestamp - gap_ms, timestamp + gap_ms)?;
        let mut lines: Vec<String> = found.iter().map(line).collect();
        let (mut start_ms, mut end_ms) = (timestamp, timestamp);
        for (window, _) in found {
            start_ms = start_ms.min(window.start_ms);
            end_ms = end_ms.max(window.end_ms);
            sessions.remove(key, window.start_ms, window.end_ms)?;
        }
        if let Some(value) = value {
            sessions.put(key, start_ms, end_ms, value)?;
        }
        lines.push("/".to_owned());
        lines.extend(sessions.fetch(key)?.iter().map(line));
        Ok(lines.join(" "))
    }

    pub(super) fn session_keys(
        &self,
        gap_ms: i64,
        (from, to): (Option<&Key>, Option<&Key>),
        key: &Key,
        value: Option<String>,
        timestamp: i64,
        context: &mut impl LogicContext,
    ) -> Result<String> {
        let sessions: StoreHandle<SessionStore<Key, String>> = StoreHandle::named(&self.store);
        let mut sessions = context.store(&sessions)?;
        let start_ms = timestamp - gap_ms;
        match value {
            Some(value) => sessions.put(key, start_ms, timestamp, value)?,
            None => sessions.remove(key, start_ms, timestamp)?,
        }
        let line = |(key, value): &(Windowed<Key>, String)| {
            let (start, end) = (key.window.start_ms, key.window.end_ms);
            format!("[{}@{start}/{end}]={value}", shown(key.key.text()))
        };
        let mut lines: Vec<String> = sessions.fetch_keys(from, to)?.iter().map(line).collect();
        lines.push("/".to_owned());
        let found = sessions.backward_find_sessions_of_keys(from, to, start_ms, timestamp)?;
        lines.extend(found.iter().map(line));
        Ok(lines.join(" "))
    }
}

fn put(
    store: &StoreHandle<KeyValueStore<Key, String>>,
    key: &Key,
    value: Option<String>,
    context: &mut impl LogicContext,
) -> Result<()> {
    let mut store = context.store(store)?;
    match value {
        Some(value) => store.put(key, value),
        None => store.delete(key).map(drop),
    }
}

fn line(key: &Key, value: &str) -> String {
    format!("{}={value}", shown(key.text()))
}
