//! What is a token, what is none, and whose it is.

use super::*;

const NOW: i64 = 1_700_000_000_000;

#[test]
fn a_token_is_good_for_its_customer_until_it_is_too_old() {
    let tokens = Tokens::new(b"a secret");
    let issued = tokens.issue("ada", NOW).expect("randomness");
    assert_eq!((issued.token.len(), issued.expires_at), (48, NOW + LIFE_MS));
    for (customer, now, expected) in [
        ("ada", NOW, Ok(())),
        ("ada", NOW + LIFE_MS - 1, Ok(())),
        ("ada", NOW + LIFE_MS, Err(Misuse::Expired)),
        ("bob", NOW, Err(Misuse::Unknown)),
        ("", NOW, Err(Misuse::Unknown)),
    ] {
        assert_eq!(tokens.check(&issued.token, customer, now), expected, "{customer} at {now}");
    }
    assert_ne!(tokens.issue("ada", NOW).expect("randomness"), issued, "each is another");
    assert_eq!(Tokens::new(b"another").check(&issued.token, "ada", NOW), Err(Misuse::Unknown));
}

#[test]
fn whatever_is_changed_in_a_token_makes_it_none() {
    let tokens = Tokens::new(b"a secret");
    let token = tokens.issue("ada", NOW).expect("randomness").token;
    for at in 0..token.len() {
        let mut other = token.clone().into_bytes();
        other[at] = if other[at] == b'A' { b'B' } else { b'A' };
        let other = String::from_utf8(other).expect("ASCII");
        assert_eq!(tokens.check(&other, "ada", NOW), Err(Misuse::Unknown), "at {at}");
    }
    for other in ["", "A", &token[..47], &format!("{token}A"), &"A".repeat(48), "ä"] {
        assert_eq!(tokens.check(other, "ada", NOW), Err(Misuse::Unknown), "{other}");
    }
}
