//! The share of multiply-adds in the hot loop of a pipeline, read from the instructions that a driver prints.

use std::collections::HashMap;

/// One line of a listing.
enum Line<'a> {
    Label(&'a str),
    Instruction(Instruction<'a>),
    Other,
}

#[derive(Default)]
struct Instruction<'a> {
    /// Instructions issued: some have a repeat count, and a line that only tells where control goes is none.
    issued: u32,
    multiply_adds: u32,
    targets: Vec<&'a str>,
}

/// Multiply-adds per instruction of the loop that has most of them (where several have as many, of the worst), loops
/// inside it left out. None: the listing is of no known kind, or no loop multiplies.
///
/// A loop reaches from a label to the last jump back to it.
pub fn share(listing: &str) -> Option<f64> {
    let read = if listing.contains("s_endpgm") {
        amd
    } else if listing.lines().any(|l| l.starts_with("block")) {
        nvidia
    } else {
        adreno
    };
    let (mut labels, mut all) = (HashMap::new(), Vec::new());
    for line in listing.lines() {
        match read(line) {
            Line::Label(name) => drop(labels.insert(name, all.len())),
            Line::Instruction(instruction) => all.push(instruction),
            Line::Other => {}
        }
    }
    let mut ends: HashMap<usize, usize> = HashMap::new();
    for (at, instruction) in all.iter().enumerate() {
        for &start in instruction.targets.iter().filter_map(|t| labels.get(t)).filter(|&&start| start <= at) {
            ends.insert(start, at);
        }
    }
    let mut totals: HashMap<usize, (u32, u32)> = HashMap::new();
    for (at, instruction) in all.iter().enumerate() {
        let around = ends.iter().filter(|&(&start, &end)| (start..=end).contains(&at));
        if let Some((start, _)) = around.min_by_key(|&(start, end)| end - start) {
            let total = totals.entry(*start).or_default();
            total.0 += instruction.multiply_adds;
            total.1 += instruction.issued;
        }
    }
    // Of equal counts of multiply-adds, more instructions are the lower share.
    let (multiply_adds, issued) = totals.into_values().max()?;
    (multiply_adds > 0).then(|| f64::from(multiply_adds) / f64::from(issued))
}

/// AMD: `BB3:`, then instructions; dual ones hold two operations.
fn amd(line: &str) -> Line<'_> {
    let code = line.split(';').next().unwrap_or_default().trim();
    if let Some(label) = code.strip_suffix(':').filter(|l| l.starts_with("BB")) {
        return Line::Label(label);
    }
    const UNITS: [&str; 7] = ["s_", "v_", "ds_", "buffer_", "global_", "flat_", "scratch_"];
    if !UNITS.iter().any(|unit| code.starts_with(unit)) {
        return Line::Other;
    }
    const NAMES: [&str; 6] = ["v_fma_f32", "v_fmac_f32", "v_mac_f32", "v_mad_f32", "v_dual_fmac_f32", "v_pk_fma_f32"];
    let words = code.split([' ', ',']);
    let named = |word: &str| NAMES.iter().any(|name| word.strip_suffix("_e32").unwrap_or(word).starts_with(name));
    Line::Instruction(Instruction {
        issued: 1,
        multiply_adds: words.clone().filter(|word| named(word)).count() as u32,
        targets: words.filter(|word| word.starts_with("BB")).collect(),
    })
}

/// NVK: `block 3 L4 [predecessors] -> {`, instructions, `} -> [successors]`.
fn nvidia(line: &str) -> Line<'_> {
    let code = line.split("//").next().unwrap_or_default().trim();
    if line.starts_with("block") {
        return code.split_whitespace().nth(1).map_or(Line::Other, Line::Label);
    }
    if let Some(successors) = code.strip_prefix("} -> [") {
        let targets = successors.trim_end_matches(']').split(", ").collect();
        return Line::Instruction(Instruction { targets, ..Instruction::default() });
    }
    if code.is_empty() || !line.contains("// delay") {
        return Line::Other;
    }
    let multiply_adds = u32::from(code.split_whitespace().any(|word| word.starts_with("ffma")));
    Line::Instruction(Instruction { issued: 1, multiply_adds, targets: Vec::new() })
}

/// Adreno: `l3:`, then instructions after flags such as `(rpt3)` (four times in all) and `(nop2)` (two idle slots).
fn adreno(line: &str) -> Line<'_> {
    if let Some(label) = line.strip_suffix(':').filter(|l| l.starts_with('l')) {
        return Line::Label(label);
    }
    let (mut code, mut repeats, mut idle) = (line.trim(), 1, 0);
    while let Some((flag, rest)) = code.strip_prefix('(').and_then(|code| code.split_once(')')) {
        let count = |name| flag.strip_prefix(name).and_then(|n| n.parse::<u32>().ok());
        repeats += count("rpt").unwrap_or(0);
        idle += count("nop").unwrap_or(0);
        code = rest.trim_start();
    }
    if !code.starts_with(|c: char| c.is_ascii_lowercase()) {
        return Line::Other;
    }
    Line::Instruction(Instruction {
        issued: repeats + idle,
        multiply_adds: if code.starts_with("mad.f32") { repeats } else { 0 },
        targets: code.split_whitespace().filter_map(|word| word.strip_prefix('#')).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loop_with_most_multiply_adds_counts_without_loops_inside() {
        let listing = "BB0:\n\tv_fma_f32 v0, v1\nBB1:\n\tv_fmac_f32_e32 v0, v1, v2 ; 00\n\tv_dual_fmac_f32 v0 :: v_dual_fmac_f32 v1\n\
                       BB2:\n\tds_load_b32 v1\n\ts_cbranch_scc1 BB2\n\ts_nop 0\n\ts_branch BB1\n\ts_endpgm\n";
        assert_eq!(share(listing), Some(3.0 / 4.0));
    }

    #[test]
    fn nvidia_blocks_and_adreno_flags() {
        let listing = "block.u 0 [] -> {\n    nop // delay=1\n} -> [1]\nblock 1 L1 [0, 1] -> {\n  r0 = ffma.ftz r1 r2 r0 // delay=1\n\
                       r1 = ld.global [r2] // delay=1\n} -> [1, 2]\nblock 2 [1] -> {\n  exit // delay=1\n} -> []\n";
        assert_eq!(share(listing), Some(0.5));
        let listing = "@in(r0.x)\tin0\nl1:\n(sy)(rpt3)mad.f32 r0.x, r1.x\n(nop2) add.u r1.x, r1.x, 1\n(rpt1)nop\nbr p0.x, #l1\nend\n";
        assert_eq!(share(listing), Some(4.0 / 10.0));
    }

    #[test]
    fn no_loop_has_no_share() {
        assert_eq!(share("BB0:\n\tv_fma_f32 v0, v1\n\ts_endpgm\n"), None);
        assert_eq!(share(""), None);
    }
}
