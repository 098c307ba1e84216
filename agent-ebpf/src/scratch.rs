//! The buffer in which an event with certificates is put together: its length is known only when they are there, and the
//! ring buffer reserves constants only.

use agent_common::{CertificatesEvent, Counter, EventHeader, MAX_CERTIFICATES};
use aya_ebpf::helpers::{bpf_get_smp_processor_id, generated::bpf_probe_read_user};

use crate::{
    emit, last_read,
    maps::{SCRATCH, Scratch, count},
};

/// Calls `fill` with this CPU's scratch, and emits what it put there: `fill` gives the number of payload bytes.
///
/// A program stays on its CPU, but on a preemptible kernel a task that is scheduled in its middle can come to a probe too.
/// The later one finds the scratch taken and gives up. Where both came at once, neither may find it free: both add before
/// they look.
#[inline(always)]
pub fn emit(fill: impl FnOnce(&mut Scratch) -> Result<u32, Counter>) -> Result<(), Counter> {
    // SAFETY: a helper without arguments.
    let cpu = unsafe { bpf_get_smp_processor_id() };
    let Some(scratch) = SCRATCH.get_ptr_mut(cpu) else { return Err(Counter::ProbeBusy) };
    // SAFETY: a field of a map value.
    let users = unsafe { &raw mut (*scratch).users };
    add(users, 1);
    // SAFETY: as above.
    let result = if unsafe { core::ptr::read_volatile(users) } == 1 {
        // SAFETY: the map value lives as long as the map, and nobody else uses it until `users` is taken back.
        let scratch = unsafe { &mut *scratch };
        fill(scratch).and_then(|len| {
            if emit::certificates(scratch, last_read::cookie(), len) {
                Ok(())
            } else {
                Err(Counter::CertificatesLost)
            }
        })
    } else {
        Err(Counter::ProbeBusy)
    };
    add(users, u64::MAX);
    result
}

/// Atomic, but without the old value, which would need kernel 5.12.
#[inline(always)]
fn add(at: *mut u64, n: u64) {
    // SAFETY: `at` is eight aligned bytes of a map value.
    unsafe { core::arch::asm!("lock *(u64 *)({0} + 0) += {1}", in(reg) at, in(reg) n) };
}

/// Everything of the event but its header and what `fill` knows.
#[inline(always)]
pub fn blank(library: u8, peer: u8) -> CertificatesEvent {
    CertificatesEvent {
        header: EventHeader { kind: 0, abi: 0, len: 0, time: 0, cookie: 0 },
        task: emit::current(),
        client_random: [0; 32],
        list_len: 0,
        cap_len: 0,
        library,
        peer,
        flags: 0,
        reserved: 0,
    }
}

/// Copies `len` bytes of the process's memory to `offset` of the payload; neither may pass [`MAX_CERTIFICATES`].
#[inline(always)]
pub fn copy(scratch: &mut Scratch, offset: u32, len: u32, from: u64) -> Result<(), Counter> {
    let (mut offset, mut len) = (u64::from(offset), u64::from(len));
    // SAFETY: keeps the comparisons below next to their use, where the verifier wants to see them; no effect at run time.
    unsafe { core::arch::asm!("{0} = {0}", "{1} = {1}", inout(reg) offset, inout(reg) len) };
    if offset > u64::from(MAX_CERTIFICATES) || len > u64::from(MAX_CERTIFICATES) {
        return Err(Counter::CertificatesCut);
    }
    // SAFETY: the payload is twice as long as the bound on both; the helper checks the source.
    let ret = unsafe {
        bpf_probe_read_user(
            scratch.payload.as_mut_ptr().add(offset as usize).cast(),
            len as u32,
            from as *const _,
        )
    };
    if ret == 0 { Ok(()) } else { Err(Counter::ProbeUnreadable) }
}

/// Counts how a hit came out.
#[inline(always)]
pub fn outcome(result: Result<(), Counter>, handed_over: Counter) -> u32 {
    match result {
        Ok(()) => count(handed_over),
        // Counted where it was found out.
        Err(Counter::CertificatesLost) => {}
        Err(why) => count(why),
    }
    0
}
