//! Network namespaces of their own for tests.

use std::future::Future;
use std::process::Command;

use lbd_integration::skip;
use nix::sched::{CloneFlags, unshare};

/// Runs in a network namespace of its own, whose loopback interface is up.
pub(crate) fn in_namespace<F: Future<Output = ()>>(
    name: &'static str,
    test: impl FnOnce() -> F + Send + 'static,
) {
    let thread = std::thread::spawn(move || {
        if let Err(error) = unshare(CloneFlags::CLONE_NEWNET) {
            return skip::report(name, &format!("no network namespace of its own ({error})"));
        }
        ip(&["link", "set", "lo", "up"]);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(test());
    });
    thread.join().expect("the test in the namespace");
}

pub(crate) fn ip(words: &[&str]) {
    assert!(Command::new("ip").args(words).status().expect("iproute2").success(), "{words:?}");
}
