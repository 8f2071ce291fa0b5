// What the attention kernels for software devices share: a lane owns ROWS tokens that lie WG apart, a workgroup WG * ROWS
// tokens of one head; all lanes read the same token of the others, so that its numbers are scalar loads, each for ROWS
// products.
import package::lib::attention::{qkv};
import package::plan::{D4, ROWS};

alias Rows = array<array<vec4<f32>, D4>, ROWS>;

// Products of a lane's rows and the quads of qkv from `at` on.
fn products(x: ptr<function, Rows>, at: u32) -> array<f32, ROWS> {
    var sum: array<vec4<f32>, ROWS>;
    for (var r = 0u; r < ROWS; r++) { sum[r] = vec4<f32>(0.0); }
    for (var c = 0u; c < D4; c++) {
        let y = qkv[at + c];
        for (var r = 0u; r < ROWS; r++) { sum[r] = fma((*x)[r][c], y, sum[r]); }
    }
    var out: array<f32, ROWS>;
    for (var r = 0u; r < ROWS; r++) { out[r] = dot(sum[r], vec4<f32>(1.0)); }
    return out;
}

// Adds these quads to each row, times its weight.
fn add(acc: ptr<function, Rows>, weight: array<f32, ROWS>, at: u32) {
    for (var c = 0u; c < D4; c++) {
        let y = qkv[at + c];
        for (var r = 0u; r < ROWS; r++) { (*acc)[r][c] = fma(vec4<f32>(weight[r]), y, (*acc)[r][c]); }
    }
}
