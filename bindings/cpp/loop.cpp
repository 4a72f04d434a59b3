// Codes pictures of an enrolled person and shows what comes out, with the C++ interface of effigy:
//
//     loop PACK IDENTITY STREAM
//
// The pictures are those of STREAM, which is decoded first: aligned crops, so that no camera is needed. STREAM must carry IDENTITY.
// Build: c++ -std=c++11 -I include -I bindings/cpp bindings/cpp/loop.cpp -L target/release -leffigy -o loop
#include <cstdio>

#include "effigy.hpp"

static int run(const char *pack_path, const char *identity_path, const char *stream_path) {
    const effigy::pack pack{std::string(pack_path)};
    const effigy::identity person{std::string(identity_path)};
    effigy::stream stream(pack, stream_path);
    const effigy_stream_properties about = stream.info();

    effigy_encoder_settings settings = effigy::encoder_settings();
    settings.aligned = 1;
    settings.time_base_num = about.time_base_num;
    settings.time_base_den = about.time_base_den;
    settings.redundancy = 2;
    settings.threads = 1; // of the whole process: the decoder has it too
    effigy::encoder encoder(pack, person, settings);
    effigy::decoder decoder(pack, person);
    decoder.open(encoder.header());

    effigy::picture crop(EFFIGY_FORMAT_RGB24, about.width, about.height), shown(EFFIGY_FORMAT_NV12, about.width, about.height);
    effigy::bytes packet;
    unsigned long number = 0, frames = 0;
    while (stream.next(crop)) {
        encoder.send(crop);
        while (encoder.receive(packet)) {
            // Every fourth packet is lost.
            if (++number % 4 != 0) {
                decoder.send(packet);
            }
        }
        while (decoder.receive(shown)) {
            frames++;
        }
    }
    const effigy_decoder_statistics counts = decoder.statistics();
    std::printf("%lu frames: %lu received, %lu repeated, %lu made up\n", frames, static_cast<unsigned long>(counts.received),
                static_cast<unsigned long>(counts.repeated), static_cast<unsigned long>(counts.concealed));
    return 0;
}

int main(int count, char **arguments) {
    if (!effigy::fits()) {
        std::fprintf(stderr, "loop: header and library do not fit\n");
        return 1;
    }
    if (count != 4) {
        std::fprintf(stderr, "usage: loop PACK IDENTITY STREAM\n");
        return 2;
    }
    try {
        return run(arguments[1], arguments[2], arguments[3]);
    } catch (const effigy::error &error) {
        std::fprintf(stderr, "loop: %s: %s\n", effigy_status_text(error.code()), error.what());
        return 1;
    }
}
