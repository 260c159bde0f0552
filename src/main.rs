//! The binary: all of it is the library's command line.

fn main() -> std::process::ExitCode {
    tollhouse::cli::main()
}
