//! All figures on one sheet.

use std::fmt::Write as _;

use super::colour::{INK, MUTED, PAPER};
use super::document::shown;
use super::figure::{Figure, TEXT, WIDTH};
use super::html::escape;
use super::runs::Group;
use super::section::Section;
use super::{document, summary};

/// Between figures, and around them.
const GAP: u32 = 40;
/// Height of the titles of figures.
const TITLE: u32 = 50;
/// Figures beside each other.
const ACROSS: usize = 2;
/// The sheet as SVG, with those figures that the page shows at first.
pub(super) fn svg(groups: &[Group], sections: &[Section]) -> String {
    let figures = sections.iter().flat_map(|section| section.figures.iter().map(move |figure| (section.title, figure)));
    let figures: Vec<(&str, &Figure)> =
        figures.filter(|(_, figure)| figure.of.is_none_or(|of| shown(groups, of))).collect();
    let wide = ACROSS as u32 * (WIDTH + GAP) + GAP;
    let mut y = 3 * GAP + TITLE;
    let mut body = String::new();
    let title = document::title(groups);
    let _ = writeln!(body, "{}", text(GAP, GAP + TITLE / 2, 1.4 * TEXT, &INK.hex(), &title));
    let subject = escape(&summary::subject(groups));
    let _ = writeln!(body, "{}", text(GAP, GAP + TITLE + 10, 0.85 * TEXT, &MUTED.hex(), &subject));
    for row in figures.chunks(ACROSS) {
        for (i, (title, figure)) in row.iter().enumerate() {
            let x = GAP + i as u32 * (WIDTH + GAP);
            let name =
                figure.of.filter(|_| groups.len() > 1).map_or(String::new(), |of| format!(": {}", groups[of].name));
            let title = escape(&format!("{title}{name}"));
            let _ = writeln!(body, "{}", text(x, y + TITLE / 2, 1.15 * TEXT, &INK.hex(), &title));
            body += &figure.svg.replacen("<svg ", &format!("<svg x=\"{x}\" y=\"{}\" ", y + TITLE), 1);
        }
        y += TITLE + GAP + row.iter().map(|(_, figure)| figure.size.1).max().unwrap_or(0);
    }
    let paper = PAPER.hex();
    format!(
        "<svg width=\"{wide}\" height=\"{y}\" viewBox=\"0 0 {wide} {y}\" xmlns=\"http://www.w3.org/2000/svg\">\n\
         <rect width=\"{wide}\" height=\"{y}\" fill=\"{paper}\"/>\n{body}</svg>\n"
    )
}

fn text(x: u32, y: u32, size: f64, colour: &str, text: &str) -> String {
    format!(
        "<text x=\"{x}\" y=\"{y}\" font-family=\"sans-serif\" font-size=\"{size:.1}\" fill=\"{colour}\">{text}</text>"
    )
}
