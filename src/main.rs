//! The program `distkv`. All of it lives in the library, where tests reach it; see `cli`.

use std::process::ExitCode;

fn main() -> ExitCode {
    distkv::cli::main()
}
