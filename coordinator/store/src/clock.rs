//! The host's clock, read in one place.

use amends_saga::Timestamp;
use std::time::{SystemTime, UNIX_EPOCH};

/// The present, by the host's clock.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
