//! What one exchange makes of answers that came over a real socket.

use super::*;
use http::StatusCode;
use wiremock::{
    Mock, MockServer, ResponseTemplate,
    matchers::{body_string, header, method, path},
};

/// Posts to a participant that gives this answer, once.
async fn exchange(answer: ResponseTemplate) -> Reply {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let participant = MockServer::start().await;
    Mock::given(method("POST"))
        .and(path("/hold"))
        .and(header("saga-attempt", "1"))
        .and(body_string("{}"))
        .respond_with(answer)
        .expect(1)
        .mount(&participant)
        .await;
    let url: Url = format!("{}/hold", participant.uri()).parse().expect("a URL");
    let mut headers = HeaderMap::new();
    headers.insert("saga-attempt", http::HeaderValue::from_static("1"));
    let transport = HttpTransport::new().expect("a client");
    transport.post(&url, headers, Bytes::from_static(b"{}")).await.expect("an answer")
}

#[tokio::test]
async fn status_body_and_retry_after_come_as_they_were_sent() {
    let sent = ResponseTemplate::new(503).insert_header("retry-after", "7").set_body_string("[1]");
    let reply = exchange(sent).await;
    assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(reply.retry_after, Some(Millis(7_000)));
    assert_eq!(reply.body, Ok(Bytes::from_static(b"[1]")));
}

#[tokio::test]
async fn retry_after_may_be_a_date_and_one_that_has_passed_is_no_wait() {
    for (date, least, most) in
        [("Sun, 06 Nov 1994 08:49:37 GMT", 0, 0), ("Fri, 01 Jan 2100 00:00:00 GMT", 1_000, u64::MAX)]
    {
        let reply = exchange(ResponseTemplate::new(429).insert_header("retry-after", date)).await;
        let wait = reply.retry_after.expect("a wait").0;
        assert!((least..=most).contains(&wait), "{date} gives {wait} ms");
    }
    let reply = exchange(ResponseTemplate::new(429).insert_header("retry-after", "soon")).await;
    assert_eq!(reply.retry_after, None);
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_is_not_followed() {
    let elsewhere = MockServer::start().await;
    Mock::given(wiremock::matchers::any())
        .respond_with(ResponseTemplate::new(200))
        .expect(0)
        .mount(&elsewhere)
        .await;
    for status in [301, 302, 303, 307, 308] {
        let redirect = ResponseTemplate::new(status).insert_header("location", elsewhere.uri().as_str());
        assert_eq!(exchange(redirect).await.status.as_u16(), status);
    }
}

#[tokio::test]
async fn an_answer_of_the_largest_size_is_read_and_a_longer_one_is_not() {
    let whole = exchange(ResponseTemplate::new(200).set_body_bytes(vec![b' '; ANSWER_BYTES_MAX])).await;
    assert_eq!(whole.body.map(|body| body.len()), Ok(ANSWER_BYTES_MAX));
    let longer = exchange(ResponseTemplate::new(200).set_body_bytes(vec![b' '; ANSWER_BYTES_MAX + 1])).await;
    assert_eq!(longer.body, Err(BodyError::TooLong));
}

#[tokio::test]
async fn a_connection_that_nobody_accepts_is_refused() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let port = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.local_addr().expect("an address").port()
    };
    let url: Url = format!("http://127.0.0.1:{port}/hold").parse().expect("a URL");
    let error = HttpTransport::new().expect("a client").post(&url, HeaderMap::new(), Bytes::new()).await;
    assert!(matches!(error, Err(TransportError::Refused(_))), "{error:?}");
}
