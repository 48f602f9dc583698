//! Participants that are there: found where a coordinator knows them, and asked afterwards what they have done.

use super::{
    Rehearsal, RehearsalError,
    laws::{Breach, Ending, Law, Verdict},
};
use crate::client::{Client, chain};
use amends_saga::Name;
use amends_wire::{
    api::{List, ParticipantView},
    audit::{self, Audited, Comparison, Page, Query, SagaRecord, Sagas, Terms},
    registration::{OperationTerms, Registration},
};
use reqwest::StatusCode;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// How long one page of an audit may take.
const PAGE_TIMEOUT: Duration = Duration::from_secs(10);

/// The most effects read of one participant.
const EFFECTS_MAX: usize = 1_000_000;

/// How far a participant's clock may be behind this one, in milliseconds.
const CLOCKS_APART_MS: i64 = 2_000;

impl Rehearsal {
    /// Calls the participants that are registered with a coordinator, in place of stubs: every one that the
    /// definition names, and those of the sagas that it runs: say these before.
    ///
    /// Their data changes as with any other saga. The coordinator is asked for their addresses only; the rehearsal has
    /// its own, so an audit by that one finds effects of sagas it does not know: take participants that serve nothing
    /// but tests. Where they check signatures, `secret` is what they check them with.
    ///
    /// # Errors
    /// [`RehearsalError::Participant`] when one is not registered, [`RehearsalError::Coordinator`] when the coordinator
    /// does not answer.
    pub async fn registered_with(
        mut self,
        coordinator: &Client,
        secret: Option<&str>,
    ) -> Result<Rehearsal, RehearsalError> {
        let known: List<ParticipantView> = coordinator
            .get("/v1/participants", &[])
            .await
            .map_err(|error| RehearsalError::Participant(chain(&error)))?;
        let called = self.texts().flat_map(|text| text.operations());
        let needed: BTreeSet<Name> = called.map(|one| one.participant).collect();
        for name in needed {
            let Some(view) = known.items.iter().find(|view| view.name == name) else {
                let at = coordinator.base();
                return Err(RehearsalError::Participant(format!(
                    "participant \"{name}\" is not registered with {at}; start it, or rehearse against stubs"
                )));
            };
            self = self.participant(name, registration(view, secret)?);
        }
        Ok(self)
    }
}

/// A participant as it would register itself.
fn registration(view: &ParticipantView, secret: Option<&str>) -> Result<Registration, RehearsalError> {
    let mut operations = BTreeMap::new();
    for (operation, terms) in &view.operations {
        let terms: OperationTerms = serde_json::from_value(terms.clone()).map_err(|error| {
            let name = &view.name;
            RehearsalError::Participant(format!(
                "what \"{name}\" says of \"{operation}\" cannot be read: {error}"
            ))
        })?;
        operations.insert(operation.clone(), terms);
    }
    let gone = |healthy: Option<bool>| healthy == Some(false);
    let mut instances: Vec<String> =
        view.instances.iter().filter(|one| !gone(one.healthy)).map(|one| one.url.clone()).collect();
    if instances.is_empty() {
        instances = view.instances.iter().map(|one| one.url.clone()).collect();
    }
    Ok(Registration { instances, operations, secret: secret.map(str::to_owned), health: None, ttl: None })
}

/// What participants say of themselves after a rehearsal that began at this time, held against its sagas.
///
/// A participant that offers no audit is left out.
///
/// # Errors
/// When an audit cannot be read to its end.
pub(super) async fn check(
    participants: &BTreeMap<Name, Registration>,
    endings: &[Ending],
    began_ms: i64,
    verdict: &mut Verdict,
) -> Result<(), RehearsalError> {
    if participants.is_empty() {
        return Ok(());
    }
    let mut sagas = Sagas::default();
    for ending in endings {
        if let Some(view) = &ending.view {
            sagas.add(SagaRecord::read(view, &ending.journal));
        }
    }
    for (name, registration) in participants {
        let now = amends_server::clock::now().0;
        let Some(audited) = read(name, registration, began_ms - CLOCKS_APART_MS).await? else { continue };
        let traceless = registration.operations.iter().filter(|(_, terms)| !terms.barrier);
        let terms = Terms {
            // What is at rest here is at rest there: nothing is under way any more.
            now: now + CLOCKS_APART_MS,
            settle_ms: 0,
            traceless: traceless.map(|(operation, _)| operation.to_string()).collect(),
        };
        tell(&audit::compare(name, &own(audited, &sagas), &sagas, &terms), endings, verdict);
    }
    Ok(())
}

/// What an audit says about these sagas; others may be at work there at the same time.
fn own(mut audited: Audited, sagas: &Sagas) -> Audited {
    audited.effects.retain(|effect| sagas.has(effect.saga));
    audited.doubled.retain(|(saga, _)| sagas.has(*saga));
    audited.findings.retain(|finding| finding.saga.is_some_and(|saga| sagas.has(saga)));
    audited
}

fn tell(comparison: &Comparison, endings: &[Ending], verdict: &mut Verdict) {
    *verdict.checked.entry(Law::BooksAgree).or_default() += comparison.judged;
    for finding in &comparison.findings {
        let ending = endings.iter().find(|ending| Some(ending.id) == finding.saga);
        verdict.breaches.push(Breach {
            law: Law::BooksAgree,
            saga: ending.map(|ending| ending.number),
            id: finding.saga,
            step: finding.step.clone(),
            what: format!("({}, {}): {}", finding.participant, finding.name, finding.message),
        });
    }
}

/// Reads a participant's audit; `None` when it offers none.
async fn read(
    name: &Name,
    registration: &Registration,
    since: i64,
) -> Result<Option<Audited>, RehearsalError> {
    let Some(base) = registration.instances.first() else { return Ok(None) };
    let at = format!("{}{}", base.trim_end_matches('/'), audit::PATH);
    let failed =
        |why: String| RehearsalError::Participant(format!("the audit of \"{name}\" cannot be read: {why}"));
    let client = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
    let client = client.timeout(PAGE_TIMEOUT).build().map_err(|error| failed(chain(&error)))?;
    match page(&client, &at, Query::since(since)).await {
        Ok(None) => return Ok(None),
        Ok(Some(_)) => {}
        Err(why) => return Err(failed(why)),
    }
    let fetch = |query: Query| {
        let (client, at) = (client.clone(), at.clone());
        async move { page(&client, &at, query).await.map(Option::unwrap_or_default) }
    };
    audit::read_all(Query::since(since), EFFECTS_MAX, fetch)
        .await
        .map(Some)
        .map_err(|error| failed(chain(&error)))
}

/// One page; `None` when there is no such thing.
async fn page(client: &reqwest::Client, at: &str, query: Query) -> Result<Option<Page>, String> {
    let answer = client.get(at).query(&query).send().await.map_err(|error| chain(&error))?;
    match answer.status() {
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => Ok(None),
        status if status.is_success() => answer.json().await.map(Some).map_err(|error| chain(&error)),
        status => Err(format!("it answered {status}")),
    }
}
