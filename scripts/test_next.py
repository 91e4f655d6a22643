"""Run the tests on the Pythons that this machine lacks: those of Debian's coming release.

    python scripts/test_next.py                         all tests, on each of VERSIONS
    python scripts/test_next.py -k timers -x            some of them; the rest goes to pytest
    python scripts/test_next.py --python 3.15           on this version only
    python scripts/test_next.py --conformance RUNNER    and then CPython's own asyncio tests

The release is unpacked into a folder, once, and the checkout is copied there: nothing in it or in
the machine changes. MEANTIME_NEXT_FOLDER names another folder than ~/.cache/meantime/forky, and
MEANTIME_DEBIAN_MIRROR another mirror than the one that apt uses here. To renew it, delete it.

The exit status is CANNOT where it cannot be done, 1 where a test fails.
"""

import argparse
import contextlib
import fcntl
import filecmp
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

CHECKOUT = Path(__file__).parents[1]
RELEASE = "forky"
VERSIONS = ("3.14", "3.15")
PUBLIC_MIRROR = "http://deb.debian.org/debian"

# What a command mounts ends with it, even if it is killed.
PRIVATE_MOUNTS = ["unshare", "--mount", "--propagation", "private"]

# What Automake's test drivers read as "skipped".
CANNOT = 77

PACKAGES = ["ca-certificates", "gcc", "libc6-dev", "make"]
PACKAGES += [
    pattern.format(version)
    for version in VERSIONS
    for pattern in ("python{}", "python{}-dev", "python{}-venv", "libpython{}-testsuite")
]

# Of the caller's environment, what says how to reach package registries, and what is for us.
KEPT_VARIABLES = re.compile(
    r"(PIP_(\w*INDEX_URL|TRUSTED_HOST|CERT|PROXY|\w*TIMEOUT)|\w+_proxy|SSL_CERT_\w+|MEANTIME_\w+)$",
    re.IGNORECASE,
)
PIP_CONFIG = [sys.executable, "-m", "pip", "config"]
PIP_SETTINGS = ("index-url", "proxy", "trusted-host", "cert")
# What a checkout has that is made on the spot, and would not fit another Python.
NOT_COPIED = re.compile(
    r"\.git$|\.venv.*|build$|dist$|__pycache__$|\.\w+_cache$|\.hypothesis$|\.conformance$"
)


class CannotTestError(Exception):
    """Why the tests cannot be run here, and what to do."""


def main(words: Sequence[str]) -> int:
    """Prepare, copy and run, and return the exit status."""
    options, pytest_words = parse(words)
    # Lines of ours and of the programs that are started come in their order, also into a pipe.
    sys.stdout.reconfigure(line_buffering=True)
    folder = Path(
        os.environ.get("MEANTIME_NEXT_FOLDER")
        or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "meantime", RELEASE).expanduser()
    ).absolute()
    started_s = time.monotonic()
    try:
        check_rights()
        with only_one(folder):
            root = prepare(folder)
            copy_changed(CHECKOUT, root / "meantime")
            if options.conformance is not None:
                copy_changed(options.conformance.parent, root / "conformance", keeps_others=True)
            print(f"prepared in {time.monotonic() - started_s:.0f} s")
            failed = [
                version
                for version in options.python or VERSIONS
                if not passes(root, version, pytest_words, options.conformance)
            ]
    except CannotTestError as reason:
        print(f"skipped: Python {' and '.join(VERSIONS)}, because {reason}", file=sys.stderr)
        return CANNOT
    if failed:
        print(f"failed on Python {' and '.join(failed)}")
    return 1 if failed else 0


def parse(words: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """Return our options, and what is for pytest."""
    parser = argparse.ArgumentParser(
        usage="%(prog)s [--python VERSION] [--conformance RUNNER] [PYTEST_ARGUMENT ...]",
        description=f"Run the tests on Python {' and '.join(VERSIONS)}, taken from Debian's "
        f"coming release. Other arguments go to pytest.",
        allow_abbrev=False,
    )
    parser.add_argument("--python", action="append", choices=VERSIONS, help="on this one only")
    parser.add_argument(
        "--conformance",
        type=Path,
        metavar="RUNNER",
        help="run CPython's own asyncio tests too, by this program",
    )
    return parser.parse_known_args(words)


# --- The folder -----------------------------------------------------------------------------------


def check_rights() -> None:
    """Refuse where a folder cannot be made the root of a process.

    Raises:
        CannotTestError: this is not Linux, or we are not root, or may not mount.
    """
    if sys.platform != "linux" or os.geteuid() != 0:
        raise CannotTestError(
            "only root on Linux can enter the folder that they are unpacked into. "
            "Call it as root, for example in a container of your own."
        )
    if not succeeds([*PRIVATE_MOUNTS, "true"]):
        raise CannotTestError(
            "this process may not mount anything, as in a container without rights. "
            "Run it on the machine itself, or give the container the right CAP_SYS_ADMIN."
        )


@contextlib.contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Hold the folder for ourselves; a second call waits for the first."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"another run uses {folder}: waiting for its end")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def prepare(folder: Path) -> Path:
    """Return the root of the release with all PACKAGES in it, unpacked if it is not there yet.

    Raises:
        CannotTestError: a program is missing, or the mirror does not answer.
    """
    root, stamp = folder / "root", folder / "packages"
    if not root.exists():
        # Complete under its name, or not there: an interrupted call leaves nothing half-made.
        partial = folder / "partial"
        shutil.rmtree(partial, ignore_errors=True)
        unpack(partial)
        partial.rename(root)
    take_over_settings(root)
    wanted = " ".join(PACKAGES)
    if not stamp.exists() or stamp.read_text() != wanted:
        print("installing", wanted)
        install(root)
        # The package of authorities has written its own list.
        take_over_settings(root)
        stamp.write_text(wanted)
    return root


def unpack(root: Path) -> None:
    """Unpack the smallest system of the release."""
    if shutil.which("debootstrap") is None:
        # Root may install it where there is apt-get.
        if shutil.which("apt-get") is not None:
            succeeds(["apt-get", "update", "-qq"])
            succeeds(["apt-get", "install", "-qq", "-y", "--no-install-recommends", "debootstrap"])
        if shutil.which("debootstrap") is None:
            raise CannotTestError(
                "debootstrap is missing. Install it (Debian: apt-get install debootstrap)"
            )
    mirror = mirror_in_use()
    print(f"unpacking Debian {RELEASE} into {root.parent}")
    # An older debootstrap has no script for the release, and that of sid fits all recent ones.
    script = "/usr/share/debootstrap/scripts/sid"
    command = ["debootstrap", "--variant=minbase", RELEASE, str(root), mirror, script]
    done = subprocess.run(
        [*PRIVATE_MOUNTS, *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode != 0:
        said = " ".join(done.stdout.strip().splitlines()[-2:])
        raise CannotTestError(
            f"debootstrap failed ({said}). Where the mirror of this machine has no {RELEASE}, "
            "name another one: MEANTIME_DEBIAN_MIRROR=http://…"
        )


def mirror_in_use() -> str:
    """Return the mirror that was asked for, or that apt takes Debian from here."""
    asked = os.environ.get("MEANTIME_DEBIAN_MIRROR")
    if asked or not Path("/etc/debian_version").exists():
        return asked or PUBLIC_MIRROR
    listing = said_by(
        ["apt-get", "indextargets", "--format", "$(RELEASE) $(REPO_URI)", "Created-By: Packages"]
    )
    # Those of updates and of security hold no whole release.
    mirrors = [line.split()[1] for line in listing.splitlines() if "-" not in line.split()[0]]
    debians = [mirror for mirror in mirrors if mirror.rstrip("/").endswith("debian")]
    return debians[0] if debians else PUBLIC_MIRROR


def take_over_settings(root: Path) -> None:
    """Let what runs inside reach what is reached outside: names, proxies, authorities."""
    for name in ("/etc/resolv.conf", "/etc/hosts", "/etc/ssl/certs/ca-certificates.crt"):
        copy_to(root, Path(name))
    wanted = re.compile(r"Acquire::(Check-|\w+::(Proxy|Verify|CaInfo))")
    lines = said_by(["apt-config", "dump", "--no-empty", "Acquire"]).splitlines()
    write(root / "etc/apt/apt.conf.d/99host", filter(wanted.match, lines))
    pip = {key: said_by([*PIP_CONFIG, "get", f"global.{key}"]) for key in PIP_SETTINGS}
    write(root / "etc/pip.conf", ["[global]", *(f"{k} = {v}" for k, v in pip.items() if v)])
    for certificate in {pip["cert"], os.environ.get("PIP_CERT", "")} - {""}:
        copy_to(root, Path(certificate))


def copy_to(root: Path, path: Path) -> None:
    """Copy a file of the machine to its own place in the folder, if the machine has it."""
    target = root / path.relative_to("/")
    if path.is_file():
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        shutil.copyfile(path, target)


def write(path: Path, lines: Iterator[str] | list[str]) -> None:
    """Write lines into a file."""
    path.write_text("".join(f"{line}\n" for line in lines))


def install(root: Path) -> None:
    """Install PACKAGES into the folder.

    Raises:
        CannotTestError: apt-get failed.
    """
    for command in (
        ["apt-get", "update", "-qq"],
        ["apt-get", "install", "-qq", "-y", "--no-install-recommends", *PACKAGES],
    ):
        done = inside(root, command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if done.returncode != 0:
            said = " ".join(done.stdout.decode(errors="replace").strip().splitlines()[-2:])
            raise CannotTestError(
                f"{' '.join(command[:2])} failed in the folder ({said}). "
                f"Try again, or delete {root.parent} to begin anew."
            )


# --- The copy -------------------------------------------------------------------------------------


def copy_changed(source: Path, target: Path, keeps_others: bool = False) -> None:
    """Make `target` a copy of `source`, and leave alone what is the same already.

    What is written again is compiled again. A fresh clone has new time stamps, so they say nothing.
    """
    names = set(files_below(source))
    for name in names:
        copy = target / name
        if not copy.is_file() or not filecmp.cmp(source / name, copy, shallow=False):
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / name, copy)
            copy.chmod((source / name).stat().st_mode)
    if not keeps_others and target.exists():
        for name in set(files_below(target)) - names:
            (target / name).unlink()


def files_below(folder: Path) -> Iterator[Path]:
    """Yield the files of a checkout, relative to it, without what was made there."""
    for directory, subdirectories, names in os.walk(folder):
        subdirectories[:] = [name for name in subdirectories if not NOT_COPIED.match(name)]
        yield from (Path(directory, name).relative_to(folder) for name in names)


# --- The tests ------------------------------------------------------------------------------------


def passes(root: Path, version: str, pytest_words: Sequence[str], runner: Path | None) -> bool:
    """Run the tests on one version, and tell whether they passed."""
    print(f"--- Python {version}: {said_inside(root, f'python{version}', '--version')}")
    make = ["make", "--no-print-directory", "-C", "/meantime"]
    make += [f"PYTHON=python{version}", f"VENV=/envs/next-{version}"]
    status = inside(root, [*make, "test", f"ARGS={shlex.join(pytest_words)}"]).returncode
    if runner is not None and status == 0:
        copy = Path("/conformance", runner.name)
        classify(root, version, copy)
        status = inside(root, [*make, "conformance", f"CPYTHON_RUNNER={copy}"]).returncode
    return status == 0


def classify(root: Path, version: str, runner: Path) -> None:
    """Let the runner find out which of a new version's tests it can judge, once."""
    python = f"/envs/next-{version}/bin/python"
    exact = said_inside(root, python, "-c", "import sys; print('%d.%d.%d' % sys.version_info[:3])")
    table = Path("conformance", "applicability", f"cpython-{exact}.json")
    if not (root / table).exists():
        print(f"classifying the tests of CPython {exact}, once, as {root / table}")
        inside(root, [python, str(runner), "--python", python, "--classify"])


# --- Running programs -----------------------------------------------------------------------------


def inside(root: Path, command: Sequence[str], **how: object) -> subprocess.CompletedProcess:
    """Run a command with the folder as its root. What is mounted for it ends with it."""
    variables = {
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": "/root",
        "LANG": "C.UTF-8",
        "TERM": os.environ.get("TERM", "dumb"),
        "DEBIAN_FRONTEND": "noninteractive",
        **{name: value for name, value in os.environ.items() if KEPT_VARIABLES.match(name)},
    }
    enter = 'for d in proc sys dev; do mount --rbind /$d "$0/$d"; done; exec chroot "$0" "$@"'
    return subprocess.run(
        [*PRIVATE_MOUNTS, "sh", "-ec", enter, str(root), *command],
        env=variables,
        stdin=subprocess.DEVNULL,
        check=False,
        **how,
    )


def said_inside(root: Path, *command: str) -> str:
    """Return what a command prints in the folder."""
    return inside(root, command, stdout=subprocess.PIPE).stdout.decode().strip()


def said_by(command: Sequence[str]) -> str:
    """Return what a command prints; nothing if it fails or is not there."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def succeeds(command: Sequence[str]) -> bool:
    """Run a command, quietly, and tell whether it could be run and succeeded."""
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
