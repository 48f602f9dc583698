//! How a command ends, as the shell sees it.

use std::process::ExitCode;

/// What a command that ran to its end says of itself. A command that could not do its work returns an error
/// instead, which is printed and ends the process with 1; bad usage ends it with 2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It did what it was asked to: 0.
    Done,
    /// It did its work, and the answer is no: 1.
    No,
    /// The books do not balance, or another promise is broken: 3.
    Broken,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        match exit {
            Exit::Done => ExitCode::SUCCESS,
            Exit::No => ExitCode::from(1),
            Exit::Broken => ExitCode::from(3),
        }
    }
}
