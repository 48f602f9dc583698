//! Order tokens: what makes a button that was pressed twice one order.
//!
//! A shop front asks for a token when it shows the order form and sends it along with every submission of that form.
//! The first order placed with it takes it; any other is refused and told which order that was. A token belongs to a
//! customer and lives for [`LIFE_MS`].
//!
//! Issuing one writes nothing: a token is signed, and what is kept is the order that used it. So tokens cost the
//! database nothing until they are used, and cannot be made up.
//!
//! ```text
//! base64url( expires at, 8 bytes | nonce, 12 bytes | HMAC-SHA256 of customer and both, first 16 bytes )
//! ```

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use sqlx::SqliteConnection;

/// How long a token can be used, in milliseconds: a day.
pub const LIFE_MS: i64 = 24 * 3_600_000;

/// The bytes that are signed beside the customer.
const SIGNED_BYTES: usize = 20;
/// The bytes of a signature that are kept.
const TAG_BYTES: usize = 16;

/// Issues and checks tokens.
#[derive(Clone)]
pub struct Tokens {
    key: Hmac<Sha256>,
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tokens(…)")
    }
}

/// A token that was issued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issued {
    /// The token, 48 characters of base64url.
    pub token: String,
    /// Until when it can be used, in unix milliseconds.
    pub expires_at: i64,
}

/// Why a token is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Misuse {
    /// It was not issued here, or to another customer.
    #[error("this is no token of this customer; ask for one")]
    Unknown,
    /// It is too old.
    #[error("this token is no longer good; ask for another")]
    Expired,
}

impl Misuse {
    /// In one word, for machines.
    pub fn as_str(self) -> &'static str {
        match self {
            Misuse::Unknown => "unknown",
            Misuse::Expired => "expired",
        }
    }
}

impl Tokens {
    /// Tokens signed with this secret, of any length.
    pub fn new(secret: &[u8]) -> Tokens {
        let key = Hmac::new_from_slice(secret).unwrap_or_else(|_| unreachable!("HMAC takes any length"));
        Tokens { key }
    }

    /// Issues a token to a customer at `now`, in unix milliseconds.
    ///
    /// # Errors
    /// When the system has no randomness to give.
    pub fn issue(&self, customer: &str, now: i64) -> Result<Issued, getrandom::Error> {
        let mut nonce = [0; SIGNED_BYTES - 8];
        getrandom::fill(&mut nonce)?;
        let expires_at = now.saturating_add(LIFE_MS);
        let mut bytes = Vec::with_capacity(SIGNED_BYTES + TAG_BYTES);
        bytes.extend_from_slice(&expires_at.to_be_bytes());
        bytes.extend_from_slice(&nonce);
        let tag = self.sign(customer, &bytes).finalize().into_bytes();
        bytes.extend_from_slice(&tag[..TAG_BYTES]);
        Ok(Issued { token: BASE64.encode(bytes), expires_at })
    }

    /// Says whether a customer may use a token at `now`; whether it was used is the orders' to say.
    ///
    /// # Errors
    /// See [`Misuse`].
    pub fn check(&self, token: &str, customer: &str, now: i64) -> Result<(), Misuse> {
        let bytes = BASE64.decode(token).map_err(|_| Misuse::Unknown)?;
        let (signed, tag) = bytes.split_at_checked(SIGNED_BYTES).ok_or(Misuse::Unknown)?;
        if tag.len() != TAG_BYTES {
            return Err(Misuse::Unknown);
        }
        self.sign(customer, signed).verify_truncated_left(tag).map_err(|_| Misuse::Unknown)?;
        let expires_at = signed.first_chunk().map_or(0, |bytes| i64::from_be_bytes(*bytes));
        if now < expires_at { Ok(()) } else { Err(Misuse::Expired) }
    }

    fn sign(&self, customer: &str, signed: &[u8]) -> Hmac<Sha256> {
        self.key.clone().chain_update(signed).chain_update(customer.as_bytes())
    }
}

/// Reads the secret that tokens are signed with, making it where there is none.
///
/// # Errors
/// The database's own, and when the system has no randomness to give.
pub(crate) async fn secret(connection: &mut SqliteConnection) -> Result<String, sqlx::Error> {
    let mut fresh = [0; 32];
    getrandom::fill(&mut fresh).map_err(|error| sqlx::Error::Protocol(error.to_string()))?;
    let make = "insert into order_secret (one, secret) values (1, ?1) on conflict do nothing";
    sqlx::query(make).bind(BASE64.encode(fresh)).execute(&mut *connection).await?;
    sqlx::query_scalar("select secret from order_secret where one = 1").fetch_one(connection).await
}

#[cfg(test)]
mod tests;
