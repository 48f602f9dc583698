//! The exhaustive model.
use amends_tests::model::{models, search::search};
#[test]
fn all() {
    let mut total = 0;
    for (name, model) in models(None) {
        let found = search(&model, 3_000_000);
        println!("{name}: {} states, {} edges, depth {}, {} goals, complete {}, {:?}", found.states, found.edges, found.depth, found.goals, found.complete, found.took);
        if let Some((law, way)) = &found.broken { println!("BROKEN {law}\n{}", way.join("\n")); }
        total += found.states;
    }
    println!("{total}");
}
