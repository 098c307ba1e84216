//! What the guest finds as its file system: an archive in cpio's "newc" format, which the kernel unpacks into memory.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use flate2::Compression;
use flate2::write::GzEncoder;

use super::kernel::{Image, Kernel};
use crate::{places, sh};

/// Modules that the agent lists sockets with; the first is needed by the second.
const MODULES: [&str; 2] = ["inet_diag", "tcp_diag"];
/// Without the probes' right, and otherwise as users have it.
const STRICT: &str = "agent: {sandbox: strict}\ntrust: {system_roots: off}\n";
const SETTINGS: &str = "trust: {system_roots: off}\n";

/// File types and permissions, as `stat` has them.
const FOLDER: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;

/// Makes the archive and returns where it is.
pub(crate) fn make(folder: &Path, kernel: &Kernel, image: &Image, agent: &Path) -> Result<PathBuf> {
    let out = folder.join(format!("initrd-{}.gz", kernel.series));
    let file = File::create(&out).with_context(|| format!("making {}", out.display()))?;
    let mut archive = Archive::new(GzEncoder::new(BufWriter::new(file), Compression::fast()));
    for dir in ["dev", "proc", "sys", "tmp", "usr/lib/ssl"] {
        archive.folders(Path::new(dir))?;
    }
    let host = |name: &str| sh::which(name).with_context(|| format!("{name} is not installed"));
    archive.copy("bin/busybox", &host("busybox")?)?;
    archive.copy("bin/sh", &host("busybox")?)?;
    for (to, from) in [
        ("bin/tlsight", agent.to_owned()),
        ("bin/openssl", host("openssl")?),
        ("bin/bpftool", host("bpftool")?),
    ] {
        archive.copy(to, &from)?;
        for library in libraries(&from)? {
            archive.copy(library.trim_start_matches('/'), Path::new(&library))?;
        }
    }
    archive.bytes("usr/lib/ssl/openssl.cnf", b"")?;
    archive.bytes("tlsight.yaml", SETTINGS.as_bytes())?;
    archive.bytes("strict.yaml", STRICT.as_bytes())?;
    archive.copy("init", &places::root().join("tests/vm/init"))?;
    for (n, name) in MODULES.iter().enumerate() {
        let module = find(&image.modules, name)?;
        // In the order of their names is in the order of their needs.
        archive.bytes(&format!("lib/modules/{n}-{name}.ko"), &unpacked(&module)?)?;
    }
    for file in certificates(folder)? {
        archive.copy(&format!("pki/{}", file.file_name().unwrap_or_default().to_string_lossy()), &file)?;
    }
    archive.finish()?;
    Ok(out)
}

/// The libraries that a program is linked with, and what loads them.
fn libraries(program: &Path) -> Result<Vec<String>> {
    let text = sh::capture(sh::command("ldd").arg(program))?;
    let path = |line: &str| line.split_whitespace().find(|word| word.starts_with('/')).map(str::to_owned);
    Ok(text.lines().filter_map(path).collect())
}

fn find(dir: &Path, name: &str) -> Result<PathBuf> {
    let wanted = format!("{name}.ko*");
    let found = sh::capture(sh::command("find").arg(dir).args(["-name", &wanted]))?;
    let first = found.lines().next().with_context(|| format!("no module {name} in {}", dir.display()))?;
    Ok(first.into())
}

fn unpacked(module: &Path) -> Result<Vec<u8>> {
    if module.extension().is_some_and(|ending| ending == "xz") {
        let out = sh::command("xz").args(["--decompress", "--stdout"]).arg(module).output()?;
        return Ok(out.stdout);
    }
    fs::read(module).with_context(|| format!("reading {}", module.display()))
}

/// An authority, and certificates of a server and of a client, made anew.
fn certificates(folder: &Path) -> Result<Vec<PathBuf>> {
    let dir = folder.join("pki");
    fs::create_dir_all(&dir)?;
    let make = |arguments: &[&str]| {
        let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "3650"];
        sh::capture(sh::command("openssl").args(["req", "-x509"]).args(key).args(arguments).current_dir(&dir))
    };
    make(&["-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=vm test CA"])?;
    for (name, usage) in [("server", "serverAuth"), ("client", "clientAuth")] {
        let (key, cert) = (format!("{name}.key"), format!("{name}.pem"));
        let (subject, usage) = (format!("/CN={name}.test"), format!("extendedKeyUsage={usage}"));
        let san = format!("subjectAltName=DNS:{name}.test");
        let mut arguments = vec!["-CA", "ca.pem", "-CAkey", "ca.key", "-keyout", &key, "-out", &cert];
        arguments.extend(["-subj", &subject, "-addext", &usage, "-addext", &san]);
        arguments.extend(["-addext", "basicConstraints=critical,CA:FALSE"]);
        make(&arguments)?;
    }
    let names = ["ca.pem", "server.pem", "server.key", "client.pem", "client.key"];
    Ok(names.iter().map(|name| dir.join(name)).collect())
}

/// A cpio archive, format "newc" (initramfs buffer format of the kernel's documentation).
struct Archive<W: Write> {
    out: W,
    length: usize,
    entries: u32,
    written: BTreeSet<PathBuf>,
}

impl<W: Write> Archive<W> {
    fn new(out: W) -> Self {
        Self { out, length: 0, entries: 0, written: BTreeSet::new() }
    }

    fn copy(&mut self, to: &str, from: &Path) -> Result<()> {
        let bytes = fs::read(from).with_context(|| format!("reading {}", from.display()))?;
        self.bytes(to, &bytes)
    }

    fn bytes(&mut self, to: &str, bytes: &[u8]) -> Result<()> {
        let to = Path::new(to);
        if let Some(dir) = to.parent() {
            self.folders(dir)?;
        }
        self.once(to, PROGRAM, bytes)
    }

    fn folders(&mut self, dir: &Path) -> Result<()> {
        let mut all: Vec<&Path> = dir.ancestors().filter(|dir| !dir.as_os_str().is_empty()).collect();
        all.reverse();
        all.into_iter().try_for_each(|dir| self.once(dir, FOLDER, &[]))
    }

    fn once(&mut self, path: &Path, mode: u32, bytes: &[u8]) -> Result<()> {
        if self.written.insert(path.to_owned()) {
            self.entry(&path.to_string_lossy(), mode, bytes)?;
        }
        Ok(())
    }

    fn entry(&mut self, name: &str, mode: u32, bytes: &[u8]) -> Result<()> {
        self.entries += 1;
        let mut head = "070701".to_owned();
        // Inode, mode, owner, group, links, time, size, two device numbers twice, length of the name, checksum.
        let size = u32::try_from(bytes.len())?;
        let name_length = u32::try_from(name.len() + 1)?;
        for field in [self.entries, mode, 0, 0, 1, 0, size, 0, 0, 0, 0, name_length, 0] {
            head.push_str(&format!("{field:08x}"));
        }
        self.put(head.as_bytes())?;
        self.put(name.as_bytes())?;
        self.put(&[0])?;
        self.pad()?;
        self.put(bytes)?;
        self.pad()
    }

    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.length += bytes.len();
        Ok(self.out.write_all(bytes)?)
    }

    fn pad(&mut self) -> Result<()> {
        while !self.length.is_multiple_of(4) {
            self.put(&[0])?;
        }
        Ok(())
    }

    fn finish(mut self) -> Result<()> {
        self.entry("TRAILER!!!", 0, &[])?;
        Ok(self.out.flush()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_has_its_folders_before_it_and_is_there_once() {
        let mut out = Vec::new();
        let mut archive = Archive::new(&mut out);
        archive.bytes("a/b", b"xyz").unwrap();
        archive.bytes("a/b", b"other").unwrap();
        archive.finish().unwrap();
        let text = String::from_utf8(out).unwrap();
        let names = ["a\0", "a/b\0", "TRAILER!!!\0"].map(|name| text.find(name).unwrap());
        assert!(names.is_sorted() && text.len().is_multiple_of(4), "{text:?}");
        assert_eq!(
            (text.matches("070701").count(), text.contains("xyz\0"), text.contains("other")),
            (3, true, false)
        );
    }
}
