//! Curves as SVG, both axes logarithmic.

use std::fmt::Write;

/// One line of a plot.
#[derive(Clone, Debug)]
pub struct Line {
    /// What it is.
    pub name: &'static str,
    /// Its points, from left to right; all positive.
    pub points: Vec<(f64, f64)>,
}

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 420.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = WIDTH - 130.0;
const TOP: f64 = 45.0;
const BOTTOM: f64 = HEIGHT - 55.0;
const COLOURS: [&str; 4] = ["#c0392b", "#1f6f8b", "#7d8c2c", "#6c4a8e"];

/// A logarithmic axis: the powers of ten around its figures, and where a figure is on it.
struct Axis {
    powers: std::ops::RangeInclusive<i32>,
    from: f64,
    to: f64,
}

impl Axis {
    fn around(figures: impl Iterator<Item = f64> + Clone, from: f64, to: f64) -> Axis {
        let first = figures
            .clone()
            .fold(f64::INFINITY, f64::min)
            .log10()
            .floor() as i32;
        let last = figures.fold(f64::NEG_INFINITY, f64::max).log10().ceil() as i32;
        Axis {
            powers: first..=last.max(first + 1),
            from,
            to,
        }
    }

    fn place(&self, figure: f64) -> f64 {
        let (first, last) = (
            f64::from(*self.powers.start()),
            f64::from(*self.powers.end()),
        );
        self.from + (figure.log10() - first) / (last - first) * (self.to - self.from)
    }
}

/// An image of the lines, as text.
///
/// # Panics
/// When there is no point.
pub fn svg(title: &str, x_axis: &str, y_axis: &str, lines: &[Line]) -> String {
    let points = || lines.iter().flat_map(|line| &line.points);
    assert!(points().next().is_some(), "a plot shows something");
    let x = Axis::around(points().map(|point| point.0), LEFT, RIGHT);
    let y = Axis::around(points().map(|point| point.1), BOTTOM, TOP);
    let mut image = String::new();
    let mut put = |text: String| {
        // A string takes everything.
        let _ = writeln!(image, "{text}");
    };
    put(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" font-size=\"12\">"
    ));
    put(format!(
        "<rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"white\"/>"
    ));
    put(format!(
        "<text x=\"{LEFT}\" y=\"24\" font-size=\"15\">{title}</text>"
    ));
    for power in x.powers.clone() {
        let at = x.place(10_f64.powi(power));
        put(format!(
            "<path d=\"M{at:.1} {TOP}V{BOTTOM}\" stroke=\"#ddd\"/><text x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
            BOTTOM + 18.0,
            number(power)
        ));
    }
    for power in y.powers.clone() {
        let at = y.place(10_f64.powi(power));
        put(format!(
            "<path d=\"M{LEFT} {at:.1}H{RIGHT}\" stroke=\"#ddd\"/><text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            LEFT - 8.0,
            at + 4.0,
            number(power)
        ));
    }
    let (middle_x, middle_y) = (f64::midpoint(LEFT, RIGHT), f64::midpoint(TOP, BOTTOM));
    put(format!(
        "<text x=\"{middle_x}\" y=\"{}\" text-anchor=\"middle\">{x_axis}</text>",
        HEIGHT - 14.0
    ));
    put(format!(
        "<text transform=\"translate(18 {middle_y}) rotate(-90)\" text-anchor=\"middle\">{y_axis}</text>"
    ));
    for (line, colour) in lines.iter().zip(COLOURS) {
        let places: Vec<String> = line
            .points
            .iter()
            .map(|(at, figure)| format!("{:.1},{:.1}", x.place(*at), y.place(*figure)))
            .collect();
        put(format!(
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
            places.join(" ")
        ));
        for place in &places {
            let (at, figure) = place.split_once(',').unwrap_or_default();
            put(format!(
                "<circle cx=\"{at}\" cy=\"{figure}\" r=\"3\" fill=\"{colour}\"/>"
            ));
        }
        if let Some((_, figure)) = line.points.last() {
            put(format!(
                "<text x=\"{}\" y=\"{:.1}\" fill=\"{colour}\">{}</text>",
                RIGHT + 10.0,
                y.place(*figure) + 4.0,
                line.name
            ));
        }
    }
    put("</svg>".to_owned());
    image
}

/// A power of ten as people write it.
fn number(power: i32) -> String {
    match power {
        ..0 => format!("{:.*}", power.unsigned_abs() as usize, 10_f64.powi(power)),
        0..=2 => format!("{}", 10_i64.pow(power as u32)),
        3..=5 => format!("{} k", 10_i64.pow(power as u32 - 3)),
        _ => format!("{} M", 10_i64.pow((power as u32).min(24) - 6)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_are_where_their_figures_are() {
        let line = Line {
            name: "ours",
            points: vec![(10.0, 0.1), (1000.0, 10.0)],
        };
        let image = svg("title", "keys", "cost", &[line]);
        assert!(image.contains(&format!(
            "points=\"{LEFT:.1},{BOTTOM:.1} {RIGHT:.1},{TOP:.1}\""
        )));
        for label in [">10<", ">100<", ">1 k<", ">0.1<", ">1<"] {
            assert!(image.contains(label), "{label}");
        }
        assert!(image.ends_with("</svg>\n"));
    }
}
