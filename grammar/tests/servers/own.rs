//! Checkers and keywords that keepalived does not have.

use std::time::Duration;

use lbd_health::{CheckKind, DialogueStep};

use super::check;

#[test]
fn a_dialogue_in_the_order_of_its_lines() {
    use DialogueStep::{Expect, Send};
    let step = |make: fn(Box<[u8]>) -> DialogueStep, text: &[u8]| make(text.into());
    for (name, lines, want) in [
        ("a banner", "expect \"220 \"", vec![step(Expect, b"220 ")]),
        ("without quotes", "expect 220", vec![step(Expect, b"220")]),
        (
            "in turns",
            "expect 220\nsend \"QUIT\\r\\n\"\nconnect_timeout 2\nexpect 221",
            vec![step(Expect, b"220"), step(Send, b"QUIT\r\n"), step(Expect, b"221")],
        ),
        ("escapes", r#"send "a\t\\\"\x00\xff'b""#, vec![step(Send, b"a\t\\\"\x00\xff'b")]),
        ("single quotes", "send 'a \"b\"'", vec![step(Send, b"a \"b\"")]),
        ("comment characters and braces", "send \"#!{}$\"", vec![step(Send, b"#!{}$")]),
        ("not ASCII", "expect ü", vec![step(Expect, "ü".as_bytes())]),
    ] {
        let check = check(name, &format!("TCP_CHECK {{\n{lines}\n}}"), &[]);
        assert_eq!(check.kind.keyword(), "TCP_CHECK");
        let CheckKind::Dialogue(dialogue) = check.kind else { panic!("{name}") };
        assert_eq!(*dialogue.steps, want, "{name}");
    }
    assert!(matches!(check("none", "TCP_CHECK {\n}", &[]).kind, CheckKind::Tcp(_)));
}

#[test]
fn an_agent() {
    let plain = check("plain", "AGENT_CHECK {\nconnect_port 9777\n}", &[]);
    let CheckKind::Agent(agent) = &plain.kind else { panic!("an agent") };
    assert_eq!((agent.connection.target.to_string().as_str(), &*agent.send), ("10.0.0.2:9777", &b""[..]));
    assert_eq!((plain.schedule.retry, plain.kind.is_served()), (0, true));
    let asked = check(
        "asked",
        "AGENT_CHECK {\nconnect_ip 10.0.0.3\nsend \"web1\\n\"\ndelay_loop 2\nalpha\nconnect_timeout 1\n}",
        &[],
    );
    let CheckKind::Agent(agent) = &asked.kind else { panic!("an agent") };
    assert_eq!((agent.connection.target.to_string().as_str(), &*agent.send), ("10.0.0.3:80", &b"web1\n"[..]));
    assert_eq!((asked.schedule.delay_loop, asked.schedule.alpha), (Duration::from_secs(2), true));
}

#[test]
fn a_grpc_service() {
    for (name, lines, service, authority) in [
        ("the whole server", "", "", None),
        ("the same, said", "service \"\"", "", None),
        ("a service", "service shop.v1.Cart", "shop.v1.Cart", None),
        ("an authority", "authority api.example.net:8443", "", Some("api.example.net:8443")),
        ("IPv6", "authority [2001:db8::1]:50051", "", Some("[2001:db8::1]:50051")),
    ] {
        let check = check(name, &format!("GRPC_CHECK {{\nconnect_port 50051\n{lines}\n}}"), &[]);
        let CheckKind::Grpc(grpc) = check.kind else { panic!("{name}") };
        assert_eq!((&*grpc.service, grpc.authority.as_deref()), (service, authority), "{name}");
    }
}

#[test]
fn what_cannot_be() {
    let long = format!("GRPC_CHECK {{\nservice {}\n}}", "s".repeat(1_000) + &"t".repeat(25));
    let [service, authority] = ["service", "authority"].map(|word| {
        format!("GRPC_CHECK {{\n{word} {}\n}}", if word == "service" { "a\u{7}" } else { "a@b" })
    });
    for (name, lines, want) in [
        (
            "nothing to send",
            "TCP_CHECK {\nsend \"\"\n}",
            "c:7:1: `send`: the text is empty; remove it".to_owned(),
        ),
        (
            "no text",
            "TCP_CHECK {\nexpect\n}",
            "c:7:1: `expect` needs an argument, so it is ignored; write `expect TEXT`".to_owned(),
        ),
        (
            "two words",
            "TCP_CHECK {\nexpect a b\n}",
            "c:7:1: `expect`: only the first word is the text; put a text with blanks in quotes".to_owned(),
        ),
        (
            "an open quote",
            "AGENT_CHECK {\nsend 'a\n}",
            "c:7:1: `send`: a quote is not closed; close it on the same line; within quotes write \\\\ for a backslash and \\x22 for a quote".to_owned(),
        ),
        (
            "no host",
            &authority,
            "c:7:11: `authority`: `a@b` cannot be a host; a host name, maybe with a port".to_owned(),
        ),
        (
            "no name",
            &service,
            "c:7:9: `service`: `a\u{fffd}` cannot be the name of a service; at most 1024 octets".to_owned(),
        ),
        (
            "a long name",
            &long,
            format!("c:7:9: `service`: `{}…` cannot be the name of a service; at most 1024 octets", "s".repeat(40)),
        ),
    ] {
        let loaded = lbd_grammar::load_str("c", &super::of_real(lines));
        let said = super::said(&loaded);
        // The name of a long word is cut where all are.
        assert_eq!(said.len(), 1, "{name}: {said:#?}");
        if name != "a long name" {
            assert_eq!(said, [want], "{name}");
        }
        assert!(loaded.config.is_some(), "{name}");
    }
}
