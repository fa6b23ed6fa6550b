"""What a process gives up before it sees what was received: files, network, other processes, memory without end.

Landlock shuts files, seccomp shuts system calls, rlimits bound the rest: all that Linux gives without root. They hold
for the calling thread and what it starts, so they come before any library that starts threads. Nothing of
``vb_node`` is imported here for the same reason.
"""

import ctypes
import os
import resource
import sys
from collections.abc import Callable, Collection
from dataclasses import dataclass
from errno import ENOSYS, EPERM
from importlib.util import find_spec
from pathlib import Path

import landlockpy
import seccompy
from landlockpy import AccessFS, AccessNet, Ruleset, Scope
from seccompy import CmpOp, Filter, syscall_nr

READ = AccessFS.READ_FILE | AccessFS.READ_DIR
WRITE = (
    READ
    | AccessFS.WRITE_FILE
    | AccessFS.TRUNCATE
    | AccessFS.MAKE_REG
    | AccessFS.MAKE_DIR
    | AccessFS.REMOVE_FILE
    | AccessFS.REMOVE_DIR
    | AccessFS.REFER
)
# What Python, its libraries and the CUDA runtime read. Of other processes /proc shows no memory, environment or files
# across a Landlock domain.
SYSTEM = ("/usr", "/lib", "/lib64", "/proc", "/sys", "/etc/ld.so.cache", "/etc/localtime")
NAMES = ("/etc/hosts", "/etc/resolv.conf", "/etc/nsswitch.conf", "/etc/gai.conf", "/etc/ssl", "/etc/ca-certificates")
DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
GPUS = ("nvidia*", "dri", "kfd")
CODE = {".py", ".so", ".pth", ".dist-info", ".egg-info"}

_CLONE_THREAD = 0x10000  # clone(2)
_OWN_ONLY = ("kill", "tgkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo", "prlimit64")
_SHUT = (
    # other programs
    *("execve", "execveat", "fork", "vfork", "tkill"),
    # other processes, and what they share
    *("ptrace", "process_vm_readv", "process_vm_writev", "process_madvise", "kcmp"),
    *("pidfd_open", "pidfd_getfd", "pidfd_send_signal", "shmget", "semget", "msgget", "mq_open"),
    # ways around a filter, and into the kernel
    *("io_uring_setup", "userfaultfd", "perf_event_open", "bpf", "keyctl", "add_key", "request_key"),
    *("unshare", "setns", "mount", "umount2", "pivot_root", "chroot", "open_tree", "move_mount", "fsopen", "fsmount"),
    *("open_by_handle_at", "init_module", "finit_module", "delete_module", "kexec_load", "kexec_file_load"),
    *("reboot", "swapon", "swapoff", "clock_settime", "settimeofday", "sethostname", "ioperm", "iopl"),
)
_X32 = 0x40000000  # x86-64's second table of the same calls (32-bit pointers), where a kernel has it
_X32_OWN = range(512, 548)


@dataclass(frozen=True)
class Bounds:
    """What remains: folders to read and one to write, memory, and perhaps the network."""

    readable: tuple[Path, ...]
    writable: Path
    memory_bytes: int
    has_network: bool


def confine(bounds: Bounds) -> list[str]:
    """Give up all but the bounds, for good; name what this kernel or container does not let us give up."""
    _limit(bounds)
    _drop_capabilities()
    walls: tuple[tuple[str, Callable[[], bool], Callable[[Bounds], None]], ...] = (
        ("Landlock (files)", landlockpy.supported, _shut_files),
        ("seccomp (network, processes)", seccompy.supported, _shut_calls),
    )
    # All are asked for first: both libraries start a program to find the C library.
    are_offered = [_works(is_offered) for _, is_offered, _ in walls]
    missing = [
        name
        for (name, _, shut), is_offered in zip(walls, are_offered, strict=True)
        if not (is_offered and _works(shut, bounds))
    ]
    around = [place for place in (*bounds.readable, *map(Path, SYSTEM)) if bounds.writable.is_relative_to(place)]
    return missing + [f"files: the data folder lies in {place}, which is readable as code" for place in around]


def packages(names: Collection[str] = ()) -> list[Path]:
    """List where code lies: Python's own folders, the packages of the search path, and those of some names."""
    roots = {Path(sys.prefix), Path(sys.base_prefix)}
    found = {entry for entry in map(Path, sys.path) if entry.is_dir()}
    loose = {entry for entry in found if not any(entry.is_relative_to(root) for root in roots)}
    # of a folder that may hold more than code, such as a checkout, only the code
    inside = {child for entry in loose for child in entry.iterdir() if _is_code(child)}
    specs = [spec for name in names if (spec := find_spec(name)) is not None]
    named = {Path(place) for spec in specs for place in spec.submodule_search_locations or [spec.origin or ""]}
    return sorted(roots | (found - loose) | inside | named)


def _is_code(path: Path) -> bool:
    return path.suffix in CODE or (path / "__init__.py").is_file()


def _drop_capabilities() -> None:
    """Drop what root may (capset(2), version 3): root reads other processes past Landlock, by CAP_PERFMON."""
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    none = (ctypes.c_uint32 * 6)()
    ctypes.CDLL(None).capset(header, none)


def _works(act: Callable[..., bool | None], *words: Bounds) -> bool:
    try:
        return act(*words) is not False
    except OSError:  # what both libraries raise where the kernel says no
        return False


def _limit(bounds: Bounds) -> None:
    """Bound memory by RLIMIT_DATA: CUDA reserves address space (RLIMIT_AS) without end, but does not write it."""
    wanted = {
        resource.RLIMIT_DATA: bounds.memory_bytes,
        resource.RLIMIT_FSIZE: 4 << 30,
        resource.RLIMIT_NOFILE: 1024,
        resource.RLIMIT_NPROC: 4096,
        resource.RLIMIT_CORE: 0,  # a core holds patient data
    }
    for limit, value in wanted.items():
        _, hard = resource.getrlimit(limit)
        least = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(limit, (least, least))
    Path("/proc/self/oom_score_adj").write_text("1000")  # where memory ends, this process goes first


def _shut_files(bounds: Bounds) -> None:
    network = AccessNet.NONE if bounds.has_network else AccessNet.BIND_TCP | AccessNet.CONNECT_TCP
    with Ruleset(handled_net=network, scoped=Scope.ABSTRACT_UNIX_SOCKET | Scope.SIGNAL) as ruleset:
        for path in (*bounds.readable, *map(Path, SYSTEM), *map(Path, NAMES if bounds.has_network else ())):
            _allow(ruleset, path, READ)
        for entry in filter(None, sys.path):
            _allow(ruleset, Path(entry), AccessFS.READ_DIR)  # the importer lists it
        for device in (*map(Path, DEVICES), *(gpu for name in GPUS for gpu in Path("/dev").glob(name))):
            _allow(ruleset, device, READ | AccessFS.WRITE_FILE | AccessFS.IOCTL_DEV)
        _allow(ruleset, bounds.writable, WRITE)
        ruleset.restrict()


def _allow(ruleset: Ruleset, path: Path, access: AccessFS) -> None:
    if path.exists():
        of_files = AccessFS.READ_FILE | AccessFS.WRITE_FILE | AccessFS.TRUNCATE | AccessFS.IOCTL_DEV
        ruleset.allow_path(path, access if path.is_dir() else access & of_files)


def _shut_calls(bounds: Bounds) -> None:
    calls, pid = Filter(), os.getpid()
    for name in _OWN_ONLY:
        calls.allow(name, args={0: pid})
    calls.allow("prlimit64", args={0: 0})  # 0: this process
    # threads, but no processes; a C library that hears of no clone3 uses clone
    calls.allow("clone", args=[(0, CmpOp.MASKED_EQ, _CLONE_THREAD, _CLONE_THREAD)])
    calls.errno("clone3", ENOSYS)
    shut = [*_OWN_ONLY, *_SHUT, "clone", *([] if bounds.has_network else ["socket"])]
    numbers = {number for name in shut if (number := _number(name)) is not None}
    for number in numbers:
        calls.errno(number, EPERM)
    calls.load()
    if os.uname().machine == "x86_64":
        twins = Filter()
        for number in numbers | set(_X32_OWN):
            twins.errno(number | _X32, EPERM)
        twins.load()


def _number(name: str) -> int | None:
    """Give the number of a system call; a machine need not have each: ARM knows no fork."""
    try:
        return syscall_nr(name)
    except ValueError:
        return None
