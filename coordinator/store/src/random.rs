//! Chance, from the operating system.

use crate::Error;

/// Draws 32 bytes that nobody can guess.
pub(crate) fn secret() -> Result<[u8; 32], Error> {
    let mut bytes = [0; 32];
    let drawn = getrandom::fill(&mut bytes);
    drawn.map_err(|error| Error::Unavailable(format!("the system yields no random bytes: {error}")))?;
    Ok(bytes)
}
