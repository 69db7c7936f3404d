//! The fuzzer's program: `./dev fuzz TARGET`.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
mod fuzzer {
    use std::sync::LazyLock;
    use streams_core::fuzzing::{Target, targets};

    static TARGET: LazyLock<Target> = LazyLock::new(|| {
        let name = std::env::var("FUZZ_TARGET").expect("FUZZ_TARGET names what to fuzz");
        let target = targets().into_iter().find(|target| target.name == name);
        target.unwrap_or_else(|| panic!("there is no target {name}"))
    });

    libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
        (TARGET.decode)(bytes);
    });
}

/// `list` prints the targets; `seeds TARGET DIRECTORY` writes what they take there.
#[cfg(not(fuzzing))]
fn main() -> std::process::ExitCode {
    use std::process::ExitCode;
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let targets = streams_core::fuzzing::targets();
    match arguments.as_slice() {
        ["list"] => {
            for target in targets {
                println!("{}", target.name);
            }
            ExitCode::SUCCESS
        }
        ["seeds", name, directory] => {
            let Some(target) = targets.iter().find(|target| target.name == *name) else {
                eprintln!("there is no target {name}");
                return ExitCode::FAILURE;
            };
            for (number, seed) in (target.seeds)().into_iter().enumerate() {
                let path = std::path::Path::new(directory).join(format!("seed-{number}"));
                if let Err(error) = std::fs::write(&path, seed) {
                    eprintln!("{}: {error}", path.display());
                    return ExitCode::FAILURE;
                }
            }
            ExitCode::SUCCESS
        }
        _ => {
            eprintln!("usage: fuzz list | fuzz seeds TARGET DIRECTORY");
            ExitCode::FAILURE
        }
    }
}
