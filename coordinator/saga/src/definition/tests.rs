//! Graphs: order, circles, descendants.

use super::*;
use crate::sketch;
use proptest::prelude::*;

fn names(definition: &Definition, steps: &[StepIx]) -> Vec<String> {
    steps.iter().map(|ix| definition.step(*ix).name.to_string()).collect()
}

/// Steps that call something, each after the listed ones.
fn steps(after: &[&[u16]]) -> Vec<Step> {
    let sketch = sketch::definition("x\na: p.do / p.undo");
    let kind = sketch.step(StepIx(0)).kind.clone();
    let name = |i: usize| Name::parse(&format!("s{i}")).expect("a name");
    let step = |(i, after): (usize, &&[u16])| Step {
        name: name(i),
        kind: kind.clone(),
        after: after.iter().map(|a| StepIx(*a)).collect(),
        when: None,
        pivot: false,
        fan: None,
        returns: None,
    };
    after.iter().enumerate().map(step).collect()
}

fn define(steps: Vec<Step>) -> Result<Definition, Vec<Fault>> {
    Definition::new(Name::parse("x").expect("a name"), 1, "hash".to_owned(), None, steps, None)
}

#[test]
fn the_descendants_of_a_diamond_are_all_that_follows() {
    let definition =
        sketch::definition("x\na: p.do none\nb: p.do none\nc: p.do none after=a\nd: p.do none after=b,c");
    let check = |step: &str, expected: &[&str]| {
        let ix = definition.find(step).expect("a step");
        assert_eq!(names(&definition, definition.descendants(ix)), expected);
    };
    check("a", &["b", "c", "d"]);
    check("b", &["d"]);
    check("c", &["d"]);
    check("d", &[]);
}

#[test]
fn a_definition_names_every_fault() {
    assert_eq!(define(Vec::new()).unwrap_err(), [Fault::Empty]);
    let many = define(steps(&vec![&[][..]; STEPS_MAX + 1])).unwrap_err();
    assert_eq!(many, [Fault::TooMany(STEPS_MAX + 1)]);
    let circle = define(steps(&[&[], &[3], &[1], &[2], &[3]])).unwrap_err();
    assert_eq!(circle[0].to_string(), "the steps s1, s2, s3, s4 wait for each other in a circle");
    let mut twice = steps(&[&[], &[0]]);
    twice[1].name = twice[0].name.clone();
    assert_eq!(define(twice).unwrap_err()[0].to_string(), "two steps are named \"s0\"; rename one");
    assert!(define(steps(&[&[0]])).is_err(), "a step that waits for itself is a circle");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn descendants_are_the_transitive_closure(edges in prop::collection::vec((0u16..30, 0u16..30), 0..120)) {
        let mut after = vec![Vec::new(); 30];
        for (a, b) in edges.into_iter().filter(|(a, b)| a != b) {
            after[usize::from(a.max(b))].push(a.min(b));
        }
        let lists: Vec<&[u16]> = after.iter().map(Vec::as_slice).collect();
        let definition = define(steps(&lists)).expect("no circle is possible");
        let mut reach = [[false; 30]; 30];
        for (to, froms) in after.iter().enumerate() {
            froms.iter().for_each(|from| reach[usize::from(*from)][to] = true);
        }
        for via in 0..30 {
            for from in 0..30 {
                for to in 0..30 {
                    reach[from][to] |= reach[from][via] && reach[via][to];
                }
            }
        }
        for (from, row) in reach.iter().enumerate() {
            let expected: Vec<StepIx> = (0..30u16).filter(|to| row[usize::from(*to)]).map(StepIx).collect();
            prop_assert_eq!(definition.descendants(StepIx(from as u16)), &expected[..]);
        }
    }
}
