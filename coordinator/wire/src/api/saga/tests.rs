//! What a saga looks like to callers, as whole outputs.

use super::*;
use crate::api::{JournalItem, RepairView};
use amends_saga::{
    Answer, BranchTerms, CallKey, Definition, Event, Input, Millis, Op, Question, Record, Report, Step,
    Timestamp, child_id, decide,
    definition::{CHILD_PARTICIPANT, CallStep, Fan, Scope, Target, Template, Undo, UndoCall},
    schedule::{Schedule, UndoSchedule},
};
use serde_json::{Value, json};
use std::sync::Arc;

#[derive(Debug)]
struct Fixed(Json);

impl Template for Fixed {
    fn render(&self, _: &Scope<'_>) -> Result<Json, String> {
        Ok(self.0.clone())
    }
}

fn name(text: &str) -> Name {
    Name::parse(text).expect("a name")
}

fn operation(text: &str) -> Operation {
    Operation {
        participant: name("inventory"),
        name: name(text),
        timeout: Millis(5000),
        status: false,
        barrier: true,
        target: Target::Participant,
    }
}

fn call(step: &str, action: &str, undo: Option<&str>, after: &[u16]) -> Step {
    let once = UndoSchedule {
        quick: 1,
        slow: Schedule { attempts: 0, ..Schedule::QUICK },
        within: Millis::from_secs(60),
    };
    let undo =
        undo.map(|undo| UndoCall { operation: operation(undo), with: None, retry: once, eager: false });
    Step {
        name: name(step),
        after: after.iter().map(|i| StepIx(*i)).collect(),
        when: None,
        pivot: false,
        fan: None,
        returns: None,
        kind: Kind::Call(CallStep {
            action: operation(action),
            with: Arc::new(Fixed(Arc::new(json!({"order": "1001"})))),
            retry: Schedule::ACTION,
            within: None,
            undo: undo.map_or(Undo::ReadOnly, Undo::Call),
        }),
    }
}

fn definition() -> Arc<Definition> {
    let payment = Step {
        name: name("payment"),
        after: vec![StepIx(1)],
        when: None,
        pivot: false,
        fan: None,
        returns: None,
        kind: Kind::Await(AwaitStep { signal: name("paid"), timeout: Millis::from_secs(900), default: None }),
    };
    let steps = vec![
        call("quote", "quote", None, &[]),
        call("hold", "hold", Some("release"), &[0]),
        payment,
        call("confirm", "confirm", Some("restore"), &[2]),
    ];
    let deadline = Some(Millis::from_secs(1200));
    Arc::new(Definition::new(name("checkout"), 1, "00".into(), deadline, steps, None).expect("a definition"))
}

/// A saga and its journal, driven by hand.
struct Run {
    saga: Saga,
    records: Vec<Record>,
    now: i64,
}

impl Run {
    fn new() -> Run {
        Run::of(definition(), None)
    }

    fn of(definition: Arc<Definition>, timeout: Option<Millis>) -> Run {
        let start = amends_saga::Start {
            id: "01890000-0000-7000-8000-000000000001".parse().expect("an id"),
            definition,
            input: Arc::new(json!({"order": "1001"})),
            key: Some("order-1001".into()),
            labels: BTreeMap::from([("order".to_owned(), "1001".to_owned())]),
            parent: None,
            timeout,
            barred: false,
        };
        let (saga, records) = amends_saga::start(start, Timestamp(0));
        Run { saga, records, now: 0 }
    }

    fn take(mut self, input: Input) -> Run {
        self.now += 1000;
        let records = decide(&self.saga, input, Timestamp(self.now)).expect("the input is taken");
        for record in &records {
            self.saga.apply(record.at, &record.event);
        }
        self.records.extend(records);
        self
    }

    fn answer(self, step: u16, op: Op, attempt: u32, answer: Answer) -> Run {
        let key = CallKey { step: StepIx(step), op, attempt, poll: 0, question: Question::Call };
        self.take(Input::Answer { key, answer })
    }

    fn done(self, step: u16) -> Run {
        self.answer(step, Op::Action, 1, Answer::Done(Arc::new(json!({"ok": step}))))
    }
}

fn refused(message: &str) -> Answer {
    Answer::Refused(Report::new(Some(409), message, 7))
}

fn unknown() -> Answer {
    Answer::Unknown { report: Report::new(Some(503), "busy", 3), retry_after: Some(Millis(4000)) }
}

fn view(saga: &Saga) -> Value {
    serde_json::to_value(SagaView::of(saga)).expect("a view")
}

#[test]
fn a_saga_that_waits_shows_its_members_in_order() {
    let run = Run::new().done(0).done(1);
    let text = serde_json::to_string(&SagaView::of(&run.saga)).expect("a view");
    let expected = concat!(
        r#"{"id":"01890000-0000-7000-8000-000000000001","definition":"checkout","version":1,"key":"order-1001","#,
        r#""labels":{"order":"1001"},"status":"running","input":{"order":"1001"},"output":null,"error":null,"#,
        r#""created_at":"1970-01-01T00:00:00.000Z","updated_at":"1970-01-01T00:00:02.000Z","ended_at":null,"#,
        r#""deadline_at":"1970-01-01T00:20:00.000Z","steps":["#,
        r#"{"name":"quote","kind":"call","status":"done","action":{"operation":"inventory.quote","status":"done","#,
        r#""attempts":1,"output":{"ok":0},"last_error":null,"next_attempt_at":null},"compensation":null,"settled_by_hand":false},"#,
        r#"{"name":"hold","kind":"call","status":"done","action":{"operation":"inventory.hold","status":"done","#,
        r#""attempts":1,"output":{"ok":1},"last_error":null,"next_attempt_at":null},"#,
        r#""compensation":{"operation":"inventory.release","status":"pending","attempts":0,"output":null,"#,
        r#""last_error":null,"next_attempt_at":null},"settled_by_hand":false},"#,
        r#"{"name":"payment","kind":"await","status":"waiting","action":null,"compensation":null,"#,
        r#""settled_by_hand":false,"signal":"paid","output":null,"timeout_at":"1970-01-01T00:15:02.000Z"},"#,
        r#"{"name":"confirm","kind":"call","status":"pending","action":{"operation":"inventory.confirm","#,
        r#""status":"pending","attempts":0,"output":null,"last_error":null,"next_attempt_at":null},"#,
        r#""compensation":{"operation":"inventory.restore","status":"pending","attempts":0,"output":null,"#,
        r#""last_error":null,"next_attempt_at":null},"settled_by_hand":false}],"#,
        r#""settled_by_hand":false,"repairs":[]}"#,
    );
    assert_eq!(text, expected);
    let again: SagaView = serde_json::from_str(&text).expect("a client reads it back");
    assert_eq!(again, SagaView::of(&run.saga));
}

#[test]
fn a_list_shows_the_same_without_steps() {
    let saga = Run::new().saga;
    let mut whole = view(&saga);
    whole.as_object_mut().expect("an object").remove("steps");
    assert_eq!(serde_json::to_value(SagaView::brief(&saga)).expect("a view"), whole);
    assert_eq!(serde_json::to_value(SagaView::of(&saga).without_steps()).expect("a view"), whole);
}

#[test]
fn an_attempt_that_is_still_to_be_made_is_not_counted() {
    let run = Run::new().answer(0, Op::Action, 1, unknown());
    let action = &view(&run.saga)["steps"][0]["action"];
    assert_eq!(action["status"], "running");
    assert_eq!(action["attempts"], 1);
    let error = json!({"status": 503, "message": "busy", "at": "1970-01-01T00:00:01.000Z"});
    assert_eq!(action["last_error"], error);
    assert_eq!(action["next_attempt_at"], "1970-01-01T00:00:05.000Z");
}

#[test]
fn a_pending_call_shows_when_it_is_asked_about() {
    let run = Run::new().answer(
        0,
        Op::Action,
        1,
        Answer::Pending { retry_after: Some(Millis(2000)), repair: false },
    );
    let action = &view(&run.saga)["steps"][0]["action"];
    assert_eq!((&action["status"], &action["attempts"]), (&json!("running"), &json!(1)));
    assert_eq!(action["next_attempt_at"], "1970-01-01T00:00:03.000Z");
}

#[test]
fn a_parked_step_shows_as_a_repair_item_that_holds_the_steps_before_it() {
    let signal = Input::Signal { name: name("paid"), id: None, payload: Arc::new(json!({"by": "card"})) };
    let run = Run::new().done(0).done(1).take(signal).answer(3, Op::Action, 1, unknown());
    let run = run.take(Input::Cancel { reason: "changed my mind".into() });
    let run = run.answer(3, Op::Compensation, 1, refused("already shipped"));
    let view = view(&run.saga);
    assert_eq!(view["status"], "repair");
    assert_eq!(view["error"], json!({"step": null, "kind": "cancelled", "message": "changed my mind"}));
    assert_eq!(view["steps"][2]["output"], json!({"by": "card"}));
    assert_eq!(view["steps"][3]["status"], "parked");
    assert_eq!(view["steps"][3]["compensation"]["status"], "parked");
    let id = view["repairs"][0]["id"].as_str().expect("an id").to_owned();
    assert_eq!(id.parse::<uuid::Uuid>().expect("a UUID").get_version_num(), 8);
    assert_eq!(
        view["repairs"],
        json!([{
            "id": id, "kind": "step", "saga": run.saga.id, "definition": "checkout", "step": "confirm", "op": "compensation",
            "participant": "inventory", "operation": "inventory.restore", "status": "open", "reason": "refused",
            "opened_at": "1970-01-01T00:00:06.000Z", "first_opened_at": "1970-01-01T00:00:06.000Z", "attempts": 1,
            "errors": [{"attempt": 1, "at": "1970-01-01T00:00:06.000Z", "status": 409,
                        "message": "already shipped", "latency_ms": 7}],
            "payload": {"order": "1001"}, "holds": ["hold"], "assignee": null, "notes": [], "previous": null,
            "settled": null, "proposed": format!("amends repair resolve {id} --note 'WHAT YOU DID BY HAND'")
        }])
    );
    assert_eq!(RepairView::all(&run.saga)[0].id.to_string(), id, "the id is the same every time");
}

#[test]
fn a_journal_is_numbered_and_its_times_are_readable() {
    let run = Run::new().answer(0, Op::Action, 1, unknown());
    let items = serde_json::to_string(&JournalItem::all(&run.records)).expect("items");
    let started = concat!(
        r#"[{"seq":1,"at":"1970-01-01T00:00:00.000Z","type":"started","#,
        r#""deadline_at":"1970-01-01T00:20:00.000Z","definition":"checkout@1","hash":"00","#
    );
    assert!(items.starts_with(started), "{items}");
    let failed = concat!(
        r#"{"seq":3,"at":"1970-01-01T00:00:01.000Z","type":"call_failed","step":"quote","attempt":1,"#,
        r#""error":{"latency_ms":3,"message":"busy","status":503},"#,
        r#""next_attempt_at":"1970-01-01T00:00:05.000Z","op":"action"}]"#
    );
    assert!(items.ends_with(failed), "{items}");
    let ended = JournalItem::of(9, &Record { at: Timestamp(1), event: Event::Compensated });
    let text = serde_json::to_string(&ended).expect("an item");
    assert_eq!(text, r#"{"seq":9,"at":"1970-01-01T00:00:00.001Z","type":"compensated"}"#);
}

/// One step with an undo, changed as told.
fn alone(change: impl FnOnce(&mut Step)) -> Arc<Definition> {
    let mut step = call("only", "hold", Some("release"), &[]);
    change(&mut step);
    let steps = vec![step, call("last", "confirm", None, &[0])];
    Arc::new(Definition::new(name("one"), 1, "01".into(), None, steps, None).expect("a definition"))
}

/// The members of the steps that a test is about, one line each.
fn lines(saga: &Saga, members: &[&str]) -> Vec<String> {
    let view = view(saga);
    let steps = view["steps"].as_array().expect("steps").iter();
    steps
        .map(|step| {
            let told =
                members.iter().map(|member| step.pointer(member).map_or("-".to_owned(), Value::to_string));
            told.collect::<Vec<_>>().join(" ")
        })
        .collect()
}

#[test]
fn a_fanned_out_step_shows_its_items_behind_it_and_stands_as_they_do() {
    let over = Arc::new(Fixed(Arc::new(json!([{"sku": "a"}, {"sku": "b"}]))));
    let definition = alone(|step| step.fan = Some(Fan { over, parallel: 2 }));
    let members = ["/name", "/status", "/items", "/action/status", "/action/output", "/compensation/status"];
    let check = |run: &Run, expected: [&str; 4]| assert_eq!(lines(&run.saga, &members), expected);
    let run = Run::of(definition, None);
    check(
        &run,
        [
            r#""only" "running" 2 "running" null "pending""#,
            r#""only[0]" "running" - "running" null "pending""#,
            r#""only[1]" "running" - "running" null "pending""#,
            r#""last" "pending" - "pending" null -"#,
        ],
    );
    // Items stand behind the definition's steps, whatever their place in the view.
    let run = run.done(3).done(2);
    check(
        &run,
        [
            r#""only" "done" 2 "done" [{"ok":2},{"ok":3}] "pending""#,
            r#""only[0]" "done" - "done" {"ok":2} "pending""#,
            r#""only[1]" "done" - "done" {"ok":3} "pending""#,
            r#""last" "running" - "running" null -"#,
        ],
    );
    let run = run.answer(1, Op::Action, 1, refused("no"));
    check(
        &run,
        [
            r#""only" "compensating" 2 "done" [{"ok":2},{"ok":3}] "running""#,
            r#""only[0]" "compensating" - "done" {"ok":2} "running""#,
            r#""only[1]" "compensating" - "done" {"ok":3} "running""#,
            r#""last" "refused" - "refused" null -"#,
        ],
    );
    let run = run.answer(3, Op::Compensation, 1, refused("gone"));
    assert_eq!(lines(&run.saga, &["/status"])[..3], [r#""parked""#, r#""compensating""#, r#""parked""#]);
    assert_eq!(view(&run.saga)["repairs"][0]["step"], "only[1]");
    let run =
        Run { records: Vec::new(), ..run }.answer(2, Op::Compensation, 1, Answer::Done(Json::default()));
    assert_eq!(lines(&run.saga, &["/status"])[..3], [r#""parked""#, r#""compensated""#, r#""parked""#]);
}

#[test]
fn a_step_whose_condition_is_false_is_skipped() {
    let when = Arc::new(Fixed(Arc::new(json!(false))));
    let run = Run::of(alone(|step| step.when = Some(when)), None);
    let expected = [r#""skipped" "pending""#, r#""running" "running""#];
    assert_eq!(lines(&run.saga, &["/status", "/action/status"]), expected);
}

#[test]
fn a_step_that_runs_a_saga_names_its_child_once_it_has_begun() {
    let child = |step: &mut Step| {
        let Kind::Call(call) = &mut step.kind else { return };
        call.action.participant = name(CHILD_PARTICIPANT);
        call.action.target = Target::Saga { version: None };
    };
    let steps = || {
        let mut run = call("run", "other", None, &[0]);
        child(&mut run);
        vec![call("first", "quote", None, &[]), run]
    };
    let definition = Definition::new(name("one"), 1, "02".into(), None, steps(), None).expect("a definition");
    let run = Run::of(Arc::new(definition), None);
    let members = ["/kind", "/child", "/action/operation"];
    assert_eq!(lines(&run.saga, &members)[1], r#""saga" - "saga.other""#);
    let run = run.done(0);
    let id = child_id(run.saga.id, &name("run").into(), 0);
    assert_eq!(lines(&run.saga, &members)[1], format!(r#""saga" "{id}" "saga.other""#));
    let pending = Answer::Pending { retry_after: None, repair: true };
    let run = run.answer(1, Op::Action, 1, pending);
    assert_eq!(view(&run.saga)["status"], "repair");
    assert_eq!(children_in_repair(&run.saga), [id]);
    let pending = Answer::Pending { retry_after: None, repair: false };
    let key = CallKey { step: StepIx(1), op: Op::Action, attempt: 1, poll: 1, question: Question::Status };
    let run = run.take(Input::Answer { key, answer: pending });
    assert_eq!(
        (view(&run.saga)["status"].clone(), children_in_repair(&run.saga)),
        (json!("running"), vec![])
    );
}

#[test]
fn a_child_names_the_saga_and_the_step_it_is_run_for() {
    let above: SagaId = "01890000-0000-7000-8000-000000000009".parse().expect("an id");
    let parent = Parent { saga: above, step: name("run").into(), depth: 1 };
    let start = amends_saga::Start {
        parent: Some(parent),
        ..amends_saga::Start::new(SagaId::nil(), definition(), Arc::new(json!({})))
    };
    let (saga, _) = amends_saga::start(start, Timestamp(0));
    assert_eq!(view(&saga)["parent"], json!({ "saga": above, "step": "run" }));
    assert!(view(&Run::new().saga).get("parent").is_none());
}

#[test]
fn an_open_saga_shows_its_branches_with_their_confirms() {
    let once = UndoSchedule { quick: 1, slow: Schedule::QUICK, within: Millis::from_secs(60) };
    let branch = |text: &str, confirm: Option<&str>| {
        let terms = BranchTerms {
            compensation: operation("release"),
            undo_retry: once,
            confirm: confirm.map(operation),
            retry: once,
            input: Arc::new(json!({ "of": text })),
        };
        Input::Branch { name: name(text), terms: Box::new(terms) }
    };
    let run = Run::of(Arc::new(Definition::open()), Some(Millis::from_secs(60)));
    let shown = view(&run.saga);
    assert_eq!(
        (&shown["definition"], &shown["open"], &shown["steps"]),
        (&json!("open"), &json!(true), &json!([]))
    );
    assert_eq!(
        (&shown["deadline_at"], shown.get("committed_at")),
        (&json!("1970-01-01T00:01:00.000Z"), None)
    );
    let run = run.take(branch("seats", Some("confirm"))).take(branch("mail", None));
    let members = ["/name", "/kind", "/status", "/action", "/confirm/status", "/compensation/status"];
    let expected = [
        r#""seats" "branch" "waiting" null "pending" "pending""#,
        r#""mail" "branch" "waiting" null - "pending""#,
    ];
    assert_eq!(lines(&run.saga, &members), expected);
    let run = run.take(Input::Commit);
    let expected = [
        r#""seats" "branch" "running" null "running" "pending""#,
        r#""mail" "branch" "done" null - "pending""#,
    ];
    assert_eq!(lines(&run.saga, &members), expected);
    assert_eq!(view(&run.saga)["committed_at"], "1970-01-01T00:00:03.000Z");
    let run = run.answer(0, Op::Confirm, 1, refused("sold"));
    let shown = view(&run.saga);
    assert_eq!(
        (&shown["status"], &shown["steps"][0]["confirm"]["status"]),
        (&json!("repair"), &json!("parked"))
    );
    let item = &shown["repairs"][0];
    assert_eq!((&item["op"], &item["operation"]), (&json!("confirm"), &json!("inventory.confirm")));
}

#[test]
fn a_step_past_the_pivot_that_cannot_be_done_is_a_repair_item_forward() {
    let mut pivot = call("pay", "pay", None, &[]);
    pivot.pivot = true;
    let wait = Step {
        name: name("parcel"),
        after: vec![StepIx(0)],
        when: Some(Arc::new(Fixed(Arc::new(json!("perhaps"))))),
        pivot: false,
        fan: None,
        returns: None,
        kind: Kind::Await(AwaitStep {
            signal: name("parcel"),
            timeout: Millis::from_secs(60),
            default: Some(Arc::new(Fixed(Json::default()))),
        }),
    };
    let steps = vec![pivot, call("ship", "ship", None, &[0]), wait, call("end", "end", None, &[1])];
    let definition = Definition::new(name("shop"), 1, "03".into(), None, steps, None).expect("a definition");
    let run = Run::of(Arc::new(definition), None).done(0).answer(1, Op::Action, 1, refused("no truck"));
    let shown = view(&run.saga);
    assert_eq!((&shown["status"], &shown["error"]), (&json!("repair"), &json!(null)));
    let repairs = shown["repairs"].as_array().expect("items").iter();
    let members = |item: &Value| ["step", "op", "participant", "operation", "holds"].map(|m| item[m].clone());
    let expected = [
        [json!("ship"), json!("action"), json!("inventory"), json!("inventory.ship"), json!(["end"])],
        [json!("parcel"), json!("action"), json!("saga"), json!(null), json!([])],
    ];
    assert_eq!(repairs.map(members).collect::<Vec<_>>(), expected);
}
