//! Where everything of a drawing stands: a layered layout, from top to bottom, of boxes that are given as sizes.
//!
//! Each step is a box with, beside it on the right, the box of its undo. Steps stand in rows, each row below the
//! rows of what its steps wait for. A line that passes a row runs through it in a lane of its own, so that no line
//! crosses a box; the lanes of one step are shared by all the lines that leave it. Undo runs along the same ways
//! upwards, a little to the right. The work is in three pieces: [`rows`] says who stands in which row, [`order`] in
//! which order, [`place`] where exactly.
//!
//! Lengths are in pixels at a scale of 1; the same sizes give the same layout everywhere.

mod order;
mod place;
mod rows;

use rows::{Node, Rows};

/// Between a step's box and its undo's.
pub(super) const UNDO_GAP: f64 = 22.0;
/// Between the way forward and the way back in one lane.
pub(super) const LANE: f64 = 10.0;
/// Between two boxes of a row.
const BOX_GAP: f64 = 34.0;
/// Between a lane and its neighbours.
const LANE_GAP: f64 = 14.0;
/// The least and the greatest distance between two rows.
const ROW_GAP: (f64, f64) = (44.0, 140.0);
/// What a row's distance to the next grows by for each pixel that a line goes to the side.
const SLOPE: f64 = 0.08;
/// With more nodes than this, rows are gone through once only: nobody counts crossings there.
const NODES_MAX: usize = 4_000;
/// The room for the line of no return, below the pivot's row.
pub(super) const PIVOT_ROOM: f64 = 26.0;

/// How large a step is drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Size {
    /// The step's box: width, height.
    pub(crate) step: (f64, f64),
    /// Its undo's box; none beyond the point of no return.
    pub(crate) undo: Option<(f64, f64)>,
}

/// A box.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Rect {
    /// Its left edge.
    pub(crate) x: f64,
    /// Its upper edge.
    pub(crate) y: f64,
    /// Its width.
    pub(crate) width: f64,
    /// Its height.
    pub(crate) height: f64,
}

impl Rect {
    /// The middle from left to right.
    pub(crate) fn middle(&self) -> f64 {
        self.x + self.width / 2.0
    }

    /// Its right edge.
    pub(crate) fn right(&self) -> f64 {
        self.x + self.width
    }

    /// Its lower edge.
    pub(crate) fn bottom(&self) -> f64 {
        self.y + self.height
    }
}

/// Where a step is drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Placed {
    /// The row, from 0.
    pub(crate) row: usize,
    /// The step's box.
    pub(crate) step: Rect,
    /// Its undo's box.
    pub(crate) undo: Option<Rect>,
}

/// A point.
pub(crate) type Point = (f64, f64);

/// The way of a line. Between two points it goes straight down or up where they stand above one another, otherwise
/// in a curve that leaves and arrives upright.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Route {
    /// From the step waited for, downwards, to the step that waits.
    pub(crate) forward: Vec<Point>,
    /// From the undo of the step that waits, upwards; none where the edge is not undone.
    pub(crate) undo: Option<Vec<Point>>,
}

/// A drawing's geometry; it begins at (0, 0).
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Layout {
    /// Its width.
    pub(crate) width: f64,
    /// Its height.
    pub(crate) height: f64,
    /// Each step's boxes, in the order of the sizes.
    pub(crate) boxes: Vec<Placed>,
    /// Each edge's way, in the order of the edges.
    pub(crate) routes: Vec<Route>,
    /// How far down the line of no return runs.
    pub(crate) pivot_line: Option<f64>,
}

/// An edge between two boxes, and whether it is undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Link {
    /// Where it begins.
    pub(crate) from: usize,
    /// Where it ends.
    pub(crate) to: usize,
    /// Whether undoing goes back along it.
    pub(crate) undone: bool,
}

impl Layout {
    /// Lays boxes out.
    ///
    /// `order` names every box once, each after those it has a link from; `pivot` is the box below which the line of
    /// no return is drawn.
    pub(crate) fn of(sizes: &[Size], links: &[Link], order: &[usize], pivot: Option<usize>) -> Layout {
        let mut rows = Rows::of(sizes.len(), links, order);
        order::settle(&mut rows);
        let spans: Vec<Span> = rows.nodes.iter().map(|node| Span::of(node, sizes)).collect();
        let (xs, width) = place::place(&rows, &spans);
        let heights = Heights::of(&rows, sizes, &xs, pivot);
        let boxes: Vec<Placed> = (0..sizes.len())
            .map(|step| {
                let row = rows.nodes[step].row();
                placed(&sizes[step], row, xs[step], heights.tops[row])
            })
            .collect();
        let routes = links.iter().map(|link| route(link, &rows, &xs, &boxes, &heights)).collect();
        let pivot_line = pivot.map(|step| heights.bottoms[boxes[step].row] + ROW_GAP.0 / 2.0);
        let last = heights.bottoms.last().copied().unwrap_or(0.0);
        Layout { width, height: last.max(pivot_line.unwrap_or(0.0)), boxes, routes, pivot_line }
    }
}

/// What a node takes up left and right of its forward line.
#[derive(Debug, Clone, Copy)]
struct Span {
    left: f64,
    right: f64,
    lane: bool,
}

impl Span {
    fn of(node: &Node, sizes: &[Size]) -> Span {
        match node {
            Node::Step { step, .. } => {
                let (width, _) = sizes[*step].step;
                let undo = sizes[*step].undo.map_or(0.0, |(undo, _)| UNDO_GAP + undo);
                Span { left: width / 2.0, right: width / 2.0 + undo, lane: false }
            }
            Node::Lane { undone, .. } => {
                Span { left: 0.0, right: if *undone { LANE } else { 0.0 }, lane: true }
            }
        }
    }

    /// The least distance between the forward lines of two neighbours.
    fn apart(&self, right: &Span) -> f64 {
        let gap = if self.lane || right.lane { LANE_GAP } else { BOX_GAP };
        self.right + gap + right.left
    }
}

/// How far down each row begins and ends.
struct Heights {
    tops: Vec<f64>,
    bottoms: Vec<f64>,
}

impl Heights {
    fn of(rows: &Rows, sizes: &[Size], xs: &[f64], pivot: Option<usize>) -> Heights {
        let mut reach = vec![0.0_f64; rows.rows.len()];
        for (upper, lower) in rows.joints() {
            let row = rows.nodes[upper].row();
            reach[row] = reach[row].max((xs[upper] - xs[lower]).abs());
        }
        let pivot_row = pivot.map(|step| rows.nodes[step].row());
        let mut heights = Heights { tops: Vec::new(), bottoms: Vec::new() };
        let mut y = 0.0;
        for (row, members) in rows.rows.iter().enumerate() {
            let tall = |node: &usize| match &rows.nodes[*node] {
                Node::Step { step, .. } => {
                    sizes[*step].step.1.max(sizes[*step].undo.map_or(0.0, |undo| undo.1))
                }
                Node::Lane { .. } => 0.0,
            };
            heights.tops.push(y);
            y += members.iter().map(tall).fold(0.0, f64::max);
            heights.bottoms.push(y);
            y += (ROW_GAP.0 + SLOPE * reach[row]).min(ROW_GAP.1);
            if pivot_row == Some(row) {
                y += PIVOT_ROOM;
            }
        }
        heights
    }
}

fn placed(size: &Size, row: usize, x: f64, y: f64) -> Placed {
    let (width, height) = size.step;
    let step = Rect { x: x - width / 2.0, y, width, height };
    let undo = size.undo.map(|(width, height)| Rect { x: step.right() + UNDO_GAP, y, width, height });
    Placed { row, step, undo }
}

fn route(link: &Link, rows: &Rows, xs: &[f64], boxes: &[Placed], heights: &Heights) -> Route {
    let (from, to) = (&boxes[link.from], &boxes[link.to]);
    let lanes: Vec<(usize, f64)> = rows.lanes(link).map(|node| (rows.nodes[node].row(), xs[node])).collect();
    let way = |start: &Rect, end: &Rect, aside: f64| {
        let mut points = vec![(start.middle(), start.bottom()), (start.middle(), heights.bottoms[from.row])];
        for (row, x) in &lanes {
            points.push((x + aside, heights.tops[*row]));
            points.push((x + aside, heights.bottoms[*row]));
        }
        points.push((end.middle(), end.y));
        points
    };
    let undo = match (&from.undo, &to.undo) {
        (Some(start), Some(end)) if link.undone => {
            let mut points = way(start, end, LANE);
            points.reverse();
            Some(points)
        }
        _ => None,
    };
    Route { forward: way(&from.step, &to.step, 0.0), undo }
}
