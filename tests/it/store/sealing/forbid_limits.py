"""Runs a command without the system calls for limits, as under deploy/systemd's SystemCallFilter=.

    forbid_limits.py on|off COMMAND...    with core dumps on, or off
"""

import os
import platform
import resource
import sys

sys.dont_write_bytecode = True
from seccomp import ALLOW, JUMP_IF_EQUAL, LOAD, RETURN, install

EPERM = 0x00050001
# prlimit64 and setrlimit
CALLS = {"x86_64": (302, 160), "aarch64": (261, 164)}[platform.machine()]


def main():
    core = resource.getrlimit(resource.RLIMIT_CORE)[1]
    if sys.argv[1] == "off":
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    else:
        if core == 0:
            sys.exit("core dumps cannot be switched on here")
        resource.setrlimit(resource.RLIMIT_CORE, (core, core))
    install([
        (LOAD, 0, 0, 0),
        (JUMP_IF_EQUAL, 2, 0, CALLS[0]),
        (JUMP_IF_EQUAL, 1, 0, CALLS[1]),
        (RETURN, 0, 0, ALLOW),
        (RETURN, 0, 0, EPERM),
    ])
    os.execv(sys.argv[2], sys.argv[2:])


main()
