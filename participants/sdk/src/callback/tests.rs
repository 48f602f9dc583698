//! What a callback looks like, and what it makes of the coordinator's answers.

use super::*;
use serde_json::json;
use wiremock::{
    Mock, MockServer, ResponseTemplate,
    matchers::{body_json, method, path},
};

const CALL: (Uuid, &str, CallOp) = (Uuid::from_u128(7), "print[0]", CallOp::Action);

fn callback(url: &str) -> Callback {
    Callback::read(CALL, Some(url), Some("t0k3n")).expect("it is read").expect("it is there")
}

#[test]
fn only_a_plain_address_with_its_token_is_read() {
    let long = format!("http://localhost/{}", "a".repeat(URL_BYTES_MAX));
    let good = Some("http://127.0.0.1:7070/v1/sagas/1/steps/print%5B0%5D/answer");
    for (url, token, says) in [
        (None, None, None),
        (good, Some("t"), None),
        (good, None, Some("given together")),
        (None, Some("t"), Some("given together")),
        (good, Some(""), Some("1 to 512 bytes")),
        (Some("ftp://localhost/"), Some("t"), Some("http or https")),
        (Some("http://ada:pw@localhost/"), Some("t"), Some("without user info")),
        (Some("/v1/sagas"), Some("t"), Some("http or https")),
        (Some(long.as_str()), Some("t"), Some("2048 bytes")),
    ] {
        let read = Callback::read(CALL, url, token);
        match says {
            None => assert_eq!(read.expect("it is read").is_some(), url.is_some(), "{url:?}"),
            Some(says) => {
                let problem = read.expect_err("it is refused");
                let detail = problem.detail.as_str();
                assert!(detail.contains(says), "{url:?}: {detail}");
            }
        }
    }
}

#[test]
fn it_survives_as_json_and_never_shows_its_token() {
    let callback = callback("http://localhost/answer");
    let text = serde_json::to_string(&callback).expect("plain JSON");
    assert_eq!(serde_json::from_str::<Callback>(&text).expect("it is read back"), callback);
    let shown = format!("{callback:?}");
    assert!(shown.contains("print[0]") && !shown.contains("t0k3n"), "{shown}");
}

async fn check(reply: Reply, body: Value, answers: &[u16], expected: Result<(), &str>) {
    let server = MockServer::start().await;
    let (last, first) = answers.split_last().expect("an answer");
    for status in first {
        Mock::given(method("POST"))
            .respond_with(ResponseTemplate::new(*status))
            .up_to_n_times(1)
            .mount(&server)
            .await;
    }
    Mock::given(method("POST"))
        .and(path("/answer"))
        .and(body_json(body))
        .respond_with(ResponseTemplate::new(*last).set_body_json(json!({ "detail": "as said" })))
        .mount(&server)
        .await;
    let told = callback(&format!("{}/answer", server.uri())).answer(&reply).await;
    match (told, expected) {
        (Ok(()), Ok(())) => {}
        (Err(error), Err(says)) => assert!(error.to_string().contains(says), "{error}"),
        (told, expected) => panic!("{answers:?}: {told:?}, not {expected:?}"),
    }
    assert_eq!(server.received_requests().await.expect("recorded").len(), answers.len());
}

#[tokio::test]
async fn an_answer_is_sent_until_it_is_taken_or_definitely_not() {
    let done = json!({ "token": "t0k3n", "status": 200, "body": { "pages": 3 } });
    let no = json!({ "token": "t0k3n", "status": 409, "body": { "message": "out of paper" } });
    let refused = || Reply::refused("out of paper", json!({}));
    let output = || Reply::done(json!({ "pages": 3 }));
    check(output(), done.clone(), &[200], Ok(())).await;
    check(refused(), no.clone(), &[200], Ok(())).await;
    check(output(), done.clone(), &[503, 429, 500, 200], Ok(())).await;
    check(refused(), no, &[503, 409], Err("another answer was taken before: as said")).await;
    check(output(), done.clone(), &[401], Err("refused the answer with 401: as said")).await;
    check(output(), done, &[404], Err("refused the answer with 404")).await;
}
