"""Runs a command that cannot hide its memory from other processes of the same user: the system call for
it returns success, and does nothing.

    readable_memory.py COMMAND...
"""

import os
import platform
import sys

sys.dont_write_bytecode = True
from seccomp import ALLOW, JUMP_IF_EQUAL, LOAD, RETURN, install

PR_SET_DUMPABLE = 4
SUCCESS = 0x00050000
PRCTL = {"x86_64": 157, "aarch64": 167}[platform.machine()]
# The offsets at which a filter reads the number of the call and its first argument.
NUMBER, ARGUMENT = 0, 16


def main():
    install([
        (LOAD, 0, 0, NUMBER),
        (JUMP_IF_EQUAL, 0, 3, PRCTL),
        (LOAD, 0, 0, ARGUMENT),
        (JUMP_IF_EQUAL, 0, 1, PR_SET_DUMPABLE),
        (RETURN, 0, 0, SUCCESS),
        (RETURN, 0, 0, ALLOW),
    ])
    os.execv(sys.argv[1], sys.argv[1:])


main()
