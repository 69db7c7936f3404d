//! Every kind of bad record through the real programs: set aside with its reason, counted, and the next good one counts.

use std::collections::BTreeMap;

use streams_core::OwnedRecord;

use crate::fold::{self, MINUTE_MS, Results};
use crate::points;
use crate::support::graphite::RealGraphite;
use crate::support::wait;
use crate::world::{DEADLINE, World, now_ms, reading, rfc3339, stop, wait_until_ready};

const CITY: &str = "Bad Mergentheim";
const WINDOW_MS: i64 = 10 * MINUTE_MS;
/// How much later than other bad records those with a wrong key are, when there is no good one.
const MISPLACED_AFTER_MS: i64 = 6 * MINUTE_MS;

/// Keys, values and the reasons they are refused for.
fn bad_records(time_ms: i64) -> Vec<(Option<&'static str>, Option<String>, &'static str)> {
    let time = format!(r#""timeStamp":"{}""#, rfc3339(time_ms));
    let with = |values: &str| Some(reading(CITY, time_ms, values));
    let at = |time: &str| {
        Some(format!(
            r#"{{"tempCurrent":1,"timeStamp":{time},"city":"{CITY}"}}"#
        ))
    };
    let milliseconds = time_ms.to_string();
    let misplaced = reading(CITY, time_ms + MISPLACED_AFTER_MS, r#""tempCurrent":-1"#);
    let key = Some(CITY);
    vec![
        (key, Some("hello".to_owned()), "not-json"),
        (key, Some("[1,2]".to_owned()), "not-json"),
        (key, Some(r#"{"tempCurrent":1,"#.to_owned()), "not-json"),
        (key, None, "not-json"),
        (
            key,
            Some(format!(r#"{{"tempCurrent":1,{time}}}"#)),
            "no-city",
        ),
        (
            key,
            Some(format!(r#"{{"tempCurrent":1,{time},"city":" "}}"#)),
            "no-city",
        ),
        (
            key,
            Some(format!(r#"{{"tempCurrent":1,"city":"{CITY}"}}"#)),
            "no-time",
        ),
        (key, with(r#""tempCurrent":"n/a""#), "not-a-number"),
        (key, with(r#""tempCurrent":NaN"#), "not-a-number"),
        (key, with(r#""tempCurrent":Infinity"#), "not-a-number"),
        (key, with(r#""tempCurrent":-Infinity"#), "not-a-number"),
        (key, with(r#""tempCurrent":"inf""#), "not-a-number"),
        (key, with(r#""tempCurrent":1e999"#), "not-json"),
        (key, at(&milliseconds), "time-format"),
        (key, at(&format!(r#""{milliseconds}""#)), "time-format"),
        (key, at(r#""9999-12-31T23:59:59Z""#), "time-in-future"),
        (
            key,
            at(&format!(r#""{}""#, rfc3339(now_ms() + 2 * 60 * MINUTE_MS))),
            "time-in-future",
        ),
        (key, at(r#""1969-12-31T23:59:59Z""#), "time-negative"),
        (key, at("-1"), "time-negative"),
        // 1,048 miles per hour, in metres per second.
        (
            key,
            with(r#""tempCurrent":1,"windGust":468.498"#),
            "out-of-range",
        ),
        (key, with(r#""tempCurrent":-273.5"#), "out-of-range"),
        (key, with(r#""comment":"nothing measured""#), "no-values"),
        (None, Some(misplaced.clone()), "wrong-key"),
        (Some("Ulm"), Some(misplaced), "wrong-key"),
    ]
}

#[test]
fn bad_records_are_set_aside_and_the_next_good_one_counts() {
    let world = World::new("bad-input");
    let graphite = RealGraphite::shared();
    let averages = world.start("weather-averages", "averages", &[], &[]);
    let writer = world.start(
        "weather-graphite",
        "writer",
        &["--graphite", graphite.line_address()],
        &[("GRAPHITE_STEP_S", "10")],
    );
    wait_until_ready(&averages);
    wait_until_ready(&writer);

    // A good one behind every bad one, 10 seconds apart, in one window.
    let start_ms = (now_ms() / WINDOW_MS - 6) * WINDOW_MS;
    let bad = bad_records(start_ms + MINUTE_MS);
    let good = |index: usize| {
        let values = format!(r#""tempCurrent":{index}"#);
        reading(CITY, start_ms + index as i64 * 10_000, &values)
    };
    let records: Vec<_> = bad
        .iter()
        .enumerate()
        .flat_map(|(index, (key, value, _))| {
            [(*key, value.clone()), (Some(CITY), Some(good(index)))]
        })
        .collect();
    world.send(&records);
    world.send_closing(&[CITY], start_ms + 2 * WINDOW_MS);

    let mut results = Results::new(world.reader(&world.averages()), WINDOW_MS);
    results.wait_for(1, DEADLINE);
    let letters = wait::until_some("every dead letter", DEADLINE, || {
        let letters = world.read(&world.dead_letters());
        (letters.len() >= bad.len()).then_some(letters)
    });
    stop(&averages);
    let (windows, _) = results.finish();
    let window = &windows[&(CITY.to_owned(), start_ms)];
    assert_eq!(window.count, bad.len() as u64, "every good reading counts");
    assert_eq!(window.values["tempCurrent"].max, (bad.len() - 1) as f64);
    assert_eq!(window.values.len(), 1, "nothing of a bad reading counts");
    assert_eq!(windows.len(), 1, "no bad time closes a window");

    check_letters(&world, &bad, &letters);
    check_counts(&bad, &averages.stderr());

    let prefix = format!("vlvs_inf19b.{}", world.user());
    let sent = world.read(&world.readings());
    let good: Vec<_> = sent
        .into_iter()
        .filter(|(partition, record)| !is_letter(&letters, *partition, record.offset))
        .collect();
    let mut expected = points::of_readings(&prefix, &fold::readings(&good));
    expected.extend(points::of_windows(&prefix, &windows));
    // Under a wrong key a reading is in no window, but it still says what was measured where and when.
    let temperature = format!("{prefix}.weather.bad-mergentheim.tempCurrent");
    let misplaced_s = (start_ms + MINUTE_MS + MISPLACED_AFTER_MS) / 1000;
    expected
        .entry(temperature)
        .or_default()
        .insert(misplaced_s, -1.0);
    points::wait_for(graphite, &prefix, &expected, DEADLINE);
    stop(&writer);
}

/// Each bad record is there as it was sent, with why and from where.
fn check_letters(
    world: &World,
    bad: &[(Option<&str>, Option<String>, &str)],
    letters: &[(i32, OwnedRecord)],
) {
    assert_eq!(letters.len(), bad.len());
    for (key, value, reason) in bad {
        let found: Vec<_> = letters
            .iter()
            .map(|(_, letter)| letter)
            .filter(|letter| {
                text(&letter.key).as_deref() == *key
                    && (text(&letter.value) == *value || *reason == "wrong-key")
                    && header(letter, "reason") == *reason
            })
            .collect();
        let reasons: Vec<_> = letters
            .iter()
            .filter(|(_, letter)| text(&letter.value) == *value)
            .map(|(_, letter)| (header(letter, "reason"), header(letter, "message")))
            .collect();
        assert_eq!(
            found.len(),
            1,
            "{reason}: {value:?} under the key {key:?} was refused for {reasons:?}"
        );
        assert!(header(found[0], "message").len() > 10);
        assert_eq!(header(found[0], "topic"), world.readings());
    }
}

/// Each reason is counted.
fn check_counts(bad: &[(Option<&str>, Option<String>, &str)], log: &str) {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for (_, _, reason) in bad {
        *counts.entry(reason).or_default() += 1;
    }
    for (reason, count) in counts {
        let (reason, count) = (format!("reason=\"{reason}\""), format!("count={count}"));
        let is_counted = log.lines().any(|line| {
            line.contains("refused so far")
                && line.contains(&reason)
                && line.split_whitespace().any(|word| word == count)
        });
        assert!(is_counted, "no {count} of {reason} in:\n{log}");
    }
}

fn is_letter(letters: &[(i32, OwnedRecord)], partition: i32, offset: i64) -> bool {
    letters.iter().any(|(_, letter)| {
        header(letter, "partition") == partition.to_string()
            && header(letter, "offset") == offset.to_string()
    })
}

fn header(letter: &OwnedRecord, name: &str) -> String {
    let value = letter.headers.last(name).unwrap_or_default();
    String::from_utf8_lossy(value).into_owned()
}

fn text(bytes: &Option<Vec<u8>>) -> Option<String> {
    bytes
        .as_deref()
        .map(|bytes| String::from_utf8_lossy(bytes).into_owned())
}
