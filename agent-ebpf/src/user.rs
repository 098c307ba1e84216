//! Memory of the process that runs, read where a probe's registers point. Nothing there can be trusted: it may be
//! unmapped, paged out, or change while it is read.

use aya_ebpf::{helpers::generated::bpf_probe_read_user, programs::ProbeContext};

/// Copies `N` bytes.
#[inline(always)]
pub fn bytes<const N: usize>(at: u64) -> Option<[u8; N]> {
    let mut bytes = [0u8; N];
    // SAFETY: the destination is N bytes on the stack; the helper checks the source.
    let ret = unsafe { bpf_probe_read_user(bytes.as_mut_ptr().cast(), N as u32, at as *const _) };
    (ret == 0).then_some(bytes)
}

/// Copies `N` words.
#[inline(always)]
pub fn words<const N: usize>(at: u64) -> Option<[u64; N]> {
    let mut words = [0u64; N];
    // SAFETY: the destination is 8 N bytes on the stack; the helper checks the source.
    let ret = unsafe { bpf_probe_read_user(words.as_mut_ptr().cast(), 8 * N as u32, at as *const _) };
    (ret == 0).then_some(words)
}

/// Copies one word.
#[inline(always)]
pub fn word(at: u64) -> Option<u64> {
    let [word] = words::<1>(at)?;
    Some(word)
}

/// Registers by their meaning in the C and Go calling conventions, at the entry of a function or at a call of it.
#[cfg(bpf_target_arch = "x86_64")]
mod convention {
    use aya_ebpf::bindings::pt_regs;

    pub type Registers = pt_regs;

    /// System V AMD64 ABI section 3.2.3.
    pub const fn c(r: &Registers) -> [u64; 3] {
        [r.rdi, r.rsi, r.rdx]
    }

    /// Go's ABIInternal for amd64: RAX, RBX, RCX, RDI, RSI.
    pub const fn go(r: &Registers) -> [u64; 5] {
        [r.rax, r.rbx, r.rcx, r.rdi, r.rsi]
    }

    /// ABIInternal: R14 is the current goroutine.
    pub const fn goroutine(r: &Registers) -> u64 {
        r.r14
    }

    pub const fn stack(r: &Registers) -> u64 {
        r.rsp
    }
}

#[cfg(bpf_target_arch = "aarch64")]
mod convention {
    use aya_ebpf::bindings::user_pt_regs;

    pub type Registers = user_pt_regs;

    /// AAPCS64 section 6.8.2.
    pub const fn c(r: &Registers) -> [u64; 3] {
        [r.regs[0], r.regs[1], r.regs[2]]
    }

    /// Go's ABIInternal for arm64: R0 to R4.
    pub const fn go(r: &Registers) -> [u64; 5] {
        [r.regs[0], r.regs[1], r.regs[2], r.regs[3], r.regs[4]]
    }

    /// ABIInternal: R28 is the current goroutine.
    pub const fn goroutine(r: &Registers) -> u64 {
        r.regs[28]
    }

    pub const fn stack(r: &Registers) -> u64 {
        r.sp
    }
}

#[inline(always)]
fn registers(ctx: &ProbeContext) -> &convention::Registers {
    // SAFETY: the context of a uprobe program is the registers of the task; the verifier turns each read of a field into
    // one of the saved register.
    unsafe { &*ctx.regs.cast::<convention::Registers>() }
}

/// The first three arguments of a C function.
#[inline(always)]
pub fn c_arguments(ctx: &ProbeContext) -> [u64; 3] {
    convention::c(registers(ctx))
}

/// The first five words of a Go function's arguments that go in registers, the receiver first.
#[inline(always)]
pub fn go_arguments(ctx: &ProbeContext) -> [u64; 5] {
    convention::go(registers(ctx))
}

/// Address of the `g` of the goroutine that runs.
#[inline(always)]
pub fn goroutine(ctx: &ProbeContext) -> u64 {
    convention::goroutine(registers(ctx))
}

/// Address of what a Go function got on the stack, at its entry: on amd64 the return address lies below it, on arm64 the
/// caller's place for the link register.
#[inline(always)]
pub fn go_stack_arguments(ctx: &ProbeContext) -> u64 {
    convention::stack(registers(ctx)) + 8
}
