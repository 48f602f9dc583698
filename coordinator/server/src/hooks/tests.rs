//! Which hooks are taken, and which are not.

use super::*;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

fn check(url: &str, secret: Option<&str>, expected: Result<&str, &str>) {
    match (Hook::new(url, secret, HookEvent::ALL.to_vec()), expected) {
        (Ok(hook), Ok(place)) => assert_eq!(hook.place(), place, "{url}"),
        (Err(error), Err(part)) => {
            let said = error.to_string();
            assert!(said.contains(part) && !said.contains("hunter2"), "{url}: {said}");
        }
        (made, _) => panic!("{url}: {made:?}, expected {expected:?}"),
    }
}

#[test]
fn an_address_is_checked_as_a_participants_is_and_not_shown_whole() {
    check("https://hooks.example.com/T0/secret?token=1", None, Ok("https://hooks.example.com"));
    check("http://127.0.0.1:9000/alerts", Some(SECRET), Ok("http://127.0.0.1:9000"));
    check("ftp://example.com/", None, Err("http:// or https://"));
    check("https://ada:hunter2@example.com/", None, Err("user information"));
    check("http://169.254.169.254/latest", None, Err("never called"));
    check("http://[::ffff:169.254.169.254]/", None, Err("never called"));
    check("nonsense", None, Err("is not a URL"));
    check("https://example.com/", Some("hunter2"), Err("whsec_"));
}

#[test]
fn hooks_are_told_apart_by_their_addresses_and_show_no_secret() {
    let hook = |url: &str| Hook::new(url, Some(SECRET), vec![HookEvent::Opened]).expect("a hook");
    let (a, b) = (hook("http://127.0.0.1/a?key=s3"), hook("http://127.0.0.1/b"));
    assert_ne!(a.key(), b.key());
    assert_eq!(Hook::check_all(&[a.clone(), b.clone()]), Ok(()));
    assert!(matches!(Hook::check_all(&[a.clone(), b, a.clone()]), Err(HookError::Twice(_))));
    let many: Vec<Hook> = (0..=HOOKS_MAX).map(|n| hook(&format!("http://127.0.0.1/{n}"))).collect();
    assert_eq!(Hook::check_all(&many), Err(HookError::TooMany(HOOKS_MAX + 1)));
    assert!(!format!("{a:?}").contains("s3") && !format!("{a:?}").contains("Mf"), "{a:?}");
    assert!(matches!(Hook::new("http://127.0.0.1/", None, vec![]), Err(HookError::NoEvents(_))));
}

#[test]
fn events_are_read_as_they_are_written() {
    for event in HookEvent::ALL {
        assert_eq!(event.as_str().parse(), Ok(event));
        assert_eq!(HookEvent::from(event.told()), event);
    }
    assert!("repair.closed".parse::<HookEvent>().is_err_and(|error| error.contains("repair.settled")));
}
