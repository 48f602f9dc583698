"""Points that members earn with what they buy.

    python3 loyalty.py
    curl http://127.0.0.1:7202/members

Operations: earn {member, points}, undone by take-back. A member who is not known yet is one from then on.
"""

import amends
import audit
import options

POINTS_MAX = 1000  # that one purchase may earn

SCHEMA = """
create table if not exists member (
    name   text    primary key,
    points integer not null
) strict;
create table if not exists earned (
    saga   blob    not null,
    step   text    not null,
    member text    not null references member,
    points integer not null check (points > 0),
    primary key (saga, step)
) strict;
"""

args = options.read(__doc__.splitlines()[0], listen="127.0.0.1:7202", database="loyalty.db")
app = amends.Participant("loyalty", args.database, SCHEMA, args.secret, args.token)


@app.operation(compensation="take-back")
def earn(db, call):
    fits = options.text_and_number(call.body, "member", "points")
    if not fits:
        raise amends.No('send {"member": "…", "points": 1 to 1000000}', 422)
    member, points = fits
    if points > POINTS_MAX:
        raise amends.No(f"{points} points are more than one purchase may earn, which is {POINTS_MAX}")
    total = db.execute(
        "insert into member values (?, ?) on conflict do update set points = points + excluded.points returning points",
        fits,
    ).fetchall()
    db.execute("insert into earned values (?, ?, ?, ?)", (call.saga.bytes, call.step, member, points))
    return {"member": member, "points": total[0][0]}


@app.operation("take-back")
def take_back(db, call):
    """Takes back what the same step gave. Whoever has spent it owes it: the points may be below zero then."""
    if call.op != "compensation":
        raise amends.No("taking back is what undoes earning, and no action of its own", 422)
    undone = db.execute(
        "delete from earned where saga = ? and step = ? returning member, points", (call.saga.bytes, call.step)
    ).fetchall()
    for member, points in undone:
        db.execute("update member set points = points - ? where name = ?", (points, member))
    return {"taken_back": sum(points for _, points in undone)}


@app.route("GET", "/members")
def members(_):
    with app.lock:
        return dict(app.db.execute("select name, points from member order by name"))


def effect(db, saga, step):
    row = db.execute("select member, points from earned where saga = ? and step = ?", (saga.bytes, step)).fetchone()
    return row and {"member": row[0], "points": row[1]}


if __name__ == "__main__":
    audit.offer(app, effect)
    app.run(args.listen, args.coordinator, args.advertise)
