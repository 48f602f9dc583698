//! Opening what an audit has found as anomalies.

use crate::{clock::now, monitor::Monitor};
use amends_saga::{Op, Timestamp, hash::Mix, repair::RepairStatus};
use amends_store::{Error, repairs::Item};
use amends_wire::audit::Finding;
use serde_json::json;
use uuid::Uuid;

/// The longest detail that is kept of a finding, in bytes.
const DETAIL_BYTES_MAX: usize = 16 * 1024;

/// Opens findings that are not known yet; says how many those were.
pub(super) async fn all(monitor: &Monitor, findings: &[Finding]) -> Result<usize, Error> {
    let mut opened = 0;
    for finding in findings {
        // Most are known already: those that stand are found again in every round.
        if monitor.app.store.item(anomaly_id(finding)).await?.is_some() {
            continue;
        }
        let definition = match finding.saga {
            Some(saga) => monitor.app.store.load(saga).await?.map(|stored| stored.head.definition),
            None => None,
        };
        let item = anomaly(finding, definition, now());
        if monitor.app.store.open_anomalies(std::slice::from_ref(&item)).await? == 0 {
            continue;
        }
        opened += 1;
        monitor.app.metrics.found(&finding.name);
        monitor.outbox.notify_one();
        tracing::error!(
            item = %item.item, participant = finding.participant, finding = finding.name,
            saga.id = finding.saga.map(tracing::field::display), step.name = finding.step.as_deref(),
            message = finding.message, "the audit has found an anomaly; a repair item is open"
        );
    }
    Ok(opened)
}

fn anomaly(finding: &Finding, definition: Option<String>, at: Timestamp) -> Item {
    let detail = finding.detail.as_ref().filter(|detail| detail.to_string().len() <= DETAIL_BYTES_MAX);
    let text = json!({ "name": finding.name, "message": finding.message, "detail": detail, "notes": [] });
    Item {
        item: anomaly_id(finding),
        saga: finding.saga,
        definition,
        step: finding.step.clone(),
        op: Op::Action,
        participant: finding.participant.clone(),
        operation: None,
        status: RepairStatus::Open,
        reason: None,
        number: 1,
        opened_at: at,
        first_opened_at: at,
        updated_at: at,
        assignee: None,
        settled_by: None,
        settled_how: None,
        seq: 0,
        level: 0,
        anomaly: Some(text.to_string()),
    }
}

/// The id of a finding: the same in every round and on every coordinator.
///
/// One that is about no saga is told from others of its name by what it says.
fn anomaly_id(finding: &Finding) -> Uuid {
    let (high, low) = finding.saga.map_or((0, 0), |saga| saga.as_u64_pair());
    let mut mix = Mix::new(u64::from_le_bytes(*b"anomaly!")).add(high).add(low);
    let message = if finding.saga.is_none() { finding.message.as_str() } else { "" };
    for text in [finding.participant.as_str(), &finding.name, finding.step.as_deref().unwrap_or(""), message]
    {
        mix = mix.add(text.len() as u64).bytes(text.as_bytes());
    }
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&mix.add(1).finish().to_be_bytes());
    bytes[8..].copy_from_slice(&mix.add(2).finish().to_be_bytes());
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn findings_have_ids_by_what_they_are_about() {
        let finding =
            |participant: &str, name: &str, saga: Option<u128>, step: &str, message: &str| Finding {
                name: name.to_owned(),
                law: String::new(),
                participant: participant.to_owned(),
                saga: saga.map(Uuid::from_u128),
                step: Some(step.to_owned()),
                message: message.to_owned(),
                detail: None,
            };
        let different = [
            finding("a", "bc", Some(1), "d", ""),
            finding("ab", "c", Some(1), "d", ""),
            finding("a", "bc", Some(2), "d", ""),
            finding("a", "bc", Some(1), "e", ""),
            finding("a", "bc", None, "d", "sku 7"),
            finding("a", "bc", None, "d", "sku 8"),
        ];
        let ids: BTreeSet<Uuid> = different.iter().map(anomaly_id).collect();
        assert_eq!(ids.len(), different.len());
        let told_otherwise = finding("a", "bc", Some(1), "d", "in other words");
        assert_eq!(anomaly_id(&told_otherwise), anomaly_id(&different[0]));
    }
}
