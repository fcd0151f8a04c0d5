//! Whatever loads is written out so that reading it gives the same: lines that are long, octets of any kind.

use std::fmt::Write as _;

use lbd_grammar::{Kind, LoadOptions, Secrets, dump, exercise_dump, load_str, load_text, octets};

/// Statements of the only URL of a virtual server, and of its UDP_CHECK.
fn checks(url: &str, udp: &str) -> String {
    format!(
        "virtual_server 10.0.0.1 80 {{\n lb_algo rr\n lb_kind NAT\n protocol UDP\n real_server 10.0.0.2 80 {{\n\
         HTTP_GET {{\nurl {{\n{url}\n}}\n}}\nUDP_CHECK {{\n{udp}\n}}\n}}\n}}\n"
    )
}

#[test]
fn lines_longer_than_the_reader_takes_are_put_together() {
    let codes = (100..600).step_by(2).fold(String::new(), |mut codes, code| {
        let _infallible = write!(codes, " {code}");
        codes
    });
    let odd = "a\\".repeat(450);
    for (name, text, kept) in [
        ("a list", checks(&format!("path /\nstatus_code{codes}"), ""), "598"),
        ("a line that indenting makes long", checks(&format!("path /{}", "a".repeat(1_010)), ""), "aaaa"),
        (
            "a value of several definitions",
            format!("$X=/{}\n{}", "a#b".replace('#', &"c".repeat(800)), checks("path ${X}${X}${X}", "")),
            "cccc",
        ),
        (
            "octets",
            format!(
                "$X={}\n{}",
                "ab".repeat(450),
                checks("path /", "payload ${X}${X}\nrequire_reply ${X}${X}")
            ),
            "abab",
        ),
        ("an escaped pattern", checks(&format!("path /\nregex \"{}\"", "\u{e9}$".repeat(300)), ""), "x24"),
        (
            "a line of a block",
            format!("global_defs {{\nnotification_email {{\n{}@example.com\n}}\n}}\n", "a".repeat(1_005)),
            "aaaa",
        ),
        (
            "blanks, comment characters and backslashes",
            format!("global_defs {{\nstartup_script \"/bin/true {}\"\n}}\n", r"'!#\\    '".repeat(95)),
            "_BANG",
        ),
        ("backslashes", format!("global_defs {{\nrouter_id \"{odd}{}\"\n}}\n", "b".repeat(105)), "bbbb"),
        (
            "the head of a block",
            format!(
                "$N={}\nvrrp_instance ${{N}}p {{\ninterface eth0\nvirtual_router_id 7\nno_virtual_ipaddress\n}}\n",
                "p".repeat(1_015)
            ),
            "pppp",
        ),
    ] {
        exercise_dump(text.as_bytes());
        let loaded = load_str("c", &text);
        let config = loaded.config.expect(name);
        let text = dump(&config, Secrets::Shown);
        assert!(text.contains(kept) && text.contains("${_PART_1}"), "{name}: {text}");
        assert!(text.lines().all(|line| line.len() <= 1_022), "{name}: {text}");
    }
}

#[test]
fn octets_that_are_no_text_are_written_as_they_were() {
    let text = b"global_defs {\nrouter_id a\xff\xfeb\nsmtp_helo_name \xf4\x8f\xbe\x80\n}\n\
        vrrp_script s {\nscript \"/bin/tr\xffue '\xe9 \xf4'\"\n}\nvrrp_instance A {\ninterface eth0\n\
        virtual_router_id 1\nauthentication {\nauth_type PASS\nauth_pass \xff\xe9\xf4\x8f\xbe\x80ab\n}\n\
        virtual_ipaddress {\n10.0.0.1\n}\ntrack_script {\ns\n}\n}\n";
    exercise_dump(text);
    let loaded = load_text("c", text, &LoadOptions::default());
    assert!(
        loaded.diagnostics.iter().all(|one| matches!(one.kind, Kind::Lint | Kind::Unserved)),
        "{:?}",
        loaded.diagnostics
    );
    let written = dump(&loaded.config.expect("it loads"), Secrets::Shown);
    let written = octets(&written);
    for want in [&b"a\xff\xfeb"[..], b"/bin/tr\xffue \xe9\\ \xf4", b"\xff\xe9\xf4\x8f\xbe\x80ab"] {
        assert!(written.windows(want.len()).any(|part| part == want), "{want:?}");
    }
}

/// A line is as long as it is in the file.
#[test]
fn a_long_line_that_is_no_text_is_read() {
    let text = [&b"global_defs {\nrouter_id "[..], &[0xe9; 1_000], b"\n}\n"].concat();
    let loaded = load_text("c", &text, &LoadOptions::default());
    let name = loaded.config.and_then(|config| config.global.router_id).expect("a name");
    assert_eq!(*octets(&name), [0xe9; 1_000]);
    exercise_dump(&text);
}
