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
    fn the_spread_is_relative_to_the_middle() {
        // Taken of the mean, one outlier would hide itself.
        assert_eq!(spread_percent(&[99.0, 100.0, 101.0]), Some(2.0));
        assert_eq!(range(&[2.0, 1.0]), Some((1.0, 2.0)));
        assert_eq!(spread_percent(&[0.0, 0.0]), None);
    }
}
