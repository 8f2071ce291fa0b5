//! The instructions that drivers print, as far as loops and multiply-adds go.

use std::collections::HashMap;

/// One instruction, or a place where control branches.
#[derive(Debug, Default, PartialEq)]
pub struct Instruction {
    /// Slots that it takes: some have a repeat count, and a mere branching takes none.
    pub issued: u32,
    pub multiply_adds: u32,
    /// Indices of the instructions that it may jump to.
    pub jumps: Vec<usize>,
    pub falls_through: bool,
}

/// One line of a listing.
enum Line<'a> {
    Label(&'a str),
    /// An instruction, and the labels that it may jump to.
    Instruction(Instruction, Vec<&'a str>),
    Other,
}

/// Reads the listing of AMD's, NVIDIA's or Adreno's driver; of another one nothing is understood.
pub fn read(listing: &str) -> Vec<Instruction> {
    let line = if listing.contains("s_endpgm") {
        amd
    } else if listing.lines().any(|l| l.starts_with("block")) {
        nvidia
    } else {
        adreno
    };
    let (mut labels, mut all, mut targets) = (HashMap::new(), Vec::new(), Vec::new());
    for text in listing.lines() {
        match line(text) {
            Line::Label(name) => drop(labels.insert(name, all.len())),
            Line::Instruction(instruction, names) => {
                all.push(instruction);
                targets.push(names);
            }
            Line::Other => {}
        }
    }
    // A label behind the last instruction is none to jump to.
    labels.retain(|_, at| *at < all.len());
    for (instruction, names) in all.iter_mut().zip(targets) {
        instruction.jumps = names.iter().filter_map(|name| labels.get(name)).copied().collect();
    }
    all
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
    let named = |word: &&str| NAMES.iter().any(|name| word.starts_with(name));
    let instruction = Instruction {
        issued: 1,
        multiply_adds: words.clone().filter(named).count() as u32,
        falls_through: !code.starts_with("s_branch") && !code.starts_with("s_endpgm"),
        ..Instruction::default()
    };
    Line::Instruction(instruction, words.filter(|word| word.starts_with("BB")).collect())
}

/// NVK: `block 3 L4 [predecessors] -> {`, instructions, `} -> [successors]`.
fn nvidia(line: &str) -> Line<'_> {
    let code = line.split("//").next().unwrap_or_default().trim();
    if line.starts_with("block") {
        return code.split_whitespace().nth(1).map_or(Line::Other, Line::Label);
    }
    if let Some(successors) = code.strip_prefix("} -> [") {
        return Line::Instruction(Instruction::default(), successors.trim_end_matches(']').split(", ").collect());
    }
    if !line.contains("// delay") {
        return Line::Other;
    }
    let multiply_adds = u32::from(code.split_whitespace().any(|word| word.starts_with("ffma")));
    Line::Instruction(
        Instruction { issued: 1, multiply_adds, falls_through: true, ..Instruction::default() },
        Vec::new(),
    )
}

/// Adreno: `l3:`, then instructions after flags such as `(rpt3)` (four times in all) and `(nop2)` (two idle slots).
fn adreno(line: &str) -> Line<'_> {
    if let Some(label) = line.strip_suffix(':').filter(|l| l.starts_with('l')) {
        return Line::Label(label);
    }
    let (mut code, mut times, mut idle) = (line.trim(), 1, 0);
    while let Some((flag, rest)) = code.strip_prefix('(').and_then(|code| code.split_once(')')) {
        let count = |name| flag.strip_prefix(name).and_then(|n| n.parse::<u32>().ok());
        times += count("rpt").unwrap_or(0);
        idle += count("nop").unwrap_or(0);
        code = rest.trim_start();
    }
    if !code.starts_with(|c: char| c.is_ascii_lowercase()) {
        return Line::Other;
    }
    let instruction = Instruction {
        issued: times + idle,
        multiply_adds: if code.starts_with("mad.f32") { times } else { 0 },
        falls_through: !code.starts_with("jump") && code != "end",
        ..Instruction::default()
    };
    Line::Instruction(instruction, code.split_whitespace().filter_map(|word| word.strip_prefix('#')).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instruction(issued: u32, multiply_adds: u32, jumps: &[usize], falls_through: bool) -> Instruction {
        Instruction { issued, multiply_adds, jumps: jumps.to_vec(), falls_through }
    }

    #[test]
    fn amd_counts_both_halves_of_dual_instructions() {
        let listing = "BB0:\n\tv_dual_fmac_f32 v0, v1 :: v_dual_fmac_f32 v2, v3 ; 00\n\ts_branch BB0\n\ts_endpgm\n";
        let expected = [instruction(1, 2, &[], true), instruction(1, 0, &[0], false), instruction(1, 0, &[], false)];
        assert_eq!(read(listing), expected);
    }

    #[test]
    fn nvidia_blocks_name_their_successors() {
        let listing = "block.u 0 [] -> {\n  r0 = ffma.ftz r1 r2 r0 // delay=1\n} -> [0, 1]\nblock 1 L1 [0] -> {\n\
                       @!p0  exit // delay=1\n} -> []\n";
        let block = [instruction(1, 1, &[], true), instruction(0, 0, &[0, 2], false)];
        let last = [instruction(1, 0, &[], true), instruction(0, 0, &[], false)];
        assert_eq!(read(listing), block.into_iter().chain(last).collect::<Vec<_>>());
    }

    #[test]
    fn adreno_repeats_and_idles() {
        let listing = "; ubo\n@in(r0.x)\tin0\nl1:\n(sy)(rpt3)mad.f32 r0.x, r1.x\n(nop2) br p0.x, #l1\nend\n";
        let expected = [instruction(4, 4, &[], true), instruction(3, 0, &[0], true), instruction(1, 0, &[], false)];
        assert_eq!(read(listing), expected);
    }
}
