"""Scripts that Snakemake forks do, end and are measured as those that it starts."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lamostvac.core.paths import PROJECT
from lamostvac.run.forked_scripts import ForkServer, alive, branch_of, job_environment

SNAKEFILE = """
import snakemake.benchmark
from lamostvac.run.forked_scripts import fork_scripts
measure = snakemake.benchmark.benchmarked
def noted(pid, record):
    with open("measured", "w") as file:
        file.write(str(pid))
    return measure(pid, record)
snakemake.benchmark.benchmarked = noted
onstart:
    if config["fork"]:
        fork_scripts()
rule seen:
    output: "seen.json"
    benchmark: "seen.tsv"
    threads: 2
    script: "seen.py"
rule exits:
    output: "exits"
    script: "exits.py"
rule raises:
    output: "raises"
    script: "raises.py"
rule killed:
    output: "killed"
    script: "killed.py"
# It kills the server, and with it what it says of other jobs: both cores, so that there are none.
rule alone:
    input: "seen.json"
    output: "alone"
    retries: 1
    threads: 2
    script: "alone.py"
"""
SCRIPTS = {
    "seen": """
import json, os, sys, threading
before = "wave" in sys.modules
import wave
from lamostvac.core.log import was_forked
names = [name for name in os.environ if "THREADS" in name or "TMP" in name]
seen = {name: os.environ[name] for name in names} | {"folder": os.getcwd(), "group": os.getpgrp()}
seen["threads"], seen["rule"] = threading.active_count(), snakemake.rule
seen["pid"] = os.getpid()
name = open("/proc/self/comm").read().strip()
ours = {"called": name,"forked": was_forked(), "before": before, "same": os.getpgrp() == os.getpgid(os.getppid())}
with open(snakemake.output[0], "w") as file:
    json.dump([seen, ours], file)
""",
    "exits": "raise SystemExit(3)",
    "raises": "def fail():\n    raise ValueError('no such thing')\nfail()",
    "killed": "import os; os.kill(os.getpid(), 9)",
    "alone": """
import os
from lamostvac.core.log import was_forked
if was_forked():
    os.kill(os.getppid(), 9)
open(snakemake.output[0], "w").write(str(was_forked()))
""",
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Folder and messages of a run with and of one without forks."""
    found = {}
    for fork in (True, False):
        folder = tmp_path_factory.mktemp("run")
        (folder / "Snakefile").write_text(SNAKEFILE)
        for name, text in SCRIPTS.items():
            (folder / f"{name}.py").write_text(text)
        command = [sys.executable, "-m", "snakemake", "--cores", "2", "--keep-going", "seen.json"]
        command += ["exits", "raises", "killed", "alone", "--config", f"fork={fork}"]
        done = subprocess.run(
            command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        assert done.returncode == 1
        found[fork] = folder, done.stdout
    return found


@pytest.mark.slow
def test_a_forked_script_finds_what_a_started_one_does(runs):
    forked, started = (json.loads((runs[fork][0] / "seen.json").read_text()) for fork in (1, 0))
    for seen, _ in (forked, started):
        assert all([seen.pop("folder"), seen.pop("group"), seen.pop("pid")])
    assert forked[0] == started[0]
    assert forked[0]["OPENBLAS_NUM_THREADS"] == "2"
    assert forked[1].pop("called") == "seen"
    assert started[1].pop("called").startswith("python")
    assert forked[1] == {"forked": True, "before": True, "same": True}
    assert started[1] == {"forked": False, "before": False, "same": True}


@pytest.mark.slow
def test_a_forked_script_ends_as_a_started_one(runs):
    for folder, said in runs.values():
        assert not (folder / "raises").exists()
        trace = said[said.index("Traceback") :]
        assert "fork_server" not in trace
        assert "runpy" not in trace
        assert "ValueError: no such thing" in said
        for name, code in (("exits", 3), ("raises", 1)):
            assert f"{name}.py' returned non-zero exit status {code}." in said
        assert re.search(r"killed.py' (died with .*SIGKILL|returned .* status 137)", said)


@pytest.mark.slow
def test_snakemake_measures_the_forked_process(runs):
    folder = runs[True][0]
    seen, _ = json.loads((folder / "seen.json").read_text())
    assert int((folder / "measured").read_text()) == seen["pid"]
    assert len((folder / "seen.tsv").read_text().splitlines()) == 2


@pytest.mark.slow
def test_without_the_server_scripts_have_a_python_of_their_own(runs):
    assert (runs[True][0] / "alone").read_text() == "False"


def test_scripts_that_reach_large_libraries_are_forked_from_processes_of_their_own():
    scripts = PROJECT / "workflow_scripts"
    calls = {path.stem: branch_of(path) for path in scripts.glob("*.py")}
    tensorflow, bayes_opt = (
        "lamostvac.networks.optimise:tensorflow",
        "lamostvac.grouped.search:bayes_opt",
    )
    assert {name: call for name, call in calls.items() if call} == {
        **dict.fromkeys(("train", "training"), tensorflow),
        **dict.fromkeys(("search", "search_chunk"), bayes_opt),
    }


def test_the_function_of_a_branch_imports_its_library():
    call = "from lamostvac.grouped.search import bayes_opt; import sys; assert 'bayes_opt' not in sys.modules; "
    done = subprocess.run(
        [sys.executable, "-c", f"{call}bayes_opt(); assert 'bayes_opt' in sys.modules"]
    )
    assert done.returncode == 0


@pytest.mark.slow
def test_a_branch_forks_behind_its_call_and_leaves_the_others_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("large.py").write_text("def load():\n    import colorsys")
    Path("program.py").write_text(
        "import sys\nopen(sys.argv[1], 'w').write(str('colorsys' in sys.modules))"
    )
    environment = job_environment(1, None) | {"PYTHONPATH": str(tmp_path)}
    server = ForkServer(environment=environment)
    try:
        for name, call in (("with", "large:load"), ("without", None), ("again", "large:load")):
            assert server.start(["program.py", name], environment, call=call).wait() == 0
    finally:
        server.end()
    assert [Path(name).read_text() for name in ("with", "without", "again")] == [
        *("True", "False", "True")
    ]


def test_a_signal_that_comes_while_a_program_waits_to_be_forked_ends_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("large.py").write_text(
        f"import os, time\nopen('{tmp_path}/begun', 'w')\n"
        f"while not os.path.exists('{tmp_path}/go'): time.sleep(0.01)"
    )
    Path("program.py").write_text("import large\nopen('ran', 'w')")
    environment = job_environment(1, None) | {"PYTHONPATH": str(tmp_path)}
    server = ForkServer(environment=environment, own_session=True)
    with ThreadPoolExecutor() as pool:
        try:
            asked = pool.submit(
                server.start, ["program.py"], environment, imports=str(tmp_path / "program.py")
            )
            while not Path("begun").exists():
                assert server._process.poll() is None
                time.sleep(0.01)
            os.killpg(server._process.pid, signal.SIGTERM)
            Path("go").touch()
            assert asked.result().wait() == -signal.SIGTERM
            assert not Path("ran").exists()
            assert server.start(["program.py"], environment).wait() == 0
            assert Path("ran").exists()
        finally:
            Path("go").touch()
            server.end()


@pytest.mark.slow
def test_the_server_and_its_folder_go_with_who_started_it_however_that_ends(tmp_path):
    code = (
        "import os; from lamostvac.run.forked_scripts import ForkServer; server = ForkServer();"
        "server.wait_until_ready(); print(server.folder, server._process.pid, flush=True);"
        "os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    folder, server = done.stdout.split()
    last = time.monotonic() + 60
    while (Path(folder).exists() or alive(int(server))) and time.monotonic() < last:
        time.sleep(0.01)
    assert not Path(folder).exists()
    assert not alive(int(server))


def test_where_addresses_are_limited_scripts_are_not_forked(tmp_path):
    code = (
        "import resource, sys; sys.modules['snakemake'] = None;"  # what a fork would import
        "resource.setrlimit(resource.RLIMIT_AS, (sys.maxsize - 1, resource.RLIM_INFINITY));"
        "from lamostvac.run.forked_scripts import fork_scripts; fork_scripts()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
