"""Results for people: as text, as a self-contained HTML page, as a picture of the curves."""

import html
import io
import json
from collections.abc import Sequence
from typing import Any

from gemwire_bench.records import counts
from gemwire_bench.result import histogram, rate

Result = dict[str, Any]

STYLE = """body{font:15px/1.5 system-ui,sans-serif;max-width:70em;margin:2em auto;padding:0 1em;color:#222}
table{border-collapse:collapse;margin:1em 0}
td,th{padding:.2em .8em;text-align:right;border-bottom:1px solid #ddd}
td:first-child,th:first-child{text-align:left}.bad{color:#b00020;font-weight:bold}svg{max-width:100%;height:auto}
pre{background:#f6f6f6;padding:1em;overflow:auto}"""
COLUMNS = (
    "offered /s", "ok /s", "texts /s", "tokens /s", "p50 ms", "p90 ms", "p99 ms", "p99.9 ms",
    "service p99", "lag p99", "rejected", "expired", "errors",
)  # fmt: skip


def rows(result: Result) -> list[tuple[str, ...]]:
    """A line for each step and, where there are several classes, for each class."""
    found = []
    for step in result["steps"]:
        notes = [] if step["valid"] else ["INVALID"]
        notes += [] if step["stable"] or step["callers"] else ["unstable"]
        notes += [f"{one['slo']} missed" for one in step["slo"] if not one["met"]]
        found.append((rate(step), *_cells(step["all"]), ", ".join(notes)))
        if len(step["by_class"]) > 1:
            for name, figures in step["by_class"].items():
                found.append((f"  {name}", *_cells(figures), ""))
    return found


def _cells(figures: dict[str, Any]) -> tuple[str, ...]:
    latency = figures["latency"]
    return (
        *(f"{figures[name + '_per_second']:,.1f}" for name in ("offered", "ok", "texts", "tokens")),
        *(_millis(latency[name]) for name in ("p50", "p90", "p99", "p99.9")),
        _millis(figures["service"]["p99"]),
        _millis(figures["lag"]["p99"]),
        *(f"{figures[name]:,}" for name in ("rejected", "expired", "errors")),
    )


def _millis(value: float | None) -> str:
    return "-" if value is None else f"{value:,.2f}"


def conclusions(result: Result) -> list[str]:
    """The conclusions, a sentence each; the first ones say why the result is invalid, if it is."""
    found = [f"INVALID: {said}" for said in result["accusations"]]
    if "knee" in result:
        found.append(_highest("the highest stable rate", result["knee"]))
        if "highest_within_slo" in result:
            name = f"the highest rate within {', '.join(result['slo'])}"
            found.append(_highest(name, result["highest_within_slo"]))
    for step in _of_interest(result):
        for one in step["slo"]:
            found.append(
                f"{one['slo']}: {one['share']:.2%} of what was asked for was answered within, "
                f"{one['goodput']:,.1f}/s: {'met' if one['met'] else 'MISSED'}"
            )
        if (golden := step["golden"]) and golden["checked"]:
            found.append(
                f"golden: {golden['checked']} vectors under load, 1 - cos at most "
                f"{max(golden['worst'], 0):.1e} from {golden['origin']}"
            )
    return found


def _highest(name: str, rate: float | None) -> str:
    return f"{name}: none of those tried" if rate is None else f"{name}: {rate:g} calls/s"


def _of_interest(result: Result) -> list[Result]:
    """The steps that matter: all, or of a sweep the highest that keeps the SLO or is stable."""
    if "knee" not in result:
        return list(result["steps"])
    best = result.get("highest_within_slo") or result["knee"]
    return [step for step in result["steps"] if step["rate"] == best]


def text(result: Result) -> str:
    """A table and its conclusions, for a terminal or a log."""
    lines = [("", *COLUMNS, ""), *rows(result)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    drawn = [
        "  ".join(
            cell.ljust(width) if i in (0, len(widths) - 1) else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]
    return "\n".join([*drawn, *conclusions(result)])


def as_html(results: Sequence[Result]) -> str:
    """One HTML file without links to others."""
    drawn = picture(results, "svg").decode()
    parts = [drawn[drawn.index("<svg") :]]
    for number, result in enumerate(results):
        parts.append(f"<h2>{html.escape(_label(result, number))}</h2><ul>")
        for said in conclusions(result):
            bad = ' class="bad"' if "INVALID" in said or "MISSED" in said else ""
            parts.append(f"<li{bad}>{html.escape(said)}</li>")
        parts.append("</ul><table><tr>")
        parts += [f"<th>{html.escape(name)}</th>" for name in ("", *COLUMNS, "")]
        parts.append("</tr>")
        for line in rows(result):
            cells = "".join(f"<td>{html.escape(cell)}</td>" for cell in line)
            parts.append(f"<tr>{cells}</tr>")
        parts.append("</table>")
        for step in result["steps"]:
            notes = [*step["accusations"], *step["instabilities"]]
            if notes:
                parts.append(f"<p>{rate(step)}: {html.escape('; '.join(notes))}</p>")
        facts = {"classes": result["steps"][0]["classes"], **result["environment"]}
        facts_text = json.dumps(facts, indent=2, ensure_ascii=False)
        parts.append(f"<details><summary>environment</summary><pre>{html.escape(facts_text)}")
        parts.append("</pre></details>")
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>gemwire bench</title>'
        f"<style>{STYLE}</style><h1>gemwire bench</h1>{''.join(parts)}</html>\n"
    )


def _label(result: Result, number: int) -> str:
    classes = result["steps"][0]["classes"]
    return result["label"] or ", ".join(one["name"] for one in classes) or f"result {number + 1}"


def picture(results: Sequence[Result], kind: str) -> bytes:
    """An image: latency over throughput where there are several rates, and the percentiles."""
    from matplotlib.figure import Figure

    swept = any(len(result["steps"]) > 1 for result in results)
    figure = Figure(figsize=(12 if swept else 7, 4.5), layout="constrained")
    panels = figure.subplots(1, 2 if swept else 1, squeeze=False)[0]
    for number, result in enumerate(results):
        name = _label(result, number)
        if swept:
            _curve(panels[0], result, name, f"C{number}")
        for step in _of_interest(result) or result["steps"][:1]:
            _percentiles(panels[-1], step, name, f"C{number}")
    for axes in panels:
        axes.grid(True, which="both", alpha=0.3)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(fontsize=8)
    drawn = io.BytesIO()
    figure.savefig(drawn, format=kind, dpi=130)
    return drawn.getvalue()


def _curve(axes: Any, result: Result, name: str, colour: str) -> None:
    steps = [step for step in result["steps"] if step["all"]["latency"]["p50"] is not None]
    good = [step for step in steps if step["valid"] and step["stable"]]
    for rank, style in (("p50", ":"), ("p99", "-")):
        for some, marker in ((steps, "x"), (good, "o")):
            axes.plot(
                [step["all"]["texts_per_second"] for step in some],
                [step["all"]["latency"][rank] for step in some],
                linestyle=style if some is steps else "none",
                marker=marker,
                markersize=4,
                color=colour,
                label=f"{name}, {rank}" if some is steps else None,
            )
    axes.set(xlabel="texts answered a second", ylabel="latency from when it was due, ms")
    axes.set_yscale("log")
    axes.set_title("x: unstable or invalid", fontsize=9)


def _percentiles(axes: Any, step: Result, name: str, colour: str) -> None:
    name = f"{name} at {rate(step, ' calls/s')}"
    for phase, style in (("latency", "-"), ("service", ":")):
        values, found = counts(histogram(step, phase))
        if not len(values):
            continue
        above = 1 - (found.cumsum() - found) / found.sum()
        axes.plot(above, values / 1e3, style, color=colour, label=f"{name}, {phase}")
    axes.set(
        xlabel="share of answers that take longer",
        ylabel="ms",
        xscale="log",
        yscale="log",
    )
    axes.invert_xaxis()
    axes.set_title("percentiles", fontsize=9)
