//! A curve as a picture.

use std::fmt::Write as _;

use super::curves::Curve;

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 60.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 30.0;
const BOTTOM: f64 = 45.0;

/// Sizes on a logarithmic axis, CPU time from 0 on.
pub fn draw(curve: &Curve) -> String {
    let most = curve
        .points
        .iter()
        .map(|(_, cost)| *cost)
        .fold(0.0, f64::max)
        .max(1.0);
    let top = nice(most * 1.2);
    let last = curve
        .points
        .iter()
        .map(|(size, _)| size.log10())
        .fold(1.0, f64::max);
    let x = |size: f64| LEFT + size.log10() / last * (WIDTH - LEFT - RIGHT);
    let y = |cost: f64| HEIGHT - BOTTOM - cost / top * (HEIGHT - TOP - BOTTOM);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"{LEFT}\" y=\"18\">CPU of an activation in µs, by number of {}</text>\n",
        curve.sizes
    );
    for step in 0..=4 {
        let cost = top * f64::from(step) / 4.0;
        let at = y(cost);
        // Writing to a string does not fail.
        let _ = writeln!(
            svg,
            "<line x1=\"{LEFT}\" y1=\"{at:.1}\" x2=\"{}\" y2=\"{at:.1}\" stroke=\"#ddd\"/>\
             <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{cost:.0}</text>",
            WIDTH - RIGHT,
            LEFT - 8.0,
            at + 4.0
        );
    }
    for (size, _) in &curve.points {
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\">{size:.0}</text>",
            x(*size),
            HEIGHT - BOTTOM + 18.0
        );
    }
    let line: Vec<String> = curve
        .points
        .iter()
        .map(|(size, cost)| format!("{:.1},{:.1}", x(*size), y(*cost)))
        .collect();
    let _ = writeln!(
        svg,
        "<polyline points=\"{}\" fill=\"none\" stroke=\"#1f77b4\" stroke-width=\"2\"/>",
        line.join(" ")
    );
    for (size, cost) in &curve.points {
        let _ = writeln!(
            svg,
            "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"3\" fill=\"#1f77b4\"/>",
            x(*size),
            y(*cost)
        );
    }
    svg.push_str("</svg>\n");
    svg
}

/// The next of 1, 2, 5 times a power of ten.
fn nice(number: f64) -> f64 {
    let power = 10_f64.powf(number.log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|step| step * power)
        .find(|step| *step >= number)
        .unwrap_or(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_point_is_drawn_within_the_picture() {
        let curve = Curve {
            name: "secrets",
            sizes: "secrets",
            points: vec![(1.0, 300.0), (10.0, 310.0), (100_000.0, 330.0)],
        };
        let svg = draw(&curve);
        assert_eq!(svg.matches("<circle").count(), 3);
        assert!(
            svg.contains("by number of secrets")
                && svg.contains("cx=\"60.0\"")
                && svg.contains("cx=\"620.0\"")
        );
        assert_eq!((nice(396.0), nice(100.0), nice(1100.0)), (500.0, 100.0, 2000.0));
    }
}
