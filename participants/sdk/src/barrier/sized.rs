//! One statement for many rows, in a few sizes.
//!
//! A statement costs more than a row, and preparing one costs more than executing it. So every statement is
//! written for 1, 2, 3, 4, 6, 8, … 1024 rows, once for the process, and any number of rows goes out in a few of them: on
//! SQLite in one, whose places beyond the rows stay empty.

/// How many rows a statement is for, largest first.
const SIZES: [usize; 20] = [1024, 768, 512, 384, 256, 192, 128, 96, 64, 48, 32, 24, 16, 12, 8, 6, 4, 3, 2, 1];

/// A statement's text in every size.
pub(super) struct Sized(Vec<(usize, String)>);

impl Sized {
    /// Makes `{head}{row 0}{between}{row 1}…{tail}`.
    pub(super) fn new(head: &str, row: impl Fn(usize) -> String, between: &str, tail: &str) -> Sized {
        let text = |size: usize| {
            let rows: Vec<String> = (0..size).map(&row).collect();
            (size, format!("{head}{}{tail}", rows.join(between)))
        };
        Sized(SIZES.into_iter().map(text).collect())
    }

    /// Gives items with the smallest statement that has room for them, cut into pieces where there are too many.
    ///
    /// SQLite takes a place that is not filled for null; the statement must make nothing of a row of nulls.
    pub(super) fn roomy<'i, T>(&'static self, items: &'i [T]) -> impl Iterator<Item = Piece<'i, T>> {
        let pieces = (0..).step_by(SIZES[0]).zip(items.chunks(SIZES[0]));
        pieces.filter_map(|(start, items)| {
            let (_, statement) = self.0.iter().rfind(|(size, _)| *size >= items.len())?;
            Some(Piece { start, items, statement })
        })
    }

    /// Cuts items into the sizes, and gives each piece with its place and its statement.
    pub(super) fn pieces<'i, T>(&'static self, items: &'i [T]) -> impl Iterator<Item = Piece<'i, T>> {
        let mut start = 0;
        std::iter::from_fn(move || {
            let rest = &items[start..];
            let (size, statement) = self.0.iter().find(|(size, _)| *size <= rest.len())?;
            let piece = Piece { start, items: &rest[..*size], statement };
            start += size;
            Some(piece)
        })
    }
}

/// Items for one execution of a statement.
pub(super) struct Piece<'i, T> {
    /// Where the first of them stands among all.
    pub(super) start: usize,
    pub(super) items: &'i [T],
    pub(super) statement: &'static str,
}

#[cfg(test)]
mod tests;
