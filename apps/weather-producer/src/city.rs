//! One spelling per city, so that a city's readings meet in one window.

use std::borrow::Cow;
use unicode_normalization::{UnicodeNormalization, is_nfc};

/// The city's name as keys and readings carry it: composed characters (NFC), no white space around it, single spaces in it.
///
/// Capitals stay as they are: the name is also what people read. A name that is fine already is not copied.
///
/// ```
/// use weather_producer::city_name;
///
/// assert_eq!(city_name(" Bad  Mergentheim\t"), "Bad Mergentheim");
/// assert_eq!(city_name("Wu\u{308}rzburg"), "Würzburg");
/// ```
pub fn city_name(text: &str) -> Cow<'_, str> {
    if is_clean(text) {
        return Cow::Borrowed(text);
    }
    let composed: String = text.nfc().collect();
    let mut name = String::with_capacity(composed.len());
    for word in composed
        .split(|c: char| c.is_whitespace() || c.is_control())
        .filter(|word| !word.is_empty())
    {
        if !name.is_empty() {
            name.push(' ');
        }
        name.push_str(word);
    }
    Cow::Owned(name)
}

fn is_clean(text: &str) -> bool {
    let bytes = text.as_bytes();
    let plain = |byte: u8| (0x20..0x7f).contains(&byte);
    let spaces_fine = || {
        !text.starts_with(' ')
            && !text.ends_with(' ')
            && !bytes.windows(2).any(|pair| pair == b"  ")
    };
    if bytes.iter().all(|&byte| plain(byte)) {
        return spaces_fine();
    }
    spaces_fine()
        && is_nfc(text)
        && !text
            .chars()
            .any(|c| (c.is_whitespace() && c != ' ') || c.is_control())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_clean_name_is_borrowed() {
        for name in ["Mosbach", "Bad Mergentheim", "Würzburg", "São Paulo", ""] {
            assert!(matches!(city_name(name), Cow::Borrowed(same) if same == name));
        }
    }

    #[test]
    fn white_space_only_is_no_name() {
        assert_eq!(city_name(" \u{a0}\t\r\n "), "");
    }

    proptest! {
        #[test]
        fn cleaning_twice_changes_nothing_more(text in "\\PC{0,24}") {
            let once = city_name(&text).into_owned();
            prop_assert!(matches!(city_name(&once), Cow::Borrowed(_)), "{once:?}");
        }

        #[test]
        fn composed_and_decomposed_are_one(text in "[a-zäöüßéñ ]{0,16}") {
            let decomposed: String = text.nfd().collect();
            prop_assert_eq!(city_name(&text), city_name(&decomposed));
        }
    }
}
