//! Who stands left of whom: rows are sorted by where their neighbours above and below stand, a few times over, and
//! the order with the fewest crossings is kept.

use super::{NODES_MAX, rows::Rows};

/// How often the rows are gone through, down and up.
const ROUNDS: usize = 6;

/// Sorts each row.
pub(super) fn settle(rows: &mut Rows) {
    let mut place = places(rows);
    let mut best = (crossings(rows, &place), rows.rows.clone());
    let rounds = if rows.nodes.len() > NODES_MAX { 1 } else { ROUNDS };
    for _ in 0..rounds {
        if best.0 == 0 {
            break;
        }
        for row in 1..rows.rows.len() {
            sort(&mut rows.rows[row], &rows.above, &mut place);
        }
        for row in (0..rows.rows.len().saturating_sub(1)).rev() {
            sort(&mut rows.rows[row], &rows.below, &mut place);
        }
        let crossings = crossings(rows, &place);
        if crossings < best.0 {
            best = (crossings, rows.rows.clone());
        }
    }
    rows.rows = best.1;
}

/// The place of each node in its row.
fn places(rows: &Rows) -> Vec<usize> {
    let mut places = vec![0; rows.nodes.len()];
    for row in &rows.rows {
        for (place, node) in row.iter().enumerate() {
            places[*node] = place;
        }
    }
    places
}

/// Sorts a row by the mean place of what its nodes are joined to; those joined to nothing keep their place.
fn sort(row: &mut [usize], joined: &[Vec<usize>], place: &mut [usize]) {
    let mean = |node: usize| {
        let others = &joined[node];
        if others.is_empty() {
            return place[node] as f64;
        }
        others.iter().map(|other| place[*other] as f64).sum::<f64>() / others.len() as f64
    };
    let mut keyed: Vec<(f64, usize)> = row.iter().map(|node| (mean(*node), *node)).collect();
    keyed.sort_by(|a, b| a.0.total_cmp(&b.0));
    for (seat, (_, node)) in keyed.into_iter().enumerate() {
        row[seat] = node;
        place[node] = seat;
    }
}

/// How often two lines cross between neighbouring rows.
fn crossings(rows: &Rows, place: &[usize]) -> u64 {
    rows.rows.windows(2).map(|pair| crossings_below(&pair[0], pair[1].len(), &rows.below, place)).sum()
}

/// Counts inversions: going through the upper row from left to right, each line crosses those before it that end
/// further right. `tree` counts, in the manner of Fenwick, how many have ended at or left of a place.
fn crossings_below(upper: &[usize], lower_len: usize, below: &[Vec<usize>], place: &[usize]) -> u64 {
    let mut tree = vec![0_u64; lower_len + 1];
    let (mut seen, mut crossings) = (0_u64, 0_u64);
    for node in upper {
        let ends = below[*node].iter().map(|lower| place[*lower]);
        for end in ends.clone() {
            let mut at = end + 1;
            let mut left = 0;
            while at > 0 {
                left += tree[at];
                at &= at - 1;
            }
            crossings += seen - left;
        }
        for end in ends {
            let mut at = end + 1;
            while at <= lower_len {
                tree[at] += 1;
                at += at & at.wrapping_neg();
            }
            seen += 1;
        }
    }
    crossings
}
