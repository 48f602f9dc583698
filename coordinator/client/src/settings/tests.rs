//! Which settings make a client.

use crate::{Client, Error};

#[test]
fn an_address_is_a_scheme_a_host_and_perhaps_a_path() {
    let check = |text: &str, expected: Result<&str, &str>| {
        let made = Client::new(text);
        match (made, expected) {
            (Ok(client), Ok(base)) => assert_eq!(client.coordinators(), [base], "{text}"),
            (Err(Error::Setup(message)), Err(part)) => assert!(message.contains(part), "{text}: {message}"),
            (made, expected) => panic!("{text}: {made:?}, expected {expected:?}"),
        }
    };
    check("http://127.0.0.1:7070", Ok("http://127.0.0.1:7070"));
    check("http://127.0.0.1:7070/", Ok("http://127.0.0.1:7070"));
    check("https://example.test/sagas/", Ok("https://example.test/sagas"));
    check("127.0.0.1:7070", Err("no coordinator's address"));
    check("ftp://example.test", Err("http://127.0.0.1:7070"));
    check("http://me:secret@example.test", Err("token"));
    check("http://example.test/?a=b", Err("ends with the path"));
    check("", Err("no coordinator's address"));
}

#[test]
fn a_client_has_a_coordinator_and_a_token_that_fits_a_header() {
    assert!(matches!(Client::builder().build(), Err(Error::Setup(_))));
    let bad = Client::builder().coordinator("http://127.0.0.1:1").token("a\nb").build();
    assert!(matches!(bad, Err(Error::Setup(_))), "{bad:?}");
    let shown = format!("{:?}", Client::builder().coordinator("http://127.0.0.1:1").token("s3cret").build());
    assert!(!shown.contains("s3cret"), "{shown}");
}
