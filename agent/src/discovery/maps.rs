//! What procfs says of the code that processes map.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use super::FileKey;
use super::record::Mapping;

/// Processes there are, kernel threads included.
pub(super) fn pids() -> io::Result<HashSet<u32>> {
    let entries = fs::read_dir("/proc")?;
    Ok(entries.flatten().filter_map(|e| e.file_name().to_str()?.parse().ok()).collect())
}

/// Files whose code a process maps, each once; an error when it is gone or hidden.
pub(super) fn of_process(pid: u32) -> io::Result<Vec<Mapping>> {
    let mut text = fs::read(format!("/proc/{pid}/maps"))?;
    if text.is_empty() {
        // Kernel threads map nothing. Nor does a first thread that ended before the others of its process.
        let tasks = fs::read_dir(format!("/proc/{pid}/task"))?;
        let others = tasks.flatten().filter(|t| t.file_name().to_str() != Some(pid.to_string().as_str()));
        text = others
            .filter_map(|t| fs::read(t.path().join("maps")).ok())
            .find(|t| !t.is_empty())
            .unwrap_or(text);
    }
    Ok(parse(&text))
}

/// Lines of proc_pid_maps(5) that are code of a file, each file once.
fn parse(text: &[u8]) -> Vec<Mapping> {
    let mut seen = HashSet::new();
    text.split(|b| *b == b'\n').filter_map(line).filter(|m| seen.insert(m.key)).collect()
}

/// `7f2a8c000000-7f2a8c021000 r-xp 00000000 fe:00 326279                     /usr/lib/x86_64-linux-gnu/libc.so.6`
fn line(line: &[u8]) -> Option<Mapping> {
    let mut rest = line;
    let mut field = || {
        let start = rest.iter().position(|b| *b != b' ')?;
        let text = rest.get(start..)?;
        let end = text.iter().position(|b| *b == b' ').unwrap_or(text.len());
        let (field, after) = text.split_at_checked(end)?;
        rest = after;
        std::str::from_utf8(field).ok()
    };
    let (start, end) = field()?.split_once('-')?;
    if field()?.as_bytes().get(2) != Some(&b'x') {
        return None;
    }
    let _offset = field()?;
    let (major, minor) = field()?.split_once(':')?;
    let inode = field()?.parse().ok()?;
    let hex = |text: &str| u64::from_str_radix(text, 16).ok();
    let key = FileKey {
        major: u32::from_str_radix(major, 16).ok()?,
        minor: u32::from_str_radix(minor, 16).ok()?,
        inode,
    };
    // The only character that is escaped in a path is the newline; a path that has one is found by address alone.
    let path = rest.iter().position(|b| *b != b' ').and_then(|at| rest.get(at..)).unwrap_or_default();
    let path = path.strip_suffix(b" (deleted)").unwrap_or(path);
    let mapping = Mapping {
        key,
        generation: None,
        start: hex(start)?,
        end: hex(end)?,
        path: PathBuf::from(OsString::from_vec(path.to_vec())),
    };
    (inode != 0).then_some(mapping)
}

/// The parser of this file, for the fuzz target `procfs`.
#[cfg(fuzzing)]
pub(super) fn fuzz(bytes: &[u8]) {
    let _ = parse(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_the_code_of_each_file_once() {
        let text = b"\
55e0-55e1 r--p 00000000 fe:00 247076                     /usr/bin/dash
55e1-55f2 r-xp 00001000 fe:00 247076                     /usr/bin/dash
55f3-55f4 r-xp 00001000 fe:00 247076                     /usr/bin/dash
7f00-7f10 r-xp 00000000 08:1f 12                         /opt/a b/libssl.so.3 (deleted)
7f20-7f30 rwxp 00000000 00:00 0 
7ffd-7ffe r-xp 00000000 00:00 0                          [vdso]
nonsense
";
        let expected = vec![
            Mapping {
                key: FileKey { major: 254, minor: 0, inode: 247_076 },
                generation: None,
                start: 0x55e1,
                end: 0x55f2,
                path: "/usr/bin/dash".into(),
            },
            Mapping {
                key: FileKey { major: 8, minor: 31, inode: 12 },
                generation: None,
                start: 0x7f00,
                end: 0x7f10,
                path: "/opt/a b/libssl.so.3".into(),
            },
        ];
        assert_eq!(parse(text), expected);
    }

    #[test]
    fn this_process_is_listed_and_maps_its_own_executable() {
        let pid = std::process::id();
        assert!(pids().expect("procfs").contains(&pid));
        let exe = std::env::current_exe().expect("own executable");
        let maps = of_process(pid).expect("own mappings");
        assert!(maps.iter().any(|m| m.path == exe), "{maps:?}");
    }

    #[test]
    fn a_process_that_is_gone_is_an_error() {
        // Larger than any pid_max (2^22).
        assert!(of_process(5_000_000).is_err());
    }
}
