//! Process 1's duty. A test binary of its own: reaping is for a whole process.

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::Duration;

use indexmap::IndexMap;
use lbd::script::ScriptRoom;
use lbd_grammar::config::{Global, Script};
use lbd_health::{Programs, ScriptOutcome};
use tokio::time::{Instant, sleep};

#[tokio::test]
async fn orphans_are_reaped_and_own_children_are_not_stolen() {
    nix::sys::prctl::set_child_subreaper(true).expect("Linux");
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("fork");
    // Leaves an orphan that ends a moment later, then ends itself.
    std::fs::write(&path, "#!/bin/sh\n(sleep 0.05; exit 9) &\nexit 3\n").expect("written");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("mode");
    let script = Script { argv: vec![path.to_str().expect("UTF-8").to_owned()], user: None };
    let id = script.id();
    let room = Arc::new(ScriptRoom::with_helper(env!("CARGO_BIN_EXE_lbd").into()));
    room.update(&IndexMap::from([(id.clone(), script)]), &Global::default()).await;
    let reaping = room.clone();
    // On a thread of its own, so that it really runs beside the starting of programs.
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(reaping.reap_orphans());
    });
    for _ in 0..5 {
        let runs: Vec<_> = (0..20).map(|_| tokio::spawn(room.run(&id, Duration::from_secs(20)))).collect();
        for run in runs {
            assert_eq!(run.await.expect("no panic"), ScriptOutcome::Exited(3), "status taken by the reaper");
        }
    }
    let deadline = Instant::now() + Duration::from_secs(20);
    while children() > 0 {
        assert!(Instant::now() < deadline, "{} children left", children());
        sleep(Duration::from_millis(10)).await;
    }
}

/// Children of this process, zombies too.
fn children() -> usize {
    let own = std::process::id();
    let tasks = std::fs::read_dir(format!("/proc/{own}/task")).expect("procfs");
    tasks
        .flatten()
        .filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok())
        .map(|list| list.split_whitespace().count())
        .sum()
}
