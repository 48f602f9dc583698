//! Near misses: which of the known words somebody may have meant.

/// Returns the known word nearest to `word`, `None` when none is near.
pub(crate) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = match word.chars().count() {
        0..=2 => 1,
        3..=5 => 2,
        _ => 3,
    };
    known
        .into_iter()
        .filter(|candidate| *candidate != word)
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= limit && *distance < candidate.chars().count())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Says what somebody may have meant, or else what there is.
pub(crate) fn hint<'a>(word: &str, known: impl IntoIterator<Item = &'a str> + Clone, what: &str) -> String {
    if let Some(nearest) = nearest(word, known.clone()) {
        return format!("did you mean \"{nearest}\"?");
    }
    let mut all: Vec<&str> = known.into_iter().take(25).collect();
    if all.len() > 24 {
        all[24] = "…";
    }
    if all.is_empty() {
        format!("there are no {what} here")
    } else {
        format!("{what} here: {}", all.join(", "))
    }
}

/// The number of insertions, removals, replacements and swaps of neighbours between two words
/// (Damerau 1964, optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().take(64).collect(), b.chars().take(64).collect());
    let mut rows: [Vec<usize>; 3] = [Vec::new(), Vec::new(), (0..=b.len()).collect()];
    for i in 1..=a.len() {
        rows.rotate_left(1);
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replaced = rows[1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replaced.min(rows[1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[0][j - 2] + 1);
            }
            row.push(best);
        }
        rows[2] = row;
    }
    rows[2][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_count_single_changes() {
        for (a, b, expected) in
            [("", "", 0), ("a", "", 1), ("retry", "retyr", 1), ("lines", "lnies", 1), ("abc", "xyz", 3)]
        {
            assert_eq!(distance(a, b), expected, "{a} {b}");
        }
    }

    #[test]
    fn only_near_words_are_suggested() {
        let known = ["retry", "timeout", "with"];
        assert_eq!(nearest("retries", known), Some("retry"));
        assert_eq!(nearest("wiht", known), Some("with"));
        assert_eq!(nearest("banana", known), None);
        assert_eq!(hint("banana", known, "keys"), "keys here: retry, timeout, with");
    }
}
