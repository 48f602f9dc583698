//! Webhooks: whoever is configured is told when a repair item opens, grows old, or is settled.
//!
//! The store puts an event into its outbox in the transaction of the change it tells of; here it is delivered, signed
//! as Standard Webhooks describes, until the receiver answers 2xx or three days have passed. A message comes at least
//! once, with the same `webhook-id` on every attempt. The invariants: **an event outlives the coordinator**, since it
//! leaves the outbox only when it is done with; **one hook never holds up another**, since each has its own hands.
//!
//! ```json
//! { "type": "repair.opened", "timestamp": "2026-11-21T06:00:00.000Z", "data": { "id": "…", "saga": "…", "status": "open" } }
//! ```
//!
//! `data` is the item as it is when the message is sent, with the newest errors only; `level` is `warn` or `page` when
//! the type is `repair.escalated`.

mod deliver;

pub(crate) use deliver::run;

use crate::address;
use amends_saga::hash::Mix;
use amends_store::repairs::Told;
use amends_wire::participant::Secret;
use reqwest::Url;
use std::{fmt, str::FromStr, sync::Arc};

/// Somebody who is told.
#[derive(Clone, PartialEq, Eq)]
pub struct Hook {
    url: Url,
    secret: Option<Secret>,
    events: Vec<HookEvent>,
}

/// What somebody is told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HookEvent {
    /// A repair item was opened.
    Opened,
    /// A repair item has grown old.
    Escalated,
    /// A repair item was settled.
    Settled,
}

/// Why a hook cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HookError {
    /// Its address is none that is ever called.
    #[error("the hook's address {0}")]
    Address(String),
    /// Its secret is none.
    #[error("the hook's secret: {0}")]
    Secret(String),
    /// It is told of nothing.
    #[error("the hook {0} names no event; leave \"events\" out for all of them")]
    NoEvents(String),
    /// Two hooks have the same address.
    #[error("the hook {0} stands twice; name all of its events in one place")]
    Twice(String),
    /// There are more than is borne.
    #[error("{0} hooks are more than {HOOKS_MAX}")]
    TooMany(usize),
}

/// The most hooks.
pub const HOOKS_MAX: usize = 32;

impl HookEvent {
    /// All of them.
    pub const ALL: [HookEvent; 3] = [HookEvent::Opened, HookEvent::Escalated, HookEvent::Settled];

    /// The word in messages and configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            HookEvent::Opened => "repair.opened",
            HookEvent::Escalated => "repair.escalated",
            HookEvent::Settled => "repair.settled",
        }
    }

    fn told(self) -> Told {
        match self {
            HookEvent::Opened => Told::Opened,
            HookEvent::Escalated => Told::Escalated,
            HookEvent::Settled => Told::Settled,
        }
    }
}

impl From<Told> for HookEvent {
    fn from(told: Told) -> HookEvent {
        match told {
            Told::Opened => HookEvent::Opened,
            Told::Escalated => HookEvent::Escalated,
            Told::Settled => HookEvent::Settled,
        }
    }
}

impl FromStr for HookEvent {
    type Err = String;
    fn from_str(text: &str) -> Result<HookEvent, String> {
        HookEvent::ALL.into_iter().find(|event| event.as_str() == text).ok_or_else(|| {
            let shown: String = text.chars().take(40).collect();
            format!("\"{}\" is not repair.opened, repair.escalated or repair.settled", shown.escape_debug())
        })
    }
}

impl Hook {
    /// A hook at an address: `http` or `https`, without user information.
    ///
    /// `secret` is `whsec_` and base64, as Standard Webhooks writes it; without one messages are not signed.
    ///
    /// # Errors
    /// [`HookError`]; it does not repeat the secret.
    pub fn new(url: &str, secret: Option<&str>, events: Vec<HookEvent>) -> Result<Hook, HookError> {
        let url = address::check_target(url).map_err(HookError::Address)?;
        let secret = secret.map(Secret::parse).transpose().map_err(HookError::Secret)?;
        if events.is_empty() {
            return Err(HookError::NoEvents(place(&url)));
        }
        Ok(Hook { url, secret, events })
    }

    /// Checks that hooks can stand beside each other.
    ///
    /// # Errors
    /// [`HookError::Twice`] and [`HookError::TooMany`].
    pub(crate) fn check_all(hooks: &[Hook]) -> Result<(), HookError> {
        if hooks.len() > HOOKS_MAX {
            return Err(HookError::TooMany(hooks.len()));
        }
        for (i, hook) in hooks.iter().enumerate() {
            if hooks[..i].iter().any(|other| other.url == hook.url) {
                return Err(HookError::Twice(hook.place()));
            }
        }
        Ok(())
    }

    /// What the store calls it: the same for the same address. The address itself may hold a secret.
    pub(crate) fn key(&self) -> String {
        format!("{:016x}", Mix::new(0).bytes(self.url.as_str().as_bytes()).finish())
    }

    /// What it is told of, as the store has it.
    pub(crate) fn told(&self) -> Vec<Told> {
        self.events.iter().map(|event| event.told()).collect()
    }

    /// What it is told of.
    pub fn events(&self) -> &[HookEvent] {
        &self.events
    }

    /// Whether messages to it are signed.
    pub fn is_signed(&self) -> bool {
        self.secret.is_some()
    }

    /// Whether another hook has the same address.
    pub fn is_at(&self, other: &Hook) -> bool {
        self.url == other.url
    }

    /// Where it is, without what may be secret of it.
    pub fn place(&self) -> String {
        place(&self.url)
    }
}

impl fmt::Debug for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hook")
            .field("place", &self.place())
            .field("events", &self.events)
            .finish_non_exhaustive()
    }
}

fn place(url: &Url) -> String {
    url.origin().ascii_serialization()
}

/// What the store is to be told of the hooks.
pub(crate) fn for_store(hooks: &[Hook]) -> Vec<(String, Vec<Told>)> {
    hooks.iter().map(|hook| (hook.key(), hook.told())).collect()
}

/// Wakes the delivery when there may be something new in the outbox.
pub(crate) type Nudge = Arc<tokio::sync::Notify>;

#[cfg(test)]
mod tests;
