//! What the results should be, by a plain fold over the inputs, and how those that were seen differ.

use std::collections::HashMap;
use std::time::Instant;

use crate::watch::{Inputs, Results, Seen};

const WINDOW_MS: i64 = 10_000;

/// What is not as it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Flaw {
    /// A result never came.
    Lost,
    /// A result came more than once.
    Duplicated,
    /// A result that should not be, or behind one that should come after it.
    Wrong,
}

/// Something that is not as it should be, what it is, and when it was seen; what was lost was not.
pub struct Finding {
    pub flaw: Flaw,
    pub what: String,
    pub at: Option<Instant>,
}

/// The results that should be there, by topic and key, in order.
pub type Expected = HashMap<(&'static str, String), Vec<String>>;

/// Folds the inputs.
pub fn expected(inputs: &Inputs) -> Expected {
    let mut expected = Expected::new();
    let mut totals: HashMap<(&'static str, String), (i64, i64)> = HashMap::new();
    for (payment, timestamp) in &inputs.payments {
        let words: Vec<&str> = payment.split(' ').collect();
        let [id, account, amount] = words[..] else {
            panic!("no payment: {payment}");
        };
        let amount: i64 = amount.parse().expect("an amount is a number");
        let window = format!("{account}@{}", timestamp - timestamp.rem_euclid(WINDOW_MS));
        for (topic, key, owner) in [
            ("totals", account.to_owned(), inputs.owners.get(account)),
            ("windows", window, None),
        ] {
            let total = totals.entry((topic, key.clone())).or_default();
            *total = (total.0 + 1, total.1 + amount);
            let mut value = format!("{} {}", total.0, total.1);
            if let Some(owner) = owner {
                value = format!("{value} {owner}");
            }
            expected.entry((topic, key)).or_default().push(value);
        }
        let receipt = format!("receipt-{}", id.trim_start_matches("payment-"));
        let count = inputs.receipts.get(&receipt).copied().unwrap_or(0);
        let settled = std::iter::repeat_n(format!("{payment} {receipt}"), count);
        let key = ("settled", id.to_owned());
        expected.entry(key).or_default().extend(settled);
    }
    expected
}

/// Compares what was seen with what should be.
pub fn compare(expected: &Expected, results: &Results) -> Vec<Finding> {
    let mut findings = Vec::new();
    let none = Vec::new();
    for (key, values) in expected {
        compare_key(
            key,
            values,
            results.by_key.get(key).unwrap_or(&none),
            &mut findings,
        );
    }
    for (key, seen) in &results.by_key {
        if !expected.contains_key(key) {
            compare_key(key, &[], seen, &mut findings);
        }
    }
    findings
}

fn compare_key(
    (topic, key): &(&'static str, String),
    expected: &[String],
    seen: &[Seen],
    findings: &mut Vec<Finding>,
) {
    let in_order = seen.len() == expected.len()
        && seen
            .iter()
            .zip(expected)
            .all(|(seen, value)| seen.value == *value);
    if in_order {
        return;
    }
    // The values of a key all differ, since they begin with how many payments they are of, or are all the same.
    let mut times_expected: HashMap<&str, usize> = HashMap::new();
    for value in expected {
        *times_expected.entry(value).or_default() += 1;
    }
    let mut times_seen: HashMap<&str, usize> = HashMap::new();
    let numbers: HashMap<&str, usize> = expected
        .iter()
        .enumerate()
        .map(|(number, value)| (value.as_str(), number))
        .collect();
    let mut last = None;
    for each in seen {
        let mut find = |flaw| {
            findings.push(Finding {
                flaw,
                what: format!("{}: {key} = {}", each.place, each.value),
                at: Some(each.at),
            });
        };
        let Some(&number) = numbers.get(each.value.as_str()) else {
            find(Flaw::Wrong);
            continue;
        };
        let times = times_seen.entry(&each.value).or_default();
        *times += 1;
        if *times > times_expected[each.value.as_str()] {
            find(Flaw::Duplicated);
        } else if last.is_some_and(|last| number < last) {
            find(Flaw::Wrong);
        } else {
            last = Some(number);
        }
    }
    for (value, times) in times_expected {
        let missing = times.saturating_sub(times_seen.get(value).copied().unwrap_or(0));
        findings.extend((0..missing).map(|_| Finding {
            flaw: Flaw::Lost,
            what: format!("{topic}: {key} = {value}"),
            at: None,
        }));
    }
}

/// Finds what is planted: a comparison that finds nothing must have looked.
pub fn check_itself() {
    let inputs = Inputs {
        payments: (0..4)
            .map(|n| (format!("payment-{n} account-1 {n}"), 20_000))
            .collect(),
        receipts: (0..4)
            .map(|n| (format!("receipt-{n}"), 1 + n % 2))
            .collect(),
        owners: HashMap::from([("account-1".to_owned(), "owner-1".to_owned())]),
    };
    let expected = expected(&inputs);
    let complete = |swap: Option<(usize, usize)>| {
        let mut results = Results::default();
        for (key, values) in &expected {
            let mut seen: Vec<Seen> = values
                .iter()
                .map(|value| Seen {
                    value: value.clone(),
                    at: Instant::now(),
                    place: String::new(),
                })
                .collect();
            if let (Some((a, b)), "totals") = (swap, key.0) {
                seen.swap(a, b);
            }
            results.by_key.insert(key.clone(), seen);
        }
        results
    };
    let flaws = |results: &Results| {
        let mut flaws: Vec<Flaw> = compare(&expected, results).iter().map(|f| f.flaw).collect();
        flaws.sort_unstable();
        flaws
    };
    assert_eq!(flaws(&complete(None)), []);
    assert_eq!(flaws(&complete(Some((1, 2)))), [Flaw::Wrong]);
    let totals = || ("totals", "account-1".to_owned());
    let again = |results: &mut Results, value: &str, topic| {
        let seen = Seen {
            value: value.to_owned(),
            at: Instant::now(),
            place: String::new(),
        };
        results.by_key.entry(topic).or_default().push(seen);
    };
    let mut results = complete(None);
    again(&mut results, "2 1 owner-1", totals());
    assert_eq!(flaws(&results), [Flaw::Duplicated]);
    again(
        &mut results,
        "1 5",
        ("windows", "account-1@10000".to_owned()),
    );
    assert_eq!(flaws(&results), [Flaw::Duplicated, Flaw::Wrong]);
    let mut results = complete(None);
    let settled = ("settled", "payment-1".to_owned());
    again(
        &mut results,
        "payment-1 account-1 1 receipt-1",
        settled.clone(),
    );
    assert_eq!(flaws(&results), [Flaw::Duplicated]);
    results.by_key.entry(settled).or_default().truncate(1);
    assert_eq!(flaws(&results), [Flaw::Lost]);
    let mut results = complete(None);
    let removed = results
        .by_key
        .get_mut(&totals())
        .and_then(std::vec::Vec::pop);
    assert_eq!(
        removed.map(|seen| seen.value).as_deref(),
        Some("4 6 owner-1")
    );
    assert_eq!(flaws(&results), [Flaw::Lost]);
}
