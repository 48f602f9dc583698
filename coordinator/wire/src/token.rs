//! The one-time token of a callback: it proves that whoever answers a call was sent it.
//!
//! A token is computed, not stored: HMAC-SHA256 over saga, step, op and round under a secret of the store. Every
//! attempt of an op carries the same one, so whichever of them the participant has accepted can be answered. That
//! it works once is the journal's doing.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use uuid::Uuid;

/// Makes tokens and checks them. One costs a quarter of a microsecond (measured in November 2026), so none is kept.
#[derive(Clone)]
pub struct Tokens(Hmac<Sha256>);

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tokens(…)")
    }
}

impl Tokens {
    /// Tokens under a store's secret.
    pub fn new(secret: [u8; 32]) -> Tokens {
        // The half of the work that depends on the secret alone is done here, once.
        Tokens(Hmac::<Sha256>::new_from_slice(&secret).expect("HMAC takes keys of any length"))
    }

    /// The token of a call: 43 characters of base64url.
    ///
    /// `op` is `action`, `compensation` or `confirm`; `round` counts from 0.
    pub fn token(&self, saga: Uuid, step: &str, op: &str, round: u32) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(self.mac(saga, step, op, round).finalize().into_bytes())
    }

    /// Whether a token is that of this call, in constant time.
    pub fn fits(&self, token: &str, saga: Uuid, step: &str, op: &str, round: u32) -> bool {
        let given = BASE64_URL_SAFE_NO_PAD.decode(token.as_bytes()).unwrap_or_default();
        self.mac(saga, step, op, round).verify_slice(&given).is_ok()
    }

    fn mac(&self, saga: Uuid, step: &str, op: &str, round: u32) -> Hmac<Sha256> {
        let mut mac = self.0.clone();
        mac.update(saga.as_bytes());
        // Neither a step's name nor an op holds a line break, so no two calls read alike.
        mac.update(format!("{step}\n{op}\n{round}").as_bytes());
        mac
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_fits_its_call_and_no_other() {
        let (tokens, saga) = (Tokens::new([7; 32]), Uuid::from_u128(9));
        let token = tokens.token(saga, "ship[2]", "action", 0);
        assert_eq!(token.len(), 43);
        assert!(tokens.fits(&token, saga, "ship[2]", "action", 0));
        for (saga, step, op, round) in [
            (Uuid::from_u128(8), "ship[2]", "action", 0),
            (saga, "ship[3]", "action", 0),
            (saga, "ship[2]", "compensation", 0),
            (saga, "ship[2]", "action", 1),
        ] {
            assert!(!tokens.fits(&token, saga, step, op, round), "{saga} {step} {op} {round}");
        }
        assert!(!Tokens::new([8; 32]).fits(&token, saga, "ship[2]", "action", 0), "another secret");
        for broken in ["", "=", &token[1..], "é"] {
            assert!(!tokens.fits(broken, saga, "ship[2]", "action", 0), "{broken}");
        }
    }
}
