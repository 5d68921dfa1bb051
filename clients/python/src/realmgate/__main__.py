"""``python -m realmgate`` is ``realmgate-otp``."""

from .cli import main

raise SystemExit(main())
