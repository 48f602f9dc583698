"""A participant of Amends sagas in one file of the standard library. Copy it beside your service.

    app = amends.Participant("wallet", "wallet.db", SCHEMA)

    @app.operation(compensation="refund")
    def charge(db, call): ...           # in one transaction with the barrier; returns the step's output

    app.run("127.0.0.1:7201", coordinator="http://127.0.0.1:7070")

Whatever a service does: every call takes effect once, every attempt of it is answered alike, and an action never takes
effect after its compensation. The README of the directory above says how and why.
"""

import base64, hashlib, hmac, json, re, signal, sqlite3, sys, threading, time, uuid
import urllib.error, urllib.parse, urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

BARRIER = """
create table if not exists saga_barrier (
    saga_id      blob    not null,
    step         text    not null,
    op           integer not null,
    request_hash blob    not null,
    status       integer,
    response     text,
    created_at   integer not null,
    round        integer not null default 0,
    constraint saga_barrier_once primary key (saga_id, step, op),
    constraint saga_barrier_op check (op in (0, 1, 2))
) strict, without rowid;
create index if not exists saga_barrier_by_time on saga_barrier (created_at, saga_id, step, op);
"""
OPS = {"action": 0, "compensation": 1, "confirm": 2}
OVERTAKEN, CONFIRMED = 0, 2  # the status of rows that a compensation, or a confirm, puts in the way of what comes later
EVERY_ROUND = 2**31 - 1  # the round of a refusal that was compensated: it stands for all that follow
CALL_BYTES_MAX, BATCH_BYTES_MAX, DEPTH_MAX, TTL_SECS = 1 << 20, 8 << 20, 64, 30


class No(Exception):
    """A definite no: nothing was done. 409 refuses; 400, 404, 422 and the like say that the call itself is wrong."""

    def __init__(self, message, status=409, **details):
        super().__init__(message)
        self.status, self.body = status, {"message": message, **details}


class Call:
    """One call, read strictly: who asks (`saga`, `step`), what (`op`, `operation`), and with what `body`."""

    def __init__(self, operation, members, body):
        def read(name, form, default=None):
            text = members.get(name, default)
            text = str(text) if type(text) in (str, int) else ""
            if not re.fullmatch(form, text):
                raise No(f"{name} is missing, given twice or not of the form {form}", 400)
            return text

        self.operation, self.body = operation, body
        self.saga = uuid.UUID(read("saga", "[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"))
        self.step = read("step", r"[A-Za-z0-9_\[\]-]{1,80}")
        self.op = read("op", "action|compensation|confirm|status")
        self.of = read("status_of", "action|compensation|confirm") if self.op == "status" else self.op
        self.attempt, self.round = int(read("attempt", "[1-9][0-9]{0,8}")), int(read("round", "[0-9]{1,9}", 0))
        self.key = read("key", ".{1,256}")
        text = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        self.hash = hashlib.sha256(f"{operation}\0{text}".encode()).digest()[:16]


def read_json(data):
    """Reads a body, of which nothing is taken on trust; an empty one is None."""
    try:
        value = json.loads(data.decode()) if data.strip() else None
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()  # no NaN, and no half of a surrogate pair
    except (ValueError, RecursionError):
        raise No("the body is not JSON in UTF-8", 400) from None
    level = [value]
    for _ in range(DEPTH_MAX + 1):
        parts = [one.values() if isinstance(one, dict) else one for one in level if isinstance(one, (dict, list))]
        level = [child for part in parts for child in part]
    if level:
        raise No(f"the body is nested deeper than {DEPTH_MAX} levels", 400)
    return value


class Participant:
    def __init__(self, name, database, schema="", secret=None, token=None):
        """`secret` (whsec_…) is what calls are signed with; `token` what this service shows the coordinator."""
        self.name, self.secret, self.token, self.operations, self.routes = name, secret, token, {}, {}
        self.lock, self.stopping, self.idle, self.busy = threading.Lock(), threading.Event(), threading.Condition(), 0
        # One connection and one transaction at a time: what a transaction has read, nobody changes until it ends.
        self.db = sqlite3.connect(database, isolation_level=None, check_same_thread=False, timeout=5)
        self.db.executescript("pragma journal_mode = wal; pragma synchronous = full; pragma foreign_keys = on;")
        self.db.executescript(BARRIER + schema)

    def operation(self, name=None, **terms):
        """Offers `run(db, call)` under its name or another; `terms` are those of its registration."""

        def offer(run):
            self.operations[name or run.__name__] = run, {"status": True, "batch": {"max": 64}, **terms}
            return run

        return offer

    def route(self, method, path):
        """Serves `answer(request)` at an address that is no operation; it returns what is sent as JSON."""
        return lambda answer: self.routes.setdefault((method, path), answer)

    def carry_out(self, calls):
        """Carries out calls in their order, in one transaction, and answers when that is committed."""
        with self.lock:
            try:
                self.db.execute("begin immediate")
                answers = [self.alone(call) for call in calls]
                self.db.execute("commit")
                return answers
            except sqlite3.Error as error:
                if self.db.in_transaction:
                    self.db.execute("rollback")
                complain(f"the transaction failed: {error}")
                return [(503, {"message": "the database did not take it; ask again"})] * len(calls)

    def alone(self, call):
        """A call of its transaction. Where it fails nothing of it is left, and its neighbours are none the wiser."""
        if isinstance(call, No):
            return call.status, call.body
        self.db.execute("savepoint one_call")
        try:
            answer = self.guarded(call)
        except Exception as error:
            self.db.execute("rollback to one_call")
            complain(f"{call.operation} of saga {call.saga} failed: {error!r}")
            answer = 500, {"message": "it failed here and left nothing behind; the log says why"}
        self.db.execute("release one_call")
        return answer

    def guarded(self, call):
        """The barrier. A row is (request_hash, status, response, round), and there is one for each op of a step."""
        select = "select op, request_hash, status, response, round from saga_barrier where saga_id = ? and step = ?"
        rows = {row[0]: row[1:] for row in self.db.execute(select, (call.saga.bytes, call.step))}
        op, no_row = OPS[call.of], (b"", OVERTAKEN, None, 0)
        own, action, undo = rows.get(op), rows.get(0, no_row), rows.get(1, no_row)
        if call.op == "status":
            return answer_of(own) if own else (404, {"message": "this call was never seen here"})
        if own and (op != 0 or own[1] < 300 or call.round <= own[3]):  # else an older round's no gives way to this one
            if own[0] != call.hash and own[1] > CONFIRMED and call.round <= own[3] < EVERY_ROUND:
                return 422, {"message": "this step called before with another body or another operation"}
            return answer_of(own)
        if op == 2 and (undo[1] >= 200 or (0 in rows and action[1] == OVERTAKEN)):
            return 409, {"message": "the step was compensated before"}
        if (op == 1 and not 200 <= action[1] < 300) or (op == 2 and action[1] >= 300):
            # Nothing was done, so there is nothing to undo or to make final, and nothing will be done later either.
            self.keep(call, 0, *(action[:3] if 0 in rows else no_row[:3]), EVERY_ROUND)
            return self.keep(call, op, call.hash, 200, None, call.round)
        self.db.execute("savepoint body")
        try:
            status, body = 200, self.operations[call.operation][0](self.db, call)
        except No as no:
            self.db.execute("rollback to body")
            status, body = no.status, no.body
        self.db.execute("release body")
        if status >= 500 or (op != 0 and status >= 300):
            return status, body  # not the last word: somebody puts right what stands in its way, and tries again
        if op == 2:  # from here on neither its action nor its compensation takes effect
            for bar in {0, 1} - rows.keys():
                self.keep(call, bar, b"", CONFIRMED, None, 0)
        return self.keep(call, op, call.hash, status, json.dumps(body), call.round)

    def keep(self, call, op, digest, status, response, round):
        row = call.saga.bytes, call.step, op, digest, status, response, time.time_ns() // 1_000_000, round
        self.db.execute("replace into saga_barrier values (?, ?, ?, ?, ?, ?, ?, ?)", row)
        return answer_of(row[3:6])

    def join(self, saga, branch, operation, body):
        """Does an operation's work as a branch of an open saga: registered first, so that it can always be undone."""
        terms = self.operations[operation][1]
        if "compensation" not in terms:
            raise No("this operation names no compensation, and so is no work for an open saga", 501)
        named = {word: f"{self.name}.{terms[word]}" for word in ("compensation", "confirm") if word in terms}
        call = Call(operation, {"saga": str(saga), "step": branch, "op": "action", "attempt": 1, "key": branch}, body)
        url = f"{self.coordinator}/v1/sagas/{call.saga}/branches"
        status, said = ask(url, {"name": branch, "with": body, **named}, token=self.token)
        if status == 409 and isinstance(said, dict) and said.get("registered"):
            pass  # asked again after the decision: the barrier knows what was answered before it, or that it was undone
        elif status not in (200, 201):  # 404, 409: there is no such saga, or it is decided. Nothing is done for it
            answer = 409 if status in (404, 409) else 503 if status == 0 or status >= 500 else 502
            raise No(f"the coordinator takes no such branch: {said}", answer)
        return self.carry_out([call])[0]

    def signature(self, id, at, data):
        key = base64.b64decode(self.secret.removeprefix("whsec_"))
        return "v1," + base64.b64encode(hmac.digest(key, f"{id}.{at}.".encode() + data, "sha256")).decode()

    def signed(self, body):
        """The headers that sign a body for another service with the same secret; none where there is no secret."""
        id, at, data = str(uuid.uuid4()), str(int(time.time())), json.dumps(body).encode()
        names = ("webhook-id", "webhook-timestamp", "webhook-signature")
        return dict(zip(names, (id, at, self.signature(id, at, data)))) if self.secret else {}

    def check_signature(self, headers, data):
        if not self.secret:
            return
        id, at, given = (headers.get(f"webhook-{name}", "") for name in ("id", "timestamp", "signature"))
        if not re.fullmatch("[0-9]{1,15}", at) or abs(time.time() - int(at)) > 300:
            raise No("webhook-timestamp is missing, or more than 5 minutes off", 401)
        right = self.signature(id, at, data).encode()
        if not any(hmac.compare_digest(right, one.encode()) for one in given.split()):
            raise No("webhook-signature fits no known secret", 401)

    def register(self):
        """Registers until it succeeds, then again and again, so that it is known to live; at the end signs off."""
        operations = {name: terms for name, (_, terms) in self.operations.items()}
        body = {"instances": [self.url], "operations": operations, "ttl": f"{TTL_SECS}s"}
        body |= {"secret": self.secret} if self.secret else {}
        pause, before, ids, url = 0.1, None, [], f"{self.coordinator}/v1/participants/{self.name}"
        while not self.stopping.is_set():
            status, said = ask(url, body, "PUT", self.token)
            is_known = status in (200, 201)
            if is_known:
                ids = [one["id"] for one in said["instances"] if one["url"].rstrip("/") == self.url.rstrip("/")]
            if not is_known and said != before:
                complain(f"not registered yet; trying again: {status} {said}")
            before = None if is_known else said
            self.stopping.wait(TTL_SECS / 3 if is_known else pause)
            pause = 0.1 if is_known else min(pause * 2, 5)
        for id in ids:
            ask(f"{url}/instances/{id}", None, "DELETE", self.token)

    def run(self, listen, coordinator, advertise=None):
        """Serves until SIGTERM or Ctrl-C, lets the requests that are under way end, and returns."""
        host, port = listen.rsplit(":", 1)
        server = ThreadingHTTPServer((host, int(port)), type("Served", (Handler,), {"app": self}))
        server.daemon_threads, here = True, f"http://{host}:{server.server_port}"
        self.url, self.coordinator = advertise or here, coordinator.rstrip("/")
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self.stopping.set())
        threading.Thread(target=server.serve_forever, daemon=True).start()
        registering = threading.Thread(target=self.register, daemon=True)
        registering.start()
        print(f"listening on {here}", flush=True)
        self.stopping.wait()
        registering.join(timeout=3)  # no further calls come once it has signed off
        server.shutdown()
        with self.idle:
            self.idle.wait_for(lambda: self.busy == 0, timeout=10)


class Handler(BaseHTTPRequestHandler):
    """Serves the requests of one connection; a route is given this, with the body as received in `data`."""

    protocol_version, timeout = "HTTP/1.1", 60

    def do_GET(self):
        with self.app.idle:
            self.app.busy += 1
        try:
            self.send(*self.answer())
        except No as no:
            self.send(no.status, no.body)
        except OSError:  # whoever asked has gone
            self.close_connection = True
        except Exception as error:
            complain(f"{self.command} {self.path} failed: {error!r}")
            self.send(500, {"message": "it failed here; the log says why"})
        finally:
            with self.app.idle:
                self.app.busy -= 1
                self.app.idle.notify_all()

    do_POST = do_PUT = do_DELETE = do_GET

    def answer(self):
        self.address = urllib.parse.urlsplit(self.path)
        asked, (operation, _, form) = (self.command, self.address.path), self.address.path[1:].partition("/")
        self.data = self.read(BATCH_BYTES_MAX if form == "batch" else CALL_BYTES_MAX)
        if asked == ("GET", "/healthz"):
            return 200, {"name": self.app.name}
        if asked in self.app.routes:
            return 200, self.app.routes[asked](self)
        if operation not in self.app.operations or form not in ("", "batch"):
            raise No(f"there is no such address; the operations are {', '.join(self.app.operations)}", 404)
        if self.command != "POST":
            raise No("an operation is called with POST", 405)
        self.app.check_signature(self.headers, self.data)
        body = read_json(self.data)
        if form == "batch":
            return 200, {"results": self.batch(operation, body)}
        if "saga-branch" in self.headers and "saga-op" not in self.headers:
            return self.app.join(self.headers.get("saga-id"), self.headers["saga-branch"], operation, body)
        names = ("saga", "step", "op", "status_of", "attempt", "round", "key")
        headers = {"saga": "saga-id", "status_of": "saga-status-of", "key": "idempotency-key"}
        given = {name: self.headers.get_all(headers.get(name, f"saga-{name}")) for name in names}
        members = {name: values[0] if len(values) == 1 else None for name, values in given.items() if values}
        return self.app.carry_out([Call(operation, members, body)])[0]

    def batch(self, operation, body):
        entries = body.get("calls") if isinstance(body, dict) else None
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise No('a batch is {"calls": [{…}, …]}', 400)
        calls = []
        for entry in entries:
            try:
                calls.append(Call(operation, entry, entry.get("body")))
            except No as no:
                calls.append(no)
        return [{"status": status, "body": answer} for status, answer in self.app.carry_out(calls)]

    def read(self, bytes_max):
        length, is_last = self.headers.get("content-length", "0"), self.close_connection
        self.close_connection = True  # until the whole of the body is read
        if "transfer-encoding" in self.headers or not re.fullmatch("[0-9]{1,15}", length):
            raise No("say how long the body is, in Content-Length", 411)
        if int(length) > bytes_max:
            raise No(f"the body is longer than {bytes_max} bytes", 413)
        data = self.rfile.read(int(length))
        if len(data) < int(length):
            raise No("the body was cut short", 400)
        self.close_connection = is_last
        return data

    def send(self, status, body):
        data = b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


def answer_of(row):
    """What a row (request_hash, status, response, …) says to every further attempt, and to a status question."""
    if row[1] in (OVERTAKEN, CONFIRMED):
        return 409, {"message": "the step was compensated, or confirmed, before this call arrived"}
    return row[1], json.loads(row[2] or "null")


def ask(url, body, method="POST", token=None, headers=()):
    """Sends JSON to the coordinator or another service: its status and what it said; 0 where nobody answered."""
    headers = {"content-type": "application/json", **dict(headers)}
    headers |= {"authorization": f"Bearer {token}"} if token else {}
    request = urllib.request.Request(url, json.dumps(body).encode(), headers, method=method)
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10) as response:
            status, text = response.status, response.read()
    except urllib.error.HTTPError as error:
        status, text = error.code, error.read()
    except OSError as error:
        return 0, str(error)
    try:
        return status, json.loads(text or b"null")
    except ValueError:
        return status, text[:200].decode(errors="replace")


def complain(message):
    print(message, file=sys.stderr, flush=True)
