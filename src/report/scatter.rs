//! Points in a plane of principal components, and how they are drawn.

use serde::Serialize;

/// A point.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Dot {
    /// What it is.
    pub name: String,
    /// Where it is.
    pub at: [f64; 2],
}

/// What tells points of one kind from others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Shade {
    /// Colours in the order of the points, which is that in which they were learned.
    Order,
    /// Grey.
    Faint,
    /// Red.
    Strong,
}

/// Points of one kind.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Dots {
    /// What they are.
    pub name: String,
    /// How they are drawn.
    pub shade: Shade,
    /// The points.
    pub dots: Vec<Dot>,
}

/// Points of several kinds in one plane.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Scatter {
    /// What is shown.
    pub title: String,
    /// Share of the squared distances to the mean that each of the two axes shows.
    pub shares: [f64; 2],
    /// The points.
    pub groups: Vec<Dots>,
}

#[cfg(feature = "cli")]
pub use drawing::scatters;

#[cfg(feature = "cli")]
mod drawing {
    use plotters::coord::Shift;
    use plotters::prelude::*;

    use super::{Dots, Scatter, Shade};
    use crate::report::picture::plain;
    use crate::{Error, Result};

    /// Pixels along a plane.
    const SIDE: u32 = 640;
    /// More points of a kind than this stand without their names.
    const NAMED: usize = 24;

    /// An SVG file of planes side by side.
    ///
    /// # Errors
    /// [`Error::Unsupported`] where it cannot be drawn.
    pub fn scatters(planes: &[Scatter]) -> Result<String> {
        let mut text = String::new();
        {
            let area =
                SVGBackend::with_string(&mut text, (SIDE * planes.len().max(1) as u32, SIDE)).into_drawing_area();
            let parts = area.split_evenly((1, planes.len().max(1)));
            let drawn = area.fill(&WHITE).map_err(|e| e.to_string()).and_then(|()| {
                planes.iter().zip(&parts).try_for_each(|(of, part)| plane(of, part).map_err(|e| e.to_string()))?;
                area.present().map_err(|e| e.to_string())
            });
            drawn.map_err(|e| Error::Unsupported(format!("drawing points: {e}")))?;
        }
        Ok(text)
    }

    /// From the least to the largest, and a tenth of the way more at either end.
    fn range(values: impl Iterator<Item = f64> + Clone) -> std::ops::Range<f64> {
        let (least, most) = values.fold((f64::MAX, f64::MIN), |(least, most), x| (least.min(x), most.max(x)));
        let more = 0.1 * (most - least).max(1e-6);
        least - more..most + more
    }

    fn plane(of: &Scatter, area: &DrawingArea<SVGBackend<'_>, Shift>) -> Result<(), Box<dyn std::error::Error>> {
        let all = || of.groups.iter().flat_map(|group| &group.dots);
        let mut chart = ChartBuilder::on(area)
            .caption(&of.title, ("sans-serif", 17))
            .margin(12)
            .x_label_area_size(36)
            .y_label_area_size(52)
            .build_cartesian_2d(range(all().map(|dot| dot.at[0])), range(all().map(|dot| dot.at[1])))?;
        let [first, second] = of.shares.map(|share| format!("{:.0} % of the variance", 100.0 * share));
        chart.configure_mesh().max_light_lines(0).x_desc(first).y_desc(second).draw()?;
        for group in &of.groups {
            let colour = |i: usize| match group.shade {
                Shade::Order => ViridisRGB.get_color(i as f64 / (group.dots.len().max(2) - 1) as f64),
                Shade::Faint => RGBColor(150, 150, 150),
                Shade::Strong => RGBColor(214, 39, 40),
            };
            let size = if group.shade == Shade::Order { 5 } else { 4 };
            let dots = group.dots.iter().enumerate();
            let series = dots.clone().map(|(i, dot)| Circle::new((dot.at[0], dot.at[1]), size, colour(i).filled()));
            let legend = colour(group.dots.len() / 2);
            chart.draw_series(series)?.label(label(group)).legend(move |at| Circle::new(at, size, legend.filled()));
            if group.dots.len() <= NAMED {
                let style = ("sans-serif", 12).into_font();
                let name = |(_, dot): (usize, &super::Dot)| {
                    EmptyElement::at((dot.at[0], dot.at[1])) + Text::new(plain(&dot.name), (7, -5), style.clone())
                };
                chart.draw_series(dots.map(name))?;
            }
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperRight)
            .background_style(WHITE.mix(0.8))
            .draw()?;
        Ok(())
    }

    fn label(group: &Dots) -> String {
        if group.shade == Shade::Order { format!("{}, from dark to light", group.name) } else { group.name.clone() }
    }
}

#[cfg(all(test, feature = "cli"))]
mod tests {
    use super::*;

    fn dots(name: &str, shade: Shade, at: &[[f64; 2]]) -> Dots {
        let dots = at.iter().enumerate().map(|(i, &at)| Dot { name: format!("{name}\u{1} <{i}>"), at }).collect();
        Dots { name: name.into(), shade, dots }
    }

    #[test]
    fn every_point_of_every_plane_is_drawn() {
        let first = dots("tasks", Shade::Order, &[[0.0, 1.0], [2.0, 3.0], [1.0, 1.0]]);
        let plane = |groups| Scatter { title: "features".into(), shares: [0.6, 0.25], groups };
        let text = scatters(&[
            plane(vec![first.clone(), dots("images", Shade::Strong, &[[0.5, 0.5]])]),
            plane(vec![dots("images", Shade::Faint, &[[1.0, 1.0]; 3])]),
        ])
        .unwrap();
        assert!(text.starts_with("<svg") && text.trim_end().ends_with("</svg>"));
        // One circle a point, and one of the legend a kind.
        assert_eq!(text.matches("<circle").count(), (3 + 1) + (1 + 1) + (3 + 1));
        assert!(text.contains("tasks\u{FFFD} &lt;2&gt;") && text.contains("60 % of the variance"));
        assert!(scatters(&[]).unwrap().starts_with("<svg"));
    }
}
