//! `amends verify`: do the participants' databases and the coordinator's sagas tell the same story?
//!
//! Reading ([`gather`]) is apart from comparing, which is `amends_wire::audit::compare` and the same that the
//! coordinator's monitor goes by, and from saying what came of it ([`report`]). Participants of a shop are held against each
//! other as well ([`shop`]). Nothing is changed anywhere.

mod gather;
mod report;
mod shop;
mod site;

use crate::{client::Client, exit::Exit, globals::Globals, progress, table};
use amends_wire::{audit::compare, participant::Secret, span::Span};
use anyhow::bail;
use gather::{Audit, Gathered, OwnLaw, Wanted};
use report::Report;
use std::{str::FromStr, time::Duration};

/// Holds what participants have done against what sagas say.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Asks every participant what its own tables say it has done for which saga (GET /saga-audit), and
by its own laws (GET /audit) where it offers them, and holds that against the sagas. Orders and
catalogue are held against whoever keeps the stock, and orders and payments against each other.
Nothing is changed. Sagas that have not ended,
and whatever has changed within the settling time, prove nothing; what an operator has decided to
leave is told as a debt, not as broken. A participant that offers no audit is told, and is not
broken either.

Examples:
  amends verify                                    the last day, at every participant
  amends verify --since 7d --participant inventory
  amends verify --since 1h --settle 10s --json | jq '.findings[]'
  amends verify --secret inventory=whsec_…         where calls are signed
  amends verify --every 10m || page-somebody       until something is broken

Exit codes: 0 every invariant is kept, 3 one is broken, 1 it could not be checked.")]
pub struct Args {
    /// How far back to look
    #[arg(long, value_name = "TIME", default_value = "24h")]
    since: Span,
    /// How long sagas and effects must have been at rest to be judged
    #[arg(long, value_name = "TIME", default_value = "60s")]
    settle: Span,
    /// Only this participant; may be given several times [default: every one that is registered]
    #[arg(long, value_name = "NAME")]
    participant: Vec<String>,
    /// What participants check signatures with, as whsec_… for all of them or as name=whsec_… for one
    #[arg(long, value_name = "[NAME=]SECRET", env = "AMENDS_PARTICIPANT_SECRET", hide_env_values = true)]
    secret: Vec<Key>,
    /// Check at most so many sagas, and so many effects of a participant; more is an error
    #[arg(long, value_name = "NUMBER", default_value_t = 200_000, value_parser = clap::value_parser!(u32).range(1..))]
    max: u32,
    /// Verify again and again, so long after the last time, until something is broken
    #[arg(long, value_name = "TIME")]
    every: Option<Span>,
}

/// What requests to participants are signed with.
#[derive(Debug, Clone)]
pub(crate) struct Key {
    /// To whom; to everybody where nobody is named.
    name: Option<String>,
    secret: Secret,
}

impl FromStr for Key {
    type Err = String;

    fn from_str(text: &str) -> Result<Key, String> {
        let (name, secret) = match text.split_once("=whsec_") {
            Some((name, _)) => (Some(name.to_owned()), &text[name.len() + 1..]),
            None => (None, text),
        };
        Ok(Key { name, secret: Secret::parse(secret).map_err(|why| why.to_string())? })
    }
}

/// Reads, compares, and says what came of it: once, or again and again until something is broken. Of those times one that
/// could not check everything is told, and the next one comes; the first must check everything, so that a wrong name or
/// address is told at once.
///
/// # Errors
/// When the coordinator does not answer, or a participant that offers an audit cannot be asked and nothing else is
/// found to be broken.
pub async fn run(args: Args, globals: &Globals) -> anyhow::Result<Exit> {
    let client = globals.client()?;
    let every = args.every.map(|every| Duration::from_millis(every.millis().0));
    if every.is_some_and(|every| every.is_zero()) {
        bail!("--every 0s leaves no pause between two verifications; choose one, such as --every 10m");
    }
    let wanted = Wanted {
        since_ms: i64::try_from(args.since.millis().0).unwrap_or(i64::MAX),
        settle_ms: i64::try_from(args.settle.millis().0).unwrap_or(i64::MAX),
        participants: args.participant,
        keys: args.secret,
        max: usize::try_from(args.max).unwrap_or(usize::MAX),
    };
    let mut verified = once(&client, &wanted, globals).await?;
    let Some(every) = every else { return Ok(verified) };
    while verified != Exit::Broken {
        tokio::time::sleep(every).await;
        verified = once(&client, &wanted, globals).await.unwrap_or_else(|error| {
            eprintln!("amends: {error:#}");
            Exit::Done
        });
    }
    Ok(verified)
}

async fn once(client: &Client, wanted: &Wanted, globals: &Globals) -> anyhow::Result<Exit> {
    let bar = progress::busy(globals, "asking the participants");
    let gathered = gather::gather(client, wanted, &bar).await;
    bar.finish_and_clear();
    let report = held_against(gathered?, wanted.settle_ms);
    if globals.json {
        table::print_json(&report)?;
    } else {
        report.print();
    }
    if !report.kept {
        return Ok(Exit::Broken);
    }
    match report.unchecked() {
        None => Ok(Exit::Done),
        Some(why) => bail!("not everything could be checked: {why}"),
    }
}

/// Compares what was read.
fn held_against(gathered: Gathered, settle_ms: i64) -> Report {
    let mut report = Report::new(&gathered);
    let compared = gathered.compared;
    for one in gathered.participants {
        match one.audit {
            Audit::Read(audited) => {
                let terms =
                    amends_wire::audit::Terms { now: gathered.now, settle_ms, traceless: one.traceless };
                let comparison = compare(&one.name, &audited, &gathered.sagas, &terms);
                report.audited(comparison, audited.effects.len());
            }
            Audit::NotOffered => report.not_audited(&one.name, None),
            Audit::Failed(why) => report.not_audited(&one.name, Some(why)),
        }
        match one.laws {
            Ok(mut laws) => {
                // By itself a participant has nothing to hold these against.
                let is_compared = |law: &OwnLaw| compared.iter().any(|one| one.law == law.name);
                laws.retain(|law| !shop::LAWS.contains(&law.name.as_str()) || is_compared(law));
                report.own_laws(&one.name, laws);
            }
            Err(why) => report.laws_not_read(&one.name, why),
        }
    }
    compared.into_iter().for_each(|one| report.compared(one));
    report.finish()
}

#[cfg(test)]
mod tests;
