//! Any number of rows goes out in few statements, each row once and in order.

use super::{Piece, Sized};
use std::sync::LazyLock;

static STATEMENT: LazyLock<Sized> = LazyLock::new(|| Sized::new("[", |row| row.to_string(), " ", "]"));

/// How many rows each statement has room for, and how many of them it is given; every row goes out once and in order.
fn rooms<'i>(count: usize, pieces: impl Iterator<Item = Piece<'i, usize>>) -> Vec<(usize, usize)> {
    let (mut went, mut rooms) = (Vec::new(), Vec::new());
    for piece in pieces {
        assert_eq!(piece.start, went.len(), "{count}");
        rooms.push((piece.statement.split(' ').count(), piece.items.len()));
        went.extend_from_slice(piece.items);
    }
    assert_eq!(went, (0..count).collect::<Vec<_>>());
    rooms
}

#[test]
fn every_row_goes_out_once_in_as_few_statements_as_there_are_sizes_for() {
    for (count, sizes) in [
        (0, vec![]),
        (1, vec![1]),
        (5, vec![4, 1]),
        (128, vec![128]),
        (255, vec![192, 48, 12, 3]),
        (2051, vec![1024, 1024, 3]),
    ] {
        let rows: Vec<usize> = (0..count).collect();
        let full: Vec<_> = sizes.into_iter().map(|size| (size, size)).collect();
        assert_eq!(rooms(count, STATEMENT.pieces(&rows)), full, "{count}");
    }
}

#[test]
fn where_places_may_stay_empty_one_statement_does_for_a_batch() {
    for (count, expected) in [
        (0, vec![]),
        (1, vec![(1, 1)]),
        (5, vec![(6, 5)]),
        (255, vec![(256, 255)]),
        (1024, vec![(1024, 1024)]),
        (1030, vec![(1024, 1024), (6, 6)]),
    ] {
        let rows: Vec<usize> = (0..count).collect();
        assert_eq!(rooms(count, STATEMENT.roomy(&rows)), expected, "{count}");
    }
}
