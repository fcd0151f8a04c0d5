//! Real threads of this process, each with its own scheduling.

use std::process::Command;

use nix::sys::resource::{Resource, getrlimit};

use super::*;

/// The limit of real time is the process's: one test at a time has to do with it.
static ONE: std::sync::Mutex<()> = std::sync::Mutex::new(());

fn alone() -> std::sync::MutexGuard<'static, ()> {
    ONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Bit of CAP_SYS_NICE.
const CAP_SYS_NICE: u32 = 23;

/// Says why a test did nothing.
fn skip(name: &str, capability: u32) -> bool {
    let missing = !has_capability(capability);
    if missing {
        lbd_integration::skip::report(name, &format!("needs capability {capability}"));
    }
    missing
}

/// On a thread that ends with it.
fn on_a_thread(act: impl FnOnce() + Send) {
    std::thread::scope(|scope| scope.spawn(act).join().expect("the thread does not panic"));
}

fn cpus_now() -> Vec<u16> {
    let set = sched_getaffinity(HERE).expect("CPUs");
    (0..1024).filter(|cpu| set.is_set(usize::from(*cpu)).unwrap_or(false)).collect()
}

/// Real-time is refused even to root in some containers.
fn real_time_is_refused(name: &str, complaints: &[String]) -> bool {
    let refused = complaints.iter().any(|one| one.starts_with("vrrp_rt_priority"));
    if refused {
        lbd_integration::skip::report(name, &complaints.join("; "));
    }
    refused
}

#[test]
fn what_is_wanted_is_in_effect_and_undone_when_it_is_gone() {
    const NAME: &str = "what_is_wanted_is_in_effect_and_undone_when_it_is_gone";
    if skip(NAME, CAP_SYS_NICE) {
        return;
    }
    let _alone = alone();
    on_a_thread(|| {
        let (class, nice, cpus) =
            (sys::class(HERE).expect("class"), sys::nice(HERE).expect("nice"), cpus_now());
        let mut scheduling = ThreadScheduling::here(Kind::Vrrp);
        assert_eq!(scheduling.apply(&Scheduling::default()), [""; 0], "nothing is wanted");
        assert_eq!((sys::class(HERE), sys::nice(HERE), cpus_now()), (Ok(class), Ok(nice), cpus.clone()));
        let last = *cpus.last().expect("a CPU");
        let wanted = Scheduling {
            nice: -7,
            realtime: NonZeroU8::new(3),
            cpus: [last].into(),
            realtime_limit: Duration::from_secs(1),
            no_swap: false,
        };
        let complaints = scheduling.apply(&wanted);
        if real_time_is_refused(NAME, &complaints) {
            return;
        }
        assert_eq!(complaints, [""; 0]);
        let in_effect = Ok((libc::SCHED_RR | libc::SCHED_RESET_ON_FORK, 3));
        assert_eq!((sys::class(HERE), sys::nice(HERE), cpus_now()), (in_effect, Ok(-7), vec![last]));
        let (soft, _) = getrlimit(Resource::RLIMIT_RTTIME).expect("limit");
        assert_eq!(soft, 1_000_000);
        // Nothing that this thread starts is real-time or before others.
        let child = Command::new("cat").arg("/proc/self/stat").output().expect("a child");
        let stat = String::from_utf8(child.stdout).expect("text");
        let fields: Vec<&str> = stat.rsplit(") ").next().expect("fields").split(' ').collect();
        // proc_pid_stat(5): 19 nice, 40 rt_priority, 41 policy; the third is the first here.
        assert_eq!((fields[16], fields[37], fields[38]), ("0", "0", "0"), "{stat}");
        // The same again, and another value.
        let other = Scheduling { realtime: NonZeroU8::new(4), ..wanted };
        assert_eq!(scheduling.apply(&other), [""; 0]);
        assert_eq!(sys::class(HERE).expect("class").1, 4);
        assert_eq!(scheduling.apply(&Scheduling::default()), [""; 0], "all is gone");
        let (policy, priority) = sys::class(HERE).expect("class");
        assert_eq!((policy & !libc::SCHED_RESET_ON_FORK, priority), class);
        assert_eq!((sys::nice(HERE), cpus_now()), (Ok(nice), cpus));
        let (soft, hard) = getrlimit(Resource::RLIMIT_RTTIME).expect("limit");
        assert_eq!((Some(soft), soft <= hard), (limits::inherited_real_time(), true));
    });
}

#[test]
fn other_threads_stay_as_they_are() {
    on_a_thread(|| {
        let before = (sys::nice(HERE), cpus_now());
        on_a_thread(|| {
            let mut scheduling = ThreadScheduling::here(Kind::Vrrp);
            let cpus = cpus_now().first().copied().into_iter().collect();
            // Less before others: everybody may.
            let nice = i8::try_from(sys::nice(HERE).expect("nice") + 1).expect("small");
            assert_eq!(scheduling.apply(&Scheduling { nice, cpus, ..Scheduling::default() }), [""; 0]);
            assert_eq!((sys::nice(HERE), cpus_now().len()), (Ok(c_int::from(nice)), 1));
        });
        assert_eq!((sys::nice(HERE), cpus_now()), before);
    });
}

#[test]
fn cpus_that_are_not_there_are_said() {
    on_a_thread(|| {
        let before = cpus_now();
        if before.contains(&1023) {
            return;
        }
        let mut scheduling = ThreadScheduling::here(Kind::Vrrp);
        let complaints =
            scheduling.apply(&Scheduling { cpus: [1023].into(), ..Scheduling::default() }).join("\n");
        assert!(complaints.starts_with("vrrp_cpu_affinity 1023: this host has no such CPU"), "{complaints}");
        assert_eq!(cpus_now(), before);
        let first = *before.first().expect("a CPU");
        let complaints =
            scheduling.apply(&Scheduling { cpus: [first, 1023].into(), ..Scheduling::default() }).join("\n");
        assert!(complaints.contains("of its CPUs, 1023 is not there"), "{complaints}");
        assert_eq!(cpus_now(), [first]);
        assert_eq!(scheduling.apply(&Scheduling::default()), [""; 0]);
        assert_eq!(cpus_now(), before);
    });
}

/// Octets of this process that are locked.
fn locked() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmLck:")).expect("VmLck");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
}

#[test]
fn memory_is_locked_and_let_go() {
    if skip("memory_is_locked_and_let_go", CAP_IPC_LOCK) {
        return;
    }
    on_a_thread(|| {
        let mut scheduling = ThreadScheduling::here(Kind::Vrrp);
        assert_eq!(scheduling.apply(&Scheduling { no_swap: true, ..Scheduling::default() }), [""; 0]);
        assert!(locked() > 0);
        assert_eq!(scheduling.apply(&Scheduling::default()), [""; 0]);
        assert_eq!(locked(), 0);
    });
}

#[test]
fn another_thread_is_scheduled_from_here_and_claims_are_counted() {
    let (tell, told) = std::sync::mpsc::channel();
    let (end, ends) = std::sync::mpsc::channel::<()>();
    let other = std::thread::spawn(move || {
        tell.send(gettid()).expect("the test waits");
        let _over = ends.recv();
    });
    let thread = told.recv().expect("a thread");
    let mut scheduling = ThreadScheduling::of(Kind::Checkers, thread);
    let before = (sys::nice(HERE), sys::nice(thread));
    let nice = i8::try_from(before.1.expect("nice") + 2).expect("small");
    assert_eq!(scheduling.apply(&Scheduling { nice, ..Scheduling::default() }), [""; 0]);
    assert_eq!((sys::nice(HERE), sys::nice(thread)), (before.0, Ok(c_int::from(nice))));
    assert_eq!(inherited().map(|one| Ok(one.nice)), Some(sys::nice(Pid::this())));
    let complaints =
        scheduling.apply(&Scheduling { cpus: [1023].into(), ..Scheduling::default() }).join("\n");
    assert!(
        complaints.contains("checker_cpu_affinity 1023: ") && complaints.contains("the checkers run on"),
        "{complaints}"
    );
    drop(end);
    other.join().expect("the thread ends");
}

#[test]
fn late_timers_raise_the_priority_step_by_step_and_no_further() {
    const NAME: &str = "late_timers_raise_the_priority_step_by_step_and_no_further";
    if skip(NAME, CAP_SYS_NICE) {
        return;
    }
    let _alone = alone();
    on_a_thread(|| {
        let mut scheduling = ThreadScheduling::here(Kind::Vrrp);
        let wanted = Scheduling::default();
        let two = NonZeroU8::new(2).expect("two");
        let priorities = |scheduling: &mut ThreadScheduling, wanted: &Scheduling| {
            [(); 3].map(|()| scheduling.raise(wanted, two).map(|done| done.is_ok()))
        };
        match scheduling.raise(&wanted, two) {
            Some(Ok(text)) => assert!(text.starts_with("real-time priority 1 "), "{text}"),
            Some(Err(text)) => return lbd_integration::skip::report(NAME, &text),
            None => panic!("it is not real-time yet"),
        }
        assert_eq!(sys::class(HERE), Ok((libc::SCHED_RR | libc::SCHED_RESET_ON_FORK, 1)));
        assert_eq!(priorities(&mut scheduling, &wanted), [Some(true), None, None]);
        assert_eq!(sys::class(HERE).expect("class").1, 2);
        assert_eq!(scheduling.apply(&wanted), [""; 0], "a reload begins anew");
        assert_eq!(sys::class(HERE).expect("class").1, 0);
        let own = Scheduling { realtime: NonZeroU8::new(2), ..Scheduling::default() };
        assert_eq!(scheduling.apply(&own), [""; 0]);
        assert_eq!(priorities(&mut scheduling, &own), [None; 3], "it has as much by its own keyword");
        assert_eq!(scheduling.apply(&wanted), [""; 0]);
    });
}

#[test]
fn refusals_name_keyword_reason_and_remedy() {
    for (kind, rest, value, errno, capability, want) in [
        (
            Kind::Vrrp,
            "rt_priority",
            "50",
            Errno::EPERM,
            "CAP_SYS_NICE",
            "vrrp_rt_priority 50: not permitted; give the process CAP_SYS_NICE; VRRP runs without it",
        ),
        (
            Kind::Checkers,
            "priority",
            "-5",
            Errno::EACCES,
            "CAP_SYS_NICE",
            "checker_priority -5: not permitted; give the process CAP_SYS_NICE; the checkers run without it",
        ),
        (
            Kind::Vrrp,
            "no_swap",
            "",
            Errno::ENOMEM,
            "CAP_IPC_LOCK",
            "vrrp_no_swap: Out of memory; VRRP runs without it",
        ),
    ] {
        assert_eq!(ThreadScheduling::here(kind).refused(rest, value, errno, capability), want);
    }
}
