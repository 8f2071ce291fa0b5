//! Heat maps: cells in nine levels of one colour, and their numbers where there is room.

use std::fmt::Write as _;

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};
use serde_json::json;

use super::colour::{INK, LEVELS, MUTED, on_level};
use super::figure::{Area, Drawn, Figure, LINE, SIDE, TEXT, WIDTH, add, draw, letters};
use super::html::Table;
use crate::Result;

/// Letters of numbers in cells, and beside them.
pub(super) const SMALL: f64 = 21.0;
/// A cell is no larger.
const CELL: f64 = 64.0;
/// Room of the names of rows.
const LEFT: f64 = 56.0;
/// Height of the strip that explains the levels.
pub(super) const STRIP: i32 = 64;

/// What the levels of a heat map mean: each ends where the next begins.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Scale {
    pub bounds: [f64; LEVELS.len() - 1],
}

impl Scale {
    /// Levels of equal width; `least` is of the first level even where nothing is above it.
    pub fn even(least: f64, most: f64) -> Self {
        let most = if most > least { most } else { least + 1.0 };
        let bound = |i: usize| least + (most - least) * (i + 1) as f64 / LEVELS.len() as f64;
        Self { bounds: std::array::from_fn(bound) }
    }

    pub fn level(&self, x: f64) -> usize {
        self.bounds.iter().filter(|&&bound| x >= bound).count()
    }

    /// Draws the levels with their bounds.
    pub fn drawn(&self, area: &Area<'_>, top: i32, say: fn(f64) -> String) -> Drawn {
        let wide = (WIDTH as i32 - 2 * SIDE) / LEVELS.len() as i32;
        for (i, colour) in LEVELS.iter().enumerate() {
            let x = SIDE + wide * i as i32;
            area.draw(&Rectangle::new([(x, top), (x + wide, top + 20)], colour.rgb().filled()))?;
            if let Some(&bound) = self.bounds.get(i) {
                let letters = letters(SMALL, MUTED, HPos::Center, VPos::Center);
                area.draw(&Text::new(say(bound), (x + wide, top + 36), letters))?;
            }
        }
        Ok(())
    }
}

/// Where cells stand in a figure.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Grid {
    pub left: f64,
    pub top: f64,
    pub cell: f64,
}

impl Grid {
    /// Paths of cells (row, column, level), one for each level. Neighbours of one level in a row are one rectangle, where cells
    /// are too small for a gap between them.
    pub fn paths(&self, cells: impl Iterator<Item = (usize, usize, usize)>) -> String {
        let gap = if self.cell >= 20.0 { 2.0 } else { 0.0 };
        let mut runs: Vec<(usize, usize, usize, usize)> = Vec::new();
        for (row, col, level) in cells {
            match runs.last_mut() {
                Some((r, c, n, l)) if gap == 0.0 && *r == row && *c + *n == col && *l == level => *n += 1,
                _ => runs.push((row, col, 1, level)),
            }
        }
        let mut paths: [String; LEVELS.len()] = Default::default();
        for (row, col, n, level) in runs {
            let (x, y) = (self.left + col as f64 * self.cell, self.top + row as f64 * self.cell);
            let (wide, high) = (round(n as f64 * self.cell - gap), round(self.cell - gap));
            let _ = write!(paths[level], "M{} {}h{wide}v{high}h-{wide}z", round(x), round(y));
        }
        let path = |(level, d): (usize, String)| match d.as_str() {
            "" => String::new(),
            d => format!("<path fill=\"{}\" d=\"{d}\"/>\n", LEVELS[level].hex()),
        };
        paths.into_iter().enumerate().map(path).collect()
    }

    /// A number in a cell of a level.
    pub fn number(&self, row: usize, col: usize, level: usize, text: &str) -> String {
        let at = |i: usize| (i as f64 + 0.5) * self.cell - 1.0;
        let (x, y) = (round(self.left + at(col)), round(self.top + at(row)));
        let colour = on_level(level).hex();
        format!(
            "<text x=\"{x}\" y=\"{y}\" dy=\"0.35em\" text-anchor=\"middle\" font-family=\"sans-serif\" font-size=\"{SMALL}\" fill=\"{colour}\">{text}</text>\n"
        )
    }
}

/// Tenths of a unit are as much as can be seen.
pub(super) fn round(x: f64) -> f64 {
    (10.0 * x).round() / 10.0
}

/// One map of values by row and column; rows may have different lengths.
#[derive(Debug, Clone)]
pub(super) struct Panel {
    pub name: String,
    pub values: Vec<Vec<Option<f64>>>,
}

/// Maps of one scale beside each other, whose rows and columns are counted from 0.
#[derive(Debug, Clone)]
pub(super) struct Heat<'a> {
    pub label: &'a str,
    pub rows: &'a str,
    pub cols: &'a str,
    pub panels: Vec<Panel>,
    pub scale: Scale,
    /// A number as it is read.
    pub say: fn(f64) -> String,
}

impl Heat<'_> {
    /// The figure, or none where there is no value.
    ///
    /// # Errors
    /// [`crate::Error::Unsupported`] where it cannot be drawn.
    pub fn figure(&self, of: usize) -> Result<Option<Figure>> {
        let rows = self.panels.iter().map(|panel| panel.values.len()).max().unwrap_or(0);
        let cols = self.panels.iter().flat_map(|panel| panel.values.iter().map(Vec::len)).max().unwrap_or(0);
        if rows == 0 || cols == 0 {
            return Ok(None);
        }
        let n = self.panels.len();
        let across = if n == 1 { 1 } else { n.min(if cols > 12 { 2 } else { 3 }) };
        let wide = f64::from(WIDTH as i32 - 2 * SIDE) / across as f64;
        let cell = ((wide - LEFT - 10.0) / cols as f64).min(CELL);
        let named = self.panels.iter().any(|panel| !panel.name.is_empty());
        let above = f64::from(if named { 2 * LINE } else { LINE });
        let high = above + rows as f64 * cell + 24.0;
        let top = (LINE + STRIP) as f64;
        let grids: Vec<Grid> = (0..n)
            .map(|i| Grid {
                left: f64::from(SIDE) + wide * (i % across) as f64 + LEFT,
                top: top + high * (i / across) as f64 + above,
                cell,
            })
            .collect();
        let size = (WIDTH, (top + high * n.div_ceil(across) as f64) as u32);
        let (mut svg, ()) = draw(size, |area| self.drawn(area, &grids, cols))?;
        for (panel, grid) in self.panels.iter().zip(&grids) {
            add(&mut svg, &self.cells(panel, grid));
        }
        let panels = self.panels.iter().zip(&grids);
        let found = panels.map(|(panel, grid)| {
            let said = |x: &Option<f64>| x.map(self.say);
            let values: Vec<Vec<_>> = panel.values.iter().map(|row| row.iter().map(said).collect()).collect();
            json!([grid.left, grid.top, grid.cell, panel.name, values])
        });
        let found = json!({ "rows": self.rows, "cols": self.cols, "panels": found.collect::<Vec<_>>() });
        let (label, table) = (self.label.into(), self.table(cols));
        Ok(Some(Figure { of: Some(of), label, size, svg, found, orders: Vec::new(), table }))
    }

    fn drawn(&self, area: &Area<'_>, grids: &[Grid], cols: usize) -> Drawn {
        let told = format!("down: {}; across: {}", self.rows, self.cols);
        area.draw(&Text::new(told, (SIDE, LINE / 2), letters(TEXT, MUTED, HPos::Left, VPos::Center)))?;
        self.scale.drawn(area, LINE + 4, self.say)?;
        for (panel, grid) in self.panels.iter().zip(grids) {
            // Every so many rows and columns, as there is room for.
            let every = (f64::from(LINE) / grid.cell).ceil().max(1.0) as usize;
            let (left, top) = (grid.left as i32, grid.top as i32);
            let middle = |i: usize| ((i as f64 + 0.5) * grid.cell) as i32;
            let name = letters(TEXT, INK, HPos::Left, VPos::Center);
            area.draw(&Text::new(panel.name.clone(), (left, top - LINE - LINE / 2), name))?;
            for i in (0..panel.values.len()).step_by(every) {
                let at = (left - 12, top + middle(i));
                area.draw(&Text::new(i.to_string(), at, letters(SMALL, INK, HPos::Right, VPos::Center)))?;
            }
            for i in (0..cols).step_by(every) {
                let at = (left + middle(i), top - 16);
                area.draw(&Text::new(i.to_string(), at, letters(SMALL, INK, HPos::Center, VPos::Center)))?;
            }
        }
        Ok(())
    }

    fn cells(&self, panel: &Panel, grid: &Grid) -> String {
        let known = || {
            let rows = panel.values.iter().enumerate();
            rows.flat_map(|(r, row)| row.iter().enumerate().filter_map(move |(c, x)| Some((r, c, (*x)?))))
        };
        let mut out = grid.paths(known().map(|(r, c, x)| (r, c, self.scale.level(x))));
        let letters = known().map(|(_, _, x)| (self.say)(x).len()).max().unwrap_or(0);
        if 0.62 * SMALL * letters as f64 + 4.0 <= grid.cell {
            out.extend(known().map(|(r, c, x)| grid.number(r, c, self.scale.level(x), &(self.say)(x))));
        }
        out
    }

    fn table(&self, cols: usize) -> Table {
        let named = self.panels.len() > 1;
        let first = if named { format!("panel, {}", self.rows) } else { self.rows.to_string() };
        let head = std::iter::once(first).chain((0..cols).map(|c| format!("{} {c}", self.cols)));
        let mut table = Table { head: head.collect(), rows: Vec::new() };
        for panel in &self.panels {
            for (r, row) in panel.values.iter().enumerate() {
                let name = if named { format!("{}, {r}", panel.name) } else { r.to_string() };
                let cells = row.iter().map(|x| x.map_or("–".into(), self.say));
                table.rows.push(std::iter::once(name).chain(cells).collect());
            }
        }
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_end_where_the_next_begin() {
        let scale = Scale::even(0.0, 9.0);
        assert_eq!([-1.0, 0.0, 0.5, 1.0, 8.9, 9.0, 10.0].map(|x| scale.level(x)), [0, 0, 0, 1, 8, 8, 8]);
        assert_eq!(Scale::even(0.0, 0.0).level(0.0), 0);
    }

    #[test]
    fn small_neighbours_of_one_level_are_one_rectangle() {
        let grid = Grid { left: 10.0, top: 20.0, cell: 4.0 };
        let paths = grid.paths([(0, 0, 1), (0, 1, 1), (0, 2, 2), (1, 0, 1)].into_iter());
        let expected = [(1, "M10 20h8v4h-8zM10 24h4v4h-4z"), (2, "M18 20h4v4h-4z")];
        let expected = expected.map(|(level, d)| format!("<path fill=\"{}\" d=\"{d}\"/>\n", LEVELS[level].hex()));
        assert_eq!(paths, expected.concat());
        let apart = Grid { cell: 20.0, ..grid }.paths([(0, 0, 0), (0, 1, 0)].into_iter());
        assert!(apart.contains("M10 20h18v18h-18zM30 20h18v18h-18z"), "{apart}");
    }
}
