//! The network between coordinators and participants: it loses, repeats, delays and reorders.

use super::{
    Event as WorldEvent, World,
    bugs::Bug,
    count::Situation,
    node,
    participant::{Branch, Did, Said},
    shop::Cart,
};
use amends_saga::{
    Answer, Call, Input, Json, Millis, Op, Question, Report, SagaId, StepName,
    answer::{self, Asked, Body},
    hash::Mix,
};
use std::sync::Arc;

/// What happens on the network and behind it.
#[derive(Debug)]
pub(super) enum Event {
    /// A request arrives; a copy's reply reaches nobody.
    Arrive { request: Box<Request>, is_copy: bool },
    /// A participant does what it has put off.
    Finish { branch: Branch, op: Op, what: String, cart: Cart, call: Box<Call> },
    /// A participant answers a call by itself.
    Callback { saga: SagaId, step: StepName, op: Op, tries: u32, lies: bool },
}

/// A call on its way.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) node: usize,
    pub(super) incarnation: u32,
    pub(super) send: u64,
    pub(super) saga: SagaId,
    pub(super) epoch: u64,
    pub(super) call: Call,
}

/// What a participant, or something before it, writes back.
struct Reply {
    status: u16,
    body: Body,
    retry_after: Option<Millis>,
}

impl Reply {
    fn bare(status: u16, message: &str) -> Reply {
        let body = Body::Json(Arc::new(serde_json::json!({ "message": message })));
        Reply { status, body, retry_after: None }
    }
}

impl World {
    /// Puts a request on its way, or loses it, or lets it arrive twice.
    pub(super) fn transmit(&mut self, request: Request) {
        if self.random.chance(self.mix.duplicates) {
            let ms = self.latency() * 20;
            let request = Box::new(request.clone());
            self.at(ms, WorldEvent::Network(Event::Arrive { request, is_copy: true }));
        }
        if !self.random.chance(self.mix.loss) {
            let ms = self.latency();
            let request = Box::new(request);
            self.at(ms, WorldEvent::Network(Event::Arrive { request, is_copy: false }));
        }
    }

    fn latency(&mut self) -> i64 {
        let usual = self.random.within(1, self.mix.latency_ms.min(50));
        if self.random.chance(200) { self.random.within(1, self.mix.latency_ms) } else { usual }
    }

    pub(super) fn network(&mut self, event: Event) {
        match event {
            Event::Arrive { request, is_copy } => self.arrive(&request, is_copy),
            Event::Callback { saga, step, op, tries, lies } => self.call_back(saga, step, op, tries, lies),
            Event::Finish { branch, op, what, cart, call } => {
                let did = self.participants.finish(branch, op, &what, &cart);
                self.stir(&[7, u64::from(branch.1), op as u64]);
                self.note(|_| format!("{what} of {} {} was put off; now: {did:?}", branch.0, branch.1));
                self.noticed(branch, op, did);
                if did == Did::Effect && self.random.chance(self.mix.callbacks) {
                    let copies = if self.random.chance(300) { 2 } else { 1 };
                    for _ in 0..copies {
                        self.announce(branch.0, &call.step, op, false);
                    }
                }
            }
        }
    }

    /// Lets a participant answer a call by itself, some time later.
    fn announce(&mut self, saga: SagaId, step: &StepName, op: Op, lies: bool) {
        let ms = if lies { self.random.within(5_000, 15_000) } else { self.random.within(1, 2_000) };
        let callback = Event::Callback { saga, step: step.clone(), op, tries: 5, lies };
        self.at(ms, WorldEvent::Network(callback));
    }

    /// Gives a participant's own answer to a coordinator; what contradicts an answer that is durable must be refused.
    fn call_back(&mut self, saga: SagaId, step: StepName, op: Op, tries: u32, lies: bool) {
        let done = self.checker.has_done(saga, &step, op);
        let Some(node) = self.reach(saga).filter(|_| !self.random.chance(self.mix.loss)) else {
            if tries > 0 && !self.settled {
                let callback = Event::Callback { saga, step, op, tries: tries - 1, lies };
                self.at(1000, WorldEvent::Network(callback));
            }
            return;
        };
        // Nobody contradicts what is not known yet: the first answer would be as good as any.
        if lies && !done {
            return;
        }
        let answer = match lies {
            false => Answer::Done(Json::default()),
            true => Answer::Refused(Report::new(Some(409), "not at all", 1)),
        };
        let seq = self.nodes[node].coordinator.get(saga).map(|saga| saga.seq);
        let taken = self.signal(node, saga, Input::Callback { step: step.clone(), op, answer });
        let changed = self.nodes[node].coordinator.get(saga).map(|saga| saga.seq) != seq;
        self.stir(&[9, u64::from(taken), u64::from(changed)]);
        self.note(|_| format!("{} {step} of {saga} is called back (lie {lies}): {taken}", op.as_str()));
        match (lies, taken, changed) {
            // Whoever takes it does not know what is durable, and is fenced.
            (true, true, _) => {}
            (true, false, _) => self.count(Situation::CallbackContradicted),
            (false, true, true) => self.count(Situation::CallbackTaken),
            (false, true, false) => self.count(Situation::CallbackRepeated),
            (false, false, _) => {}
        }
        if !lies && taken && self.random.chance(300) {
            self.announce(saga, &step, op, true);
        }
    }

    fn arrive(&mut self, request: &Request, is_copy: bool) {
        if is_copy {
            self.count(Situation::Duplicated);
        }
        let (key, operation) = (request.call.key, &request.call.operation);
        self.stir(&[6, request.send, u64::from(is_copy)]);
        let Some(reply) = self.answer(request) else { return };
        self.note(|_| {
            format!("{} {} answers {}: {}", operation.participant, operation.name, request.send, reply.status)
        });
        if is_copy || self.random.chance(self.mix.loss) {
            return;
        }
        let asked = match key.question {
            Question::Status => Asked::Status,
            Question::Call => Asked::Call,
        };
        let garbled = matches!(reply.body, Body::Bad(_));
        let mut answer = answer::read(key.op, asked, reply.status, reply.retry_after, reply.body, 1);
        if let (Answer::Unknown { report, .. }, true, Some(Bug::GarbageRefuses)) =
            (&answer, garbled, self.bug)
        {
            answer = Answer::Refused(report.clone());
        }
        if matches!(answer, Answer::NotSeen) {
            self.count(Situation::NotSeen);
            if self.bug == Some(Bug::NotSeenMeansDone) {
                answer = Answer::Done(Json::default());
            }
        }
        let (node, incarnation, send) = (request.node, request.incarnation, request.send);
        let ms = self.latency();
        let event = node::Event::Answer { send, answer: Box::new(answer), timeout: false };
        self.at(ms, WorldEvent::Node { node, incarnation, event });
    }

    /// What comes back for a request: from the participant or from whatever stands before it.
    fn answer(&mut self, request: &Request) -> Option<Reply> {
        let (key, operation) = (request.call.key, &request.call.operation);
        let at = ["inventory", "order", "product"].iter().position(|name| *name == &*operation.participant);
        if self.down_until[at.expect("a participant of the shop")] > self.now {
            return None;
        }
        let fate = self.fate(request);
        if fate % 1000 < u64::from(self.mix.gate) && operation.name.as_str() != "quote" {
            return Some(Reply::bare(403, "the gateway knows no such route"));
        }
        if self.random.chance(self.mix.errors) {
            let status = *self.random.pick(&[500, 502, 503, 504, 408, 429]);
            let retry_after = (status == 429 || status == 503).then(|| Millis(self.random.below(2000)));
            return Some(Reply { retry_after, ..Reply::bare(status, "not now") });
        }
        let said = match key.question {
            Question::Status => self.participants.status(self.branch(request), key.op),
            Question::Call => match key.op {
                Op::Action => self.act(request),
                Op::Confirm => self.confirm(request),
                Op::Compensation => self.undo(request)?,
            },
        };
        match said {
            Said::Pending => self.count(Situation::Pending),
            Said::Done if key.attempt > 1 && key.question == Question::Call => {
                self.count(Situation::RepeatedCall);
            }
            Said::Done | Said::Refused(_) | Said::NotSeen => {}
        }
        Some(self.phrase(said))
    }

    /// Whatever stands before a participant treats every copy of one request alike.
    fn fate(&self, request: &Request) -> u64 {
        let (high, low) = request.saga.as_u64_pair();
        let key = request.call.key;
        Mix::new(high)
            .add(low)
            .add(u64::from(key.step.0))
            .add(key.op as u64)
            .add(u64::from(key.attempt))
            .add(u64::from(key.poll))
            .add(key.question as u64)
            .add(request.epoch)
            .finish()
    }

    /// A participant treats every attempt of one call alike.
    fn whim(&self, request: &Request, what: u64) -> u32 {
        let (high, low) = request.saga.as_u64_pair();
        let key = request.call.key;
        let mix = Mix::new(what).add(high).add(low).add(u64::from(key.step.0)).add(key.op as u64);
        let mix = mix.add(u64::from(request.call.round));
        (mix.finish() % 1000) as u32
    }

    fn act(&mut self, request: &Request) -> Said {
        let what = request.call.operation.name.as_str();
        if what == "quote" {
            return Said::Done;
        }
        let cart = Cart::from_json(&request.call.body);
        let branch = self.branch(request);
        self.participants.asked_in(branch, Op::Action, request.call.round);
        let refuse = self.whim(request, 1) < self.mix.refusals / 3;
        let defer = self.whim(request, 2) < self.mix.pending;
        let (said, did) = self.participants.act(branch, what, &cart, defer, refuse);
        self.put_off(said, did, request, &cart);
        self.noticed(branch, Op::Action, did);
        said
    }

    fn confirm(&mut self, request: &Request) -> Said {
        let cart = Cart::from_json(&request.call.body);
        let branch = self.branch(request);
        self.participants.asked_in(branch, Op::Confirm, request.call.round);
        let refuse = self.whim(request, 1) < self.mix.refusals / 3;
        let what = request.call.operation.name.as_str();
        let (said, did) = self.participants.confirm(branch, what, &cart, refuse);
        self.noticed(branch, Op::Confirm, did);
        said
    }

    /// What a participant knows a call by.
    fn branch(&self, request: &Request) -> Branch {
        (request.saga, self.checker.unit(request.saga, &request.call.step))
    }

    fn undo(&mut self, request: &Request) -> Option<Said> {
        let whim = self.whim(request, 3);
        if whim < self.mix.undo_dead {
            return None;
        }
        if whim > 999 - self.mix.undo_refusals / 2 {
            return Some(Said::Refused("it is too late for that"));
        }
        let what = request.call.operation.name.as_str();
        let cart = Cart::from_json(&request.call.body);
        let branch = self.branch(request);
        let defer = self.whim(request, 4) < self.mix.pending;
        let (said, did) = self.participants.undo(branch, what, &cart, defer);
        self.put_off(said, did, request, &cart);
        self.noticed(branch, Op::Compensation, did);
        Some(said)
    }

    fn put_off(&mut self, said: Said, did: Did, request: &Request, cart: &Cart) {
        let key = request.call.key;
        // Repeats find the work under way; finishing twice does nothing.
        if said == Said::Pending && did == Did::Nothing {
            let ms = self.random.within(10, 3000);
            let (branch, what) = (self.branch(request), request.call.operation.name.to_string());
            let call = Box::new(request.call.clone());
            if self.bug == Some(Bug::CallbackTooEarly) && key.op == Op::Action {
                return self.announce(request.saga, &request.call.step, key.op, false);
            }
            let finish = Event::Finish { branch, op: key.op, what, cart: cart.clone(), call };
            self.at(ms, WorldEvent::Network(finish));
        }
    }

    pub(super) fn noticed(&mut self, branch: Branch, op: Op, did: Did) {
        match did {
            Did::Nothing => {}
            Did::Null => self.count(Situation::NullUndo),
            Did::Late => self.count(Situation::LateAction),
            Did::OutOfStock => self.count(Situation::OutOfStock),
            Did::Effect => self.checker.took_effect(branch, op, &self.participants),
        }
    }

    /// Writes down what a participant says, and sometimes gets it wrong.
    fn phrase(&mut self, said: Said) -> Reply {
        if self.random.chance(self.mix.garbage) {
            let body = Body::Bad("the body is not JSON".to_owned());
            let status = *self.random.pick(&[200, 200, 500]);
            return Reply { status, body, retry_after: None };
        }
        match said {
            Said::Done => Reply { status: 200, body: Body::Json(Json::default()), retry_after: None },
            Said::Pending => {
                let retry_after = self.random.chance(300).then(|| Millis(self.random.below(3) * 1000));
                Reply { retry_after, ..Reply::bare(202, "working on it") }
            }
            Said::Refused(why) => Reply::bare(409, why),
            Said::NotSeen => Reply::bare(404, "never seen"),
        }
    }
}
