//! Reading takes as much more work as there is more text, and what multiplies itself has an end. Work is counted in
//! octets of memory that are asked for, so that neither a slow host nor a busy one changes anything.
//!
//! Here alone, since a process has one allocator. Not here: work that asks for no memory (`scan` counts its own).

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use common::rendered;
use lbd_grammar::{LoadOptions, Loaded, load_text};

/// The system's allocator, which counts.
struct Counting;

/// Octets that were asked for.
static ASKED: AtomicU64 = AtomicU64::new(0);
/// Beyond that nothing is given any more, and the process ends: what never would ends too.
static MOST: AtomicU64 = AtomicU64::new(u64::MAX);

fn may_have(octets: usize) -> bool {
    let octets = u64::try_from(octets).unwrap_or(u64::MAX);
    ASKED.fetch_add(octets, Relaxed).saturating_add(octets) <= MOST.load(Relaxed)
}

#[allow(unsafe_code, reason = "an allocator has no safe form")]
// SAFETY: each call goes to the system's allocator as it is, or gives no memory, which every allocator may do.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if may_have(layout.size()) { unsafe { System.alloc(layout) } } else { std::ptr::null_mut() }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if may_have(layout.size()) { unsafe { System.alloc_zeroed(layout) } } else { std::ptr::null_mut() }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if may_have(size) { unsafe { System.realloc(pointer, layout, size) } } else { std::ptr::null_mut() }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Lets one test at a time ask for memory, after what is made once was made.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    work("vrrp_instance V {\n interfaec eth0\n}\n", u64::MAX);
    turn
}

/// Reads a text and shows what is said; the octets that were asked for, at most `most`.
fn work(text: &str, most: u64) -> (Loaded, u64) {
    let before = ASKED.load(Relaxed);
    MOST.store(before.saturating_add(most), Relaxed);
    let loaded = load_text("c", text.as_bytes(), &LoadOptions::default());
    rendered(&loaded);
    MOST.store(u64::MAX, Relaxed);
    (loaded, ASKED.load(Relaxed) - before)
}

/// Twice the text is at most two and a half times the work.
fn grows_with_the_text(name: &str, text: impl Fn(usize) -> String, number: usize) {
    let [few, many] = [number, 2 * number].map(|number| work(&text(number), u64::MAX).1);
    assert!(many <= few / 2 * 5, "{name}: {few} octets for {number}, {many} for twice as many");
}

fn many(number: usize, line: impl Fn(usize) -> String) -> String {
    (0..number).map(line).collect()
}

const MIB: u64 = 1 << 20;

#[test]
fn generators_and_definitions_end() {
    let _turn = turn();
    let each_twice: String = ('B'..'Z')
        .map(|name| {
            let next = char::from(u8::try_from(name).expect("ASCII") + 1);
            format!("${name}=${next}\\\n${next}\\\n${next}\n")
        })
        .collect();
    let doubled = many(59, |n| format!("$A{}=${{A{n}}}${{A{n}}}\n", n + 1));
    for (name, text, most) in [
        (
            "generators in a line",
            "~SEQ(a,300) ~SEQ(b,300) ~SEQ(c,300) x ${a}${b}${c}\n".to_owned(),
            1024 * MIB,
        ),
        ("a hundred generators in a line", format!("{} x\n", "~SEQ(a,2) ".repeat(100)), 1024 * MIB),
        ("definitions of several lines", format!("$A=x\\\n$B\\\n$B\n{each_twice}$A\n"), 1024 * MIB),
        ("a line of definitions", format!("$A={}\n{}\n", "x".repeat(900), "${A}".repeat(250)), 1024 * MIB),
        (
            "definitions of definitions",
            format!("$A0={}\n{doubled}global_defs {{\n router_id ${{A59}}\n}}\n", "x".repeat(500)),
            1024 * MIB,
        ),
        ("a sequence of millions", "~SEQ(v,9000000) a $v\n".to_owned(), 16 * MIB),
    ] {
        let (loaded, asked) = work(&text, most);
        assert!(asked <= most && !loaded.diagnostics.is_empty(), "{name}: {asked} octets");
    }
}

#[test]
fn octets_without_sense() {
    let _turn = turn();
    for (name, piece) in
        [("NULs", "\0"), ("quotes", "\""), ("one long line", "x"), ("blocks", "a {\n"), ("ends", "}\n")]
    {
        grows_with_the_text(name, |number| piece.repeat(number / piece.len()), 250_000);
    }
}

/// What names many other things, or things that there are not. What is said has a limit, which is reached.
#[test]
fn many_names() {
    let _turn = turn();
    let groups = |number| {
        many(number, |n| format!("track_group t{n} {{\ngroup {{\nV\n}}\n}}\n"))
            + &many(number, |n| format!("static_ipaddress {{\n192.0.2.1 dev eth0 track_group t{n}\n}}\n"))
    };
    grows_with_the_text("static entries of groups", groups, 4_000);
    let undefined = |number| {
        many(number, |n| format!("$D{n}={n}\n")) + &many(number, |_| "vrrp_instance ${Dx} {\n}\n".to_owned())
    };
    grows_with_the_text("what is not defined", undefined, 4_000);
    let empty = |number| many(number, |n| format!("vrrp_sync_group g{n} {{\n}}\n"));
    grows_with_the_text("groups", empty, 4_000);
    let members = |number| {
        let names = many(number, |n| format!("V{n}\n"));
        let instance = |n| {
            format!(
                "vrrp_instance V{n} {{\ninterface e{n}\nvirtual_router_id 1\nvirtual_ipaddress {{\n10.0.0.9\n}}\n}}\n"
            )
        };
        many(number, instance) + &format!("vrrp_sync_group G {{\ngroup {{\n{names}}}\n}}\n")
    };
    grows_with_the_text("members of a group", members, 2_000);
}

#[test]
fn many_servers_and_addresses() {
    let _turn = turn();
    let servers = |number| {
        many(number, |n| {
            let real = many(10, |real| {
                format!(" real_server 192.168.{real}.1 80 {{\n  weight 2\n  TCP_CHECK {{\n  }}\n }}\n")
            });
            let (a, b) = (n / 250, n % 250);
            format!(
                "virtual_server 10.{a}.{b}.1 80 {{\n lb_algo wrr\n lb_kind NAT\n protocol TCP\n{real}}}\n"
            )
        })
    };
    grows_with_the_text("virtual servers", servers, 500);
    let real = |number| {
        let real = many(number, |n| format!(" real_server 172.16.{}.{} 80 {{ }}\n", n / 250, n % 250));
        format!("virtual_server 10.200.0.1 80 {{\n lb_algo wrr\n lb_kind NAT\n protocol TCP\n{real}}}\n")
    };
    grows_with_the_text("real servers of one", real, 5_000);
    let addresses = |number| {
        let addresses = many(number, |n| format!("172.17.{}.{} dev eth0\n", n / 250, n % 250));
        format!(
            "vrrp_instance V {{\ninterface eth0\nvirtual_router_id 1\nvirtual_ipaddress_excluded {{\n{addresses}}}\n}}\n"
        )
    };
    grows_with_the_text("addresses of one", addresses, 5_000);
}

/// For a lint nothing is looked for anew for each object.
#[test]
fn many_lints() {
    let _turn = turn();
    let instances = |number| {
        let instance = |n| {
            format!(
                "vrrp_instance V{n} {{\n interface e{n}\n virtual_router_id 1\n nopreempt\n virtual_ipaddress {{\n  10.0.0.9\n }}\n \
                 authentication {{\n  auth_type PASS\n  auth_pass x\n }}\n track_interface {{\n  f weight 5\n }}\n}}\n"
            )
        };
        many(number, instance)
    };
    grows_with_the_text("instances", instances, 250);
    let slow = |number| {
        let real = many(number, |n| {
            let (a, b) = (n / 250, n % 250);
            format!(" real_server 10.1.{a}.{b} 80 {{\n  TCP_CHECK {{\n  }}\n }}\n")
        });
        format!(
            "virtual_server 10.0.0.1 80 {{\n lb_algo rr\n lb_kind NAT\n protocol TCP\n delay_loop 1\n{real}}}\n"
        )
    };
    grows_with_the_text("real servers", slow, 900);
}
