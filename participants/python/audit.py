"""The audit of a participant: `GET /saga-audit`. By it the coordinator's monitor and `amends verify` compare what sagas
believe with what the tables hold. It stands apart: a participant is right without it; with it, others can see that."""

import urllib.parse
import uuid

import amends

STEPS = """
select max(created_at) as at, lower(hex(saga_id)) as saga, step,
       max(status) filter (where op = 0) as action, max(status) filter (where op = 1) as compensation
from saga_barrier
where (saga_id, step) in (select saga_id, step from saga_barrier where created_at >= :since)
group by saga_id, step
having (max(created_at), lower(hex(saga_id)), step) > (:at, :saga, :step)
order by at, saga, step limit :limit
"""


def offer(app, effect):
    """Offers it. `effect(db, saga, step)` tells from the service's own tables what stands of a step, in the words of
    its action's body, or None; never from the barrier, which agrees with the calls whatever became of the rows."""

    @app.route("GET", "/saga-audit")
    def page(request):
        app.check_signature(request.headers, b"")
        query = read(request.address.query)
        with app.lock:
            app.db.execute("begin")
            try:
                rows = app.db.execute(STEPS, query).fetchall()
                effects = [told(app.db, effect, row) for row in rows]
            finally:
                app.db.execute("rollback")
        next = ".".join(map(str, rows[-1][:3])) if len(rows) == query["limit"] else None
        return {"effects": effects, "findings": [], "next": next}


def read(text):
    try:
        given = dict(urllib.parse.parse_qsl(text, strict_parsing=True) if text else [])
        since, limit, cursor = int(given.pop("since", 0)), int(given.pop("limit", 200)), given.pop("cursor", None)
        at, saga, step = cursor.split(".", 2) if cursor else (since, "", "")
        query = {"since": since, "limit": limit, "at": int(at), "saga": saga, "step": step}
    except ValueError:
        raise amends.No("since and limit are numbers, and cursor is what a page said", 400) from None
    if given or not (0 <= since < 2**63 and 1 <= limit <= 500 and abs(query["at"]) < 2**63):
        raise amends.No("the parameters are since, from 0, limit, from 1 to 500, and cursor", 400)
    return query


def told(db, effect, row):
    at, saga, step, action, compensation = row
    saga = uuid.UUID(saga)
    is_done = action is not None and (action == amends.CONFIRMED or 200 <= action < 300)
    is_undone = compensation is not None and compensation >= 200
    state = "barred" if not is_done else "undone" if is_undone else "applied"
    stands = effect(db, saga, step) if state == "applied" else None
    return {"saga": str(saga), "step": step, "op_state": state, "at": at, "effect": stands}
