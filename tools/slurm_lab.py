"""A real Slurm on one machine, from Debian's packages and without systemd: for tests and for trying things out.

    python tools/slurm_lab.py up FOLDER [--nodes 3] [--cpus 4] [--memory 8000]
    . FOLDER/env.sh; sinfo
    python tools/slurm_lab.py kill-node FOLDER n2     as when its power fails
    python tools/slurm_lab.py start-node FOLDER n2
    python tools/slurm_lab.py down FOLDER

Needs root (several slurmd on one host, munge, MariaDB). `up` installs what is missing with apt-get, and starts munge,
MariaDB, slurmdbd, slurmctld and a slurmd for each node, n1, n2, ..., which all are this machine and pretend to have
the CPUs and MB that are asked for. All files stand in FOLDER; /etc is not touched. `down` stops what `up` started.
"""

import argparse
import contextlib
import os
import secrets
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

PACKAGES = (
    *("slurmctld", "slurmd", "slurm-client", "slurmdbd", "slurm-wlm-mysql-plugin"),
    *("munge", "mariadb-server"),
)
ACCOUNT, PARTITION = "lab", "main"

# Nodes without cgroups; memory is looked at every second and a job that has too much is killed; a node that is
# silent for 20 s is down; jobs go to the node with most to spare, so that all work; an account is needed, as at most
# sites.
SLURM_CONF = """\
ClusterName=lab
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={lab}/munge/munged.socket
StateSaveLocation={lab}/spool/ctld
SlurmctldPidFile={lab}/run/slurmctld.pid
SlurmctldLogFile={lab}/log/slurmctld.log
SlurmdSpoolDir={lab}/spool/%n
SlurmdPidFile={lab}/run/slurmd-%n.pid
SlurmdLogFile={lab}/log/slurmd-%n.log
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=2,sched_min_interval=100000,bf_interval=5,batch_sched_delay=0
DefMemPerCPU=256
MinJobAge=300
SlurmctldTimeout=30
SlurmdTimeout=20
InactiveLimit=0
KillWait=2
OverTimeLimit=0
ReturnToService=2
JobRequeue=1
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={dbd_port}
AccountingStoragePass={lab}/munge/munged.socket
AccountingStorageEnforce=associations,limits
AccountingStoreFlags=job_comment
NodeName=DEFAULT CPUs={cpus} Boards=1 SocketsPerBoard=1 CoresPerSocket={cpus} ThreadsPerCore=1 RealMemory={memory}
{nodes}
PartitionName=main Nodes=n[1-{n_nodes}] Default=YES LLN=YES MaxTime=04:00:00 DefaultTime=00:10:00 State=UP
"""

SLURMDBD_CONF = """\
AuthType=auth/munge
AuthInfo=socket={lab}/munge/munged.socket
DbdHost={host}
DbdAddr=127.0.0.1
DbdPort={dbd_port}
SlurmUser=root
LogFile={lab}/log/slurmdbd.log
PidFile={lab}/run/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={mysql_port}
StorageUser=slurm
StoragePass={password}
StorageLoc=slurm_acct_db
"""

# Job steps of Snakemake's plugin drop SLURM_CONF, and srun then looks in /etc. A wrapper on PATH, which sbatch carries
# into the job, gives it back.
SRUN = """\
#!/bin/sh
SLURM_CONF={conf}; export SLURM_CONF
exec /usr/bin/srun "$@"
"""


class LabError(Exception):
    """Why there is no cluster, in a sentence."""


class Lab:
    """The cluster of a folder; `up` and `down` may be called again."""

    def __init__(self, folder: Path, nodes: int = 3, cpus: int = 4, memory: int = 8000) -> None:
        self.folder = folder.resolve()
        self.nodes = [f"n{i}" for i in range(1, nodes + 1)]
        self.cpus, self.memory = cpus, memory

    @property
    def environment(self) -> dict[str, str]:
        """What a user of the cluster has in the environment."""
        path = f"{self.folder}/bin:{os.environ['PATH']}"
        return {**os.environ, "PATH": path, "SLURM_CONF": f"{self.folder}/etc/slurm.conf"}

    def run(self, *command: str, check: bool = True) -> str:
        """Standard output of a command on the cluster."""
        done = subprocess.run(
            command, env=self.environment, capture_output=True, text=True, timeout=120, check=False
        )
        if check and done.returncode:
            raise LabError(
                f"{shlex.join(command)} failed: {done.stderr.strip() or done.stdout.strip()}"
            )
        return done.stdout

    # ------------------------------------------------------------ starting

    def up(self) -> None:
        """Install what is missing, start, and wait until all nodes are idle."""
        if os.getuid() != 0:
            raise LabError("a Slurm of one's own needs root")
        self._install()
        for name in ("etc", "run", "log", "mysql", "munge", "spool/ctld", "bin"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        for place in (self.folder, *self.folder.parents):
            if not place.stat().st_mode & 0o001:
                raise LabError(
                    f"{place} is closed to others, so that munge and MariaDB cannot reach the lab"
                )
        self._munge()
        password = self._database()
        self._configuration(password)
        self._daemon("slurmdbd", self._command("slurmdbd"))
        self._wait("slurmdbd", lambda: self.run("sacctmgr", "-n", "show", "cluster") is not None)
        self._account()
        self._daemon("slurmctld", self._command("slurmctld"))
        self._wait("slurmctld", lambda: "UP" in self.run("scontrol", "ping"))
        for node in self.nodes:
            self.start_node(node, wait=False)
        self._wait(
            "the nodes", lambda: set(self.node_states().values()) <= {"idle", "mixed", "allocated"}
        )

    def start_node(self, node: str, wait: bool = True) -> None:
        """Start a node, again after it was lost."""
        (self.folder / "spool" / node).mkdir(parents=True, exist_ok=True)
        self._daemon(f"slurmd-{node}", [*self._command("slurmd"), "-N", node])
        if self.node_states().get(node, "").startswith(("down", "drain", "unk")):
            self.run("scontrol", "update", f"nodename={node}", "state=resume", check=False)
        if wait:
            self._wait(node, lambda: self.node_states()[node] in ("idle", "mixed", "allocated"))

    def node_states(self) -> dict[str, str]:
        """State of each node, without the signs that Slurm appends."""
        lines = self.run("sinfo", "-h", "-N", "-p", PARTITION, "-o", "%N %T").split("\n")
        return {line.split()[0]: line.split()[1].rstrip("*~#$@+!%") for line in lines if line}

    def _install(self) -> None:
        query = ["dpkg-query", "-W", "-f=${Package} ${db:Status-Status}\n", *PACKAGES]
        if shutil.which("dpkg-query") is None:
            raise LabError("this is no Debian: there is no dpkg-query")
        there = subprocess.run(query, capture_output=True, text=True, check=False).stdout.split(
            "\n"
        )
        missing = [name for name in PACKAGES if f"{name} installed" not in there]
        if not missing:
            return
        say(f"installing {' '.join(missing)}")
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for command in (
            ["apt-get", "update", "-qq"],
            ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing],
        ):
            done = subprocess.run(
                command, env=environment, capture_output=True, text=True, check=False
            )
            if done.returncode:
                raise LabError(f"{shlex.join(command)} failed: {done.stderr.strip()[-300:]}")

    def _munge(self) -> None:
        place = self.folder / "munge"
        key = place / "munge.key"
        if not key.exists():
            key.write_bytes(secrets.token_bytes(128))
        key.chmod(0o400)
        for path in (place, key):
            shutil.chown(path, "munge", "munge")
        place.chmod(0o755)
        if not self._alive("munge/munged.pid"):
            for path in place.glob("munged.*"):
                path.unlink()
            options = [
                f"--{name}={place}/{file}"
                for name, file in (
                    ("key-file", "munge.key"),
                    ("socket", "munged.socket"),
                    ("pid-file", "munged.pid"),
                    ("log-file", "munged.log"),
                    ("seed-file", "munged.seed"),
                )
            ]
            user = ["setpriv", "--reuid=munge", "--regid=munge", "--clear-groups"]
            # --force, because folders above may be open to a group.
            subprocess.run([*user, "munged", "--force", *options], capture_output=True, check=True)
        self._wait(
            "munge", lambda: self.run("munge", "-n", "-S", f"{place}/munged.socket") is not None
        )

    def _database(self) -> str:
        """Start MariaDB; returns slurmdbd's password."""
        place = self.folder / "mysql"
        shutil.chown(place, "mysql", "mysql")
        if not (place / "data/mysql").is_dir():
            install = [
                "mariadb-install-db",
                "--no-defaults",
                "--user=mysql",
                f"--datadir={place}/data",
            ]
            install += ["--auth-root-authentication-method=socket", "--skip-test-db"]
            subprocess.run(install, capture_output=True, check=True)
        if not self._alive("mysql/mysqld.pid"):
            for path in place.glob("mysqld.*"):
                path.unlink()
            server = ["mariadbd", "--no-defaults", "--user=mysql", f"--datadir={place}/data"]
            server += [f"--socket={place}/mysqld.sock", f"--pid-file={place}/mysqld.pid"]
            server += [
                "--bind-address=127.0.0.1",
                f"--port={self._port + 3}",
                "--skip-name-resolve",
                "--innodb-buffer-pool-size=64M",
                "--innodb-log-file-size=32M",
                "--innodb-lock-wait-timeout=900",
                "--innodb-flush-log-at-trx-commit=2",
            ]
            with open(self.folder / "log/mariadbd.log", "w") as log:
                background = ["setsid", "--fork", *server]
                subprocess.run(
                    background, stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=True
                )
        client = ["mariadb", "--no-defaults", f"--socket={place}/mysqld.sock", "-uroot", "-e"]
        self._wait("MariaDB", lambda: self.run(*client, "select 1") is not None)
        secret = self.folder / "etc/password"
        if not secret.exists():
            secret.touch(mode=0o600)
            secret.write_text(secrets.token_hex(12))
        password = secret.read_text()
        self.run(
            *client,
            "create database if not exists slurm_acct_db;"
            "create user if not exists 'slurm'@'127.0.0.1';"
            f"alter user 'slurm'@'127.0.0.1' identified by '{password}';"
            "grant all on slurm_acct_db.* to 'slurm'@'127.0.0.1';",
        )
        return password

    @property
    def _port(self) -> int:
        """The first of twenty free ports, kept with the folder so that a second `up` finds the same."""
        path = self.folder / "etc/port"
        if not path.exists():
            path.write_text(str(_free_ports(20)))
        return int(path.read_text())

    def _configuration(self, password: str) -> None:
        host = socket.gethostname().split(".")[0]
        ports = {"port": self._port, "dbd_port": self._port + 2, "mysql_port": self._port + 3}
        nodes = "\n".join(
            f"NodeName={node} NodeHostname={node} NodeAddr=127.0.0.1 Port={self._port + 10 + i}"
            for i, node in enumerate(self.nodes)
        )
        size = {
            "cpus": self.cpus,
            "memory": self.memory,
            "nodes": nodes,
            "n_nodes": len(self.nodes),
        }
        etc = self.folder / "etc"
        (etc / "slurm.conf").write_text(
            SLURM_CONF.format(lab=self.folder, host=host, **ports, **size)
        )
        dbd = etc / "slurmdbd.conf"
        dbd.touch(mode=0o600)
        dbd.write_text(SLURMDBD_CONF.format(lab=self.folder, host=host, password=password, **ports))
        srun = self.folder / "bin/srun"
        srun.write_text(SRUN.format(conf=shlex.quote(str(etc / "slurm.conf"))))
        srun.chmod(0o755)
        (self.folder / "env.sh").write_text(
            f"export SLURM_CONF={shlex.quote(str(etc / 'slurm.conf'))}\n"
            f'export PATH={shlex.quote(str(self.folder / "bin"))}:"$PATH"\n'
        )

    def _account(self) -> None:
        user = "root"
        if "lab" not in self.run("sacctmgr", "-n", "-P", "show", "cluster", "format=cluster"):
            self.run("sacctmgr", "-i", "-Q", "add", "cluster", "lab")
        if ACCOUNT not in self.run(
            "sacctmgr", "-n", "-P", "show", "account", "format=account"
        ).split("\n"):
            self.run("sacctmgr", "-i", "-Q", "add", "account", ACCOUNT, "cluster=lab")
        own = self.run("sacctmgr", "-n", "-P", "show", "assoc", f"user={user}", "format=account")
        if ACCOUNT not in own.split("\n"):
            self.run(
                "sacctmgr", "-i", "-Q", "add", "user", user, f"account={ACCOUNT}", "cluster=lab"
            )

    # ------------------------------------------------------------ stopping

    def kill_node(self, node: str) -> list[str]:
        """Lose a node at once: its daemon, and all that its jobs run. Returns the numbers of its jobs."""
        jobs = self.run("squeue", "-h", "-w", node, "-t", "R", "-o", "%A").split()
        self._signal(f"run/slurmd-{node}.pid", "slurmd", signal.SIGKILL)
        # First what would report the end of the others.
        for pid, name in _processes():
            if name == "slurmstepd" and any(f"[{job}." in command_line(pid) for job in jobs):
                _kill(pid)
        for job in jobs:
            for pid in self.processes(job):
                _kill(pid)
        return jobs

    def processes(self, job: str) -> list[int]:
        """What runs for a job, by its number."""
        return [pid for pid, number in self._jobs_processes() if number == job]

    def _jobs_processes(self) -> list[tuple[int, str]]:
        """All that jobs of this folder's Slurm run, each with its job's number."""
        found = []
        for pid, _ in _processes():
            environment = dict(entry.partition("=")[::2] for entry in _environment(pid))
            number = environment.get("SLURM_JOB_ID")
            if number and environment.get("SLURM_CONF") == f"{self.folder}/etc/slurm.conf":
                found.append((pid, number))
        return found

    def down(self) -> None:
        """End all jobs and stop every daemon of this folder."""
        if self._alive("run/slurmctld.pid"):
            self.run("scancel", "--user=root", check=False)
            self._wait(
                "the end of all jobs", lambda: not self.run("squeue", "-h").strip(), patient=False
            )
        for node in self.nodes:
            self._signal(f"run/slurmd-{node}.pid", "slurmd", signal.SIGTERM)
        for file, name in (
            ("run/slurmctld.pid", "slurmctld"),
            ("run/slurmdbd.pid", "slurmdbd"),
            ("mysql/mysqld.pid", "mariadbd"),
            ("munge/munged.pid", "munged"),
        ):
            self._signal(file, name, signal.SIGTERM)
        for pid, _ in self._jobs_processes():  # started while a node was being killed
            _kill(pid)

    # ------------------------------------------------------------ processes

    def _command(self, name: str) -> list[str]:
        found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
        if found is None:
            raise LabError(f"there is no command {name}")
        return [found]

    def _daemon(self, name: str, command: list[str]) -> None:
        if self._alive(f"run/{name}.pid"):
            return
        (self.folder / f"run/{name}.pid").unlink(missing_ok=True)
        with open(self.folder / f"log/{name}.out", "a") as log:
            done = subprocess.run(
                command,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                check=False,
            )
        if done.returncode:
            raise LabError(f"{name} does not start; see {self.folder}/log")

    def _pid(self, file: str) -> int | None:
        path = self.folder / file
        text = path.read_text().strip() if path.exists() else ""
        return int(text) if text else None

    def _alive(self, file: str) -> bool:
        pid = self._pid(file)
        return pid is not None and Path(f"/proc/{pid}").exists()

    def _signal(self, file: str, name: str, number: signal.Signals) -> None:
        """Send a signal to the process of a file, if it still is the one that wrote it, and wait for its end."""
        pid = self._pid(file)
        if pid is None or _name(pid) != name:
            return
        os.kill(pid, number)
        for _ in range(150):
            if _name(pid) != name:
                break
            time.sleep(0.1)
        else:
            _kill(pid)
        (self.folder / file).unlink(missing_ok=True)

    def _wait(
        self, what: str, ready: Callable[[], bool], seconds: float = 60.0, patient: bool = True
    ) -> None:
        end = time.monotonic() + seconds
        while True:
            try:
                if ready():
                    return
            except (LabError, subprocess.TimeoutExpired):
                pass
            if time.monotonic() > end:
                if not patient:
                    return
                raise LabError(f"{what} not ready after {seconds:.0f} s; see {self.folder}/log")
            time.sleep(0.2)


def _free_ports(n: int) -> int:
    """The first of `n` ports in a row that nothing listens on."""
    for first in range(17000, 32000, n):
        if all(_is_free(port) for port in range(first, first + n)):
            return first
    raise LabError(f"no {n} free ports in a row")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def _processes() -> list[tuple[int, str]]:
    return [
        (int(path.name), _name(int(path.name)))
        for path in Path("/proc").iterdir()
        if path.name.isdigit()
    ]


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def command_line(pid: int) -> str:
    """The words of a process, with blanks between; empty once it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except OSError:
        return ""


def _environment(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/environ").read_text(errors="replace").split("\0")
    except OSError:
        return []


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def say(text: str) -> None:
    print(f"slurm_lab: {text}", file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="A real Slurm on one machine.")
    parser.add_argument("action", choices=("up", "down", "kill-node", "start-node"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("node", nargs="?", help="for kill-node and start-node")
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--cpus", type=int, default=4, help="CPUs that a node pretends to have")
    parser.add_argument("--memory", type=int, default=8000, help="MB that a node pretends to have")
    arguments = parser.parse_args()
    if arguments.action.endswith("-node") and arguments.node is None:
        parser.error(
            f"{arguments.action} wants the name of a node, as in `{arguments.action} FOLDER n2`"
        )
    lab = Lab(arguments.folder, arguments.nodes, arguments.cpus, arguments.memory)
    try:
        if arguments.action == "up":
            lab.up()
            say(f"ready, nodes {lab.node_states()}; use: . {lab.folder}/env.sh")
        elif arguments.action == "down":
            lab.down()
        elif arguments.action == "kill-node":
            say(f"{arguments.node} is lost, with jobs {lab.kill_node(arguments.node)}")
        else:
            lab.start_node(arguments.node)
    except (LabError, subprocess.CalledProcessError) as error:
        sys.exit(f"Error: {error}")


if __name__ == "__main__":
    main()
