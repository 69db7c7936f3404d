//! The name a store has in a database: it tells how its rows are laid out, so that rows are never read in a layout they were
//! not written in. A store whose layout changes is thereby a new one, restored from its changelog.

use crate::{StoreKind, StoreSpec, WindowOrder};

/// What the rows of a store are kept under.
pub(crate) fn layout_name(spec: &StoreSpec) -> String {
    let name = &spec.name;
    let window = match &spec.kind {
        StoreKind::KeyValue => return format!("key-value/{name}"),
        // Rows begin with the number of their segment, which means nothing without its length.
        StoreKind::Session(session) => {
            let by = match session.order {
                WindowOrder::ByKey => "key",
                WindowOrder::ByTime => "time",
            };
            let interval_ms = session.segment_interval_ms();
            return format!("session-by-{by}/{interval_ms}/{name}");
        }
        StoreKind::Versioned(versioned) => {
            return format!("versioned/{}/{name}", versioned.segment_interval_ms);
        }
        StoreKind::Window(window) => window,
    };
    let kind = if window.retain_duplicates {
        "duplicates"
    } else {
        "window"
    };
    match window.order {
        // Rows begin with the number of their segment, which means nothing without its length.
        WindowOrder::ByKey => format!("{kind}-by-key/{}/{name}", window.segment_interval_ms()),
        WindowOrder::ByTime => format!("{kind}-by-time/{name}"),
    }
}
