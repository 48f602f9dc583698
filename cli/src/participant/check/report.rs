//! What a check of a participant says at its end, for people and for programs.

use super::{case::Stop, peer::Exchange, rule::Check};
use crate::{
    output::say,
    settings::BaseUrl,
    table::{Table, Tone, clean, painted},
};
use amends_saga::Timestamp;
use amends_wire::api::Time;
use serde::Serialize;

/// The most exchanges of one failure that are shown: the last ones.
const SHOWN_MAX: usize = 12;

/// The most characters of a command that people are shown; `--json` has all of it.
const COMMAND_CHARS_MAX: usize = 2000;

/// How a check ended.
#[derive(Debug, Clone)]
pub(super) enum Verdict {
    Passed,
    Failed { wrong: String, exchanges: Vec<Exchange> },
    Skipped(String),
    Unable { why: String, exchanges: Vec<Exchange> },
}

/// What came of it; serialised, it is what `--json` prints.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// Where the participant answers.
    url: String,
    checked_at: Time,
    pub(super) passed: u64,
    pub(super) failed: u64,
    pub(super) skipped: u64,
    /// Checks that could not be made.
    pub(super) unable: u64,
    checks: Vec<Line>,
}

/// One check of one operation.
#[derive(Debug, Serialize)]
struct Line {
    /// Empty for what is about the participant as a whole.
    operation: String,
    check: &'static str,
    /// `passed`, `failed`, `skipped` or `unable`.
    outcome: &'static str,
    /// What is wrong, or why it was not checked.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    /// What the contract says.
    contract: &'static str,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<&'static str>,
    /// What was sent and what came, in this order; those sent together stand in the order they ended.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    exchanges: Vec<Told>,
}

/// One exchange.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Told {
    /// A command that sends the same.
    sent: String,
    /// The status and the body, or why there is no answer.
    came: String,
}

impl Verdict {
    /// What a check and its exchanges come to.
    pub(super) fn of(checked: Result<(), Stop>, exchanges: Vec<Exchange>) -> Verdict {
        match checked {
            Ok(()) => Verdict::Passed,
            Err(Stop::Wrong(wrong)) => Verdict::Failed { wrong, exchanges },
            Err(Stop::Skipped(why)) => Verdict::Skipped(why),
            Err(Stop::Unable(why)) => Verdict::Unable { why, exchanges },
        }
    }
}

impl Report {
    pub(super) fn new(url: &BaseUrl, begun: i64) -> Report {
        let checked_at = Time(Timestamp(begun));
        Report {
            url: url.to_string(),
            checked_at,
            passed: 0,
            failed: 0,
            skipped: 0,
            unable: 0,
            checks: Vec::new(),
        }
    }

    /// Takes in how a check ended.
    pub(super) fn note(&mut self, operation: &str, check: Check, verdict: Verdict) {
        let (outcome, count, why, exchanges) = match verdict {
            Verdict::Passed => ("passed", &mut self.passed, None, Vec::new()),
            Verdict::Failed { wrong, exchanges } => ("failed", &mut self.failed, Some(wrong), exchanges),
            Verdict::Skipped(why) => ("skipped", &mut self.skipped, Some(why), Vec::new()),
            Verdict::Unable { why, exchanges } => ("unable", &mut self.unable, Some(why), exchanges),
        };
        *count += 1;
        let advice = (outcome == "failed").then(|| check.advice());
        let told: Vec<Told> = exchanges.into_iter().map(told).collect();
        let from = told.len().saturating_sub(SHOWN_MAX);
        self.checks.push(Line {
            operation: operation.to_owned(),
            check: check.name(),
            outcome,
            why,
            contract: check.contract(),
            advice,
            exchanges: told[from..].to_vec(),
        });
    }

    /// What could not be checked, and why.
    pub(super) fn unable(&self) -> Option<String> {
        let unable: Vec<String> = self
            .checks
            .iter()
            .filter(|line| line.outcome == "unable")
            .map(|line| {
                format!("{} {}: {}", line.operation, line.check, line.why.as_deref().unwrap_or_default())
            })
            .map(|text| text.trim_start().to_owned())
            .collect();
        match (unable.is_empty(), self.passed) {
            (false, _) => Some(unable.join("; ")),
            (true, 0) => Some("every check was skipped".to_owned()),
            (true, _) => None,
        }
    }

    /// Prints it for people.
    pub(super) fn print(&self) {
        let mut table =
            Table::new(&["operation", "check", "", "what the contract says, or why it was not checked"]);
        for line in &self.checks {
            let tone = match line.outcome {
                "passed" => Tone::Good,
                "failed" => Tone::Bad,
                "unable" => Tone::Warn,
                _ => Tone::Faint,
            };
            let said = match (line.outcome, &line.why) {
                ("passed" | "failed", _) | (_, None) => line.contract.to_owned(),
                (_, Some(why)) => why.clone(),
            };
            let operation = if line.operation.is_empty() { "·" } else { line.operation.as_str() };
            table.toned([
                (operation.to_owned(), Tone::Plain),
                (line.check.to_owned(), Tone::Plain),
                (line.outcome.to_owned(), tone),
                (said, Tone::Faint),
            ]);
        }
        table.print();
        say!();
        self.checks.iter().filter(|line| line.outcome == "failed").for_each(print_failure);
        say!("{}", self.summary());
    }

    fn summary(&self) -> String {
        let Report { url, passed, failed, skipped, unable, .. } = self;
        let counts =
            format!("{passed} passed, {failed} failed, {skipped} skipped, {unable} could not be checked");
        match failed {
            0 => format!("{}: {url}: {counts}", painted("kept", Tone::Good)),
            _ => format!("{}: {url}: {counts}", painted("broken", Tone::Bad)),
        }
    }
}

fn told(exchange: Exchange) -> Told {
    let came = match exchange.came {
        Ok(came) => came.said(),
        Err(why) => format!("no answer: {why}"),
    };
    Told { sent: exchange.sent.curl(), came }
}

fn print_failure(line: &Line) {
    let name = format!("{} {}", line.operation, line.check);
    let wrong = clean(line.why.as_deref().unwrap_or_default());
    say!("{} {}: {wrong}", painted("failed", Tone::Bad), name.trim_start());
    for exchange in &line.exchanges {
        let sent: String = exchange.sent.chars().take(COMMAND_CHARS_MAX).collect();
        say!("  {}  {}", painted("sent", Tone::Faint), clean(&sent));
        say!("  {}  {}", painted("came", Tone::Faint), clean(&exchange.came));
    }
    say!("  {}  {}", painted("contract", Tone::Faint), line.contract);
    say!("  {}  {}\n", painted("do", Tone::Faint), line.advice.unwrap_or_default());
}
