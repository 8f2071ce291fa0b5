// What the attention kernels for software devices share: a lane owns ROWS rows that lie WG apart, a workgroup WG * ROWS
// rows of one head; all lanes read the same row of the others, so that its numbers are scalar loads, each for ROWS
// products. Rows of a prefix are met in a loop of their own: software devices run both sides of a branch.
import package::lib::attention::{qkv};
@if(PREFIX) import package::lib::attention::{prefix};
import package::plan::{D4, ROWS};

alias Rows = array<array<vec4<f32>, D4>, ROWS>;

fn quad(of_prefix: bool, at: u32) -> vec4<f32> {
    @if(PREFIX) if of_prefix { return prefix[at]; }
    return qkv[at];
}

// Products of a lane's rows and the quads of the prefix or of qkv from `at` on.
fn products(x: ptr<function, Rows>, of_prefix: bool, at: u32) -> array<f32, ROWS> {
    var sum: array<vec4<f32>, ROWS>;
    for (var r = 0u; r < ROWS; r++) { sum[r] = vec4<f32>(0.0); }
    for (var c = 0u; c < D4; c++) {
        let y = quad(of_prefix, at + c);
        for (var r = 0u; r < ROWS; r++) { sum[r] = fma((*x)[r][c], y, sum[r]); }
    }
    var out: array<f32, ROWS>;
    for (var r = 0u; r < ROWS; r++) { out[r] = dot(sum[r], vec4<f32>(1.0)); }
    return out;
}

// Adds these quads to each row, times its weight.
fn add(acc: ptr<function, Rows>, weight: array<f32, ROWS>, of_prefix: bool, at: u32) {
    for (var c = 0u; c < D4; c++) {
        let y = quad(of_prefix, at + c);
        for (var r = 0u; r < ROWS; r++) { (*acc)[r][c] = fma(vec4<f32>(weight[r]), y, (*acc)[r][c]); }
    }
}
