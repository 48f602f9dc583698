//! What stands in `sagas/`, written in code.

mod shop;

use crate::definition::{Definition, call, child, expr, retry, signal, undo};
use serde_json::{Value, json};
use std::time::Duration;

/// A file's name, and what stands for it in code.
type Twin = (&'static str, fn() -> Definition);

/// Every file of the folder.
pub(super) const TWINS: [Twin; 19] = [
    ("cancel-order.yaml", cancel_order),
    ("checkout.yaml", checkout),
    ("group-order.yaml", group_order),
    ("order-and-ship.yaml", order_and_ship),
    ("order.yaml", order),
    ("parallel.yaml", parallel),
    ("parcels.yaml", parcels),
    ("pay-then-deduct.yaml", pay_then_deduct),
    ("place.yaml", place),
    ("refund.yaml", refund),
    ("ship.yaml", ship),
    ("call-off.yaml", shop::call_off),
    ("cancel-paid.yaml", shop::cancel_paid),
    ("charge-then-deduct.yaml", shop::charge_then_deduct),
    ("flash-sale.yaml", shop::flash_sale),
    ("place-and-pay.yaml", shop::place_and_pay),
    ("refund-in-parts.yaml", shop::refund_in_parts),
    ("ship-parts.yaml", shop::ship_parts),
    ("time-out.yaml", shop::time_out),
];

/// The input of a saga: an object of these members.
fn object(required: &[&str], properties: Value) -> Value {
    json!({ "type": "object", "required": required, "properties": properties })
}

fn closed(mut schema: Value) -> Value {
    schema["additionalProperties"] = json!(false);
    schema
}

fn lines_of(line: Value) -> Value {
    json!({ "type": "array", "minItems": 1, "maxItems": 1000, "items": line })
}

fn line() -> Value {
    closed(object(
        &["sku", "qty"],
        json!({
            "sku": { "type": "integer", "minimum": 1 },
            "qty": { "type": "integer", "minimum": 1, "maximum": 1_000_000 },
        }),
    ))
}

fn named(longest: u32) -> Value {
    json!({ "type": "string", "minLength": 1, "maxLength": longest })
}

fn currency() -> Value {
    json!({ "type": "string", "pattern": "^[A-Z]{3}$" })
}

fn order_and_lines() -> Value {
    json!({ "order": expr("input.order"), "lines": expr("input.lines") })
}

fn the_order() -> Value {
    json!({ "order": expr("input.order") })
}

fn quoted_order() -> Value {
    json!({ "order": expr("input.order"), "lines": expr("steps.quote.output.lines") })
}

fn order_and_total() -> Value {
    json!({ "order": expr("input.order"), "total": expr("steps.quote.output.total") })
}

fn cancel_order() -> Definition {
    let input = closed(object(&["order"], json!({ "order": named(64), "reason": named(200) })));
    let why = json!({ "order": expr("input.order"), "reason": expr("input.reason | default('cancelled')") });
    let goods = json!({
        "order": expr("input.order"), "refund_no": expr("saga.id"),
        "lines": expr("steps.money.output.refund.lines"),
    });
    Definition::named("cancel-order")
        .version(1)
        .deadline("10m")
        .input(input)
        .step(
            call("money", "order.refund")
                .pivot()
                .no_compensation("what was given back is not asked for again")
                .with(why.clone()),
        )
        .step(call("stock", "inventory.refund").with(goods))
        .step(call("close", "order.cancel").with(why))
        .output(the_order())
}

fn checkout() -> Definition {
    let input = closed(object(
        &["order", "lines"],
        json!({
            "order": named(64), "customer": named(64), "currency": currency(),
            "lines": lines_of(line()),
        }),
    ));
    let quote = json!({ "lines": expr("input.lines"), "currency": expr("input.currency | default(none)") });
    let create = json!({
        "order": expr("input.order"),
        "customer": expr("input.customer | default(none)"),
        "currency": expr("steps.quote.output.currency"),
        "lines": expr("steps.quote.output.lines"),
        "pay_by": expr("steps.reserve.output.hold_until"),
    });
    let patient = retry().quick(3).attempts(20).first("1s").factor(2.0).max("10m").within("24h");
    Definition::named("checkout")
        .version(1)
        .deadline(Duration::from_secs(20 * 60))
        .input(input)
        .step(call("quote", "product.quote").read_only().with(quote))
        .step(call("reserve", "inventory.hold").compensation("inventory.release").with(order_and_lines()))
        .step(call("order", "order.create").compensation("order.cancel").with(create))
        .step(signal("payment", "payment").timeout(Duration::from_secs(15 * 60)))
        .step(call("confirm", "inventory.confirm").compensation("inventory.restore").with(order_and_lines()))
        .step(
            call("paid", "order.pay")
                .retry(retry().attempts(8).first(Duration::from_millis(200)).factor(2.0).max("10s"))
                .compensation(undo("order.refund").retry(patient))
                .with(the_order()),
        )
        .output(json!({
            "order": expr("input.order"),
            "total": expr("steps.quote.output.total"),
            "payment": expr("steps.payment.output"),
        }))
}

fn group_order() -> Definition {
    let one = object(&["order", "lines"], json!({ "order": named(64), "lines": { "type": "array" } }));
    let orders = json!({ "type": "array", "minItems": 1, "maxItems": 100, "items": one });
    Definition::named("group-order")
        .version(1)
        .deadline("30m")
        .input(closed(object(&["orders"], json!({ "orders": orders }))))
        .step(
            child("orders", "order@1")
                .for_each(expr("input.orders"))
                .parallel(8)
                .with(expr("item"))
                .returns(json!({ "type": "object", "properties": { "order": { "type": "string" } } })),
        )
        .output(json!({ "placed": expr("steps.orders.output | map(attribute='order') | list") }))
}

fn order_and_ship() -> Definition {
    let lines = json!({ "type": "array", "minItems": 1 });
    Definition::named("order-and-ship")
        .version(1)
        .input(closed(object(&["order", "lines"], json!({ "order": named(64), "lines": lines }))))
        .step(child("place", "order@1").with(expr("input")))
        .step(
            child("ship", "ship@1")
                .pivot()
                .no_compensation("what has left the house does not come back by itself")
                .with(the_order()),
        )
        .output(json!({ "order": expr("input.order"), "shipped": expr("steps.ship.output") }))
}

fn order() -> Definition {
    let mut line = line();
    line["properties"]["price_minor"] = json!({ "type": "integer", "minimum": 0 });
    let input = closed(object(
        &["order", "lines"],
        json!({
            "order": named(64), "customer": named(64), "currency": currency(), "lines": lines_of(line),
        }),
    ));
    Definition::named("order")
        .version(1)
        .deadline("10m")
        .input(input)
        .step(call("deduct", "inventory.deduct").compensation("inventory.restore").with(order_and_lines()))
        .step(call("create", "order.create").compensation("order.cancel").with(expr("input")))
        .step(call("pay", "order.pay").compensation("order.refund").with(the_order()))
        .output(the_order())
}

fn parallel() -> Definition {
    let input = closed(object(&["order", "lines"], json!({ "order": named(64), "lines": lines_of(line()) })));
    Definition::named("parallel")
        .version(1)
        .deadline("5m")
        .input(input)
        .step(call("quote", "product.quote").read_only().with(json!({ "lines": expr("input.lines") })))
        .step(
            call("stock", "inventory.deduct")
                .after("quote")
                .compensation("inventory.restore")
                .unwind_eager()
                .with(order_and_lines()),
        )
        .step(call("order", "order.create").after("quote").compensation("order.cancel").with(quoted_order()))
        .step(
            call("paid", "order.pay")
                .after(["stock", "order"])
                .compensation("order.refund")
                .within("1m")
                .with(the_order()),
        )
        .output(order_and_total())
}

fn parcels() -> Definition {
    let parcel = closed(object(&["lines"], json!({ "lines": { "$ref": "#/$defs/lines" } })));
    let parcels = json!({ "type": "array", "minItems": 1, "maxItems": 100, "items": parcel });
    let mut input = closed(object(&["order", "parcels"], json!({ "order": named(56), "parcels": parcels })));
    input["$defs"] = json!({ "lines": lines_of(line()) });
    let part = json!({ "order": "${{ input.order }}-${{ index }}", "lines": expr("item.lines") });
    let held = json!({
        "type": "object",
        "properties": { "order": { "type": "string" }, "hold_until": { "type": "string" } },
    });
    let mut held_part = part.clone();
    held_part["pay_by"] = json!(expr("steps.hold.output[index].hold_until"));
    Definition::named("parcels")
        .version(1)
        .deadline("20m")
        .input(input)
        .step(
            call("hold", "inventory.hold")
                .for_each(expr("input.parcels"))
                .parallel(4)
                .compensation("inventory.release")
                .with(part)
                .returns(held),
        )
        .step(
            call("order", "order.create")
                .for_each(expr("input.parcels"))
                .compensation("order.cancel")
                .with(held_part),
        )
        .output(json!({
            "orders": expr("steps.hold.output | map(attribute='order') | list"),
            "pay_until": expr("steps.hold.output | map(attribute='hold_until') | min"),
        }))
}

fn pay_then_deduct() -> Definition {
    let input = closed(object(&["order", "lines"], json!({ "order": named(64), "lines": lines_of(line()) })));
    Definition::named("pay-then-deduct")
        .version(1)
        .deadline("20m")
        .input(input)
        .step(call("quote", "product.quote").read_only().with(json!({ "lines": expr("input.lines") })))
        .step(call("order", "order.create").compensation("order.cancel").with(quoted_order()))
        .step(signal("payment", "payment").timeout("15m"))
        .step(call("deduct", "inventory.deduct").compensation("inventory.restore").with(order_and_lines()))
        .step(call("pay", "order.pay").compensation("order.refund").with(the_order()))
        .output(order_and_total())
}

fn place() -> Definition {
    let input = closed(object(
        &["order", "prepaid", "lines"],
        json!({ "order": named(64), "prepaid": { "type": "boolean" }, "lines": lines_of(line()) }),
    ));
    let held = json!({ "type": "object", "properties": { "hold_until": { "type": "string" } } });
    let mut create = quoted_order();
    create["pay_by"] = json!(expr("steps.hold.output.hold_until | default(none)"));
    Definition::named("place")
        .version(1)
        .deadline("10m")
        .input(input)
        .step(call("quote", "product.quote").read_only().with(json!({ "lines": expr("input.lines") })))
        .step(
            call("deduct", "inventory.deduct")
                .when(expr("input.prepaid"))
                .compensation("inventory.restore")
                .with(order_and_lines()),
        )
        .step(
            call("hold", "inventory.hold")
                .when(expr("not input.prepaid"))
                .compensation("inventory.release")
                .with(order_and_lines())
                .returns(held),
        )
        .step(call("order", "order.create").compensation("order.cancel").with(create))
        .step(
            call("pay", "order.pay")
                .when(expr("input.prepaid"))
                .compensation("order.refund")
                .with(the_order()),
        )
        .output(json!({
            "order": expr("input.order"),
            "total": expr("steps.quote.output.total"),
            "pay_until": expr("steps.hold.output.hold_until | default(none)"),
        }))
}

fn refund() -> Definition {
    let input = closed(object(
        &["order", "refund", "lines"],
        json!({ "order": named(64), "refund": named(64), "lines": lines_of(line()) }),
    ));
    Definition::named("refund")
        .version(1)
        .deadline("10m")
        .input(input)
        .step(
            call("money", "order.refund")
                .pivot()
                .no_compensation("what was given back is not asked for again")
                .with(json!({
                    "order": expr("input.order"), "refund": expr("input.refund"), "lines": expr("input.lines"),
                })),
        )
        .step(call("stock", "inventory.refund").with(json!({
            "order": expr("input.order"), "refund_no": expr("input.refund"), "lines": expr("input.lines"),
        })))
        .output(json!({
            "order": expr("input.order"), "items": expr("input.lines | sum(attribute='qty')"),
        }))
}

fn ship() -> Definition {
    Definition::named("ship")
        .version(1)
        .deadline("10m")
        .input(closed(object(&["order"], json!({ "order": named(64) }))))
        .step(
            call("order", "order.ship")
                .pivot()
                .no_compensation("what has left the house does not come back by itself")
                .with(the_order()),
        )
        .step(call("stock", "inventory.ship").with(json!({
            "order": expr("input.order"), "ship_no": expr("steps.order.output.shipment"),
            "lines": expr("steps.order.output.lines"),
        })))
        .step(signal("delivered", "delivered").timeout("14d").default(json!({ "assumed": true })))
        .step(call("close", "order.complete").with(the_order()))
        .output(json!({ "order": expr("input.order"), "delivered": expr("steps.delivered.output") }))
}
