//! How the costs grow with the number of random features, and with the number of samples.

use plotters::coord::Shift;
use plotters::prelude::*;

/// Where statistics and recursion are followed over the number of samples.
const FOLLOWED: usize = 4096;
const MOST_SAMPLES: usize = 10_000;
/// How variants begin, and what they are.
const DRAWN: [(&str, &str); 4] = [
    ("gram/", "Gram matrix of 1,000"),
    ("solve/C100", "solve, 100 classes"),
    ("recursive/", "published recursion, 1,000"),
    ("recursive-least/", "recursion in its best order, 1,000"),
];

type Drawn<T> = Result<T, Box<dyn std::error::Error>>;

/// Seconds of the fastest pass: variant, m, seconds.
#[derive(Default)]
pub struct Growth(Vec<(String, usize, f64)>);

impl Growth {
    /// Keeps what was measured, if it was.
    pub fn add(&mut self, variant: &str, m: usize, seconds: Option<f64>) {
        self.0.extend(seconds.map(|s| (variant.to_string(), m, s)));
    }

    fn of(&self, variant: &str) -> Vec<(f64, f64)> {
        self.0.iter().filter(|row| row.0.starts_with(variant)).map(|row| (row.1 as f64, row.2)).collect()
    }

    fn at(&self, variant: &str) -> Option<f64> {
        self.0.iter().find(|row| row.0.starts_with(variant) && row.1 == FOLLOWED).map(|row| row.2)
    }

    /// Writes both plots into one file, where everything was measured.
    pub fn draw(&self, device: &str, file: &str) {
        if let [Some(gram), Some(solve), Some(recursive), Some(least)] = DRAWN.map(|(name, _)| self.at(name)) {
            std::fs::create_dir_all("target").expect("a folder");
            self.plots(device, file, [gram, solve, recursive, least]).expect("a plot");
            println!("\n{file}: growth with m and with the number of samples");
        }
    }

    fn plots(&self, device: &str, file: &str, followed: [f64; 4]) -> Drawn<()> {
        let root = SVGBackend::new(file, (1100, 440)).into_drawing_area();
        root.fill(&WHITE)?;
        let (left, right) = root.split_horizontally(550);
        self.over_features(&left, device)?;
        over_samples(&right, followed)?;
        Ok(root.present()?)
    }

    fn over_features(&self, area: &DrawingArea<SVGBackend<'_>, Shift>, device: &str) -> Drawn<()> {
        let seconds = || self.0.iter().map(|row| row.2);
        let (least, most) = (seconds().fold(f64::MAX, f64::min), seconds().fold(0.0, f64::max));
        let widest = self.0.iter().map(|row| row.1).max().unwrap_or(1) as f64;
        let narrowest = self.0.iter().map(|row| row.1).min().unwrap_or(1) as f64;
        let mut chart = ChartBuilder::on(area)
            .caption(format!("seconds over m, {device}"), ("sans-serif", 17))
            .margin(12)
            .margin_right(28)
            .x_label_area_size(36)
            .y_label_area_size(60)
            .build_cartesian_2d((narrowest..widest).log_scale().base(2.0), (least / 2.0..most * 2.0).log_scale())?;
        chart
            .configure_mesh()
            .max_light_lines(4)
            .x_desc("random features m")
            .x_label_formatter(&|m| format!("{m}"))
            .y_desc("s")
            .y_label_formatter(&|s| format!("{s}"))
            .draw()?;
        for (i, (variant, text)) in DRAWN.into_iter().enumerate() {
            let (points, style) = (self.of(variant), colour(i).stroke_width(2));
            chart.draw_series(points.iter().map(|&p| Circle::new(p, 3, style.filled())))?;
            chart
                .draw_series(LineSeries::new(points, style))?
                .label(text)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], style));
        }
        Ok(chart.configure_series_labels().position(SeriesLabelPosition::UpperLeft).background_style(WHITE).draw()?)
    }
}

/// Colours that stand out on white.
fn colour(i: usize) -> RGBColor {
    [RGBColor(31, 119, 180), RGBColor(44, 140, 60), RGBColor(214, 39, 40), RGBColor(148, 103, 189)][i]
}

/// Batches and one solution at the end, beside one update a batch.
fn over_samples(area: &DrawingArea<SVGBackend<'_>, Shift>, [gram, solve, recursive, least]: [f64; 4]) -> Drawn<()> {
    let batches = MOST_SAMPLES / crate::BATCH;
    let most = recursive.max(gram) * batches as f64 + solve;
    let mut chart = ChartBuilder::on(area)
        .caption(format!("seconds over samples, m = {FOLLOWED}"), ("sans-serif", 17))
        .margin(12)
        .margin_right(28)
        .x_label_area_size(36)
        .y_label_area_size(60)
        .build_cartesian_2d(0..MOST_SAMPLES, 0.0..most)?;
    chart.configure_mesh().max_light_lines(4).x_desc("samples, in batches of 1,000").y_desc("s").draw()?;
    let lines = [
        (0, "statistics and one solution", gram, solve),
        (2, "published recursion", recursive, 0.0),
        (3, "recursion in its best order", least, 0.0),
    ];
    for (i, text, each, end) in lines {
        let style = colour(i).stroke_width(2);
        let points = (1..=batches).map(|n| (n * crate::BATCH, n as f64 * each + end));
        chart
            .draw_series(LineSeries::new(points, style))?
            .label(text)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], style));
    }
    Ok(chart.configure_series_labels().position(SeriesLabelPosition::UpperLeft).background_style(WHITE).draw()?)
}
