//! `amends demo`: what it finds, how it ends, and that it goes on serving.

use crate::binary::Place;

#[test]
fn every_cart_ends_as_it_should_and_the_books_balance() {
    let ended = Place::new().run(&["demo", "--exit", "--json"]).code(0);
    assert_eq!(ended.err, "");
    let told = ended.json();
    let sagas = told["sagas"].as_array().expect("a list");
    assert_eq!(sagas.len(), 8);
    for saga in sagas {
        assert_eq!(saga["status"], saga["expected"], "{saga}");
        assert_eq!(saga["as_expected"], true, "{saga}");
    }
    assert_eq!((told["completed"].as_u64(), told["compensated"].as_u64()), (Some(4), Some(4)));
    assert_eq!(told["compensated_after_failed_reversals"], 1);
    let failing = sagas.iter().find(|saga| saga["plot"] == "reversal_fails").expect("the failing one");
    assert_eq!(
        (failing["failed_reversals"].as_u64(), failing["compensation_attempts"].as_u64()),
        (Some(3), Some(4))
    );
    assert_eq!(told["books"], "balanced");
    let checks = told["checks"].as_array().expect("a list");
    assert!(checks.len() >= 10 && checks.iter().all(|check| check["kept"] == true), "{checks:?}");
    assert!(checks.iter().all(|check| check["looked_at"].as_u64() > Some(0)), "{checks:?}");
    let figures = &told["figures"];
    let sum = ["usable", "held", "shipped"].iter().filter_map(|part| figures[part].as_i64()).sum::<i64>();
    assert_eq!(figures["inbound"].as_i64(), Some(sum));
}

#[test]
fn people_get_a_table_and_an_explanation_without_colours_in_a_pipe() {
    let ended = Place::new().env("NO_COLOR", "1").run(&["demo", "--exit"]).code(0);
    assert!(ended.out.starts_with("listening on http://127.0.0.1:"), "{}", ended.out);
    for words in [
        "CART",
        "refused: out of stock",
        "undoing failed 3 times",
        "turned away; undoing refused, repaired",
        "the second start had the same key",
        "books: balanced",
        "1478 in = 1450 on the shelf + 28 set aside + 0 shipped",
        "8 carts: 4 completed, 4 compensated (1 of them after failed reversals)",
    ] {
        assert!(ended.out.contains(words), "{words:?} is missing: {}", ended.out);
    }
    assert!(!ended.out.contains('\u{1b}') && !ended.err.contains('\u{1b}'));
}

#[test]
fn it_goes_on_serving_until_it_is_told_to_stop_and_keeps_a_named_directory() {
    let place = Place::new();
    let mut demo = place.serve(&["demo", "--data", "kept"]);
    let said = demo.read_until("/audit");
    assert!(said.contains(&format!("export AMENDS_COORDINATOR={}", demo.url)), "{said}");

    place.file("cart.json", "{\"order\": \"mine-1\", \"lines\": [{\"sku\": 1, \"qty\": 2}]}");
    let start =
        ["saga", "start", "order", "--input", "cart.json", "--key", "mine-1", "--wait", "20s", "--json"];
    let saga = place.run(&[&start[..], &["--coordinator", &demo.url]].concat()).code(0).json();
    assert_eq!(saga["status"], "completed");

    assert_eq!(demo.terminate(), Some(0));
    assert!(place.path().join("kept/coordinator.db").is_file());
    let again = place.run(&["demo", "--exit", "--data", "kept"]).code(1);
    assert!(again.err.contains("kept holds the databases of an earlier run"), "{}", again.err);
}
