"""Residual and motion of the second decoder, decoder.py.

Written from docs/bitstream.md alone, by somebody who had not seen the code.
"""
from math import floor, isfinite, sqrt
from operator import mul

from coding import RangeDecoder, models, need, sgn

CLASS = [0, 1, 2, 3, 4, 5, 5, 5, 6, 6, 6, 6, 6, 7]             # of 0 to 13; 7 above

def corner_sides(side):
    """n_0, n_1, ... n_d."""
    return [side] + (corner_sides((side + 1) // 2) if side > 8 else [])
def band_places(sides):
    """(kind, t, column, row, width, height) of each band; column and row of its corner in the plane."""
    d = len(sides) - 1
    places = [(0, min(d, 5), 0, 0, sides[d], sides[d])]
    for l in range(d, 0, -1):
        n, high = sides[l], sides[l - 1] - sides[l]
        places += [(h, min(l - 1, 5), *place) for h, place in
                   enumerate([(n, 0, high, n), (0, n, n, high), (n, n, high, high)], 1)]
    return places

def unlift(line):
    """A line of samples from its low and high part."""
    low = (len(line) + 1) // 2
    even, odd = [x / 1.149604398 for x in line[:low]], [x * 1.149604398 for x in line[low:]]
    for a, b in (0.4435068520, 0.8829110756), (-0.05298011857, -1.586134342):
        even = [x - a * (y + z) for x, y, z in zip(even, odd[:1] + odd, odd + odd[-1:])]
        odd = [x - b * (y + z) for x, y, z in zip(odd, even, even[1:] + even[-1:])]
    line[0::2], line[1::2] = even, odd
    return line
def untransform(plane, sides):
    """A plane of samples, a list of rows, from its coefficients."""
    plane = [row[:] for row in plane]
    for n in sides[-2::-1]:
        columns = [unlift(list(column)) for column in zip(*(row[:n] for row in plane[:n]))]
        for y, row in enumerate(zip(*columns)):
            plane[y][:n] = unlift(list(row))
    return plane
def enlarge(plane, size):
    """Bilinear, to size x size."""
    last, places = len(plane) - 1, []
    for x in range(size):
        p = min(max((x + 0.5) * len(plane) / size - 0.5, 0), last)
        places.append((int(p), min(int(p) + 1, last), p - int(p)))
    wide = [[row[i] + w * (row[j] - row[i]) for i, j, w in places] for row in plane]
    return [[a + w * (b - a) for a, b in zip(wide[i], wide[j])] for i, j, w in places]

class ResidualChain:
    """What a record needs of those before it. levels: the last ones, [band][plane][2 + y][2 + x], a margin of zeros around."""
    def __init__(self, side):
        self.side, self.sides = side, corner_sides(side)
        self.places, self.planes = band_places(self.sides), [[[0.0] * side for y in range(side)] for q in range(3)]
        self.levels = self.zeros()
        start = lambda n, t: [256 * (16000 if n else (300, 1000, 3000, 8000, 14000, 20000)[t]), 4]
        self.mixers = [[[21845] * 4 for chosen in range(12)] for n in range(2)]
        self.mixed = [[[[start(n, chosen >> 1) for _ in range(count)] for count in (96, 64, 96, 144)]
                       for chosen in range(12)] for n in range(2)]
        self.long, self.mantissa, self.sign = models(15)[2:], [models(4) for length in range(16)], models(36)
    def zeros(self):
        return [[[[0] * (width + 3) for y in range(height + 3)] for q in range(3)] for *_, width, height in self.places]
    def decode(self, record):
        need(record.bands <= len(self.places), "too many bands")
        rc, before, self.levels = RangeDecoder(record.block), self.levels, self.zeros()
        for i in range(record.bands):
            for q in range(3):
                self.band(rc, i, q, before[i][q])
        rc.finish()
        for q, plane in enumerate(self.planes):
            plane[:] = [[x * record.kept for x in row] for row in plane]
            for (*_, column, row, width, height), band in zip(self.places, self.levels):
                for y in range(height):
                    for x in range(width):
                        plane[row + y][column + x] += band[q][y + 2][x + 2] * record.step
    def band(self, rc, i, q, old):
        """Decodes the levels of band i of plane q; `old`: those of the record before."""
        h, t, _, _, width, height = self.places[i]
        v, chosen = self.levels[i][q], 2 * t + (q > 0)
        above = self.levels[i - 3][q] if i > 3 else None       # the band of the same kind at l + 1
        for y in range(2, height + 2):
            for x in range(2, width + 2):
                a, b = v[y][x - 1], v[y - 1][x]
                near = (2 * (abs(a) + abs(b)) + abs(v[y - 1][x - 1]) + abs(v[y - 1][x + 1]) + abs(v[y][x - 2])
                        + abs(v[y - 2][x]))
                before = (2 * abs(old[y][x]) + abs(old[y][x - 1]) + abs(old[y][x + 1]) + abs(old[y - 1][x])
                          + abs(old[y + 1][x]))
                parent = abs(above[min(y // 2 + 1, len(above) - 2)][min(x // 2 + 1, len(above[0]) - 2)]) if above else 0
                luma = abs(self.levels[i][0][y][x]) if q else 0
                other = abs(self.levels[i][1][y][x]) if q == 2 else 0
                contexts = (3 * (4 * CLASS[min(near, 13)] + h) + q,
                            4 * (4 * min(parent, 3) + min(luma, 3)) + min(other, 3),
                            3 * (4 * CLASS[min(before, 13)] + h) + q,
                            3 * (4 * (3 * min(near, 3) + min(parent, 2)) + min(before, 3)) + min(luma + other, 2))
                n = next((n for n in range(2) if not rc.mixed([m[c] for m, c in zip(self.mixed[n][chosen], contexts)],
                                                              self.mixers[n][chosen])), 2)
                n += rc.unary(self.long) if n == 2 else 0
                z = rc.below(n, self.mantissa[n])
                v[y][x] = -z if z and rc.bit(self.sign[12 * sgn(a) + 4 * sgn(b) + h + 16]) else z

class Fading:
    """What a receiver shows of residual or motion at frames that do not fall. Subclasses: records() and planes()."""
    def __init__(self, stream):
        self.size, self.waiting, self.remarks = stream.resolution, self.records(stream)[::-1], []
        self.chain, self.number, self.shown = None, None, None  # number: of the chain's last record
    def begin(self, record):
        """Shows a record from its frame on."""
        chain, self.chain = self.chain, None                   # a record that is left out leaves no chain
        if record.intra:
            chain = ResidualChain(record.side)
        else:
            need(chain and self.number == record.number - 1 and chain.side == record.side, "its chain is not there")
        chain.decode(record)
        old, new = self.at(record.frame - 1), self.planes(chain)
        if not old or len(old[0]) != record.side:
            old = [[[0.0] * record.side] * record.side] * len(new)
        self.chain, self.number, self.shown = chain, record.number, (record.frame, record.fade, old, new)
    def at(self, frame):
        """The planes, of the side of the last record; None: nothing yet."""
        if not self.shown:
            return None
        first, fade, old, new = self.shown
        w = min(1, (frame - first + 1) / fade)
        return [[[a + w * (b - a) for a, b in zip(*rows)] for rows in zip(*planes)] for planes in zip(old, new)]
    def enlarged(self, frame):
        """The planes at `frame`, of the crop's side; None: nothing yet."""
        while self.waiting and self.waiting[-1].frame <= frame:
            record = self.waiting.pop()
            try:
                self.begin(record)
            except ValueError as error:
                self.remarks.append("%s %d left out: %s" % (type(self).__name__.lower(), record.number, error))
        shown = self.at(frame)
        return shown and [enlarge([list(map(self.held, row)) for row in plane], self.size) for plane in shown]
    def held(self, value):
        return value

class Residual(Fading):
    def records(self, stream):
        return stream.residuals
    def planes(self, chain):
        """R, G and B, lists of rows."""
        rgb = [], [], []
        for rows in zip(*(untransform(plane, chain.sides) for plane in chain.planes)):
            grey = [[x / sqrt(3), y / sqrt(2), z / sqrt(6)] for x, y, z in zip(*rows)]
            rgb[0].append([x + y - z for x, y, z in grey])
            rgb[1].append([x + 2 * z for x, y, z in grey])
            rgb[2].append([x - y - z for x, y, z in grey])
        return rgb
    def picture_at(self, frame):
        """The residual over mid grey."""
        planes = self.enlarged(frame) or [[[0.0] * self.size] * self.size] * 3
        return bytes(min(max(floor(128.5 + x), 0), 255) for rows in zip(*planes) for pixel in zip(*rows) for x in pixel)

# ---------------------------------------------------------------- motion
def displace(picture, right, down):
    """The picture, rows of pixels, with the colours of each place taken from where it is displaced to, in pixels."""
    last, result = len(picture) - 1, []
    for y in range(last + 1):
        result.append([])
        for x, (dx, dy) in enumerate(zip(right[y], down[y])):
            u, v = min(max(x + dx, 0), last), min(max(y + dy, 0), last)
            i, j = int(u), int(v)
            p, q = u - i, v - j
            corners = [picture[row][column] for row in (j, min(j + 1, last)) for column in (i, min(i + 1, last))]
            weights = (1 - p) * (1 - q), p * (1 - q), (1 - p) * q, p * q
            still = abs(dx) < 1 / 64 and abs(dy) < 1 / 64
            result[y].append(picture[y][x] if still else [floor(sum(map(mul, weights, c)) + 0.5) for c in zip(*corners)])
    return result

class Motion(Fading):
    def records(self, stream):
        return stream.motions
    def planes(self, chain):
        """Displacements to the right and downwards in 4096ths of the crop's side, lists of rows."""
        return [untransform(plane, chain.sides) for plane in chain.planes[:2]]
    def held(self, value):
        return min(max(value if isfinite(value) else 0, -2048), 2048)
    def picture_at(self, frame):
        """The test picture, displaced."""
        r, field = self.size, self.enlarged(frame)
        picture = [[(255 * x // r, 255 * y // r, (x * x + 3 * x * y + 5 * y) % 256) for x in range(r)] for y in range(r)]
        if field:
            picture = displace(picture, *([[d * r / 4096 for d in row] for row in plane] for plane in field))
        return bytes(x for row in picture for pixel in row for x in pixel)
