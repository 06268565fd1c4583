"""A folder that a test and the fake device share, whichever processes they are in.

`controls` holds settings that take effect with the next step, `computed` a record of every text that was
computed. All times are of `time.monotonic`, which is one clock for all processes of a machine.
"""

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

FOLDER_VARIABLE = "FAULTS_FOLDER"
SETTINGS = np.dtype(
    [
        ("step_seconds", "f8"),  # a step takes so long,
        ("token_seconds", "f8"),  # and for each token so much more
        ("stalled_until", "f8"),  # steps that began do not end before
        ("load_seconds", "f8"),  # how long the model takes to load
    ]
)
COMPUTED = np.dtype([("text", "i8"), ("tokens", "i4"), ("began", "f8"), ("ended", "f8")])


class Controls:
    """`Controls(folder)` makes the folder's files where there are none."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        settings = folder / "controls"
        if not settings.exists():
            settings.write_bytes(bytes(SETTINGS.itemsize))
        self._settings = np.memmap(settings, SETTINGS, "r+", shape=(1,))
        self._log = -1

    def close(self) -> None:
        if self._log >= 0:
            os.close(self._log)

    @classmethod
    def from_environment(cls) -> "Controls":
        return cls(Path(os.environ[FOLDER_VARIABLE]))

    def get(self, name: str) -> float:
        return float(self._settings[name][0])

    def set(self, **values: float) -> None:
        for name, value in values.items():
            self._settings[name][0] = value

    def stall(self, seconds: float) -> None:
        """Keeps steps from ending for some seconds."""
        self.set(stalled_until=time.monotonic() + seconds)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """No step ends within."""
        self.set(stalled_until=np.inf)
        try:
            yield
        finally:
            self.set(stalled_until=0.0)

    def record(self, rows: list[tuple[int, int, float, float]]) -> None:
        """Opens the record with the first rows, so that only a process that computes has it open."""
        if self._log < 0:
            flags = os.O_CREAT | os.O_APPEND | os.O_WRONLY
            self._log = os.open(self.folder / "computed", flags, 0o600)
        os.write(self._log, np.array(rows, COMPUTED).tobytes())

    def computed(self) -> NDArray[np.void]:
        """Every text of a step that ended, the warm-up's too."""
        path = self.folder / "computed"
        return np.fromfile(path, COMPUTED, count=path.stat().st_size // COMPUTED.itemsize)

    def computed_texts(self) -> NDArray[np.int64]:
        """The numbers of the marked texts that were computed; one computed twice is there twice."""
        texts: NDArray[np.int64] = self.computed()["text"]
        return texts[texts >= 0]
