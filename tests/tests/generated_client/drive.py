"""Uses every operation of a generated client against a coordinator, each answer checked against what it promises.

    python3 drive.py URL ADMIN-TOKEN SUBMIT-TOKEN

Ends with 0 when every operation was answered with a yes and every no was the one expected.
"""

from __future__ import annotations

import json
import sys
import time
import uuid
from typing import Any, Callable

from client import OPERATIONS, SCHEMAS, Client
from participant import Shop
from runtime import BrokenPromise, Misfit, Refusal

# One step that takes, one that decides; each call is told by the input how to answer.
ORDER = {
    "saga": "order", "version": 1, "deadline": "10m",
    "input": {"type": "object", "required": ["take"], "properties": {"take": {"type": "string"}}},
    "steps": [
        {"take": {"action": "shop.take", "with": "${{ input }}",
                  "compensation": {"operation": "shop.give", "retry": {"quick": 1, "attempts": 1, "first": "10ms"}}}},
        {"decide": {"action": "shop.decide", "read_only": True, "with": "${{ input }}",
                    "retry": {"attempts": 1}}},
    ],
    "output": {"taken": "${{ steps.take.output.step }}"},
}
PAID = """
saga: paid
version: 1
steps:
  - take: { action: shop.take, compensation: shop.give, with: "${{ input }}" }
  - payment: { await: payment, timeout: 5m }
"""
PENDING = {"saga": "pending", "version": 1,
           "steps": [{"wait": {"action": "shop.take", "compensation": "shop.give", "with": "${{ input }}"}}]}
SHIP = {"saga": "ship", "version": 1,
        "steps": [{"go": {"action": "shop.take", "pivot": True, "compensation": "none", "reason": "it has left"}}]}
# A child, a list of items and a condition.
GROUP = {
    "saga": "group", "version": 1,
    "steps": [
        {"each": {"for_each": "${{ input.items }}", "parallel": 2, "action": "shop.take",
                  "compensation": "shop.give", "with": {"item": "${{ item }}"}}},
        {"maybe": {"when": "${{ input.is_gift }}", "action": "shop.take", "compensation": "shop.give"}},
        {"child": {"saga": "order@1", "with": {"take": "done"}}},
    ],
}
REFUSED = {"take": "done", "decide": "refuse"}
STUCK = {"take": "done", "decide": "refuse", "give": "refuse"}


class Failed(Exception):
    """Something is not as this script expects it."""


def expect(what: str, is_so: bool) -> None:
    if not is_so:
        raise Failed(what)


def refused(slug: str, call: Callable[[], Any]) -> Refusal:
    """Makes a call that has to be answered with this problem."""
    try:
        answer = call()
    except Refusal as problem:
        expect(f"{problem}, not {slug}", problem.slug == slug)
        return problem
    raise Failed(f"{answer} in place of {slug}")


def until(what: str, look: Callable[[], Any]) -> Any:
    """Looks until there is something to see."""
    for _ in range(400):
        found = look()
        if found:
            return found
        time.sleep(0.025)
    raise Failed(f"{what} did not come about")


class Drive:
    """The parts of the script, in their order."""

    def __init__(self, url: str, admin: str, submit: str):
        self.client, self.shop = Client(url, admin), Shop()
        self.submit, self.nobody = Client(url, submit), Client(url)

    def all(self) -> None:
        for part in (self.service, self.access, self.participants, self.definitions, self.sagas, self.waiting,
                     self.signals, self.undoing, self.language, self.callbacks, self.open_sagas, self.lists,
                     self.repairs, self.bulk, self.removal):
            part()

    def start(self, definition: str, given: Any, wait: str | None = "20s", **more: Any) -> Any:
        return self.client.start_saga({"definition": definition, "input": given, **more}, wait=wait).body

    def parked(self) -> Any:
        """A saga whose undo is refused, and its repair item."""
        saga = self.start("order", STUCK, wait=None)
        stuck = until("a parked step", lambda: self.client.get_saga(saga["id"]).body["repairs"])
        return saga["id"], stuck[0]["id"]

    def service(self) -> None:
        expect("it answers", self.client.health().body["status"] == "ok")
        expect("it is ready", self.client.ready().body["status"] == "ready")
        expect("it has metrics", "amends_" in self.client.metrics().body)
        expect("it describes itself", self.client.openapi().body["paths"].keys() > {"/v1/sagas"})
        expect("it explains itself", "key_reused" in self.client.problem("key_reused").body)
        refused("not_found", lambda: self.client.problem("no_such_slug"))

    def access(self) -> None:
        refused("unauthorized", lambda: self.nobody.list_sagas())
        refused("forbidden", lambda: self.submit.delete_participant("shop"))
        self.submit.list_sagas()

    def participants(self) -> None:
        registration = {"instances": [self.shop.url], "operations": {
            "take": {"compensation": "give", "timeout": "2s"}, "give": {}, "decide": {}, "keep": {}}}
        expect("new", self.client.put_participant("shop", registration).status == 201)
        expect("again", self.client.put_participant("shop", registration).status == 200)
        expect("it is shown", self.client.get_participant("shop").body["instances"][0]["url"] == self.shop.url)
        expect("it is listed", len(self.client.list_participants().body["items"]) == 1)
        refused("not_found", lambda: self.client.get_participant("nobody"))
        refused("bad_registration", lambda: self.client.put_participant(
            "shop", {**registration, "operations": {"take": {"compensation": "nothing"}}}))
        refused("address_refused", lambda: self.client.put_participant(
            "shop", {**registration, "instances": ["http://169.254.169.254"]}))

    def definitions(self) -> None:
        expect("new", self.client.put_definition("order", 1, ORDER).status == 201)
        expect("again", self.client.put_definition("order", 1, ORDER).status == 200)
        expect("as YAML", self.client.put_definition("paid", 1, PAID, media="application/yaml").status == 201)
        for definition in (PENDING, SHIP, GROUP):
            self.client.put_definition(definition["saga"], 1, definition)
        refused("definition_exists", lambda: self.client.put_definition("order", 1, {**ORDER, "deadline": "11m"}))
        faults = refused("definition_invalid", lambda: self.client.put_definition("x", 1, {"saga": "x", "steps": []}))
        expect("each fault is told", faults.body["diagnostics"][0]["line"] >= 1)
        expect("it is shown", self.client.get_definition("order", 1).body["content"] == ORDER)
        expect("its versions", [one["version"] for one in self.client.list_versions("order").body["items"]] == [1])
        expect("all", len(self.client.list_definitions().body["items"]) >= 5)
        refused("unknown_definition", lambda: self.client.get_definition("order", 2))
        refused("unknown_definition", lambda: self.client.list_versions("nothing"))

    def sagas(self) -> None:
        body = {"definition": "order@1", "input": {"take": "done"}, "labels": {"order": "1"}}
        first = self.client.start_saga(body, wait="20s", idempotency_key="k-1")
        expect("it completed", (first.status, first.body["status"]) == (201, "completed"))
        expect("its output", first.body["output"] == {"taken": "take"})
        again = self.client.start_saga({**body, "key": "k-1"})
        expect("the same", (again.status, again.body["id"]) == (200, first.body["id"]))
        refused("key_reused", lambda: self.client.start_saga({**body, "key": "k-1", "input": {"take": "fail"}}))
        refused("key_conflict", lambda: self.client.start_saga({**body, "key": "k-1"}, idempotency_key="k-2"))
        misfit = refused("input_does_not_fit", lambda: self.start("order", {"take": 1}))
        expect("the place is told", misfit.body["errors"][0]["path"] == "/take")
        refused("unknown_definition", lambda: self.start("nothing", {}))
        whole = {"saga": "one-off", "steps": [{"a": {"action": "nobody.there", "read_only": True}}]}
        unknown = refused("unknown_operation", lambda: self.client.start_saga({"definition": whole, "input": {}}))
        expect("the operation is told", unknown.body["operations"] == ["nobody.there"])
        whole["steps"][0]["a"]["action"] = "shop.take"
        expect("a whole definition", self.start(whole, {})["status"] == "completed")
        page = self.client.get_journal(first.body["id"], limit=2).body
        rest = self.client.get_journal(first.body["id"], cursor=page["next"]).body
        expect("pages of the journal", [one["seq"] for one in page["items"] + rest["items"]][:3] == [1, 2, 3])
        for line in self.client.get_journal(first.body["id"], follow=True).body.splitlines():
            if line.startswith("data:"):
                SCHEMAS.check({"$ref": "#/components/schemas/JournalItem"}, json.loads(line[5:]), "the stream")
        refused("not_found", lambda: self.client.get_saga(str(uuid.uuid4())))
        refused("not_found", lambda: self.client.get_journal(str(uuid.uuid4())))

    def waiting(self) -> None:
        saga = self.client.start_saga({"definition": "paid", "input": {}}, wait="100ms")
        expect("it still runs", (saga.status, saga.body["status"]) == (202, "running"))
        shown = self.client.get_saga(saga.body["id"], wait="100ms")
        expect("it still waits", shown.status == 202 and shown.body["steps"][1]["status"] == "waiting")
        expect("it says how long", shown.body["steps"][1]["timeout_at"] is not None)
        expect("it is undone", self.client.cancel_saga(shown.body["id"], {"reason": "no"}).status == 200)
        ended = self.client.get_saga(shown.body["id"], wait="20s").body
        expect("by whom", (ended["status"], ended["error"]["kind"]) == ("compensated", "cancelled"))
        refused("saga_ended", lambda: self.client.cancel_saga(shown.body["id"]))
        refused("not_found", lambda: self.client.cancel_saga(str(uuid.uuid4())))

    def signals(self) -> None:
        saga = self.start("paid", {"take": "pend"}, wait=None)
        early = self.client.signal_saga(saga["id"], "payment", {"id": "p-1", "payload": {"paid": 1}})
        expect("it is kept or taken", early.status in (200, 202))
        token = until("a pending call", lambda: self.shop.pending.get((saga["id"], "take")))
        self.answer(saga["id"], "take", token)
        ended = self.client.get_saga(saga["id"], wait="20s").body
        expect("it was paid", ended["status"] == "completed" and ended["steps"][1]["output"] == {"paid": 1})
        expect("once", self.client.signal_saga(saga["id"], "payment", {"id": "p-1", "payload": {"paid": 1}}).status == 200)
        refused("signal_conflict", lambda: self.client.signal_saga(saga["id"], "payment", {"payload": 2}))
        refused("no_such_signal", lambda: self.client.signal_saga(saga["id"], "weather", {"payload": 2}))

    def answer(self, saga: str, step: str, token: str, status: int = 200) -> Any:
        body = {"token": token, "status": status, "body": {"step": step}}
        return self.client.answer_step(saga, step, body)

    def undoing(self) -> None:
        refusal = self.start("order", REFUSED)
        expect("it was undone", (refusal["status"], refusal["error"]["step"]) == ("compensated", "decide"))
        done = self.start("order", {"take": "done"})
        self.client.revert_saga(done["id"], {"reason": "changed my mind"})
        ended = self.client.get_saga(done["id"], wait="20s").body
        expect("it was reverted", (ended["status"], ended["error"]["kind"]) == ("compensated", "reverted"))
        refused("not_completed", lambda: self.client.revert_saga(refusal["id"]))
        gone = self.start("ship", {})
        refused(PAST_PIVOT, lambda: self.client.revert_saga(gone["id"]))

    def language(self) -> None:
        saga = self.start("group", {"items": [1, 2, 3], "is_gift": False})
        names = {step["name"]: step for step in saga["steps"]}
        expect("every item is a step", {"each[0]", "each[1]", "each[2]"} <= names.keys())
        expect("what is not wanted is skipped", names["maybe"]["status"] == "skipped")
        child = self.client.get_saga(names["child"]["child"]).body
        expect("the child knows its parent", child["parent"]["saga"] == saga["id"])
        expect("all is done", (saga["status"], child["status"]) == ("completed", "completed"))

    def callbacks(self) -> None:
        saga = self.start("pending", {"take": "pend"}, wait=None)
        token = until("a pending call", lambda: self.shop.pending.get((saga["id"], "wait")))
        refused(BAD_TOKEN, lambda: self.answer(saga["id"], "wait", "x" + token))
        self.answer(saga["id"], "wait", token)
        self.answer(saga["id"], "wait", token)
        refused(OTHER_ANSWER, lambda: self.answer(saga["id"], "wait", token, status=409))
        refused("unknown_step", lambda: self.answer(saga["id"], "nothing", token))
        expect("it went on", self.client.get_saga(saga["id"], wait="20s").body["status"] == "completed")

    def open_sagas(self) -> None:
        branch = {"name": "stock", "compensation": "shop.give", "confirm": "shop.keep", "with": {"order": "7"}}
        begin = {"timeout": "60s", "key": "open-1", "labels": {"order": "7"}}
        saga = self.client.open_saga(begin)
        expect("it is open", saga.status == 201 and saga.body["open"] is True)
        expect("once", self.client.open_saga(begin).body["id"] == saga.body["id"])
        it = saga.body["id"]
        expect("new", self.client.register_branch(it, branch).status == 201)
        expect("again", self.client.register_branch(it, branch).status == 200)
        refused(BRANCH_CONFLICT, lambda: self.client.register_branch(it, {**branch, "with": {"order": "8"}}))
        self.client.renew_saga(it, {"timeout": "90s"})
        self.client.commit_saga(it)
        ended = self.client.get_saga(it, wait="20s").body
        expect("it was confirmed", ended["status"] == "completed" and ended["steps"][0]["confirm"]["status"] == "done")
        refused(DECIDED, lambda: self.client.register_branch(it, {**branch, "name": "late"}))
        other = self.client.open_saga({"timeout": "60s"}).body["id"]
        self.client.register_branch(other, branch)
        self.client.roll_back_saga(other, {"reason": "no"})
        expect("it was undone", self.client.get_saga(other, wait="20s").body["status"] == "compensated")
        refused("not_revertible", lambda: self.client.revert_saga(it))
        refused("not_found", lambda: self.client.commit_saga(str(uuid.uuid4())))
        refused("not_open", lambda: self.client.commit_saga(self.start("order", {"take": "done"})["id"]))

    def lists(self) -> None:
        seen, cursor = [], None
        while True:
            page = self.client.list_sagas(status=["completed", "compensated"], limit=3, cursor=cursor).body
            seen += [saga["id"] for saga in page["items"]]
            cursor = page["next"]
            if cursor is None:
                break
        expect("pages do not overlap", len(seen) == len(set(seen)) > 3)
        labelled = self.client.list_sagas(label=["order:1"], definition="order@1").body["items"]
        expect("by label", len(labelled) == 1)
        expect("by time", self.client.list_sagas(created_before="2020-01-01T00:00:00Z").body["items"] == [])
        refused("bad_query", lambda: self.client.list_sagas(cursor="nonsense"))

    def repairs(self) -> None:
        saga, item = self.parked()
        shown = self.client.get_repair(item).body
        expect("it tells what is stuck", (shown["saga"], shown["step"], shown["op"]) == (saga, "take", "compensation"))
        expect("it is looked after", self.client.assign_repair(item, {"assignee": "ada"}).body["assignee"] == "ada")
        expect("by whom", len(self.client.list_repairs(assignee="ada", step="take", limit=5).body["items"]) == 1)
        refused("note_required", lambda: self.client.resolve_repair(item, {"note": " "}))
        self.client.resolve_repair(item, {"note": "given back by hand"})
        settled = refused("repair_settled", lambda: self.client.skip_repair(item, {"note": "late"}))
        expect("it tells how", settled.body["settled"]["how"] == "resolved")
        self.client.skip_repair(self.parked()[1], {"note": "it stays"})
        abandoned, item = self.parked()
        self.client.abandon_repair(item, {"note": "enough"})
        expect("it ended", self.client.get_saga(abandoned, wait="20s").body["status"] == "abandoned")
        self.shop.is_kind, (again, item) = False, self.parked()
        self.shop.is_kind = True
        self.client.retry_repair(item, {"note": "it is kind now"})
        expect("it was undone", self.client.get_saga(again, wait="20s").body["status"] == "compensated")
        self.shop.is_kind = False
        expect("in numbers", self.client.repair_summary().body["open"] == 0)
        refused("not_found", lambda: self.client.get_repair(str(uuid.uuid4())))

    def bulk(self) -> None:
        for _ in range(3):
            self.parked()
        request = {"action": "resolve", "filter": {"participant": "shop"}, "note": "all by hand", "per_second": 1}
        preview = self.client.start_bulk({**request, "dry_run": True})
        expect("what would be done", (preview.status, preview.body["matched"]) == (200, 3))
        job = self.client.start_bulk(request)
        expect("it is on its way", job.status == 202)
        it = job.body["id"]
        expect("it rests", self.client.stop_bulk(it).body["status"] == "stopped")
        expect("it goes on", self.client.resume_bulk(it).body["status"] in ("running", "done"))
        until("its end", lambda: self.client.get_bulk(it).body["status"] == "done")
        expect("it is listed", it in [one["id"] for one in self.client.list_bulk().body["items"]])
        refused("job_ended", lambda: self.client.stop_bulk(it))
        refused("filter_required", lambda: self.client.start_bulk({"action": "retry", "filter": {}}))
        refused("not_found", lambda: self.client.get_bulk(str(uuid.uuid4())))

    def removal(self) -> None:
        spare = {"instances": ["http://127.0.0.1:9"], "operations": {"take": {}}}
        instance = self.client.put_participant("spare", spare).body["instances"][0]["id"]
        expect("one instance", self.client.delete_instance("spare", instance).status == 204)
        refused("not_found", lambda: self.client.delete_instance("spare", instance))
        self.client.put_participant("spare", spare)
        expect("all of it", self.client.delete_participant("spare").status == 204)
        refused("not_found", lambda: self.client.delete_participant("spare"))

    def covered(self) -> None:
        """Every operation has said yes, and none that was used was described in vain."""
        answered = self.client.answered | self.submit.answered | self.nobody.answered
        said_yes = {name for name, status, _ in answered if status < 400}
        expect(f"{sorted(OPERATIONS.keys() - said_yes)} never said yes", said_yes == OPERATIONS.keys())
        slugs = {slug for _, _, slug in answered if slug}
        print(f"{len(said_yes)} operations, {len(answered)} kinds of answer, {len(slugs)} slugs")


# What the coordinator calls these refusals.
PAST_PIVOT = "past_pivot"
BAD_TOKEN = "token_invalid"
OTHER_ANSWER = "answer_conflict"
BRANCH_CONFLICT = "branch_conflict"
DECIDED = "saga_decided"


def main() -> None:
    drive = Drive(*sys.argv[1:])
    try:
        drive.all()
        drive.covered()
    except (BrokenPromise, Failed, Misfit, Refusal) as why:
        sys.exit(f"{type(why).__name__}: {why}")


if __name__ == "__main__":
    main()
