"""The value that every format draws."""

from __future__ import annotations

from teastreams.core.drawing.picture import Frame, Lane, Shape, Split, laid_flat


def test_laid_flat_gives_shapes_and_frames_of_nested_branches_in_order() -> None:
    """Those of a lane before what follows the split."""
    a, b, c, d = (Shape(name, name) for name in "abcd")
    frame = Frame("s", (), (), ())
    inner = Split((Lane("", (b,)), Lane("", (frame,))))
    assert list(laid_flat((a, Split((Lane("", (inner, c)),)), d))) == [a, b, frame, c, d]
