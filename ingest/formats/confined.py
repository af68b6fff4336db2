"""Run a program that may read only some folders, write only one, and reach no network: `python confined.py …`.

A file of OpenSceneGraph may refer to others by path or address, and its converter loads whatever that is. So it runs
behind Landlock (Linux 5.13; https://docs.kernel.org/userspace-api/landlock.html) and a filter that gives it no socket
but local ones (seccomp). It stands alone and imports nothing of ours: it starts in a moment, once for each file.

Arguments: the folder to be written, folders to be read, `--`, the program and its arguments. Exits with
`CANNOT_CONFINE` where the kernel can't do this; nothing was run then.
"""

import ctypes
import os
import platform
import struct
import sys

CANNOT_CONFINE = 97
SYSTEM = ("/usr", "/lib", "/lib64", "/bin", "/etc/ld.so.cache", "/etc/fonts", "/dev/null")

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same on every architecture
_PATH_BENEATH = 1
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1, 2, 4, 8
_FIRST_VERSION = 0x1FFF  # accesses to files that Landlock knew in its first version
_OF_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE
_NO_NEW_PRIVS, _SET_SECCOMP, _FILTER = 38, 22, 2
# audit architecture and number of the call `socket`
_SOCKET = {"x86_64": (0xC000003E, 41), "aarch64": (0xC00000B7, 198)}
_LOCAL = 1  # AF_UNIX
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000 | 13  # SECCOMP_RET_ALLOW; SECCOMP_RET_ERRNO with EACCES


def confine(written: str, read: list[str]) -> None:
    """Confine this process and what it becomes.

    Raises:
        OSError: the kernel can't.

    """
    libc = ctypes.CDLL(None, use_errno=True)
    attributes = struct.pack("=Q", _FIRST_VERSION)
    ruleset = _call(libc.syscall, _CREATE_RULESET, attributes, len(attributes), 0)
    for path in [*SYSTEM, *read]:
        _allow(libc, ruleset, path, _EXECUTE | _READ_FILE | _READ_DIR)
    _allow(libc, ruleset, written, _FIRST_VERSION)
    _call(libc.prctl, _NO_NEW_PRIVS, 1, 0, 0, 0)
    _call(libc.syscall, _RESTRICT_SELF, ruleset, 0)
    _without_network(libc)


def _allow(libc: ctypes.CDLL, ruleset: int, path: str, access: int) -> None:
    if not os.path.exists(path):  # noqa: PTH110 - no import that it can do without
        return
    if not os.path.isdir(path):  # noqa: PTH112
        access &= _OF_FILES
    place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    rule = struct.pack("=Qi", access, place)
    _call(libc.syscall, _ADD_RULE, ruleset, _PATH_BENEATH, rule, 0)
    os.close(place)


def _without_network(libc: ctypes.CDLL) -> None:
    """Refuse the process every socket but local ones; a call of another architecture ends it."""
    if platform.machine() not in _SOCKET:
        raise OSError(f"no filter of calls for {platform.machine()}")
    architecture, socket = _SOCKET[platform.machine()]
    load, equal, answer = 0x20, 0x15, 0x06  # BPF: load a word, jump if equal, return
    steps = [
        (load, 0, 0, 4),  # the architecture
        (equal, 1, 0, architecture),
        (answer, 0, 0, 0),  # SECCOMP_RET_KILL_THREAD
        (load, 0, 0, 0),  # the call
        (equal, 0, 3, socket),
        (load, 0, 0, 16),  # its first argument
        (equal, 1, 0, _LOCAL),
        (answer, 0, 0, _REFUSE),
        (answer, 0, 0, _ALLOW),
    ]
    program = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *step) for step in steps))
    described = struct.pack("HxxxxxxP", len(steps), ctypes.addressof(program))
    _call(libc.prctl, _SET_SECCOMP, _FILTER, described, 0, 0)


def _call(function: object, *arguments: object) -> int:
    outcome: int = function(*arguments)  # type: ignore[operator]
    if outcome < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return outcome


if __name__ == "__main__":
    border = sys.argv.index("--")
    try:
        confine(sys.argv[1], sys.argv[2:border])
    except OSError as fault:
        print(fault, file=sys.stderr)  # noqa: T201 - it is a program
        sys.exit(CANNOT_CONFINE)
    os.execv(sys.argv[border + 1], sys.argv[border + 1 :])  # noqa: S606 - it takes this one's place
