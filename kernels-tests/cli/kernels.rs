//! `minoise kernels`

use minoise::device::kernels;

use crate::{minoise, refused, said, text};

#[test]
fn list_names_every_kernel_with_its_plans() {
    let told = said(minoise(&["kernels", "list"]));
    let rows: Vec<Vec<_>> = told.lines().skip(2).map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows.iter().map(|row| row[0]).collect::<Vec<_>>(), kernels().collect::<Vec<_>>());
    for row in &rows {
        assert!(row[1].parse::<usize>().expect("a number") > 0, "{row:?}");
    }
    let gemm = told.lines().find(|line| line.starts_with("gemm ")).expect("a kernel");
    assert!(gemm.contains("128x128") && gemm.contains('*') && gemm.contains("rows"), "{gemm}");
}

/// In every language two kernels have their entry point and their bindings, on standard output or in a file.
#[test]
fn show_writes_every_language() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    for kernel in ["add", "attention"] {
        for (language, entry) in [
            ("wgsl", "fn main("),
            ("msl", "kernel void main_("),
            ("hlsl", "void main("),
            ("glsl", "void main() {"),
            ("spirv", ""),
        ] {
            let args = ["kernels", "show", kernel, "--as", language];
            let out = minoise(&args);
            let told = text(&out.stderr);
            assert!(out.status.success() && told.contains("written: plan 1 of "), "{args:?}: {told}");
            match language {
                "spirv" => assert_eq!(out.stdout[..4], 0x0723_0203u32.to_ne_bytes(), "the magic number"),
                _ => assert!(text(&out.stdout).contains(entry), "{args:?}: {}", text(&out.stdout)),
            }
            let path = dir.path().join(language);
            let out_file = ["--out", path.to_str().expect("a path")];
            assert_eq!(said(minoise(&[&args[..], &out_file].concat())), "");
            assert_eq!(std::fs::read(&path).expect("the file"), out.stdout);
        }
    }
}

/// Without --plan all are listed; with it the one of that number is written.
#[test]
fn show_takes_plans_by_number() {
    let listed = minoise(&["kernels", "show", "layernorm"]);
    let told = text(&listed.stderr);
    let second = told.lines().find_map(|line| line.strip_prefix("plan 2: ")).expect("a second plan");
    let taken = minoise(&["kernels", "show", "layernorm", "--plan", "2"]);
    let told = text(&taken.stderr);
    assert!(told.lines().count() == 2 && told.contains(second), "{told}");
    assert_ne!(taken.stdout, listed.stdout);
    refused(&["kernels", "show", "layernorm", "--plan", "1000"], &["--plan", "layernorm", "no 1000"]);
}

#[test]
fn stats_say_what_is_missing() {
    let told = said(minoise(&["kernels", "stats", "add", "gemm"]));
    assert!(told.lines().last().is_some_and(|line| line.contains("the CPU device has no driver")), "{told}");
    assert!(told.contains("\nadd\n") && told.contains("\ngemm\n"), "{told}");
}

#[test]
fn unknown_kernels_are_refused_with_the_nearest_name() {
    for command in ["show", "stats"] {
        refused(&["kernels", command, "gem"], &["`gem`", "`gemm`", "minoise kernels list"]);
    }
    refused(&["kernels", "list", "--device", "voodoo"], &["voodoo", "cpu"]);
}
