//! The report as people read it.

use super::{LawKept, Outcomes, Report, Times};
use crate::chaos::laws::word;
use amends_saga::Status;
use amends_wire::{api::RepairReason, participant::CallOp};
use std::fmt;

/// Breaches, items and causes shown.
const SHOWN_MAX: usize = 8;

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.took_ms as f64 / 1000.0;
        writeln!(f, "{}: {} sagas, seed {}, {seconds:.1} s", self.definition, self.sagas, self.seed)?;
        writeln!(f, "faults: {}\n", self.faults)?;
        self.write_outcomes(f)?;
        self.write_faults(f)?;
        self.write_causes(f)?;
        self.write_repairs(f)?;
        self.write_laws(f)?;
        self.shortcomings().iter().try_for_each(|told| writeln!(f, "note: {told}"))
    }
}

impl Report {
    fn write_outcomes(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Outcomes { completed, compensated, in_repair, abandoned, never_ended } = self.outcomes;
        let rows = [
            ("completed", completed, completed > 0),
            ("compensated", compensated, compensated > 0),
            (word(Status::Repair), in_repair, in_repair > 0),
            ("abandoned", abandoned, abandoned > 0),
            ("never ended", never_ended, true),
        ];
        for (name, count, _) in rows.iter().filter(|(_, _, shown)| *shown) {
            writeln!(f, "  {name:<12} {count:>7}")?;
        }
        let Times { p50_ms, p99_ms, max_ms } = self.times;
        writeln!(f, "  from start to end: p50 {p50_ms} ms, p99 {p99_ms} ms, at most {max_ms} ms\n")
    }

    fn write_faults(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let calls: u64 = self.calls.values().sum();
        let by: Vec<String> =
            self.calls.iter().map(|(op, count)| format!("{count} {}", plural(*op))).collect();
        writeln!(f, "{calls} calls ({}), of which met", by.join(", "))?;
        if self.injected.is_empty() {
            writeln!(f, "  no fault")?;
        }
        for (fault, count) in &self.injected {
            writeln!(f, "  {fault:<18} {count:>7}")?;
        }
        writeln!(f)
    }

    fn write_causes(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.causes.is_empty() {
            return Ok(());
        }
        writeln!(f, "why sagas turned round")?;
        for cause in self.causes.iter().take(SHOWN_MAX) {
            let step = cause.step.as_deref().unwrap_or("-");
            writeln!(f, "  {:>7}  {step}: {}", cause.sagas, crate::table::clean(&cause.message))?;
        }
        more(f, self.causes.len())?;
        writeln!(f)
    }

    fn write_repairs(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.repairs.is_empty() {
            return Ok(());
        }
        writeln!(f, "in the repair queue")?;
        for item in self.repairs.iter().take(SHOWN_MAX) {
            let reason = match item.reason {
                RepairReason::Exhausted => "exhausted",
                RepairReason::Refused => "refused",
                RepairReason::Contract => "a contract error",
                RepairReason::Anomaly => "an anomaly",
            };
            let (saga, step, operation) = (item.saga, &item.step, &item.operation);
            writeln!(
                f,
                "  saga {saga}, step {step}: {operation} is {reason} after {} attempts",
                item.attempts
            )?;
        }
        more(f, self.repairs.len())?;
        writeln!(f)
    }

    fn write_laws(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for LawKept { law, checked, broken } in &self.laws {
            let sentence = law.sentence();
            match (broken, checked) {
                (0, 0) => writeln!(f, "  -       {sentence} (not put to the test)")?,
                (0, _) => writeln!(f, "  kept    {sentence} ({checked})")?,
                _ => writeln!(f, "  BROKEN  {sentence} ({broken} of {checked})")?,
            }
            for breach in self.breaches.iter().filter(|breach| breach.law == *law).take(SHOWN_MAX) {
                let saga = breach.saga.map_or("a saga".to_owned(), |number| format!("saga {number}"));
                let id = breach.id.map_or(String::new(), |id| format!(" ({id})"));
                let step = breach.step.as_ref().map_or(String::new(), |step| format!(", step {step}"));
                writeln!(f, "            {saga}{id}{step} {}", crate::table::clean(&breach.what))?;
            }
        }
        Ok(())
    }
}

fn plural(op: CallOp) -> &'static str {
    match op {
        CallOp::Action => "actions",
        CallOp::Compensation => "compensations",
        CallOp::Confirm => "confirmations",
        CallOp::Status => "questions for a status",
    }
}

fn more(f: &mut fmt::Formatter<'_>, count: usize) -> fmt::Result {
    match count.checked_sub(SHOWN_MAX) {
        Some(more) if more > 0 => writeln!(f, "           and {more} more"),
        _ => Ok(()),
    }
}
