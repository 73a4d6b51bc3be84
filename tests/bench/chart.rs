//! Leads over peers as horizontal bars on a logarithmic scale: right of the line we are faster.
//!
//! Written as text: a plotting crate would be larger than the benchmark.

use std::fmt::Write as _;

use crate::report::Subject;

/// One comparison.
pub(crate) struct Bar {
    pub(crate) work: String,
    pub(crate) peer: Subject,
    /// How many times better than the peer; below 1 is worse.
    pub(crate) lead: f64,
}

const WIDTH: f64 = 900.0;
/// Room for the names of work.
const LEFT: f64 = 380.0;
const BAR: f64 = 18.0;
const TOP: f64 = 40.0;
/// The scale ends here on both sides.
const LEAD_MAX: f64 = 1000.0;
const LEAD_MIN: f64 = 0.1;

/// The picture.
pub(crate) fn svg(bars: &[Bar]) -> String {
    let height = TOP + bars.len() as f64 * (BAR + 4.0) + 20.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n<text x=\"10\" y=\"20\" font-size=\"14\">Supercargo over its peers \
         (times faster or smaller; logarithmic)</text>\n"
    );
    for lead in [0.1, 1.0, 10.0, 100.0, 1000.0] {
        let (x, color) = (place(lead), if lead == 1.0 { "#000" } else { "#ddd" });
        let label = TOP - 6.0;
        writeln!(
            svg,
            "<line x1=\"{x}\" y1=\"{TOP}\" x2=\"{x}\" y2=\"{height}\" stroke=\"{color}\"/><text x=\"{x}\" y=\"{label}\" \
             text-anchor=\"middle\" fill=\"#666\">{lead} ×</text>"
        )
        .expect("a string");
    }
    for (number, bar) in bars.iter().enumerate() {
        let y = TOP + 4.0 + number as f64 * (BAR + 4.0);
        let (one, end) = (place(1.0), place(bar.lead));
        let (x, width) = (one.min(end), (end - one).abs().max(1.0));
        let color = if bar.peer == Subject::Nginx { "#2a7f62" } else { "#b7561f" };
        let (text, label) = (y + 13.0, escape(&format!("{}, over {}", bar.work, bar.peer.name())));
        writeln!(
            svg,
            "<text x=\"{}\" y=\"{text}\" text-anchor=\"end\">{label}</text><rect x=\"{x:.1}\" y=\"{y}\" width=\"{width:.1}\" \
             height=\"{BAR}\" fill=\"{color}\"/><text x=\"{:.1}\" y=\"{text}\">{:.2}</text>",
            LEFT - 8.0,
            one.max(end) + 4.0,
            bar.lead
        )
        .expect("a string");
    }
    svg.push_str("</svg>\n");
    svg
}

fn place(lead: f64) -> f64 {
    let share = (lead.clamp(LEAD_MIN, LEAD_MAX) / LEAD_MIN).log10() / (LEAD_MAX / LEAD_MIN).log10();
    LEFT + share * (WIDTH - LEFT - 60.0)
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
