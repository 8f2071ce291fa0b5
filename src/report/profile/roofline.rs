//! The roofline plot: how many operations a second kernels reach, over the operations for a byte that they move.
//!
//! Source: Williams, Waterman and Patterson, "Roofline: An Insightful Visual Performance Model" (2009).

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::{Profile, Row};
use crate::{Error, Result};

const SIZE: (u32, u32) = (1000, 560);
/// Width of what stands beside the plot.
const LEGEND: u32 = 330;
/// Letters of the title.
const TITLE: usize = 105;
/// Points that are drawn.
const MOST: usize = 24;

type Drawn = std::result::Result<(), Box<dyn std::error::Error>>;

/// The plot of these rows of the profile as SVG.
///
/// # Errors
/// [`Error::Unsupported`] where it cannot be drawn.
pub fn svg(profile: &Profile, rows: &[Row]) -> Result<String> {
    let mut text = String::new();
    drawn(draw(&SVGBackend::with_string(&mut text, SIZE).into_drawing_area(), profile, rows))?;
    Ok(text)
}

fn drawn(outcome: Drawn) -> Result<()> {
    outcome.map_err(|e| Error::Unsupported(format!("no roofline plot: {e}")))
}

/// A row with its place.
struct Point<'a> {
    row: &'a Row,
    seconds: f64,
    /// Operations for a byte, and 10^9 operations a second.
    at: (f64, f64),
}

/// The slowest rows that count operations, the slowest first.
fn points(rows: &[Row]) -> Vec<Point<'_>> {
    let place = |row| {
        let (row, seconds): (&Row, f64) = (row, Row::spread(row).mean);
        let counts = row.flops > 0.0 && row.bytes() > 0.0 && seconds > 0.0;
        counts.then(|| Point { row, seconds, at: (row.flops / row.bytes(), row.flops / seconds * 1e-9) })
    };
    let mut all: Vec<_> = rows.iter().filter_map(place).collect();
    all.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
    all.truncate(MOST);
    all
}

/// From the power of ten below to the one above.
fn decades(values: impl Iterator<Item = f64>) -> std::ops::Range<f64> {
    let (least, most) = values.fold((f64::MAX, f64::MIN), |(least, most), x| (least.min(x), most.max(x)));
    10f64.powf(least.log10().floor())..10f64.powf((1.2 * most).log10().ceil())
}

/// Colours that stand out on white.
fn colour(i: usize) -> RGBColor {
    let all = [(31, 119, 180), (44, 140, 60), (214, 39, 40), (148, 103, 189), (200, 120, 0), (0, 140, 140)];
    let (r, g, b) = all[i % all.len()];
    RGBColor(r, g, b)
}

fn draw<B: DrawingBackend>(area: &DrawingArea<B, Shift>, profile: &Profile, rows: &[Row]) -> Drawn
where
    B::ErrorType: 'static,
{
    area.fill(&WHITE)?;
    let (roof, points) = (profile.roof, points(rows));
    let (title, area) = area.split_vertically(28);
    let told: String = format!("{} on {}", profile.what, profile.device).chars().take(TITLE).collect();
    title.draw_text(&told, &("sans-serif", 16).into_font().color(&BLACK), (12, 8))?;
    let (plot, legend) = area.split_horizontally(SIZE.0 - LEGEND);
    // Where both roofs meet.
    let ridge = roof.gflops / roof.gbytes;
    let x = decades(points.iter().map(|p| p.at.0).chain([ridge / 10.0, 2.0 * ridge]));
    let y = decades(points.iter().map(|p| p.at.1).chain([roof.gflops / 10.0, roof.gflops]));
    let mut chart = ChartBuilder::on(&plot)
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(64)
        .build_cartesian_2d(x.clone().log_scale(), y.clone().log_scale())?;
    let number = |x: &f64| format!("{x}");
    let mesh = |chart: &mut ChartContext<'_, B, _>| -> Drawn {
        chart
            .configure_mesh()
            .light_line_style(RGBColor(240, 240, 240))
            .x_desc("operations a byte")
            .y_desc("GFLOP/s")
            .x_label_formatter(&number)
            .y_label_formatter(&number)
            .label_style(("sans-serif", 13))
            .draw()?;
        Ok(())
    };
    mesh(&mut chart)?;
    let low = x.start.max(y.start / roof.gbytes);
    let line = [(low, low * roof.gbytes), (ridge, roof.gflops), (x.end, roof.gflops)];
    chart.draw_series(LineSeries::new(line, BLACK.stroke_width(2)))?;
    let all: f64 = rows.iter().map(|row| row.spread().mean).sum();
    for (i, point) in points.iter().enumerate() {
        let (share, style) = (point.seconds / all, colour(i));
        // The area says what share of the time it is.
        let radius = (3.0 + 14.0 * share.sqrt()).round() as i32;
        chart.draw_series([Circle::new(point.at, radius, style.mix(0.55).filled())])?;
        let text = ("sans-serif", 13).into_font().color(&BLACK).pos(Pos::new(HPos::Left, VPos::Bottom));
        chart.draw_series([EmptyElement::at(point.at) + Text::new((i + 1).to_string(), (radius, -2), text)])?;
    }
    describe(&legend, profile, rows, &points, all)
}

/// What the numbers stand for, and what has no place in the plot.
fn describe<B: DrawingBackend>(
    area: &DrawingArea<B, Shift>,
    profile: &Profile,
    rows: &[Row],
    points: &[Point<'_>],
    all: f64,
) -> Drawn
where
    B::ErrorType: 'static,
{
    let mut at = 18;
    let mut line = |text: String, colour: RGBColor| -> Drawn {
        area.draw_text(&text, &("sans-serif", 13).into_font().color(&colour), (6, at))?;
        at += 17;
        Ok(())
    };
    let roof = profile.roof;
    line(format!("roof: {:.1} GFLOP/s, {:.1} GB/s", roof.gflops, roof.gbytes), BLACK)?;
    line("       % of time, GFLOP/s, % of roof".into(), BLACK)?;
    for (i, Point { row, seconds, at }) in points.iter().enumerate() {
        let (share, percent) = (100.0 * seconds / all, roof.percent(row.flops, row.bytes(), *seconds));
        let name: String = row.name.chars().take(24).collect();
        line(format!("{:>2} {name}  {share:.1}, {:.1}, {percent:.0}", i + 1, at.1), colour(i))?;
    }
    let moving = rows.iter().filter(|row| row.flops == 0.0).map(|row| row.spread().mean).sum::<f64>();
    if moving > 0.0 && points.len() < MOST {
        line(format!("   without operations  {:.1}", 100.0 * moving / all), BLACK)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::tests::profile;
    use super::*;
    use crate::report::picture;

    #[test]
    fn kernels_with_operations_have_a_place() {
        let profile = profile();
        let points = points(&profile.kernels);
        assert_eq!(points.len(), 1, "copy_block counts no operations");
        // 0.4 GFLOP on 1.5 MB in 8.5 ms.
        let (intensity, rate) = points[0].at;
        assert!((intensity - 4e8 / 1.5e6).abs() < 1e-9 && (rate - 400.0 / 8.5).abs() < 1e-9);
        assert_eq!(decades([0.3, 47.0, 100.0].into_iter()), 0.1..1000.0);
    }

    #[test]
    fn plots_are_what_they_say() {
        let profile = profile();
        let text = svg(&profile, &profile.kernels).unwrap();
        let words = ["<svg", "gemm", "GFLOP/s", "train-step on vulkan test", "without operations"];
        assert!(words.iter().all(|word| text.contains(word)), "{text}");
        let picture = image::load_from_memory(&picture::png(&text).unwrap()).unwrap().to_rgb8();
        assert_eq!(picture.dimensions(), SIZE);
        let dark = picture.pixels().filter(|pixel| pixel.0.iter().all(|&x| x < 128)).count();
        assert!((2000..50_000).contains(&dark), "{dark} dark pixels of axes, letters and the roof");
        // Nothing to show is no reason to fail.
        svg(&profile, &[]).unwrap();
    }
}
