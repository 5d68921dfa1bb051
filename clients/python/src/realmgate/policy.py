"""Who may pass."""

from __future__ import annotations

from typing import Optional

from .errors import ConfigurationError
from .identity import Identity, check_part


class AnyRealm:
    """Every authenticated identity may pass."""

    def allows(self, identity: Optional[Identity]) -> bool:
        """Returns whether an identity may pass. ``None`` never may."""
        return identity is not None

    def __repr__(self) -> str:
        return "AnyRealm()"


class InRealm(AnyRealm):
    """Identities of these realms may pass."""

    def __init__(self, *realms: str) -> None:
        if not realms:
            raise ConfigurationError("InRealm needs at least one realm")
        for realm in realms:
            check_part("realm", realm)
        self.realms = frozenset(realms)

    def allows(self, identity: Optional[Identity]) -> bool:
        return identity is not None and identity.realm in self.realms

    def __repr__(self) -> str:
        return f"InRealm({', '.join(map(repr, sorted(self.realms)))})"
