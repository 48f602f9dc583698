//! A typed client of a saga coordinator, for those who start sagas and follow them: checkout flows, back offices.
//!
//! ```no_run
//! use amends_client::{Client, Start, Status};
//! use serde_json::json;
//! use std::time::Duration;
//!
//! # async fn example() -> Result<(), amends_client::Error> {
//! let client = Client::new("http://127.0.0.1:7070")?;
//! let cart = json!({ "order": "1001", "lines": [{ "sku": 1, "qty": 2 }] });
//! let saga = client.run(Start::of("order").input(&cart).key("order-1001"), Duration::from_secs(30)).await?;
//! match saga.status {
//!     Status::Completed => println!("ordered: {:?}", saga.output),
//!     _ => println!("not ordered, and everything is as before: {:?}", saga.error),
//! }
//! # Ok(()) }
//! ```
//!
//! - **Starting** ([`Start`], [`Client::start`], [`Client::run`]) is safe to repeat, because every start has a key.
//! - **The end** comes with [`Client::wait_end`], event by event with [`Client::follow`].
//! - **Deciding** about a saga: [`Client::cancel`], [`Client::revert`], [`Client::signal`].
//! - **Open sagas** ([`Open`], [`OpenSaga`]) take branches while the work goes on.
//! - **Definitions** are written in code with [`definition`], and registered with [`Client::put_definition`].
//! - **Operators** find the queue at [`Client::repairs`].
//!
//! A client holds its connections and may be cloned freely. It asks several coordinators in turn, follows no
//! redirect, uses no proxy, and bounds every answer in size and time. Calls that may be repeated are repeated,
//! with growing pauses and the coordinator's `Retry-After`; the others only when they were certainly not taken.
//! Every failure is one of a few decisions: [`Error`].

mod catalogue;
#[cfg(feature = "definition")]
pub mod definition;
mod error;
mod follow;
mod lists;
mod open;
mod problem;
mod repairs;
mod sagas;
mod settings;
mod start;
mod transport;

pub use amends_wire::{
    self as wire, CauseKind, Name, SagaId, Status,
    api::{JournalItem, RepairFilter, RepairView, SagaView, StepStatus, StepView},
    problem::Slug,
};
pub use catalogue::Registered;
#[cfg(feature = "definition")]
pub use definition::Definition;
pub use error::{Error, Tried};
pub use open::{Branch, Open, OpenSaga};
pub use problem::{Detail, Problem};
pub use sagas::{Sagas, Signal, Signalled, has_ended};
pub use settings::Builder;
pub use start::{Start, Started};

use std::sync::Arc;

/// A client of one or several coordinators. Clones share their connections.
#[derive(Debug, Clone)]
pub struct Client {
    transport: Arc<transport::Transport>,
}

impl Client {
    /// Makes a client of one coordinator with the usual settings; nothing is sent yet.
    ///
    /// # Errors
    /// [`Error::Setup`] when the address is none.
    pub fn new(url: impl Into<String>) -> Result<Client, Error> {
        Client::builder().coordinator(url).build()
    }

    /// Makes a client with settings of one's own.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// The coordinators, in the order they were named.
    pub fn coordinators(&self) -> &[String] {
        self.transport.bases()
    }
}

/// A text as one segment of a path.
fn segment(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match is_plain(byte) {
            true => out.push(char::from(byte)),
            false => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}
