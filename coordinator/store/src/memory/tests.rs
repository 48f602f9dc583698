//! Faults and snapshots of the store in memory.
