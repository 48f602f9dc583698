//! Who stands in which row, and through which rows lines pass.

use super::Link;

/// The most steps beside each other: a wider fan goes on in the next row.
pub(super) const ABREAST_MAX: usize = 6;

/// What stands in a row: a step, or a lane for the lines of a step further up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Node {
    Step { step: usize, row: usize },
    Lane { row: usize, undone: bool },
}

impl Node {
    pub(super) fn row(&self) -> usize {
        match self {
            Node::Step { row, .. } | Node::Lane { row, .. } => *row,
        }
    }
}

/// The nodes and their rows. Node `n` is step `n` as long as there are steps; lanes follow.
#[derive(Debug)]
pub(super) struct Rows {
    pub(super) nodes: Vec<Node>,
    /// The nodes of each row from left to right.
    pub(super) rows: Vec<Vec<usize>>,
    /// For each node, those it is joined to in the row below.
    pub(super) below: Vec<Vec<usize>>,
    /// For each node, those it is joined to in the row above.
    pub(super) above: Vec<Vec<usize>>,
    /// For each step, its lanes by row, beginning with the row below it.
    lanes: Vec<Vec<usize>>,
}

impl Rows {
    /// Puts steps in rows: each below those it waits for, as far up as there is room.
    pub(super) fn of(steps: usize, links: &[Link], order: &[usize]) -> Rows {
        let row_of = assign(steps, links, order);
        let mut nodes: Vec<Node> = (0..steps).map(|step| Node::Step { step, row: row_of[step] }).collect();
        let lanes = lay_lanes(&row_of, links, &mut nodes);
        let mut rows = vec![Vec::new(); nodes.iter().map(|node| node.row() + 1).max().unwrap_or(0)];
        for step in order {
            rows[row_of[*step]].push(*step);
            for lane in &lanes[*step] {
                rows[nodes[*lane].row()].push(*lane);
            }
        }
        let (mut below, mut above) = (vec![Vec::new(); nodes.len()], vec![Vec::new(); nodes.len()]);
        let mut join = |upper: usize, lower: usize| {
            below[upper].push(lower);
            above[lower].push(upper);
        };
        for (step, lanes) in lanes.iter().enumerate() {
            let mut upper = step;
            for lane in lanes {
                join(upper, *lane);
                upper = *lane;
            }
        }
        for link in links {
            let passed = row_of[link.to] - row_of[link.from] - 1;
            let upper = passed.checked_sub(1).map_or(link.from, |last| lanes[link.from][last]);
            join(upper, link.to);
        }
        Rows { nodes, rows, below, above, lanes }
    }

    /// The lanes a link runs through, downwards.
    pub(super) fn lanes(&self, link: &Link) -> impl Iterator<Item = usize> + '_ {
        let passed = self.nodes[link.to].row() - self.nodes[link.from].row() - 1;
        self.lanes[link.from][..passed].iter().copied()
    }

    /// Each pair of joined nodes once: the upper one, the lower one.
    pub(super) fn joints(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        self.below
            .iter()
            .enumerate()
            .flat_map(|(upper, below)| below.iter().map(move |lower| (upper, *lower)))
    }
}

fn assign(steps: usize, links: &[Link], order: &[usize]) -> Vec<usize> {
    let mut parents = vec![Vec::new(); steps];
    for link in links {
        parents[link.to].push(link.from);
    }
    let mut row_of = vec![0; steps];
    let mut taken: Vec<usize> = Vec::new();
    for step in order {
        let mut row = parents[*step].iter().map(|parent| row_of[*parent] + 1).max().unwrap_or(0);
        while taken.get(row).is_some_and(|taken| *taken >= ABREAST_MAX) {
            row += 1;
        }
        if taken.len() <= row {
            taken.resize(row + 1, 0);
        }
        taken[row] += 1;
        row_of[*step] = row;
    }
    row_of
}

/// Makes a lane in each row between a step and the furthest step that waits for it.
fn lay_lanes(row_of: &[usize], links: &[Link], nodes: &mut Vec<Node>) -> Vec<Vec<usize>> {
    let mut furthest: Vec<usize> = row_of.to_vec();
    let mut undone: Vec<usize> = row_of.to_vec();
    for link in links {
        furthest[link.from] = furthest[link.from].max(row_of[link.to]);
        if link.undone {
            undone[link.from] = undone[link.from].max(row_of[link.to]);
        }
    }
    let lay = |step: usize| {
        let rows = row_of[step] + 1..furthest[step];
        rows.map(|row| {
            nodes.push(Node::Lane { row, undone: row < undone[step] });
            nodes.len() - 1
        })
        .collect()
    };
    (0..row_of.len()).map(lay).collect()
}
