//! Processors whose registers do not fit into user-mode-linux.
//!
//! UML 6.1 keeps a guest's registers in a buffer that ends with AVX-512. Where the processor has AMX, the
//! host gives that much and refuses to take less back, and the guest's first program dies of SIGSEGV. UML
//! asks once at its start whether the host knows this form at all; told no, it keeps x87 and SSE alone, as
//! it did on older hosts. A seccomp filter tells it so. What a guest's program has in the upper halves of
//! vector registers is then lost at every page fault, so its libraries are asked to leave them alone.

use std::collections::BTreeMap;
use std::fs;
use std::process::{Child, Command};
use std::sync::OnceLock;
use std::thread;

use anyhow::{Context, Result, anyhow};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};

/// `PTRACE_GETREGSET` (linux/ptrace.h).
const GET_REGISTER_SET: u64 = 0x4204;
/// `NT_X86_XSTATE` (linux/elf.h).
const EXTENDED_STATE: u64 = 0x202;
/// `ptrace` on x86-64 (asm/unistd_64.h).
const PTRACE: i64 = 101;
/// `EIO`
const INPUT_OUTPUT_ERROR: u32 = 5;

/// What a guest's environment needs on such a processor: no AVX for the C library, nor for OpenSSL and AWS-LC, whose key
/// generation fails otherwise (the bits of CPUID leaf 1, EDX and ECX, and of leaf 7, EBX and ECX, that are cleared).
pub const TUNABLES: [(&str, &str); 2] = [
    ("GLIBC_TUNABLES", "glibc.cpu.hwcaps=-AVX_Fast_Unaligned_Load,-AVX,-AVX2,-AVX512F,-AVX512VL,-AVX512BW"),
    ("OPENSSL_ia32cap", "~0x1000100000000000:~0xffffffffd0230020"),
];

/// Whether this host's processor has more registers than user-mode-linux keeps.
pub fn is_too_large() -> bool {
    static LARGE: OnceLock<bool> = OnceLock::new();
    *LARGE.get_or_init(|| {
        let processors = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let flags = processors.lines().find(|line| line.starts_with("flags")).unwrap_or_default();
        flags.split_whitespace().any(|flag| flag == "amx_tile")
    })
}

/// Starts user-mode-linux, with the filter where the processor needs it.
///
/// # Errors
/// When it, or the filter, cannot be started.
pub fn spawn(command: &mut Command) -> Result<Child> {
    if !is_too_large() {
        return Ok(command.spawn()?);
    }
    // The filter holds for the thread that sets it, and for what that starts.
    thread::scope(|scope| {
        let filtered = scope.spawn(|| -> Result<Child> {
            seccompiler::apply_filter(&filter()?)?;
            Ok(command.spawn()?)
        });
        filtered.join().map_err(|_| anyhow!("the thread that starts user-mode-linux panicked"))?
    })
}

/// Answers `ptrace(PTRACE_GETREGSET, _, NT_X86_XSTATE, _)` with EIO.
fn filter() -> Result<BpfProgram> {
    let equals =
        |argument, value| SeccompCondition::new(argument, SeccompCmpArgLen::Qword, SeccompCmpOp::Eq, value);
    let rule = SeccompRule::new(vec![equals(0, GET_REGISTER_SET)?, equals(2, EXTENDED_STATE)?])?;
    let filter = SeccompFilter::new(
        BTreeMap::from([(PTRACE, vec![rule])]),
        SeccompAction::Allow,
        SeccompAction::Errno(INPUT_OUTPUT_ERROR),
        std::env::consts::ARCH.try_into().context("user-mode-linux is there for x86-64")?,
    )?;
    Ok(filter.try_into()?)
}
