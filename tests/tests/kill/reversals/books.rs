//! The books of failed reversals: what operators were told, what the queue shows, what the journals and the
//! ledger hold.

use super::operators::{Given, NAMES, Notebook};
use crate::{
    check::{self, Books},
    ledger::Effects,
    load::Seen,
};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// The events by which somebody acts on an item so that it is on its way to be settled.
const FINAL: [&str; 5] =
    ["repair_retried", "repair_resolved", "repair_skipped", "repair_abandoned", "repair_proven"];

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Sagas by how their undo goes.
    pub(super) by_how: BTreeMap<String, usize>,
    pub(super) items: usize,
    /// Items that were parked again and followed by another one.
    pub(super) parked_again: usize,
    /// Verbs that took effect and whose giver was told so.
    pub(super) told: usize,
    /// Verbs that came too late.
    pub(super) lost: usize,
    /// Verbs that were sent again because no answer came.
    pub(super) repeated: usize,
    /// Those of them that are in the journal once all the same.
    pub(super) repeated_and_done: usize,
    pub(super) effects: u64,
    pub(super) of_sagas: check::Tally,
}

/// Everything there is to compare, in peace.
#[derive(Debug)]
pub(super) struct Reversals {
    pub(super) books: Books,
    /// Every settled item as the queue shows it, by id.
    pub(super) settled: BTreeMap<String, Value>,
    pub(super) notebook: Notebook,
}

/// One saga and how its undo was to go.
struct Case<'a> {
    id: &'a str,
    saga: &'a Value,
    journal: &'a [Value],
    input: &'a Value,
    how: &'a str,
    /// The step whose undo goes so.
    stuck: &'a str,
}

impl Reversals {
    /// Holds everything against everything.
    pub(super) fn balance(&self, seen: &Seen) -> Tally {
        let mut tally = Tally { items: self.settled.len(), ..Tally::default() };
        self.nothing_is_forgotten(seen);
        let mut opened = 0;
        for (id, (saga, journal)) in &self.books.sagas {
            check::journal_is_whole(id, journal, &mut tally.of_sagas);
            let case = Case::of(id, saga, journal);
            let effects = self.books.effects.get(id).cloned().unwrap_or_default();
            assert_eq!(effects, case.effects(), "effects of saga {id}: {journal:#?}");
            case.ends_as_it_has_to();
            opened += self.its_items_are_whole(&case);
            tally.effects += effects.values().sum::<u64>();
            *tally.by_how.entry(case.how.to_owned()).or_default() += 1;
        }
        assert_eq!(opened, self.settled.len(), "the queue shows items that no journal knows");
        for given in &self.notebook.given {
            self.the_answer_was_true(given, &mut tally);
        }
        tally.parked_again =
            self.settled.values().filter(|item| item["settled"]["how"] == "parked_again").count();
        tally
    }

    /// Every acknowledged start has its saga, and every item that was ever shown is shown as settled.
    fn nothing_is_forgotten(&self, seen: &Seen) {
        let keys: BTreeSet<&str> =
            self.books.sagas.values().filter_map(|(saga, _)| saga["key"].as_str()).collect();
        assert_eq!(keys.len(), self.books.sagas.len(), "two sagas have the same key, or one has none");
        for (key, told) in &seen.acknowledged {
            let saga = self.books.sagas.get(&told.id);
            let (saga, journal) =
                saga.unwrap_or_else(|| panic!("saga {} was acknowledged and is forgotten", told.id));
            assert_eq!(saga["key"], key.as_str());
            assert_eq!(journal[0]["input"], told.input, "saga {}", told.id);
        }
        for id in self.books.effects.keys() {
            assert!(
                self.books.sagas.contains_key(id),
                "the ledger holds effects of saga {id}, which nobody knows"
            );
        }
        for item in &self.notebook.shown {
            assert!(self.settled.contains_key(item), "item {item} was shown and is forgotten");
        }
    }

    /// An item for each time the step was parked, each acted on once, by somebody who was not told otherwise.
    fn its_items_are_whole(&self, case: &Case<'_>) -> usize {
        let opened = case.events(&["call_refused", "call_exhausted", "call_unprepared"]);
        let opened: Vec<&Value> = opened.into_iter().filter(|event| event["op"] == "compensation").collect();
        let acted = case.events(&FINAL);
        if case.how == "fails" {
            assert!(
                opened.is_empty() && acted.is_empty(),
                "saga {} was parked: {:#?}",
                case.id,
                case.journal
            );
            return 0;
        }
        let items: BTreeSet<&str> = acted.iter().filter_map(|event| event["item"].as_str()).collect();
        let once = !acted.is_empty() && items.len() == acted.len() && opened.len() == acted.len();
        assert!(once, "saga {}: not one act for each item: {:#?}", case.id, case.journal);
        let mut previous = Value::Null;
        for (at, event) in acted.iter().enumerate() {
            let view = event["item"].as_str().and_then(|item| self.settled.get(item));
            let view = view.unwrap_or_else(|| panic!("the queue has no item for {event:#} of {}", case.id));
            let is_last = at + 1 == acted.len();
            assert_eq!(view["previous"], previous, "{view:#}");
            case.item_is_shown_as_it_was_settled(view, event, is_last);
            self.whoever_acted_was_not_told_otherwise(event);
            previous = view["id"].clone();
        }
        opened.len()
    }

    /// The act is one that somebody gave, and the answer to it was yes.
    fn whoever_acted_was_not_told_otherwise(&self, event: &Value) {
        let given = self.notebook.given.iter().filter(|given| event["note"] == given.note.as_str());
        let given: Vec<&Given> = given.collect();
        let [given] = given[..] else { panic!("nobody did {event:#}") };
        let same = (event["by"].as_str(), event["item"].as_str()) == (Some(given.by), Some(&*given.item));
        assert!(same && given.status == 200, "{given:#?} is in the journal as {event:#}");
    }

    /// A yes is in the journal; a no names the other one, who is there.
    fn the_answer_was_true(&self, given: &Given, tally: &mut Tally) {
        let view = &self.settled[&given.item];
        let saga = view["saga"].as_str().expect("an item of a step has a saga");
        let (_, journal) = &self.books.sagas[saga];
        let of_item =
            |event: &&Value| FINAL.iter().any(|kind| event["type"] == *kind) && event["item"] == *given.item;
        let acted: Vec<&Value> = journal.iter().filter(of_item).collect();
        let [acted] = acted[..] else { panic!("not one act about item {}: {journal:#?}", given.item) };
        let by = match (given.status, given.body["settled"]["by"].as_str()) {
            (200, _) => given.by,
            (_, Some(by)) => by,
            (_, None) => given.body["by"].as_str().unwrap_or_else(|| panic!("{given:#?} says not by whom")),
        };
        assert_eq!(acted["by"], by, "{given:#?} was answered against the journal: {acted:#}");
        assert!(given.status == 200 || by != given.by, "{given:#?} was told of itself: {acted:#}");
        tally.told += usize::from(given.status == 200);
        tally.lost += usize::from(given.status == 409);
        tally.repeated += usize::from(given.unanswered > 0);
        tally.repeated_and_done += usize::from(given.unanswered > 0 && given.status == 200);
    }
}

impl<'a> Case<'a> {
    fn of(id: &'a str, saga: &'a Value, journal: &'a [Value]) -> Case<'a> {
        let input = &journal[0]["input"];
        let how = |step: &str| input[step].as_str().expect("how a step's undo goes");
        let stuck = if how("first") == "well" { "second" } else { "first" };
        Case { id, saga, journal, input, how: how(stuck), stuck }
    }

    fn events(&self, kinds: &[&str]) -> Vec<&'a Value> {
        let is_one = |event: &&Value| kinds.iter().any(|kind| event["type"] == *kind);
        self.journal.iter().filter(is_one).collect()
    }

    /// Both steps done once, and undone once unless somebody decided otherwise.
    fn effects(&self) -> Effects {
        let mut effects = Effects::new();
        for step in ["first", "second"] {
            effects.insert((step.to_owned(), "action".to_owned()), 1);
            if step != self.stuck || matches!(self.how, "fails" | "dead") {
                effects.insert((step.to_owned(), "compensation".to_owned()), 1);
            }
        }
        effects
    }

    fn ends_as_it_has_to(&self) {
        let status = if self.how == "left" { "abandoned" } else { "compensated" };
        assert_eq!(self.saga["status"], status, "saga {}: {:#?}", self.id, self.journal);
        let by_hand = matches!(self.how, "hand" | "left");
        assert_eq!(self.saga["settled_by_hand"], by_hand, "saga {}: {:#}", self.id, self.saga);
        if self.how == "fails" {
            let done = self.events(&["call_done"]).into_iter();
            let mut undone =
                done.filter(|event| event["op"] == "compensation" && event["step"] == self.stuck);
            let attempt = undone.next().and_then(|event| event["attempt"].as_u64());
            assert!(attempt > self.input["fails"].as_u64(), "saga {}: {:#?}", self.id, self.journal);
        }
    }

    fn item_is_shown_as_it_was_settled(&self, view: &Value, event: &Value, is_last: bool) {
        let how = match self.how {
            _ if !is_last => "parked_again",
            "dead" => "retried",
            "hand" => "resolved",
            _ => "skipped",
        };
        assert_eq!(view["settled"]["how"], how, "{view:#}");
        if is_last {
            assert_eq!(view["settled"]["by"], event["by"], "{view:#}");
        }
        let place = [&view["saga"], &view["definition"], &view["step"], &view["op"], &view["participant"]];
        assert_eq!(place, [self.id, "stuck", self.stuck, "compensation", "moody"], "{view:#}");
        assert_eq!((&view["status"], &view["reason"]), (&"settled".into(), &"refused".into()), "{view:#}");
        let errors = view["errors"].as_array().expect("errors");
        assert!(errors.iter().any(|error| error["status"] == 409), "no evidence: {view:#}");
        let notes = view["notes"].as_array().expect("notes");
        let one = notes.len() == 1 && notes[0]["note"] == event["note"] && notes[0]["by"] == event["by"];
        assert!(one, "the notes are not those of the journal, {event:#}: {view:#}");
        assert!(NAMES.iter().any(|name| event["by"] == *name) && event["from"] == "127.0.0.1", "{event:#}");
    }
}
