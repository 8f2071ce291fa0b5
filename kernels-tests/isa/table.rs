//! The table of figures as text, and its comparison with a new one.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use crate::figures::Figures;

const HEADER: &str = "target\tkernel\tplan\tsubgroup\tregisters\tspills\tscratch\tshared\toccupancy\tshare\tused by";

/// Target, kernel, plan.
type Key = [String; 3];

/// Rows of tab-separated columns; before those of a target stand a line `# TARGET DRIVER` and the names of the columns.
#[derive(Debug, Default)]
pub struct Table {
    /// Driver and version by target.
    pub drivers: BTreeMap<String, String>,
    /// Figures, and the uses that the pipeline is for.
    pub rows: BTreeMap<Key, (Figures, String)>,
}

impl Table {
    /// # Errors
    /// The first line that is no row.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut table = Self::default();
        for line in text.lines().filter(|line| *line != HEADER) {
            let bad = || format!("not a row: {line}");
            if let Some((target, driver)) = line.strip_prefix("# ").and_then(|line| line.split_once(' ')) {
                table.drivers.insert(target.into(), driver.into());
                continue;
            }
            let columns: Vec<_> = line.split('\t').collect();
            let &[target, kernel, plan, subgroup, registers, spills, scratch, shared, occupancy, share, uses] =
                columns.as_slice()
            else {
                return Err(bad());
            };
            let number = |text: &str| text.parse().map_err(|_| bad());
            let figures = Figures {
                subgroup: number(subgroup)?,
                registers: number(registers)?,
                spills: number(spills)?,
                scratch: number(scratch)?,
                shared: number(shared)?,
                occupancy: number(occupancy)?,
                share: if share == "-" { None } else { Some(number(share)?) },
            };
            table.rows.insert([target, kernel, plan].map(String::from), (figures, uses.into()));
        }
        Ok(table)
    }

    pub fn print(&self) -> String {
        let mut text = String::new();
        let mut target_before = "";
        for ([target, kernel, plan], (f, uses)) in &self.rows {
            if target != target_before {
                writeln!(text, "# {target} {}\n{HEADER}", self.drivers[target]).expect("a string takes all");
                target_before = target;
            }
            let Figures { subgroup, registers, spills, scratch, shared, occupancy, .. } = f;
            let share = f.share.map_or("-".into(), |share| share.to_string());
            writeln!(
                text,
                "{target}\t{kernel}\t{plan}\t{subgroup}\t{registers}\t{spills}\t{scratch}\t{shared}\t{occupancy}\t{share}\t{uses}"
            )
            .expect("a string takes all");
        }
        text
    }

    /// What is worse in `new`, and what stands in one of the tables only; and the same for targets whose driver is
    /// another one than the table's, which says nothing of the code.
    pub fn compare(&self, new: &Self) -> (Vec<String>, Vec<String>) {
        let (mut failures, mut other_driver) = (Vec::new(), Vec::new());
        for key in self.rows.keys().chain(new.rows.keys()).collect::<BTreeSet<_>>() {
            let [target, kernel, plan] = key;
            let of = format!("{kernel} [{plan}] on {target}");
            let lines = match (self.rows.get(key), new.rows.get(key)) {
                (Some(before), Some(now)) => {
                    let worse = now.0.worse_than(&before.0).into_iter();
                    worse.map(|(figure, was, is)| format!("{of}: {figure} was {was}, is {is}")).collect()
                }
                (Some(_), None) => vec![format!("{of}: no longer used")],
                _ => vec![format!("{of}: new")],
            };
            let same = self.drivers.get(target) == new.drivers.get(target);
            if same { failures.extend(lines) } else { other_driver.extend(lines) }
        }
        (failures, other_driver)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(driver: &str, plan: &str, occupancy: u64, share: Option<u64>) -> Table {
        let figures = Figures { registers: 48, occupancy, share, ..Figures::default() };
        let key = ["amd:x", "gemm", plan].map(String::from);
        Table { drivers: [("amd:x".into(), driver.into())].into(), rows: [(key, (figures, "icons".into()))].into() }
    }

    #[test]
    fn what_is_printed_is_read_again() {
        for share in [None, Some(55)] {
            let text = table("radv 26.1", "BIAS BM=64", 16, share).print();
            assert_eq!(Table::parse(&text).unwrap().print(), text);
        }
        assert!(Table::parse("amd:x\tgemm").is_err());
    }

    #[test]
    fn worse_figures_fail_better_ones_pass() {
        let before = table("radv 26.1", "BM=64", 16, Some(55));
        let failures = |occupancy, share| before.compare(&table("radv 26.1", "BM=64", occupancy, Some(share))).0;
        assert_eq!(failures(16, 53), Vec::<String>::new());
        assert_eq!(failures(20, 60), Vec::<String>::new());
        assert_eq!(failures(12, 55), ["gemm [BM=64] on amd:x: occupancy was 16, is 12"]);
        assert_eq!(failures(16, 52), ["gemm [BM=64] on amd:x: share was 55, is 52"]);
    }

    #[test]
    fn other_plans_fail_and_other_drivers_do_not() {
        let before = table("radv 26.1", "BM=64", 16, None);
        assert_eq!(before.compare(&table("radv 26.1", "BM=32", 16, None)).0.len(), 2);
        let (failures, told) = before.compare(&table("radv 26.2", "BM=64", 8, None));
        assert!(failures.is_empty() && told.len() == 1);
    }
}
