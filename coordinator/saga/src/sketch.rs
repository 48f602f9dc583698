//! Definitions from one line a step: for tests, models and simulations, never for users.
//!
//! ```text
//! checkout deadline=20m output=output.order
//! quote: product.quote read_only
//! reserve: inventory.hold / inventory.release after=quote
//! order: order.create / order.cancel after=quote attempts=3 first=0ms max=0ms
//! payment: await payment timeout=15m default=null after=reserve,order
//! mail: mail.send none
//! ```
//!
//! A step without `after` follows the one before it; `after=-` starts at once. The words:
//!
//! - of a call: `read_only` or `none` in place of a compensation; `attempts`, `first`, `max`, `within`,
//!   `timeout`; `status` and `no_barrier` for both operations; `with`;
//! - of its compensation: `quick`, `slow`, `slow_first`, `slow_max`, `undo_within`, `eager`, `undo_with`;
//! - of an await: `timeout`, `default`;
//! - of any: `when`, `pivot`, `each` and `parallel`; `returns`, which is `number`, `text`, or the name of a member
//!   that must be there. An operation of the participant `saga` is a child saga.
//!
//! A template is `input`, `input.MEMBER`, `item`, `null`, `true`, `false`, `output.STEP`, or `fail`, which always
//! fails.

use crate::{
    Json, Name,
    definition::{
        AwaitStep, CHILD_PARTICIPANT, CallStep, Definition, Fan, Kind, Misfits, Operation, Returns, Scope,
        Step, StepIx, Target, Template, Undo, UndoCall,
    },
    hash::Mix,
    schedule::{Schedule, UndoSchedule},
    time::Millis,
};
use std::{collections::BTreeMap, sync::Arc};

/// Builds a definition from a sketch.
///
/// # Panics
/// When the sketch is wrong: it is a constant of a test.
pub fn definition(text: &str) -> Arc<Definition> {
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let head = Words::of(lines.next().expect("a sketch has a first line"));
    let mut steps: Vec<Step> = Vec::new();
    for line in lines {
        let (name, rest) = line.split_once(':').unwrap_or_else(|| panic!("no step name in \"{line}\""));
        let step = step(parse_name(name), &Words::of(rest), &steps);
        steps.push(step);
    }
    let hash = format!("{:016x}", Mix::new(0).bytes(text.as_bytes()).finish());
    let output = head.get("output").map(template);
    let built = Definition::new(parse_name(head.plain[0]), 1, hash, head.span("deadline"), steps, output);
    Arc::new(built.unwrap_or_else(|faults| panic!("{faults:?}")))
}

fn step(name: Name, words: &Words<'_>, before: &[Step]) -> Step {
    let find = |wanted: &str| {
        let at = before.iter().position(|step| step.name.as_str() == wanted);
        StepIx(at.unwrap_or_else(|| panic!("no step \"{wanted}\" before \"{name}\"")) as u16)
    };
    let after = match words.get("after") {
        None => before.len().checked_sub(1).map(|last| StepIx(last as u16)).into_iter().collect(),
        Some("-") => Vec::new(),
        Some(list) => list.split(',').map(find).collect(),
    };
    let kind = if words.plain[0] == "await" {
        Kind::Await(AwaitStep {
            signal: parse_name(words.plain[1]),
            timeout: words.span("timeout").unwrap_or(Millis::from_secs(60)),
            default: words.get("default").map(template),
        })
    } else {
        Kind::Call(call(words))
    };
    let fan = words
        .get("each")
        .map(|over| Fan { over: template(over), parallel: words.number("parallel").unwrap_or(1) });
    let (when, pivot) = (words.get("when").map(template), words.has("pivot"));
    let returns = words.get("returns").map(|what| Arc::new(Returned(what.to_owned())) as Arc<dyn Returns>);
    Step { name, kind, after, when, pivot, fan, returns }
}

/// What a step may yield: a number, a text, or an object with a member of this name.
#[derive(Debug)]
struct Returned(String);

impl Returns for Returned {
    fn check(&self, output: &Json) -> Result<(), Misfits> {
        let fits = match self.0.as_str() {
            "number" => output.is_number(),
            "text" => output.is_string(),
            member => output.get(member).is_some(),
        };
        let message = match self.0.as_str() {
            kind @ ("number" | "text") => format!("{output} is no {kind}"),
            member => format!("{output} has no \"{member}\""),
        };
        if fits { Ok(()) } else { Err(Misfits::whole(message)) }
    }
}

fn call(words: &Words<'_>) -> CallStep {
    let none = || Undo::None { reason: "the sketch says so".to_owned() };
    let undo = match words.plain.as_slice() {
        [_, "/", undo, ..] => Undo::Call(UndoCall {
            operation: operation(undo, words),
            with: words.get("undo_with").map(template),
            retry: undo_schedule(words),
            eager: words.has("eager"),
        }),
        _ if words.has("read_only") => Undo::ReadOnly,
        _ => none(),
    };
    CallStep {
        action: operation(words.plain[0], words),
        with: template(words.get("with").unwrap_or("input")),
        retry: Schedule {
            attempts: words.number("attempts").unwrap_or(Schedule::ACTION.attempts),
            first: words.span("first").unwrap_or(Schedule::ACTION.first),
            factor: 2.0,
            max: words.span("max").unwrap_or(Schedule::ACTION.max),
        },
        within: words.span("within"),
        undo,
    }
}

fn undo_schedule(words: &Words<'_>) -> UndoSchedule {
    let normal = UndoSchedule::DEFAULT;
    UndoSchedule {
        quick: words.number("quick").unwrap_or(normal.quick),
        slow: Schedule {
            attempts: words.number("slow").unwrap_or(normal.slow.attempts),
            first: words.span("slow_first").unwrap_or(normal.slow.first),
            factor: 2.0,
            max: words.span("slow_max").unwrap_or(normal.slow.max),
        },
        within: words.span("undo_within").unwrap_or(normal.within),
    }
}

/// An operation by its full name, with nothing special about it.
///
/// # Panics
/// When the name is none.
pub fn operation_of(text: &str) -> Operation {
    operation(text, &Words::of(""))
}

fn operation(text: &str, words: &Words<'_>) -> Operation {
    let (participant, name) = text.split_once('.').unwrap_or_else(|| panic!("no operation \"{text}\""));
    Operation {
        participant: parse_name(participant),
        name: parse_name(name),
        timeout: words.span("timeout").unwrap_or(Millis::from_secs(5)),
        status: words.has("status"),
        barrier: !words.has("no_barrier"),
        target: match participant {
            CHILD_PARTICIPANT => Target::Saga { version: None },
            _ => Target::Participant,
        },
    }
}

fn parse_name(text: &str) -> Name {
    Name::parse(text).unwrap_or_else(|bad| panic!("{bad}"))
}

/// The words of a line: plain ones in order, and `key=value` ones.
struct Words<'a> {
    plain: Vec<&'a str>,
    pairs: BTreeMap<&'a str, &'a str>,
}

impl<'a> Words<'a> {
    fn of(text: &'a str) -> Words<'a> {
        let mut words = Words { plain: Vec::new(), pairs: BTreeMap::new() };
        for word in text.split_whitespace() {
            match word.split_once('=') {
                Some((key, value)) => {
                    words.pairs.insert(key, value);
                }
                None => words.plain.push(word),
            }
        }
        words
    }

    fn has(&self, word: &str) -> bool {
        self.plain.contains(&word)
    }

    fn get(&self, key: &str) -> Option<&'a str> {
        self.pairs.get(key).copied()
    }

    fn number(&self, key: &str) -> Option<u32> {
        self.get(key).map(|text| text.parse().unwrap_or_else(|_| panic!("{key}={text} is not a number")))
    }

    fn span(&self, key: &str) -> Option<Millis> {
        self.get(key).map(span)
    }
}

/// Reads a span such as `100ms`, `5s`, `15m` or `24h`.
///
/// # Panics
/// When it is none.
pub fn span(text: &str) -> Millis {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or_else(|| panic!("\"{text}\" has no unit"));
    let (number, unit) = text.split_at(end);
    let number: u64 = number.parse().unwrap_or_else(|_| panic!("\"{text}\" has no number"));
    Millis(match unit {
        "ms" => number,
        "s" => number * 1000,
        "m" => number * 60_000,
        "h" => number * 3_600_000,
        _ => panic!("\"{unit}\" is not a unit of time"),
    })
}

fn template(text: &str) -> Arc<dyn Template> {
    Arc::new(match text.split_once('.') {
        Some(("output", step)) => Sketched::Output(step.to_owned()),
        Some(("input", member)) => Sketched::Member(member.to_owned()),
        _ => match text {
            "input" => Sketched::Input,
            "item" => Sketched::Item,
            "null" => Sketched::Fixed(Json::default()),
            "true" => Sketched::Fixed(Arc::new(true.into())),
            "false" => Sketched::Fixed(Arc::new(false.into())),
            "fail" => Sketched::Fail,
            _ => panic!("\"{text}\" is not a template"),
        },
    })
}

#[derive(Debug)]
enum Sketched {
    Input,
    Member(String),
    Item,
    Fixed(Json),
    Output(String),
    Fail,
}

impl Template for Sketched {
    fn render(&self, scope: &Scope<'_>) -> Result<Json, String> {
        match self {
            Sketched::Input => Ok(scope.input().clone()),
            Sketched::Member(name) => {
                let member = scope.input().get(name).cloned();
                member.map(Arc::new).ok_or_else(|| format!("input.{name} is undefined"))
            }
            Sketched::Item => {
                let (item, _) = scope.item().ok_or("there is no item here")?;
                Ok(item.clone())
            }
            Sketched::Fixed(value) => Ok(value.clone()),
            Sketched::Output(step) => {
                scope.output(step).ok_or_else(|| format!("steps.{step}.output is undefined"))
            }
            Sketched::Fail => Err("the expression always fails".to_owned()),
        }
    }
}
