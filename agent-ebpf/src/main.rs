//! The BPF programs of tlsight. They observe and never interfere: every program returns "go on" on every path.
//!
//! `probes` holds one file per hook family, `walk` decides which payload bytes leave the kernel, `emit` is the only
//! writer of the ring buffer. `user` is the only reader of other processes' memory, `scratch` the only place for what it
//! reads.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]

mod emit;
mod last_read;
mod maps;
mod packet;
mod probes;
mod scratch;
mod user;
mod walk;

#[cfg(not(test))]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
