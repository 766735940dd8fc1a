"""Put what the site's pages need in a browser beside them: `python book/vendor.py`.

`vendor.json` names each npm package with its exact version, the sha256 of its tarball, its licence
and the files to take. A tarball with another sum is refused and nothing of it is unpacked. Once the
files are there, the script needs neither npm nor a network.
"""

import hashlib
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

WANTED = Path(__file__).with_name("vendor.json")
VENDOR = Path(__file__).resolve().parent / "_static" / "vendor"


def main() -> None:
    """Fetch everything that `vendor.json` names, unless it is already there."""
    wanted = WANTED.read_text(encoding="utf-8")
    done = VENDOR / "done.json"  # the vendor.json that the files came from
    if done.is_file() and done.read_text(encoding="utf-8") == wanted:
        return
    shutil.rmtree(VENDOR, ignore_errors=True)
    with tempfile.TemporaryDirectory() as folder:
        for entry in json.loads(wanted):
            tarball = pack(entry["package"], Path(folder))
            unpack(tarball, entry["sha256"], entry["files"], VENDOR)
            print(f"{entry['package']}: sha256 as expected")
    done.write_text(wanted, encoding="utf-8")


def pack(package: str, folder: Path) -> Path:
    """Fetch the tarball of one npm package (`name@version`) into a folder."""
    npm = shutil.which("npm")
    if npm is None:
        sys.exit(
            "npm not found: install Node.js 18 or later, "
            "or copy book/_static/vendor from a machine that has built the site"
        )
    command = [npm, "pack", "--silent", "--pack-destination", folder, package]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        sys.exit(f"{package}: npm pack failed; is there a network?\n{result.stderr.strip()}")
    return folder / result.stdout.strip()


def unpack(tarball: Path, sha256: str, files: dict[str, str], out: Path) -> None:
    """Copy files and folders out of a tarball, if it is the right one.

    Args:
        tarball: An npm package; everything in it lies under `package/`.
        sha256: The sum it must have.
        files: From a path in the package to a path below `out`.
        out: The folder to copy to.

    Raises:
        ValueError: If the sum differs.
        FileNotFoundError: If the package does not hold one of the files.
    """
    found = hashlib.sha256(tarball.read_bytes()).hexdigest()
    if found != sha256:
        raise ValueError(f"{tarball.name}: sha256 is {found}, vendor.json says {sha256}")
    with tempfile.TemporaryDirectory() as folder, tarfile.open(tarball) as archive:
        archive.extractall(folder, filter="data")
        for source, target in files.items():
            path = Path(folder, "package", source)
            (out / target).parent.mkdir(parents=True, exist_ok=True)
            (shutil.copytree if path.is_dir() else shutil.copy)(path, out / target)


if __name__ == "__main__":
    main()
