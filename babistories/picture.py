"""A picture of one prompt: where its four attributes come from and where they stand in prompt and story."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

WIDTH, HEIGHT, SCALE = 1240, 700, 2  # of the picture in units; pixels a unit
INK, SOFT, PAPER, CARD, LINE = "#2b2733", "#6a6274", "#fdf8ee", "#fffdf8", "#e8dcc8"
COLORS = {"n": ("#bcdcff", "#3a78c2"), "w": ("#ffe08a", "#b98a12"), "f": ("#e6d3fb", "#8457c0"),
          "o": ("#c4ebc6", "#3c8f4a")}  # kind -> fill, edge  # fmt: skip
_FONTS = {"sans": ("DejaVu Sans", 11.5), "bold": ("DejaVu Sans", 12.5), "big": ("DejaVu Sans", 17),
          "small": ("DejaVu Sans", 9), "serif": ("STIXGeneral", 15)}  # fmt: skip
Pieces = Sequence[tuple[str, str]]  # (kinds, text), as report.pieces makes them


class Sheet:
    """A figure that is written on: one unit is a hundredth of an inch, y runs down."""

    def __init__(self) -> None:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        self.figure = Figure(figsize=(WIDTH / 100, HEIGHT / 100), dpi=100 * SCALE, facecolor=PAPER)
        self.axes = self.figure.add_axes((0, 0, 1, 1), xlim=(0, WIDTH), ylim=(HEIGHT, 0))
        self.axes.axis("off")
        self._renderer = FigureCanvasAgg(self.figure).get_renderer()

    def font(self, name: str) -> Any:
        from matplotlib.font_manager import FontProperties

        family, size = _FONTS[name]
        return FontProperties(family=family, size=size, weight="bold" if name in ("bold", "big") else "normal")

    def width(self, text: str, font: str) -> float:
        """The width of a text in units, blanks at its end counted too."""
        pixels = [self._renderer.get_text_width_height_descent(part, self.font(font), False)[0]
                  for part in (text + "|", "|")]  # fmt: skip
        return (pixels[0] - pixels[1]) / SCALE

    def write(self, x: float, y: float, text: str, font: str = "sans", color: str = INK, align: str = "left") -> None:
        """One line, with its base line at y."""
        self.axes.text(x, y, text, fontproperties=self.font(font), color=color, ha=align, va="baseline", zorder=3,
                       parse_math=False)  # fmt: skip

    def box(self, x: float, y: float, width: float, height: float, fill: str, edge: str, radius: float = 10) -> None:
        from matplotlib.patches import FancyBboxPatch

        style = f"round,pad=0,rounding_size={radius}"
        self.axes.add_patch(FancyBboxPatch((x, y), width, height, boxstyle=style, facecolor=fill, edgecolor=edge))

    def arrow(self, x: float, y: float, end: float, color: str) -> None:
        self.axes.plot([x, end - 8], [y, y], color=color, linewidth=1.8, solid_capstyle="butt")
        self.axes.fill([end - 10, end, end - 10], [y - 6, y, y + 6], color=color, linewidth=0)

    def flow(self, x: float, y: float, width: float, pieces: Pieces, font: str, lead: float,
             most: int) -> float:  # fmt: skip
        """Write pieces as a paragraph of at most `most` lines; returns the base line of the last."""
        at, line, last = x, 0, ""
        for kinds, word, blank in _words(pieces):
            size = self.width(word, font)
            if at + size > x + width - 20 * (line == most - 1):
                if line == most - 1:
                    self.write(at, y + line * lead, "…", font)
                    break
                at, line, last = x, line + 1, ""
            if kinds:
                joined = 6 if last == kinds else 0  # with the word before it
                fill = COLORS[kinds[-1]][0]
                self.box(at - 3 - joined, y + line * lead - 0.68 * lead, size + 6 + joined, 0.92 * lead, fill, fill, 4)
            self.write(at, y + line * lead, word, font)
            at += size + (self.width(" ", font) if blank else 0)
            last = kinds
        return y + line * lead


def _words(pieces: Pieces) -> Iterator[tuple[str, str, bool]]:
    """(kinds, word, whether a blank follows) of a text in pieces.

    >>> list(_words([("", 'name "'), ("n", "Bai"), ("", '", ran')]))
    [('', 'name', True), ('', '"', False), ('n', 'Bai', False), ('', '",', True), ('', 'ran', False)]
    """
    for kinds, text in pieces:
        parts = text.replace("\n", " ").split(" ")
        for number, word in enumerate(parts):
            if word or number < len(parts) - 1:
                yield kinds, word, number < len(parts) - 1


def draw(path: Path, story: dict[str, Any], source: str) -> None:
    """Write the picture of a story (as `report.shown` gives it) as PNG. source: whose text it is, said in the image."""
    sheet = Sheet()
    sheet.write(40, 56, "How a story is asked for", "big")
    said = "A prompt has four attributes; the last, the opening words, already stands in the model's answer."
    sheet.write(40, 80, said, color=SOFT)
    left, right, text = 330, WIDTH - 40, 390
    sheet.box(text, 106, right - text, 286, CARD, LINE)
    sheet.write(text + 26, 136, "PROMPT", "small", SOFT)
    prompt = [("", "[INST] "), *story["prompt"], ("", " [/INST]")]
    sheet.flow(text + 26, 172, right - text - 52, prompt, "sans", 33, 7)
    sheet.box(text, 406, right - text, 252, CARD, LINE)
    sheet.write(text + 26, 436, "ANSWER: the opening is given, the model goes on", "small", SOFT)
    sheet.flow(text + 26, 471, right - text - 52, story["text"], "serif", 30, 6)

    features = ", ".join(story["ledger"]["features"]) or "none"
    for y, kind, title, value, origin in (
        (106, "n", "First name", story["name"], "drawn from the list of names"),
        (204, "w", "Common words", ", ".join(story["ledger"]["words"]), "a verb, a noun, an adjective"),
        (302, "f", "Story features", features, "none, one or several"),
        (406, "o", "Opening words", story["opening"], "drawn from the list of openings"),
    ):
        fill, edge = COLORS[kind]
        lines = 2 if kind == "o" else 1
        sheet.box(40, y, left - 40, 70 + 20 * lines, fill, edge)
        sheet.write(58, y + 27, title, "bold")
        end = sheet.flow(58, y + 51, left - 76, [("", value)], "sans", 20, lines)
        sheet.write(58, end + 23, origin, "small", SOFT)
        sheet.arrow(left, y + 45, text, edge)
    sheet.write(right, HEIGHT - 18, f"text: {source}", "small", SOFT, align="right")
    sheet.figure.savefig(path, format="png", metadata={"Software": None})
