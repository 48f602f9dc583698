//! Standard output: what a command has to say, line by line.
//!
//! When nobody reads on, as in `amends saga list | head -1`, the process ends quietly with 141, as a program does that
//! the system ends for it; [`std::println`] would panic.

use std::{
    fmt,
    io::{ErrorKind, Write},
};

/// How a shell sees a process that was ended because nobody reads its output: 128 and the number of SIGPIPE.
const NOBODY_READS: i32 = 141;

/// Prints a line; takes what [`std::println`] takes.
macro_rules! say {
    () => { $crate::output::line(format_args!("")) };
    ($($text:tt)*) => { $crate::output::line(format_args!($($text)*)) };
}

pub(crate) use say;

/// Prints a line. Ends the process when standard output is closed.
pub fn line(text: fmt::Arguments<'_>) {
    let mut out = std::io::stdout().lock();
    if let Err(error) = writeln!(out, "{text}").and_then(|()| out.flush()) {
        if error.kind() != ErrorKind::BrokenPipe {
            eprintln!("error: standard output cannot be written: {error}");
        }
        std::process::exit(NOBODY_READS);
    }
}
