//! Beside Debian's keepalived, what depends on the host: interfaces, users, scripts. What the language
//! alone decides is compared in `grammar/tests/against_keepalived.rs`.

#[path = "../grammar/tests/common/fragments.rs"]
mod fragments;
#[path = "../grammar/tests/common/keepalived.rs"]
mod keepalived;

use keepalived::{Judge, Verdict, judge};
use lbd::loading::{Checked, check};
use lbd_grammar::{Kind, exit_code};

/// Why a fragment may end differently, and how the row of README.md that says so begins.
const REASONS: &[(&str, &str)] = &[
    ("missing-interface", "an interface that does not exist"),
    ("host-scripts", "a script or its user that does not exist"),
    ("ssl-files", "`SSL` block with a file that cannot be used"),
];

#[test]
fn what_the_host_lacks_is_seen_as_keepalived_sees_it() {
    let Some(keepalived) = Judge::new("what_the_host_lacks_is_seen_as_keepalived_sees_it", &["eth0", "eth1"])
    else {
        return;
    };
    let readme = include_str!("../README.md");
    let wrong: Vec<String> = keepalived
        .each(&fragments::host(), |fragment| {
            let folder = tempfile::tempdir().expect("a folder");
            let file = fragment.write(folder.path()).expect("its files");
            let theirs = judge(&file, None, folder.path());
            let ours = check(&file, &Default::default());
            if let Some(reason) = &fragment.differs {
                let row = REASONS.iter().find(|(known, _)| known == reason).map(|(_, row)| *row);
                let row = row.unwrap_or_else(|| panic!("{reason} has no row"));
                assert!(
                    readme.contains(&format!("\n| {row} |")),
                    "README.md has no row that begins with {row}"
                );
            }
            let differs = theirs.verdict != verdict(&ours);
            (differs != fragment.differs.is_some()).then(|| {
                format!("{}: {theirs:?}, lbd {:?}\n{}", fragment.name, verdict(&ours), ours.render(false))
            })
        })
        .into_iter()
        .flatten()
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What lbd makes of it, apart from what it understands and does not serve yet.
fn verdict(checked: &Checked) -> Verdict {
    let mut diagnostics = checked.diagnostics.clone();
    diagnostics.retain(|one| one.kind != Kind::Unserved);
    match exit_code(&diagnostics) {
        0 => Verdict::Accepted,
        3 => Verdict::Refused,
        _ => Verdict::Repaired,
    }
}
