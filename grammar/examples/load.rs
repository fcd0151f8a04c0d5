//! Loads a configuration and prints what is to be said about it: `cargo run -p lbd-grammar --example load -- FILE`.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "printing is what it is for")]

use std::process::ExitCode;

fn main() -> ExitCode {
    let Some(path) = std::env::args_os().nth(1) else {
        eprintln!("usage: load FILE");
        return ExitCode::from(2);
    };
    let started = std::time::Instant::now();
    let loaded = lbd_grammar::load(path.as_ref(), &lbd_grammar::LoadOptions::default());
    let took = started.elapsed();
    for diagnostic in &loaded.diagnostics {
        println!("{}\n", lbd_grammar::render(diagnostic, &loaded.sources, false));
    }
    println!("{} in {took:?}", if loaded.config.is_some() { "loaded" } else { "not loaded" });
    ExitCode::from(lbd_grammar::exit_code(&loaded.diagnostics))
}
