"""Runs a command that cannot hide its memory from other processes of the same user: the system call for
it returns success, and does nothing.

    readable_memory.py COMMAND...
"""

import ctypes
import os
import platform
import struct
import sys

PR_SET_DUMPABLE, PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 4, 38, 22, 2
LOAD, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06
ALLOW, SUCCESS = 0x7FFF0000, 0x00050000
PRCTL = {"x86_64": 157, "aarch64": 167}[platform.machine()]
# The offsets at which a filter reads the number of the call and its first argument.
NUMBER, ARGUMENT = 0, 16


class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]


def main():
    instructions = [
        (LOAD, 0, 0, NUMBER),
        (JUMP_IF_EQUAL, 0, 3, PRCTL),
        (LOAD, 0, 0, ARGUMENT),
        (JUMP_IF_EQUAL, 0, 1, PR_SET_DUMPABLE),
        (RETURN, 0, 0, SUCCESS),
        (RETURN, 0, 0, ALLOW),
    ]
    code = b"".join(struct.pack("HBBI", *it) for it in instructions)
    buffer = ctypes.create_string_buffer(code)
    program = Program(len(instructions), ctypes.addressof(buffer))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        sys.exit("no_new_privs is refused")
    if libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0):
        sys.exit("the filter is refused")
    os.execv(sys.argv[1], sys.argv[1:])


main()
