//! The nearest known name: what someone who wrote an unknown key probably meant.

/// Longest name that is compared, in bytes: a row of the table fits the stack.
const NAME_MAX: usize = 32;

/// The known name that is at most two typing mistakes away from `name`, and less than half of it different.
pub(super) fn nearest(name: &str, known: &mut dyn Iterator<Item = &'static str>) -> Option<&'static str> {
    if name.len() > NAME_MAX {
        return None;
    }
    known
        .map(|candidate| (distance(name.as_bytes(), candidate.as_bytes()), candidate))
        .filter(|(distance, candidate)| *distance <= 2 && 2 * *distance < candidate.len())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// How many typing mistakes (a byte too much, missing, wrong, or swapped with the next; letter case does not count)
/// lie between `a` and `b`: the optimal string alignment distance, one row of its table at a time.
/// `b` may have at most `NAME_MAX` bytes.
fn distance(a: &[u8], b: &[u8]) -> usize {
    let first: Row = core::array::from_fn(|index| index);
    let (mut before, mut above) = (first, first);
    let mut last_a = None;
    for (row_index, byte_a) in a.iter().enumerate() {
        let mut row = [row_index + 1; NAME_MAX + 1];
        let mut last_b = None;
        for (column, byte_b) in b.iter().enumerate() {
            let changed = cell(&above, column) + usize::from(!byte_a.eq_ignore_ascii_case(byte_b));
            let one_more = cell(&above, column + 1).min(cell(&row, column)) + 1;
            let swapped = match last_b == Some(byte_a) && last_a == Some(byte_b) {
                true => cell(&before, column.saturating_sub(1)) + 1,
                false => changed,
            };
            if let Some(here) = row.get_mut(column + 1) {
                *here = changed.min(one_more).min(swapped);
            }
            last_b = Some(byte_b);
        }
        (before, above) = (above, row);
        last_a = Some(byte_a);
    }
    cell(&above, b.len())
}

type Row = [usize; NAME_MAX + 1];

/// A cell of a row; what lies outside is far away.
fn cell(row: &Row, column: usize) -> usize {
    row.get(column).copied().unwrap_or(usize::MAX / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A suggestion that is nonsense is worse than none.
    #[test]
    fn suggests_what_was_meant_and_nothing_far_off() {
        let known = || ["name", "network", "collector", "http", "on_panic"].into_iter();
        for (written, meant) in [
            ("nmae", Some("name")),
            ("hostname", None),
            ("ttp", Some("http")),
            ("Name", Some("name")),
            ("colector", Some("collector")),
            ("on-panic", Some("on_panic")),
            ("htp", Some("http")),
            ("netwrok", Some("network")),
            ("", None),
            ("n", None),
            ("checks", None),
            ("a_key_that_is_far_longer_than_any_of_ours", None),
        ] {
            assert_eq!(nearest(written, &mut known()), meant, "{written}");
        }
    }
}
