//! Guessing what was meant.

/// The candidate nearest to `text`, if it is near enough to be a slip of the hand.
pub(super) fn nearest<'a>(text: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let text = text.to_lowercase().replace('-', "_");
    let with_distance = candidates.into_iter().map(|candidate| (distance(&text, candidate), candidate));
    let (distance, candidate) = with_distance.min()?;
    (distance <= 1 + candidate.len() / 4).then_some(candidate)
}

/// How many insertions, removals and replacements turn one text into the other (Levenshtein).
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (line, letter) in from.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = line + 1;
        for (column, other) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(letter != *other);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_counted() {
        for (from, to, expected) in [
            ("", "", 0),
            ("a", "", 1),
            ("listen", "listen", 0),
            ("lisen", "listen", 1),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(distance(from, to), expected, "{from} {to}");
        }
    }

    #[test]
    fn a_slip_finds_its_word_and_another_word_finds_none() {
        let known = ["listen", "store", "sagas_max"];
        assert_eq!(nearest("listn", known), Some("listen"));
        assert_eq!(nearest("Sagas-Max", known), Some("sagas_max"));
        assert_eq!(nearest("colour", known), None);
    }
}
