//! Runs the cases of `clients/conformance/cases` and the tests of this crate that need a server, with the
//! servers that the file of the variable CONFORMANCE names. Then nothing may be left open.

mod answer;
mod call;
mod case;
mod left_open;
mod real;
mod servers;

use std::process::ExitCode;
use std::sync::Arc;

use libtest_mimic::{Arguments, Trial};

use servers::Servers;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    let Some(file) = std::env::var_os("CONFORMANCE") else {
        println!("skipped: the cases need their servers; run `make clients LANGS=rust`");
        return ExitCode::SUCCESS;
    };
    // Most cases wait for a server or for a pause to end.
    arguments.test_threads = arguments.test_threads.or(Some(8));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = Arc::new(runtime.expect("a runtime"));
    let servers = Arc::new(Servers::read(&file));
    let before = left_open::sockets();

    let mut trials: Vec<Trial> = servers.trials(&runtime);
    trials.extend(real::trials(&servers, &runtime));
    let conclusion = libtest_mimic::run(&arguments, trials);
    if arguments.list || conclusion.has_failed() {
        return conclusion.exit_code();
    }
    match left_open::check(&runtime, &servers, before) {
        Ok(()) => ExitCode::SUCCESS,
        Err(what) => {
            eprintln!("left open after all tests: {what}");
            ExitCode::FAILURE
        }
    }
}
