// loss[slot] (+)= 1/batch sum_r (logsumexp(logits[r]) - logits[r][labels[r]])
// dlogits[r] = (softmax(logits[r]) - onehot(labels[r])) / batch
// A row whose label is no class adds nothing to the loss and has no gradient; it counts as one of the batch.
// One workgroup makes everything, so that the loss is summed in a fixed order: it takes WG / LANES rows at a time,
// each with LANES lanes. Lanes beyond the last row repeat it and store nothing.
import package::plan::{LANES, WG};

struct Params {
    rows: u32,
    cols: u32,
    slot: u32,
    batch: u32,
    accumulate: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> logits: array<f32>; // [rows, cols]
@group(0) @binding(2) var<storage, read> labels: array<u32>; // [rows]
@group(0) @binding(3) var<storage, read_write> loss: array<f32>; // [slots]
@group(0) @binding(4) var<storage, read_write> dlogits: array<f32>; // [rows, cols]

const ROWS: u32 = WG / LANES;

var<workgroup> partial: array<f32, WG>;

fn max_of_row(lane: u32, value: f32) -> f32 {
    workgroupBarrier(); // readers of an earlier result are done
    partial[lane] = value;
    for (var step = LANES / 2u; step > 0u; step /= 2u) {
        workgroupBarrier();
        if lane % LANES < step { partial[lane] = max(partial[lane], partial[lane + step]); }
    }
    workgroupBarrier();
    return partial[lane / LANES * LANES];
}

// Sum over `width` neighbouring lanes, a power of two.
fn sum_of(width: u32, lane: u32, value: f32) -> f32 {
    workgroupBarrier(); // readers of an earlier result are done
    partial[lane] = value;
    for (var step = width / 2u; step > 0u; step /= 2u) {
        workgroupBarrier();
        if lane % width < step { partial[lane] += partial[lane + step]; }
    }
    workgroupBarrier();
    return partial[lane / width * width];
}

@compute @workgroup_size(WG)
fn main(@builtin(local_invocation_index) lane: u32) {
    let part = lane % LANES;
    let share = 1.0 / f32(params.batch);
    var losses = 0.0;
    for (var row0 = 0u; row0 < params.rows; row0 += ROWS) {
        let inside = row0 + lane / LANES < params.rows;
        let row = min(row0 + lane / LANES, params.rows - 1u);
        let base = row * params.cols;
        var largest = logits[base];
        for (var col = part; col < params.cols; col += LANES) { largest = max(largest, logits[base + col]); }
        largest = max_of_row(lane, largest);
        var sum = 0.0;
        for (var col = part; col < params.cols; col += LANES) { sum += exp(logits[base + col] - largest); }
        sum = sum_of(LANES, lane, sum);
        if inside {
            let label = labels[row];
            let known = label < params.cols;
            if part == 0u && known { losses += log(sum) + (largest - logits[base + label]); }
            for (var col = part; col < params.cols; col += LANES) {
                let p = exp(logits[base + col] - largest) / sum;
                dlogits[base + col] = select(0.0, select(p, p - 1.0, col == label) * share, known);
            }
        }
    }
    let total = sum_of(WG, lane, losses);
    if lane == 0u {
        var sum = total * share;
        if params.accumulate != 0u { sum += loss[params.slot]; }
        loss[params.slot] = sum;
    }
}
