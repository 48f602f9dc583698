//! The lock that proves which process has the file.
//!
//! The operating system drops it with the process, however that ends, so there is nothing to clean up
//! after a crash. The invariant it keeps: whoever holds the file alone knows that every other owner
//! named in it is dead.

use crate::Error;
use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{Read as _, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
};

/// A held lock; dropping it lets go.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

/// The longest text read from a lock file, in bytes.
const HOLDER_BYTES_MAX: u64 = 512;

impl Lock {
    /// Takes the lock beside the database `path`, alone or together with others that share it.
    ///
    /// # Errors
    /// [`Error::Refused`], with the name of the process that has it, or when the file cannot be made.
    pub(super) fn take(path: &Path, name: &str, shared: bool) -> Result<Lock, Error> {
        let lock_path = beside(path, ".lock");
        let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&lock_path);
        let mut file = opened.map_err(|error| {
            Error::Refused(format!("cannot open the lock file {}: {error}", lock_path.display()))
        })?;
        let locked = if shared { file.try_lock_shared() } else { file.try_lock() };
        match locked {
            Ok(()) => {
                // Only for people to read; the lock itself is what counts.
                if let Err(error) = write_holder(&mut file, name) {
                    tracing::warn!(%error, "cannot write the owner's name into the lock file");
                }
                Ok(Lock { _file: file })
            }
            Err(TryLockError::WouldBlock) => Err(refusal(path, &mut file)),
            Err(TryLockError::Error(error)) => {
                Err(Error::Refused(format!("cannot lock {}: {error}", lock_path.display())))
            }
        }
    }
}

/// The path of a file that belongs to the database `path`.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn write_holder(file: &mut File, name: &str) -> std::io::Result<()> {
    file.set_len(0)?;
    file.seek(SeekFrom::Start(0))?;
    write!(file, "{name}, process {}", std::process::id())
}

fn refusal(path: &Path, file: &mut File) -> Error {
    let mut holder = String::new();
    let read = file.take(HOLDER_BYTES_MAX).read_to_string(&mut holder);
    let holder = match (read, holder.trim()) {
        (Ok(_), holder) if !holder.is_empty() => holder,
        _ => "another process",
    };
    Error::Refused(format!(
        "{} is in use by {holder}; stop it, or start every process on this file as shared",
        path.display()
    ))
}
