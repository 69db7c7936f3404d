//! Names in Graphite: any text as one segment of a metric's path.

use sha2::{Digest, Sha256};
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::canonical_combining_class;

/// The longest segment, in bytes: carbon makes a file of it, and file names end at 255.
const SEGMENT_LENGTH_MAX: usize = 100;

/// One segment of a metric's path from a city's name.
///
/// Composed first (NFC), then German letters as they are written without umlauts (`ü` → `ue`), accents dropped from the
/// rest, lower case, and everything outside `[a-z0-9_-]` one hyphen. The result is 1 to 100 bytes of `[a-z0-9_-]`; a name of
/// which nothing is left becomes `x` and a hash of it. Carbon closes the connection on bytes that are not UTF-8, refuses
/// spaces, and reads dots as levels, so nothing of that gets through.
///
/// ```
/// use weather_graphite::segment;
///
/// assert_eq!(segment("Bad Mergentheim"), "bad-mergentheim");
/// assert_eq!(segment("Würzburg"), "wuerzburg");
/// assert_eq!(segment("São Paulo"), "sao-paulo");
/// assert_eq!(segment("../etc"), "etc");
/// assert_eq!(segment("Москва"), "xeb63f79a");
/// ```
pub fn segment(text: &str) -> String {
    let composed: String = text.nfc().collect();
    let mut german = String::with_capacity(composed.len());
    for c in composed.trim().chars() {
        match c {
            'ä' | 'Ä' => german.push_str("ae"),
            'ö' | 'Ö' => german.push_str("oe"),
            'ü' | 'Ü' => german.push_str("ue"),
            'ß' | 'ẞ' => german.push_str("ss"),
            _ => german.push(c),
        }
    }
    let letters = german
        .nfkd()
        .filter(|&c| canonical_combining_class(c) == 0)
        .flat_map(char::to_lowercase);
    let is_kept = |c: char| matches!(c, 'a'..='z' | '0'..='9' | '_' | '-');
    finish(&hyphenate(letters, is_kept), &composed)
}

/// One segment of a metric's path from the name of a measured value: as [`segment`], but letters and their case stay as they
/// are where they are ASCII, since dashboards say `tempCurrent`.
///
/// ```
/// use weather_graphite::attribute_segment;
///
/// assert_eq!(attribute_segment("tempCurrent"), "tempCurrent");
/// assert_eq!(attribute_segment("pm2.5 (µg)"), "pm2-5-g");
/// ```
pub fn attribute_segment(name: &str) -> String {
    let is_kept = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    finish(&hyphenate(name.chars(), is_kept), name)
}

/// The text with each run of other characters as one hyphen.
fn hyphenate(letters: impl Iterator<Item = char>, is_kept: impl Fn(char) -> bool) -> String {
    let mut segment = String::new();
    let mut in_run = false;
    for c in letters {
        if is_kept(c) {
            segment.push(c);
        } else if !in_run {
            segment.push('-');
        }
        in_run = !is_kept(c);
    }
    segment
}

fn finish(segment: &str, text: &str) -> String {
    let segment = segment.trim_matches('-');
    if segment.is_empty() {
        let hash = Sha256::digest(text.as_bytes());
        return format!(
            "x{:02x}{:02x}{:02x}{:02x}",
            hash[0], hash[1], hash[2], hash[3]
        );
    }
    let end = segment.len().min(SEGMENT_LENGTH_MAX);
    segment[..end].trim_end_matches('-').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_become_what_dashboards_expect() {
        for (name, expected) in [
            ("Mosbach", "mosbach"),
            ("Bad Mergentheim", "bad-mergentheim"),
            ("Bad  Mergentheim\t", "bad-mergentheim"),
            ("Würzburg", "wuerzburg"),
            ("Wu\u{308}rzburg", "wuerzburg"),
            ("St. Leon-Rot", "st-leon-rot"),
            ("Frankfurt (Oder)", "frankfurt-oder"),
            ("Halle/Saale", "halle-saale"),
            ("Gießen", "giessen"),
            ("ÜBERLINGEN", "ueberlingen"),
            ("São Paulo", "sao-paulo"),
            ("Neustadt a.d. Weinstraße", "neustadt-a-d-weinstrasse"),
            ("../etc", "etc"),
            ("a;b=c", "a-b-c"),
            ("Baden - Baden", "baden---baden"),
            ("Москва", "xeb63f79a"),
            ("", "xe3b0c442"),
        ] {
            assert_eq!(segment(name), expected, "{name}");
        }
    }

    #[test]
    fn long_names_are_cut() {
        assert_eq!(segment(&"a".repeat(300)).len(), 100);
        assert_eq!(segment(&("a".repeat(99) + " b")), "a".repeat(99));
    }

    fn is_segment(text: &str) -> bool {
        (1..=100).contains(&text.len())
            && text
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
    }

    proptest! {
        #[test]
        fn any_text_becomes_a_segment(text in "\\PC{0,200}") {
            let once = segment(&text);
            prop_assert!(is_segment(&once) && !once.bytes().any(|byte| byte.is_ascii_uppercase()), "{once}");
            prop_assert_eq!(segment(&once), once);
        }

        #[test]
        fn any_name_becomes_an_attribute(name in "\\PC{0,200}") {
            let once = attribute_segment(&name);
            prop_assert!(is_segment(&once), "{once}");
            prop_assert_eq!(attribute_segment(&once), once);
        }

        #[test]
        fn composed_and_decomposed_are_one(text in "[A-Za-zäöüßÄÖÜéñ -]{0,40}") {
            let decomposed: String = text.nfd().collect();
            prop_assert_eq!(segment(&text), segment(&decomposed));
        }
    }
}
