//! The sagas that are run: as they are shipped, and under a name of their own where orders wait for their payment a
//! shorter time than the shipped ones, because a definition never changes.

use super::site::Payment;
use amends_wire::span::Span;
use anyhow::bail;

const CHECKOUT: &str = include_str!("../../../sagas/checkout.yaml");
const PLACE_AND_PAY: &str = include_str!("../../../sagas/place-and-pay.yaml");
const FLASH_SALE: &str = include_str!("../../../sagas/flash-sale.yaml");
const REFUND: &str = include_str!("../../../sagas/refund.yaml");
const REFUND_IN_PARTS: &str = include_str!("../../../sagas/refund-in-parts.yaml");
const SHIP_PARTS: &str = include_str!("../../../sagas/ship-parts.yaml");
const TIME_OUT: &str = include_str!("../../../sagas/time-out.yaml");

/// Sets stock apart for an activity; what is lacking of any SKU leaves all of it where it is.
const SET_APART: &str = r#"
saga: set-apart
version: 1
deadline: 10m
input:
  type: object
  required: [activity, lines]
steps:
  - move:
      action: inventory.activity_allocate
      compensation: inventory.activity_return
      with: { activity: "${{ input.activity }}", lines: "${{ input.lines }}" }
output: { lines: "${{ steps.move.output.lines }}" }
"#;

/// Gives back to ordinary sales what an activity has not sold; refused where nothing is left.
const PUT_BACK: &str = r#"
saga: put-back
version: 1
deadline: 10m
input:
  type: object
  required: [activity]
steps:
  - move:
      action: inventory.activity_return
      compensation: inventory.activity_allocate
      with: { activity: "${{ input.activity }}" }
output: { lines: "${{ steps.move.output.lines }}" }
"#;

/// How long the shipped sagas wait for a payment: in ordinary sales, and in a flash sale.
pub(super) const HOLD: Span = Span::from_secs(15 * 60);
const HOLD_OF_FLASH: Span = Span::from_secs(5 * 60);

/// What names the sagas that place orders begin with.
const PLACING: [&str; 3] = ["checkout", "place-and-pay", "flash-sale"];

/// The names of the sagas that place orders, and the text of everything that is run.
#[derive(Debug, Clone)]
pub(super) struct Definitions {
    /// Places an order of ordinary sales.
    pub(super) checkout: String,
    /// Places an order of a flash sale.
    pub(super) sale: String,
    /// Names and texts of all that are registered.
    pub(super) texts: Vec<(String, String)>,
}

impl Definitions {
    /// Those of a shop whose customers pay so, and whose orders wait for their payment so long. What needs a payment
    /// service is left out where there is none.
    ///
    /// # Errors
    /// When orders would wait longer than the shipped sagas do, whose own deadlines follow close behind that.
    pub(super) fn new(pays: Payment, has_payments: bool, hold: Span) -> anyhow::Result<Definitions> {
        if hold > HOLD || hold.millis().0 < 1_000 {
            bail!("an order waits for its payment from 1s to {HOLD}, not {hold}; choose another --hold");
        }
        let (checkout, text) = match pays {
            Payment::Signal => waiting("checkout", CHECKOUT, HOLD, hold)?,
            Payment::Provider => waiting("place-and-pay", PLACE_AND_PAY, HOLD, hold)?,
        };
        let (sale, of_sale) = waiting("flash-sale", FLASH_SALE, HOLD_OF_FLASH, hold.min(HOLD_OF_FLASH))?;
        let always = [("refund", REFUND), ("ship-parts", SHIP_PARTS), ("time-out", TIME_OUT)];
        let mut texts = vec![(checkout.clone(), text)];
        texts.extend(always.map(|(name, text)| (name.to_owned(), text.to_owned())));
        if has_payments {
            let paid =
                [("refund-in-parts", REFUND_IN_PARTS), ("set-apart", SET_APART), ("put-back", PUT_BACK)];
            texts.push((sale.clone(), of_sale));
            texts.extend(paid.map(|(name, text)| (name.to_owned(), text.to_owned())));
        }
        Ok(Definitions { checkout, sale, texts })
    }
}

/// Whether a definition of this name places orders.
pub(super) fn places(definition: &str) -> bool {
    PLACING.iter().any(|name| definition.starts_with(name))
}

/// Whether orders that are placed by a definition of this name are paid through the payment service.
pub(super) fn charges(definition: &str) -> bool {
    places(definition) && !definition.starts_with("checkout")
}

/// A definition's name and text when its orders wait so long; its own where that is what it says itself.
fn waiting(name: &str, text: &str, shipped: Span, hold: Span) -> anyhow::Result<(String, String)> {
    if hold == shipped {
        return Ok((name.to_owned(), text.to_owned()));
    }
    let own = format!("{name}-{hold}");
    let mut text = text.replacen(&format!("saga: {name}\n"), &format!("saga: {own}\n"), 1);
    let seconds = |span: Span| span.millis().0.div_ceil(1_000);
    let mut changed = 0;
    for (from, to) in [
        (format!("timeout: {shipped}\n"), format!("timeout: {hold}\n")),
        (format!("within: {shipped}\n"), format!("within: {hold}\n")),
        (format!("pay_within_s: {}\n", seconds(shipped)), format!("pay_within_s: {}\n", seconds(hold))),
    ] {
        changed += text.matches(&from).count();
        text = text.replace(&from, &to);
    }
    if changed == 0 {
        bail!("the shipped {name} does not wait {shipped} for a payment; leave out --hold");
    }
    Ok((own, text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use amends_wire::definition::Text;

    #[test]
    fn orders_wait_for_their_payment_as_long_as_they_are_told() {
        for (pays, shipped, own) in [
            (Payment::Signal, "checkout", "checkout-20s"),
            (Payment::Provider, "place-and-pay", "place-and-pay-20s"),
        ] {
            let definitions = Definitions::new(pays, true, HOLD).expect("the shipped ones");
            assert_eq!((definitions.checkout.as_str(), definitions.sale.as_str()), (shipped, "flash-sale"));
            let definitions = Definitions::new(pays, true, Span::from_secs(20)).expect("shorter ones");
            assert_eq!((definitions.checkout.as_str(), definitions.sale.as_str()), (own, "flash-sale-20s"));
            for (name, text) in &definitions.texts {
                let read = Text::read(text);
                assert!(read.is_ok(), "{name}: {read:?}");
                assert!(text.contains(&format!("saga: {name}\n")), "{name} is its own name");
                let waits = ["timeout: 15m\n", "within: 15m\n", "within: 5m\n", ": 900\n", ": 300\n"];
                assert!(!waits.iter().any(|wait| text.contains(wait)), "{name}: {text}");
            }
            assert!(Definitions::new(pays, true, Span::from_secs(3600)).is_err());
        }
    }

    #[test]
    fn what_needs_a_payment_service_is_left_out_where_there_is_none() {
        let without = Definitions::new(Payment::Signal, false, HOLD).expect("the shipped ones");
        assert!(without.texts.iter().all(|(_, text)| !text.contains(": payment.")), "{without:?}");
    }

    #[test]
    fn what_places_orders_is_told_by_its_name() {
        for (name, is_placed, is_charged) in [
            ("checkout-20s", true, false),
            ("place-and-pay", true, true),
            ("flash-sale-2s", true, true),
            ("refund", false, false),
        ] {
            assert_eq!((places(name), charges(name)), (is_placed, is_charged), "{name}");
        }
    }
}
