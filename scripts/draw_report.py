"""Draw what `meantime run` shows on a terminal, as an SVG picture.

    python scripts/draw_report.py examples/kitchen.py docs/images/kitchen.svg

The program is really run, with a terminal as its output, and each character is drawn where the
terminal would show it.
"""

import os
import pty
import re
import subprocess
import sys
from html import escape
from pathlib import Path

COLUMNS = 80
CHARACTER_WIDTH, LINE_HEIGHT, MARGIN = 8.4, 20, 16
FONT = "14px ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace"
BACKGROUND, FOREGROUND = "#1e2227", "#d7dae0"
STYLES = {
    "": f'fill="{FOREGROUND}"',
    "0": f'fill="{FOREGROUND}"',
    "1": 'fill="#ffffff" font-weight="bold"',
    "2": 'fill="#8b919c"',
    "32": 'fill="#98c379"',
    "33": 'fill="#e5c07b"',
    "36": 'fill="#56b6c2"',
}
ESCAPE = re.compile(r"\x1b\[(\d*)m")


def main() -> None:
    """Run a program and draw what it shows."""
    program, picture = sys.argv[1:]
    lines = ["\x1b[1m$ meantime run " + program + "\x1b[0m", *shown(program).splitlines()]
    Path(picture).write_text(drawn(lines))


def shown(program: str) -> str:
    """Return what a terminal shows while the program runs under meantime."""
    ours, theirs = pty.openpty()
    environment = {key: value for key, value in os.environ.items() if key != "NO_COLOR"}
    command = [sys.executable, "-m", "meantime", "run", program]
    with subprocess.Popen(
        command, stdout=theirs, stderr=theirs, env=environment | {"TERM": "xterm"}
    ):
        os.close(theirs)
        parts = []
        while part := read(ours):
            parts.append(part)
    os.close(ours)
    return b"".join(parts).decode().replace("\r\n", "\n")


def read(descriptor: int) -> bytes:
    """Return what comes next from a terminal, or nothing when the program has ended."""
    try:
        return os.read(descriptor, 65536)
    except OSError:
        return b""


def drawn(lines: list[str]) -> str:
    """Return lines of a terminal as SVG."""
    columns = max(COLUMNS, *(len(ESCAPE.sub("", line)) for line in lines))
    width = round(columns * CHARACTER_WIDTH + 2 * MARGIN)
    height = len(lines) * LINE_HEIGHT + 2 * MARGIN
    body = "\n".join(
        piece for number, line in enumerate(lines) for piece in drawn_line(line, number)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}">\n'
        f'<rect width="100%" height="100%" rx="8" fill="{BACKGROUND}"/>\n'
        f'<g style="font: {FONT}" xml:space="preserve">\n{body}\n</g>\n</svg>\n'
    )


def drawn_line(line: str, number: int) -> list[str]:
    """Return the pieces of a line, one for each style."""
    style, column, pieces = "", 0, []
    y = MARGIN + number * LINE_HEIGHT + 14
    for index, text in enumerate(ESCAPE.split(line)):
        if index % 2:
            style = text
        elif text:
            x = MARGIN + column * CHARACTER_WIDTH
            length = len(text) * CHARACTER_WIDTH
            pieces.append(
                f'<text x="{x:.1f}" y="{y}" textLength="{length:.1f}" {STYLES[style]}>'
                f"{escape(text)}</text>"
            )
            column += len(text)
    return pieces


if __name__ == "__main__":
    main()
