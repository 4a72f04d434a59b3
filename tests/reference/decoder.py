#!/usr/bin/env python3
"""A second decoder of streams 1.0 and 1.1 and identities 2.0, written from docs/bitstream.md alone, by somebody who had not seen the code.

    decoder.py params   FILE.effigy     frames as CSV
    decoder.py identity FILE.identity   a summary of the identity
    decoder.py sound    FILE.effigy     the sound, a Matroska file, to standard output
    decoder.py plate    FILE.effigy     the plate, a JPEG file, to standard output
    decoder.py residual FILE.effigy FRAME...   the residual at each of these frames over mid grey

Frames rise; each gives resolution x resolution x 3 bytes on standard output, R, G, B, row by row.
Pure Python 3, standard library only; slow and plain on purpose. Remarks on damage go to standard error.
"""
import hashlib, struct, sys, zlib
from decimal import Context, ROUND_HALF_UP
from math import floor, isfinite, isqrt, prod, sqrt
from operator import mul
from types import SimpleNamespace

PARAMETERS, LIMIT20, LIMIT60, MAX_FRAMES = 35, 1 << 20, 1 << 60, 10_368_000

def need(condition, what):
    """All rules of the format: input that breaks one raises ValueError, as does text that is not UTF-8."""
    if not condition:
        raise ValueError(what)

def sgn(x):
    return (x > 0) - (x < 0)
def f32(x):
    """x rounded once to binary32. (The product of a level and a binary32 is exact before.)"""
    return struct.unpack("<f", struct.pack("<f", x))[0]

def show(x):
    """The shortest decimal that reads back as the same binary32."""
    digits = (Context(prec=n, rounding=ROUND_HALF_UP).create_decimal(x) for n in range(1, 10))
    return next(format(d, "f") for d in digits if f32(float(d)) == x)

def read_metadata(count, blob):
    need(count <= 1024, "too much metadata")
    pairs = [(blob(256), blob(65536)) for _ in range(count)]
    need(all(x[0] < y[0] for x, y in zip(pairs, pairs[1:])), "metadata keys do not rise")
    need(sum(len(k) + len(v) for k, v in pairs) <= 65536, "too much metadata")
    return [(k.decode(), v.decode()) for k, v in pairs]

# ---------------------------------------------------------------- primitives
class Reader:
    """Reads the primitives from data[pos:]."""
    def __init__(self, data, pos=0):
        self.data, self.pos, self.end = data, pos, len(data)
    def take(self, count):
        need(count <= self.end - self.pos, "input ends early")
        self.pos += count
        return self.data[self.pos - count:self.pos]
    def many(self, letters):
        """A tuple of numbers by struct letters: B u8, H u16, I u32, Q u64, q i64, f f32, e f16."""
        values = struct.unpack("<" + letters, self.take(struct.calcsize("<" + letters)))
        need(all(isfinite(v) for v in values), "a number is not finite")
        return values
    def one(self, letter):
        return self.many(letter)[0]
    def varint(self):
        value = 0
        for shift in range(0, 70, 7):
            byte = self.one("B")
            value |= (byte & 127) << shift
            if byte < 128:
                need(value < 1 << 64 and (byte or not shift), "varint too large or not the shortest")
                return value
        raise ValueError("varint too long")
    def zigzag(self):
        u = self.varint()
        return -(u >> 1) - 1 if u & 1 else u >> 1
    def blob(self, limit, length=None):
        length = self.varint() if length is None else length
        need(length <= limit, "too long")
        return self.take(length)
    def crc(self, start):
        """A CRC here of everything from `start` on."""
        computed = zlib.crc32(self.data[start:self.pos])
        need(self.one("I") == computed, "check sum wrong")

# ---------------------------------------------------------------- range coder
L = [22, 36, 60, 98, 162, 267, 439, 720, 1179, 1921, 3108, 4971, 7812, 11955, 17625, 24743, 32768, 40793, 47911, 53581,
     57724, 60565, 62428, 63615, 64357, 64816, 65097, 65269, 65374, 65438, 65476, 65500, 65514]
SQUASH = {g - 2048: L[g >> 7] + (((L[(g >> 7) + 1] - L[g >> 7]) * (g & 127) + 64) >> 7) for g in range(1, 4096)}
LOGIT, x = [], -2047                    # by q >> 4: the smallest x with SQUASH[x] >= 16 (q >> 4) + 8
for j in range(4096):
    while x < 2047 and SQUASH[x] < 16 * j + 8:
        x += 1
    LOGIT.append(x)

def models(count):
    return [[1 << 23, 0] for _ in range(count)]        # p and n of each
def learn(m, truth):
    p, n = m
    m[:] = p + ((((1 << 24) - p if truth else -p) * (65536 // (n + 2))) >> 16), n + (n < 254)
def chance(m):
    """The coded probability of a model."""
    q = m[0] >> 8
    return 32 if q < 32 else 65504 if q > 65504 else q
def scale(mean):
    """The class of a mean magnitude."""
    length = mean.bit_length()
    return min(2 * length + (mean >> (length - 2) & 1 if length >= 2 else 0), 47)

class RangeDecoder:
    def __init__(self, block):
        self.block, self.pos, self.range = block + bytes(4), 4, 0xFFFFFFFF
        self.code = int.from_bytes(self.block[:4], "big")
        need(self.code < self.range, "a block begins with FF FF FF FF")
    def finish(self):
        need(self.pos >= len(self.block) - 4, "bytes left in a block")
    def split(self, bound):
        """On which side of `bound` the code lies: the common half of all bits."""
        truth = self.code < bound
        if not truth:
            self.code -= bound
        self.range = bound if truth else self.range - bound
        while self.range < 1 << 24:
            need(self.pos < len(self.block), "block ends early")
            self.range, self.code, self.pos = self.range << 8, self.code << 8 | self.block[self.pos], self.pos + 1
        return truth
    def bit(self, m):
        truth = self.split((self.range >> 16) * chance(m))
        learn(m, truth)
        return truth
    def mixed(self, chosen, weights):
        """A mixed bit with the models `chosen` and the mixer `weights`."""
        logits = [LOGIT[chance(m) >> 4] for m in chosen]
        probability = SQUASH[min(max(sum(map(mul, weights, logits)) >> 16, -2047), 2047)]
        truth = self.split((self.range >> 16) * probability)
        d = ((65536 if truth else 0) - probability) >> 3
        weights[:] = [min(max(w + ((x * d + 4096) >> 13), -262144), 262144) for w, x in zip(weights, logits)]
        for m in chosen:
            learn(m, truth)
        return truth
    def unary(self, chosen):
        """A number from 0 to len(chosen): bits "> 0", "> 1", ... up to the first false."""
        return next((n for n, m in enumerate(chosen) if not self.bit(m)), len(chosen))
    def below(self, length, chosen=()):
        """A magnitude of `length` bits: those below the leading one, the first by models chosen[bits so far]."""
        x = min(length, 1)
        for _ in range(length - 1):
            x = 2 * x + (self.bit(chosen[x]) if x < len(chosen) else self.split(self.range >> 1))
        return x

class Levels:
    """The model of signed levels in a row-major array."""
    def __init__(self):
        self.mean, self.sign = 0, models(9)
        self.length = [[models(15) for near in range(3)] for scale in range(48)]
        self.mantissa = [[models(4) for length in range(16)] for scale in range(48)]
    def decode(self, rc, count, inner, row):
        v = []
        for i in range(count):
            a, b, c = (v[i - back] if i >= back else 0 for back in (1, inner, row))
            k, s, mean = scale(self.mean), 64 * (abs(a) + abs(b) + 2 * abs(c)), self.mean
            near = 0 if 2 * s < mean else 1 if s < 2 * mean else 2
            n = rc.unary(self.length[k][near])
            x = rc.below(n, self.mantissa[k][n])
            self.mean = (15 * mean + 256 * x + 8) >> 4
            v.append(-x if x and rc.bit(self.sign[3 * sgn(a) + sgn(c) + 4]) else x)
        return v

# ---------------------------------------------------------------- coded payload
def middle(c):
    """The middle of a class of mean magnitudes, in 1/256."""
    return c >> 1 if c < 4 else ((5 + 2 * (c & 1)) << ((c >> 1) - 1)) >> 2

def class_models(c):
    """Initial models of class c, (length, mantissa): the chances of a two-sided geometric distribution."""
    m = min(max(middle(c), 16), 1 << 22)
    t = [0, (isqrt((65536 + m * m) << 16) - 65536) * 256 // m]             # t[k] is T(k)
    while len(t) < 22:
        t.append(t[-1] * t[-1] >> 16)
    half = lambda k, twice=1: twice * 65536 * t[max(k, 1)] // (65536 + t[max(k, 1)])
    start = lambda q: [min(q, 65535) << 8, 24]
    length = [start(half(1, 2))] + [start(t[k]) for k in range(1, 22)]
    mantissa = [[None] + [start(half(l - back)) for back in (1, 2, 2)] if 2 <= l < 8 else () for l in range(23)]
    return length, mantissa

class TrackSet:
    """All tracks with the models that they share. A chain has one; the repeated frames of a packet have their own."""
    def __init__(self, levels, expected):
        self.classes, self.sign, self.g = {}, models(3), [0] * len(levels)
        self.begin(levels, expected)
    def begin(self, levels, expected):
        self.state = [(x, x, 256 * x, [e] * 4) for x, e in zip(levels, expected)]     # a, b, m, (e0 to e3)
    def frame(self, rc):
        """Decodes the levels of one frame."""
        S, U = 2048, 2048
        for i, (a, b, m, errors) in enumerate(self.state):
            keep = lambda x: max(-LIMIT20, min(LIMIT20, x))
            predictions = a, keep(2 * a - b), keep(a + ((a - b) >> 1)), (m + 128) >> 8
            e = min(errors)
            c = scale(min(e * S // U, 1 << 22))
            length, mantissa = self.classes[c] = self.classes.get(c) or class_models(c)
            n = rc.unary(length)
            r = rc.below(n, mantissa[n])
            S, U = S + min(256 * min(r, 16384), 4 * e + 1024), U + min(e, 1 << 22)
            if r and rc.bit(self.sign[self.g[i] + 1]):
                r = -r
            x, self.g[i] = predictions[errors.index(e)] + r, sgn(r)
            need(abs(x) <= LIMIT20, "level out of range")
            errors = [(15 * e + 256 * min(abs(x - p), 16384) + 8) >> 4 for e, p in zip(errors, predictions)]
            self.state[i] = x, a, m + ((256 * x - m) >> 4), errors
        return [state[0] for state in self.state]

class Clock:
    """The time stamps of a chain."""
    def __init__(self, expected, ticks):
        self.expected, self.ticks, self.last = expected, ticks, -LIMIT60 - 1
        self.regular, self.earlier, self.length = [64000 << 8, 24], [1 << 23, 0], models(61)
    def next(self, rc):
        time = self.expected
        if not rc.bit(self.regular):
            sign = -1 if rc.bit(self.earlier) else 1
            time += sign * rc.below(rc.unary(self.length) + 1)
        need(self.last < time <= LIMIT60, "bad time stamp")
        self.last, self.expected = time, time + self.ticks
        return time

# ---------------------------------------------------------------- stream
def check_placement(values):
    place = values[PARAMETERS:]
    need(not place or max(map(abs, place)) <= 65536 and place[2] > 0, "bad placement")
    return values

class Stream:
    """frames: (number, time stamp, values) with the placement, if any, behind the 35 numbers. `recovered` has the same,
    coarse, of lost frames that a later packet repeats. remarks: damage and losses."""
    def __init__(self, data):
        self.data, self.frames, self.recovered, self.remarks = data, [], [], []
        self.sound, self.expected, self.last, self.chain = bytearray(), 0, -LIMIT60 - 1, None
        self.plate, self.plate_whole, self.residuals = bytearray(), True, []
        self.records(self.identity_reference(self.header()))
    def header(self):
        r = Reader(self.data)
        magic, (major, minor, length) = r.take(8), r.many("BBI")
        need(magic == b"\x89EFGY\r\n\x1a" and major == 1 and length <= 66560, "not an Effigy stream 1")
        body = Reader(r.take(length))
        r.crc(0)
        self.pack, self.resolution, count = body.take(32), *body.many("HH")
        self.time_base, (self.start, self.ticks), self.camera = body.many("II"), body.many("qI"), body.many("II")
        self.coding, flags = body.many("BB")
        need(1 <= self.resolution <= 1024 and count == PARAMETERS, "bad resolution or parameters")
        need(all(self.time_base) and abs(self.start) <= LIMIT60, "bad time base or start")
        need(1 <= min(self.camera) and max(self.camera) <= 16384, "bad camera size")
        need(self.coding <= 1 and flags < 4 and (minor > 1 or minor == self.coding), "unsupported coding")
        self.placed, self.synthetic, steps = flags & 1, flags >> 1, body.varint()
        need(steps == (PARAMETERS + 3 * self.placed if self.coding else 0), "bad number of steps")
        self.steps = body.many("%df" % steps)
        starts = [(body.zigzag(), *body.many("BB")) for _ in range(steps)]
        need(all(2.0 ** -20 <= s <= 256 for s in self.steps), "bad step")
        need(all(abs(x) <= LIMIT20 and a < 48 and b < 48 for x, a, b in starts), "bad start")
        self.rest = [x for x, _, _ in starts]
        self.spread, self.motion = [middle(a) for _, a, _ in starts], [middle(b) for _, _, b in starts]
        self.metadata = read_metadata(body.varint(), body.blob)
        need(body.pos == body.end or minor > 1, "bytes behind the header's fields")
        return r.pos
    def identity_reference(self, pos):
        r = Reader(self.data, pos)
        self.identity_hash, length = r.take(32), r.one("I")
        r.crc(pos)
        self.identity = r.blob(64 << 20, length)
        need(not length or hashlib.sha256(self.identity).digest() == self.identity_hash, "wrong identity")
        return r.pos
    def record(self, pos):
        """(kind, body, end) of the valid record at pos, or None."""
        r = Reader(self.data, pos)
        try:
            kind, length = r.one("B"), r.varint()
            check = zlib.crc32(self.data[pos:r.pos]) & 255
            need(kind >= 0xF1 and length <= 16384 and r.one("B") == check, "no record")
            body = r.take(length)
            r.crc(pos)
            return kind, body, r.pos
        except ValueError:
            return None
    def records(self, pos):
        handlers = {0xF1: self.packet, 0xF2: self.index, 0xF3: self.end, 0xF4: self.sound_bytes, 0xF5: self.plate_bytes,
                    0xF6: self.residual}
        skipped = 0
        while pos < len(self.data):
            kind, body, after = self.record(pos) or (None, b"", pos + 1)
            if skipped and kind:
                self.remarks.append("%d damaged bytes before byte %d" % (skipped, pos))
            skipped = 0 if kind else skipped + 1
            try:
                if kind in handlers:
                    handlers[kind](Reader(body))
                if kind == 0xF3:
                    return
            except ValueError as error:
                self.remarks.append("record at byte %d skipped: %s" % (pos, error))
            pos = after
        self.remarks.append("truncated: no end record")
    def index(self, r):
        """Only checked: this reader starts at the front."""
        count, last = r.varint(), None
        need(count <= 512, "too many entries")
        for _ in range(count):
            entry = r.varint(), r.zigzag(), r.varint()
            need(last is None or min(entry) > 0, "the index does not rise")
            last = entry if last is None else [x + y for x, y in zip(entry, last)]
        need(r.pos == r.end, "bytes behind the index")
    def end(self, r):
        need(r.end == 16, "bad end record")
        self.frame_count, self.index_position = r.many("QQ")
        need(self.frame_count <= MAX_FRAMES, "too many frames")
    def sound_bytes(self, r):
        position, data = r.varint(), r.take(r.end - r.pos)
        end = position + len(data)
        need(data and end <= 4 << 30, "bad sound record")
        self.sound += bytes(max(end - len(self.sound), 0))     # bytes that never come stay zeros
        self.sound[position:end] = data
    def plate_bytes(self, r):
        position, data = r.varint(), r.take(r.end - r.pos)
        need(data and position + len(data) <= 4 << 20, "bad plate record")
        self.plate_whole &= position <= len(self.plate)
        self.plate += data[max(len(self.plate) - position, 0):]
    def residual(self, r):
        """Only the fields: class Residual does the rest."""
        number, frame, fade, flags, halvings, step, bands = *(r.varint() for _ in range(3)), *r.many("BBBB")
        need(max(number, frame) <= MAX_FRAMES and 1 <= fade <= 1024, "bad residual number, frame or fade")
        need(flags >> 1 <= (0 if flags & 1 else 8) and halvings <= 10 and step <= 80, "bad residual flags, halvings or step")
        side, last = self.resolution, self.residuals[-1] if self.residuals else None
        for _ in range(halvings):
            side = (side + 1) // 2
        need(side <= 256, "residual too large")
        need(not last or last.number < number and last.frame <= frame, "residual out of order")
        self.residuals.append(SimpleNamespace(number=number, frame=frame, fade=fade, intra=flags & 1, kept=(flags >> 1) / 8,
                                              side=side, step=2.0 ** (step / 8 - 2), bands=bands, block=r.take(r.end - r.pos)))
    def packet(self, r):
        first, flags = r.varint(), r.one("B")
        intra, redundant, several = flags & 1, flags & 2, flags & 128
        need(not flags & 0x7C and (intra or self.coding and not redundant), "bad packet flags")
        count = r.varint() if several else 1
        need(count <= 64 and (count >= 2 or not several) and first + count <= MAX_FRAMES, "bad number of frames")
        depends = 0 if intra else r.varint()
        need(intra or 1 <= depends <= first, "bad chain")
        need(first >= self.expected, "late, repeated or reordered packet")
        decode = self.coded_packet if self.coding else self.raw_packet
        frames, recovered = decode(r, first, count, intra, redundant, depends)
        self.remarks += ["frames %d to %d lost" % (self.expected, first - 1)] if first > self.expected else []
        self.recovered += [frame for frame in recovered if frame[0] >= self.expected]
        self.frames += frames
        self.expected, self.last = first + count, frames[-1][1]
    def raw_packet(self, r, first, count, intra, redundant, depends):
        times, places, place = [], [()] * count, [0, 0, 0]
        expected, last = self.start + self.ticks * first, self.last
        for _ in range(count):
            times.append(expected + r.zigzag())
            need(last < times[-1] <= LIMIT60, "bad time stamp")
            last, expected = times[-1], times[-1] + self.ticks
        for i in range(count if self.placed else 0):
            place = [old + r.zigzag() for old in place]
            places[i] = tuple(x / 64 for x in place)
        if redundant:
            r.blob(16384)
        payload = [r.many("35e") for _ in range(count)]
        need(r.pos == r.end, "bytes behind the payload")
        return [(first + i, times[i], check_placement(payload[i] + places[i])) for i in range(count)], []
    def coded_packet(self, r, first, count, intra, redundant, depends):
        repeated, s = (r.varint(), r.one("B")) if redundant else (0, 0)
        need(repeated <= min(16, first) and s <= 8 and (repeated or not redundant), "bad repeated frames")
        chain, self.chain = self.chain, None                   # a damaged packet leaves no chain
        if intra:
            clock = Clock(self.start + self.ticks * (first - repeated), self.ticks)
            chain = SimpleNamespace(first=first, next=first, clock=clock, set=None)
        need(chain and chain.next == first and chain.first == first - depends, "its chain is not there")
        rc, recovered = RangeDecoder(r.take(r.end - r.pos)), []
        if repeated:                                           # coarse: levels in units of 2^s
            coarse = TrackSet([(x + (1 << s >> 1)) >> s for x in self.rest], [a >> s for a in self.spread])
            for number in range(first - repeated, first):
                time, levels = chain.clock.next(rc), coarse.frame(rc)
                if number == first - repeated:
                    coarse.begin(levels, [b >> s for b in self.motion])
                levels = [x << s for x in levels]
                need(all(abs(x) <= LIMIT20 for x in levels), "level out of range")
                recovered.append((number, time, self.values(levels)))
            chain.set = TrackSet(levels, [b + (64 << s) for b in self.motion])
        elif intra:
            chain.set = TrackSet(self.rest, self.spread)
        frames = []
        for number in range(first, first + count):
            time, levels = chain.clock.next(rc), chain.set.frame(rc)
            frames.append((number, time, self.values(levels)))
            if number == chain.first:
                chain.set.begin(levels, self.motion)
        rc.finish()
        need(frames[0][1] > self.last, "bad time stamp")
        chain.next, self.chain = first + count, chain
        return frames, recovered
    def values(self, levels):
        return check_placement(tuple(map(f32, map(mul, levels, self.steps))))

# ---------------------------------------------------------------- residual
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
    def picture(self):
        """R, G and B, lists of rows."""
        rgb = [], [], []
        for rows in zip(*(untransform(plane, self.sides) for plane in self.planes)):
            grey = [[x / sqrt(3), y / sqrt(2), z / sqrt(6)] for x, y, z in zip(*rows)]
            rgb[0].append([x + y - z for x, y, z in grey])
            rgb[1].append([x + 2 * z for x, y, z in grey])
            rgb[2].append([x - y - z for x, y, z in grey])
        return rgb

class Residual:
    """What a receiver shows at frames that do not fall."""
    def __init__(self, stream):
        self.size, self.waiting, self.remarks = stream.resolution, stream.residuals[::-1], []
        self.chain, self.number, self.shown = None, None, None  # number: of the chain's last record
    def begin(self, record):
        """Shows a record from its frame on."""
        chain, self.chain = self.chain, None                   # a record that is left out leaves no chain
        if record.intra:
            chain = ResidualChain(record.side)
        else:
            need(chain and self.number == record.number - 1 and chain.side == record.side, "its chain is not there")
        chain.decode(record)
        old, new = self.at(record.frame - 1), chain.picture()
        if not old or len(old[0]) != record.side:
            old = [[[0.0] * record.side] * record.side] * 3
        self.chain, self.number, self.shown = chain, record.number, (record.frame, record.fade, old, new)
    def at(self, frame):
        """R, G and B of the residual's side; None: nothing yet."""
        if not self.shown:
            return None
        first, fade, old, new = self.shown
        w = min(1, (frame - first + 1) / fade)
        return [[[a + w * (b - a) for a, b in zip(*rows)] for rows in zip(*planes)] for planes in zip(old, new)]
    def over_grey(self, frame):
        while self.waiting and self.waiting[-1].frame <= frame:
            record = self.waiting.pop()
            try:
                self.begin(record)
            except ValueError as error:
                self.remarks.append("residual %d left out: %s" % (record.number, error))
        planes = [enlarge(plane, self.size) for plane in self.at(frame) or [[[0.0]]] * 3]
        return bytes(min(max(floor(128.5 + x), 0), 255) for rows in zip(*planes) for pixel in zip(*rows) for x in pixel)

# ---------------------------------------------------------------- identity
STEPS = 32768, 35734, 38968, 42495, 46341, 50535, 55109, 60097

class WeightLevels:
    """The model of the levels of tuned weights; lives on from tensor to tensor."""
    def __init__(self):
        self.mixers = [[[21845] * 6 for e in range(24)] for n in range(3)]
        self.mixed = [[models(count) for count in (576, 384, 192, 96, 384, 312)] for n in range(3)]
        self.long, self.mantissa, self.sign = models(15)[3:], [models(4) for length in range(16)], models(27)
    def decode(self, rc, O, I, T, W):
        table = [min(max(scale(x) - 5, 0), 23) for x in range(1 << 15)]
        k = lambda x: table[x] if x < 1 << 15 else 23
        v, j, r, c, sums = [], 0, 0, [0] * I, [0] * I          # sums[i]: of the last kernel at input i
        for i in [i for o in range(O) for i in range(I)]:      # kernel by kernel, T values each
            S, kc = 0, k(c[i])
            s, u = k(256 * sums[i - 1] // T if i else 0), k(256 * sums[i] // T)
            for t in range(T):
                a, b = v[j - 1] if t % W else 0, v[j - W] if t >= W else 0
                p, q = v[j - T] if i else 0, v[j - I * T] if j >= I * T else 0
                ma, mb, mp, mq = [min(abs(x), 3) for x in (a, b, p, q)]
                h, kr = 256 * S // max(t, 1), k(r)
                e = k((2 * c[i] + 2 * r + 2 * h + 256 * (mp + mq)) >> 3)
                contexts = (24 * kc + kr, 24 * (4 * ma + mb) + k(h), 24 * (2 * mp + t % 2) + s, 24 * mq + u,
                            16 * kr + min(t, 15), 13 * e + ma + mb + mp + mq)
                n = next((n for n in range(3) if not rc.mixed([m[x] for m, x in zip(self.mixed[n], contexts)],
                                                              self.mixers[n][e])), 3)
                n += rc.unary(self.long) if n == 3 else 0
                x = rc.below(n, self.mantissa[n])
                v.append(-x if x and rc.bit(self.sign[9 * sgn(a) + 3 * sgn(p) + sgn(q) + 13]) else x)
                j, S, r = j + 1, min(S + x, 0xFFFFFFFF), (63 * r + 256 * x + 32) >> 6
            c[i], sums[i] = (15 * c[i] + 256 * S // T + 8) >> 4, S
            if i == I - 1:                                     # the last kernel of an output
                r = (r + sum(c) // I) >> 1
        return v

class Identity:
    """pack, name, resolution, sensitivities, rest, anchors, metadata, thumbnail, latent, tensors, sha256."""
    def __init__(self, data):
        need(len(data) <= 64 << 20 and data[:10] == b"\x89EFID\r\n\x1a\2\0", "not an Effigy identity 2.0")
        need(hashlib.sha256(data[:-32]).digest() == data[-32:], "identity damaged")
        r, self.sha256 = Reader(data[:-32], 10), hashlib.sha256(data).digest()
        self.pack = r.take(32)
        self.scalars(Reader(r.blob(72064)))
        self.thumbnail = r.blob(1 << 20)
        self.read_latent(r)
        self.read_tensors(r)
        need(r.pos == r.end, "bytes behind the tuned weights")
    def scalars(self, r):
        raw = lambda limit: r.blob(limit, r.one("Q"))
        self.name, self.resolution = raw(256).decode(), r.one("I")
        self.sensitivities, self.rest, count = r.many("32f"), r.many("35f"), r.one("Q")
        need(1 <= self.resolution <= 1024 and count <= 64, "bad resolution or too many anchors")
        self.anchors = [r.many("35e") for _ in range(count)]
        self.metadata = read_metadata(r.one("Q"), raw)
        need(r.pos == r.end, "bytes behind the scalars")
    def read_latent(self, r):
        rows, dim = r.many("HH")
        need(1 <= rows <= 18 and 1 <= dim <= 512, "bad latent shape")
        steps, rc = r.many("%df" % rows), RangeDecoder(r.blob(64 << 20))
        levels, self.latent = Levels().decode(rc, rows * dim, 1, dim), []
        rc.finish()
        H = 1023 if rows * dim <= 4096 else 127 if rows * dim <= 5632 else 52
        for i, step in enumerate(steps):                       # the decoded numbers must give the same steps and levels
            row = levels[i * dim:(i + 1) * dim]
            numbers = [x * step for x in row]
            m, bits = max(map(abs, numbers)), 0
            need(m <= 2.0 ** 60, "latent too large")
            if m >= 2.0 ** -60:
                bits = struct.unpack("<I", struct.pack("<f", m / H))[0] + 0x3FF & ~0x3FF
            need(struct.pack("<I", bits) == struct.pack("<f", step), "latent steps not canonical")
            need(bits or not any(row), "latent levels not canonical")
            self.latent.append(numbers)                        # products with such steps are exact
    def read_tensors(self, r):
        """tensors: (name, shape, step codes, levels) each. A step is STEPS[code % 8] * 2.0 ** (code // 8 - 15)."""
        heads, self.tensors, count, total = [], [], r.varint(), 0
        need(count <= 256, "too many tensors")
        for _ in range(count):
            name, dimensions = r.blob(256).decode(), r.varint()
            need(1 <= dimensions <= 8 and name not in [head[0] for head in heads], "bad tensor")
            shape = [r.varint() for _ in range(dimensions)]
            total += prod(shape)
            need(all(shape) and total <= 40_000_000, "bad tensor size")
            core = shape[next((i for i, n in enumerate(shape) if n > 1), dimensions):] + [1, 1]
            sizes = core[0], core[1], prod(core[2:]), prod(core[3:])               # O, I, T, W
            kind = r.one("B")
            need(kind == 0 or kind == 1 and sizes[0] > 1, "bad kind of steps")
            heads.append((name, shape, sizes[0] if kind else 1, sizes))
        if heads:
            rc, rises, weights = RangeDecoder(r.blob(64 << 20)), Levels(), WeightLevels()
            for name, shape, steps, sizes in heads:
                codes = []
                for rise in rises.decode(rc, steps, 1, 1):
                    codes.append((codes[-1] if codes else 0) + rise)
                need(all(-320 <= code <= 160 for code in codes), "bad step code")
                self.tensors.append((name, shape, codes, weights.decode(rc, *sizes)))
            rc.finish()

# ---------------------------------------------------------------- command
def main(command, path, *frames):
    data = open(path, "rb").read()
    if command == "identity":
        identity = Identity(data)
        print('name "%s" resolution %d' % (identity.name, identity.resolution))
        print("rest", " ".join(map(show, identity.rest)))
        print("anchors", len(identity.anchors))
        print("latent %d x %d sum %r" % (len(identity.latent), len(identity.latent[0]), sum(map(sum, identity.latent))))
        for name, shape, codes, levels in identity.tensors:
            check = sum(x * (i % 1000003 + 1) for i, x in enumerate(levels)) & (1 << 64) - 1
            print(name, shape, "steps", codes, "sum of magnitudes", sum(map(abs, levels)), "check", check)
        return
    stream = Stream(data)
    print(*stream.remarks, sep="\n", end="\n" * bool(stream.remarks), file=sys.stderr)
    if command == "sound":
        sys.stdout.buffer.write(stream.sound)
    elif command == "plate":
        sys.stdout.buffer.write(stream.plate if stream.plate_whole else b"")
    elif command == "residual":
        frames, residual = list(map(int, frames)), Residual(stream)
        need(frames == sorted(frames), "frames do not rise")
        for frame in frames:
            sys.stdout.buffer.write(residual.over_grey(frame))
        print(*residual.remarks, sep="\n", end="\n" * bool(residual.remarks), file=sys.stderr)
    else:
        print("frame,pts,yaw,pitch,roll,%s,x,y,side" % ",".join("alpha%d" % i for i in range(32)))
        for number, time, values in sorted(stream.frames + stream.recovered):
            print(number, time, *map(show, values), *[""] * (PARAMETERS + 3 - len(values)), sep=",")

if __name__ == "__main__":
    command = sys.argv[1] if len(sys.argv) > 2 else ""
    if command not in ("params", "identity", "sound", "plate", "residual") or (len(sys.argv) > 3) != (command == "residual"):
        sys.exit(__doc__)
    try:
        main(*sys.argv[1:])
    except ValueError as error:
        sys.exit("%s: %s" % (sys.argv[2], error))
