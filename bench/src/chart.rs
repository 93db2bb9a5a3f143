//! A bar chart of a report as SVG: groups of bars, one bar for each guest, each group on a scale of its own.
//!
//! Bars of one group begin at zero and are as long as their values, so that a look at them is a fair comparison; groups
//! have different units and are not compared.

use std::fmt::Write;

/// Widths and heights, in pixels.
const WIDTH: f64 = 760.0;
const LABEL_WIDTH: f64 = 130.0;
const VALUE_WIDTH: f64 = 110.0;
const BAR: f64 = 16.0;
const GAP: f64 = 4.0;
const HEADING: f64 = 30.0;

/// A colour for each guest; there is no third yet, and it would get the last.
const COLOURS: [&str; 3] = ["#2b6cb0", "#a0aec0", "#d69e2e"];

/// One bar.
#[derive(Clone, Debug)]
pub struct Bar {
    /// What its length stands for.
    pub value: f64,
    /// How its value is written.
    pub text: String,
}

/// Bars that are compared with each other: one for each guest that could be measured, in their order.
#[derive(Clone, Debug)]
pub struct Group {
    /// What is compared, and which end is the good one.
    pub title: String,
    /// The bars.
    pub bars: Vec<Option<Bar>>,
}

/// The chart; empty when there is nothing to show.
pub fn svg(guests: &[String], groups: &[Group], caption: &str) -> String {
    let (mut body, mut y) = (String::new(), 0.0);
    // Writing into a String cannot fail, here and below.
    for group in groups {
        let longest = group.bars.iter().flatten().map(|bar| bar.value).fold(0.0, f64::max);
        if longest <= 0.0 {
            continue;
        }
        let _ = writeln!(body, r#"<text x="8" y="{:.0}" font-weight="600">{}</text>"#, y + 20.0, escape(&group.title));
        y += HEADING;
        for (index, (guest, bar)) in guests.iter().zip(&group.bars).enumerate() {
            let Some(bar) = bar else { continue };
            let room = WIDTH - LABEL_WIDTH - VALUE_WIDTH;
            // Thinner than a pixel it would look as if it had not been measured.
            let length = (bar.value / longest * room).max(1.0);
            let colour = COLOURS[index.min(COLOURS.len() - 1)];
            let text_y = y + BAR - 4.0;
            let _ = write!(
                body,
                r##"<text x="8" y="{text_y:.0}" fill="#718096">{}</text>
<rect x="{LABEL_WIDTH}" y="{y:.0}" width="{length:.1}" height="{BAR}" rx="2" fill="{colour}"/>
<text x="{:.1}" y="{text_y:.0}">{}</text>
"##,
                escape(guest),
                LABEL_WIDTH + length + 6.0,
                escape(&bar.text)
            );
            y += BAR + GAP;
        }
        y += GAP;
    }
    if body.is_empty() {
        return body;
    }
    let height = y + 26.0;
    format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0}" font-family="system-ui,sans-serif" font-size="12">
<rect width="{WIDTH}" height="{height:.0}" fill="#fff"/>
{body}<text x="8" y="{:.0}" fill="#718096" font-size="10">{}</text>
</svg>
"##,
        height - 8.0,
        escape(caption)
    )
}

/// Text as XML has it (XML 1.0, section 2.4).
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_as_long_as_their_values() {
        // A bar that does not begin at zero, or stands beside the wrong name, says what was not measured.
        let bar = |value: f64| Some(Bar { value, text: format!("{value} ms") });
        let guests = ["Outpost".to_owned(), "A & B".to_owned()];
        let groups = [
            Group { title: "start < first".into(), bars: vec![bar(130.0), bar(520.0)] },
            Group { title: "alone".into(), bars: vec![None, bar(1.0)] },
            Group { title: "nothing".into(), bars: vec![None, None] },
        ];
        let chart = svg(&guests, &groups, "a caption");
        assert_eq!(chart.matches(r#"width="130.0""#).count(), 1, "{chart}");
        assert_eq!(chart.matches(r#"width="520.0""#).count(), 2, "{chart}");
        assert!(chart.contains("start &lt; first") && chart.contains("A &amp; B") && !chart.contains("nothing"));
        assert_eq!(chart.matches("Outpost").count(), 1);
        assert_eq!(svg(&guests, &groups[2..], ""), "");
    }
}
