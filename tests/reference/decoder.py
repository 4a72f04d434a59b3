#!/usr/bin/env python3
"""A second decoder of streams 1.0 and 1.1 and identities 2.0, written from docs/bitstream.md alone, by somebody who had not seen the code.

    decoder.py params   FILE.effigy     frames as CSV
    decoder.py identity FILE.identity   a summary of the identity
    decoder.py sound    FILE.effigy     the sound, a Matroska file, to standard output
    decoder.py plate    FILE.effigy     the plate, a JPEG file, to standard output
    decoder.py residual FILE.effigy FRAME...   the residual at each of these frames over mid grey
    decoder.py motion   FILE.effigy FRAME...   the test picture, displaced by the motion at each of these frames

Frames rise; each gives resolution x resolution x 3 bytes on standard output, R, G, B, row by row.
The test picture: in column x and row y R = floor(255 x / r), G = floor(255 y / r), B = (x x + 3 x y + 5 y) mod 256,
with r the resolution.
Pure Python 3, standard library only; slow and plain on purpose. Remarks on damage go to standard error.
The modules beside it: coding.py, primitives and range coder; residual.py, residual and motion.
"""
import hashlib, struct, sys, zlib
from decimal import Context, ROUND_HALF_UP
from math import isqrt, prod
from operator import mul
from types import SimpleNamespace

from coding import Levels, RangeDecoder, Reader, models, need, scale, sgn
from residual import Motion, Residual

PARAMETERS, LIMIT20, LIMIT60, MAX_FRAMES = 35, 1 << 20, 1 << 60, 10_368_000

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
        self.plate, self.plate_whole, self.residuals, self.motions = bytearray(), True, [], []
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
                    0xF6: lambda r: self.residual(r, "residual", self.residuals, 256),
                    0xF7: lambda r: self.residual(r, "motion", self.motions, 64)}
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
    def residual(self, r, name, records, limit):
        """A residual or motion record, one more of `records`. Only the fields: classes Residual and Motion do the rest."""
        number, frame, fade, flags, halvings, step, bands = *(r.varint() for _ in range(3)), *r.many("BBBB")
        need(max(number, frame) <= MAX_FRAMES and 1 <= fade <= 1024, "bad %s number, frame or fade" % name)
        need(flags >> 1 <= (0 if flags & 1 else 8) and halvings <= 10 and step <= 80,
             "bad %s flags, halvings or step" % name)
        side, last = self.resolution, records[-1] if records else None
        for _ in range(halvings):
            side = (side + 1) // 2
        need(side <= limit, "%s too large" % name)
        need(not last or last.number < number and last.frame <= frame, "%s out of order" % name)
        records.append(SimpleNamespace(number=number, frame=frame, fade=fade, intra=flags & 1, kept=(flags >> 1) / 8,
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
PICTURES = {"residual": Residual, "motion": Motion}             # by command

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
    elif command in PICTURES:
        frames, shown = list(map(int, frames)), PICTURES[command](stream)
        need(frames == sorted(frames), "frames do not rise")
        for frame in frames:
            sys.stdout.buffer.write(shown.picture_at(frame))
        print(*shown.remarks, sep="\n", end="\n" * bool(shown.remarks), file=sys.stderr)
    else:
        print("frame,pts,yaw,pitch,roll,%s,x,y,side" % ",".join("alpha%d" % i for i in range(32)))
        for number, time, values in sorted(stream.frames + stream.recovered):
            print(number, time, *map(show, values), *[""] * (PARAMETERS + 3 - len(values)), sep=",")

if __name__ == "__main__":
    command = sys.argv[1] if len(sys.argv) > 2 else ""
    if command not in ("params", "identity", "sound", "plate", *PICTURES) or (len(sys.argv) > 3) != (command in PICTURES):
        sys.exit(__doc__)
    try:
        main(*sys.argv[1:])
    except ValueError as error:
        sys.exit("%s: %s" % (sys.argv[2], error))
