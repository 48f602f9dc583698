//! The bodies of problems and the completeness of their table.

use super::*;

#[test]
fn a_problem_is_written_with_the_members_of_rfc_9457_first() {
    let problem = Problem::new(Slug::InputDoesNotFit, "2 places do not fit")
        .with("errors", [Misfit { path: "/lines/0/qty".into(), message: "0 is less than 1".into() }]);
    assert_eq!(
        problem.to_json(),
        r#"{"type":"/problems/input_does_not_fit","title":"the input does not fit the definition","status":422,"detail":"2 places do not fit","slug":"input_does_not_fit","errors":[{"message":"0 is less than 1","path":"/lines/0/qty"}]}"#
    );
}

#[test]
fn retry_after_stands_in_the_body_too() {
    let json = Problem::new(Slug::TooManySagas, "full").retry_after(2).to_json();
    assert!(json.contains(r#""status":429"#) && json.contains(r#""retry_after":2"#), "{json}");
}

#[test]
fn a_client_reads_what_the_coordinator_writes_and_what_it_does_not_know() {
    let ours = Problem::new(Slug::KeyReused, "key \"a\"").with("saga", "0193").to_json();
    let read: ReadProblem = serde_json::from_str(&ours).expect("a problem");
    assert_eq!(read.slug.as_deref(), Some("key_reused"));
    assert_eq!(read.extra["saga"], "0193");
    assert_eq!(read.to_string(), "the key belongs to another start: key \"a\"");
    let strange: ReadProblem = serde_json::from_str("{}").expect("nothing is required");
    assert_eq!(strange.to_string(), "a problem without a description");
}

#[test]
fn every_slug_has_a_status_that_says_no_and_a_paragraph_that_says_what_to_expect() {
    for slug in Slug::ALL {
        assert!((400..=599).contains(&slug.status()), "{slug}");
        assert!(slug.about().len() > 80 && slug.about().ends_with('.'), "{slug}");
        assert!(!slug.title().ends_with('.'), "{slug}");
        assert_eq!(Slug::find(slug.as_str()), Some(*slug));
        assert!(slug.as_str().bytes().all(|b| b.is_ascii_lowercase() || b == b'_' || b.is_ascii_digit()));
    }
    let mut texts: Vec<_> = Slug::ALL.iter().map(|s| s.as_str()).collect();
    texts.sort_unstable();
    texts.dedup();
    assert_eq!(texts.len(), Slug::ALL.len(), "no two slugs share a text");
}
