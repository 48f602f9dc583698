//! Where exactly each node stands from left to right: as near below and above its neighbours as its row allows.
//!
//! A row's nodes keep their order and their distance. Among all ways to do so the one with the least squared
//! distance from where they would like to stand is found by pooling adjacent violators: a node that would have to
//! stand left of its left neighbour forms a block with it, and the block stands at its members' mean.

use super::{NODES_MAX, Span, rows::Rows};

/// How often the rows are gone through, down and up.
const ROUNDS: usize = 4;

/// How much more a lane wants to be straight than a step wants to stand in the middle.
const LANE_WEIGHT: f64 = 4.0;

/// The places of the forward lines, and the width of it all; the leftmost edge is at 0.
pub(super) fn place(rows: &Rows, spans: &[Span]) -> (Vec<f64>, f64) {
    let mut xs = vec![0.0; rows.nodes.len()];
    for row in &rows.rows {
        let mut x = 0.0;
        for (seat, node) in row.iter().enumerate() {
            if let Some(left) = seat.checked_sub(1) {
                x += spans[row[left]].apart(&spans[*node]);
            }
            xs[*node] = x;
        }
    }
    let rounds = if rows.nodes.len() > NODES_MAX { 1 } else { ROUNDS };
    for _ in 0..rounds {
        for row in rows.rows.iter().rev() {
            pull(row, &rows.below, spans, &mut xs);
        }
        for row in &rows.rows {
            pull(row, &rows.above, spans, &mut xs);
        }
    }
    let left = extreme(&xs, spans, |x, span| x - span.left, f64::min);
    let right = extreme(&xs, spans, |x, span| x + span.right, f64::max);
    for x in &mut xs {
        *x -= left;
    }
    (xs, right - left)
}

fn extreme(xs: &[f64], spans: &[Span], edge: impl Fn(f64, &Span) -> f64, pick: fn(f64, f64) -> f64) -> f64 {
    xs.iter().zip(spans).map(|(x, span)| edge(*x, span)).reduce(pick).unwrap_or(0.0)
}

/// A run of neighbours that stand as close as they may.
struct Block {
    mean: f64,
    weight: f64,
    members: usize,
}

/// Moves a row's nodes towards the mean of what they are joined to; those joined to nothing stay where they are.
fn pull(row: &[usize], joined: &[Vec<usize>], spans: &[Span], xs: &mut [f64]) {
    let mut offsets = Vec::with_capacity(row.len());
    let mut blocks: Vec<Block> = Vec::with_capacity(row.len());
    let mut offset = 0.0;
    for (seat, node) in row.iter().enumerate() {
        if let Some(left) = seat.checked_sub(1) {
            offset += spans[row[left]].apart(&spans[*node]);
        }
        offsets.push(offset);
        let others = &joined[*node];
        let wish = match others.len() {
            0 => xs[*node],
            count => others.iter().map(|other| xs[*other]).sum::<f64>() / count as f64,
        };
        let weight = if spans[*node].lane { LANE_WEIGHT } else { 1.0 };
        let mut block = Block { mean: wish - offset, weight, members: 1 };
        while let Some(left) = blocks.pop_if(|left| left.mean >= block.mean) {
            let weight = left.weight + block.weight;
            block = Block {
                mean: (left.mean * left.weight + block.mean * block.weight) / weight,
                weight,
                members: left.members + block.members,
            };
        }
        blocks.push(block);
    }
    let means = blocks.iter().flat_map(|block| std::iter::repeat_n(block.mean, block.members));
    for ((node, mean), offset) in row.iter().zip(means).zip(offsets) {
        xs[*node] = mean + offset;
    }
}
