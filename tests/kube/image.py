"""Packs files into an image archive that containerd imports: the images of the tests come from no registry.

usage: image.py NAME:TAG OUT.tar PATH_IN_IMAGE=FILE|PATH_IN_IMAGE->LINK_TARGET ...      (the first file is the entry point)
"""
import hashlib
import io
import json
import platform
import sys
import tarfile

name, out, *entries = sys.argv[1:]
layer = io.BytesIO()
entrypoint = entries[0].split("=", 1)[0]
with tarfile.open(fileobj=layer, mode="w") as tar:
    for given in entries:
        if "->" in given:
            inside, target = given.split("->", 1)
            entry = tarfile.TarInfo(inside.lstrip("/"))
            entry.type, entry.linkname = tarfile.SYMTYPE, target
            tar.addfile(entry)
            continue
        inside, local = given.split("=", 1)
        with open(local, "rb") as source:
            data = source.read()
        entry = tarfile.TarInfo(inside.lstrip("/"))
        entry.size, entry.mode = len(data), 0o755
        tar.addfile(entry, io.BytesIO(data))
blob = layer.getvalue()
digest = "sha256:" + hashlib.sha256(blob).hexdigest()
config = json.dumps({
    "architecture": {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine()),
    "os": "linux", "config": {"Entrypoint": [entrypoint]},
    "rootfs": {"type": "layers", "diff_ids": [digest]},
}).encode()
config_name = hashlib.sha256(config).hexdigest() + ".json"
manifest = json.dumps([{"Config": config_name, "RepoTags": [name], "Layers": ["layer.tar"]}]).encode()
with tarfile.open(out, "w") as tar:
    for inside, data in ((config_name, config), ("layer.tar", blob), ("manifest.json", manifest)):
        entry = tarfile.TarInfo(inside)
        entry.size = len(data)
        tar.addfile(entry, io.BytesIO(data))
