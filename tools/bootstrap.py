"""Make `.venv` with exactly the packages of requirements.lock and the command `lamostvac`; run by the Makefile.

Needs nothing but Python and its `venv`. Kept to syntax that any Python reads, so that an
unsupported version gets a sentence instead of a SyntaxError.

uv installs several times faster than pip, so it comes first, pinned and hashed in the lock like
everything else; when it cannot be installed or fails, pip does the same work.
"""

import hashlib
import os
import subprocess
import sys
import time

SUPPORTED = ((3, 11), (3, 12), (3, 13))
PROJECT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
LOCK = os.path.join(PROJECT, "requirements.lock")
# The library of the checkout that `.venv` stands in comes first, also where `.venv` is a link to that of another one.
COMMAND = """#!{}
import importlib, os, sys

sys.path.insert(0, os.path.abspath(os.path.join(os.path.dirname(__file__), "..", "..")))
main = importlib.import_module("lamostvac.cli.main").main

# Processes that it starts read this file under another name.
if __name__ == "__main__":
    sys.exit(main())
"""


class Problem(Exception):
    """Something the user can mend; one sentence."""


def check_python(version, name):
    """Raise `Problem` unless `version` (major, minor, ...) is supported."""
    if tuple(version[:2]) not in SUPPORTED:
        raise Problem(
            "lamost-vac needs Python 3.11, 3.12 or 3.13 but {} is {}; "
            "name another one, as in `make PYTHON=python3.12`".format(
                name, ".".join(map(str, version[:3]))
            )
        )


def check_venv_support(has_ensurepip):
    """Raise `Problem` when this Python cannot make environments (Debian keeps that part apart)."""
    if not has_ensurepip:
        raise Problem(
            "this Python cannot make virtual environments because its module ensurepip is missing; "
            "on Debian or Ubuntu install the package python{}.{}-venv (or python3-venv)".format(
                *sys.version_info[:2]
            )
        )


def locked_block(lock, package):
    """The lines of one package in the text of a lock file: its pin and its hashes."""
    lines = []
    for line in lock.splitlines():
        if line.startswith(package + "==") or (lines and line.startswith("    --hash=")):
            lines.append(line)
        elif lines:
            break
    return "\n".join(lines).rstrip(" \\") + "\n"


def check_place(project):
    """Raise `Problem` for a folder in which Snakemake cannot start a script: it does not quote Python's path."""
    if len(project.split()) != 1:
        raise Problem(
            "jobs cannot start from a folder with a blank in its path, as `{}` has; "
            "move lamost-vac to another one and give the same command again".format(project)
        )


def stamp_text(lock, version, venv):
    """What the stamp says about an environment: the lock's hash, the Python version and the place.

    The Makefile compares the last word with where the environment is.
    """
    digest = hashlib.sha256(lock.encode()).hexdigest()
    return "{} python{}.{} {}\n".format(digest, version[0], version[1], os.path.realpath(venv))


def moved_from(stamp, venv):
    """Where an environment was made, by its stamp, when it is elsewhere now; else None.

    Its programs begin with the path of their Python, so they do not run at another place.
    """
    words = stamp.split()
    elsewhere = len(words) == 3 and words[2] != os.path.realpath(venv)
    return words[2] if elsewhere else None


def say(text):
    sys.stdout.write("[setup] " + text + "\n")
    sys.stdout.flush()


def read(path):
    try:
        with open(path) as handle:
            return handle.read()
    except (IOError, OSError):  # two classes before Python 3.3
        return ""


def write(path, text):
    with open(path, "w") as handle:
        handle.write(text)


def venv_version(python):
    """The version of an environment's Python, or None when there is none that runs."""
    try:
        out = subprocess.check_output(
            [python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
        )
        return tuple(int(part) for part in out.decode().split("."))
    except (OSError, ValueError, subprocess.CalledProcessError):
        return None


def install_with_uv(python, venv, lock):
    """Install the lock with uv; return False when uv is out of reach."""
    wanted = os.path.join(venv, "uv-requirement.txt")
    write(wanted, locked_block(lock, "uv"))
    pip = [python, "-m", "pip", "--quiet", "--disable-pip-version-check", "install"]
    if subprocess.call(pip + ["--require-hashes", "--no-deps", "-r", wanted]) != 0:
        return False
    uv = [os.path.join(os.path.dirname(python), "uv"), "pip", "install", "--python", python]
    process = subprocess.Popen(uv + ["--require-hashes", "-r", LOCK], stderr=subprocess.PIPE)
    for line in process.stderr:
        if not line.startswith(
            (b" + ", b" ~ ")
        ):  # downloads are progress, the list of packages is not
            sys.stderr.write(line.decode("utf-8", "replace"))
            sys.stderr.flush()
    return process.wait() == 0


def install_with_pip(python):
    """Install the lock with pip; the lock is complete, so nothing is resolved."""
    pip = [python, "-m", "pip", "--disable-pip-version-check", "install", "--progress-bar", "off"]
    if subprocess.call(pip + ["--require-hashes", "--no-deps", "-r", LOCK]) != 0:
        raise Problem("the packages could not be installed; pip's message stands above")


def install_project(python, venv, version, project):
    """The project itself, from where it stands: `import lamostvac` anywhere, and the command.

    Both name the checkout by the way that leads to it from `.venv`. Nothing is built, so no network is needed.
    """
    packages = os.path.join(venv, "lib", "python{}.{}".format(*version[:2]), "site-packages")
    write(os.path.join(packages, "lamostvac.pth"), os.path.relpath(project, packages) + "\n")
    command = os.path.join(venv, "bin", "lamostvac")
    write(command, COMMAND.format(python))
    os.chmod(command, 0o755)


def compile_packages(python, venv):
    """Compile what was installed, as far as it can be; uv does not.

    Where a folder is read-only to the jobs, or PYTHONDONTWRITEBYTECODE is set as in many containers, each of them
    would compile pandas and TensorFlow anew, which takes longer than a short job's work.
    """
    folder = os.path.join(venv, "lib")
    subprocess.call([python, "-W", "ignore", "-m", "compileall", "-qq", "-j", "0", folder])


def main():
    """Bring `.venv` up to the lock; return at once when its stamp says that it is."""
    check_python(sys.version_info, sys.executable)
    venv = os.path.join(PROJECT, ".venv")
    python = os.path.join(venv, "bin", "python")
    stamp = os.path.join(venv, "lamostvac-stamp")
    check_place(PROJECT)
    lock = read(LOCK)
    if not lock:
        raise Problem("requirements.lock is missing; this is not a complete copy of lamost-vac")
    version = venv_version(python)
    old_place = moved_from(read(stamp), venv)
    if old_place:
        say(
            ".venv was made at {} and its programs only run there; making it again".format(
                old_place
            )
        )
        version = None
    if version and read(stamp) == stamp_text(lock, version, venv):
        os.utime(
            stamp, None
        )  # make compares times; a fresh checkout has newer files with old content
        return
    started = time.time()
    if version not in SUPPORTED:
        try:
            import ensurepip  # noqa: F401
        except ImportError:
            check_venv_support(False)
        say("making .venv with {} (once; one to three minutes, 2 GB)".format(sys.executable))
        if subprocess.call([sys.executable, "-m", "venv", "--clear", venv]) != 0:
            raise Problem("`python -m venv` failed; its message stands above")
        version = sys.version_info[:2]
    say("installing {} packages".format(sum("==" in line for line in lock.splitlines())))
    installer = os.environ.get("LAMOSTVAC_INSTALLER", "uv")
    if installer != "uv" or not install_with_uv(python, venv, lock):
        say("installing with pip")
        install_with_pip(python)
    own_python = os.path.join(os.path.realpath(venv), "bin", "python")
    install_project(own_python, venv, version, PROJECT)
    compile_packages(python, venv)
    write(stamp, stamp_text(lock, version, venv))
    say("done in {:.0f} s".format(time.time() - started))


if __name__ == "__main__":
    try:
        main()
    except Problem as problem:
        sys.stderr.write("Error: {}\n".format(problem))
        sys.exit(1)
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; the next make continues\n")
        sys.exit(130)
