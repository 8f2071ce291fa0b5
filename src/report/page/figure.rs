//! What all figures have in common: a drawing by plotters, what a reader's pointer finds on it, and its numbers as a table.

use plotters::coord::Shift;
use plotters::drawing::DrawingAreaErrorKind;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use serde_json::{Value, json};

use super::colour::{Colour, INK, series};
use super::html::Table;
use crate::report::picture::plain;
use crate::{Error, Result};

/// Units across a figure; a page shows two or three of them as a pixel.
pub(super) const WIDTH: u32 = 840;
/// Height of letters, in units.
pub(super) const TEXT: f64 = 26.0;
/// From one line of text to the next.
pub(super) const LINE: i32 = 36;
/// Room at the sides of a figure.
pub(super) const SIDE: i32 = 16;
/// Room of a legend's marker.
const KEY: i32 = 30;

pub(super) type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
pub(super) type Drawn<T = ()> = Result<T, DrawingAreaErrorKind<std::io::Error>>;

/// A figure with all that a page shows of it.
#[derive(Debug)]
pub(super) struct Figure {
    /// The settings whose runs it shows, where a section has a figure for each; by their index.
    pub of: Option<usize>,
    /// What it shows, for those who do not see it.
    pub label: String,
    pub size: (u32, u32),
    /// A whole document.
    pub svg: String,
    /// What the pointer finds: see `page.js`.
    pub found: Value,
    /// Names of the orders that its classes can be put in.
    pub orders: Vec<&'static str>,
    pub table: Table,
}

/// A place of a figure with what it says.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Mark {
    pub at: (i32, i32),
    /// Width and height of a bar; none of a point.
    pub size: Option<(i32, i32)>,
    pub text: String,
}

/// Marks as `page.js` takes them: `[x, y, text]` of a point, `[x, y, width, height, text]` of a bar.
pub(super) fn marks(marks: &[Mark]) -> Value {
    let one = |mark: &Mark| match mark.size {
        None => json!([mark.at.0, mark.at.1, mark.text]),
        Some((width, height)) => json!([mark.at.0, mark.at.1, width, height, mark.text]),
    };
    json!({ "marks": marks.iter().map(one).collect::<Vec<_>>() })
}

/// Draws a document of this size.
pub(super) fn draw<T>(size: (u32, u32), how: impl FnOnce(&Area<'_>) -> Drawn<T>) -> Result<(String, T)> {
    let mut svg = String::new();
    let drawn = {
        let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        how(&area).and_then(|drawn| area.present().map(|()| drawn))
    };
    let drawn = drawn.map_err(|e| Error::Unsupported(format!("a figure cannot be drawn: {e}")))?;
    Ok((svg, drawn))
}

/// Adds elements on top of a document.
pub(super) fn add(svg: &mut String, elements: &str) {
    let end = svg.rfind("</svg>").unwrap_or(svg.len());
    svg.insert_str(end, elements);
}

/// Letters of a size and colour, by the place that they stand at.
pub(super) fn letters(size: f64, colour: Colour, across: HPos, up: VPos) -> TextStyle<'static> {
    // The backend divides by as much.
    let font = ("sans-serif", size * 1.24).into_font();
    TextStyle { font, color: colour.rgb().to_backend_color(), pos: Pos::new(across, up) }
}

/// Letters beside axes and in legends.
pub(super) fn label(across: HPos) -> TextStyle<'static> {
    letters(TEXT, INK, across, VPos::Center)
}

/// About how wide a text is.
pub(super) fn width(text: &str) -> i32 {
    (0.58 * TEXT * text.chars().count() as f64) as i32
}

/// A text of at most so many letters, which figures can hold.
pub(super) fn shortened(text: &str, most: usize) -> String {
    let text = plain(text);
    if text.chars().count() <= most {
        return text;
    }
    text.chars().take(most.saturating_sub(1)).chain(['…']).collect()
}

/// Draws a marker in the colour of a series; its shape tells series apart as well.
pub(super) fn marker(area: &Area<'_>, (x, y): (i32, i32), index: usize) -> Drawn {
    let style = series(index).rgb().filled();
    let polygon = |corners: [(i32, i32); 4]| Polygon::new(corners.map(|(dx, dy)| (x + dx, y + dy)).to_vec(), style);
    match index % 5 {
        0 => area.draw(&Circle::new((x, y), 8, style)),
        1 => area.draw(&polygon([(-7, -7), (7, -7), (7, 7), (-7, 7)])),
        2 => area.draw(&polygon([(0, -10), (10, 8), (-10, 8), (0, -10)])),
        3 => area.draw(&polygon([(0, -11), (11, 0), (0, 11), (-11, 0)])),
        _ => area.draw(&polygon([(0, 10), (10, -8), (-10, -8), (0, 10)])),
    }
}

/// Draws a filled square.
pub(super) fn square(area: &Area<'_>, (x, y): (i32, i32), side: i32, colour: Colour) -> Drawn {
    area.draw(&Rectangle::new([(x, y), (x + side, y + side)], colour.rgb().filled()))
}

/// What a legend sets before a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    Marker,
    Square,
}

/// Where the entries of a legend stand, in as many lines as they need below `top`; and where the last line ends.
fn places(names: &[(&str, usize)], top: i32) -> (Vec<(i32, i32)>, i32) {
    let (mut x, mut y, mut places) = (SIDE, top + LINE / 2, Vec::new());
    for (name, _) in names {
        let wide = KEY + width(name);
        if x > SIDE && x + wide > WIDTH as i32 - SIDE {
            (x, y) = (SIDE, y + LINE);
        }
        places.push((x, y));
        x += wide + KEY;
    }
    (places, if names.is_empty() { top } else { y + LINE / 2 })
}

/// Height of a legend.
pub(super) fn legend_height(names: &[(&str, usize)]) -> i32 {
    places(names, 0).1
}

/// Draws a legend of names with their series.
pub(super) fn legend(area: &Area<'_>, names: &[(&str, usize)], top: i32, key: Key) -> Drawn {
    for (&(name, i), (x, y)) in names.iter().zip(places(names, top).0) {
        match key {
            Key::Marker => marker(area, (x + 10, y), i)?,
            Key::Square => square(area, (x, y - 10), 20, series(i))?,
        }
        area.draw(&Text::new(name.to_string(), (x + KEY, y), label(HPos::Left)))?;
    }
    Ok(())
}
