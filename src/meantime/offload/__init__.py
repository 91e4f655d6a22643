"""CPU-heavy and blocking functions away from the event loop: threads, processes, executors."""

from __future__ import annotations

from .batches import offload_map as offload_map
from .clusters import connect_cluster as connect_cluster
from .dispatch import offload as offload
from .dispatch import to_cluster as to_cluster
from .dispatch import to_interpreter as to_interpreter
from .dispatch import to_process as to_process
from .limiter import CapacityLimiter as CapacityLimiter
from .limiter import default_limiter as default_limiter
from .pool import stop_workers as stop_workers
from .processes import WorkerFunctionError as WorkerFunctionError
from .processes import WorkerTraceback as WorkerTraceback
from .progress import report_progress as report_progress
