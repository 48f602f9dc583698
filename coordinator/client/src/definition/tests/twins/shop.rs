//! The sagas of the shop with a payment provider, written in code.

use super::{closed, line, lines_of, named, object, order_and_lines, order_and_total, the_order};
use crate::definition::{Definition, Step, call, expr, retry, undo};
use serde_json::{Value, json};

fn lines() -> Value {
    lines_of(line())
}

fn mode() -> Value {
    json!({ "type": "string" })
}

fn charge() -> Value {
    json!({
        "order": expr("input.order"), "amount_minor": expr("steps.quote.output.total"),
        "currency": expr("steps.quote.output.currency"), "mode": expr("input.mode | default(none)"),
    })
}

fn placed(held: bool) -> Value {
    let mut with = json!({
        "order": expr("input.order"),
        "customer": expr("input.customer | default(none)"),
        "currency": expr("steps.quote.output.currency"),
        "lines": expr("steps.quote.output.lines"),
        "pay_within_s": 900,
    });
    if held {
        with["token"] = json!(expr("input.token | default(none)"));
        with["pay_by"] = json!(expr("steps.hold.output.hold_until"));
    }
    with
}

pub(super) fn place_and_pay() -> Definition {
    let input = closed(object(
        &["order", "lines"],
        json!({
            "order": named(64), "customer": named(64), "token": named(64), "mode": mode(), "lines": lines(),
        }),
    ));
    let patient = retry().quick(3).attempts(20).first("1s").factor(2.0).max("10m").within("24h");
    Definition::named("place-and-pay")
        .version(1)
        .deadline("30m")
        .input(input)
        .step(call("quote", "product.quote").read_only().with(json!({ "lines": expr("input.lines") })))
        .step(call("hold", "inventory.hold").compensation("inventory.release").with(order_and_lines()))
        .step(call("order", "order.create").compensation("order.cancel").with(placed(true)))
        .step(
            call("reserved", "order.reserve")
                .no_compensation("cancelling the order undoes this as well")
                .with(the_order()),
        )
        .step(
            call("charge", "payment.charge")
                .within("15m")
                .compensation(undo("payment.refund").retry(patient))
                .with(charge()),
        )
        .step(call("confirm", "inventory.confirm").compensation("inventory.restore").with(order_and_lines()))
        .step(paid())
        .output(order_and_total())
}

/// The last step of those that place an order: it decides.
fn paid() -> Step {
    let patient = retry().attempts(8).first("200ms").factor(2.0).max("10s");
    let with = json!({ "order": expr("input.order"), "payment": expr("steps.charge.output.payment") });
    call("paid", "order.pay").pivot().retry(patient).compensation("order.refund").with(with).into()
}

pub(super) fn charge_then_deduct() -> Definition {
    let input = closed(object(
        &["order", "lines"],
        json!({ "order": named(64), "customer": named(64), "mode": mode(), "lines": lines() }),
    ));
    Definition::named("charge-then-deduct")
        .version(1)
        .deadline("30m")
        .input(input)
        .step(call("quote", "product.quote").read_only().with(json!({ "lines": expr("input.lines") })))
        .step(call("order", "order.create").compensation("order.cancel").with(placed(false)))
        .step(call("charge", "payment.charge").within("15m").compensation("payment.refund").with(charge()))
        .step(call("deduct", "inventory.deduct").compensation("inventory.restore").with(order_and_lines()))
        .step(paid())
        .output(order_and_total())
}

const CALLED_OFF: &str = "an order that is called off stays so";
const ON_THE_SHELF: &str = "what is back on the shelf may be sold to somebody else";

fn what_is_held() -> Value {
    json!({ "order": expr("input.order"), "leave_confirmed": true })
}

pub(super) fn time_out() -> Definition {
    Definition::named("time-out")
        .version(1)
        .deadline("10m")
        .input(closed(object(&["order"], json!({ "order": named(64) }))))
        .step(call("order", "order.time_out").pivot().no_compensation(CALLED_OFF).with(the_order()))
        .step(call("stock", "inventory.release").with(what_is_held()))
        .output(the_order())
}

fn order_and_reason() -> Value {
    closed(object(&["order"], json!({ "order": named(64), "reason": named(200) })))
}

pub(super) fn call_off() -> Definition {
    let why = json!({
        "order": expr("input.order"), "reason": expr("input.reason | default('called off')"), "unpaid": true,
    });
    Definition::named("call-off")
        .version(1)
        .deadline("10m")
        .input(order_and_reason())
        .step(call("order", "order.cancel").pivot().no_compensation(CALLED_OFF).with(why))
        .step(call("stock", "inventory.release").with(what_is_held()))
        .output(the_order())
}

fn order_and_refunded() -> Value {
    json!({ "order": expr("input.order"), "refunded": expr("steps.begin.output.refund.amount_minor") })
}

pub(super) fn cancel_paid() -> Definition {
    let why = json!({ "order": expr("input.order"), "reason": expr("input.reason | default('cancelled')") });
    let goods = json!({
        "order": expr("input.order"), "refund_no": expr("saga.id"),
        "lines": expr("steps.begin.output.refund.lines"),
    });
    let mut begin = why.clone();
    begin["payment_service"] = json!(true);
    let money = json!({
        "payment": expr("steps.begin.output.payment"), "refund": expr("saga.id"),
        "amount_minor": expr("steps.begin.output.refund.amount_minor"),
    });
    Definition::named("cancel-paid")
        .version(1)
        .deadline("10m")
        .input(order_and_reason())
        .step(call("begin", "order.refund_begin").compensation("order.refund_abort").with(begin))
        .step(call("stock", "inventory.refund").pivot().no_compensation(ON_THE_SHELF).with(goods))
        .step(call("money", "payment.refund").with(money))
        .step(call("end", "order.refund_end").with(the_order()))
        .step(call("close", "order.cancel").with(why))
        .output(order_and_refunded())
}

pub(super) fn refund_in_parts() -> Definition {
    let input = closed(object(
        &["order", "refund", "lines"],
        json!({ "order": named(64), "refund": named(64), "reason": named(200), "lines": lines() }),
    ));
    let begin = json!({
        "order": expr("input.order"), "refund": expr("input.refund"),
        "reason": expr("input.reason | default(none)"), "lines": expr("input.lines"), "payment_service": true,
    });
    let goods = json!({
        "order": expr("input.order"), "refund_no": expr("input.refund"), "lines": expr("input.lines"),
    });
    let money = json!({
        "payment": expr("steps.begin.output.payment"), "refund": expr("input.refund"),
        "amount_minor": expr("steps.begin.output.refund.amount_minor"),
    });
    let end = json!({ "order": expr("input.order"), "refund": expr("input.refund") });
    Definition::named("refund-in-parts")
        .version(1)
        .deadline("10m")
        .input(input)
        .step(call("begin", "order.refund_begin").compensation("order.refund_abort").with(begin))
        .step(call("stock", "inventory.refund").pivot().no_compensation(ON_THE_SHELF).with(goods))
        .step(
            call("money", "payment.refund")
                .retry(retry().attempts(20).first("1s").factor(2.0).max("5m"))
                .with(money),
        )
        .step(call("end", "order.refund_end").with(end))
        .output(order_and_refunded())
}

pub(super) fn ship_parts() -> Definition {
    let input = closed(object(
        &["order", "shipment", "lines"],
        json!({ "order": named(64), "shipment": named(64), "lines": lines() }),
    ));
    let with = json!({
        "order": expr("input.order"), "ship_no": expr("input.shipment"), "lines": expr("input.lines"),
    });
    Definition::named("ship-parts")
        .version(1)
        .deadline("10m")
        .input(input)
        .step(
            call("order", "order.ship")
                .pivot()
                .no_compensation("what has left the house does not come back by itself")
                .with(with.clone()),
        )
        .step(call("stock", "inventory.ship").with(with))
        .output(json!({ "order": expr("input.order"), "state": expr("steps.order.output.state") }))
}

pub(super) fn flash_sale() -> Definition {
    let from_one = json!({ "type": "integer", "minimum": 1 });
    let input = closed(object(
        &["order", "customer", "activity", "sku", "qty"],
        json!({
            "order": named(64), "customer": named(64), "token": named(64), "activity": from_one, "sku": from_one,
            "qty": { "type": "integer", "minimum": 1, "maximum": 100 }, "mode": mode(),
        }),
    ));
    let quota = json!({ "activity": expr("input.activity"), "user": expr("input.customer"), "qty": expr("input.qty") });
    let held =
        json!({ "sku": expr("input.sku"), "qty": expr("input.qty"), "activity": expr("input.activity") });
    let wanted = json!({ "lines": [{ "sku": expr("input.sku"), "qty": expr("input.qty") }] });
    let create = json!({
        "order": expr("input.order"), "customer": expr("input.customer"),
        "token": expr("input.token | default(none)"), "currency": expr("steps.quote.output.currency"),
        "lines": expr("steps.quote.output.lines"), "pay_within_s": 300, "pay_by": expr("steps.hold.output.hold_until"),
    });
    let hold = json!({ "order": expr("input.order"), "lines": [held] });
    Definition::named("flash-sale")
        .version(1)
        .deadline("15m")
        .input(input)
        .step(call("quote", "product.quote").read_only().with(wanted))
        .step(call("quota", "inventory.quota_take").compensation("inventory.quota_return").with(quota))
        .step(call("hold", "inventory.hold").compensation("inventory.release").with(hold))
        .step(call("order", "order.create").compensation("order.cancel").with(create))
        .step(call("charge", "payment.charge").within("5m").compensation("payment.refund").with(charge()))
        .step(call("confirm", "inventory.confirm").compensation("inventory.restore").with(the_order()))
        .step(paid())
        .output(order_and_total())
}
