//! What two attempts must have in common.

use crate::Call;
use sha2::{Digest, Sha256};

/// The first half of SHA-256: enough, since nobody gains by a collision with himself.
pub(crate) type Hash = [u8; 16];

/// The fingerprint of an operation and its body.
///
/// `serde_json` keeps objects sorted by key and writes no space, so bodies that mean the same hash the same.
pub(crate) fn fingerprint(call: &Call) -> Hash {
    let mut text = Vec::with_capacity(256);
    text.extend_from_slice(call.operation.as_bytes());
    text.push(0);
    // Writing a value into memory cannot fail.
    let _ = serde_json::to_writer(&mut text, &call.body);
    let mut half = Hash::default();
    half.copy_from_slice(&Sha256::digest(&text)[..16]);
    half
}
