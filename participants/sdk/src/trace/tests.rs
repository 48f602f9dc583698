//! A call is recorded when its caller says so, and answered in any case.

use super::*;
use uuid::Uuid;

#[tokio::test]
async fn only_what_the_caller_records_is_recorded() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let tracer = Tracer::start("http://127.0.0.1:9", "shop").expect("a tracer");
    let saga = Uuid::from_u128(0x0193);
    let caller = |op| Caller {
        saga,
        step: "hold".to_owned(),
        op,
        status_of: CallOp::Action,
        attempt: 3,
        round: 0,
        epoch: 1,
        key: "k".to_owned(),
        callback: None,
    };
    let action = caller(CallOp::Action);
    let parent = TraceParent { trace: saga, span: SpanId::new(5), sampled: true };
    let unsampled = TraceParent { sampled: false, ..parent }.to_string();
    for header in [None, Some(""), Some("00-zz"), Some(unsampled.as_str())] {
        assert!(tracer.begin(header, "hold", &action).is_none(), "{header:?}");
    }
    let header = parent.to_string();
    let span = |op| tracer.begin(Some(&header), "hold", &caller(op)).expect("it is recorded").span;
    let (one, other) = (span(CallOp::Action), span(CallOp::Status));
    assert_eq!((one.trace, one.parent, &*one.name), (saga, Some(SpanId::new(5)), "shop.hold"));
    assert_eq!(&*other.name, "shop.hold status");
    assert_ne!(one.id, other.id, "a repeat is a span of its own");
}
