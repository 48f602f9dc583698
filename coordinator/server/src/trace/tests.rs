//! What becomes a span.
