//! What `amends load` can be told.

use super::{
    carts::Profile,
    catalogue::{Catalogue, SKEW},
    plan::{Flash, Mix, Plan},
    site::Payment,
};
use crate::settings::{BaseUrl, Listen, Store};
use amends_wire::span::Span;
use anyhow::bail;
use std::{path::PathBuf, time::Duration};

/// The flash sale's carts a second at its beginning, in carts a second of all others, where nobody says.
const FLASH_FACTOR: f64 = 5.0;

/// Puts a shop under load.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Customers come at their own pace, however long the ones before them take, and every latency counts
from when something was due. What they do follows from --seed alone: the same seed gives the same
goods, carts, payments, refunds and duplicates. Shares are given in percent of all carts.

It starts a coordinator and a shop as processes of its own, in a folder that is gone afterwards,
unless --coordinator names one that runs. Afterwards it waits until all is at rest and compares
what every customer was told with what sagas, orders, stock and catalogue have to show.

Examples:
  amends load                                    a minute of 100 carts a second
  amends load --rate 200 --lasts 5m --hold 20s --flash --reversals-fail 20 --kill-every 15s
  amends load --payment provider --step --ships 50 --late-refunds 5 --reads 20 --quotes 2
  amends load --skus 1000000 --profile grocery --seed 42 --json > load.json
  amends load --coordinator http://127.0.0.1:7070 --rate 50

Ends with 0 when every check of the books holds, with 1 when one does not; it names which.")]
pub struct Args {
    /// Which of all days it is; the same seed gives the same day
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    pub(super) seed: u64,
    /// Different goods the shop sells; a flash sale has five more
    #[arg(long, value_name = "NUMBER", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(100..=1_000_000))]
    pub(super) skus: u32,
    /// Carts a second
    #[arg(long, value_name = "NUMBER", default_value_t = 100.0, value_parser = rate)]
    pub(super) rate: f64,
    /// So many times the carts a second from half time on; 1.75 where no number is given
    #[arg(long, value_name = "FACTOR", num_args = 0..=1, default_missing_value = "1.75", value_parser = factor)]
    pub(super) step: Option<f64>,
    /// How long carts arrive
    #[arg(long, value_name = "TIME", default_value = "60s")]
    pub(super) lasts: Span,
    /// How large carts are
    #[arg(long, value_enum, default_value_t = Profile::Retail)]
    pub(super) profile: Profile,
    /// How customers pay
    #[arg(long, value_enum, default_value_t = Payment::Signal)]
    pub(super) payment: Payment,
    /// Are submitted twice within two seconds
    #[arg(long, value_name = "PERCENT", default_value_t = 5.0, value_parser = percent)]
    pub(super) duplicates: f64,
    /// Are never paid, so that their hold expires
    #[arg(long, value_name = "PERCENT", default_value_t = 12.0, value_parser = percent)]
    pub(super) unpaid: f64,
    /// Are refunded after they are paid and before they ship, half of them in two or three parts
    #[arg(long, value_name = "PERCENT", default_value_t = 4.0, value_parser = percent)]
    pub(super) refunds: f64,
    /// Are shipped after they are paid, half of them in two parcels
    #[arg(long, value_name = "PERCENT", default_value_t = 20.0, value_parser = percent)]
    pub(super) ships: f64,
    /// Are shipped as well, and asked to be refunded after that, which is refused
    #[arg(long, value_name = "PERCENT", default_value_t = 1.0, value_parser = percent)]
    pub(super) late_refunds: f64,
    /// Are cancelled before they are paid
    #[arg(long, value_name = "PERCENT", default_value_t = 3.0, value_parser = percent)]
    pub(super) cancels: f64,
    /// How long an order waits for its payment; 15m is what shops do
    #[arg(long, value_name = "TIME", default_value_t = Span::from_secs(15))]
    pub(super) hold: Span,
    /// A flash sale of five SKUs after a third of the time: at its beginning so many carts a second, five times the
    /// rate where no number is given, and a third of that every 20 s
    #[arg(long, value_name = "NUMBER", num_args = 0..=1, value_parser = rate)]
    pub(super) flash: Option<Option<f64>>,
    /// Pieces of each of the five that the flash sale sets apart [default: 1000 to 10000, from the seed]
    #[arg(long, value_name = "NUMBER", requires = "flash", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(super) flash_units: Option<u32>,
    /// Pieces that one customer may have of the flash sale
    #[arg(long, value_name = "NUMBER", requires = "flash", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(super) flash_limit: u32,
    /// Looks at a SKU in the catalogue for each cart; real shops have 200 of them
    #[arg(long, value_name = "NUMBER", default_value_t = 2, value_parser = clap::value_parser!(u32).range(0..=1_000))]
    pub(super) reads: u32,
    /// Questions to the inventory whether a cart can be had, for each cart; real shops have 20 of them
    #[arg(long, value_name = "NUMBER", default_value_t = 1, value_parser = clap::value_parser!(u32).range(0..=1_000))]
    pub(super) quotes: u32,
    /// Calls that undo something and fail, half of them after they took effect
    #[arg(long, value_name = "PERCENT", default_value_t = 0.0, value_parser = percent)]
    pub(super) reversals_fail: f64,
    /// Kill one of its own processes so often while carts arrive, each in turn
    #[arg(long, value_name = "TIME")]
    pub(super) kill_every: Option<Span>,
    /// What keys and order numbers begin with [default: from the seed]
    #[arg(long, value_name = "NAME", value_parser = run_name)]
    pub(super) run: Option<String>,
    /// How long a coordinator that does not answer is asked again
    #[arg(long, value_name = "TIME", default_value = "120s")]
    pub(super) patience: Span,
    /// Where its own coordinator and shop keep their databases
    #[arg(long, value_name = "DIR")]
    pub(super) data: Option<PathBuf>,
    /// Serves one of the shop's services for a load that started it
    #[arg(long, hide = true, value_name = "NAME", requires = "store", requires = "listen")]
    pub(super) serve: Option<String>,
    /// Where that service keeps its data
    #[arg(long, hide = true, value_name = "STORE")]
    pub(super) store: Option<Store>,
    /// Where that service listens
    #[arg(long, hide = true, value_name = "ADDRESS")]
    pub(super) listen: Option<Listen>,
    /// The order service that it asks about holds whose time is up
    #[arg(long, hide = true, value_name = "URL")]
    pub(super) order: Option<BaseUrl>,
    /// The inventory whose changes that service follows
    #[arg(long, hide = true, value_name = "URL")]
    pub(super) inventory: Option<BaseUrl>,
}

impl Args {
    /// Makes up the day.
    ///
    /// # Errors
    /// When more is to become of all carts than there are carts.
    pub(super) fn plan(&self) -> anyhow::Result<Plan> {
        let shares = self.unpaid + self.cancels + self.refunds + self.ships + self.late_refunds;
        if shares > 100.0 {
            bail!(
                "--unpaid, --cancels, --refunds, --ships and --late-refunds are {shares} % together; make them 100 or less"
            );
        }
        let sale = self.flash.map(|peak| Flash {
            peak: peak.unwrap_or(self.rate * FLASH_FACTOR),
            limit: i64::from(self.flash_limit),
            units: self.flash_units,
        });
        let mix = Mix {
            profile: self.profile,
            rate: self.rate,
            step: self.step.unwrap_or(1.0),
            lasts: time(self.lasts),
            duplicates: self.duplicates,
            unpaid: self.unpaid,
            cancels: self.cancels,
            refunds: self.refunds,
            ships: self.ships,
            regrets: self.late_refunds,
            reads: self.reads,
            quotes: self.quotes,
            sale,
        };
        Ok(Plan::new(self.seed, Catalogue::new(self.seed, self.skus, SKEW), mix))
    }

    /// Whether anybody pays through the payment service.
    pub(super) fn needs_payments(&self) -> bool {
        self.payment == Payment::Provider || self.flash.is_some()
    }
}

/// A span as time that passes.
pub(super) fn time(span: Span) -> Duration {
    Duration::from_millis(span.millis().0)
}

fn percent(text: &str) -> Result<f64, String> {
    let share = text.parse::<f64>().ok().filter(|share| (0.0..=100.0).contains(share));
    share.ok_or_else(|| "expected a share from 0 to 100".to_owned())
}

fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse::<f64>().ok().filter(|rate| (0.01..=100_000.0).contains(rate));
    rate.ok_or_else(|| "expected carts a second, from 0.01 to 100000".to_owned())
}

fn run_name(text: &str) -> Result<String, String> {
    let fits = text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    if fits && (1..=32).contains(&text.len()) {
        return Ok(text.to_owned());
    }
    Err("expected 1 to 32 lower-case letters, digits and underscores".to_owned())
}

fn factor(text: &str) -> Result<f64, String> {
    let factor = text.parse::<f64>().ok().filter(|factor| (0.1..=100.0).contains(factor));
    factor.ok_or_else(|| "expected a factor from 0.1 to 100".to_owned())
}
