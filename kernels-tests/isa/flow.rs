//! Loops of a listing, wherever the compiler placed their parts.

use std::collections::{BTreeMap, BTreeSet};

use crate::listing::Instruction;

/// Natural loops by the one instruction through which they are entered: for each jump back to an instruction that
/// dominates the jump, all that leads to it without passing that instruction.
pub fn loops(code: &[Instruction]) -> BTreeMap<usize, BTreeSet<usize>> {
    let mut next = vec![Vec::new(); code.len()];
    let mut before = vec![Vec::new(); code.len()];
    for (at, instruction) in code.iter().enumerate() {
        let following = Some(at + 1).filter(|&following| instruction.falls_through && following < code.len());
        next[at].extend(instruction.jumps.iter().copied().chain(following));
        next[at].iter().for_each(|&to| before[to].push(at));
    }
    let parents = dominators(&next, &before);
    let dominates = |header: usize, mut at: usize| loop {
        match parents[at] {
            _ if at == header => return true,
            Some(parent) if parent != at => at = parent,
            _ => return false,
        }
    };
    let mut loops: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
    for (at, to) in next.iter().enumerate().flat_map(|(at, all)| all.iter().map(move |&to| (at, to))) {
        if parents[at].is_some() && dominates(to, at) {
            let body = loops.entry(to).or_insert_with(|| [to].into());
            let mut open = vec![at];
            while let Some(i) = open.pop() {
                if body.insert(i) {
                    open.extend(before[i].iter().filter(|&&i| parents[i].is_some()));
                }
            }
        }
    }
    loops
}

/// Parent of every instruction in the dominator tree, the first its own; None where none leads to it.
/// Source: Cooper, Harvey and Kennedy, "A Simple, Fast Dominance Algorithm".
fn dominators(next: &[Vec<usize>], before: &[Vec<usize>]) -> Vec<Option<usize>> {
    let mut parents = vec![None; next.len()];
    let order = postorder(next);
    let mut rank = vec![0; next.len()];
    order.iter().enumerate().for_each(|(i, &at)| rank[at] = i);
    if let Some(first) = parents.first_mut() {
        *first = Some(0);
    }
    let mut changed = true;
    while changed {
        changed = false;
        for &at in order.iter().rev().filter(|&&at| at != 0) {
            let known = before[at].iter().copied().filter(|&from| parents[from].is_some());
            let common = known.reduce(|mut a, mut b| {
                while a != b {
                    let lower = if rank[a] < rank[b] { &mut a } else { &mut b };
                    *lower = parents[*lower].expect("has one");
                }
                a
            });
            changed |= parents[at] != common;
            parents[at] = common;
        }
    }
    parents
}

/// Instructions that the first leads to, each behind those that it leads to first.
fn postorder(next: &[Vec<usize>]) -> Vec<usize> {
    let (mut order, mut seen) = (Vec::new(), vec![false; next.len()]);
    let mut open = Vec::new();
    if let Some(first) = seen.first_mut() {
        *first = true;
        open.push((0, 0));
    }
    while let Some((at, child)) = open.pop() {
        match next[at].get(child) {
            Some(&to) => {
                open.push((at, child + 1));
                if !std::mem::replace(&mut seen[to], true) {
                    open.push((to, 0));
                }
            }
            None => order.push(at),
        }
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Instructions from what each may jump to and whether it falls through.
    fn found(code: &[(&[usize], bool)]) -> Vec<(usize, Vec<usize>)> {
        let code = code.iter().map(|&(jumps, falls_through)| {
            let jumps = jumps.to_vec();
            Instruction { jumps, falls_through, ..Instruction::default() }
        });
        loops(&code.collect::<Vec<_>>())
            .into_iter()
            .map(|(header, body)| (header, body.into_iter().collect()))
            .collect()
    }

    #[test]
    fn a_loop_may_be_entered_at_its_end() {
        let code = [(&[2][..], false), (&[], true), (&[1], true), (&[], false)];
        assert_eq!(found(&code), [(2, vec![1, 2])]);
    }

    #[test]
    fn other_code_may_stand_inside() {
        let code = [(&[][..], true), (&[3], true), (&[], false), (&[1], false)];
        assert_eq!(found(&code), [(1, vec![1, 3])]);
    }

    #[test]
    fn loops_nest_and_a_jump_back_need_not_close_one() {
        let code = [(&[][..], true), (&[1], true), (&[0], true), (&[], false)];
        assert_eq!(found(&code), [(0, vec![0, 1, 2]), (1, vec![1])]);
        assert_eq!(found(&[(&[2][..], true), (&[], false), (&[1], false)]), []);
        assert_eq!(found(&[]), []);
    }
}
