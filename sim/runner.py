"""The one runner of the cocotb benches: builds a design once, runs a bench on it, and raises unless all tests passed.

Folders, all under ``build/sim`` unless told otherwise::

    cache/<key>/   a compiled design; the key is a digest of sources, options and tools
    runs/<name>/   bench.log, results.xml and waves.fst of one bench run
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from xml.etree import ElementTree

import cocotb_tools.config

from lstm_hw import process
from lstm_hw.errors import ConfigError, ToolError, VerificationError
from lstm_hw.files import FULL, locked, writable
from lstm_hw.provenance import changed, digest, kept_folder, kept_name
from lstm_hw.verilog import tools

from .progress import last_progress

SIMULATORS = ("verilator", "icarus")

_VERILATOR_ARGS = [
    "-Wno-fatal",
    "-Wno-lint",
    "-Wno-style",  # `lstm-hw lint` is where warnings are looked at
    "--x-assign",
    "unique",
    "--x-initial",
    "unique",  # what has no value yet is random, by the seed of the run
    "--output-split",
    "20000",
    "--output-split-cfuncs",
    "500",  # GCC's time grows faster than a function's length
]
_SMALL_BYTES = 1 << 20
_SMALL_MAKE = "VM_PARALLEL_BUILDS=0 VM_USER_CLASSES= OPT_FAST="
_SMALL_ENVIRONMENT = {"VM_FAST": "verilator"}
"""What make is told for sources of up to so many bytes: one file of C++, cocotb's ``verilator.cpp`` in it, takes half
the time of a dozen, which all read the same headers; -O1 takes less than -Os, and what Verilator calls slow runs
once."""
GIVEN = "given"
"""What a simulation calls the folder whose files Verilog opens."""
SILENCE_S = 900.0
"""Seconds without a sign of life after which a simulation counts as hung; a busy machine makes all slower."""
_ICARUS_ARGS = ["-g2005"]  # with cocotb's -g2012, combinational outputs start at X
_SPECIAL = re.compile(r"[^\w./+@%=,-]")  # in a path: what shells, make or lists of files may take for their own
_WAVE_FILES = ("waves.fst", "dump.fst", "dump.vcd")  # Icarus; Verilator; Verilator without the headers for FST


@dataclass(frozen=True)
class BenchResult:
    """What a bench run left.

    Parameters
    ----------
    results : pathlib.Path
        cocotb's results file (JUnit XML).
    log : pathlib.Path
        Everything that the simulator and the bench printed.
    waves : pathlib.Path or None
        The waveform file, if one was asked for.
    tests : tuple of str
        Names of the tests, all of which passed.
    build_seconds, run_seconds : float
        Wall time of compiling the design (near 0 if it was compiled before) and of the run.
    sim_ns : float
        Simulated time, the sum over the tests.
    """

    results: Path
    log: Path
    waves: Path | None
    tests: tuple[str, ...]
    build_seconds: float
    run_seconds: float
    sim_ns: float


def run_bench(
    verilog_files: Sequence[str | os.PathLike],
    toplevel: str,
    test_module: str,
    *,
    simulator: str = "verilator",
    parameters: Mapping[str, int] | None = None,
    extra_env: Mapping[str, str | os.PathLike] | None = None,
    plusargs: Sequence[str] = (),
    given: str | os.PathLike | None = None,
    testcase: str | Sequence[str] | None = None,
    seed: int = 1,
    waves: bool = False,
    public: str = "top",
    timing: bool = False,
    short: bool = False,
    build_dir: str | os.PathLike | None = None,
    timeout: float = SILENCE_S,
    progress: Callable[[int, int], None] | None = None,
) -> BenchResult:
    """Compile a design, run the cocotb tests of a module on it, and raise unless every one of them passed.

    Parameters
    ----------
    verilog_files : list of path-like
        The sources, Verilog-2005.
    toplevel : str
        Name of the top module.
    test_module : str
        Importable name of the Python module that holds the tests, as ``"sim.bench_runs"``.
    simulator : {"verilator", "icarus"}
        Verilator fills whatever has no initial value with random bits, Icarus with X.
    parameters : dict of str to int, optional
        Verilog parameters of the top module.
    extra_env : dict of str to str, optional
        Environment variables for the bench.
    plusargs : sequence of str
        Arguments ``+name=value`` for ``$value$plusargs`` of Verilog models.
    given : path-like, optional
        A folder that Verilog finds as ``GIVEN``: names of files that it opens must be of ASCII, and not be long.
    testcase : str or list of str, optional
        Run these tests only.
    seed : int
        Seed of cocotb's random module and of Verilator's random bits.
    waves : bool
        Record every signal in an FST file (VCD under Verilator where the headers of lz4 are not installed).
    public : {"top", "all"}
        What the bench may read and write under Verilator: the signals of the top module, or of every module, which
        makes the simulation several times slower. Icarus shows all.
    timing : bool
        Under Verilator, honour delays in the Verilog.
    short : bool
        The run is of some ten thousand cycles at most: Verilator's C++, if small, is compiled without optimisation.
    build_dir : path-like, optional
        Instead of ``build/sim``.
    timeout : float
        Seconds without a line from the bench after which the run is ended and counts as failed. How long a run takes
        is no matter: benches print how far they are, or :func:`sim.progress.heartbeat` does while simulated time
        goes on.
    progress : callable, optional
        Called as ``progress(done, total)`` when the bench reports how far it is (:func:`sim.progress.report_progress`).

    Returns
    -------
    BenchResult

    Raises
    ------
    ConfigError
        Unknown simulator or visibility, or a source file that does not exist.
    ToolError
        A tool is missing, or the design does not compile.
    VerificationError
        A test failed, none ran, the simulator ended early or hung. Names the tests and the log.
    """
    if simulator not in SIMULATORS:
        raise ConfigError("simulator", repr(simulator), f"must be one of {', '.join(SIMULATORS)}")
    if public not in ("top", "all"):
        raise ConfigError("public", repr(public), "must be 'top' or 'all'")
    sources = [Path(file).resolve() for file in verilog_files]
    for source in sources:
        if not source.is_file():
            raise ConfigError("Verilog file", str(source), "must exist")
    extra_env = {name: str(value) for name, value in (extra_env or {}).items()}
    tools.libpython()
    root = Path(build_dir or "build/sim").resolve()

    started = time.monotonic()
    design = _compiled(
        root / "cache", sources, toplevel, simulator, dict(parameters or {}), waves, public, timing, short
    )
    build_seconds = time.monotonic() - started

    settings = [design.name, test_module, sorted(extra_env.items()), list(plusargs), testcase, seed, waves]
    settings += [str(given)] if given is not None else []
    run = root / "runs" / f"{test_module.rsplit('.')[-1]}-{simulator}-{digest(settings)[:20]}"
    with locked(run.with_suffix(".lock")), writable(run, FULL):
        run.mkdir(exist_ok=True)
        (run / GIVEN).unlink(missing_ok=True)
        if given is not None:
            (run / GIVEN).symlink_to(Path(given).resolve())
        started = time.monotonic()
        status = _run(
            run, design, toplevel, test_module, simulator, extra_env, plusargs, testcase, seed, waves, timeout, progress
        )
        run_seconds = time.monotonic() - started
        tests, sim_ns = _check(run / "results.xml", run / "bench.log", test_module, simulator, status)
    recorded = next((run / name for name in _WAVE_FILES if (run / name).exists()), None) if waves else None
    return BenchResult(run / "results.xml", run / "bench.log", recorded, tests, build_seconds, run_seconds, sim_ns)


def tool_versions(simulator: str) -> dict[str, str]:
    """What makes a simulation beside its sources: name of each tool -> version.

    Parameters
    ----------
    simulator : {"verilator", "icarus"}

    Returns
    -------
    dict of str to str

    Raises
    ------
    ToolError
        The simulator is missing.
    """
    if simulator == "verilator":
        environment = tools.verilator_environment()
        first = process.run(["g++", "--version"], env=environment).stdout.partition("\n")[0]
        found = {"Verilator": version("verilator"), "g++": first, "flags": environment["MAKEFLAGS"]}
    else:
        found = {"Icarus Verilog": process.run([tools.icarus(), "-V"]).stdout.partition("\n")[0]}
    packages = {name: version(name) for name in ("cocotb", "cocotbext-axi")}
    return {**found, **packages, "Python": sys.version}


def _compiled(cache, sources, toplevel, simulator, parameters, waves, public, timing, short):
    """Return the folder of the compiled design, compiling it if no run before has."""
    build = {
        "hdl_toplevel": toplevel,
        "parameters": parameters,
        "build_args": _verilator_args(waves, public, timing) if simulator == "verilator" else _ICARUS_ARGS,
        "waves": waves,
        "timescale": ["1ns", "1ps"],
        "always": True,
    }
    versions, texts = tool_versions(simulator), [source.read_text(errors="surrogateescape") for source in sources]
    small = simulator == "verilator" and sum(map(len, texts)) <= _SMALL_BYTES
    make = f"{_SMALL_MAKE}{'-O0' if short else '-O1'}" if small else ""
    follows = {
        "tools": versions,
        "folder of cocotb": str(cocotb_tools.config.libs_dir),  # the program loads libraries from there
        "options": [build, public, make],
        "sources": texts,
    }

    def compile_design(work):
        log = Path(f"{work.parent / work.name.removeprefix('.').removesuffix('.partial')}.log")
        with _plainly_named(work, sources) as (place, files):
            if simulator == "verilator":
                tracing = [argument for argument in build["build_args"] if argument.startswith("--trace")]
                runtime = {"tools": versions, "tracing": tracing}
                _compile_verilator(place, log, build, files, public, make, cache, runtime)
            else:
                _compile_icarus(place, log, build, files)

    return kept_folder(cache / simulator, follows, compile_design)


@contextmanager
def _plainly_named(work, sources):
    """The folder and the sources, or copies whose content gets there: shells and make take other names apart."""
    if not any(_SPECIAL.search(str(path)) for path in (work, *sources)):
        yield work, sources
        return
    with tempfile.TemporaryDirectory(prefix="lstm-hw-") as place, tempfile.TemporaryDirectory() as copies:
        files = []
        for number, source in enumerate(sources):  # two may have the same name
            file = Path(copies, str(number), _SPECIAL.sub("_", source.name))
            file.parent.mkdir()
            files.append(shutil.copyfile(source, file))
        yield Path(place), files
        shutil.copytree(place, work, dirs_exist_ok=True)


def _verilator_args(waves, public, timing):
    args = [*_VERILATOR_ARGS, *(["--timing", "-CFLAGS", "-fcoroutines"] if timing else [])]
    if public == "top":
        args.append("--no-public-flat-rw")  # cocotb's runner makes everything public
    if waves:
        args.append("--trace-fst" if tools.fst_headers() else "--trace-vcd")
    return args


def _compile_verilator(work, log, build, sources, public, make, cache, follows):
    toplevel, extra, environment = build["hdl_toplevel"], [], tools.verilator_environment()
    environment["MAKEFLAGS"] += f" {make}"
    environment |= _SMALL_ENVIRONMENT if make else {}
    if public == "top":
        extra = [work / "public.vlt"]
        extra[0].write_text(f'`verilator_config\npublic_flat_rw -module "{toplevel}" -var "*"\n')
    runtime = kept_name(cache / "runtime", follows)
    if changed(runtime, follows) is None:
        _reuse_runtime(runtime, work)
    _compile("verilator", work, log, build, [*extra, *sources], work / toplevel, environment)

    def keep(folder):  # objects of Verilator's own sources: the same for every design, and most of a small build
        for file in work.glob("verilated*.o"):
            shutil.copyfile(file, folder / file.name)

    kept_folder(cache / "runtime", follows, keep)
    for file in work.iterdir():
        if file.name != toplevel:
            file.unlink() if file.is_file() else shutil.rmtree(file)


def _compile_icarus(work, log, build, sources):
    extra = []
    if build["waves"]:
        # cocotb's own dump module is SystemVerilog, which -g2005 refuses.
        extra = [work / "dump.v"]
        extra[0].write_text(
            'module lstm_hw_dump;\n  initial begin\n    $dumpfile("waves.fst");\n'
            f"    $dumpvars(0, {build['hdl_toplevel']});\n  end\nendmodule\n"
        )
        build = {**build, "waves": False, "build_args": [*build["build_args"], "-s", "lstm_hw_dump"]}
    _compile("icarus", work, log, build, [*extra, *sources], work / "sim.vvp", process.environment())


def _compile(simulator, work, log, build, sources, product, env):
    job = {
        "simulator": simulator,
        "build": {**build, "build_dir": str(work), "sources": [str(source) for source in sources]},
    }
    with tempfile.TemporaryDirectory(dir=work) as temporary:  # compilers that are ended leave files there
        status = _process(work, job, log, {**env, "TMPDIR": temporary})
    if status or not product.is_file():
        raise ToolError(
            simulator, f"could not compile {build['hdl_toplevel']}: {_first_error(log)}", f"the log is {log}"
        )


def _reuse_runtime(runtime, work):
    later = time.time() + 3600  # their rules depend on the makefile, which Verilator is about to write
    for file in runtime.glob("*.o"):
        copy = shutil.copyfile(file, work / file.name)
        os.utime(copy, (later, later))


def _run(run, design, toplevel, test_module, simulator, extra_env, plusargs, testcase, seed, waves, timeout, progress):
    for left in ("results.xml", *_WAVE_FILES):
        (run / left).unlink(missing_ok=True)
    plusargs = list(plusargs)
    if simulator == "verilator":
        plusargs += ["+verilator+rand+reset+2", f"+verilator+seed+{seed % 2**31 or 1}"]
    test = {
        "test_module": test_module,
        "hdl_toplevel": toplevel,
        "hdl_toplevel_lang": "verilog",
        "testcase": testcase,
        "seed": seed,
        "plusargs": plusargs,
        "waves": waves,
        "extra_env": {"COCOTB_ANSI_OUTPUT": "0", **extra_env},
        "build_dir": str(design),
        "test_dir": str(run),
        "results_xml": str(run / "results.xml"),
    }
    job = {"simulator": simulator, "test": test}
    return _process(run, job, run / "bench.log", process.environment(**test["extra_env"]), timeout, progress)


def _process(folder, job, log, env, timeout=None, progress=None):
    """Run :mod:`sim.process` on a job; return its exit status, or None if it ran out of time."""
    job_file = folder / "job.json"
    job_file.write_text(json.dumps(job, indent=1))
    told, heard = None, time.monotonic()
    command = process.python("sim.process", job_file)
    with (
        open(log, "w+", encoding="utf-8", errors="replace") as output,
        open(log, encoding="utf-8", errors="replace") as reader,
        process.running(command, env=env, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT) as child,
    ):
        while True:
            try:
                status = child.wait(0.1)
            except subprocess.TimeoutExpired:
                status = None
            said = reader.read()
            if said:
                heard = time.monotonic()
            now = last_progress(said) if progress else None
            if now and now != told:
                progress(*now)
                told = now
            if status is not None or (timeout is not None and time.monotonic() - heard > timeout):
                return status


def _check(results, log, test_module, simulator, status):
    """Return the names of the tests and the simulated time, or raise unless there are tests and all passed."""
    subject = f"{test_module} on {simulator}"
    where = f"every test must pass; the log is {log}"
    if status is None:
        raise VerificationError(subject, "hung: no sign of life for too long", where)
    try:
        cases = list(ElementTree.parse(results).getroot().iter("testcase"))
    except (OSError, ElementTree.ParseError):
        raise VerificationError(subject, f"left no results: {_first_error(log)}", where) from None
    failed = [case.get("name") for case in cases if case.find("failure") is not None or case.find("error") is not None]
    ran = [case.get("name") for case in cases if case.find("skipped") is None]
    if failed:
        raise VerificationError(subject, f"{len(failed)} of {len(cases)} tests failed: {', '.join(failed)}", where)
    if not ran:
        raise VerificationError(subject, "ran no test", where)
    if status:
        raise VerificationError(subject, f"all tests passed but the simulator ended with status {status}", where)
    times = [
        entry.get("value")
        for case in cases
        for entry in case.iter("property")
        if entry.get("name") == "sim_time_duration"
    ]
    return tuple(ran), sum(map(float, times))


def _first_error(log):
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    errors = [line for line in lines if re.search(r"%error|error:", line, flags=re.I)]
    return (errors or lines[-1:] or ["nothing printed"])[0][:200]
