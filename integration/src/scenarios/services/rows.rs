//! What is configured, and the rules that the kernel is to have then: worked out by hand, as `ipvsadm -S` writes them.

/// A virtual server, once and after a reload that changes it in place.
pub struct Row {
    /// What it is about.
    pub name: &'static str,
    /// Its block, `;` for the end of a line.
    pub first: &'static str,
    /// The rules of it.
    pub rules: &'static [&'static str],
    /// Its block in the file that is reloaded.
    pub second: &'static str,
    /// The rules of that.
    pub then: &'static [&'static str],
}

/// Rows that keepalived 2.2.7 leaves as they were at a reload.
pub const LEFT: [&str; 2] =
    ["thresholds come, change and go", "a sorry server that waits with weight 0, by a method of its own"];

/// All of them; no two have a service in common.
pub const ROWS: &[Row] = &[
    Row {
        name: "rr to wrr, weight 1 to 65536, NAT to another port",
        first: "virtual_server 10.9.0.1 80 { protocol TCP; lb_algo rr; lb_kind NAT; real_server 10.1.0.1 8080 { weight 1 } }",
        rules: &["-A -t 10.9.0.1:80 -s rr", "-a -t 10.9.0.1:80 -r 10.1.0.1:8080 -m -w 1"],
        second: "virtual_server 10.9.0.1 80 { protocol TCP; lb_algo wrr; lb_kind NAT; real_server 10.1.0.1 8080 { weight 65536 } }",
        then: &["-A -t 10.9.0.1:80 -s wrr", "-a -t 10.9.0.1:80 -r 10.1.0.1:8080 -m -w 65536"],
    },
    Row {
        name: "wrr to lc, weights 65536 and 0 change places",
        first: "virtual_server 10.9.0.2 80 { protocol TCP; lb_algo wrr; lb_kind NAT; \
                real_server 10.1.0.1 80 { weight 65536 } real_server 10.1.0.2 80 { weight 0 } }",
        rules: &[
            "-A -t 10.9.0.2:80 -s wrr",
            "-a -t 10.9.0.2:80 -r 10.1.0.1:80 -m -w 65536",
            "-a -t 10.9.0.2:80 -r 10.1.0.2:80 -m -w 0",
        ],
        second: "virtual_server 10.9.0.2 80 { protocol TCP; lb_algo lc; lb_kind NAT; \
                 real_server 10.1.0.1 80 { weight 0 } real_server 10.1.0.2 80 { weight 65536 } }",
        then: &[
            "-A -t 10.9.0.2:80 -s lc",
            "-a -t 10.9.0.2:80 -r 10.1.0.1:80 -m -w 0",
            "-a -t 10.9.0.2:80 -r 10.1.0.2:80 -m -w 65536",
        ],
    },
    Row {
        name: "lc to wlc, weight 1 to the highest",
        first: "virtual_server 10.9.0.3 80 { protocol TCP; lb_algo lc; lb_kind DR; real_server 10.1.0.1 80 { weight 1 } }",
        rules: &["-A -t 10.9.0.3:80 -s lc", "-a -t 10.9.0.3:80 -r 10.1.0.1:80 -g -w 1"],
        second: "virtual_server 10.9.0.3 80 { protocol TCP; lb_algo wlc; lb_kind DR; real_server 10.1.0.1 80 { weight 2147483647 } }",
        then: &["-A -t 10.9.0.3:80 -s wlc", "-a -t 10.9.0.3:80 -r 10.1.0.1:80 -g -w 2147483647"],
    },
    Row {
        name: "wlc to lblc, DR to TUN",
        first: "virtual_server 10.9.0.4 80 { protocol TCP; lb_algo wlc; lb_kind DR; real_server 10.1.0.1 80 { } }",
        rules: &["-A -t 10.9.0.4:80 -s wlc", "-a -t 10.9.0.4:80 -r 10.1.0.1:80 -g -w 1"],
        second: "virtual_server 10.9.0.4 80 { protocol TCP; lb_algo lblc; lb_kind TUN; real_server 10.1.0.1 80 { } }",
        then: &["-A -t 10.9.0.4:80 -s lblc", "-a -t 10.9.0.4:80 -r 10.1.0.1:80 -i -w 1 --tun-type ipip"],
    },
    Row {
        name: "lblc to lblcr, TUN to NAT",
        first: "virtual_server 10.9.0.5 80 { protocol TCP; lb_algo lblc; lb_kind TUN; real_server 10.1.0.1 80 { } }",
        rules: &["-A -t 10.9.0.5:80 -s lblc", "-a -t 10.9.0.5:80 -r 10.1.0.1:80 -i -w 1 --tun-type ipip"],
        second: "virtual_server 10.9.0.5 80 { protocol TCP; lb_algo lblcr; lb_kind NAT; real_server 10.1.0.1 80 { } }",
        then: &["-A -t 10.9.0.5:80 -s lblcr", "-a -t 10.9.0.5:80 -r 10.1.0.1:80 -m -w 1"],
    },
    Row {
        name: "lblcr to sed, NAT to DR",
        first: "virtual_server 10.9.0.6 80 { protocol TCP; lb_algo lblcr; lb_kind NAT; real_server 10.1.0.1 80 { } }",
        rules: &["-A -t 10.9.0.6:80 -s lblcr", "-a -t 10.9.0.6:80 -r 10.1.0.1:80 -m -w 1"],
        second: "virtual_server 10.9.0.6 80 { protocol TCP; lb_algo sed; lb_kind DR; real_server 10.1.0.1 80 { } }",
        then: &["-A -t 10.9.0.6:80 -s sed", "-a -t 10.9.0.6:80 -r 10.1.0.1:80 -g -w 1"],
    },
    Row {
        name: "sed to nq",
        first: "virtual_server 10.9.0.7 80 { protocol TCP; lb_algo sed; lb_kind DR; real_server 10.1.0.1 80 { } }",
        rules: &["-A -t 10.9.0.7:80 -s sed", "-a -t 10.9.0.7:80 -r 10.1.0.1:80 -g -w 1"],
        second: "virtual_server 10.9.0.7 80 { protocol TCP; lb_algo nq; lb_kind DR; real_server 10.1.0.1 80 { } }",
        then: &["-A -t 10.9.0.7:80 -s nq", "-a -t 10.9.0.7:80 -r 10.1.0.1:80 -g -w 1"],
    },
    Row {
        name: "nq to fo",
        first: "virtual_server 10.9.0.8 80 { protocol TCP; lb_algo nq; lb_kind DR; real_server 10.1.0.1 80 { } }",
        rules: &["-A -t 10.9.0.8:80 -s nq", "-a -t 10.9.0.8:80 -r 10.1.0.1:80 -g -w 1"],
        second: "virtual_server 10.9.0.8 80 { protocol TCP; lb_algo fo; lb_kind DR; real_server 10.1.0.1 80 { } }",
        then: &["-A -t 10.9.0.8:80 -s fo", "-a -t 10.9.0.8:80 -r 10.1.0.1:80 -g -w 1"],
    },
    Row {
        name: "fo to ovf",
        first: "virtual_server 10.9.0.9 80 { protocol TCP; lb_algo fo; lb_kind DR; real_server 10.1.0.1 80 { } }",
        rules: &["-A -t 10.9.0.9:80 -s fo", "-a -t 10.9.0.9:80 -r 10.1.0.1:80 -g -w 1"],
        second: "virtual_server 10.9.0.9 80 { protocol TCP; lb_algo ovf; lb_kind DR; real_server 10.1.0.1 80 { } }",
        then: &["-A -t 10.9.0.9:80 -s ovf", "-a -t 10.9.0.9:80 -r 10.1.0.1:80 -g -w 1"],
    },
    Row {
        name: "ovf to dh",
        first: "virtual_server 10.9.0.10 80 { protocol TCP; lb_algo ovf; lb_kind DR; real_server 10.1.0.1 80 { } }",
        rules: &["-A -t 10.9.0.10:80 -s ovf", "-a -t 10.9.0.10:80 -r 10.1.0.1:80 -g -w 1"],
        second: "virtual_server 10.9.0.10 80 { protocol TCP; lb_algo dh; lb_kind DR; real_server 10.1.0.1 80 { } }",
        then: &["-A -t 10.9.0.10:80 -s dh", "-a -t 10.9.0.10:80 -r 10.1.0.1:80 -g -w 1"],
    },
    Row {
        name: "dh to sh with a flag",
        first: "virtual_server 10.9.0.11 80 { protocol TCP; lb_algo dh; lb_kind DR; real_server 10.1.0.1 80 { } }",
        rules: &["-A -t 10.9.0.11:80 -s dh", "-a -t 10.9.0.11:80 -r 10.1.0.1:80 -g -w 1"],
        second: "virtual_server 10.9.0.11 80 { protocol TCP; lb_algo sh; sh-port; lb_kind DR; real_server 10.1.0.1 80 { } }",
        then: &["-A -t 10.9.0.11:80 -s sh -b sh-port", "-a -t 10.9.0.11:80 -r 10.1.0.1:80 -g -w 1"],
    },
    Row {
        name: "sh with both its flags to mh with both its own",
        first: "virtual_server 10.9.0.12 80 { protocol TCP; lb_algo sh; sh-port; sh-fallback; lb_kind DR; real_server 10.1.0.1 80 { } }",
        rules: &[
            "-A -t 10.9.0.12:80 -s sh -b sh-fallback,sh-port",
            "-a -t 10.9.0.12:80 -r 10.1.0.1:80 -g -w 1",
        ],
        second: "virtual_server 10.9.0.12 80 { protocol TCP; lb_algo mh; mh-port; mh-fallback; lb_kind DR; real_server 10.1.0.1 80 { weight 2 } }",
        then: &[
            "-A -t 10.9.0.12:80 -s mh -b mh-fallback,mh-port",
            "-a -t 10.9.0.12:80 -r 10.1.0.1:80 -g -w 2",
        ],
    },
    Row {
        name: "mh to rr, its flag goes",
        first: "virtual_server 10.9.0.13 80 { protocol TCP; lb_algo mh; mh-port; lb_kind DR; real_server 10.1.0.1 80 { } }",
        rules: &["-A -t 10.9.0.13:80 -s mh -b mh-port", "-a -t 10.9.0.13:80 -r 10.1.0.1:80 -g -w 1"],
        second: "virtual_server 10.9.0.13 80 { protocol TCP; lb_algo rr; lb_kind DR; real_server 10.1.0.1 80 { } }",
        then: &["-A -t 10.9.0.13:80 -s rr", "-a -t 10.9.0.13:80 -r 10.1.0.1:80 -g -w 1"],
    },
    Row {
        name: "sh-port to sh-fallback",
        first: "virtual_server 10.9.0.14 80 { protocol TCP; lb_algo sh; sh-port; lb_kind DR; real_server 10.1.0.1 80 { } }",
        rules: &["-A -t 10.9.0.14:80 -s sh -b sh-port", "-a -t 10.9.0.14:80 -r 10.1.0.1:80 -g -w 1"],
        second: "virtual_server 10.9.0.14 80 { protocol TCP; lb_algo sh; sh-fallback; lb_kind DR; real_server 10.1.0.1 80 { } }",
        then: &["-A -t 10.9.0.14:80 -s sh -b sh-fallback", "-a -t 10.9.0.14:80 -r 10.1.0.1:80 -g -w 1"],
    },
    Row {
        name: "mh-fallback to flags by number: 1 is fallback, 2 is port",
        first: "virtual_server 10.9.0.15 80 { protocol TCP; lb_algo mh; mh-fallback; lb_kind DR; real_server 10.1.0.1 80 { } }",
        rules: &["-A -t 10.9.0.15:80 -s mh -b mh-fallback", "-a -t 10.9.0.15:80 -r 10.1.0.1:80 -g -w 1"],
        second: "virtual_server 10.9.0.15 80 { protocol TCP; lb_algo mh; flag-1; flag-2; lb_kind DR; real_server 10.1.0.1 80 { } }",
        then: &[
            "-A -t 10.9.0.15:80 -s mh -b mh-fallback,mh-port",
            "-a -t 10.9.0.15:80 -r 10.1.0.1:80 -g -w 1",
        ],
    },
    Row {
        name: "all flags to one",
        first: "virtual_server 10.9.0.16 80 { protocol TCP; lb_algo rr; flag-1; flag-2; flag-3; lb_kind DR; real_server 10.1.0.1 80 { } }",
        rules: &[
            "-A -t 10.9.0.16:80 -s rr -b flag-1,flag-2,flag-3",
            "-a -t 10.9.0.16:80 -r 10.1.0.1:80 -g -w 1",
        ],
        second: "virtual_server 10.9.0.16 80 { protocol TCP; lb_algo rr; flag-3; lb_kind DR; real_server 10.1.0.1 80 { } }",
        then: &["-A -t 10.9.0.16:80 -s rr -b flag-3", "-a -t 10.9.0.16:80 -r 10.1.0.1:80 -g -w 1"],
    },
    Row {
        name: "one flag to the two others",
        first: "virtual_server 10.9.0.17 80 { protocol TCP; lb_algo rr; flag-3; lb_kind DR; real_server 10.1.0.1 80 { } }",
        rules: &["-A -t 10.9.0.17:80 -s rr -b flag-3", "-a -t 10.9.0.17:80 -r 10.1.0.1:80 -g -w 1"],
        second: "virtual_server 10.9.0.17 80 { protocol TCP; lb_algo rr; flag-1; flag-2; lb_kind DR; real_server 10.1.0.1 80 { } }",
        then: &["-A -t 10.9.0.17:80 -s rr -b flag-1,flag-2", "-a -t 10.9.0.17:80 -r 10.1.0.1:80 -g -w 1"],
    },
    Row {
        name: "persistent from now on",
        first: "virtual_server 10.9.0.18 80 { protocol TCP; lb_algo rr; lb_kind DR; real_server 10.1.0.1 80 { } }",
        rules: &["-A -t 10.9.0.18:80 -s rr", "-a -t 10.9.0.18:80 -r 10.1.0.1:80 -g -w 1"],
        second: "virtual_server 10.9.0.18 80 { protocol TCP; lb_algo rr; lb_kind DR; persistence_timeout 60; real_server 10.1.0.1 80 { } }",
        then: &["-A -t 10.9.0.18:80 -s rr -p 60", "-a -t 10.9.0.18:80 -r 10.1.0.1:80 -g -w 1"],
    },
    Row {
        name: "persistent without a number, then no longer",
        first: "virtual_server 10.9.0.19 80 { protocol TCP; lb_algo rr; lb_kind DR; persistence_timeout; real_server 10.1.0.1 80 { } }",
        rules: &["-A -t 10.9.0.19:80 -s rr -p 360", "-a -t 10.9.0.19:80 -r 10.1.0.1:80 -g -w 1"],
        second: "virtual_server 10.9.0.19 80 { protocol TCP; lb_algo rr; lb_kind DR; real_server 10.1.0.1 80 { } }",
        then: &["-A -t 10.9.0.19:80 -s rr", "-a -t 10.9.0.19:80 -r 10.1.0.1:80 -g -w 1"],
    },
    Row {
        name: "another time and a wider mask",
        first: "virtual_server 10.9.0.20 80 { protocol TCP; lb_algo rr; lb_kind DR; persistence_timeout 60; \
                persistence_granularity 255.255.255.0; real_server 10.1.0.1 80 { } }",
        rules: &[
            "-A -t 10.9.0.20:80 -s rr -p 60 -M 255.255.255.0",
            "-a -t 10.9.0.20:80 -r 10.1.0.1:80 -g -w 1",
        ],
        second: "virtual_server 10.9.0.20 80 { protocol TCP; lb_algo rr; lb_kind DR; persistence_timeout 2678400; \
                 persistence_granularity 255.255.0.0; real_server 10.1.0.1 80 { } }",
        then: &[
            "-A -t 10.9.0.20:80 -s rr -p 2678400 -M 255.255.0.0",
            "-a -t 10.9.0.20:80 -r 10.1.0.1:80 -g -w 1",
        ],
    },
    Row {
        name: "a mask makes persistent, and goes",
        first: "virtual_server 10.9.0.21 80 { protocol TCP; lb_algo rr; lb_kind DR; \
                persistence_granularity 255.255.255.0; real_server 10.1.0.1 80 { } }",
        rules: &[
            "-A -t 10.9.0.21:80 -s rr -p 360 -M 255.255.255.0",
            "-a -t 10.9.0.21:80 -r 10.1.0.1:80 -g -w 1",
        ],
        second: "virtual_server 10.9.0.21 80 { protocol TCP; lb_algo rr; lb_kind DR; persistence_timeout 100; real_server 10.1.0.1 80 { } }",
        then: &["-A -t 10.9.0.21:80 -s rr -p 100", "-a -t 10.9.0.21:80 -r 10.1.0.1:80 -g -w 1"],
    },
    Row {
        name: "IPv6: prefix 64 to 48",
        first: "virtual_server fd09::22 80 { protocol TCP; lb_algo rr; lb_kind DR; persistence_timeout 60; \
                persistence_granularity 64; real_server fd01::1 80 { } }",
        rules: &["-A -t [fd09::22]:80 -s rr -p 60 -M 64", "-a -t [fd09::22]:80 -r [fd01::1]:80 -g -w 1"],
        second: "virtual_server fd09::22 80 { protocol TCP; lb_algo wrr; lb_kind NAT; persistence_timeout 60; \
                 persistence_granularity 48; real_server fd01::1 80 { weight 3 } }",
        then: &["-A -t [fd09::22]:80 -s wrr -p 60 -M 48", "-a -t [fd09::22]:80 -r [fd01::1]:80 -m -w 3"],
    },
    Row {
        name: "IPv6: the whole address, then its first bit",
        first: "virtual_server fd09::23 80 { protocol TCP; lb_algo rr; lb_kind DR; persistence_timeout 60; real_server fd01::1 80 { } }",
        rules: &["-A -t [fd09::23]:80 -s rr -p 60", "-a -t [fd09::23]:80 -r [fd01::1]:80 -g -w 1"],
        second: "virtual_server fd09::23 80 { protocol TCP; lb_algo rr; lb_kind DR; persistence_timeout 60; \
                 persistence_granularity 1; real_server fd01::1 80 { } }",
        then: &["-A -t [fd09::23]:80 -s rr -p 60 -M 1", "-a -t [fd09::23]:80 -r [fd01::1]:80 -g -w 1"],
    },
    Row {
        name: "SIP's engine, then without",
        first: "virtual_server 10.9.0.24 5060 { protocol UDP; lb_algo rr; lb_kind DR; persistence_timeout 60; \
                persistence_engine sip; real_server 10.1.0.1 5060 { } }",
        rules: &[
            "-A -u 10.9.0.24:5060 -s rr -p 60 --pe sip",
            "-a -u 10.9.0.24:5060 -r 10.1.0.1:5060 -g -w 1",
        ],
        second: "virtual_server 10.9.0.24 5060 { protocol UDP; lb_algo rr; lb_kind DR; persistence_timeout 60; real_server 10.1.0.1 5060 { } }",
        then: &["-A -u 10.9.0.24:5060 -s rr -p 60", "-a -u 10.9.0.24:5060 -r 10.1.0.1:5060 -g -w 1"],
    },
    Row {
        name: "without an engine, then with SIP's and a mask",
        first: "virtual_server 10.9.0.25 5060 { protocol UDP; lb_algo rr; lb_kind NAT; persistence_timeout 60; real_server 10.1.0.1 5062 { } }",
        rules: &["-A -u 10.9.0.25:5060 -s rr -p 60", "-a -u 10.9.0.25:5060 -r 10.1.0.1:5062 -m -w 1"],
        second: "virtual_server 10.9.0.25 5060 { protocol UDP; lb_algo rr; lb_kind NAT; persistence_timeout 70; \
                 persistence_engine sip; persistence_granularity 255.0.0.0; real_server 10.1.0.1 5062 { } }",
        then: &[
            "-A -u 10.9.0.25:5060 -s rr -p 70 -M 255.0.0.0 --pe sip",
            "-a -u 10.9.0.25:5060 -r 10.1.0.1:5062 -m -w 1",
        ],
    },
    Row {
        name: "one-packet scheduling, then without",
        first: "virtual_server 10.9.0.26 53 { protocol UDP; lb_algo rr; ops; lb_kind DR; real_server 10.1.0.1 53 { } }",
        rules: &["-A -u 10.9.0.26:53 -s rr -o", "-a -u 10.9.0.26:53 -r 10.1.0.1:53 -g -w 1"],
        second: "virtual_server 10.9.0.26 53 { protocol UDP; lb_algo rr; lb_kind DR; real_server 10.1.0.1 53 { } }",
        then: &["-A -u 10.9.0.26:53 -s rr", "-a -u 10.9.0.26:53 -r 10.1.0.1:53 -g -w 1"],
    },
    Row {
        name: "IPv6: one-packet scheduling from now on",
        first: "virtual_server fd09::27 53 { protocol UDP; lb_algo rr; lb_kind DR; real_server fd01::1 53 { } }",
        rules: &["-A -u [fd09::27]:53 -s rr", "-a -u [fd09::27]:53 -r [fd01::1]:53 -g -w 1"],
        second: "virtual_server fd09::27 53 { protocol UDP; lb_algo rr; ops; lb_kind DR; real_server fd01::1 53 { } }",
        then: &["-A -u [fd09::27]:53 -s rr -o", "-a -u [fd09::27]:53 -r [fd01::1]:53 -g -w 1"],
    },
    Row {
        name: "every port",
        first: "virtual_server 10.9.0.28 { protocol TCP; lb_algo rr; lb_kind DR; persistence_timeout 60; real_server 10.1.0.1 { } }",
        rules: &["-A -t 10.9.0.28:0 -s rr -p 60", "-a -t 10.9.0.28:0 -r 10.1.0.1:0 -g -w 1"],
        second: "virtual_server 10.9.0.28 { protocol TCP; lb_algo wlc; lb_kind NAT; persistence_timeout 61; real_server 10.1.0.1 { } }",
        then: &["-A -t 10.9.0.28:0 -s wlc -p 61", "-a -t 10.9.0.28:0 -r 10.1.0.1:0 -m -w 1"],
    },
    Row {
        name: "a mark of both families: IPv4",
        first: "virtual_server fwmark 7 { ip_family inet; lb_algo rr; lb_kind DR; real_server 10.1.0.1 { } }",
        rules: &["-A -f 7 -s rr", "-a -f 7 -r 10.1.0.1:0 -g -w 1"],
        second: "virtual_server fwmark 7 { ip_family inet; lb_algo wlc; lb_kind TUN; persistence_timeout 60; real_server 10.1.0.1 { } }",
        then: &["-A -f 7 -s wlc -p 60", "-a -f 7 -r 10.1.0.1:0 -i -w 1 --tun-type ipip"],
    },
    Row {
        name: "a mark of both families: IPv6",
        first: "virtual_server fwmark 7 { ip_family inet6; lb_algo wlc; lb_kind DR; persistence_timeout 60; \
                persistence_granularity 64; real_server fd01::1 { } }",
        rules: &["-A -f 7 -6 -s wlc -p 60 -M 64", "-a -f 7 -6 -r [fd01::1]:0 -g -w 1"],
        second: "virtual_server fwmark 7 { ip_family inet6; lb_algo rr; lb_kind DR; real_server fd01::1 { weight 9 } }",
        then: &["-A -f 7 -6 -s rr", "-a -f 7 -6 -r [fd01::1]:0 -g -w 9"],
    },
    Row {
        name: "the highest mark, which ipvsadm writes as -1; one-packet, NAT to a port",
        first: "virtual_server fwmark 4294967295 { lb_algo rr; ops; lb_kind NAT; real_server 10.1.0.1 53 { } }",
        rules: &["-A -f -1 -s rr -o", "-a -f -1 -r 10.1.0.1:53 -m -w 1"],
        second: "virtual_server fwmark 4294967295 { lb_algo wrr; lb_kind NAT; real_server 10.1.0.1 53 { weight 5 } }",
        then: &["-A -f -1 -s wrr", "-a -f -1 -r 10.1.0.1:53 -m -w 5"],
    },
    Row {
        name: "SCTP",
        first: "virtual_server 10.9.0.32 3868 { protocol SCTP; lb_algo rr; lb_kind NAT; real_server 10.1.0.1 3868 { } }",
        rules: &[
            "-A --sctp-service 10.9.0.32:3868 -s rr",
            "-a --sctp-service 10.9.0.32:3868 -r 10.1.0.1:3868 -m -w 1",
        ],
        second: "virtual_server 10.9.0.32 3868 { protocol SCTP; lb_algo sh; lb_kind DR; persistence_timeout 60; real_server 10.1.0.1 3868 { } }",
        then: &[
            "-A --sctp-service 10.9.0.32:3868 -s sh -p 60",
            "-a --sctp-service 10.9.0.32:3868 -r 10.1.0.1:3868 -g -w 1",
        ],
    },
    Row {
        name: "IPv6: SCTP",
        first: "virtual_server fd09::33 3868 { protocol SCTP; lb_algo wlc; lb_kind DR; real_server fd01::1 3868 { } }",
        rules: &[
            "-A --sctp-service [fd09::33]:3868 -s wlc",
            "-a --sctp-service [fd09::33]:3868 -r [fd01::1]:3868 -g -w 1",
        ],
        second: "virtual_server fd09::33 3868 { protocol SCTP; lb_algo wlc; lb_kind DR; real_server fd01::1 3868 { weight 4 } }",
        then: &[
            "-A --sctp-service [fd09::33]:3868 -s wlc",
            "-a --sctp-service [fd09::33]:3868 -r [fd01::1]:3868 -g -w 4",
        ],
    },
    Row {
        name: "thresholds come, change and go",
        first: "virtual_server 10.9.0.34 80 { protocol TCP; lb_algo rr; lb_kind DR; \
                real_server 10.1.0.1 80 { } \
                real_server 10.1.0.2 80 { uthreshold 10; lthreshold 5 } \
                real_server 10.1.0.3 80 { uthreshold 4294967295 } \
                real_server 10.1.0.4 80 { uthreshold 7; lthreshold 7 } }",
        rules: &[
            "-A -t 10.9.0.34:80 -s rr",
            "-a -t 10.9.0.34:80 -r 10.1.0.1:80 -g -w 1",
            "-a -t 10.9.0.34:80 -r 10.1.0.2:80 -g -w 1 -x 10 -y 5",
            "-a -t 10.9.0.34:80 -r 10.1.0.3:80 -g -w 1 -x 4294967295 -y 0",
            "-a -t 10.9.0.34:80 -r 10.1.0.4:80 -g -w 1 -x 7 -y 7",
        ],
        second: "virtual_server 10.9.0.34 80 { protocol TCP; lb_algo rr; lb_kind DR; \
                 real_server 10.1.0.1 80 { uthreshold 10; lthreshold 5 } \
                 real_server 10.1.0.2 80 { uthreshold 10 } \
                 real_server 10.1.0.3 80 { uthreshold 1; lthreshold 1 } \
                 real_server 10.1.0.4 80 { } }",
        then: &[
            "-A -t 10.9.0.34:80 -s rr",
            "-a -t 10.9.0.34:80 -r 10.1.0.1:80 -g -w 1 -x 10 -y 5",
            "-a -t 10.9.0.34:80 -r 10.1.0.2:80 -g -w 1 -x 10 -y 0",
            "-a -t 10.9.0.34:80 -r 10.1.0.3:80 -g -w 1 -x 1 -y 1",
            "-a -t 10.9.0.34:80 -r 10.1.0.4:80 -g -w 1",
        ],
    },
    Row {
        name: "every kind of tunnel, each becomes another",
        first: "virtual_server 10.9.0.35 80 { protocol TCP; lb_algo rr; lb_kind TUN type gue port 5555; \
                real_server 10.1.0.1 80 { lvs_method TUN } \
                real_server 10.1.0.2 80 { lvs_method TUN type ipip } \
                real_server 10.1.0.3 80 { } \
                real_server 10.1.0.4 80 { lvs_method TUN type gue port 1 nocsum } \
                real_server 10.1.0.5 80 { lvs_method TUN type gue port 65535 csum } \
                real_server 10.1.0.6 80 { lvs_method TUN type gue port 6080 remcsum } \
                real_server 10.1.0.7 80 { lvs_method TUN type gre } \
                real_server 10.1.0.8 80 { lvs_method TUN type gre nocsum } \
                real_server 10.1.0.9 80 { lvs_method TUN type gre csum } }",
        rules: &[
            "-A -t 10.9.0.35:80 -s rr",
            "-a -t 10.9.0.35:80 -r 10.1.0.1:80 -i -w 1 --tun-type ipip",
            "-a -t 10.9.0.35:80 -r 10.1.0.2:80 -i -w 1 --tun-type ipip",
            "-a -t 10.9.0.35:80 -r 10.1.0.3:80 -i -w 1 --tun-type gue --tun-port 5555 --tun-nocsum",
            "-a -t 10.9.0.35:80 -r 10.1.0.4:80 -i -w 1 --tun-type gue --tun-port 1 --tun-nocsum",
            "-a -t 10.9.0.35:80 -r 10.1.0.5:80 -i -w 1 --tun-type gue --tun-port 65535 --tun-csum",
            "-a -t 10.9.0.35:80 -r 10.1.0.6:80 -i -w 1 --tun-type gue --tun-port 6080 --tun-remcsum",
            "-a -t 10.9.0.35:80 -r 10.1.0.7:80 -i -w 1 --tun-type gre --tun-nocsum",
            "-a -t 10.9.0.35:80 -r 10.1.0.8:80 -i -w 1 --tun-type gre --tun-nocsum",
            "-a -t 10.9.0.35:80 -r 10.1.0.9:80 -i -w 1 --tun-type gre --tun-csum",
        ],
        second: "virtual_server 10.9.0.35 80 { protocol TCP; lb_algo rr; lb_kind TUN type gre csum; \
                 real_server 10.1.0.1 80 { lvs_method TUN type gue port 5555 csum } \
                 real_server 10.1.0.2 80 { } \
                 real_server 10.1.0.3 80 { lvs_method TUN } \
                 real_server 10.1.0.4 80 { lvs_method TUN type gue port 2 nocsum } \
                 real_server 10.1.0.5 80 { lvs_method TUN type gue port 65535 remcsum } \
                 real_server 10.1.0.6 80 { lvs_method TUN type gue port 6080 csum } \
                 real_server 10.1.0.7 80 { lvs_method TUN type gre csum } \
                 real_server 10.1.0.8 80 { lvs_method DR } \
                 real_server 10.1.0.9 80 { lvs_method TUN type gre nocsum } }",
        then: &[
            "-A -t 10.9.0.35:80 -s rr",
            "-a -t 10.9.0.35:80 -r 10.1.0.1:80 -i -w 1 --tun-type gue --tun-port 5555 --tun-csum",
            "-a -t 10.9.0.35:80 -r 10.1.0.2:80 -i -w 1 --tun-type gre --tun-csum",
            "-a -t 10.9.0.35:80 -r 10.1.0.3:80 -i -w 1 --tun-type ipip",
            "-a -t 10.9.0.35:80 -r 10.1.0.4:80 -i -w 1 --tun-type gue --tun-port 2 --tun-nocsum",
            "-a -t 10.9.0.35:80 -r 10.1.0.5:80 -i -w 1 --tun-type gue --tun-port 65535 --tun-remcsum",
            "-a -t 10.9.0.35:80 -r 10.1.0.6:80 -i -w 1 --tun-type gue --tun-port 6080 --tun-csum",
            "-a -t 10.9.0.35:80 -r 10.1.0.7:80 -i -w 1 --tun-type gre --tun-csum",
            "-a -t 10.9.0.35:80 -r 10.1.0.8:80 -g -w 1",
            "-a -t 10.9.0.35:80 -r 10.1.0.9:80 -i -w 1 --tun-type gre --tun-nocsum",
        ],
    },
    Row {
        name: "IPv6: tunnels",
        first: "virtual_server fd09::36 80 { protocol TCP; lb_algo rr; lb_kind TUN; \
                real_server fd01::1 80 { } \
                real_server fd01::2 80 { lvs_method TUN type gue port 5555 csum } \
                real_server fd01::3 80 { lvs_method TUN type gre } }",
        rules: &[
            "-A -t [fd09::36]:80 -s rr",
            "-a -t [fd09::36]:80 -r [fd01::1]:80 -i -w 1 --tun-type ipip",
            "-a -t [fd09::36]:80 -r [fd01::2]:80 -i -w 1 --tun-type gue --tun-port 5555 --tun-csum",
            "-a -t [fd09::36]:80 -r [fd01::3]:80 -i -w 1 --tun-type gre --tun-nocsum",
        ],
        second: "virtual_server fd09::36 80 { protocol TCP; lb_algo rr; lb_kind TUN type gre csum; \
                 real_server fd01::1 80 { } \
                 real_server fd01::2 80 { lvs_method TUN } \
                 real_server fd01::3 80 { lvs_method TUN type gue port 5555 remcsum } }",
        then: &[
            "-A -t [fd09::36]:80 -s rr",
            "-a -t [fd09::36]:80 -r [fd01::1]:80 -i -w 1 --tun-type gre --tun-csum",
            "-a -t [fd09::36]:80 -r [fd01::2]:80 -i -w 1 --tun-type ipip",
            "-a -t [fd09::36]:80 -r [fd01::3]:80 -i -w 1 --tun-type gue --tun-port 5555 --tun-remcsum",
        ],
    },
    Row {
        name: "IPv4 by servers of both families",
        first: "virtual_server 10.9.0.37 80 { protocol TCP; lb_algo rr; lb_kind TUN; \
                real_server fd01::1 80 { } real_server 10.1.0.1 80 { weight 2 } }",
        rules: &[
            "-A -t 10.9.0.37:80 -s rr",
            "-a -t 10.9.0.37:80 -r [fd01::1]:80 -i -w 1 --tun-type ipip",
            "-a -t 10.9.0.37:80 -r 10.1.0.1:80 -i -w 2 --tun-type ipip",
        ],
        second: "virtual_server 10.9.0.37 80 { protocol TCP; lb_algo wrr; lb_kind TUN type gre; \
                 real_server fd01::1 80 { weight 3 } real_server 10.1.0.1 80 { lvs_method NAT } }",
        then: &[
            "-A -t 10.9.0.37:80 -s wrr",
            "-a -t 10.9.0.37:80 -r [fd01::1]:80 -i -w 3 --tun-type gre --tun-nocsum",
            "-a -t 10.9.0.37:80 -r 10.1.0.1:80 -m -w 1",
        ],
    },
    Row {
        name: "IPv6 by servers of both families",
        first: "virtual_server fd09::38 80 { protocol TCP; lb_algo rr; lb_kind TUN; \
                real_server fd01::1 80 { } real_server 10.1.0.1 80 { weight 2 } }",
        rules: &[
            "-A -t [fd09::38]:80 -s rr",
            "-a -t [fd09::38]:80 -r [fd01::1]:80 -i -w 1 --tun-type ipip",
            "-a -t [fd09::38]:80 -r 10.1.0.1:80 -i -w 2 --tun-type ipip",
        ],
        second: "virtual_server fd09::38 80 { protocol TCP; lb_algo wrr; lb_kind TUN type gue port 5555; \
                 real_server fd01::1 80 { lvs_method DR } real_server 10.1.0.1 80 { weight 3 } }",
        then: &[
            "-A -t [fd09::38]:80 -s wrr",
            "-a -t [fd09::38]:80 -r [fd01::1]:80 -g -w 1",
            "-a -t [fd09::38]:80 -r 10.1.0.1:80 -i -w 3 --tun-type gue --tun-port 5555 --tun-nocsum",
        ],
    },
    Row {
        name: "a mark of IPv4 by a server of IPv6",
        first: "virtual_server fwmark 39 { ip_family inet; lb_algo rr; lb_kind TUN; real_server fd01::1 { } }",
        rules: &["-A -f 39 -s rr", "-a -f 39 -r [fd01::1]:0 -i -w 1 --tun-type ipip"],
        second: "virtual_server fwmark 39 { ip_family inet; lb_algo rr; flag-1; lb_kind TUN type gre; real_server fd01::1 { } }",
        then: &["-A -f 39 -s rr -b flag-1", "-a -f 39 -r [fd01::1]:0 -i -w 1 --tun-type gre --tun-nocsum"],
    },
    Row {
        name: "three methods in one service, each becomes another",
        first: "virtual_server 10.9.0.40 80 { protocol TCP; lb_algo rr; lb_kind NAT; \
                real_server 10.1.0.1 80 { } \
                real_server 10.1.0.2 80 { lvs_method DR } \
                real_server 10.1.0.3 80 { lvs_method TUN } }",
        rules: &[
            "-A -t 10.9.0.40:80 -s rr",
            "-a -t 10.9.0.40:80 -r 10.1.0.1:80 -m -w 1",
            "-a -t 10.9.0.40:80 -r 10.1.0.2:80 -g -w 1",
            "-a -t 10.9.0.40:80 -r 10.1.0.3:80 -i -w 1 --tun-type ipip",
        ],
        second: "virtual_server 10.9.0.40 80 { protocol TCP; lb_algo rr; lb_kind DR; \
                 real_server 10.1.0.1 80 { } \
                 real_server 10.1.0.2 80 { lvs_method TUN } \
                 real_server 10.1.0.3 80 { lvs_method NAT } }",
        then: &[
            "-A -t 10.9.0.40:80 -s rr",
            "-a -t 10.9.0.40:80 -r 10.1.0.1:80 -g -w 1",
            "-a -t 10.9.0.40:80 -r 10.1.0.2:80 -i -w 1 --tun-type ipip",
            "-a -t 10.9.0.40:80 -r 10.1.0.3:80 -m -w 1",
        ],
    },
    Row {
        name: "a sorry server that waits with weight 0, by a method of its own",
        first: "virtual_server 10.9.0.41 80 { protocol TCP; lb_algo rr; lb_kind DR; \
                sorry_server 10.1.0.9 80; sorry_server_inhibit; sorry_server_lvs_method TUN type gre; \
                real_server 10.1.0.1 80 { } }",
        rules: &[
            "-A -t 10.9.0.41:80 -s rr",
            "-a -t 10.9.0.41:80 -r 10.1.0.1:80 -g -w 1",
            "-a -t 10.9.0.41:80 -r 10.1.0.9:80 -i -w 0 --tun-type gre --tun-nocsum",
        ],
        second: "virtual_server 10.9.0.41 80 { protocol TCP; lb_algo rr; lb_kind DR; \
                 sorry_server 10.1.0.9 80; sorry_server_inhibit; sorry_server_lvs_method NAT; \
                 real_server 10.1.0.1 80 { } }",
        then: &[
            "-A -t 10.9.0.41:80 -s rr",
            "-a -t 10.9.0.41:80 -r 10.1.0.1:80 -g -w 1",
            "-a -t 10.9.0.41:80 -r 10.1.0.9:80 -m -w 0",
        ],
    },
    Row {
        name: "a group of a range and marks of both families",
        first: "virtual_server_group all { 10.9.0.42-43 80; fwmark 42 inet; fwmark 43 inet6 } \
                virtual_server group all { protocol TCP; lb_algo rr; lb_kind TUN; real_server 10.1.0.1 80 { } }",
        rules: &[
            "-A -t 10.9.0.42:80 -s rr",
            "-a -t 10.9.0.42:80 -r 10.1.0.1:80 -i -w 1 --tun-type ipip",
            "-A -t 10.9.0.43:80 -s rr",
            "-a -t 10.9.0.43:80 -r 10.1.0.1:80 -i -w 1 --tun-type ipip",
            "-A -f 42 -s rr",
            "-a -f 42 -r 10.1.0.1:0 -i -w 1 --tun-type ipip",
            "-A -f 43 -6 -s rr",
            "-a -f 43 -6 -r 10.1.0.1:0 -i -w 1 --tun-type ipip",
        ],
        second: "virtual_server_group all { 10.9.0.42-43 80; fwmark 42 inet; fwmark 43 inet6 } \
                 virtual_server group all { protocol TCP; lb_algo wlc; lb_kind TUN type gre; persistence_timeout 60; real_server 10.1.0.1 80 { weight 2 } }",
        then: &[
            "-A -t 10.9.0.42:80 -s wlc -p 60",
            "-a -t 10.9.0.42:80 -r 10.1.0.1:80 -i -w 2 --tun-type gre --tun-nocsum",
            "-A -t 10.9.0.43:80 -s wlc -p 60",
            "-a -t 10.9.0.43:80 -r 10.1.0.1:80 -i -w 2 --tun-type gre --tun-nocsum",
            "-A -f 42 -s wlc -p 60",
            "-a -f 42 -r 10.1.0.1:0 -i -w 2 --tun-type gre --tun-nocsum",
            "-A -f 43 -6 -s wlc -p 60",
            "-a -f 43 -6 -r 10.1.0.1:0 -i -w 2 --tun-type gre --tun-nocsum",
        ],
    },
];

const TWOS: &str = "virtual_server 10.9.0.50 80 { protocol TCP; lb_algo twos; lb_kind DR; \
                    real_server 10.1.0.1 80 { } real_server 10.1.0.2 80 { } }";
const THEN_RR: &str = "virtual_server 10.9.0.50 80 { protocol TCP; lb_algo rr; lb_kind DR; \
                       real_server 10.1.0.1 80 { } real_server 10.1.0.2 80 { } }";
const TWOS_RULES: &[&str] = &[
    "-A -t 10.9.0.50:80 -s twos",
    "-a -t 10.9.0.50:80 -r 10.1.0.1:80 -g -w 1",
    "-a -t 10.9.0.50:80 -r 10.1.0.2:80 -g -w 1",
];
const RR_RULES: &[&str] = &[
    "-A -t 10.9.0.50:80 -s rr",
    "-a -t 10.9.0.50:80 -r 10.1.0.1:80 -g -w 1",
    "-a -t 10.9.0.50:80 -r 10.1.0.2:80 -g -w 1",
];

/// Where the kernel has twos.
pub const WITH_TWOS: Row =
    Row { name: "twos to rr", first: TWOS, rules: TWOS_RULES, second: THEN_RR, then: RR_RULES };

/// Where it has not: refused, and in the table once it is not asked for any more.
pub const WITHOUT_TWOS: Row = Row { name: "twos is refused, rr is not", rules: &[], ..WITH_TWOS };
