//! The result, by kind of fault.

use std::time::{Duration, Instant};

use crate::faults::{Fault, KINDS, Kind};
use crate::verdict::{Finding, Flaw};
use crate::watch::Gap;

/// How many findings are shown of each kind.
const SHOWN_MAX: usize = 20;
const GAPS_SHOWN: usize = 5;

/// The fault that a moment belongs to: the last one before it.
fn culprit(history: &[Fault], at: Instant) -> Option<usize> {
    history
        .partition_point(|fault| fault.at <= at)
        .checked_sub(1)
}

/// The fault that a gap belongs to: the last one that came while it lasted, or else before it.
fn culprit_of_gap(history: &[Fault], gap: &Gap) -> Option<usize> {
    culprit(history, gap.to)
}

/// Prints what was found, and says whether that is nothing. Times are counted from `started`.
pub fn print(history: &[Fault], findings: &[Finding], gaps: &[Gap], started: Instant) -> bool {
    for flaw in [Flaw::Lost, Flaw::Duplicated, Flaw::Wrong] {
        let of_flaw: Vec<&Finding> = findings.iter().filter(|each| each.flaw == flaw).collect();
        for finding in of_flaw.iter().take(SHOWN_MAX) {
            let after = finding
                .at
                .and_then(|at| culprit(history, at))
                .map_or(String::new(), |fault| {
                    format!(" (after: {})", history[fault].kind)
                });
            println!("{flaw:?}: {}{after}", finding.what);
        }
        if of_flaw.len() > SHOWN_MAX {
            println!("{flaw:?}: .. {} in all", of_flaw.len());
        }
    }
    let mut by_length: Vec<&Gap> = gaps.iter().collect();
    by_length.sort_by_key(|gap| std::cmp::Reverse(gap.length()));
    for gap in by_length.iter().take(GAPS_SHOWN) {
        println!(
            "gap of {:.1} s in {}-{}, until {:.1} s",
            gap.length().as_secs_f64(),
            gap.topic,
            gap.partition,
            gap.to.saturating_duration_since(started).as_secs_f64()
        );
    }
    // The longest gap of each fault; a fault that made none counts as one without.
    let mut longest = vec![Duration::ZERO; history.len()];
    for gap in gaps {
        if let Some(fault) = culprit_of_gap(history, gap) {
            longest[fault] = longest[fault].max(gap.length());
        }
    }
    println!(
        "{:<18} {:>6} {:>6} {:>11} {:>6} {:>12} {:>12}",
        "fault", "times", "lost", "duplicated", "wrong", "longest gap", "median gap"
    );
    let found = |kind: Option<Kind>, flaw: Flaw| {
        findings
            .iter()
            .filter(|each| each.flaw == flaw)
            .filter(|each| {
                let of = each.at.and_then(|at| culprit(history, at));
                of.map(|fault| history[fault].kind) == kind
            })
            .count()
    };
    for kind in KINDS {
        let mut of_kind: Vec<Duration> = history
            .iter()
            .zip(&longest)
            .filter(|(fault, _)| fault.kind == kind)
            .map(|(_, longest)| *longest)
            .collect();
        of_kind.sort_unstable();
        let seconds = |gap: Option<&Duration>| {
            gap.map_or("-".to_owned(), |gap| format!("{:.1} s", gap.as_secs_f64()))
        };
        println!(
            "{kind:<18} {:>6} {:>6} {:>11} {:>6} {:>12} {:>12}",
            of_kind.len(),
            found(Some(kind), Flaw::Lost),
            found(Some(kind), Flaw::Duplicated),
            found(Some(kind), Flaw::Wrong),
            seconds(of_kind.last()),
            seconds(of_kind.get(of_kind.len() / 2)),
        );
    }
    let all = |flaw: Flaw| findings.iter().filter(|each| each.flaw == flaw).count();
    let gap = gaps.iter().map(Gap::length).max().unwrap_or_default();
    println!(
        "chaos: {} faults, {} lost, {} duplicated, {} wrong, longest gap {:.1} s",
        history.len(),
        all(Flaw::Lost),
        all(Flaw::Duplicated),
        all(Flaw::Wrong),
        gap.as_secs_f64()
    );
    findings.is_empty()
}
