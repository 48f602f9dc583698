//! Reading a participant's audit to its end, page by page.

use super::{Effect, Page, Query, Reported};
use std::{
    collections::{BTreeMap, HashSet},
    fmt::Display,
    future::Future,
};
use uuid::Uuid;

/// The most findings of one participant that are kept; a broken table breaks in every row.
const REPORTED_MAX: usize = 10_000;

/// What a participant says of itself, all pages together.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Audited {
    /// From when on.
    pub since: i64,
    /// The newest state of each step, ascending by saga and step.
    pub effects: Vec<Effect>,
    /// Steps that a page shows applied twice at the same moment.
    pub doubled: Vec<(Uuid, String)>,
    /// What it found wrong by itself, each once.
    pub findings: Vec<Reported>,
}

/// Why an audit could not be read to its end.
#[derive(Debug, thiserror::Error)]
pub enum ReadError<E: Display> {
    /// A page could not be fetched.
    #[error("{0}")]
    Fetch(E),
    /// A page sends to a page that was read before.
    #[error("the audit never ends: it gives the cursor \"{0}\" twice")]
    Endless(String),
    /// There is more than is wanted.
    #[error("the audit has more than {0} effects; ask for a shorter time")]
    TooMuch(usize),
}

/// Reads every page, at most `effects_max` effects in all, and brings them together.
///
/// `fetch` gets one page; how, and how patiently, is its own affair.
///
/// # Errors
/// Whatever `fetch` says, pages without an end, and more effects than `effects_max`.
pub async fn read_all<E, F, R>(
    query: Query,
    effects_max: usize,
    mut fetch: F,
) -> Result<Audited, ReadError<E>>
where
    E: Display,
    F: FnMut(Query) -> R,
    R: Future<Output = Result<Page, E>>,
{
    let mut gathering = Gathering::default();
    let mut cursors = HashSet::new();
    let mut query = query;
    let since = query.since;
    loop {
        let page = fetch(query.clone()).await.map_err(ReadError::Fetch)?;
        gathering.add(page.effects, page.findings);
        if gathering.steps.len() > effects_max {
            return Err(ReadError::TooMuch(effects_max));
        }
        let Some(next) = page.next else { return Ok(gathering.finish(since)) };
        if !cursors.insert(next.clone()) {
            return Err(ReadError::Endless(next.chars().take(80).collect()));
        }
        query.cursor = Some(next);
    }
}

#[derive(Default)]
struct Gathering {
    steps: BTreeMap<(Uuid, String), Effect>,
    doubled: Vec<(Uuid, String)>,
    findings: Vec<Reported>,
    told: HashSet<String>,
}

impl Gathering {
    fn add(&mut self, effects: Vec<Effect>, findings: Vec<Reported>) {
        for effect in effects {
            self.add_effect(effect);
        }
        for finding in findings {
            let text = serde_json::to_string(&finding).unwrap_or_default();
            if self.findings.len() < REPORTED_MAX && self.told.insert(text) {
                self.findings.push(finding);
            }
        }
    }

    /// The later of two counts; two that are applied at one moment are two effects.
    fn add_effect(&mut self, effect: Effect) {
        let key = (effect.saga, effect.step.clone());
        let Some(known) = self.steps.get_mut(&key) else {
            self.steps.insert(key, effect);
            return;
        };
        let both_applied = known.op_state == super::EffectState::Applied && known.op_state == effect.op_state;
        if known.at == effect.at && both_applied {
            self.doubled.push(key);
        } else if effect.at >= known.at {
            *known = effect;
        }
    }

    fn finish(mut self, since: i64) -> Audited {
        self.doubled.sort_unstable();
        self.doubled.dedup();
        let effects = self.steps.into_values().collect();
        Audited { since, effects, doubled: self.doubled, findings: self.findings }
    }
}
