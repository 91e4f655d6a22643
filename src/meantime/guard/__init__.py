"""What blocks the loop, what is never awaited, what goes lost: said while the program runs."""

from __future__ import annotations

from .findings import Finding as Finding
from .findings import Place as Place
from .guarding import allow_blocking as allow_blocking
from .guarding import begin_by_environment as begin_by_environment
from .guarding import guard as guard
