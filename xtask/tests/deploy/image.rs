//! The container image, read back by programs that nobody here wrote.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::tools::{Scratch, output, python, repository, xtask};

/// Packs a program that is none.
fn pack(scratch: &Scratch, name: &str, more: &[&str]) -> PathBuf {
    let program = scratch.file("program", "\u{7f}ELF, as far as this test goes\n");
    let bundle = scratch.file("bundle.pem", "-----BEGIN CERTIFICATE-----\n");
    let out = scratch.0.join(name);
    let mut image = xtask();
    image.args(["image", "--arch", "x86_64", "--program"]).arg(program).arg("--out").arg(&out);
    image.arg("--ca-bundle").arg(bundle).args(more).env("SOURCE_DATE_EPOCH", "1700000000");
    output(&mut image);
    out
}

fn skopeo(words: &[&str], archive: &Path) -> String {
    let mut skopeo = Command::new("skopeo");
    output(skopeo.args(words).arg(format!("oci-archive:{}", archive.display())))
}

#[test]
fn the_same_contents_give_the_same_bytes() {
    let scratch = Scratch::new();
    let (first, second) = (pack(&scratch, "first.tar", &[]), pack(&scratch, "second.tar", &[]));
    assert!(fs::read(first).expect("read") == fs::read(second).expect("read"));
}

#[test]
fn skopeo_reads_what_the_image_says_of_itself() {
    let scratch = Scratch::new();
    let archive = pack(&scratch, "image.tar", &["--name", "acme/tlsight:1.2"]);
    let seen: Value = serde_json::from_str(&skopeo(&["inspect"], &archive)).expect("JSON");
    assert_eq!((&seen["Architecture"], &seen["Os"]), (&json!("amd64"), &json!("linux")));
    assert_eq!(seen["Created"], "2023-11-14T22:13:20Z");
    assert_eq!(seen["Layers"].as_array().map(Vec::len), Some(1));
    let label = |key: &str| seen["Labels"][format!("org.opencontainers.image.{key}")].clone();
    let labels = ["title", "licenses", "version", "created"].map(label);
    assert_eq!(labels, ["tlsight", "Apache-2.0 OR MIT", env!("CARGO_PKG_VERSION"), "2023-11-14T22:13:20Z"]);
    let revision = output(Command::new("git").arg("-C").arg(repository()).args(["rev-parse", "HEAD"]));
    assert!(label("revision").as_str().expect("text").starts_with(revision.trim()));
    let config: Value = serde_json::from_str(&skopeo(&["inspect", "--config"], &archive)).expect("JSON");
    let expected = json!({"Entrypoint": ["/tlsight"], "Cmd": ["agent"], "WorkingDir": "/", "Labels": config["config"]["Labels"]});
    assert_eq!(config["config"], expected);
}

#[test]
fn skopeo_copies_it_which_checks_every_digest() {
    let scratch = Scratch::new();
    let archive = pack(&scratch, "image.tar", &[]);
    let to = scratch.0.join("copied.tar");
    let mut skopeo = Command::new("skopeo");
    skopeo.arg("--insecure-policy").arg("copy").arg(format!("oci-archive:{}", archive.display()));
    output(skopeo.arg(format!("docker-archive:{}:tlsight:copied", to.display())));
    assert!(to.is_file());
}

/// Lists the only layer, by way of Python's standard library.
const LIST: &str = r#"
import hashlib, gzip, io, json, sys, tarfile
archive = tarfile.open(sys.argv[1])
read = lambda name: archive.extractfile(name).read()
blob = lambda digest: read("blobs/" + digest.replace(":", "/"))
assert json.loads(read("oci-layout")) == {"imageLayoutVersion": "1.0.0"}
for name in archive.getnames():
    if name.startswith("blobs/sha256/"):
        assert hashlib.sha256(read(name)).hexdigest() == name.rsplit("/", 1)[1], name
described = json.loads(read("index.json"))["manifests"][0]
manifest = json.loads(blob(described["digest"]))
layer = gzip.decompress(blob(manifest["layers"][0]["digest"]))
config = json.loads(blob(manifest["config"]["digest"]))
assert config["rootfs"]["diff_ids"] == ["sha256:" + hashlib.sha256(layer).hexdigest()]
for entry in tarfile.open(fileobj=io.BytesIO(layer)):
    print(entry.name, oct(entry.mode), entry.uid, entry.gid, entry.mtime, entry.isdir())
print(described["annotations"]["io.containerd.image.name"])
"#;

#[test]
fn there_is_nothing_in_it_but_the_program_and_authorities() {
    let scratch = Scratch::new();
    let archive = pack(&scratch, "image.tar", &[]);
    let expected = format!(
        "etc 0o755 0 0 0 True\netc/ssl 0o755 0 0 0 True\netc/ssl/certs 0o755 0 0 0 True\n\
         etc/ssl/certs/ca-certificates.crt 0o644 0 0 0 False\ntlsight 0o755 0 0 0 False\n\
         docker.io/library/tlsight:{}\n",
        env!("CARGO_PKG_VERSION")
    );
    assert_eq!(output(python("python3").args(["-c", LIST]).arg(&archive)), expected);
}
