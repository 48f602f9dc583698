//! Any number of rows goes out in few statements, each row once and in order.

use super::Sized;
use std::sync::LazyLock;

static STATEMENT: LazyLock<Sized> = LazyLock::new(|| Sized::new("[", |row| row.to_string(), " ", "]"));

#[test]
fn every_row_goes_out_once_in_as_few_statements_as_there_are_sizes_for() {
    for (count, sizes) in [
        (0, vec![]),
        (1, vec![1]),
        (3, vec![2, 1]),
        (128, vec![128]),
        (255, vec![128, 64, 32, 16, 8, 4, 2, 1]),
        (300, vec![128, 128, 32, 8, 4]),
    ] {
        let rows: Vec<usize> = (0..count).collect();
        let (mut went, mut met) = (Vec::new(), Vec::new());
        for piece in STATEMENT.pieces(&rows) {
            assert_eq!(piece.start, went.len());
            assert_eq!(piece.statement.split(' ').count(), piece.items.len(), "{}", piece.statement);
            met.push(piece.items.len());
            went.extend_from_slice(piece.items);
        }
        assert_eq!((went, met), (rows, sizes), "{count}");
    }
}
