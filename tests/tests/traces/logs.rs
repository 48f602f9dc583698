//! What the log says of a stuck step: once, with fields to search by, and nothing of what was in a body.

use crate::{collector::Collector, world::World};
use serde_json::Value;
use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
};
use tracing_subscriber::fmt::MakeWriter;

/// Keeps what is logged.
#[derive(Debug, Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Log;

    fn make_writer(&'a self) -> Log {
        self.clone()
    }
}

impl Log {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }
}

// One thread, so that everything that is spawned logs here.
#[tokio::test]
async fn a_stuck_step_is_one_warning_with_fields_to_search_by() {
    let log = Log::default();
    let lines = tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_max_level(tracing_subscriber::filter::LevelFilter::DEBUG)
        .with_writer(log.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(lines);
    let collector = Collector::start().await;
    let world = World::start(&collector.url, "1").await;
    let saga = world.order("no", "no", "300ms").await;
    assert_eq!(saga["status"], "repair", "{saga:#}");
    world.end().await;

    let text = log.text();
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")));
    // The participant is in this process too, and may find the coordinator gone when it signs off.
    let is_ours = |line: &Value| line["target"].as_str().is_some_and(|it| it.starts_with("amends_server"));
    let warnings: Vec<Value> =
        lines.filter(|line: &Value| line["level"] == "WARN" && is_ours(line)).collect();
    let [warning] = &warnings[..] else { panic!("one warning, not {warnings:#?}") };
    assert_eq!(warning["message"], "a step cannot be undone; a repair item is open");
    for (field, expected) in [("step.name", "hold"), ("participant", "shop"), ("reason", "refused")] {
        assert_eq!(warning[field], expected, "{warning:#}");
    }
    assert_eq!(warning["saga.id"], saga["id"]);
    assert!(warning["item"].as_str().is_some_and(|item| item.len() == 36), "{warning:#}");
    assert!(!text.contains("secret"), "what is in bodies and labels is not logged: {text}");
}
