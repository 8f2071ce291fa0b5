//! The figures that count, out of what a driver tells.

use minoise::driver::Report;

use crate::hot_loop;

/// Figures of one pipeline on one target.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Figures {
    /// Threads of a subgroup.
    pub subgroup: u64,
    /// Of one thread, in the driver's own unit.
    pub registers: u64,
    /// Registers or accesses that went to memory for want of registers.
    pub spills: u64,
    /// Bytes of private memory, of a subgroup (AMD) or a thread.
    pub scratch: u64,
    /// Bytes of workgroup memory.
    pub shared: u64,
    /// What is resident at once: subgroups of a SIMD (AMD), a multiprocessor (NVIDIA) or a core (Adreno), threads of
    /// a workgroup (Apple).
    pub occupancy: u64,
    /// Multiply-adds of a thread per instruction of the hot loop in percent, where the driver lists instructions.
    pub share: Option<u64>,
}

impl Figures {
    /// # Errors
    /// The name of a figure that the driver does not tell.
    pub fn of(report: &Report, shared: u32) -> Result<Self, String> {
        let known = |figure: Option<u64>, name: &str| figure.ok_or_else(|| format!("the driver tells no {name}"));
        Ok(Self {
            subgroup: report.subgroup.into(),
            registers: known(report.registers(), "registers")?,
            spills: known(report.spills(), "spills")?,
            scratch: report.scratch().unwrap_or(0),
            shared: shared.into(),
            occupancy: known(report.occupancy(), "occupancy")?,
            share: hot_loop::share(&report.instructions, report.subgroup).map(|share| (100.0 * share).round() as u64),
        })
    }

    /// Name, figure before and now, of all that are worse than in `before`.
    pub fn worse_than(&self, before: &Self) -> Vec<(&'static str, u64, u64)> {
        /// Percent that schedules of the same loop differ by.
        const TOLERANCE: u64 = 2;
        let (was, is) = (before.share.unwrap_or(0), self.share.unwrap_or(0));
        let all = [
            ("spills", before.spills, self.spills, self.spills > before.spills),
            ("scratch", before.scratch, self.scratch, self.scratch > before.scratch),
            ("shared", before.shared, self.shared, self.shared > before.shared),
            ("occupancy", before.occupancy, self.occupancy, self.occupancy < before.occupancy),
            ("share", was, is, is + TOLERANCE < was),
        ];
        all.into_iter().filter(|x| x.3).map(|x| (x.0, x.1, x.2)).collect()
    }
}
