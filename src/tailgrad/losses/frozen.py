"""``tailgrad.frozen`` under the name that losses use."""

from tailgrad.frozen import frozen, may_update

__all__ = ["frozen", "may_update"]
