//! The buffer in which an event with certificates is put together: its length is known only when they are there, and the
//! ring buffer reserves constants only.

use agent_common::{CertificatesEvent, Counter, EventHeader, LastRead, MAX_CERTIFICATES, MAX_CHAIN};
use aya_ebpf::helpers::{bpf_get_smp_processor_id, generated::bpf_probe_read_user};

use crate::{
    emit,
    maps::{SCRATCH, Scratch, count},
    user,
};

/// Calls `fill` with this CPU's scratch, and emits what it put there: `fill` gives the number of payload bytes. `last` is
/// what was read from, nothing where that tells nothing.
///
/// A program stays on its CPU, but on a preemptible kernel a task that is scheduled in its middle can come to a probe too.
/// The later one finds the scratch taken and gives up. Where both came at once, neither may find it free: both add before
/// they look.
#[inline(always)]
pub fn emit(last: &LastRead, fill: impl FnOnce(&mut Scratch) -> Result<u32, Counter>) -> Result<(), Counter> {
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
            scratch.event.earlier = last.earlier;
            scratch.event.earlier_time = last.earlier_time;
            if emit::certificates(scratch, last.cookie, len) {
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
        earlier: 0,
        earlier_time: 0,
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

/// What [`gather`] found.
pub struct Gathered {
    /// Bytes of entries.
    pub used: u32,
    /// There are more certificates than [`MAX_CHAIN`], or more bytes than [`MAX_CERTIFICATES`]; the entries are whole.
    pub cut: bool,
}

/// Puts certificates that lie apart into the scratch as entries without extensions. `at` is an array of address and length,
/// `stride` bytes apart, of `count` items; without a count it ends where an item is no DER certificate, by its outermost
/// length.
#[inline(always)]
pub fn gather(scratch: &mut Scratch, at: u64, stride: u64, items: Option<u64>) -> Result<Gathered, Counter> {
    let mut cut = false;
    through_map(&mut scratch.event.cap_len, 0);
    for i in 0..=u64::from(MAX_CHAIN) {
        if items.is_some_and(|items| i >= items) {
            break;
        }
        let item = user::words::<2>(at.wrapping_add(stride * i));
        let [der, len] = match item {
            Some(item) if items.is_some() => item,
            Some([der, len]) if is_sequence(der, len as u32) => [der, len & 0xffff_ffff],
            None if items.is_some() => return Err(Counter::ProbeUnreadable),
            _ => break,
        };
        if i == u64::from(MAX_CHAIN) || len > u64::from(MAX_CERTIFICATES) {
            cut = true;
            break;
        }
        let len = through_map(&mut scratch.event.list_len, len as u32);
        // SAFETY: a field of a map value.
        let used = unsafe { core::ptr::read_volatile(&raw const scratch.event.cap_len) };
        if used + 3 + len > MAX_CERTIFICATES {
            cut = true;
            break;
        }
        length(scratch, used, len)?;
        copy(scratch, used + 3, len, der)?;
        through_map(&mut scratch.event.cap_len, used + 3 + len);
    }
    Ok(Gathered { used: scratch.event.cap_len, cut })
}

/// Writes a value to a map and reads it back. What comes out of a map is unknown to the verifier, which then walks a loop's
/// body once per turn, instead of once per way on which the value may have come to be.
#[inline(always)]
fn through_map(slot: &mut u32, value: u32) -> u32 {
    // SAFETY: a field of a map value; volatile, or the compiler would leave out the detour.
    unsafe {
        core::ptr::write_volatile(slot, value);
        core::ptr::read_volatile(slot)
    }
}

/// A DER SEQUENCE of `len` bytes in all (X.690 section 8.1.3): every certificate is one.
#[inline(always)]
fn is_sequence(at: u64, len: u32) -> bool {
    let Some([tag, form, a, b]) = user::bytes::<4>(at) else { return false };
    let inside = match form {
        0x81 => 3 + u32::from(a),
        0x82 => 4 + (u32::from(a) << 8 | u32::from(b)),
        _ => return false,
    };
    tag == 0x30 && inside == len
}

/// Writes a 24-bit length.
#[inline(always)]
fn length(scratch: &mut Scratch, offset: u32, len: u32) -> Result<(), Counter> {
    let mut offset = u64::from(offset);
    // SAFETY: see `copy`.
    unsafe { core::arch::asm!("{0} = {0}", inout(reg) offset) };
    if offset > u64::from(MAX_CERTIFICATES) {
        return Err(Counter::CertificatesCut);
    }
    let [_, a, b, c] = len.to_be_bytes();
    // SAFETY: the payload is longer than the bound by far more than three bytes.
    unsafe {
        let at = scratch.payload.as_mut_ptr().add(offset as usize);
        at.write(a);
        at.add(1).write(b);
        at.add(2).write(c);
    }
    Ok(())
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
