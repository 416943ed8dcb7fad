"""The energy that devices say they used: NVIDIA GPUs by NVML, processors by RAPL where the kernel lets one read it.

Both are meters of whole devices: what else runs there is counted too. A run on several machines has none, as only this
machine's devices can be read.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

RAPL = Path("/sys/class/powercap")
"""https://docs.kernel.org/power/powercap/powercap.html: `energy_uj` counts microjoules up to `max_energy_range_uj`."""


class EnergyMeters:
    """Meters by name, each a function to joules that only grow but for `ranges`, where it begins again at 0."""

    def __init__(self, read: Mapping[str, Callable[[], float]], ranges: Mapping[str, float]) -> None:
        self._read, self._ranges = read, ranges
        self._last = {name: one() for name, one in read.items()}
        self._joules = 0.0

    def watt_hours(self) -> float:
        """Since the meters were opened; called often enough that none goes round twice."""
        for name, one in self._read.items():
            now = one()
            since = now - self._last[name]
            self._joules += since if since >= 0 else since + self._ranges.get(name, 0.0)
            self._last[name] = now
        return round(self._joules / 3600, 6)


def open_meters(rapl: Path = RAPL) -> EnergyMeters | None:
    """The meters of this machine; None where there is none, or where the run is on several machines."""
    if os.environ.get("WORLD_SIZE", "1") != os.environ.get("LOCAL_WORLD_SIZE", "1"):
        return None
    gpus = _gpus()
    packages, ranges = _packages(rapl)
    return EnergyMeters(gpus | packages, ranges) if gpus or packages else None


def _packages(rapl: Path) -> tuple[dict[str, Callable[[], float]], dict[str, float]]:
    found: dict[str, Callable[[], float]] = {}
    ranges: dict[str, float] = {}
    for zone in sorted(rapl.glob("intel-rapl:*")):
        try:
            if not (zone / "name").read_text(encoding="ascii").startswith("package"):
                continue  # cores and memory are parts of a package, psys is more than one
            file = zone / "energy_uj"
            file.read_text(encoding="ascii")
            ranges[zone.name] = int((zone / "max_energy_range_uj").read_text(encoding="ascii")) / 1e6
        except (OSError, ValueError):
            continue
        found[zone.name] = partial(_of_zone, file)
    return found, ranges


def _of_zone(file: Path) -> float:
    return int(file.read_text(encoding="ascii")) / 1e6


def _gpus() -> dict[str, Callable[[], float]]:
    """The GPUs that this process may use; none without the package nvidia-ml-py, the driver, or such a counter."""
    try:
        import pynvml as nvml
    except ImportError:
        return {}
    try:
        nvml.nvmlInit()
    except nvml.NVMLError:  # no driver, or one of another version
        return {}
    found: dict[str, Callable[[], float]] = {}
    for index in _visible(nvml.nvmlDeviceGetCount()):
        try:
            gpu = (
                nvml.nvmlDeviceGetHandleByUUID(index)
                if isinstance(index, str)
                else nvml.nvmlDeviceGetHandleByIndex(index)
            )
            nvml.nvmlDeviceGetTotalEnergyConsumption(gpu)
        except nvml.NVMLError:
            continue
        found[f"gpu {index}"] = partial(_joules, nvml, gpu)
    return found


def _joules(nvml: Any, gpu: Any) -> float:
    return float(nvml.nvmlDeviceGetTotalEnergyConsumption(gpu)) / 1e3


def _visible(n: int) -> list[int | str]:
    """Numbers or UUIDs, as CUDA_VISIBLE_DEVICES has them."""
    words = os.environ.get("CUDA_VISIBLE_DEVICES")
    if words is None:
        return list(range(n))
    named = [word.strip() for word in words.split(",") if word.strip()]
    return [int(word) if word.isdecimal() else word for word in named]
