//! What the demo says: a table for people, one object for programs.

use super::story::Told;
use crate::{
    books::{Books, Check, Figures, Verdict},
    embedded::Embedded,
    output::say,
    saga::status_word,
    settings::BaseUrl,
    table::{Table, Tone, painted},
};
use amends_saga::Status;
use serde::Serialize;
use std::time::Duration;

/// Everything there is to say.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    coordinator: String,
    sagas: Vec<Told>,
    completed: usize,
    compensated: usize,
    compensated_after_failed_reversals: usize,
    books: Verdict,
    checks: Vec<Check>,
    figures: Figures,
    elapsed_ms: u128,
}

impl Report {
    /// Counts what was told.
    pub(super) fn new(sagas: Vec<Told>, books: Books, base: &BaseUrl, elapsed: Duration) -> Report {
        let count = |pick: &dyn Fn(&Told) -> bool| sagas.iter().filter(|told| pick(told)).count();
        let compensated = |told: &Told| told.status == Status::Compensated;
        Report {
            coordinator: base.to_string(),
            completed: count(&|told| told.status == Status::Completed),
            compensated: count(&compensated),
            compensated_after_failed_reversals: count(&|told| compensated(told) && told.failed_reversals > 0),
            sagas,
            books: books.verdict,
            checks: books.checks,
            figures: books.figures,
            elapsed_ms: elapsed.as_millis(),
        }
    }

    /// Whether every cart ended as it should and the books balance.
    pub(super) fn is_as_expected(&self) -> bool {
        self.books == Verdict::Balanced && self.sagas.iter().all(|told| told.as_expected)
    }

    /// Prints it for people.
    pub(super) fn print(&self) {
        let mut table =
            Table::new(&["cart", "what was in it", "what happened", "status", "undo tries", "ms"]);
        for told in &self.sagas {
            table.row([
                told.name.to_owned(),
                told.cart.clone(),
                told.happened.clone(),
                status_word(told.status).to_owned(),
                told.compensation_attempts.to_string(),
                told.ms.to_string(),
            ]);
        }
        table.print();
        say!();
        for told in &self.sagas {
            say!("{}  {}", told.name, told.explanation);
            if !told.as_expected {
                let error = told.error.as_deref().unwrap_or("no reason is known");
                let expected = status_word(told.expected);
                say!(
                    "        {}",
                    painted(&format!("this was not expected: {expected}; {error}"), Tone::Bad)
                );
            }
        }
        say!();
        let books = Books { verdict: self.books, checks: self.checks.clone(), figures: self.figures.clone() };
        books.print();
        say!();
        say!(
            "{} carts: {} completed, {} compensated ({} of them after failed reversals), in {} ms",
            self.sagas.len(),
            self.completed,
            self.compensated,
            self.compensated_after_failed_reversals,
            self.elapsed_ms
        );
    }
}

/// Says what is about to be seen.
pub(super) fn print_opening(base: &BaseUrl) {
    say!("listening on {base}");
    say!();
    say!(
        "A coordinator and a shop of three participants (inventory, order, product) run in this process, each"
    );
    say!(
        "with a database of its own. A cart is a saga: quote, reserve, order, payment, confirm, paid. When a"
    );
    say!("step cannot go on, what was done before it is undone.");
    say!();
}

/// Says what can be tried now, with the address, the executable and a saga as they are.
pub(super) fn print_what_next(embedded: &Embedded, report: &Report) {
    let base = embedded.client.base();
    let amends = executable();
    let failed = report.sagas.iter().max_by_key(|told| told.failed_reversals);
    let shown = failed.map_or("ID".to_owned(), |told| told.id.to_string());
    say!();
    say!("Everything goes on serving until Ctrl-C. In another terminal:");
    say!();
    say!("  export AMENDS_COORDINATOR={base}");
    say!("  {amends} saga list");
    say!("  {amends} saga follow {shown}");
    say!("  echo '{{\"order\":\"mine-1\",\"lines\":[{{\"sku\":1,\"qty\":2}}]}}' > cart.json");
    say!("  {amends} saga start checkout --input cart.json --key mine-1");
    say!(
        "  {amends} saga signal ID payment --payload '{{\"receipt\":\"R-1\"}}'    # the ID that start printed"
    );
    say!("  curl -s '{base}/v1/sagas?status=compensated'");
    say!("  curl -s {}", embedded.shop.inventory.join("/stock"));
    say!("  curl -s {}", embedded.shop.order.join("/orders"));
    say!("  curl -s {}", embedded.shop.inventory.join("/audit"));
}

/// How this executable was called, so that what is printed can be typed as it is.
fn executable() -> String {
    let called = std::env::args().next().unwrap_or_default();
    let plain = !called.is_empty()
        && called.chars().all(|letter| letter.is_alphanumeric() || "/._-".contains(letter));
    if plain { called } else { "amends".to_owned() }
}
