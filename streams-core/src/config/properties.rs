//! Java's `.properties` syntax, as `java.util.Properties` reads it, in UTF-8.

use std::iter::Peekable;
use std::str::Chars;

/// What one logical line says.
pub(super) struct Property {
    /// The number of its first line, from 1.
    pub(super) line: usize,
    /// Its name and value, or what is wrong with it.
    pub(super) entry: Result<(String, String), String>,
}

/// The properties of a text, in order.
pub(super) fn parse(text: &str) -> Vec<Property> {
    let mut properties = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((index, line)) = lines.next() {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with(['#', '!']) {
            continue;
        }
        let mut logical = line.to_owned();
        while continues(&logical) {
            logical.pop();
            match lines.next() {
                Some((_, next)) => logical.push_str(next.trim_start()),
                None => break,
            }
        }
        properties.push(Property {
            line: index + 1,
            entry: entry(&logical),
        });
    }
    properties
}

/// Whether a line ends with a backslash that is not itself escaped.
fn continues(line: &str) -> bool {
    line.chars()
        .rev()
        .take_while(|letter| *letter == '\\')
        .count()
        % 2
        == 1
}

fn entry(line: &str) -> Result<(String, String), String> {
    let mut letters = line.chars().peekable();
    let mut name = String::new();
    while let Some(letter) =
        letters.next_if(|letter| !matches!(letter, '=' | ':') && !letter.is_whitespace())
    {
        push(letter, &mut letters, &mut name)?;
    }
    // The separator is white space, with at most one `=` or `:` within.
    while letters.next_if(|letter| letter.is_whitespace()).is_some() {}
    if letters
        .next_if(|letter| matches!(letter, '=' | ':'))
        .is_some()
    {
        while letters.next_if(|letter| letter.is_whitespace()).is_some() {}
    }
    let mut value = String::new();
    while let Some(letter) = letters.next() {
        push(letter, &mut letters, &mut value)?;
    }
    if name.is_empty() {
        // The line is not shown, since it may hold a secret.
        return Err("the line has no name; write name = value".to_owned());
    }
    Ok((name, value))
}

fn push(letter: char, letters: &mut Peekable<Chars<'_>>, text: &mut String) -> Result<(), String> {
    if letter != '\\' {
        text.push(letter);
        return Ok(());
    }
    match letters.next() {
        Some('t') => text.push('\t'),
        Some('n') => text.push('\n'),
        Some('r') => text.push('\r'),
        Some('f') => text.push('\u{c}'),
        Some('u') => {
            let digits: String = letters.by_ref().take(4).collect();
            let letter = u32::from_str_radix(&digits, 16)
                .ok()
                .filter(|_| digits.len() == 4)
                .and_then(char::from_u32)
                .ok_or_else(|| {
                    format!("\\u{digits} is no character; write the character itself, in UTF-8")
                })?;
            text.push(letter);
        }
        Some(other) => text.push(other),
        None => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &[(usize, &str, &str)]) {
        let properties: Vec<_> = parse(text)
            .into_iter()
            .map(|property| (property.line, property.entry.expect("entry")))
            .collect();
        let expected: Vec<_> = expected
            .iter()
            .map(|(line, name, value)| (*line, ((*name).to_owned(), (*value).to_owned())))
            .collect();
        assert_eq!(properties, expected);
    }

    #[test]
    fn names_and_values_are_separated_as_in_java() {
        check(
            "a=1\nb = 2\nc:3\nd 4\n  e\t=  5  6 \n",
            &[
                (1, "a", "1"),
                (2, "b", "2"),
                (3, "c", "3"),
                (4, "d", "4"),
                (5, "e", "5  6 "),
            ],
        );
        check(
            "a==1\nb=x=y\nc\nd=",
            &[(1, "a", "=1"), (2, "b", "x=y"), (3, "c", ""), (4, "d", "")],
        );
    }

    #[test]
    fn comments_and_blank_lines_are_skipped() {
        check(
            "# a=1\n\n   ! b=2\r\nc=3 # not a comment\r\n",
            &[(4, "c", "3 # not a comment")],
        );
        check("# no continuation \\\na=1", &[(2, "a", "1")]);
    }

    #[test]
    fn lines_continue_and_keep_the_number_of_the_first() {
        check(
            "a=1,\\\n   2,\\\n   3\nb=4",
            &[(1, "a", "1,2,3"), (4, "b", "4")],
        );
        check("a=back\\\\\nb=1\\", &[(1, "a", "back\\"), (2, "b", "1")]);
    }

    #[test]
    fn escapes_are_javas() {
        check(r"a\ b\=c=\tx\u00e4\:", &[(1, "a b=c", "\txä:")]);
        check("städte=Lüneburg", &[(1, "städte", "Lüneburg")]);
        for text in [r"a=\u12", r"a=\uzzzz", r"a=\ud800", "=1"] {
            assert!(parse(text)[0].entry.is_err(), "{text}");
        }
    }
}
