//! Figures of lines over tasks, one for each group of runs, with bands of their deviation over seeds.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use super::colour::{GRID, INK, MUTED, series};
use super::figure::{Area, Drawn, Figure, Key, LINE, Mark, SIDE, WIDTH, draw, legend, legend_height, letters};
use super::figure::{TEXT, marker, marks};
use super::html::Table;
use crate::Result;
use crate::report::Spread;
use crate::report::say::spread;

/// Height of the plot itself.
const HEIGHT: i32 = 430;
/// Room of the numbers beside the axes.
const LEFT: u32 = 84;
const BELOW: u32 = 84;
/// Labels of tasks that there is room for.
const LABELS: usize = 11;

/// One line.
#[derive(Debug, Clone)]
pub(super) struct Line {
    pub name: String,
    /// The series that it has the colour of.
    pub colour: usize,
    /// By task; nothing where it is not known.
    pub points: Vec<Option<Spread>>,
}

/// What lines are drawn on.
#[derive(Debug, Clone)]
pub(super) struct Lines<'a> {
    pub label: &'a str,
    /// Above the axis.
    pub unit: &'a str,
    pub across: &'a str,
    /// Values lie within.
    pub within: (f64, f64),
    /// Whether the axis is logarithmic; values are then positive.
    pub log: bool,
    /// A number as it is read.
    pub say: fn(f64) -> String,
    pub lines: Vec<Line>,
}

impl Lines<'_> {
    /// The figure, or none where there is no point.
    ///
    /// # Errors
    /// [`crate::Error::Unsupported`] where it cannot be drawn.
    pub fn figure(mut self) -> Result<Option<Figure>> {
        self.lines.retain(|line| line.points.iter().any(Option::is_some));
        let tasks = self.lines.iter().map(|line| line.points.len()).max().unwrap_or(0);
        let Some(range) = self.range() else { return Ok(None) };
        let names = self.names();
        let top = LINE + legend_height(&names);
        let size = (WIDTH, (top + HEIGHT) as u32 + BELOW);
        let (svg, found) = draw(size, |area| self.drawn(area, top, tasks, range))?;
        let (label, table) = (self.label.into(), self.table(tasks));
        Ok(Some(Figure { of: None, label, size, svg, found: marks(&found), orders: Vec::new(), table }))
    }

    /// A single line of the only group needs no legend.
    fn names(&self) -> Vec<(&str, usize)> {
        match self.lines.as_slice() {
            [Line { colour: 0, .. }] => Vec::new(),
            lines => lines.iter().map(|line| (line.name.as_str(), line.colour)).collect(),
        }
    }

    /// Where a value stands on the axis.
    fn height(&self, value: f64) -> f64 {
        if self.log { value.max(f64::MIN_POSITIVE).log10() } else { value }
    }

    /// From the least to the most on the axis, with room around it.
    fn range(&self) -> Option<(f64, f64)> {
        let spreads = || self.lines.iter().flat_map(|line| line.points.iter().flatten());
        let ends = spreads().flat_map(|s| {
            let d = s.deviation.unwrap_or(0.0);
            [s.mean, s.mean - d, s.mean + d].map(|x| x.clamp(self.within.0, self.within.1))
        });
        let ends: Vec<f64> = ends.filter(|&x| !self.log || x > 0.0).map(|x| self.height(x)).collect();
        let (least, most) = ends.iter().fold((f64::MAX, f64::MIN), |(a, b), &x| (a.min(x), b.max(x)));
        if ends.is_empty() {
            return None;
        }
        if self.log {
            // Whole powers of ten, and room around a single one.
            let room = if least.floor() == most.ceil() { 0.6 } else { 0.1 };
            return Some((least.floor() - room, most.ceil() + room));
        }
        let room = (0.08 * (most - least)).max(0.02 * most.abs()).max(1e-9);
        Some(((least - room).max(self.within.0), (most + room).min(self.within.1)))
    }

    fn drawn(&self, area: &Area<'_>, top: i32, tasks: usize, (least, most): (f64, f64)) -> Drawn<Vec<Mark>> {
        let unit = Text::new(self.unit.to_string(), (SIDE, LINE / 2), letters(TEXT, MUTED, HPos::Left, VPos::Center));
        area.draw(&unit)?;
        legend(area, &self.names(), LINE, Key::Marker)?;
        let (_, below) = area.split_vertically(top);
        let last = tasks.saturating_sub(1) as f64;
        let mut chart = ChartBuilder::on(&below)
            .margin_top(14)
            .margin_right(28)
            .x_label_area_size(BELOW)
            .y_label_area_size(LEFT)
            .build_cartesian_2d(-0.3..last + 0.3, least..most)?;
        let task = |x: &f64| if (x - x.round()).abs() < 1e-6 { format!("{x:.0}") } else { String::new() };
        let value = |y: &f64| (self.say)(if self.log { 10f64.powf(*y) } else { *y });
        chart
            .configure_mesh()
            .disable_x_mesh()
            .bold_line_style(GRID.rgb().stroke_width(2))
            .light_line_style(TRANSPARENT)
            .axis_style(MUTED.rgb().stroke_width(2))
            .label_style(("sans-serif", TEXT * 1.24).into_font().color(&INK.rgb()))
            .x_labels(tasks.clamp(2, LABELS))
            .y_labels(if self.log { ((most - least).ceil() as usize + 1).min(LABELS) } else { 6 })
            .x_label_formatter(&task)
            .y_label_formatter(&value)
            .x_desc(self.across)
            .draw()?;
        let mut found = Vec::new();
        for line in &self.lines {
            let colour = series(line.colour).rgb();
            let points: Vec<(f64, Spread)> =
                line.points.iter().enumerate().filter_map(|(t, s)| Some((t as f64, (*s)?))).collect();
            let edge = |side: f64| {
                let at = move |&(x, s): &(f64, Spread)| {
                    let y = (s.mean + side * s.deviation.unwrap_or(0.0)).clamp(self.within.0, self.within.1);
                    (x, self.height(y).clamp(least, most))
                };
                points.iter().map(at).collect::<Vec<_>>()
            };
            if points.iter().any(|(_, s)| s.deviation.is_some()) {
                let around: Vec<_> = edge(1.0).into_iter().chain(edge(-1.0).into_iter().rev()).collect();
                chart.draw_series([Polygon::new(around, colour.mix(0.18).filled())])?;
            }
            chart.draw_series([PathElement::new(edge(0.0), colour.stroke_width(4))])?;
            for (at, (x, s)) in edge(0.0).into_iter().zip(&points) {
                let (x, at) = (*x as usize, chart.backend_coord(&at));
                marker(area, at, line.colour)?;
                let name = if self.names().is_empty() { String::new() } else { format!("{}, ", line.name) };
                let text = format!("{name}{} {x}: {}", self.across, spread(*s, self.say));
                found.push(Mark { at, size: None, text });
            }
        }
        Ok(found)
    }

    fn table(&self, tasks: usize) -> Table {
        let head = std::iter::once(self.across.to_string()).chain(self.lines.iter().map(|line| line.name.clone()));
        let row = |t: usize| {
            let cell =
                |line: &Line| line.points.get(t).copied().flatten().map_or("–".into(), |s| spread(s, self.say));
            std::iter::once(t.to_string()).chain(self.lines.iter().map(cell)).collect()
        };
        Table { head: head.collect(), rows: (0..tasks).map(row).collect() }
    }
}
