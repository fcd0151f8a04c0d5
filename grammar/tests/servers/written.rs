//! Everything at once, written out and read again.

use lbd_grammar::config::Config;
use lbd_grammar::{Kind, Secrets, dump, load_str};
use proptest::prelude::*;

use super::{config, keywords};

const ALL: &str = r#"
track_file f {
    file /tmp/f
}
bfd_instance b {
    neighbor_ip 10.0.0.9
}
SSL {
    password "two words"
    ca /etc/ca.pem
}
virtual_server_group all {
    10.1.0.1 80
    10.1.0.10-20 80
    10.1.1.0/24
    2001:db8::1-ffff 443
    fwmark 7 inet
    fwmark 8 inet6
}
virtual_server 10.0.0.1 80 {
    delay_loop 2.5
    connect_timeout 0.25
    retry 2
    delay_before_retry 0.000001
    warmup 0
    lb_algo sh
    sh-port
    sh-fallback
    flag-3
    lb_kind TUN type gue port 6080 csum
    persistence_engine sip
    persistence_timeout 50
    persistence_granularity 255.255.255.0
    protocol tcp
    ha_suspend
    smtp_alert
    snmp_name "the web"
    virtualhost www.example.net
    alpha
    omega
    quorum 3
    hysteresis 2
    quorum_up "/bin/up 'a b' \"c d\"" nobody nogroup
    quorum_down /bin/down
    inhibit_on_failure
    weight 5
    sorry_server 2001:db8::9 80
    sorry_server_inhibit
    sorry_server_lvs_method TUN type gre csum
    real_server 10.0.0.2 80 {
        weight 0
        lvs_method DR
        uthreshold 9
        lthreshold 3
        inhibit_on_failure off
        notify_up "/bin/up \x41\$"
        notify_down /bin/down root
        alpha off
        smtp_alert off
        HTTP_GET {
            url {
                path /a?b=c#d
                status_code 200 404 500-599
                digest 000102030405060708090a0b0c0d0e0f
                regex "\\d+ 'x' \"y\" \xff\n$"
                regex_no_match
                regex_options caseless dotall
                regex_min_offset 1
                regex_max_offset 100
                regex_stack 1000 2000
            }
            url {
                path "{!}"
                virtualhost "odd {host}"
            }
            http_protocol 1.1
            fast_recovery
            enable_sni
        }
        SSL_GET {
            url {
                path /
            }
            enable_sni
            tls_compliant
        }
        SSL_GET {
            url {
                path /
            }
            sni_name tls.example.net
            connect_port 443
        }
        MISC_CHECK {
            misc_path "/bin/check '' \\ {}"
            user nobody
            misc_dynamic
        }
        FILE_CHECK {
            track_file f
        }
    }
    real_server 2001:db8::2 {
        retry 7
        SMTP_CHECK {
            helo_name me
            bindto 2001:db8::3
            bind_port 1
            bind_if eth0
            fwmark 9
        }
        DNS_CHECK {
            type MX
            name example.net.
        }
        UDP_CHECK {
            payload 00 f
            require_reply 0X x1 ff
            min_reply_length 1
            max_reply_length 2
        }
        UDP_CHECK {
            require_reply
            connect_ip 10.0.0.7
        }
        PING_CHECK {
            log_all_failures
        }
        BFD_CHECK {
            name b
            alpha
        }
        FILE_CHECK {
            track_file f
            weight 5 reverse
        }
        TCP_CHECK {
        }
    }
}
virtual_server 10.0.0.2 {
    lb_algo rr
    lb_kind DR
    protocol SCTP
    persistence_timeout
    real_server 10.0.0.3 {
        PING_CHECK {
        }
    }
}
virtual_server fwmark 7 {
    lb_algo twos
    lb_kind NAT
    ops
    real_server 2001:db8::2 8080 {
        TCP_CHECK {
            delay_loop 5000.5
        }
    }
}
virtual_server group all {
    lb_algo mh
    mh-port
    lb_kind TUN
    protocol UDP
    persistence_timeout 1
    quorum 2
    real_server 10.0.0.2 {
        MISC_CHECK {
            misc_path /bin/m
        }
    }
    real_server 2001:db8::4 {
    }
}
"#;

#[test]
fn everything_is_read_as_it_was() {
    let all = config("all", ALL, &[]);
    assert_eq!(all.virtual_servers.len(), 4);
    assert_eq!(
        keywords(&all),
        [
            "HTTP_GET",
            "SSL_GET",
            "SSL_GET",
            "MISC_CHECK",
            "FILE_CHECK",
            "SMTP_CHECK",
            "DNS_CHECK",
            "UDP_CHECK",
            "UDP_CHECK",
            "PING_CHECK",
            "BFD_CHECK",
            "FILE_CHECK",
            "TCP_CHECK"
        ]
    );
    // Programs of groups are known too.
    assert!(all.scripts.values().any(|script| script.argv == ["/bin/m"]));
    let masked = dump(&all, Secrets::Masked);
    assert!(!masked.contains("two words"), "{masked}");
}

/// What is tested here of a configuration.
fn of_servers(config: &Config) -> impl PartialEq + std::fmt::Debug + '_ {
    (&config.tls, &config.virtual_server_groups, &config.virtual_servers)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever is left of a damaged text is written out so that it is read as it was.
    #[test]
    fn what_is_left_is_read_as_it_was(
        damage in prop::collection::vec((any::<prop::sample::Index>(), 0..30_usize, "[\"#!\n 0-9a-zA-Z.:/$\\\\'-]{0,3}"), 1..12),
        lines in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let mut text: Vec<&str> = ALL.lines().collect();
        for at in lines {
            // Lines that are gone, but no brace.
            let at = at.index(text.len());
            if !text[at].contains(['{', '}']) {
                text.remove(at);
            }
        }
        let mut text: Vec<char> = text.join("\n").chars().collect();
        for (at, removed, inserted) in damage {
            let at = at.index(text.len() + 1);
            let end = (at..(at + removed).min(text.len())).find(|at| matches!(text[*at], '{' | '}')).unwrap_or((at + removed).min(text.len()));
            text.splice(at..end, inserted.chars());
        }
        let text: String = text.into_iter().collect();
        let loaded = load_str("c", &text);
        if let Some(config) = loaded.config {
            let written = dump(&config, Secrets::Shown);
            let again = load_str("d", &written);
            let lasting = [Kind::Unserved, Kind::Lint];
            let new: Vec<_> = again.diagnostics.iter().filter(|one| !lasting.contains(&one.kind)).collect();
            prop_assert!(new.is_empty(), "{new:#?}\n{written}\nfrom\n{text}");
            let again = again.config.expect("a configuration");
            prop_assert_eq!(of_servers(&again), of_servers(&config), "{}\nfrom\n{}", written, text);
            prop_assert_eq!(dump(&again, Secrets::Shown), written);
        }
    }
}
