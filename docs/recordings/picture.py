"""An animated SVG of a recording: text that appears line by line, by CSS alone.

Without animations, where a reader prefers that, it shows the end.
"""

from xml.sax.saxutils import escape

SIZE = 14
WIDTH, HEIGHT = 8.43, 19
MARGIN, GAP, BAR = 16, 12, 26
# How long the end stays before the recording begins again.
LAST = 6
# A colour for light and for dark pages. Each has a contrast of 4.5 or more.
COLOURS = {
    "page": ("#f6f8fa", "#0d1117"),
    "frame": ("#d0d7de", "#30363d"),
    "text": ("#1f2328", "#e6edf3"),
    "brightblack": ("#59636e", "#9198a1"),
    "red": ("#c21c2c", "#ff7b72"),
    "green": ("#116329", "#7ee787"),
    "brown": ("#7d4e00", "#e3b341"),
    "blue": ("#0550ae", "#79c0ff"),
    "magenta": ("#8250df", "#d2a8ff"),
    "cyan": ("#1b6c83", "#76e3ea"),
}


class Picture:
    def __init__(self, recording):
        self.recording = recording
        self.seconds = recording["seconds"] + LAST
        self.frames = {}
        self.parts = []
        self.count = 0

    def percent(self, seconds):
        return f"{100 * seconds / self.seconds:.2f}%".replace(".00%", "%")

    def animation(self, body, timing="step-end"):
        """The style of an animation; the same one twice has one name."""
        name = self.frames.setdefault((body, timing), f"a{len(self.frames)}")
        return f'class="{name}"'

    def shown(self, start, end):
        """Visible from one time to another; `None` is for ever."""
        body = "0%{visibility:hidden}" if start > 0 else ""
        body += f"{self.percent(start)}{{visibility:visible}}"
        if end is not None:
            body += f"{self.percent(end)},to{{visibility:hidden}}"
        return self.animation(body)

    def svg(self):
        panes = self.recording["panes"]
        columns = max(pane["columns"] for pane in panes)
        width = round(columns * WIDTH + 2 * MARGIN)
        top = 0
        for pane in panes:
            bar = BAR if pane["title"] else 0
            height = bar + pane["rows"] * HEIGHT + MARGIN
            self.parts.append(f'<rect class="frame" x=".5" y="{top + .5}" width="{width - 1}" height="{height - 1}" rx="6"/>')
            if pane["title"]:
                self.parts.append(f'<text class="brightblack" x="{MARGIN}" y="{top + 18}">{escape(pane["title"])}</text>')
            self.pane(pane, top + bar + MARGIN // 2, width)
            top += height + GAP
        height = top - GAP
        title, text = escape(self.recording["title"]), escape("\n".join(transcript(self.recording)))
        return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" '
                f'aria-labelledby="title text">\n<title id="title">{title}</title>\n<desc id="text">{text}</desc>\n'
                f"<style>\n{self.style()}\n</style>\n" + "\n".join(self.parts) + "\n</svg>\n")

    def style(self):
        light, dark = ("".join(f".{name}{{fill:{pair[is_dark]}}}" for name, pair in COLOURS.items() if name != "frame")
                       + f".frame{{fill:{COLOURS['page'][is_dark]};stroke:{COLOURS['frame'][is_dark]}}}" for is_dark in (0, 1))
        lines = [f"text{{font:{SIZE}px ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono','Liberation Mono',monospace;"
                 "white-space:pre}.bold{font-weight:bold}.gone{visibility:hidden}",
                 light, f"@media(prefers-color-scheme:dark){{{dark}}}", "@media(prefers-reduced-motion:no-preference){"]
        for (body, timing), name in self.frames.items():
            lines.append(f"@keyframes {name}{{{body}}}.{name}{{animation:{name} {self.seconds:g}s {timing} infinite}}")
        return "\n".join(lines) + "}"

    def pane(self, pane, top, width):
        rows = pane["rows"]
        self.parts.append(f'<svg y="{top}" width="{width - 3}" height="{rows * HEIGHT}">')
        offsets = [(start, max(0, line - rows + 1)) for start, line in pane["cursor"]]
        last = offsets[-1][1]
        changes = [pair for before, pair in zip([(0, 0), *offsets], offsets) if pair[1] != before[1]]
        scroll = ""
        if changes:
            scroll = self.animation("0%{transform:none}" + "".join(
                f"{self.percent(start)}{{transform:translateY({-offset * HEIGHT}px)}}" for start, offset in changes))
            scroll += f' transform="translate(0 {-last * HEIGHT})"'
        self.parts.append(f"<g {scroll}>".replace(" >", ">"))
        for number, versions in enumerate(pane["lines"]):
            for (start, runs), (end, _) in zip(versions, [*versions[1:], (None, None)]):
                if runs:
                    self.line(number, start, end, runs)
        self.covers(pane, width)
        self.parts.append("</g></svg>")

    def line(self, number, start, end, runs):
        spans, column = [], 0
        for text, style in runs:
            # Blanks at the start are left out; what follows has its place.
            inner = text.lstrip(" ")
            place = column + len(text) - len(inner)
            column += len(text)
            if inner:
                spans.append(f'<tspan x="{MARGIN + place * WIDTH:g}" textLength="{len(inner) * WIDTH:.1f}" class="{style or "text"}">'
                             f"{escape(inner)}</tspan>")
        # What is gone in the end is so without animations, too.
        shown = self.shown(start, end)
        if end is not None:
            shown = shown.replace('"', '"gone ', 1)
        self.parts.append(f'<text y="{number * HEIGHT + 14}" {shown}>{"".join(spans)}</text>')

    def covers(self, pane, width):
        """A command is there from its first letter on; a cover with the cursor at its edge moves away from it."""
        for start, line, column, letters, seconds in pane["typed"]:
            end = start + seconds
            body = (f"0%{{visibility:hidden;transform:none}}{self.percent(start)}{{visibility:visible;transform:none;"
                    f"animation-timing-function:steps({letters})}}"
                    f"{self.percent(end)},to{{visibility:hidden;transform:translateX({letters * WIDTH:.1f}px)}}")
            x, y = MARGIN + column * WIDTH, line * HEIGHT
            cover = self.animation(body).replace('"', '"gone ', 1)
            self.parts.append(f'<g {cover}><rect class="page" x="{x:.1f}" y="{y}" width="{width - x - 2:.1f}" height="{HEIGHT}"/>'
                              f'<rect class="brightblack" x="{x:.1f}" y="{y + 1}" width="{WIDTH}" height="{HEIGHT - 3}"/></g>')


def transcript(recording):
    """All that the panes show in the end, line by line."""
    found = []
    for pane in recording["panes"]:
        if pane["title"]:
            found.append(f"{pane['title']}:")
        lines = ["".join(text for text, _ in (versions[-1][1] if versions else [])) for versions in pane["lines"]]
        while lines and lines[-1] in ("", "$", "$ "):
            lines.pop()
        found += lines
    return found
