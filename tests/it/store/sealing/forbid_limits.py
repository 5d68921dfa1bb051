"""Runs a command without the system calls for limits, as under deploy/systemd's SystemCallFilter=.

    forbid_limits.py on|off COMMAND...    with core dumps on, or off
"""

import ctypes
import os
import platform
import resource
import struct
import sys

PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
LOAD, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06
ALLOW, EPERM = 0x7FFF0000, 0x00050001
# prlimit64 and setrlimit
CALLS = {"x86_64": (302, 160), "aarch64": (261, 164)}[platform.machine()]


class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]


def main():
    core = resource.getrlimit(resource.RLIMIT_CORE)[1]
    if sys.argv[1] == "off":
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    else:
        if core == 0:
            sys.exit("core dumps cannot be switched on here")
        resource.setrlimit(resource.RLIMIT_CORE, (core, core))
    instructions = [
        (LOAD, 0, 0, 0),
        (JUMP_IF_EQUAL, 2, 0, CALLS[0]),
        (JUMP_IF_EQUAL, 1, 0, CALLS[1]),
        (RETURN, 0, 0, ALLOW),
        (RETURN, 0, 0, EPERM),
    ]
    code = b"".join(struct.pack("HBBI", *it) for it in instructions)
    buffer = ctypes.create_string_buffer(code)
    program = Program(len(instructions), ctypes.addressof(buffer))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        sys.exit("no_new_privs is refused")
    if libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0):
        sys.exit("the filter is refused")
    os.execv(sys.argv[2], sys.argv[2:])


main()
