//! What a verification says at its end, for people and for programs.

use super::{
    gather::{Gathered, OwnLaw},
    shop::{Compared, Found},
};
use crate::{
    output::say,
    table::{Table, Tone, clean, painted},
};
use amends_saga::Timestamp;
use amends_wire::{
    api::Time,
    audit::{Comparison, Debt, Finding, LAWS, LawResult},
};
use serde::Serialize;
use serde_json::json;

/// Findings, and debts, that are told one by one to people.
const SHOWN_MAX: usize = 20;

/// What came of it; serialised, it is what `--json` prints.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// Whether every invariant that could be checked is kept.
    pub(super) kept: bool,
    /// When reading began.
    checked_at: Time,
    /// How far back it looked.
    since: Time,
    /// Sagas that were looked at.
    sagas: usize,
    participants: Vec<Line>,
    /// Each law over all participants, then each of the participants' own.
    invariants: Vec<Invariant>,
    findings: Vec<Finding>,
    debts: Vec<Debt>,
}

/// One participant.
#[derive(Debug, Serialize)]
struct Line {
    name: String,
    /// `read`, `not offered` or `failed`.
    audit: &'static str,
    /// Why it, or the participant's own laws, could not be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    /// Steps that it told of.
    effects: usize,
    /// Those that could be judged.
    judged: u64,
    /// Those that prove nothing yet.
    in_motion: u64,
}

/// One law.
#[derive(Debug, Serialize)]
struct Invariant {
    /// Its number among the project's invariants; empty for a participant's own.
    id: String,
    /// Whose law it is; everybody's where nobody is named.
    #[serde(skip_serializing_if = "Option::is_none")]
    participant: Option<String>,
    name: String,
    law: String,
    kept: bool,
    /// What was held against it; unknown for a participant's own.
    checked: Option<u64>,
    /// How often it was found broken; of a participant's own, at least.
    broken: u64,
}

/// The numbers of the project's invariants that the shop's participants check by themselves, by the names they have there.
const OWN_IDS: [(&str, &str); 5] = [
    ("stock_is_balanced", "I16"),
    ("stock_never_negative", "I17"),
    ("no_more_comes_back_than_was_taken", "I19"),
    ("no_more_is_refunded_than_was_ordered", "I19"),
    ("states_match_what_is_open", "I21"),
];

fn own_id(name: &str) -> &'static str {
    OWN_IDS.iter().find(|(known, _)| *known == name).map_or("", |(_, id)| id)
}

impl Report {
    pub(super) fn new(gathered: &Gathered) -> Report {
        let law = |law: &amends_wire::audit::Law| Invariant {
            id: law.id.to_owned(),
            participant: None,
            name: law.name.to_owned(),
            law: law.law.to_owned(),
            kept: true,
            checked: Some(0),
            broken: 0,
        };
        Report {
            kept: true,
            checked_at: Time(Timestamp(gathered.now)),
            since: Time(Timestamp(gathered.since)),
            sagas: gathered.sagas.len(),
            participants: Vec::new(),
            invariants: LAWS.iter().map(law).collect(),
            findings: Vec::new(),
            debts: Vec::new(),
        }
    }

    /// Takes in what came of holding one participant's audit against the sagas.
    pub(super) fn audited(&mut self, comparison: Comparison, effects: usize) {
        let Comparison { participant, laws, findings, debts, judged, in_motion } = comparison;
        laws.into_iter().for_each(|law| self.law(&participant, law));
        self.findings.extend(findings);
        self.debts.extend(debts);
        let line = Line { name: participant, audit: "read", why: None, effects, judged, in_motion };
        self.participants.push(line);
    }

    /// Notes that a participant offers no audit, or why it could not be read.
    pub(super) fn not_audited(&mut self, name: &str, why: Option<String>) {
        let audit = if why.is_some() { "failed" } else { "not offered" };
        let name = name.to_owned();
        self.participants.push(Line { name, audit, why, effects: 0, judged: 0, in_motion: 0 });
    }

    /// Notes why a participant's own laws could not be read, unless worse is known of it.
    pub(super) fn laws_not_read(&mut self, name: &str, why: String) {
        if let Some(line) = self.participants.iter_mut().find(|line| line.name == name) {
            line.why.get_or_insert(why);
        }
    }

    fn law(&mut self, participant: &str, law: LawResult) {
        if let Some(known) =
            self.invariants.iter_mut().find(|known| known.id == law.id && known.name == law.name)
        {
            known.checked = known.checked.map(|checked| checked + law.checked);
            known.broken += law.broken;
            return;
        }
        self.invariants.push(Invariant {
            id: law.id,
            participant: Some(participant.to_owned()),
            name: law.name,
            law: law.law,
            kept: true,
            checked: None,
            broken: law.broken,
        });
    }

    /// Takes in what a participant says of its own laws.
    pub(super) fn own_laws(&mut self, participant: &str, laws: Vec<OwnLaw>) {
        for law in laws {
            let is_known = |known: &&mut Invariant| {
                known.participant.as_deref() == Some(participant) && known.name == law.name
            };
            if let Some(known) = self.invariants.iter_mut().find(is_known) {
                known.law = law.law;
                continue;
            }
            for row in &law.violations {
                self.findings.push(Finding {
                    name: law.name.clone(),
                    law: law.name.clone(),
                    participant: participant.to_owned(),
                    saga: None,
                    step: None,
                    message: format!("this is not so: {}", law.law),
                    detail: Some(json!({ "row": row })),
                });
            }
            // A law that is broken and shows no row is broken once.
            let broken = if law.kept { 0 } else { law.violations.len().max(1) as u64 };
            self.invariants.push(Invariant {
                id: own_id(&law.name).to_owned(),
                participant: Some(participant.to_owned()),
                name: law.name,
                law: law.law,
                kept: true,
                checked: None,
                broken,
            });
        }
    }

    /// Takes in what came of holding one participant against another.
    pub(super) fn compared(&mut self, compared: Compared) {
        let Compared { participant, law, checked, in_motion, found, failed } = compared;
        if let Some(line) = self.participants.iter_mut().find(|line| line.name == participant) {
            line.in_motion += in_motion;
        }
        if let Some(why) = failed {
            self.laws_not_read(&participant, why);
        }
        let is_it =
            |known: &&mut Invariant| known.participant.as_ref() == Some(&participant) && known.name == law;
        if let Some(known) = self.invariants.iter_mut().find(is_it) {
            (known.checked, known.broken) = (Some(checked), found.len() as u64);
        }
        self.findings.extend(found.into_iter().map(|Found { message, row }| Finding {
            name: law.to_owned(),
            law: law.to_owned(),
            participant: participant.clone(),
            saga: None,
            step: None,
            message,
            detail: Some(json!({ "row": row })),
        }));
    }

    /// Says of each law, and of all, whether it is kept.
    pub(super) fn finish(mut self) -> Report {
        self.invariants.iter_mut().for_each(|law| law.kept = law.broken == 0);
        self.kept = self.invariants.iter().all(|law| law.kept);
        self
    }

    /// What could not be checked, and why.
    pub(super) fn unchecked(&self) -> Option<String> {
        let failed = self.participants.iter().filter_map(|one| one.why.as_ref().map(|why| (&one.name, why)));
        let failed: Vec<String> = failed.map(|(name, why)| format!("{name}: {why}")).collect();
        (!failed.is_empty()).then(|| failed.join("; "))
    }

    /// Prints it for people.
    pub(super) fn print(&self) {
        let mut table = Table::new(&["participant", "audit", "effects", "judged", "in motion"]);
        for one in &self.participants {
            let tone = match one.audit {
                "read" => Tone::Good,
                "failed" => Tone::Bad,
                _ => Tone::Faint,
            };
            let counts =
                [one.effects as u64, one.judged, one.in_motion].map(|n| (n.to_string(), Tone::Plain));
            let [effects, judged, in_motion] = counts;
            table.toned([
                (one.name.clone(), Tone::Plain),
                (one.audit.to_owned(), tone),
                effects,
                judged,
                in_motion,
            ]);
        }
        table.print();
        say!();
        self.invariants_table().print();
        say!();
        self.findings.iter().take(SHOWN_MAX).for_each(print_finding);
        if self.findings.len() > SHOWN_MAX {
            say!("and {} more findings; --json shows them\n", self.findings.len() - SHOWN_MAX);
        }
        for debt in self.debts.iter().take(SHOWN_MAX) {
            let Debt { participant, saga, step, message } = debt;
            say!("{} {participant} {saga} {}: {}", painted("debt", Tone::Warn), clean(step), clean(message));
        }
        if self.debts.len() > SHOWN_MAX {
            say!("and {} more debts; --json shows them", self.debts.len() - SHOWN_MAX);
        }
        say!("{}", self.summary());
    }

    fn invariants_table(&self) -> Table {
        let mut table = Table::new(&["", "invariant", "", "checked", "broken", "what it says"]);
        for law in &self.invariants {
            let name = match &law.participant {
                Some(participant) => format!("{participant}.{}", law.name),
                None => law.name.clone(),
            };
            let (word, tone) = if law.kept { ("kept", Tone::Good) } else { ("broken", Tone::Bad) };
            let broken_tone = if law.kept { Tone::Faint } else { Tone::Bad };
            table.toned([
                (law.id.clone(), Tone::Faint),
                (name, Tone::Plain),
                (word.to_owned(), tone),
                (law.checked.map_or_else(|| "·".to_owned(), |checked| checked.to_string()), Tone::Plain),
                (law.broken.to_string(), broken_tone),
                (law.law.clone(), Tone::Faint),
            ]);
        }
        table
    }

    fn summary(&self) -> String {
        let broken = self.invariants.iter().filter(|law| !law.kept).count();
        let sum = |count: fn(&Line) -> u64| self.participants.iter().map(count).sum::<u64>();
        let looked_at = format!(
            "{} sagas and {} effects since {}, {} in motion, {} debts",
            self.sagas,
            sum(|one| one.effects as u64),
            self.since,
            sum(|one| one.in_motion),
            self.debts.len()
        );
        match broken {
            0 => format!(
                "{}: {} invariants over {looked_at}",
                painted("kept", Tone::Good),
                self.invariants.len()
            ),
            _ => format!(
                "{}: {broken} of {} invariants, {} findings over {looked_at}",
                painted("broken", Tone::Bad),
                self.invariants.len(),
                self.findings.len()
            ),
        }
    }
}

fn print_finding(finding: &Finding) {
    let saga = finding.saga.map(|saga| saga.to_string()).unwrap_or_default();
    let step = finding.step.as_deref().unwrap_or_default();
    let about = format!("{} {saga} {}", finding.participant, clean(step));
    let name = painted(&clean(&finding.name), Tone::Bad);
    say!("{name} {}: {}", about.trim_end(), clean(&finding.message));
    if let Some(detail) = &finding.detail {
        say!("  {}", painted(&clean(&detail.to_string()), Tone::Faint));
    }
}
