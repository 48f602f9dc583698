//! The one place of the coordinator that reads a clock. Everything else is told the time.

use amends_saga::Timestamp;
use std::time::{SystemTime, UNIX_EPOCH};

/// Returns the present time by this machine's clock; times before 1970 count as 1970.
pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
