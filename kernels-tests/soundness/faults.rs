//! The rules on shaders made for them.

use libtest_mimic::{Failed, Trial};
use minoise::device::validate;

use super::check;

/// Shaders that break a rule, each with what is said of it, and shaders close to them that break none.
const FAULTS: &[(&str, &str, &str)] = &[
    ("a component in workgroup memory", "quads[lane][lane % 4u] = 1.0;", "a part of a vector of quads"),
    ("a named component in workgroup memory", "quads[lane].y = 1.0;", "a part of a vector of quads"),
    ("a component in storage memory", "out[lane].x += 1.0;", "a part of a vector of out"),
    ("a column of a matrix", "square[1] = vec4<f32>(1.0);", "a part of a vector of square"),
    ("a component behind a pointer", "let p = &quads[lane]; (*p)[2] = 1.0;", "a part of a vector of quads"),
    ("a component in a function", "component(lane);", "`component` stores"),
    ("a barrier behind a lane's index", "if lane < 4u { workgroupBarrier(); }", "a barrier"),
    ("a barrier behind an early return", "if lane > 3u { return; } workgroupBarrier();", "a barrier"),
    ("a barrier in a lane's loop", "for (var i = lane; i < 9u; i++) { workgroupBarrier(); }", "a barrier"),
    ("a barrier behind a lane's break", "loop { workgroupBarrier(); if lane > 3u { break; } }", "a barrier"),
    (
        "a barrier behind a continue",
        "for (var i = 0u; i < 4u; i++) { if lane == i { continue; } workgroupBarrier(); }",
        "a barrier",
    ),
    ("a barrier behind a stored number", "if quads[0].x > 0.0 { workgroupBarrier(); }", "a barrier"),
    ("a barrier behind written storage", "if out[0].x > 0.0 { workgroupBarrier(); }", "a barrier"),
    (
        "a barrier behind a variable",
        "var n = 0u; if lane == 0u { n = 1u; } if n > 0u { workgroupBarrier(); }",
        "a barrier",
    ),
    ("a barrier behind a private variable", "own = lane; if own > 0u { workgroupBarrier(); }", "a barrier"),
    ("a barrier behind a pointer", "var n = 0u; put(&n, lane); if n > 0u { workgroupBarrier(); }", "a barrier"),
    ("a barrier behind a function's result", "if early(lane) > 0u { workgroupBarrier(); }", "a barrier"),
    (
        "a barrier behind what a loop carries",
        "var a = 0u; var b = 0u; for (var i = 0u; i < 3u; i++) { if b > 0u { workgroupBarrier(); } b = a; a = lane; }",
        "a barrier",
    ),
    ("a function's barrier", "if lane < 4u { wait(); }", "`wait` has a barrier"),
    ("a shuffle behind a lane's index", "if lane < 4u { own = subgroupShuffle(lane, 0u); }", "a subgroup operation"),
    ("", "quads[lane] = vec4<f32>(1.0); out[lane] = quads[0]; numbers[lane] = 1.0;", ""),
    ("", "var x: vec4<f32>; x[lane % 4u] = 1.0; out[lane] = x; wait(); own = subgroupShuffle(lane, 0u);", ""),
    ("", "if group.x > params || params > 3u { return; } for (var i = 0u; i < params; i++) { wait(); }", ""),
    ("", "for (var i = lane; i < 9u; i++) { if i == 4u { break; } own = i; } if given[group.x] > 0u { wait(); }", ""),
    (
        "",
        "var n = 0u; put(&n, params); if n > early(group.x) { wait(); } if lane < 4u { own = early(lane); } wait();",
        "",
    ),
];

fn shader(body: &str) -> String {
    let component = if body.contains("component") { "fn component(lane: u32) { quads[lane].x = 1.0; }" } else { "" };
    format!(
        "@group(0) @binding(0) var<uniform> params: u32;
        @group(0) @binding(1) var<storage, read> given: array<u32>;
        @group(0) @binding(2) var<storage, read_write> out: array<vec4<f32>>;
        var<workgroup> quads: array<vec4<f32>, 64>;
        var<workgroup> numbers: array<f32, 64>;
        var<workgroup> square: mat4x4<f32>;
        var<private> own: u32;
        {component}
        fn wait() {{ workgroupBarrier(); }}
        fn put(n: ptr<function, u32>, x: u32) {{ *n = x; }}
        fn early(x: u32) -> u32 {{ if x > 3u {{ return 1u; }} return 0u; }}
        @compute @workgroup_size(64)
        fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {{ {body} }}"
    )
}

pub fn trials() -> Vec<Trial> {
    let trial = |&(fault, body, said): &(&'static str, &'static str, &'static str)| {
        let what = if fault.is_empty() { format!("accepted: {body}") } else { format!("refused: {fault}") };
        Trial::test(format!("house: soundness, {what}"), move || judged(body, said))
    };
    FAULTS.iter().map(trial).collect()
}

fn judged(body: &str, said: &str) -> Result<(), Failed> {
    let module = validate("a fault", &shader(body)).map_err(|e| e.to_string())?;
    let flags = naga::valid::ValidationFlags::all();
    let info = naga::valid::Validator::new(flags, minoise::device::capabilities()).validate(&module)?;
    match check(&module, &info) {
        Ok(()) if said.is_empty() => Ok(()),
        Err(message) if !said.is_empty() && message.contains(said) => Ok(()),
        other => Err(format!("{other:?}, not {said:?}").into()),
    }
}
