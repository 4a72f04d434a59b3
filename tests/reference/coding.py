"""Primitives and range coder of the second decoder, decoder.py.

Written from docs/bitstream.md alone, by somebody who had not seen the code.
"""
import struct, zlib
from math import isfinite
from operator import mul

def need(condition, what):
    """All rules of the format: input that breaks one raises ValueError, as does text that is not UTF-8."""
    if not condition:
        raise ValueError(what)

def sgn(x):
    return (x > 0) - (x < 0)

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
