//! Noise: the integer stream bit for bit, the normals against the oracle and the golden files.

use minoise::Result;
use minoise::device::Device;
use minoise::kernels::philox_normal::{PhiloxNormal, Stream};

use crate::harness::{Case, Output, case, output, poisoned, poisoned_u32};

const STREAM: Stream = Stream { seed: 0x0123_4567_89ab_cdef, layer: 3, task: 5, step: 77, first_row: 0 };
/// A few ulp of the largest normal that 24 bits can give (5.9).
const BOUND: f64 = 4e-6;

fn padded(d2: usize) -> usize {
    d2.next_multiple_of(4)
}

fn normals(device: &Device, stream: Stream, rows: usize, d2: usize) -> Result<Vec<Output>> {
    let out = poisoned(device, &[rows, padded(d2)])?;
    device.run(&PhiloxNormal { out: &out, d2, stream })?;
    Ok(vec![output("eps", out, vec![BOUND])])
}

/// Bit equality of the words with the oracle, and of its first block with the published answer.
fn words(device: &Device, stream: Stream, rows: usize, d2: usize) -> Result<Vec<Output>> {
    let out = poisoned_u32(device, &[rows, d2])?;
    device.run(&PhiloxNormal { out: &out, d2, stream })?;
    Ok(vec![output("words", out, vec![0.0])])
}

fn known_answer(device: &Device) -> Result<Vec<Output>> {
    let mut all = words(device, Stream { seed: 0, layer: 0, task: 0, step: 0, first_row: 0 }, 1, 4)?;
    let got = pollster::block_on(device.read_u32(&all[0].tensor))?;
    assert_eq!(got, [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
    all.clear();
    Ok(all)
}

/// `eps.layer1.task0.step0` of a golden run.
fn golden(device: &Device, file: &str, d2: usize) -> Result<Vec<Output>> {
    let path = format!("{}/kernels-tests/golden/{file}.safetensors", env!("CARGO_MANIFEST_DIR"));
    let bytes = std::fs::read(path).expect("the golden file is there");
    let (_, metadata) = safetensors::SafeTensors::read_metadata(&bytes).expect("a safetensors header");
    let case = &metadata.metadata().as_ref().expect("metadata")["case"];
    let case: serde_json::Value = serde_json::from_str(case).expect("JSON");
    let file = safetensors::SafeTensors::deserialize(&bytes).expect("safetensors");
    let want = file.tensor("eps.layer1.task0.step0").expect("eps");
    assert_eq!((want.shape()[1], &case["noise_hidden"]), (d2, &serde_json::json!(d2)));
    let want: Vec<f64> = bytemuck::pod_collect_to_vec(want.data());
    let stream = Stream { seed: case["seed"].as_u64().expect("seed"), layer: 1, task: 0, step: 0, first_row: 0 };
    let out = normals(device, stream, want.len() / d2, d2)?;
    let got: Vec<f64> = pollster::block_on(device.read(&out[0].tensor))?;
    for (row, want) in got.chunks(padded(d2)).zip(want.chunks(d2)) {
        for (x, y) in row.iter().zip(want) {
            assert!((x - y).abs() < BOUND, "{x} for {y}");
        }
        assert!(row[d2..].iter().all(|&x| x == 0.0));
    }
    Ok(out)
}

/// Rows of a batch that is taken in parts are those of the whole, bit for bit.
fn part(device: &Device, before: usize, rows: usize, d2: usize) -> Result<Vec<Output>> {
    let whole = normals(device, STREAM, before + rows, d2)?;
    let part = normals(device, Stream { first_row: before as u32, ..STREAM }, rows, d2)?;
    let whole: Vec<f32> = pollster::block_on(device.read(&whole[0].tensor))?;
    let found: Vec<f32> = pollster::block_on(device.read(&part[0].tensor))?;
    assert_eq!(found, whole[before * padded(d2)..]);
    if d2.is_multiple_of(4) {
        let (all, some) = (poisoned_u32(device, &[before + rows, d2])?, poisoned_u32(device, &[rows, d2])?);
        device.run(&PhiloxNormal { out: &all, d2, stream: STREAM })?;
        device.run(&PhiloxNormal { out: &some, d2, stream: Stream { first_row: before as u32, ..STREAM } })?;
        let [all, some] = [&all, &some].map(|words| pollster::block_on(device.read_u32(words)));
        assert_eq!(some?, all?[before * d2..]);
    }
    Ok(part)
}

pub fn cases() -> Vec<Case> {
    let mut all = vec![
        case("philox known answer".into(), known_answer),
        case("philox golden a".into(), |d| golden(d, "run-paper-a", 24)),
        case("philox golden b".into(), |d| golden(d, "run-paper-b", 21)),
    ];
    for (rows, d2) in [(1, 4), (3, 24), (65, 96), (71, 48)] {
        all.push(case(format!("philox words [{rows}, {d2}]"), move |d| words(d, STREAM, rows, d2)));
    }
    for (before, rows, d2) in [(1, 7, 21), (65, 65, 24), (3, 33, 23), (130, 2, 22)] {
        all.push(case(format!("philox part of a batch [{before} + {rows}, {d2}]"), move |d| part(d, before, rows, d2)));
    }
    // The last one needs more than 65,535 workgroups of 64 threads.
    for (rows, d2) in [(1, 1), (7, 21), (65, 24), (131, 21), (64, 22), (197, 192), (33, 23), (4_194_305, 4)] {
        all.push(case(format!("philox normals [{rows}, {d2}]"), move |d| normals(d, STREAM, rows, d2)));
    }
    all
}

pub fn examples(device: &Device) -> Result<()> {
    normals(device, STREAM, 7, 21)?;
    normals(device, STREAM, 7, 24)?;
    words(device, STREAM, 1, 4)?;
    Ok(())
}
