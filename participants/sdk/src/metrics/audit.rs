//! What is told of a participant's audits of itself.

use super::text::Text;
use crate::audit::SoFar;

/// Writes what came of auditing so far; of laws there is nothing before the first audit.
pub(super) fn write(so_far: &SoFar, text: &mut Text) {
    if !so_far.broken.is_empty() {
        let name = "amends_participant_audit_broken";
        text.begin(name, "gauge", "rows that break a law, as the last audit found them");
        for (law, rows) in &so_far.broken {
            text.value(name, &[("law", law)], rows);
        }
    }
    let since = so_far.since.as_secs_f64();
    let says = "how long ago the last audit that came to its end began";
    text.one("amends_participant_audit_last_seconds", "gauge", says, &since);
    if let Some(took) = so_far.took {
        let name = "amends_participant_audit_duration_seconds";
        text.one(name, "gauge", "how long the last audit took", &took.as_secs_f64());
    }
    text.each("amends_participant_audit_runs_total", "audits of its own laws", "outcome", &so_far.runs);
}
