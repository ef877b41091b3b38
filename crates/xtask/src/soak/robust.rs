//! Numbers that a few outliers do not move: a busy machine makes outliers.

use crate::bench::measures::median;

/// At most so many points make a line; more are thinned to the medians of neighbours.
const POINTS: usize = 400;

/// The rise of the line through points `(x, y)`: the median of the rises between each two of them (Theil 1950, Sen 1968).
/// Up to 29 of 100 points may be anywhere. No number for fewer than two places.
pub fn rise(points: &[(f64, f64)]) -> f64 {
    let chunk = points.len().div_ceil(POINTS).max(1);
    let of =
        |points: &[(f64, f64)], which: fn(&(f64, f64)) -> f64| median(points.iter().map(which).collect());
    let thinned: Vec<(f64, f64)> = points
        .chunks(chunk)
        .map(|points| (of(points, |point| point.0), of(points, |point| point.1)))
        .collect();
    let mut rises = Vec::new();
    for (index, from) in thinned.iter().enumerate() {
        for to in thinned.iter().skip(index + 1) {
            if to.0 != from.0 {
                rises.push((to.1 - from.1) / (to.0 - from.0));
            }
        }
    }
    median(rises)
}

/// The first and the last third.
pub fn thirds<T>(all: &[T]) -> (&[T], &[T]) {
    let third = all.len() / 3;
    let (first, rest) = all.split_at(third);
    let (_, last) = rest.split_at(rest.len() - third);
    (first, last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rise_is_found_among_outliers() {
        let line = |count: usize| -> Vec<(f64, f64)> {
            (0..count)
                .map(|index| {
                    let outlier = if index % 5 == 3 { 1e6 } else { 0.0 };
                    (index as f64, 7.0 + 0.25 * index as f64 + outlier)
                })
                .collect()
        };
        for count in [20, 400, 5_000] {
            assert!((rise(&line(count)) - 0.25).abs() < 0.01, "{}", rise(&line(count)));
        }
        assert_eq!(rise(&[(1.0, 5.0), (2.0, 5.0), (3.0, 5.0)]), 0.0);
        assert!(rise(&[(1.0, 5.0), (1.0, 6.0)]).is_nan());
        assert!(rise(&[]).is_nan());
    }

    #[test]
    fn thirds_leave_out_the_middle() {
        let all: Vec<u32> = (0..10).collect();
        assert_eq!(thirds(&all), (&[0, 1, 2][..], &[7, 8, 9][..]));
        assert_eq!(thirds(&all[..2]), (&[][..], &[][..]));
    }
}
