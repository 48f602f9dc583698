//! Scenarios in text: what happens to a saga, and everything that follows from it.
//!
//! A scenario in `tests/scenarios/`, or in its `shop/` for the sagas in `sagas/`, is a sketch of a definition, an empty
//! line, what happens, a line `---`, and the whole output that is expected. Write the output again with
//! `AMENDS_UPDATE=1`.
//!
//! ```text
//! start {"order":1}             the saga is started, or started again
//! reserve 200 {"hold":7}        the call in flight of step "reserve" is answered
//! ~reserve 503 retry_after=2s   its compensation is
//! reserve@2 409                 an answer to attempt 2, whatever is in flight
//! reserve timeout | garbage     no answer, or one that is not JSON
//! wait 5s | wake                time passes; until the next timer
//! signal payment {} id=a        a signal arrives
//! retry ada order {"to":"x"}   an operator does something about a stuck step: retry, resolve, prove, skip,
//!                               abandon, or assign (with who looks after it in place of the body)
//! +branch 200                   the confirm call of a branch is answered
//! callback ~reserve 200 {}      the participant answers by itself
//! open 30s                      an open saga is begun, in place of "start"
//! branch pay bank.undo [bank.confirm] {}   a branch is registered
//! renew 30s, commit             an open saga gets more time; it is decided
//! bar {"order":1}               the saga is started only so that no later start can begin it
//! revert                        a completed saga is taken back and undone
//! cancel, crash, lose           somebody cancels; another coordinator takes over; the next write fails
//! show                          the saga as it stands
//! ```

use amends_saga::{
    Answer, Audit, BranchTerms, Call, CallKey, Coordinator, Event, Input, Json, Millis, Name, Op, Question,
    Record, Report, Saga, SagaId, Start, StepIx, StepName, Timestamp, Verb, answer,
    answer::{Asked, Body},
    coordinator::{Admission, Append, Effect, Limits, Written},
    schedule::UndoSchedule,
    sketch,
};
use std::{
    collections::BTreeMap,
    fmt::Write,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};
use uuid::Uuid;

#[test]
fn every_scenario_ends_as_written() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let mut files = texts_in(&folder);
    files.extend(texts_in(&folder.join("shop")));
    assert!(files.len() >= 100, "the scenarios are there");
    let update = std::env::var_os("AMENDS_UPDATE").is_some();
    let mut wrong = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).expect("a scenario");
        let (script, expected) = text.split_once("---\n").unwrap_or((&text, ""));
        let output = play(script);
        if update {
            fs::write(&file, format!("{script}---\n{output}")).expect("the scenario is written");
        } else if output != expected {
            wrong.push(format!("{}\n{}", file.display(), difference(expected, &output)));
        }
    }
    assert!(wrong.is_empty(), "{}\nif this is right, run again with AMENDS_UPDATE=1", wrong.join("\n"));
}

/// The scenarios of a folder, by their names; no number stands for two of them.
fn texts_in(folder: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(folder).expect("the scenarios").map(|file| file.expect("a file").path());
    let mut files: Vec<PathBuf> = files.filter(|path| path.is_file()).collect();
    files.sort();
    let number = |path: &PathBuf| {
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        name.split('_').next().expect("a number").to_owned()
    };
    for pair in files.windows(2) {
        assert_ne!(number(&pair[0]), number(&pair[1]), "{} has the number of another", pair[1].display());
    }
    files
}

fn difference(expected: &str, output: &str) -> String {
    let differ = expected.lines().zip(output.lines()).position(|(a, b)| a != b);
    let at = differ.unwrap_or(expected.lines().count().min(output.lines().count()));
    let line = |text: &str| text.lines().nth(at).unwrap_or("(nothing)").to_owned();
    format!("  line {}\n  expected: {}\n  but was:  {}", at + 1, line(expected), line(output))
}

fn play(script: &str) -> String {
    let script: Vec<&str> = script.lines().filter(|line| !line.starts_with('#')).collect();
    let mut parts = script.split(|line| line.trim().is_empty()).filter(|part| !part.is_empty());
    let sketch = parts.next().expect("a sketch").join("\n");
    let mut stage = Stage::new(&sketch);
    for line in parts.flatten() {
        writeln!(stage.output, "> {line}").expect("a string");
        stage.act(line.trim());
    }
    stage.output
}

/// One coordinator, a store that is a list, and what has been printed.
struct Stage {
    definition: Arc<amends_saga::Definition>,
    coordinator: Coordinator,
    journal: Vec<Record>,
    epoch: u64,
    sent: BTreeMap<(String, Op), CallKey>,
    now: Timestamp,
    lose: bool,
    output: String,
}

const ID: SagaId = SagaId::from_u128(7);

/// A scenario tells of one saga; what a participant's gate makes of many has tests of its own.
fn limits() -> Limits {
    Limits { gates: None, ..Limits::default() }
}

impl Stage {
    fn new(sketch: &str) -> Stage {
        Stage {
            definition: if sketch.trim() == "open" {
                Arc::new(amends_saga::Definition::open())
            } else {
                sketch::definition(sketch)
            },
            coordinator: Coordinator::new(limits()),
            journal: Vec::new(),
            epoch: 1,
            sent: BTreeMap::new(),
            now: Timestamp(0),
            lose: false,
            output: String::new(),
        }
    }

    fn act(&mut self, line: &str) {
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        match verb {
            "start" => self.start(rest),
            "wait" => self.wait(sketch::span(rest)),
            "wake" => match self.coordinator.next_wake() {
                Some(at) => self.wait(at.since(self.now)),
                None => self.say("nothing to wait for"),
            },
            "signal" => self.signal(rest),
            "cancel" => self.input(Input::Cancel { reason: "somebody changed their mind".to_owned() }),
            "crash" => self.crash(),
            "open" => self.begin(Start { timeout: Some(sketch::span(rest)), ..self.start_of("null") }, rest),
            "bar" => self.begin(Start { barred: true, ..self.start_of(rest) }, rest),
            "branch" => self.branch(rest),
            "renew" => self.input(Input::Renew { deadline_at: self.now.after(sketch::span(rest)) }),
            "commit" => self.input(Input::Commit),
            "revert" => self.revert(),
            "callback" => self.callback(rest),
            "lose" => self.lose = true,
            "retry" | "resolve" | "prove" | "skip" | "abandon" | "assign" => self.repair(verb, rest),
            "show" => self.show(),
            step => self.answer(step, rest),
        }
    }

    fn start_of(&self, input: &str) -> Start {
        let id = if self.journal.is_empty() { ID } else { SagaId::from_u128(8) };
        Start { key: Some("key".to_owned()), ..Start::new(id, self.definition.clone(), json(input)) }
    }

    fn start(&mut self, rest: &str) {
        self.begin(self.start_of(rest), rest);
    }

    fn begin(&mut self, start: Start, written: &str) {
        let mut fingerprint = [0; 32];
        fingerprint[0] = written.len() as u8;
        match self.coordinator.start(start, fingerprint, self.now) {
            Admission::New => self.write(),
            other => self.say(&format!("{other:?}")),
        }
    }

    fn branch(&mut self, rest: &str) {
        let mut words = rest.split(' ').peekable();
        let name = Name::parse(words.next().expect("a branch's name")).expect("a name");
        let compensation = sketch::operation_of(words.next().expect("a compensation"));
        let is_operation = |word: &&str| word.contains('.') && !word.starts_with('{');
        let confirm = words.next_if(is_operation).map(sketch::operation_of);
        let input = json(words.next().unwrap_or("null"));
        let (undo_retry, retry) = (UndoSchedule::DEFAULT, UndoSchedule::DEFAULT);
        let terms = Box::new(BranchTerms { compensation, undo_retry, confirm, retry, input });
        self.input(Input::Branch { name, terms });
    }

    fn revert(&mut self) {
        let saga = Saga::replay(ID, self.definition.clone(), &self.journal);
        self.epoch += 1;
        let reason = "somebody sent it back".to_owned();
        match self.coordinator.revert(saga, [0; 32], (self.epoch, "another"), reason, self.now) {
            Ok(()) => self.write(),
            Err(why) => self.say(&format!("not taken: {why:?}")),
        }
    }

    fn callback(&mut self, rest: &str) {
        let (target, rest) = rest.split_once(' ').expect("a call and its answer");
        let (op, step) = call_of(target);
        let key = CallKey { step: StepIx(0), op, attempt: 1, poll: 0, question: Question::Call };
        let (step, answer) = (StepName::parse(step).expect("a step's name"), read(key, rest));
        self.input(Input::Callback { step, op, answer });
    }

    fn wait(&mut self, span: Millis) {
        self.now = self.now.after(span);
        let effects = self.coordinator.tick(self.now);
        self.perform(effects);
        self.write();
    }

    fn signal(&mut self, rest: &str) {
        let mut words = rest.split(' ');
        let name = Name::parse(words.next().expect("a signal's name")).expect("a name");
        let (mut id, mut payload) = (None, Json::default());
        for word in words {
            match word.strip_prefix("id=") {
                Some(given) => id = Some(given.to_owned()),
                None => payload = json(word),
            }
        }
        self.input(Input::Signal { name, id, payload });
    }

    /// Takes a saga that waits for an operator back, and gives it the verb.
    fn repair(&mut self, verb: &str, rest: &str) {
        let mut words = rest.splitn(3, ' ');
        let (by, step, body) = (words.next().unwrap_or(""), words.next().unwrap_or(""), words.next());
        let saga = Saga::replay(ID, self.definition.clone(), &self.journal);
        let ix = saga.find_step(step).expect("a step of the saga");
        let newest = saga.items().filter(|(of, _, _)| *of == ix).last();
        let item = newest.map_or(Uuid::nil(), |(_, _, repair)| repair.item);
        let verb = match verb {
            "retry" => Verb::Retry { input: body.map(json) },
            "resolve" => Verb::Resolve { output: body.map(json) },
            "prove" => Verb::Prove { output: json(body.unwrap_or("null")) },
            "skip" => Verb::Skip,
            "abandon" => Verb::Abandon,
            _ => Verb::Assign { assignee: body.expect("who looks after it").to_owned() },
        };
        let audit = Audit { by: by.to_owned(), note: Some(format!("{by} says so")), from: None };
        let input = Input::Repair { item, verb, audit };
        if saga.is_terminal() {
            return match amends_saga::decide(&saga, input, self.now) {
                Ok(records) => self.say(&format!("changes nothing: {} events", records.len())),
                Err(why) => self.say(&format!("not taken: {why:?}")),
            };
        }
        if self.coordinator.get(ID).is_none() {
            self.epoch += 1;
            self.coordinator.adopt(saga, [0; 32], self.epoch, "another", self.now);
        }
        self.input(input);
    }

    fn input(&mut self, input: Input) {
        match self.coordinator.input(ID, input, self.now) {
            Ok(()) => self.write(),
            Err(why) => self.say(&format!("not taken: {why:?}")),
        }
    }

    /// Another coordinator takes over what is durable.
    fn crash(&mut self) {
        self.coordinator = Coordinator::new(limits());
        self.sent.clear();
        self.adopt();
    }

    fn adopt(&mut self) {
        self.epoch += 1;
        let saga = Saga::replay(ID, self.definition.clone(), &self.journal);
        self.coordinator.adopt(saga, [0; 32], self.epoch, "another", self.now);
        self.write();
    }

    fn answer(&mut self, target: &str, rest: &str) {
        let (target, attempt) = match target.split_once('@') {
            Some((target, attempt)) => (target, Some(attempt.parse().expect("an attempt"))),
            None => (target, None),
        };
        let (op, step) = call_of(target);
        let Some(mut key) = self.sent.get(&(step.to_owned(), op)).copied() else {
            return self.say("no such call was sent");
        };
        key.attempt = attempt.unwrap_or(key.attempt);
        let answer = read(key, rest);
        self.input(Input::Answer { key, answer });
    }

    /// Writes until nothing is left to write, and does what follows.
    fn write(&mut self) {
        while let Some(batch) = self.coordinator.take_batch() {
            if std::mem::replace(&mut self.lose, false) {
                self.say("the write fails, and nobody knows whether it took effect");
                self.coordinator.write_failed();
                return self.adopt();
            }
            batch.iter().for_each(|append| self.append(append));
            let effects = self.coordinator.written(&vec![Written::Done; batch.len()], self.now);
            self.perform(effects);
        }
    }

    fn append(&mut self, append: &Append) {
        assert_eq!(append.after_seq, self.journal.len() as u64, "a journal has no gap");
        for record in &append.records {
            self.journal.push(record.clone());
            let line = format!("{:>3}  {}", self.journal.len(), describe(record));
            self.say(&line);
        }
    }

    fn perform(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Send { call, .. } => self.send(&call),
                Effect::Accepted(_) => self.say("accepted"),
                Effect::Ended(ended) => {
                    assert_eq!(ended.0, Saga::replay(ID, self.definition.clone(), &self.journal));
                    self.say("ended");
                }
                Effect::Lost(_) => self.say("lost"),
                Effect::KeyTaken { .. } => self.say("the key is taken"),
                Effect::Advanced(_) => {}
                Effect::Repairs(rows) => {
                    for row in rows {
                        let how = row.settled_how.map(|how| format!(", {how:?}")).unwrap_or_default();
                        let line = format!("item {} of {}: {:?}{how}", row.number, row.step, row.status);
                        self.say(&line);
                    }
                }
                Effect::Shelved(_) => self.say("shelved"),
                Effect::Asleep(_) => self.say("asleep"),
                Effect::Wake(_) => {
                    self.say("wakes");
                    self.adopt();
                }
            }
        }
    }

    fn send(&mut self, call: &Call) {
        self.sent.insert((call.step.to_string(), call.key.op), call.key);
        let question = match call.key.question {
            Question::Call => "send",
            Question::Status => "ask",
        };
        let operation = &call.operation;
        let line = format!(
            "{question} {}.{} for {}, attempt {}{}: {}",
            operation.participant,
            operation.name,
            call.step,
            call.key.attempt,
            if call.round > 0 { format!(", round {}", call.round) } else { String::new() },
            call.body
        );
        self.say(&line);
    }

    fn show(&mut self) {
        let saga = Saga::replay(ID, self.definition.clone(), &self.journal);
        let mut line = format!("{:?}", saga.status());
        if let Some(error) = &saga.error {
            let at = error.step.as_ref().map(|step| format!(" at {step}")).unwrap_or_default();
            write!(line, ", {:?}{at}: {}", error.kind, error.message).expect("a string");
        }
        self.say(&line);
        for (ix, state) in saga.steps() {
            let name = saga.step_name(ix);
            let calls =
                [(saga.forward_op(ix).as_str(), &state.action), ("compensation", &state.compensation)];
            let calls = calls.iter().filter(|(_, call)| call.attempts > 0);
            let calls = calls.map(|(what, call)| {
                let parked = call.parked().map(|reason| format!(", parked: {reason:?}")).unwrap_or_default();
                format!("; {what} {} x{}{parked}", word(call.phase), call.attempts)
            });
            let line = format!("  {name} {}{}", word(state.phase), calls.collect::<String>());
            self.say(&line);
        }
    }

    fn say(&mut self, line: &str) {
        let ms = self.now.0;
        writeln!(self.output, "{:>8}.{:03}  {line}", ms / 1000, ms % 1000).expect("a string");
    }
}

/// Which call of which step is meant.
fn call_of(target: &str) -> (Op, &str) {
    match (target.strip_prefix('~'), target.strip_prefix('+')) {
        (Some(step), _) => (Op::Compensation, step),
        (_, Some(step)) => (Op::Confirm, step),
        _ => (Op::Action, target),
    }
}

/// The first word of a value's debug text, in lower case.
fn word(value: impl std::fmt::Debug) -> String {
    let text = format!("{value:?}").to_lowercase();
    text.split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default().to_owned()
}

fn read(key: CallKey, rest: &str) -> Answer {
    let (first, rest) = rest.split_once(' ').unwrap_or((rest, ""));
    let (wait, rest) = match rest.strip_prefix("retry_after=") {
        Some(rest) => rest.split_once(' ').unwrap_or((rest, "")),
        None => ("", rest),
    };
    let retry_after = (!wait.is_empty()).then(|| sketch::span(wait));
    let body = if rest.is_empty() { Body::Empty } else { Body::Json(json(rest)) };
    let asked = match key.question {
        Question::Call => Asked::Call,
        Question::Status => Asked::Status,
    };
    match first {
        "timeout" => Answer::Unknown { report: Report::new(None, "no answer within 5 s", 5000), retry_after },
        "garbage" => answer::read(key.op, asked, 200, None, Body::Bad("not JSON".to_owned()), 1),
        status => answer::read(key.op, asked, status.parse().expect("a status"), retry_after, body, 1),
    }
}

fn json(text: &str) -> Json {
    let text = if text.is_empty() { "null" } else { text };
    Arc::new(serde_json::from_str(text).unwrap_or_else(|e| panic!("{text}: {e}")))
}

/// An event in one line: its type, then its fields.
fn describe(record: &Record) -> String {
    let value = serde_json::to_value(record).expect("a record is JSON");
    let back: Record = serde_json::from_value(value.clone()).expect("a record can be read again");
    assert_eq!(back, *record, "a record is read as it was written");
    let mut line = value["type"].as_str().expect("a type").to_owned();
    let hidden: &[&str] = match record.event {
        Event::Started { .. } => &["type", "at", "hash", "key"],
        _ => &["type", "at"],
    };
    for (field, value) in value.as_object().expect("an object") {
        if !hidden.contains(&field.as_str()) {
            write!(line, " {field}={value}").expect("a string");
        }
    }
    line
}
