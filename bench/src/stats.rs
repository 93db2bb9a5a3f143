//! The few numbers that sum up repeated measurements. Pure; an empty series has no summary rather than a zero.

/// The middle value; of an even number of values the mean of the two in the middle.
pub fn median(values: &[f64]) -> Option<f64> {
    let sorted = sorted(values);
    let upper = *sorted.get(sorted.len() / 2)?;
    match sorted.len() % 2 {
        1 => Some(upper),
        _ => Some((sorted.get(sorted.len() / 2 - 1)? + upper) / 2.0),
    }
}

/// The smallest value that at least so many of a hundred are not above (nearest rank).
pub fn percentile(values: &[f64], percent: usize) -> Option<f64> {
    let sorted = sorted(values);
    sorted.get((sorted.len() * percent).div_ceil(100).saturating_sub(1)).copied()
}

/// The smallest and the largest value.
pub fn range(values: &[f64]) -> Option<(f64, f64)> {
    let sorted = sorted(values);
    Some((*sorted.first()?, *sorted.last()?))
}

/// How far the values lie apart, in percent of their median.
pub fn spread_percent(values: &[f64]) -> Option<f64> {
    let (low, high) = range(values)?;
    median(values).filter(|middle| *middle != 0.0).map(|middle| (high - low) / middle * 100.0)
}

fn sorted(values: &[f64]) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_is_found_in_any_order() {
        // A median of unsorted values would report whichever boot came sixth.
        assert_eq!(median(&[9.0, 1.0, 5.0]), Some(5.0));
        assert_eq!(median(&[4.0, 1.0, 3.0, 2.0]), Some(2.5));
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn a_percentile_is_one_of_the_values() {
        // One place too low hides the slowest of a hundred, which is what p99 is for.
        let values: Vec<f64> = (1..=200).rev().map(f64::from).collect();
        assert_eq!((percentile(&values, 50), percentile(&values, 99)), (Some(100.0), Some(198.0)));
        assert_eq!((percentile(&[7.0], 99), percentile(&[], 50)), (Some(7.0), None));
    }

    #[test]
    fn the_spread_is_relative_to_the_middle() {
        // Taken of the mean, one outlier would hide itself.
        assert_eq!(spread_percent(&[99.0, 100.0, 101.0]), Some(2.0));
        assert_eq!(range(&[2.0, 1.0]), Some((1.0, 2.0)));
        assert_eq!(spread_percent(&[0.0, 0.0]), None);
    }
}
