//! The tables of a comparison: Markdown and CSV.

use super::{CSV, Comparison, Differences, Known, Row, Trial};
use crate::report::say::{hundredths, mib, spread};
use crate::report::{Difference, Spread};
use crate::{Error, Result};

impl Comparison {
    /// The tables, what they are of, and how to have them again.
    pub fn markdown(&self) -> String {
        let mut lines = vec![
            "| method | A_last | A_avg | forgetting | trained | stored MiB | seconds | peak MiB |".to_string(),
            "|---|---|---|---|---|---|---|---|".into(),
        ];
        lines.extend(self.rows.iter().map(|row| {
            let Some(figures) = row.figures else { return format!("| {} | lost | | | | | | |", row.name) };
            let [a_last, a_avg, forgetting] =
                [figures.a_last, figures.a_avg, figures.forgetting].map(|share| spread(share, hundredths));
            let (trained, stored) =
                (row.most(|run| run.size.trained), mib(row.most(|run| run.size.stored_bytes) as f64));
            let (seconds, peak) = (row.seconds(), mib(row.most(|run| run.peak_device_bytes) as f64));
            format!(
                "| {} | {a_last} | {a_avg} | {forgetting} | {trained} | {stored} | {seconds:.1} | {peak} |",
                row.name
            )
        }));
        // A row that is lost has not all of them.
        let longest = self.rows.iter().map(|row| &row.runs[..]).max_by_key(|runs| runs.len()).unwrap_or_default();
        let seeds = longest.iter().map(|run| run.seed.to_string());
        let seeds = seeds.collect::<Vec<_>>().join(", ");
        if let Some(baseline) = &self.baseline {
            lines.extend([
                String::new(),
                format!("Differences to `{baseline}`, seed by seed, in points, with p of a two-sided sign test:"),
                String::new(),
                "| method | A_last, mean | least | p | A_avg, mean | least | p |".into(),
                "|---|---|---|---|---|---|---|".into(),
            ]);
            lines.extend(self.rows.iter().filter_map(|row| {
                let told = |d: Difference| format!("{:+.2} | {:+.2} | {:.3}", 100.0 * d.mean, 100.0 * d.least, d.p);
                let Differences { a_last, a_avg } = row.differences?;
                Some(format!("| {} | {} | {} |", row.name, told(a_last), told(a_avg)))
            }));
        }
        lines.extend([
            String::new(),
            format!(
                "Percent on {} images, mean ± standard deviation (seeds: {seeds}). Trained: numbers that gradients changed and \
                 that are kept. Stored: the file of the model, with all that it takes to learn on but the frozen backbone. \
                 Seconds: mean of the runs. Peak: memory of the device, most of the runs.",
                if self.held_out { "held-out" } else { "test" }
            ),
            String::new(),
        ]);
        lines.extend(self.rows.iter().map(described));
        lines.extend([
            String::new(),
            format!("Device: {}. Data: {}. Backbone: {}.", self.devices.join("; "), self.data, self.backbone),
            String::new(),
            "```sh".into(),
            self.command.clone(),
            "```".into(),
        ]);
        lines.join("\n")
    }

    /// One line a method, accuracies as shares from 0 to 1; what is not known is empty.
    ///
    /// # Errors
    /// [`Error::Unsupported`] where a name is no text of a table.
    pub fn csv(&self) -> Result<String> {
        let mut table = csv::Writer::from_writer(Vec::new());
        let failed = |e: String| Error::Unsupported(format!("{CSV}: {e}"));
        let header = "method,seeds,a_last_mean,a_last_sd,a_avg_mean,a_avg_sd,forgetting_mean,forgetting_sd,trained,\
                      stored_bytes,seconds_mean,peak_device_bytes,a_last_difference_mean,a_last_difference_least,a_last_p,\
                      a_avg_difference_mean,a_avg_difference_least,a_avg_p";
        table.write_record(header.split(',')).map_err(|e| failed(e.to_string()))?;
        for row in &self.rows {
            let mut record = vec![row.name.clone(), row.runs.len().to_string()];
            let Some(figures) = row.figures else {
                record.resize(header.split(',').count(), String::new());
                table.write_record(&record).map_err(|e| failed(e.to_string()))?;
                continue;
            };
            for Spread { mean, deviation } in [figures.a_last, figures.a_avg, figures.forgetting] {
                record.extend([mean.to_string(), deviation.map_or(String::new(), |d| d.to_string())]);
            }
            record.push(row.most(|run| run.size.trained).to_string());
            record.push(row.most(|run| run.size.stored_bytes).to_string());
            record.push(row.seconds().to_string());
            record.push(row.most(|run| run.peak_device_bytes).to_string());
            for difference in [row.differences.map(|d| d.a_last), row.differences.map(|d| d.a_avg)] {
                let figures = difference.map_or([None; 3], |d| [d.mean, d.least, d.p].map(Some));
                record.extend(figures.map(|x| x.map_or(String::new(), |x| x.to_string())));
            }
            table.write_record(&record).map_err(|e| failed(e.to_string()))?;
        }
        let bytes = table.into_inner().map_err(|e| failed(e.to_string()))?;
        String::from_utf8(bytes).map_err(|e| failed(e.to_string()))
    }
}

impl std::fmt::Display for Known {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let start: String = self.hash.chars().take(16).collect();
        write!(f, "{} ({start})", self.name)
    }
}

/// What a row ran with.
fn described(row: &Row) -> String {
    let mut text = format!("- `{}`: `{}`", row.name, row.settings.join(" "));
    if !row.left_out.is_empty() {
        text += &format!("; without `{}`", row.left_out.join(" "));
    }
    if let Some(choice) = &row.choice {
        let told = |trial: &Trial| match trial.a_avg {
            Some(a_avg) => format!("{:.2e} gives {:.2}", trial.value, 100.0 * a_avg),
            None => format!("{:.2e} is lost", trial.value),
        };
        let trials = choice.trials.iter().map(told).collect::<Vec<_>>().join(", ");
        let value = choice.value.map_or_else(|| "none".into(), |value| format!("{value:.2e}"));
        text += &format!("; `{}` = {value} by A_avg on held-out training images: {trials}", choice.setting);
    }
    if let Some(why) = &row.lost {
        text += &format!("; lost: {why}");
    }
    text
}
