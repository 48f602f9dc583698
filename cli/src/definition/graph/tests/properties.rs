//! The laws over graphs that nobody thought of, and over ones that are hard to lay out.

use super::*;

/// How long drawing the largest definition may take, not optimised, on a machine that does other things as well.
const TIME_MAX: Duration = Duration::from_secs(1);

/// What a random step is made from: whom it waits for, what it does, what it says.
type Seed = (Vec<prop::sample::Index>, u8, u8, usize);

fn body(place: usize, (parents, does, extras, long): &Seed) -> Value {
    let words = "input.lines | length > 17 and ".repeat(*long);
    let mut body = match does % 5 {
        0 => json!({ "action": "product.quote", "read_only": true }),
        1 => json!({ "action": "inventory.hold", "compensation": "inventory.release" }),
        2 => json!({ "await": "payment", "timeout": "15m" }),
        3 => json!({ "saga": "refund@2" }),
        _ => json!({ "action": "mail.send", "compensation": "none", "reason": words }),
    };
    // One in four follows the step before it without saying so.
    if place > 0 && extras & 3 != 0 {
        let after: Vec<String> = parents.iter().map(|parent| format!("s{}", parent.index(place))).collect();
        body["after"] = json!(after);
    }
    if extras & 4 != 0 {
        body["when"] = json!(format!("${{{{ {words}true }}}}"));
    }
    if extras & 8 != 0 {
        body["for_each"] = json!("${{ input.lines }}");
        body["parallel"] = json!(place + 1);
    }
    body
}

fn any_graph() -> impl Strategy<Value = Graph> {
    let seed =
        (prop::collection::vec(any::<prop::sample::Index>(), 0..4), any::<u8>(), any::<u8>(), 0_usize..4);
    let steps = prop::collection::vec(seed, 1..=60);
    (steps, prop::option::of(any::<prop::sample::Index>())).prop_map(|(seeds, pivot)| {
        let mut bodies: Vec<Value> =
            seeds.iter().enumerate().map(|(place, seed)| body(place, seed)).collect();
        if let Some(pivot) = pivot {
            let place = pivot.index(bodies.len());
            bodies[place]["pivot"] = json!(true);
        }
        let named = |(place, body): (usize, Value)| json!({ format!("s{place}"): body });
        let steps: Vec<Value> = bodies.into_iter().enumerate().map(named).collect();
        Graph::read(&json!({ "saga": "random", "steps": steps })).expect("a graph")
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn the_laws_hold_for_any_graph(graph in any_graph()) {
        laws::hold(&graph, None);
    }

    #[test]
    fn a_drawing_depends_on_nothing_but_its_graph(graph in any_graph()) {
        prop_assert_eq!(svg::draw(&graph, None), svg::draw(&graph, None));
    }
}

/// 512 steps, each after those that `after` names.
fn large(after: impl Fn(usize) -> Vec<usize>) -> Graph {
    let step = |place: usize| {
        let after: Vec<String> = after(place).into_iter().map(|parent| format!("s{parent}")).collect();
        json!({ format!("s{place}"): { "action": "a.b", "compensation": "a.c", "after": after } })
    };
    let steps: Vec<Value> = (0..512).map(step).collect();
    Graph::read(&json!({ "saga": "large", "steps": steps })).expect("a graph")
}

#[test]
fn the_largest_definitions_are_drawn_at_once() {
    let before = |place: usize| place.checked_sub(1).into_iter().collect::<Vec<_>>();
    let fan = |place: usize| match place {
        0 => vec![],
        511 => (1..511).collect(),
        _ => vec![0],
    };
    let back = |place: usize| {
        let mut parents: Vec<usize> =
            [place.saturating_sub(40), place.saturating_sub(1)].into_iter().filter(|p| *p < place).collect();
        parents.dedup();
        parents
    };
    for (kind, graph) in [
        ("a sequence", large(before)),
        ("a fan", large(fan)),
        ("side by side", large(|_| vec![])),
        ("a ladder", large(|place| (place.saturating_sub(2)..place).collect())),
        ("a tree", large(|place| place.checked_sub(1).map(|left| left / 2).into_iter().collect())),
        ("a sequence that looks back", large(back)),
    ] {
        // The best of a few: the machine may be busy with other tests.
        let (took, drawing) = (0..3).map(|_| timed(&graph)).min_by_key(|(took, _)| *took).expect("a drawing");
        assert!(took < TIME_MAX, "{kind} took {took:?} for {} bytes", drawing.len());
        assert_eq!(drawing.matches("data-step=").count(), 512, "{kind}");
    }
}

fn timed(graph: &Graph) -> (Duration, String) {
    let begun = Instant::now();
    let drawing = svg::draw(graph, None);
    (begun.elapsed(), drawing)
}
