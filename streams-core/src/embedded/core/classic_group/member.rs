//! A member of a classic group.

use bytes::Bytes;

use crate::embedded::core::RequestId;

/// A member of the group.
#[derive(Clone, Debug)]
pub(crate) struct ClassicMember {
    pub(crate) instance_id: Option<String>,
    pub(crate) client_id: String,
    pub(crate) client_host: String,
    pub(crate) assignment: Bytes,
    pub(super) session_timeout_ms: i32,
    pub(super) rebalance_timeout_ms: i32,
    pub(super) protocols: Vec<(String, Bytes)>,
    pub(super) session_deadline_ms: i64,
    pub(super) awaiting_join: Option<RequestId>,
    pub(super) awaiting_sync: Option<RequestId>,
    pub(super) has_synced: bool,
}

impl ClassicMember {
    /// What the member said about itself for this protocol.
    pub(crate) fn metadata(&self, protocol: &str) -> Bytes {
        self.protocols
            .iter()
            .find(|(name, _)| name == protocol)
            .map(|(_, metadata)| metadata.clone())
            .unwrap_or_default()
    }

    pub(super) fn is_awaiting(&self) -> bool {
        self.awaiting_join.is_some()
    }

    pub(super) fn renew_session(&mut self, now_ms: i64) {
        self.session_deadline_ms = now_ms + i64::from(self.session_timeout_ms);
    }
}
