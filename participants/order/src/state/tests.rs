//! Every state against every change, and what follows from the table as a whole.

use std::collections::BTreeSet;

use super::*;

/// Columns in the order of [`Change::ALL`]; a dash is a conflict.
const TABLE: &str = "
              reserve  pay  ship_part    ship_rest complete refund_part   refund_rest refund_begin go_on     in_none in_part       in_all   in_part_shipped in_shipped cancel    time_out
created       reserved paid -            -         -        -             -           -            -         -       -             -        -               -          cancelled cancelled
reserved      -        paid -            -         -        -             -           -            -         -       -             -        -               -          cancelled cancelled
paid          -        -    part_shipped shipped   -        part_refunded refunded    refunding    -         -       -             -        -               -          -         -
part_shipped  -        -    part_shipped shipped   -        part_shipped  shipped     refunding    -         -       -             -        -               -          -         -
shipped       -        -    -            -         done     -             -           -            -         -       -             -        -               -          -         -
done          -        -    -            -         -        -             -           -            -         -       -             -        -               -          -         -
refunding     -        -    -            -         -        -             -           refunding    refunding paid    part_refunded refunded part_shipped    shipped    -         -
part_refunded -        -    part_shipped shipped   -        part_refunded refunded    refunding    -         -       -             -        -               -          -         -
refunded      -        -    -            -         -        -             -           -            -         -       -             -        -               -          cancelled -
cancelled     -        -    -            -         -        -             -           -            -         -       -             -        -               -          -         -
";

#[test]
fn every_change_of_every_state_is_in_the_table() {
    let rows: Vec<&str> = TABLE.lines().filter(|line| !line.is_empty()).skip(1).collect();
    assert_eq!(rows.len(), State::ALL.len());
    for (row, state) in rows.iter().zip(State::ALL) {
        let cells: Vec<&str> = row.split_whitespace().collect();
        assert_eq!(cells[0], state.as_str());
        assert_eq!(cells.len(), Change::ALL.len() + 1);
        for (cell, change) in cells[1..].iter().zip(Change::ALL) {
            let expected = (*cell != "-").then(|| State::named(cell).expect("a state's name"));
            assert_eq!(state.after(change), expected, "{state} after {change:?}");
        }
    }
}

#[test]
fn every_state_is_reached_and_two_are_final() {
    let mut reached = BTreeSet::from([State::Created]);
    let mut open = vec![State::Created];
    while let Some(state) = open.pop() {
        open.extend(
            Change::ALL
                .into_iter()
                .filter_map(|change| state.after(change))
                .filter(|next| reached.insert(*next)),
        );
    }
    assert_eq!(reached, BTreeSet::from(State::ALL));
    let is_final = |state: &State| Change::ALL.iter().all(|change| state.after(*change).is_none());
    assert_eq!(State::ALL.into_iter().filter(is_final).collect::<Vec<_>>(), [State::Done, State::Cancelled]);
}

#[test]
fn whatever_has_not_left_can_be_undone() {
    for state in [State::Created, State::Reserved, State::Paid, State::Refunding, State::PartRefunded] {
        // A refund under way is called off first.
        let state = state.after(Change::RefundsEndInPart).unwrap_or(state);
        let refunded = state.after(Change::RefundRest).unwrap_or(state);
        assert_eq!(refunded.after(Change::Cancel), Some(State::Cancelled), "{state}");
    }
}

#[test]
fn names_are_read_back() {
    for state in State::ALL {
        assert_eq!(State::named(state.as_str()), Some(state));
    }
    assert_eq!(State::named("new"), None);
}
