"""ICC profiles of colours that a file describes in another way: the chunks of a PNG, the codes of a film format."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from functools import cache

Point = tuple[float, float]  # x and y of CIE 1931

_D65: Point = (0.3127, 0.3290)
_D50_XYZ = (0.9642, 1.0, 0.8249)
_SRGB_PRIMARIES = (_D65, (0.640, 0.330), (0.300, 0.600), (0.150, 0.060))
# https://www.itu.int/rec/T-REC-H.273 (2024-07), table 2: white, red, green, blue.
_PRIMARIES = {
    1: _SRGB_PRIMARIES,
    4: ((0.310, 0.316), (0.67, 0.33), (0.21, 0.71), (0.14, 0.08)),
    5: (_D65, (0.64, 0.33), (0.29, 0.60), (0.15, 0.06)),
    6: (_D65, (0.630, 0.340), (0.310, 0.595), (0.155, 0.070)),
    7: (_D65, (0.630, 0.340), (0.310, 0.595), (0.155, 0.070)),
    9: (_D65, (0.708, 0.292), (0.170, 0.797), (0.131, 0.046)),
    11: ((0.314, 0.351), (0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),
    12: (_D65, (0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),
}
# The same, table 3. Video transfers (1, 6, 14, 15) are shown like sRGB by browsers.
_LINEAR, _PQ, _HLG = 8, 16, 18
_GAMMAS = {4: 2.2, 5: 2.8, _LINEAR: 1.0}
_CURVE_POINTS = 1024
_HEAD = 128  # bytes of a profile before the table of its tags


def find_profile_of_png(chunks: Mapping[bytes, bytes]) -> bytes | None:
    """Return the profile that the chunks of a PNG mean, by their precedence; None means sRGB."""
    # https://www.w3.org/TR/png-3/#color-chunks-precendence (2025-06)
    if len(codes := chunks.get(b"cICP", b"")) >= 2 and codes[0] in _PRIMARIES:  # noqa: PLR2004  bytes
        return find_profile_of_codes(codes[0], codes[1])
    if chunks.get(b"iCCP"):
        return chunks[b"iCCP"]
    if b"sRGB" in chunks:
        return None
    gamma = int.from_bytes(chunks.get(b"gAMA", b""), "big") / 100_000
    points = _read_points(chunks.get(b"cHRM", b""))
    is_usual = abs(gamma * 2.2 - 1) <= _GAMMA_TOLERANCE or not _LEAST_GAMMA <= gamma <= _MOST_GAMMA
    if is_usual and (points is None or _is_srgb(points)):
        return None
    exponent = None if is_usual else 1 / gamma
    return _build_profile(points or _SRGB_PRIMARIES, _srgb_curve() if exponent is None else exponent)


_GAMMA_TOLERANCE = 0.05  # what libpng takes for no difference
_LEAST_GAMMA, _MOST_GAMMA = 0.05, 10.0


def find_profile_of_codes(primaries: int, transfer: int) -> bytes | None:
    """Return the profile that H.273's codes mean; None means sRGB, and what is not known."""
    points, gamma = _PRIMARIES.get(primaries, _SRGB_PRIMARIES), _GAMMAS.get(transfer)
    if gamma is not None:
        return _build_profile(points, gamma)
    if transfer in {_PQ, _HLG}:
        return _build_profile(points, [_light(transfer, index / (_CURVE_POINTS - 1)) for index in range(_CURVE_POINTS)])
    return None if _is_srgb(points) else _build_profile(points, _srgb_curve())


@cache
def build_srgb() -> bytes:
    """Return sRGB as a profile of version 2.

    Between a printer's profile of version 2 and Little CMS' own sRGB, of version 4, black would be moved, as no browser
    does.
    """
    return _build_profile(_SRGB_PRIMARIES, _srgb_curve()) or b""


def _light(transfer: int, signal: float) -> float:
    """Return the light of a signal for films in high dynamic range, where 1 is the white of a page."""
    if transfer == _PQ:  # SMPTE ST 2084; white at 203 cd/m2 (ITU-R BT.2408)
        power = signal ** (1 / 78.84375)
        return float(
            (max(power - 0.8359375, 0) / (18.8515625 - 18.6875 * power)) ** (1 / 0.1593017578125) * 10_000 / 203
        )
    linear = (
        signal**2 / 3 if signal <= 1 / 2 else (2.718281828 ** ((signal - 0.55991073) / 0.17883277) + 0.28466892) / 12
    )
    return float(linear / 0.265)  # white at 75 % of the signal


def _srgb_curve() -> list[float]:
    values = (index / (_CURVE_POINTS - 1) for index in range(_CURVE_POINTS))
    return [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in values]  # noqa: PLR2004


def _read_points(chunk: bytes) -> Sequence[Point] | None:
    if len(chunk) != 32:  # noqa: PLR2004  white, red, green, blue: four bytes a coordinate
        return None
    values = [value / 100_000 for value in struct.unpack(">8I", chunk)]
    points = list(zip(values[::2], values[1::2], strict=True))
    return points if all(0 < y <= 1 and 0 <= x <= 1 for x, y in points) else None


def _is_srgb(points: Sequence[Point]) -> bool:
    pairs = zip(points, _SRGB_PRIMARIES, strict=True)
    return all(abs(x - sx) < 0.005 and abs(y - sy) < 0.005 for (x, y), (sx, sy) in pairs)  # noqa: PLR2004  rounding


Matrix = list[list[float]]
_BRADFORD: Matrix = [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]


def _build_profile(points: Sequence[Point], curve: float | Sequence[float]) -> bytes | None:
    """Return an ICC profile of RGB with these primaries and this gamma or curve; None where they span no space."""
    white, *primaries = [[x / y, 1.0, (1 - x - y) / y] for x, y in points]
    columns = [[primary[row] for primary in primaries] for row in range(3)]
    try:
        scale = _apply(_invert(columns), white)
        cones = zip(_apply(_BRADFORD, _D50_XYZ), _apply(_BRADFORD, white), strict=True)
        ratios = [after / before for after, before in cones]
    except ZeroDivisionError:
        return None
    adapted = []
    for primary, factor in zip(primaries, scale, strict=True):
        seen = _apply(_BRADFORD, [value * factor for value in primary])
        adapted.append(_apply(_invert(_BRADFORD), [value * ratio for value, ratio in zip(seen, ratios, strict=True)]))
    values = [curve] if isinstance(curve, float | int) else curve
    scaled = [round(values[0] * 256)] if len(values) == 1 else [round(min(max(v, 0), 1) * 65_535) for v in values]
    tags = {b"wtpt": _xyz(_D50_XYZ)}
    for name, xyz in zip((b"r", b"g", b"b"), adapted, strict=True):
        tags[name + b"XYZ"] = _xyz(xyz)
        tags[name + b"TRC"] = b"curv\0\0\0\0" + struct.pack(f">I{len(scaled)}H", len(scaled), *scaled)
    return _pack_profile(tags)


def _pack_profile(tags: Mapping[bytes, bytes]) -> bytes:
    table, bodies, offset = struct.pack(">I", len(tags)), b"", _HEAD + 4 + 12 * len(tags)
    for name, body in tags.items():
        table += name + struct.pack(">II", offset + len(bodies), len(body))
        bodies += body.ljust((len(body) + 3) // 4 * 4, b"\0")
    header = struct.pack(">I4xI", offset + len(bodies), 0x02400000) + b"mntrRGB XYZ " + bytes(12) + b"acsp" + bytes(28)
    return (
        (header + struct.pack(">3i", *(round(value * 65_536) for value in _D50_XYZ))).ljust(_HEAD, b"\0")
        + table
        + bodies
    )


def _xyz(values: Sequence[float]) -> bytes:
    return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(value * 65_536) for value in values))


def _apply(matrix: Matrix, vector: Sequence[float]) -> list[float]:
    return [sum(a * b for a, b in zip(row, vector, strict=True)) for row in matrix]


def _invert(matrix: Matrix) -> Matrix:
    (a, b, c), (d, e, f), (g, h, i) = matrix
    cofactors = [
        [e * i - f * h, c * h - b * i, b * f - c * e],
        [f * g - d * i, a * i - c * g, c * d - a * f],
        [d * h - e * g, b * g - a * h, a * e - b * d],
    ]
    determinant = a * cofactors[0][0] + b * cofactors[1][0] + c * cofactors[2][0]
    return [[value / determinant for value in row] for row in cofactors]
