"""Wallets with money in them, in the smallest unit of a currency.

    python3 wallet.py
    curl -X PUT http://127.0.0.1:7201/wallets -d '{"wallet": "ada", "balance": 10000}'

Operations: charge {wallet, amount}, undone by refund. POST /pay does a purchase within an open saga: it charges, and
has the points earned at the other service.
"""

import amends
import audit
import options

SCHEMA = """
create table if not exists wallet (
    owner   text    primary key,
    balance integer not null check (balance >= 0)
) strict;
create table if not exists charge (
    saga   blob    not null,
    step   text    not null,
    owner  text    not null references wallet,
    amount integer not null check (amount > 0),
    primary key (saga, step)
) strict;
"""

args = options.read(
    __doc__.splitlines()[0],
    listen="127.0.0.1:7201",
    database="wallet.db",
    loyalty=("http://127.0.0.1:7202", "where the loyalty service answers"),
)
app = amends.Participant("wallet", args.database, SCHEMA, args.secret, args.token)


@app.operation(compensation="refund")
def charge(db, call):
    owner, amount = fitting(call.body, "amount")
    taken = db.execute(
        "update wallet set balance = balance - ?2 where owner = ?1 and balance >= ?2 returning balance",
        (owner, amount),
    ).fetchall()
    if not taken:
        raise amends.No(f"wallet {owner} does not have {amount}")
    db.execute("insert into charge values (?, ?, ?, ?)", (call.saga.bytes, call.step, owner, amount))
    return {"wallet": owner, "amount": amount, "balance": taken[0][0]}


@app.operation()
def refund(db, call):
    """As a compensation it undoes what the same step charged, whatever the body says."""
    if call.op != "compensation":
        raise amends.No("a refund is what undoes a charge, and no action of its own", 422)
    undone = db.execute(
        "delete from charge where saga = ? and step = ? returning owner, amount", (call.saga.bytes, call.step)
    ).fetchall()
    for owner, amount in undone:
        db.execute("update wallet set balance = balance + ? where owner = ?", (amount, owner))
    return {"refunded": sum(amount for _, amount in undone)}


@app.route("POST", "/pay")
def pay(request):
    """A purchase within the open saga of the request: two branches, each registered before its work is done."""
    app.check_signature(request.headers, request.data)
    saga, body = request.headers.get("saga-id"), amends.read_json(request.data)
    owner, amount = fitting(body, "amount")
    status, charged = app.join(saga, "payment", "charge", body)
    if status != 200:
        raise amends.No(f"the charge was not done: {charged['message']}", status)
    identity = {"saga-id": saga, "saga-branch": "points"}
    points = {"member": owner, "points": max(1, amount // 10)}
    status, earned = amends.ask(f"{args.loyalty}/earn", points, headers=app.signed(points) | identity)
    if status != 200:
        raise amends.No(f"the points were not earned: {earned}", 409 if status == 409 else 503)
    return {"charged": charged, "earned": earned}


@app.route("GET", "/wallets")
def wallets(_):
    with app.lock:
        return dict(app.db.execute("select owner, balance from wallet order by owner"))


@app.route("PUT", "/wallets")
def fill(request):
    owner, balance = fitting(amends.read_json(request.data), "balance")
    with app.lock:
        app.db.execute("replace into wallet values (?, ?)", (owner, balance))
    return {"wallet": owner, "balance": balance}


def fitting(body, number):
    fits = options.text_and_number(body, "wallet", number)
    if not fits:
        raise amends.No(f'send {{"wallet": "…", "{number}": 1 to 1000000}}', 422)
    return fits


def effect(db, saga, step):
    row = db.execute("select owner, amount from charge where saga = ? and step = ?", (saga.bytes, step)).fetchone()
    return row and {"wallet": row[0], "amount": row[1]}


if __name__ == "__main__":
    audit.offer(app, effect)
    app.run(args.listen, args.coordinator, args.advertise)
