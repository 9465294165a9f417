"""Every file in models/ on 64-bit Arm without a board: a small Debian for arm64, run by qemu's user-mode emulation.

python tests/arm64/emulated.py [--root FOLDER] [--report FILE.json] [FILE.onnx...]

The golden vectors inside the files were made by PyTorch on x86-64; they are checked by the runtime's wheel with
onnxruntime's and numpy's own wheels for aarch64. Times under emulation mean nothing, and are not taken. Nothing is
installed on this machine: qemu and debootstrap are unpacked beside the root where they are not there. Where that is
not possible (not root, no Debian, no network) the reason is printed and nothing fails.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[2]
SUITE, PYTHON = "bookworm", "3.11"
MIRROR = os.environ.get("DEBIAN_MIRROR", "http://deb.debian.org/debian")
PACKAGES = ("onnxruntime", "numpy", "flatbuffers", "protobuf", "packaging")
PLATFORMS = ("manylinux_2_28", "manylinux_2_27", "manylinux_2_17", "manylinux2014")

CPUINFO = """\
processor\t: 0
Features\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x3
CPU part\t: 0xd0c
CPU revision\t: 1
"""
"""A Neoverse N1, which qemu's processor can do all of; without one, onnxruntime warns and chooses its plainest code."""


class Skip(Exception):  # noqa: N818  # it is no error
    """This cannot be tried here, and why."""


def main() -> int:
    """Build what is missing, prove every file, print a line for each."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--root", type=Path, default=REPOSITORY / "out" / "arm64", help="where the arm64 root is kept")
    parser.add_argument("--report", type=Path, help="also write what was found as JSON")
    parser.add_argument("files", nargs="*", type=Path, help="ONNX files; every one in models/ unless given")
    given = parser.parse_args()
    files = given.files or sorted((REPOSITORY / "models").glob("*/*.onnx"))
    home: Path = given.root.resolve()
    try:
        check_machine()
        home.mkdir(parents=True, exist_ok=True)
        tools = fetch_tools(home / "tools")
        root = build_root(home, tools)
        fetch_packages(root)
    except Skip as reason:
        print(f"skipped: {reason}")
        return 0
    install_runtime(root)
    return prove(root, tools["qemu-aarch64-static"], files, given.report)


def check_machine() -> None:
    """Raise Skip where the recipe cannot work."""
    if sys.platform != "linux" or not shutil.which("apt-get") or not shutil.which("dpkg-deb"):
        raise Skip("an arm64 root is built from Debian packages, and this machine has no apt-get and dpkg-deb")
    if os.geteuid() != 0:
        raise Skip("chroot and debootstrap need root; try: sudo make test-arm64")


def fetch_tools(folder: Path) -> dict[str, str]:
    """The paths of qemu-aarch64-static and debootstrap: this machine's, or unpacked into `folder` from its packages."""
    found = {}
    for tool, package, inside in (
        ("qemu-aarch64-static", "qemu-user-static", "usr/bin/qemu-aarch64-static"),
        ("debootstrap", "debootstrap", "usr/sbin/debootstrap"),
    ):
        unpacked = folder / inside
        if not shutil.which(tool) and not unpacked.exists():
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=folder) as fetched:
                obtain([["apt-get", "download", package]], [["apt-get", "update"]], cwd=fetched)
                subprocess.run(["dpkg-deb", "-x", str(next(Path(fetched).glob("*.deb"))), str(folder)], check=True)
        found[tool] = shutil.which(tool) or str(unpacked)
    return found


def build_root(home: Path, tools: dict[str, str]) -> Path:
    """A Debian for arm64 with Python, of packages that were unpacked and not configured: kept for the next time."""
    root = home / f"{SUITE}-root"
    if root.exists():
        return root
    partial = home / f"{SUITE}-partial"
    shutil.rmtree(partial, ignore_errors=True)
    environment = dict(os.environ)
    if tools["debootstrap"].startswith(str(home)):
        environment["DEBOOTSTRAP_DIR"] = str(home / "tools" / "usr" / "share" / "debootstrap")
    options = ["--arch=arm64", "--foreign", "--variant=minbase", "--include=python3"]
    obtain([[tools["debootstrap"], *options, SUITE, str(partial), MIRROR]], env=environment)
    for package in sorted((partial / "var" / "cache" / "apt" / "archives").glob("*.deb")):
        with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(package)], stdout=subprocess.PIPE) as unpacked:
            # dpkg-deb -x would put a folder in place of the link from /lib to /usr/lib, and nothing would start
            tar = ["tar", "xf", "-", "--keep-directory-symlink", "-C", str(partial)]
            subprocess.run(tar, stdin=unpacked.stdout, check=True)
        if unpacked.returncode:
            raise subprocess.CalledProcessError(unpacked.returncode, unpacked.args)
        package.unlink()
    shutil.copy(tools["qemu-aarch64-static"], partial)
    describe_processor(partial)
    partial.rename(root)
    return root


def describe_processor(root: Path) -> None:
    """The files that onnxruntime reads to know the processor, which would otherwise be this machine's or none."""
    proc, cpus = root / "proc", root / "sys" / "devices" / "system" / "cpu"
    if proc.is_symlink():  # debootstrap's, and inside the root a link to itself
        proc.unlink()
    for folder in (proc, cpus):
        folder.mkdir(parents=True, exist_ok=True)
    (proc / "cpuinfo").write_text(CPUINFO)
    for name in ("possible", "present"):
        (cpus / name).write_text("0\n")


def fetch_packages(root: Path) -> None:
    """The wheels for aarch64, of the versions in constraints.txt, in the root's /site; kept while those stay."""
    constraints = REPOSITORY / "constraints.txt"
    wanted = [line for line in constraints.read_text().splitlines() if line.split("==")[0] in PACKAGES]
    stamp = root / "site.txt"
    if stamp.exists() and stamp.read_text().split() == wanted:
        return
    site = root / "site"
    shutil.rmtree(site, ignore_errors=True)
    platforms = [f"--platform={name}_aarch64" for name in PLATFORMS]
    options = ["--no-deps", "--only-binary=:all:", f"--python-version={PYTHON}", "--implementation=cp", *platforms]
    with tempfile.TemporaryDirectory(dir=root.parent) as wheels:
        obtain([[sys.executable, "-m", "pip", "download", "--quiet", *options, "-d", wheels, *wanted]])
        unzip(Path(wheels).glob("*.whl"), site)
    stamp.write_text("\n".join(wanted))


def install_runtime(root: Path) -> None:
    """Build the runtime's wheel and unpack it in the root, fresh each time."""
    with tempfile.TemporaryDirectory(dir=root.parent) as wheels:
        command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", wheels]
        subprocess.run([*command, str(REPOSITORY / "runtime")], check=True)
        shutil.rmtree(root / "runtime", ignore_errors=True)
        unzip(Path(wheels).glob("*.whl"), root / "runtime")


def prove(root: Path, qemu: str, files: list[Path], report: Path | None) -> int:
    """Run device.py on copies of the files in the root. Returns 0 where every file passed."""
    work = root / "work"
    shutil.rmtree(work, ignore_errors=True)
    inside = [Path("/work", file.resolve().parent.name, file.name) for file in files]
    for file, copy in zip(files, inside, strict=True):
        (root / copy.relative_to("/")).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, root / copy.relative_to("/"))
    shutil.copy(Path(__file__).with_name("device.py"), work)
    command = ["chroot", str(root), f"/{Path(qemu).name}", "/usr/bin/python3", "/work/device.py", *map(str, inside)]
    environment = {"PYTHONPATH": "/runtime:/site", "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
    found = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, **environment}) as device:
        for line in device.stdout or ():
            found.append(json.loads(line))
            print(told(found[-1]), flush=True)
    if report is not None:
        report.write_text(json.dumps(found, indent=1) + "\n")
    proven = [one for one in found[1:] if one["golden"]["passed"] and one["stream"].get("passed", True)]
    print(f"{len(proven)} of {len(files)} files are proven on {found[0]['machine'] if found else 'nothing'}")
    return 0 if device.returncode == 0 and len(proven) == len(files) else 1


def told(one: dict[str, Any]) -> str:
    """A line of the table: the file, its golden vectors, its stream."""
    if "file" not in one:
        return ", ".join(f"{name} {value}" for name, value in one.items())
    golden, stream = one["golden"], one["stream"]
    verdict = f"passed, {golden['share']:.2f} of the bound" if golden["passed"] else f"FAILED {golden}"
    if "reason" in stream:
        streamed = "does not stream"
    else:
        streamed = f"streams {stream['steps']} steps" if stream["passed"] else f"stream FAILED {stream}"
    return f"{one['file']:32} {verdict}; {streamed}"


def obtain(commands: list[list[str]], before_a_second_try: Iterable[list[str]] = (), **options: Any) -> None:
    """Run what needs the network; Skip with its last words where it fails."""
    for command in commands:
        result = subprocess.run(command, capture_output=True, text=True, **options)
        for remedy in before_a_second_try if result.returncode else ():
            subprocess.run(remedy, capture_output=True, check=False)
            result = subprocess.run(command, capture_output=True, text=True, **options)
        if result.returncode:
            words = (result.stderr.strip() or result.stdout.strip() or "no word").splitlines()[-1]
            raise Skip(f"{Path(command[0]).name} could not get what is needed: {words}")


def unzip(wheels: Iterable[Path], folder: Path) -> None:
    """Unpack wheels into a folder that is put on Python's path."""
    for wheel in wheels:
        zipfile.ZipFile(wheel).extractall(folder)


if __name__ == "__main__":
    sys.exit(main())
