//! Registers, spills, occupancy and the share of multiply-adds of every pipeline that minoise would create on the
//! Vulkan device at hand, from its driver's compiler. Nothing is executed, so a driver without a GPU will do;
//! `scripts/isa-budget` brings such drivers and keeps their figures in a table.
//!
//!     isa measure TARGET      prints rows, with TARGET as their first column
//!     isa compare TABLE NEW   exit code 1 where a figure of NEW is worse than in TABLE

mod figures;
mod flow;
mod hot_loop;
mod listing;
mod table;

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fs::read_to_string;

use figures::Figures;
use minoise::device::{Captured, Device, Plan, adapters, kernels};
use minoise::driver::Driver;
use minoise::emit::Shader;
use minoise::uses;
use table::Table;

fn main() {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let passed = match arguments.as_slice() {
        ["measure", target] => measure(target).map(|()| true),
        ["compare", table, new] => compare(table, new),
        _ => Err("usage: isa measure TARGET | isa compare TABLE NEW".into()),
    };
    match passed {
        Ok(true) => {}
        Ok(false) => std::process::exit(1),
        Err(e) => {
            eprintln!("isa: {e}");
            std::process::exit(2);
        }
    }
}

fn measure(target: &str) -> Result<(), Box<dyn Error>> {
    let adapter =
        pollster::block_on(adapters()).into_iter().find(|a| a.backend == "vulkan").ok_or("no Vulkan adapter")?;
    let mut table = Table { drivers: [(target.into(), adapter.driver.clone())].into(), ..Table::default() };
    let caps = adapter.caps.clone().opened();
    let driver = Driver::open(&adapter, &caps)?;
    let mut plans: BTreeMap<_, (Plan, BTreeSet<&str>)> = BTreeMap::new();
    for (name, dispatches) in uses::dispatches(&Device::planner(caps))? {
        for Captured { plan, .. } in dispatches {
            let seen = plans.entry((plan.shader, plan.describe()));
            seen.or_insert((plan, BTreeSet::new())).1.insert(name);
        }
    }
    for shader in kernels() {
        if !plans.keys().any(|key| key.0 == shader) {
            return Err(format!("no use of `src/uses.rs` runs {shader}").into());
        }
    }
    for ((shader, description), (plan, uses)) in plans {
        let report = driver.compile(&Shader::of(&plan)?).map_err(|e| format!("{shader} [{description}]: {e}"))?;
        let figures = Figures::of(&report, plan.shared_bytes)?;
        let uses = Vec::from_iter(uses).join(" ");
        table.rows.insert([target.into(), shader.into(), description], (figures, uses));
    }
    print!("{}", table.print());
    Ok(())
}

fn compare(table: &str, new: &str) -> Result<bool, Box<dyn Error>> {
    let read = |path: &str| -> Result<Table, Box<dyn Error>> {
        let text = read_to_string(path).map_err(|e| format!("{path}: {e}"))?;
        Ok(Table::parse(&text).map_err(|e| format!("{path}: {e}"))?)
    };
    let (before, now) = (read(table)?, read(new)?);
    let (failures, told) = before.compare(&now);
    for line in &told {
        println!("isa-budget: another driver than the table's, {line}");
    }
    for line in &failures {
        println!("isa-budget: FAILED, {line}");
    }
    if !failures.is_empty() {
        println!("isa-budget: where this is meant, write the table anew with scripts/isa-budget --update");
    }
    let spilling = now.rows.values().filter(|(f, _)| f.spills + f.scratch > 0).count();
    let (rows, targets, failed) = (now.rows.len(), now.drivers.len(), failures.len());
    println!("isa-budget: {rows} pipelines on {targets} targets compared, {failed} failed, {spilling} spill");
    Ok(failures.is_empty())
}
