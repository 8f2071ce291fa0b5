//! The `minoise` program.

fn main() -> std::process::ExitCode {
    minoise::cli::main()
}
