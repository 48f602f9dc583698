//! `amends participant check`: does a participant, in whatever language, keep its side of the contract?
//!
//! It plays the coordinator: it sends what deliveries come to — repeats, late calls, calls in the wrong order and at the
//! same moment, batches, and what no coordinator would send — and holds the answers against the contract. It judges by
//! answers, by what `--watch` shows and by the participant's own audit; it needs neither its source nor its database.
//!
//! [`rule`] is the list, [`checks`] how each is made, [`case`] what is sent and how patiently, [`report`] what is said.

mod case;
mod checks;
mod peer;
mod plan;
mod report;
mod request;
mod rule;
mod whole;

use crate::{exit::Exit, globals::Globals, progress, settings::BaseUrl, table};
use amends_saga::Name;
use amends_wire::{participant::Secret, span::Span};
use anyhow::bail;
use case::{Case, Ledger, Stop};
use peer::Peer;
use plan::{For, Given, Subject};
use report::{Report, Verdict};
use rule::Check;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How long a call may take where neither a flag nor the registration says: the coordinator's own default.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Checks that a participant keeps the contract, whatever language it is written in.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Plays the coordinator and sends every fault of delivery: repeats, one after the other and at once,
later attempts, actions after their compensation, compensations without an action and racing it,
batches, bodies and headers that are wrong. It does real work with the bodies it is given, and
undoes it where it can: use an instance for tests. In a body ${{ saga.id }} stands for the saga's
id, so that each saga can have an order number, or the like, of its own.

Examples:
  amends participant check http://127.0.0.1:7201 --operation charge --compensation refund \\
       --body '{\"wallet\": \"ada\", \"amount\": 5}' --status --batch 64
  amends participant check --name inventory --watch http://127.0.0.1:7101/stock?sku=1 \\
       --body hold='{\"order\": \"${{ saga.id }}\", \"lines\": [{\"sku\": 1, \"qty\": 1}]}'
  amends participant check --name wallet --body charge=@charge.json --refused charge=@broke.json
  amends participant check --name wallet --json | jq '.checks[] | select(.outcome == \"failed\")'

Exit codes: 0 every check that was made passed, 3 one failed, 1 it could not be checked.")]
pub struct Args {
    /// Where it answers [default: an instance as registered, with --name]
    #[arg(value_name = "URL", required_unless_present = "name")]
    url: Option<BaseUrl>,
    /// Read its operations and their terms from its registration at the coordinator
    #[arg(long, value_name = "NAME", value_parser = name)]
    name: Option<String>,
    /// An operation to check; may be given several times [default: every one that is registered]
    #[arg(long, value_name = "OPERATION", value_parser = name)]
    operation: Vec<String>,
    /// A body that is done, as JSON, @FILE or @- for standard input; for one operation with its name in front
    #[arg(long, value_name = "[OPERATION=]JSON")]
    body: Vec<For>,
    /// A body that is refused with 409, such as more than there is
    #[arg(long, value_name = "[OPERATION=]JSON")]
    refused: Vec<For>,
    /// What undoes an operation [default: as registered]
    #[arg(long, value_name = "[OPERATION=]COMPENSATION")]
    compensation: Vec<For>,
    /// The compensation's body, where it is not the action's
    #[arg(long, value_name = "[OPERATION=]JSON")]
    compensation_body: Vec<For>,
    /// What makes an operation final in an open saga [default: as registered]
    #[arg(long, value_name = "[OPERATION=]CONFIRM")]
    confirm: Vec<For>,
    /// An address whose JSON shows the effects, read before and after; nobody else may change it meanwhile
    #[arg(long, value_name = "URL")]
    watch: Option<reqwest::Url>,
    /// Says, without --name, that the operations answer status questions
    #[arg(long, conflicts_with = "name")]
    status: bool,
    /// Says, without --name, that the operations have a batch form for so many calls
    #[arg(long, value_name = "CALLS", conflicts_with = "name", value_parser = clap::value_parser!(u32).range(1..=1024))]
    batch: Option<u32>,
    /// The path of its health check
    #[arg(long, value_name = "PATH", default_value = "/healthz")]
    health: String,
    /// What calls are signed with, as whsec_…
    #[arg(long, value_name = "SECRET", env = "AMENDS_PARTICIPANT_SECRET", hide_env_values = true, value_parser = secret)]
    secret: Option<Secret>,
    /// How long one call may take [default: 5s, or as registered]
    #[arg(long, value_name = "TIME")]
    timeout: Option<Span>,
    /// How long a pending answer is waited for
    #[arg(long, value_name = "TIME", default_value = "30s")]
    patience: Span,
}

fn name(text: &str) -> Result<String, String> {
    Name::try_from(text.to_owned()).map(|name| name.to_string()).map_err(|error| error.to_string())
}

fn secret(text: &str) -> Result<Secret, String> {
    Secret::parse(text)
}

/// Makes every check, and says what came of it.
///
/// # Errors
/// When nobody answers, or something could not be checked and nothing else is found to be wrong.
pub async fn run(args: Args, globals: &Globals) -> anyhow::Result<Exit> {
    let (base, subjects) = planned(&args, globals).await?;
    let longest = subjects.iter().filter_map(|subject| subject.timeout).max();
    let timeout = args.timeout.map(|span| Duration::from_millis(span.millis().0));
    let timeout = timeout.unwrap_or_else(|| longest.unwrap_or(TIMEOUT).max(TIMEOUT));
    let peer = Peer::new(base, args.secret.clone(), timeout)?;
    let bar = progress::busy(globals, "checking the participant");
    let checked = everything(&args, &peer, &subjects).await;
    bar.finish_and_clear();
    let report = checked?;
    match globals.json {
        true => table::print_json(&report)?,
        false => report.print(),
    }
    if report.failed > 0 {
        return Ok(Exit::Broken);
    }
    match report.unable() {
        None => Ok(Exit::Done),
        Some(why) => bail!("not everything could be checked: {why}"),
    }
}

/// Where to call, and what.
async fn planned(args: &Args, globals: &Globals) -> anyhow::Result<(BaseUrl, Vec<Subject>)> {
    let given = Given {
        operations: args.operation.clone(),
        bodies: args.body.clone(),
        refused: args.refused.clone(),
        compensations: args.compensation.clone(),
        compensation_bodies: args.compensation_body.clone(),
        confirms: args.confirm.clone(),
        status: args.status,
        batch: args.batch,
    };
    let Some(name) = &args.name else {
        let Some(url) = &args.url else { bail!("give the participant's address, or --name") };
        return Ok((url.clone(), given.subjects()?));
    };
    let (view, url) = plan::look_up(&globals.client()?, name).await?;
    Ok((args.url.clone().unwrap_or(url), given.registered(&view)?))
}

async fn everything(args: &Args, peer: &Peer, subjects: &[Subject]) -> anyhow::Result<Report> {
    let begun = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let begun = i64::try_from(begun).unwrap_or(i64::MAX);
    let mut report = Report::new(peer.base(), begun);
    if let Err(why) = whole::reachable(peer).await {
        bail!("nobody answers at {}: {why}", peer.base());
    }
    report.note("", Check::Healthz, verdict(whole::healthz(peer, &args.health).await, peer));
    report.note("", Check::UnknownOperation, verdict(whole::unknown_operation(peer).await, peer));
    let ledger = Ledger::default();
    let mut spoken = whole::Spoken::default();
    for subject in subjects {
        let patience = Duration::from_millis(args.patience.millis().0);
        let watch = args.watch.as_ref().map(reqwest::Url::as_str);
        let case = Case { peer, subject, ledger: &ledger, patience, watch };
        all_of(&case, &mut report, &mut spoken).await;
    }
    report.note("", Check::JsonAnswers, spoken.verdict());
    report.note("", Check::SagaAudit, verdict(whole::saga_audit(peer, &ledger, begun).await, peer));
    Ok(report)
}

/// Makes every check of one operation.
async fn all_of(case: &Case<'_>, report: &mut Report, spoken: &mut whole::Spoken) {
    let mut acts = None;
    for check in Check::ALL.iter().copied().filter(|check| check.is_of_an_operation()) {
        let verdict = match acts {
            Some(false) if check.needs_the_action() => {
                Verdict::Skipped("the first action was not done".to_owned())
            }
            _ => {
                let checked = check.of(case).await;
                let exchanges = case.peer.take_exchanges();
                spoken.listen(check, &exchanges);
                Verdict::of(checked, exchanges)
            }
        };
        if check == Check::Action {
            acts = Some(!matches!(verdict, Verdict::Failed { .. } | Verdict::Unable { .. }));
        }
        report.note(&case.subject.name, check, verdict);
        case.clean().await;
    }
}

fn verdict(checked: Result<(), Stop>, peer: &Peer) -> Verdict {
    Verdict::of(checked, peer.take_exchanges())
}
