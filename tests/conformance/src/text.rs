//! Bytes as text: printable ASCII as it is, a backslash and every other byte as `\xNN`.

use std::fmt::Write;

/// The text of bytes.
pub fn show(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for byte in bytes {
        match byte {
            0x20..=0x7e if *byte != b'\\' => text.push(char::from(*byte)),
            _ => {
                let _ = write!(text, "\\x{byte:02x}");
            }
        }
    }
    text
}

/// The bytes of a text; `None` if a backslash is not followed by `xNN`.
pub fn read(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, behind)) = rest.split_first() {
        rest = behind;
        if *byte != b'\\' {
            bytes.push(*byte);
            continue;
        }
        let digits = rest.strip_prefix(b"x")?.get(..2)?;
        bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
        rest = &rest[3..];
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        for bytes in [&b"plain, text"[..], b"back\\slash", &[0, 1, 0x7f, 0xff]] {
            assert_eq!(read(&show(bytes)).as_deref(), Some(bytes));
        }
        assert_eq!(show(&[b'a', 0, b'\\']), "a\\x00\\x5c");
        assert_eq!(read("\\n"), None);
    }
}
