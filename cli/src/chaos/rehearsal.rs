//! A rehearsal: what is run, against whom, and under which faults.

use super::{
    RehearsalError, Report,
    book::Book,
    cast::{self, Beyond},
    hurry,
    invent::{self, Inventions},
    laws::Expected,
    mix::Mix,
    network::{Network, Terms},
    parts::Parts,
    plan::Plan,
    run::{self, Performed, Run, Signals},
    stubs::{Answers, StubAnswer, StubCall, Stubs},
    world::{self, World},
};
use amends_saga::{Name, definition::Kind};
use amends_server::Config;
use amends_store::memory::MemoryStore;
use amends_wire::{definition::Text, registration::Registration};
use serde_json::Value;
use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

/// The sagas of one rehearsal at most.
pub const SAGAS_MAX: u64 = 1_000_000;

/// How many items invented lists have where something is done for each item of one.
const ITEMS: usize = 3;

/// How many sagas run at a time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pace {
    /// So many: one is started whenever one has ended.
    InFlight(usize),
    /// So many are started each second, however many run.
    PerSecond(f64),
}

/// What a rehearsal runs, against whom, and under which faults. Everything but the definition has a default.
#[derive(Clone)]
pub struct Rehearsal {
    text: Arc<Text>,
    children: Vec<Arc<Text>>,
    input: Option<Value>,
    answers: Answers,
    signals: BTreeMap<String, Value>,
    participants: BTreeMap<Name, Registration>,
    mix: Mix,
    seed: u64,
    sagas: u64,
    pace: Pace,
    patience: Duration,
    barrier: bool,
    hurried: bool,
    progress: Option<Progress>,
    coordinator: Option<Configuring>,
}

/// Changes the configuration of the rehearsal's coordinator.
type Configuring = Arc<dyn Fn(&mut Config) + Send + Sync>;

/// Is told how many sagas have come to their end.
type Progress = Arc<dyn Fn(u64) + Send + Sync>;

impl fmt::Debug for Rehearsal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Rehearsal");
        shown.field("definition", &self.text.name).field("mix", &self.mix).field("seed", &self.seed);
        shown.field("sagas", &self.sagas).finish_non_exhaustive()
    }
}

impl Rehearsal {
    /// Reads the definition, YAML or JSON.
    ///
    /// # Errors
    /// [`RehearsalError::Definition`] with every fault, its line and what to do.
    pub fn of(definition: &str) -> Result<Rehearsal, RehearsalError> {
        let text = Text::read(definition)
            .map_err(|faults| RehearsalError::Definition(faults.render("the definition", definition)))?;
        Ok(Rehearsal {
            text: Arc::new(text),
            children: Vec::new(),
            input: None,
            answers: Answers::default(),
            signals: BTreeMap::new(),
            participants: BTreeMap::new(),
            mix: Mix::default(),
            seed: 1,
            sagas: 100,
            pace: Pace::InFlight(32),
            patience: Duration::from_secs(30),
            barrier: true,
            hurried: true,
            progress: None,
            coordinator: None,
        })
    }

    /// Adds the definition of a saga that this one runs, or one that it runs does.
    ///
    /// # Errors
    /// As [`Rehearsal::of`].
    pub fn with_child(mut self, definition: &str) -> Result<Rehearsal, RehearsalError> {
        let text = Text::read(definition).map_err(|faults| {
            RehearsalError::Definition(faults.render("the child's definition", definition))
        })?;
        self.children.push(Arc::new(text));
        Ok(self)
    }

    /// What every saga is started with; without it, the smallest input that fits the definition's schema.
    ///
    /// In its texts `{number}` stands for the number of the saga, from 0, and `{run}` for a text that differs from run to
    /// run.
    #[must_use]
    pub fn input(mut self, input: Value) -> Rehearsal {
        self.input = Some(input);
        self
    }

    /// What a stub answers to an operation, such as `inventory.hold`, whenever it is done.
    ///
    /// Without it an action answers with its own body and whatever the definition reads from the step's output
    /// beside. A name without a dot is a signal, and this its payload.
    #[must_use]
    pub fn answer(mut self, operation: &str, output: Value) -> Rehearsal {
        if operation.contains('.') {
            self.answers.set(operation, Arc::new(move |_| StubAnswer::Done(output.clone())));
        } else {
            self.signals.insert(operation.to_owned(), output);
        }
        self
    }

    /// Decides what a stub answers to an operation, such as `inventory.hold`.
    ///
    /// It is asked once for each call that takes effect, and again where it said no; repeats of what is done get the
    /// first answer, as a barrier has it.
    #[must_use]
    pub fn answer_with(
        mut self,
        operation: &str,
        answering: impl Fn(&StubCall) -> StubAnswer + Send + Sync + 'static,
    ) -> Rehearsal {
        self.answers.set(operation, Arc::new(answering));
        self
    }

    /// Calls a participant that is there, at its registered addresses, in place of a stub.
    ///
    /// Its calls go one by one, not in batches. What it does is seen in its answers only.
    #[must_use]
    pub fn participant(mut self, name: Name, registration: Registration) -> Rehearsal {
        self.participants.insert(name, registration);
        self
    }

    /// What goes wrong; nothing does where this is not said.
    #[must_use]
    pub fn mix(mut self, mix: Mix) -> Rehearsal {
        self.mix = mix;
        self
    }

    /// Which of all possible courses of events it is; 1 where this is not said.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Rehearsal {
        self.seed = seed;
        self
    }

    /// How many sagas are run, at most [`SAGAS_MAX`]; 100 where this is not said.
    #[must_use]
    pub fn sagas(mut self, sagas: u64) -> Rehearsal {
        self.sagas = sagas.clamp(1, SAGAS_MAX);
        self
    }

    /// How many run at a time; 32 where this is not said.
    #[must_use]
    pub fn pace(mut self, pace: Pace) -> Rehearsal {
        self.pace = pace;
        self
    }

    /// How long a saga may take to come to its end; 30 s where this is not said.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Rehearsal {
        self.patience = patience;
        self
    }

    /// Keeps pauses as they are written, in place of making them short, and breakers and budgets as a coordinator has
    /// them. Otherwise those are at work only where a participant goes away, with short pauses too.
    #[must_use]
    pub fn unhurried(mut self) -> Rehearsal {
        self.hurried = false;
        self
    }

    /// Takes the barrier away from the stubs, to show what it is for: every call takes effect, however often and
    /// whenever it comes.
    #[must_use]
    pub fn without_barrier(mut self) -> Rehearsal {
        self.barrier = false;
        self
    }

    /// Changes the configuration of the rehearsal's coordinator: its limits, its timing, its defaults.
    #[must_use]
    pub fn coordinator(mut self, change: impl Fn(&mut Config) + Send + Sync + 'static) -> Rehearsal {
        self.coordinator = Some(Arc::new(change));
        self
    }

    /// Is told how many sagas have come to their end, each time one does.
    #[must_use]
    pub fn on_progress(mut self, told: impl Fn(u64) + Send + Sync + 'static) -> Rehearsal {
        self.progress = Some(Arc::new(told));
        self
    }

    /// The definition.
    pub fn definition(&self) -> &Text {
        &self.text
    }

    /// Runs it.
    ///
    /// # Errors
    /// When it cannot be run at all; what goes wrong in it stands in the report.
    pub async fn run(&self) -> Result<Report, RehearsalError> {
        Ok(self.perform(Plan::Mixed(self.mix.clone()), None, self.sagas).await?.report)
    }

    /// Every definition that is known, those that nothing runs included.
    pub(super) fn texts(&self) -> impl Iterator<Item = &Text> {
        std::iter::once(&self.text).chain(&self.children).map(AsRef::as_ref)
    }

    pub(super) async fn perform(
        &self,
        plan: Plan,
        expected: Option<Expected>,
        sagas: u64,
    ) -> Result<Performed, RehearsalError> {
        let parts = Parts::of(&self.text, &self.children)?;
        let input = self.checked_input(&parts)?;
        let participants = cast::registrations(&parts, &self.participants, self.hurried)?;
        self.check_answers(&parts)?;
        let exact = cast::stubbed_steps(&parts, &self.participants);
        let inventions = Inventions::of(parts.texts().into_iter().map(|text| text.to_json()));
        let answers = self.answers.clone().inventing(inventions);
        let (book, store) = (Arc::new(Book::default()), MemoryStore::new());
        let network = Network::new(Terms {
            plan: plan.clone(),
            seed: self.seed,
            beyond: Arc::new(Beyond::new(Stubs::new(answers.clone(), self.barrier, book.clone()))?),
            exact: exact.clone(),
            participants: cast::callees(&parts),
            store: Arc::new(store.clone()),
            book: book.clone(),
        });
        let mut texts: Vec<Arc<Text>> = parts.texts().into_iter().cloned().collect();
        if self.hurried {
            texts = texts.iter().map(|text| hurried(text)).collect::<Result<_, _>>()?;
        }
        let world =
            World::start(store, network.clone(), self.configuration(&plan), &texts, &participants).await?;
        let run = Run {
            world: &world,
            plan: &plan,
            parts: &parts,
            name: format!("{}@{}", self.text.name, self.text.version),
            input: &input,
            signals: self.signals(&parts, &answers),
            seed: self.seed,
            sagas,
            pace: self.pace,
            patience: self.patience,
            progress: self.progress.as_deref(),
            expected: expected.as_ref(),
            exact: &exact,
            participants: &self.participants,
            began_ms: amends_server::clock::now().0,
        };
        let performed = run::perform(&run, &network, &book).await;
        world.stop().await;
        let (report, endings) = performed?;
        Ok(Performed { report, endings, parts })
    }

    /// What the coordinator goes by.
    fn configuration(&self, plan: &Plan) -> Config {
        let mut config = world::config();
        if self.hurried {
            config.defaults = hurry::defaults();
            // Breakers are for participants that are away. Where none is, they would take faults that are drawn by
            // chance for one, and hold up everything else.
            let is_away = plan.mix().is_some_and(|mix| !mix.down.is_empty());
            config.sagas.gates = is_away.then(hurry::gates);
        }
        if let Some(change) = &self.coordinator {
            change(&mut config);
        }
        config
    }

    /// The input, once it is known to fit.
    fn checked_input(&self, parts: &Parts) -> Result<Value, RehearsalError> {
        let schema = |text: &Text| text.to_json().get("input").cloned();
        let children: Vec<Value> = parts
            .texts()
            .into_iter()
            .filter(|text| text.hash != self.text.hash)
            .filter_map(|text| schema(text))
            .collect();
        let children: Vec<&Value> = children.iter().collect();
        // A list that something is done for is to show in which order.
        let is_fanned =
            parts.iter().any(|(_, part)| part.definition.steps().any(|(_, step)| step.fan.is_some()));
        let items = if is_fanned { ITEMS } else { 1 };
        let invented = || invent::input(schema(&self.text).as_ref(), &children, items);
        let input = self.input.clone().unwrap_or_else(invented);
        self.text.check_input(&invent::filled(&input, 0, "r")).map_err(|misfits| {
            let told: Vec<String> =
                misfits.iter().map(|misfit| format!("{} {}", misfit.path, misfit.message)).collect();
            let told = told.join("; ");
            RehearsalError::Input(match self.input {
                Some(_) => format!("the input does not fit the definition: {told}"),
                None => format!("no input can be made up that fits the definition ({told}); say one"),
            })
        })?;
        Ok(input)
    }

    /// Refuses answers that nobody would ask for.
    fn check_answers(&self, parts: &Parts) -> Result<(), RehearsalError> {
        let called = parts.texts().into_iter().flat_map(|text| text.operations());
        let operations: Vec<String> = called.map(|operation| operation.to_string()).collect();
        if let Some(stray) =
            self.answers.operations().find(|name| !operations.iter().any(|known| known == name))
        {
            let known = operations.join(", ");
            let what = format!(
                "there is an answer for \"{stray}\", which the definition does not call; it calls {known}"
            );
            return Err(RehearsalError::Answer(what));
        }
        let is_awaited = |name: &String| parts.iter().any(|(_, part)| part.definition.awaits(name));
        match self.signals.keys().find(|name| !is_awaited(name)) {
            Some(stray) => Err(RehearsalError::Answer(format!(
                "there is an answer for \"{stray}\", which the definition does not await; an operation is written as \
                 participant.operation"
            ))),
            None => Ok(()),
        }
    }

    /// What each awaited signal carries, by the path of the saga that awaits it.
    fn signals(&self, parts: &Parts, answers: &Answers) -> Signals {
        let mut found = Signals::new();
        for (at, part) in parts.iter() {
            let own = found.entry(at.to_owned()).or_default();
            for (_, step) in part.definition.steps() {
                let Kind::Await(awaits) = &step.kind else { continue };
                if own.iter().any(|(name, _)| *name == awaits.signal) {
                    continue;
                }
                let said = self.signals.get(awaits.signal.as_str()).cloned();
                own.push((awaits.signal.clone(), said.unwrap_or_else(|| answers.payload(&step.name))));
            }
        }
        found
    }
}

/// The definition with short pauses.
fn hurried(text: &Text) -> Result<Arc<Text>, RehearsalError> {
    let source = hurry::definition(text.to_json().clone()).to_string();
    let text = Text::read(&source);
    text.map(Arc::new).map_err(|faults| RehearsalError::Definition(faults.render("the definition", &source)))
}
