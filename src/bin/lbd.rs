//! `lbd`: arguments and exit codes. What it does is in the library.

use std::ffi::OsString;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use lbd::loading::{self, Lints, Place, report};
use lbd::options::{self, ConfigTest, EXIT_FAILED, Options, Request};
use lbd::script::exec_helper;
use lbd::{allocator, daemon};

fn main() -> ExitCode {
    allocator::configure();
    let line: Vec<OsString> = std::env::args_os().collect();
    if let Some((word, rest)) = line.get(1..).and_then(<[OsString]>::split_first)
        && word == exec_helper::WORD
    {
        return exec_helper::main(rest);
    }
    match options::parse(line) {
        Ok(Request::SignalNumber(number)) => print(&format!("{number}\n")),
        Ok(Request::Run(options)) => match options.config_test.clone() {
            Some(target) => config_test(&options, &target),
            None => daemon::run(*options),
        },
        Err(answer) => {
            let _closed_pipe = answer.print();
            ExitCode::from(u8::try_from(answer.exit_code()).unwrap_or(EXIT_FAILED))
        }
    }
}

fn print(text: &str) -> ExitCode {
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::from(EXIT_FAILED),
    }
}

/// `-t`: what is wrong with the configuration, for people to standard error, for programs to standard
/// output, or appended to a file.
fn config_test(options: &Options, target: &ConfigTest) -> ExitCode {
    let path = options.config_path();
    let place = Place::Starting(options.namespace.clone());
    let load = loading::load_options(options.config_id.clone(), options.all_config);
    let checked = loading::check_at(&path, &load, &place);
    let lints = if options.strict { Lints::Count } else { Lints::Shown };
    let text = |styled| match options.json {
        true => report::document(&path, &checked, lints),
        false => checked.render(styled),
    };
    let stderr = std::io::stderr();
    let written = match target {
        ConfigTest::Stderr if options.json => std::io::stdout().write_all(text(false).as_bytes()),
        ConfigTest::Stderr => {
            let styled = stderr.is_terminal() && std::env::var_os("NO_COLOR").is_none();
            stderr.lock().write_all(text(styled).as_bytes())
        }
        ConfigTest::File(path) => loading::append(path, &text(false)).inspect_err(|error| {
            let _closed = writeln!(stderr.lock(), "lbd: {}: {error}", path.display());
        }),
    };
    if written.is_err() {
        return ExitCode::from(EXIT_FAILED);
    }
    ExitCode::from(checked.exit_code(lints))
}
