//! Any bytes as an executable or a library.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use tlsight::libraries::{Contents, Image, Machine, inspect_image, name_unprobed_image};

fuzz_target!(|file: &[u8]| {
    let image: &dyn Image = &file;
    for machine in [Machine::X86_64, Machine::Aarch64] {
        if let Contents::Probes(libraries) = inspect_image(image, Path::new("libssl.so.3"), machine) {
            for point in libraries.iter().flat_map(|(_, points)| points) {
                assert!(point.offset < file.len() as u64, "{point:?} is not in the file");
            }
        }
    }
    let _ = name_unprobed_image(image);
});
