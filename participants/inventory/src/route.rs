//! By which way a record's stock is taken.

/// The way a record's stock is taken. The numbers are those of the column `mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(i64)]
pub enum Mode {
    /// Calls that wait together share a transaction.
    #[default]
    Merged = 1,
    /// Every call has a transaction of its own.
    Row = 2,
}

impl Mode {
    /// Reads the column.
    pub fn of(code: i64) -> Option<Mode> {
        match code {
            1 => Some(Mode::Merged),
            2 => Some(Mode::Row),
            _ => None,
        }
    }
}
