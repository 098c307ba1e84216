//! An image of one layer, as an archive: the same bytes for the same contents.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::io::Write as _;

use anyhow::{Context, Result};
use flate2::{Compression, GzBuilder};
use oci_spec::image::{
    ConfigBuilder, DescriptorBuilder, HistoryBuilder, ImageConfigurationBuilder, ImageIndexBuilder,
    ImageManifestBuilder, MediaType, OciLayoutBuilder, Os, PlatformBuilder, RootFsBuilder, Sha256Digest,
};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tar::{EntryType, Header};

use super::Arch;

const DESCRIPTION: &str =
    "Sees every TCP connection of a Linux host and says whether it is plaintext, TLS or mutual TLS";

/// What is said of an image.
pub(super) struct Image {
    pub(super) arch: Arch,
    /// Name and tag.
    pub(super) name: String,
    pub(super) version: String,
    /// The commit it is of.
    pub(super) revision: Option<String>,
    /// RFC 3339.
    pub(super) created: String,
}

/// What is in it.
pub(super) struct Contents {
    /// The static executable.
    pub(super) program: Vec<u8>,
    /// Authorities that are trusted, PEM.
    pub(super) ca_bundle: Option<Vec<u8>>,
}

/// Puts the archive together.
pub(super) fn pack(image: &Image, contents: &Contents) -> Result<Vec<u8>> {
    let layer = layer(contents)?;
    let packed = gzip(&layer)?;
    let config = json(&configuration(image, &sha256(&layer))?)?;
    let manifest = ImageManifestBuilder::default()
        .schema_version(2u32)
        .media_type(MediaType::ImageManifest)
        .config(descriptor(MediaType::ImageConfig, &config)?.build()?)
        .layers([descriptor(MediaType::ImageLayerGzip, &packed)?.build()?])
        .annotations(labels(image))
        .build()?;
    let manifest = json(&manifest)?;
    let platform = PlatformBuilder::default().os(Os::Linux).architecture(architecture(image.arch)).build()?;
    let described = descriptor(MediaType::ImageManifest, &manifest)?
        .platform(platform)
        .annotations(names(&image.name))
        .build()?;
    let index = ImageIndexBuilder::default()
        .schema_version(2u32)
        .media_type(MediaType::ImageIndex)
        .manifests([described])
        .build()?;
    let layout = OciLayoutBuilder::default().image_layout_version("1.0.0").build()?;

    let mut archive = Archive::new();
    archive.file("oci-layout", 0o644, &json(&layout)?)?;
    archive.file("index.json", 0o644, &json(&index)?)?;
    archive.folder("blobs")?;
    archive.folder("blobs/sha256")?;
    let blobs: BTreeMap<String, &[u8]> =
        [&config, &manifest, &packed].map(|blob| (sha256(blob), blob.as_slice())).into();
    for (digest, blob) in blobs {
        archive.file(&format!("blobs/sha256/{digest}"), 0o644, blob)?;
    }
    archive.finish()
}

/// The file system: the program, and nothing that would let anything else run. No /etc/passwd: its user is root's number.
fn layer(contents: &Contents) -> Result<Vec<u8>> {
    let mut layer = Archive::new();
    if let Some(bundle) = &contents.ca_bundle {
        for folder in ["etc", "etc/ssl", "etc/ssl/certs"] {
            layer.folder(folder)?;
        }
        layer.file("etc/ssl/certs/ca-certificates.crt", 0o644, bundle)?;
    }
    layer.file("tlsight", 0o755, &contents.program)?;
    layer.finish()
}

fn configuration(image: &Image, layer: &str) -> Result<oci_spec::image::ImageConfiguration> {
    let config = ConfigBuilder::default()
        .entrypoint(["/tlsight".to_owned()])
        .cmd(["agent".to_owned()])
        .working_dir("/")
        .labels(labels(image))
        .build()?;
    let rootfs = RootFsBuilder::default().typ("layers").diff_ids([format!("sha256:{layer}")]).build()?;
    let history =
        HistoryBuilder::default().created(image.created.clone()).created_by("cargo xtask image").build()?;
    Ok(ImageConfigurationBuilder::default()
        .created(image.created.clone())
        .architecture(architecture(image.arch))
        .os(Os::Linux)
        .config(config)
        .rootfs(rootfs)
        .history([history])
        .build()?)
}

fn architecture(arch: Arch) -> oci_spec::image::Arch {
    match arch {
        Arch::X86_64 => oci_spec::image::Arch::Amd64,
        Arch::Aarch64 => oci_spec::image::Arch::ARM64,
    }
}

/// The keys that the image specification predefines.
fn labels(image: &Image) -> HashMap<String, String> {
    let mut labels = vec![
        ("title", "tlsight"),
        ("description", DESCRIPTION),
        ("licenses", "Apache-2.0 OR MIT"),
        ("source", env!("CARGO_PKG_REPOSITORY")),
        ("url", env!("CARGO_PKG_REPOSITORY")),
        ("version", &image.version),
        ("created", &image.created),
    ];
    labels.extend(image.revision.as_deref().map(|revision| ("revision", revision)));
    let labels = labels.into_iter();
    labels.map(|(key, value)| (format!("org.opencontainers.image.{key}"), value.to_owned())).collect()
}

/// How it is called: the tag for those who read the specification, and the whole name for containerd, which fills in what
/// kubelet fills in.
fn names(name: &str) -> HashMap<String, String> {
    let (repository, tag) = match name.rsplit_once(':') {
        // A colon before a slash is a port's.
        Some((repository, tag)) if !tag.contains('/') => (repository, tag),
        _ => (name, "latest"),
    };
    let whole = match repository.split_once('/') {
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => repository.to_owned(),
        Some(_) => format!("docker.io/{repository}"),
        None => format!("docker.io/library/{repository}"),
    };
    [
        ("org.opencontainers.image.ref.name", tag.to_owned()),
        ("io.containerd.image.name", format!("{whole}:{tag}")),
    ]
    .map(|(key, value)| (key.to_owned(), value))
    .into()
}

fn descriptor(kind: MediaType, blob: &[u8]) -> Result<DescriptorBuilder> {
    let digest: Sha256Digest = sha256(blob).parse()?;
    Ok(DescriptorBuilder::default().media_type(kind).digest(digest).size(blob.len() as u64))
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::with_capacity(64), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Without a name and a time in its head.
fn gzip(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut to = GzBuilder::new().mtime(0).write(Vec::new(), Compression::best());
    to.write_all(bytes)?;
    to.finish().context("compressing the layer")
}

/// With keys in order: the specification's types keep some in tables that have none.
fn json(value: &impl serde::Serialize) -> Result<Vec<u8>> {
    fn sorted(value: Value) -> Value {
        match value {
            Value::Object(object) => {
                let by_key: BTreeMap<String, Value> =
                    object.into_iter().map(|(key, v)| (key, sorted(v))).collect();
                Value::Object(by_key.into_iter().collect())
            }
            Value::Array(all) => Value::Array(all.into_iter().map(sorted).collect()),
            other => other,
        }
    }
    Ok(serde_json::to_vec(&sorted(serde_json::to_value(value)?))?)
}

/// A tar archive whose entries belong to root and are of 1970.
struct Archive(tar::Builder<Vec<u8>>);

impl Archive {
    fn new() -> Self {
        Self(tar::Builder::new(Vec::new()))
    }

    fn file(&mut self, path: &str, mode: u32, bytes: &[u8]) -> Result<()> {
        self.entry(EntryType::Regular, path, mode, bytes)
    }

    fn folder(&mut self, path: &str) -> Result<()> {
        self.entry(EntryType::Directory, &format!("{path}/"), 0o755, &[])
    }

    fn entry(&mut self, kind: EntryType, path: &str, mode: u32, bytes: &[u8]) -> Result<()> {
        let mut header = Header::new_ustar();
        header.set_entry_type(kind);
        header.set_path(path).with_context(|| format!("naming {path}"))?;
        header.set_mode(mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(bytes.len() as u64);
        header.set_cksum();
        self.0.append(&header, bytes).with_context(|| format!("packing {path}"))
    }

    fn finish(self) -> Result<Vec<u8>> {
        self.0.into_inner().context("ending an archive")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_made_whole_as_container_engines_do() {
        for (name, tag, whole) in [
            ("tlsight:0.1.0", "0.1.0", "docker.io/library/tlsight:0.1.0"),
            ("tlsight", "latest", "docker.io/library/tlsight:latest"),
            ("acme/tlsight:1", "1", "docker.io/acme/tlsight:1"),
            ("registry.example:5000/tlsight", "latest", "registry.example:5000/tlsight:latest"),
            ("localhost/tlsight:a", "a", "localhost/tlsight:a"),
        ] {
            let names = names(name);
            let name_of = |key: &str| names.get(key).map(String::as_str);
            let found = (name_of("org.opencontainers.image.ref.name"), name_of("io.containerd.image.name"));
            assert_eq!(found, (Some(tag), Some(whole)), "{name}");
        }
    }
}
