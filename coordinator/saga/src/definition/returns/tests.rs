//! What a step must return: what fits, and what the message says of what does not.

use super::*;
use crate::sketch;
use serde_json::{Value, json};

fn step(text: &str) -> Step {
    sketch::definition(&format!("x\na: {text}")).step(super::super::StepIx(0)).clone()
}

fn told(checked: Result<(), Misfits>) -> Result<(), String> {
    checked.map_err(|misfits| misfits.to_string())
}

#[test]
fn a_step_yields_what_it_says() {
    let check = |text: &str, output: Value, expected: Result<(), &str>| {
        let checked = step(text).check_returned(&Json::new(output));
        assert_eq!(told(checked), expected.map_err(str::to_owned), "{text}");
    };
    check("p.do none", json!("anything"), Ok(()));
    check("p.do none returns=number", json!(1), Ok(()));
    check("p.do none returns=number", json!("1"), Err("\"1\" is no number"));
    check("await paid returns=by", json!({ "by": "ada" }), Ok(()));
    check("await paid returns=by", json!(null), Err("null has no \"by\""));
}

#[test]
fn a_list_is_checked_item_by_item() {
    let check = |output: Value, expected: Result<(), &str>| {
        let checked = step("p.do none each=input returns=number").check_list(&Json::new(output));
        assert_eq!(told(checked), expected.map_err(str::to_owned));
    };
    check(json!([]), Ok(()));
    check(json!([1, 2]), Ok(()));
    check(json!([1, "2", "3"]), Err("at /1: \"2\" is no number"));
    check(json!(1), Err("the step is done for a list, and this is none"));
    assert_eq!(step("p.do none each=input").check_list(&Json::default()), Ok(()), "which says nothing");
}

#[test]
fn misfits_tell_the_first_and_count_the_others() {
    let misfit = |path: &str| Misfit { path: path.to_owned(), message: "wrong".to_owned() };
    let check = |misfits: &[&str], expected: &str| {
        assert_eq!(Misfits(misfits.iter().map(|path| misfit(path)).collect()).to_string(), expected);
    };
    check(&[""], "wrong");
    check(&["/a/0"], "at /a/0: wrong");
    check(&["/a", "/b", "/c"], "at /a: wrong (and 2 more)");
}
