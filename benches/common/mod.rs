//! What the benches share: the device, checks before anything is timed, criterion's settings, one table at the end.
#![allow(dead_code, reason = "every bench takes the part it needs")]

mod record;

use std::time::{Duration, Instant};

use clap::Parser;

use criterion::{Criterion, Throughput};
use minoise::Result;
use minoise::bench::{Work, verified};
use minoise::device::{Device, Selector, Tensor};
use minoise::roofline::Roofline;
use pollster::block_on;
use record::{Arguments, Entry, Record};

struct Row {
    shape: String,
    variant: String,
    /// Of the fastest pass.
    seconds: f64,
    work: Work,
}

/// One bench on one device.
pub struct Bench {
    pub device: Device,
    kernel: &'static str,
    arguments: Arguments,
    baseline: Option<Record>,
    criterion: Criterion,
    rows: Vec<Row>,
}

impl Bench {
    /// Reads the command's arguments and opens the device that `MINOISE_DEVICE` names.
    pub fn new(kernel: &'static str) -> Self {
        let arguments = Arguments::parse();
        // What cannot be read is told before anything is timed.
        let baseline = arguments.baseline.as_deref().map(|file| or_exit(Record::load(file)));
        let device = block_on(Device::open(&Selector::from_flag_or_env(None))).expect("a device");
        println!("device: {}", device.name());
        let criterion = Criterion::default()
            .sample_size(10)
            .warm_up_time(Duration::from_millis(200))
            .measurement_time(Duration::from_millis(800))
            .without_plots()
            .with_filter(arguments.filter.as_deref().unwrap_or_default());
        Self { device, kernel, arguments, baseline, criterion, rows: Vec::new() }
    }

    /// Times passes under the id `device/kernel/shape/variant` and returns the seconds of the fastest; `None` where the
    /// id is filtered out, and then nothing is prepared. `prepare` must have verified what it returns.
    pub fn time<P: FnMut(&Device) -> Result<Vec<Tensor>>>(
        &mut self,
        shape: &str,
        variant: &str,
        work: Work,
        prepare: impl Fn(&Device) -> Result<P>,
    ) -> Option<f64> {
        let device = &self.device;
        let mut group = self.criterion.benchmark_group(format!("{}/{}/{shape}", slug(device), self.kernel));
        group.throughput(match work.images {
            0 => Throughput::Bytes(work.bytes as u64),
            images => Throughput::Elements(images as u64),
        });
        let (mut pass, mut best) = (None, f64::INFINITY);
        group.bench_function(variant, |bencher| {
            let pass = pass.get_or_insert_with(|| prepare(device).expect("operands"));
            bencher.iter_custom(|n| {
                let start = Instant::now();
                for _ in 0..n {
                    pass(device).expect("a pass");
                }
                block_on(device.finish()).expect("the queue");
                let taken = start.elapsed();
                best = best.min(taken.as_secs_f64() / n as f64);
                taken
            });
        });
        group.finish();
        let seconds = Some(best).filter(|t| t.is_finite())?;
        self.rows.push(Row { shape: shape.into(), variant: variant.into(), seconds, work });
        Some(seconds)
    }

    /// Whether the filter names this shape: passes that take seconds to minutes run only then.
    pub fn named(&self, shape: &str) -> bool {
        self.arguments.filter.as_deref().is_some_and(|filter| filter.contains(shape))
    }

    /// Times a single pass, and returns its seconds.
    pub fn once(&mut self, shape: &str, variant: &str, work: Work, pass: impl FnOnce(&Device) -> Result<()>) -> f64 {
        block_on(self.device.finish()).expect("the queue");
        let start = Instant::now();
        pass(&self.device).expect("a pass");
        block_on(self.device.finish()).expect("the queue");
        let seconds = start.elapsed().as_secs_f64();
        println!("{}/{}/{shape}/{variant}: once, {seconds:.3} s", slug(&self.device), self.kernel);
        self.rows.push(Row { shape: shape.into(), variant: variant.into(), seconds, work });
        seconds
    }

    /// The same as [`Bench::time`], after one pass has been compared with one on the f64 twins; see [`verified`] for `bound`.
    pub fn time_against_twins<P: FnMut(&Device) -> Result<Vec<Tensor>>>(
        &mut self,
        shape: &str,
        variant: &str,
        work: Work,
        bound: f64,
        build: impl Fn(&Device) -> Result<P>,
    ) -> Option<f64> {
        self.time(shape, variant, work, |device| verified(device, bound, &build))
    }

    /// Prints the table, with the roofline of this device, and keeps and compares the results as the arguments say. Ends
    /// the process where one is a regression.
    pub fn finish(self) {
        if self.rows.is_empty() {
            return;
        }
        let roofline = block_on(Roofline::measure(&self.device)).expect("a roofline");
        println!("\n{} on {}, fastest pass; {roofline}", self.kernel, self.device.name());
        let widest = |field: fn(&Row) -> &str, least: &str| {
            self.rows.iter().map(|row| field(row).len()).max().unwrap_or(0).max(least.len())
        };
        let (shapes, variants) = (widest(|row| &row.shape, "shape"), widest(|row| &row.variant, "variant"));
        println!(
            "{:<shapes$}  {:<variants$}  {:>9}  {:>9}  {:>7}  {:>8}  {:>6}",
            "shape", "variant", "ms", "GFLOP/s", "GB/s", "images/s", "% roof"
        );
        for Row { shape, variant, seconds, work } in &self.rows {
            let images = if work.images > 0 { format!("{:.1}", work.images as f64 / seconds) } else { String::new() };
            println!(
                "{shape:<shapes$}  {variant:<variants$}  {:>9.3}  {:>9.1}  {:>7.2}  {images:>8}  {:>6.1}",
                seconds * 1e3,
                work.flops / seconds * 1e-9,
                work.bytes / seconds * 1e-9,
                roofline.percent(work.flops, work.bytes, *seconds)
            );
        }
        let record = self.record(&roofline);
        let compared = self.baseline.as_ref().map(|baseline| record.against(baseline));
        if let Some(file) = &self.arguments.json {
            or_exit(record.add_to(file));
        }
        if let Some((lines, good)) = compared {
            println!("\n{}", lines.join("\n"));
            if !good {
                std::process::exit(1);
            }
        }
    }

    fn record(&self, roofline: &Roofline) -> Record {
        let entry = |Row { shape, variant, seconds, work }: &Row| {
            let id = format!("{}/{}/{shape}/{variant}", slug(&self.device), self.kernel);
            let rate = |x: f64| x / seconds * 1e-9;
            let device = self.device.name().to_string();
            let percent_of_roof = roofline.percent(work.flops, work.bytes, *seconds);
            (
                id,
                Entry {
                    device,
                    seconds: *seconds,
                    gflops: rate(work.flops),
                    gbytes: rate(work.bytes),
                    percent_of_roof,
                },
            )
        };
        Record(self.rows.iter().map(entry).collect())
    }
}

/// Ends the process where a file is not what the command takes it for.
fn or_exit<T>(result: Result<T, String>) -> T {
    result.unwrap_or_else(|message| {
        eprintln!("{message}");
        std::process::exit(2)
    })
}

/// A short word for the device, for ids.
pub fn slug(device: &Device) -> String {
    if device.is_cpu() {
        return "cpu".into();
    }
    let name = device.name().to_lowercase();
    name.split(|c: char| !c.is_alphanumeric()).filter(|w| !w.is_empty()).take(2).collect::<Vec<_>>().join("-")
}
