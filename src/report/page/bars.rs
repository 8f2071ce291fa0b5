//! Figures of bars: a row for each thing, its name above it, in parts one behind the other.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use super::colour::{GRID, INK, MUTED, series};
use super::figure::{Area, Drawn, Figure, Key, LINE, Mark, SIDE, TEXT, WIDTH, draw, label, legend, legend_height};
use super::figure::{letters, marks, shortened, width};
use super::html::Table;
use crate::Result;

/// Height of a bar.
const BAR: i32 = 26;
/// Height of columns.
const HIGH: i32 = 380;
/// From one row to the next.
const STEP: i32 = LINE + BAR + 12;

/// One row.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub name: String,
    /// As many as there are names of parts.
    pub parts: Vec<f64>,
    /// The series that its first part has the colour of.
    pub colour: usize,
    /// What stands behind the bar.
    pub end: String,
}

/// Rows of bars, from 0.
#[derive(Debug, Clone)]
pub(super) struct Bars<'a> {
    pub label: &'a str,
    pub unit: &'a str,
    /// What parts are called, in the colours of series; none of a single one.
    pub parts: &'a [&'a str],
    /// A number as it is read.
    pub say: fn(f64) -> String,
    /// What a whole bar is; the longest unless it is known.
    pub most: Option<f64>,
    pub rows: Vec<Row>,
    pub table: Table,
}

impl Bars<'_> {
    /// The figure, or none where there is no row.
    ///
    /// # Errors
    /// [`crate::Error::Unsupported`] where it cannot be drawn.
    pub fn figure(self) -> Result<Option<Figure>> {
        if self.rows.is_empty() {
            return Ok(None);
        }
        let top = self.above() + legend_height(&self.names());
        let size = (WIDTH, (top + STEP * self.rows.len() as i32 + SIDE) as u32);
        let (svg, found) = draw(size, |area| self.drawn(area, top))?;
        let label = self.label.into();
        Ok(Some(Figure { of: None, label, size, svg, found: marks(&found), orders: Vec::new(), table: self.table }))
    }

    /// Names of parts with their series.
    fn names(&self) -> Vec<(&str, usize)> {
        self.parts.iter().enumerate().map(|(i, name)| (*name, i)).collect()
    }

    /// Room of the unit.
    fn above(&self) -> i32 {
        if self.unit.is_empty() { 0 } else { LINE }
    }

    fn most(&self) -> f64 {
        let sum = |row: &Row| row.parts.iter().sum::<f64>();
        self.most.unwrap_or_else(|| self.rows.iter().map(sum).fold(0.0, f64::max)).max(f64::MIN_POSITIVE)
    }

    fn drawn(&self, area: &Area<'_>, top: i32) -> Drawn<Vec<Mark>> {
        area.draw(&Text::new(self.unit.to_string(), (SIDE, LINE / 2), unit()))?;
        legend(area, &self.names(), self.above(), Key::Square)?;
        let most = self.most();
        // Room for what stands behind the longest bars.
        let room = self.rows.iter().map(|row| width(&row.end)).max().unwrap_or(0) + SIDE;
        let long = f64::from(WIDTH as i32 - 2 * SIDE - room);
        let mut found = Vec::new();
        for (i, row) in self.rows.iter().enumerate() {
            let y = top + STEP * i as i32;
            area.draw(&Text::new(shortened(&row.name, 50), (SIDE, y + LINE / 2), label(HPos::Left)))?;
            let (mut sum, y) = (0.0, y + LINE);
            let at = |value: f64| SIDE + (value / most * long).round() as i32;
            for (part, &value) in row.parts.iter().enumerate() {
                let (from, to) = (at(sum), at(sum + value));
                sum += value;
                if value > 0.0 {
                    let style = series(row.colour + part).rgb().filled();
                    area.draw(&Rectangle::new([(from, y), (to.max(from + 1), y + BAR)], style))?;
                    let of = self.parts.get(part).map_or(String::new(), |name| format!(", {name}"));
                    let text = format!("{}{of}: {}", row.name, (self.say)(value));
                    found.push(Mark { at: (from, y), size: Some((to - from, BAR)), text });
                }
            }
            area.draw(&Text::new(row.end.clone(), (at(sum) + 10, y + BAR / 2), label(HPos::Left)))?;
        }
        Ok(found)
    }

    /// The figure with upright bars beside each other, for rows that are too many for names; bars are shares of a whole.
    ///
    /// # Errors
    /// See [`figure`](Self::figure).
    pub fn columns(self) -> Result<Option<Figure>> {
        let size = (WIDTH, (2 * LINE + HIGH + SIDE) as u32);
        let (svg, found) = draw(size, |area| self.upright(area))?;
        let label = self.label.into();
        Ok(Some(Figure { of: None, label, size, svg, found: marks(&found), orders: Vec::new(), table: self.table }))
    }

    fn upright(&self, area: &Area<'_>) -> Drawn<Vec<Mark>> {
        let (most, left, top) = (self.most(), 100, LINE);
        for i in 0..=4 {
            let (share, y) = (f64::from(i) / 4.0, top + HIGH - HIGH * i / 4);
            area.draw(&PathElement::new([(left, y), (WIDTH as i32 - SIDE, y)], GRID.rgb().stroke_width(2)))?;
            let text = letters(TEXT, INK, HPos::Right, VPos::Center);
            area.draw(&Text::new(format!("{:.0} %", 100.0 * share), (left - 10, y), text))?;
        }
        let wide = f64::from(WIDTH as i32 - SIDE - left) / self.rows.len() as f64;
        let mut found = Vec::new();
        for (i, row) in self.rows.iter().enumerate() {
            let at = |i: usize| left + (i as f64 * wide).round() as i32;
            let (from, to) = (at(i), (at(i + 1) - 1).max(at(i) + 1));
            let high = (row.parts.iter().sum::<f64>() / most * f64::from(HIGH)).round() as i32;
            let (y, style) = (top + HIGH - high, series(row.colour).rgb().filled());
            area.draw(&Rectangle::new([(from, y), (to, top + HIGH)], style))?;
            // The whole column is found, however low its bar is.
            let text = format!("{}: {}", row.name, row.end);
            found.push(Mark { at: (from, top), size: Some((to - from, HIGH)), text });
        }
        Ok(found)
    }
}

fn unit() -> TextStyle<'static> {
    letters(TEXT, MUTED, HPos::Left, VPos::Center)
}
