//! The instructions that drivers print, as far as loops and multiply-adds go.

use std::collections::HashMap;

/// One instruction, or a place where control branches.
#[derive(Debug, Default, PartialEq)]
pub struct Instruction {
    /// Slots that it takes: some have a repeat count, and a mere branching takes none.
    pub issued: u32,
    /// Of one thread.
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

/// Reads the listing of AMD's, NVIDIA's or Adreno's driver for subgroups of the given size; of another driver nothing is
/// understood.
pub fn read(listing: &str, subgroup: u32) -> Vec<Instruction> {
    let line = if listing.contains("s_endpgm") {
        amd
    } else if listing.lines().any(|l| l.starts_with("block")) {
        nvidia
    } else {
        adreno
    };
    let (mut labels, mut all, mut targets) = (HashMap::new(), Vec::new(), Vec::new());
    for text in listing.lines() {
        match line(text, subgroup) {
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

/// AMD: `BB3:`, then instructions; dual ones hold two operations, packed ones and dot products of halves do two
/// multiply-adds (a sum of halves starts with a mere product), and `v_wmma` those of a whole subgroup. Mixed ones convert.
fn amd(line: &str, subgroup: u32) -> Line<'_> {
    let code = line.split(';').next().unwrap_or_default().trim();
    if let Some(label) = code.strip_suffix(':').filter(|l| l.starts_with("BB")) {
        return Line::Label(label);
    }
    const UNITS: [&str; 7] = ["s_", "v_", "ds_", "buffer_", "global_", "flat_", "scratch_"];
    if !UNITS.iter().any(|unit| code.starts_with(unit)) {
        return Line::Other;
    }
    const ONE: [&str; 5] = ["v_fma_f32", "v_fmac_f32", "v_mac_f32", "v_mad_f32", "v_dual_fmac_f32"];
    const TWO: [&str; 4] = ["v_pk_fma", "v_pk_mul_f16", "v_dot2", "v_dual_dot2"];
    let words = code.split([' ', ',']);
    let multiply_adds = |word: &str| {
        let among = |names: &[&str]| names.iter().any(|name| word.starts_with(name));
        if word.starts_with("v_wmma_f32_16x16x16_f16") {
            return 16 * 16 * 16 / subgroup;
        }
        u32::from(among(&ONE)) + 2 * u32::from(among(&TWO))
    };
    let instruction = Instruction {
        issued: 1,
        multiply_adds: words.clone().map(multiply_adds).sum(),
        falls_through: !code.starts_with("s_branch") && !code.starts_with("s_endpgm"),
        ..Instruction::default()
    };
    Line::Instruction(instruction, words.filter(|word| word.starts_with("BB")).collect())
}

/// NVK: `block 3 L4 [predecessors] -> {`, instructions, `} -> [successors]`. `hfma2` and `hmul2` do two multiply-adds of
/// halves, and `hmma.m16n8k16` those of a whole subgroup.
fn nvidia(line: &str, subgroup: u32) -> Line<'_> {
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
    let multiply_adds = |word: &str| {
        let matrix = || {
            let sides = word.strip_prefix("hmma.m")?.split(|c: char| !c.is_ascii_digit()).take(3);
            sides.map(|side| side.parse::<u32>().ok()).product::<Option<u32>>()
        };
        let halves = 2 * u32::from(word.starts_with("hfma2") || word.starts_with("hmul2"));
        matrix().map_or(u32::from(word.starts_with("ffma")) + halves, |all| all / subgroup)
    };
    let multiply_adds = code.split_whitespace().map(multiply_adds).sum();
    Line::Instruction(
        Instruction { issued: 1, multiply_adds, falls_through: true, ..Instruction::default() },
        Vec::new(),
    )
}

/// Adreno: `l3:`, then instructions after flags such as `(rpt3)` (four times in all) and `(nop2)` (two idle slots).
fn adreno(line: &str, _: u32) -> Line<'_> {
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
        assert_eq!(read(listing, 64), expected);
    }

    #[test]
    fn packed_and_matrix_instructions_count_all_that_they_do_for_a_thread() {
        let multiply_adds =
            |listing: &str, subgroup| read(listing, subgroup).iter().map(|i| i.multiply_adds).collect::<Vec<_>>();
        let amd = "\tv_pk_mul_f16 v0, v1\n\tv_pk_fma_f16 v0, v1\n\tv_fma_mix_f32 v0, v1\n\ts_endpgm\n";
        assert_eq!(multiply_adds(amd, 64), [2, 2, 0, 0]);
        assert_eq!(multiply_adds("\tv_wmma_f32_16x16x16_f16 v[0:3], v1\n\ts_endpgm\n", 64), [64, 0]);
        let nvidia = "block 0 [] -> {\n  r0 = hfma2 r1 r2 r0 // delay=1\n  r0..4 = hmma.m16n8k16.f32 r4..8 r8..10 r0..4 // delay=2\n";
        assert_eq!(multiply_adds(nvidia, 32), [2, 64]);
    }

    #[test]
    fn nvidia_blocks_name_their_successors() {
        let listing = "block.u 0 [] -> {\n  r0 = ffma.ftz r1 r2 r0 // delay=1\n} -> [0, 1]\nblock 1 L1 [0] -> {\n\
                       @!p0  exit // delay=1\n} -> []\n";
        let block = [instruction(1, 1, &[], true), instruction(0, 0, &[0, 2], false)];
        let last = [instruction(1, 0, &[], true), instruction(0, 0, &[], false)];
        assert_eq!(read(listing, 64), block.into_iter().chain(last).collect::<Vec<_>>());
    }

    #[test]
    fn adreno_repeats_and_idles() {
        let listing = "; ubo\n@in(r0.x)\tin0\nl1:\n(sy)(rpt3)mad.f32 r0.x, r1.x\n(nop2) br p0.x, #l1\nend\n";
        let expected = [instruction(4, 4, &[], true), instruction(3, 0, &[0], true), instruction(1, 0, &[], false)];
        assert_eq!(read(listing, 64), expected);
    }
}
