"""The binding against a small pack. EFFIGY_TEST_FOLDER holds `pack`, `identity` and `stream` (tests/capi_programs.rs makes them)."""

import os
import pathlib
import unittest

import numpy as np

import effigy

FOLDER = pathlib.Path(os.environ["EFFIGY_TEST_FOLDER"])


class Binding(unittest.TestCase):
    def setUp(self):
        self.pack = effigy.Pack(FOLDER / "pack")
        self.identity = effigy.Identity(FOLDER / "identity")

    def crops(self):
        return [frame.image for frame in effigy.Stream(self.pack, FOLDER / "stream")]

    def test_a_stream_is_an_iterator_over_frames(self):
        stream = effigy.Stream(self.pack, FOLDER / "stream")
        frames = list(stream)
        self.assertGreater(len(frames), 2)
        self.assertEqual(frames[0].image.shape, (stream.height, stream.width, 3))
        self.assertEqual(frames[0].image.dtype, np.uint8)
        self.assertTrue(all(a.pts < b.pts for a, b in zip(frames, frames[1:])))
        again = effigy.Stream(self.pack, (FOLDER / "stream").read_bytes())
        self.assertTrue(np.array_equal(next(again).image, frames[0].image))

    def test_frames_of_twice_the_side(self):
        plain = effigy.Stream(self.pack, FOLDER / "stream")
        large = effigy.Stream(self.pack, FOLDER / "stream", detail=True)
        self.assertEqual((large.width, large.height), (2 * plain.width, 2 * plain.height))
        small = next(plain).image.astype(int)
        middle = next(large).image.reshape(plain.height, 2, plain.width, 2, 3).mean((1, 3))
        self.assertLess(np.abs(middle - small).mean(), 2.0)

    @unittest.skipUnless("encode" in effigy.features(), "this build has no encoder")
    def test_packets_go_round_and_losses_are_made_up(self):
        stages = []
        encoder = effigy.Encoder(self.pack, self.identity, None, threads=1, progress=lambda stage, *_: stages.append(stage))
        self.assertTrue(stages)
        decoder = effigy.Decoder(self.pack, self.identity, encoder.header, threads=1)
        shown = []
        for number, crop in enumerate(self.crops()):
            self.assertEqual(encoder.send(crop, 3600 * number), 1.0)
            for packet in encoder:
                self.assertEqual(packet.pts, 3600 * number)
                decoder.send(None if number == 2 else packet.data)
            shown += decoder
        self.assertEqual([frame.pts // 3600 for frame in shown], list(range(len(shown))))
        self.assertEqual(shown[2].origin, "concealed")
        # The first two; behind the loss every packet needs the lost one.
        self.assertEqual(decoder.statistics.packets, 2)
        self.assertTrue(decoder.needs_intra)
        self.assertFalse(decoder.send(b"noise"))
        self.assertIsNotNone(shown[0].placement)
        large = effigy.Decoder(self.pack, self.identity, encoder.header, threads=1, detail=True)
        self.assertEqual(large.resolution, 2 * decoder.resolution)

    @unittest.skipUnless("encode" in effigy.features(), "this build has no encoder")
    def test_a_person_is_enrolled_or_the_work_is_stopped(self):
        enroller = effigy.Enroller(self.pack, aligned=True, name="Ada", preset=0, tune_steps=4, threads=1)
        for crop in self.crops()[:3]:
            self.assertTrue(enroller.add(crop))
        with self.assertRaises(effigy.EffigyError) as caught:
            enroller.run(lambda *_: False)
        self.assertEqual(caught.exception.status, effigy.Status.CANCELLED)
        with self.assertRaises(ZeroDivisionError):
            enroller.run(lambda *_: 1 / 0)
        identity = enroller.run()
        self.assertGreater(len(effigy.Identity(identity.data).data), 100)

    def test_failures_are_exceptions_with_words(self):
        with self.assertRaises(effigy.EffigyError) as caught:
            effigy.Pack("no such pack")
        self.assertEqual(caught.exception.status, effigy.Status.IO)
        self.assertIn("no such pack", str(caught.exception))
        with self.assertRaises(effigy.EffigyError):
            effigy.Identity(b"noise")
        with self.assertRaises(effigy.EffigyError):
            effigy.Decoder(self.pack, self.identity, b"noise")
        self.pack.close()
        with self.assertRaises(effigy.EffigyError):
            effigy.Stream(self.pack, FOLDER / "stream")


if __name__ == "__main__":
    unittest.main()
