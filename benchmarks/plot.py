"""Draws a result of baselines.py: a panel a workload, a bar a contender.

python benchmarks/plot.py RESULT.json PICTURE.png
"""

import json
import statistics
import sys
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.pyplot as plt

COLOURS = {
    "gemwire": "#d1495b",
    "sentence-transformers": "#66a182",
    "llama.cpp": "#edae49",
    "onnxruntime": "#2e6f95",
    "products": "#bbbbbb",
}


def draw(result: dict[str, Any], path: Path) -> None:
    """Draws a bar for each median over rounds, with whiskers from the least to the most."""
    matplotlib.use("agg")
    workloads = list(result["workloads"].values())
    rows = max(len(workload["contenders"]) for workload in workloads)
    figure, panels = plt.subplots(
        len(workloads), 1, figsize=(9, (0.3 * rows + 0.9) * len(workloads)), squeeze=False
    )
    for axes, workload in zip(panels[:, 0], workloads, strict=True):
        _panel(axes, workload)
    figure.suptitle(result["environment"]["cpu"], fontsize=9)
    figure.tight_layout()
    figure.savefig(path, dpi=130)
    plt.close(figure)


def _panel(axes: Any, workload: dict[str, Any]) -> None:
    entries = workload["contenders"]
    names = list(entries)
    medians = [statistics.median(entry["rounds"]) for entry in entries.values()]
    whiskers = [
        [
            median - min(entry["rounds"])
            for median, entry in zip(medians, entries.values(), strict=True)
        ],
        [
            max(entry["rounds"]) - median
            for median, entry in zip(medians, entries.values(), strict=True)
        ],
    ]
    colours = [COLOURS[name.partition("/")[0]] for name in names]
    bars = axes.barh(names, medians, xerr=whiskers, color=colours, height=0.7, capsize=2)
    digits = 1 if workload["unit"] == "ms" else 0
    axes.bar_label(bars, [f"{median:,.{digits}f}" for median in medians], padding=6, fontsize=8)
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.tick_params(labelsize=8)
    better = "less" if workload["unit"] == "ms" else "more"
    axes.set_title(f"{workload['title']}: {workload['unit']}, {better} is better", fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    draw(json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2]))
