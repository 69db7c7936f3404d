//! Keys with times behind them, as their bytes are.

/// The key, the start and the end of a binary session key, which has the end first.
pub(in crate::task::stores) fn split_session_key(bytes: &[u8]) -> (&[u8], i64, i64) {
    let (rest, start) = bytes
        .split_last_chunk::<8>()
        .expect("a session key ends with its start");
    let (key, end) = rest
        .split_last_chunk::<8>()
        .expect("a session's end is in front of its start");
    (key, i64::from_be_bytes(*start), i64::from_be_bytes(*end))
}

/// The key and the window's start of a binary window key.
pub(in crate::task::stores) fn split_window_key(bytes: &[u8]) -> (&[u8], i64) {
    let (key, start) = bytes
        .split_last_chunk::<8>()
        .expect("a window key ends with its start");
    (key, i64::from_be_bytes(*start))
}
