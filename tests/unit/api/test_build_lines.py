"""What is left out of a build's answer when its client does not read."""

from __future__ import annotations

from corten.api.builds import BEHIND, Lines


async def test_output_is_left_out_and_vertices_are_not() -> None:
    lines = Lines()
    large = {"stream": "x" * (BEHIND // 2)}
    for _ in range(5):
        lines.put(large, output=True)
    lines.put({"vertexes": []})
    lines.end()
    came = []
    while (line := await lines.next()) is not None:
        came.append(line)
    assert [len(line) > BEHIND // 2 for line in came] == [True, True, False, False]
    assert came[2:] == [b'{"vertexes":[]}\n', b'{"stream":"[output clipped: it was not read]\\n"}\n']


async def test_a_reader_that_comes_back_sees_that_something_is_missing() -> None:
    lines = Lines()
    for _ in range(4):
        lines.put({"stream": "x" * (BEHIND // 2)}, output=True)
    for _ in range(2):
        await lines.next()
    lines.put({"stream": "later"}, output=True)
    assert await lines.next() == b'{"stream":"[output clipped: it was not read]\\n"}\n'
    assert await lines.next() == b'{"stream":"later"}\n'
