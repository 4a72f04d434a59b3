// C++ over the C interface of effigy: header-only, C++11. Handles end themselves and can be moved; failures are exceptions of type
// effigy::error, or, with EFFIGY_NO_EXCEPTIONS defined, statuses to look at after each call: object.status().
//
// Threads: as in effigy.h, one thread at a time per object, also as an argument.
#ifndef EFFIGY_HPP
#define EFFIGY_HPP

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <string>
#include <utility>
#include <vector>
#ifndef EFFIGY_NO_EXCEPTIONS
#include <exception>
#include <stdexcept>
#endif

#include "effigy.h"

namespace effigy {

using bytes = std::vector<std::uint8_t>;

// The words for the calling thread's most recent failure.
inline std::string last_error() {
    std::string text(effigy_last_error(nullptr, 0) + 1, '\0');
    effigy_last_error(&text[0], text.size());
    text.resize(std::strlen(text.c_str()));
    return text;
}

#ifndef EFFIGY_NO_EXCEPTIONS
// A failure; what() has its words, code() its number.
class error : public std::runtime_error {
  public:
    explicit error(effigy_status code) : std::runtime_error(last_error()), code_(code) {}
    effigy_status code() const noexcept { return code_; }

  private:
    effigy_status code_;
};
#endif

// Whether header and library fit each other: ask before anything else.
inline bool fits() { return effigy_abi_version() / 1000 == EFFIGY_ABI_VERSION / 1000; }

// Called with stage, steps done and steps in all (0: not known); false stops the work.
using progress = std::function<bool(const char *, std::uint64_t, std::uint64_t)>;

namespace detail {

// What all handles share: the pointer, its end, and the status of the last call.
template <typename T, void (*Free)(T *)> class handle {
  public:
    handle() = default;
    handle(handle &&other) noexcept : raw_(other.raw_), status_(other.status_) { other.raw_ = nullptr; }
    handle &operator=(handle &&other) noexcept {
        std::swap(raw_, other.raw_);
        std::swap(status_, other.status_);
        return *this;
    }
    handle(const handle &) = delete;
    handle &operator=(const handle &) = delete;
    ~handle() { Free(raw_); }

    // The C handle, which stays this object's.
    T *get() const noexcept { return raw_; }
    explicit operator bool() const noexcept { return raw_ != nullptr; }
    // How the last call on this object went.
    effigy_status status() const noexcept { return status_; }

  protected:
    // Notes a status; failures are thrown.
    effigy_status note(effigy_status status) {
        status_ = status;
#ifndef EFFIGY_NO_EXCEPTIONS
        if (status < 0) {
            throw error(status);
        }
#endif
        return status;
    }

    // Bytes that a C function tells the length of first.
    template <typename Get> bytes gather(Get get) {
        std::size_t length = 0;
        bytes out;
        if (note(get(nullptr, 0, &length)) == EFFIGY_STATUS_OK) {
            out.resize(length);
            note(get(out.data(), out.size(), &length));
        }
        return out;
    }

    T *raw_ = nullptr;
    effigy_status status_ = EFFIGY_STATUS_OK;
};

// A progress function on its way through C, which no exception may cross.
struct teller {
    const progress *call;
#ifndef EFFIGY_NO_EXCEPTIONS
    std::exception_ptr thrown;
#endif

    static std::int32_t tell(const char *stage, std::uint64_t done, std::uint64_t total, void *user) {
        teller *self = static_cast<teller *>(user);
#ifdef EFFIGY_NO_EXCEPTIONS
        return *self->call && !(*self->call)(stage, done, total);
#else
        try {
            return self->thrown || (*self->call && !(*self->call)(stage, done, total));
        } catch (...) {
            self->thrown = std::current_exception();
            return 1;
        }
#endif
    }

    void rethrow() const {
#ifndef EFFIGY_NO_EXCEPTIONS
        if (thrown) {
            std::rethrow_exception(thrown);
        }
#endif
    }
};

} // namespace detail

// A picture with memory of its own.
class picture {
  public:
    picture() = default;
    picture(effigy_format format, std::uint32_t width, std::uint32_t height, effigy_colour colour = EFFIGY_COLOUR_BT601)
        : format_(format), colour_(colour), width_(width), height_(height) {
        const std::size_t w = width, h = height, half_w = (w + 1) / 2, half_h = (h + 1) / 2;
        switch (format) {
        case EFFIGY_FORMAT_RGB24: set(3 * w, h, 0, 0, 0); break;
        case EFFIGY_FORMAT_RGBA:
        case EFFIGY_FORMAT_BGRA: set(4 * w, h, 0, 0, 0); break;
        case EFFIGY_FORMAT_I420: set(w, h, half_w, half_h, 2); break;
        case EFFIGY_FORMAT_NV12: set(w, h, 2 * half_w, half_h, 1); break;
        }
    }

    std::int64_t pts = 0;

    effigy_format format() const { return format_; }
    std::uint32_t width() const { return width_; }
    std::uint32_t height() const { return height_; }
    int planes() const { return planes_; }
    std::uint8_t *plane(int number) { return data_.data() + offsets_[number]; }
    const std::uint8_t *plane(int number) const { return data_.data() + offsets_[number]; }
    std::size_t stride(int number) const { return strides_[number]; }
    // All planes, one behind the other, without gaps.
    const bytes &data() const { return data_; }
    bytes &data() { return data_; }

    // As the C interface takes it; valid as long as this object, which keeps the memory.
    effigy_picture raw() const {
        effigy_picture out;
        std::memset(&out, 0, sizeof out);
        out.size = sizeof out;
        out.format = format_;
        out.colour = colour_;
        out.width = width_;
        out.height = height_;
        out.pts = pts;
        for (int number = 0; number < planes_; number++) {
            out.planes[number] = const_cast<std::uint8_t *>(plane(number));
            out.strides[number] = strides_[number];
            out.sizes[number] = offsets_[number + 1] - offsets_[number];
        }
        return out;
    }

  private:
    void set(std::size_t row, std::size_t rows, std::size_t chroma_row, std::size_t chroma_rows, int chroma) {
        planes_ = 1 + chroma;
        strides_[0] = row;
        offsets_[1] = row * rows;
        for (int number = 1; number <= chroma; number++) {
            strides_[number] = chroma_row;
            offsets_[number + 1] = offsets_[number] + chroma_row * chroma_rows;
        }
        data_.resize(offsets_[planes_]);
    }

    effigy_format format_ = EFFIGY_FORMAT_RGB24;
    effigy_colour colour_ = EFFIGY_COLOUR_BT601;
    std::uint32_t width_ = 0, height_ = 0;
    int planes_ = 0;
    std::size_t offsets_[4] = {0, 0, 0, 0}, strides_[3] = {0, 0, 0};
    bytes data_;
};

// A model pack.
class pack : public detail::handle<effigy_pack, effigy_pack_free> {
  public:
    pack() = default;
    explicit pack(const std::string &path) { note(effigy_pack_load(path.c_str(), &raw_)); }
};

// A person.
class identity : public detail::handle<effigy_identity, effigy_identity_free> {
  public:
    identity() = default;
    explicit identity(const std::string &path) { note(effigy_identity_load(path.c_str(), &raw_)); }
    explicit identity(const bytes &file) { note(effigy_identity_load_memory(file.data(), file.size(), &raw_)); }
    // From a C handle that this object then owns.
    explicit identity(effigy_identity *raw) { raw_ = raw; }

    // The identity's file.
    bytes file() {
        return gather([this](std::uint8_t *data, std::size_t size, std::size_t *length) {
            return effigy_identity_bytes(raw_, data, size, length);
        });
    }
};

// Settings of the C interface, filled with the usual values.
inline effigy_decoder_settings decoder_settings() {
    effigy_decoder_settings out;
    effigy_decoder_settings_init(&out, sizeof out);
    return out;
}
inline effigy_encoder_settings encoder_settings() {
    effigy_encoder_settings out;
    effigy_encoder_settings_init(&out, sizeof out);
    return out;
}
inline effigy_enroller_settings enroller_settings() {
    effigy_enroller_settings out;
    effigy_enroller_settings_init(&out, sizeof out);
    return out;
}

// Pictures of a person who is to be enrolled.
class enroller : public detail::handle<effigy_enroller, effigy_enroller_free> {
  public:
    enroller() = default;
    explicit enroller(const pack &pack, const effigy_enroller_settings &settings = enroller_settings()) {
        note(effigy_enroller_new(pack.get(), &settings, &raw_));
    }

    void add(const picture &picture) {
        const effigy_picture raw = picture.raw();
        note(effigy_enroller_add(raw_, &raw));
    }

    // Minutes of work.
    identity run(const pack &pack, const progress &call = nullptr) {
        detail::teller teller{&call
#ifndef EFFIGY_NO_EXCEPTIONS
                              ,
                              nullptr
#endif
        };
        effigy_identity *out = nullptr;
        const effigy_status status = effigy_enroller_run(raw_, pack.get(), detail::teller::tell, &teller, &out);
        teller.rethrow();
        note(status);
        return identity(out);
    }
};

// A live encoder.
class encoder : public detail::handle<effigy_encoder, effigy_encoder_free> {
  public:
    encoder() = default;
    encoder(const pack &pack, const identity &person, const effigy_encoder_settings &settings, const progress &call = nullptr) {
        detail::teller teller{&call
#ifndef EFFIGY_NO_EXCEPTIONS
                              ,
                              nullptr
#endif
        };
        const effigy_status status =
            effigy_encoder_new(pack.get(), person.get(), &settings, detail::teller::tell, &teller, &raw_);
        teller.rethrow();
        note(status);
    }

    // What a receiver needs once, by a safe way.
    bytes header() {
        return gather([this](std::uint8_t *data, std::size_t size, std::size_t *length) {
            return effigy_encoder_header(raw_, data, size, length);
        });
    }

    // Codes a picture; how surely the face was followed, 0 to 1, or below 0 while no face has been seen.
    float send(const picture &picture) {
        const effigy_picture raw = picture.raw();
        float confidence = 0;
        const effigy_status status = effigy_encoder_send(raw_, &raw, &confidence);
        if (status == EFFIGY_STATUS_NO_CONTENT) {
            status_ = status;
            return -1;
        }
        note(status);
        return confidence;
    }

    // Fetches the next packet; false when there is none.
    bool receive(bytes &packet, std::int64_t *pts = nullptr) {
        packet.resize(EFFIGY_MAX_PACKET);
        std::size_t size = 0;
        const effigy_status status = note(effigy_encoder_receive(raw_, packet.data(), packet.size(), &size, pts));
        packet.resize(status == EFFIGY_STATUS_OK ? size : 0);
        return status == EFFIGY_STATUS_OK;
    }

    void request_intra() { note(effigy_encoder_request_intra(raw_)); }
    void flush() { note(effigy_encoder_flush(raw_)); }
};

// A decoder of packets.
class decoder : public detail::handle<effigy_decoder, effigy_decoder_free> {
  public:
    decoder() = default;
    decoder(const pack &pack, const identity &person, const effigy_decoder_settings &settings = decoder_settings()) {
        note(effigy_decoder_new(pack.get(), person.get(), &settings, &raw_));
    }

    void open(const bytes &header) { note(effigy_decoder_open(raw_, header.data(), header.size())); }

    effigy_stream_header_info info() {
        effigy_stream_header_info out;
        std::memset(&out, 0, sizeof out);
        out.size = sizeof out;
        note(effigy_decoder_info(raw_, &out));
        return out;
    }

    // Takes a packet; false if it is refused, which is no reason to stop.
    bool send(const bytes &packet) {
        status_ = effigy_decoder_send(raw_, packet.data(), packet.size());
        return status_ == EFFIGY_STATUS_OK;
    }
    // A packet is lost.
    void conceal() { note(effigy_decoder_send(raw_, nullptr, 0)); }

    // Fetches the next frame that packets have made due; false when there is none.
    bool receive(picture &out, effigy_frame_info *info = nullptr) { return frame(out, info, effigy_decoder_receive); }
    // The frame that is due now by the caller's clock; false before the first packet.
    bool play(picture &out, effigy_frame_info *info = nullptr) { return frame(out, info, effigy_decoder_play); }

    void flush() { note(effigy_decoder_flush(raw_)); }
    void reset() { note(effigy_decoder_reset(raw_)); }
    void swap_identity(const pack &pack, const identity &person) {
        note(effigy_decoder_swap_identity(raw_, pack.get(), person.get()));
    }

    effigy_decoder_statistics statistics() {
        effigy_decoder_statistics out;
        std::memset(&out, 0, sizeof out);
        out.size = sizeof out;
        note(effigy_decoder_get_statistics(raw_, &out));
        return out;
    }

    bool needs_intra() {
        std::int32_t wanted = 0;
        note(effigy_decoder_needs_intra(raw_, &wanted));
        return wanted != 0;
    }

  private:
    template <typename Get> bool frame(picture &out, effigy_frame_info *info, Get get) {
        effigy_picture raw = out.raw();
        if (info != nullptr) {
            info->size = sizeof *info;
        }
        const effigy_status status = note(get(raw_, &raw, info));
        out.pts = raw.pts;
        return status == EFFIGY_STATUS_OK;
    }
};

// A stream in a file, with its identity inside.
class stream : public detail::handle<effigy_stream, effigy_stream_free> {
  public:
    stream() = default;
    stream(const pack &pack, const std::string &path) { note(effigy_stream_open(pack.get(), path.c_str(), &raw_)); }

    // Pictures of twice the side from here on, with the identity's detail if it has one.
    void show_detail() { note(effigy_stream_show_detail(raw_)); }

    effigy_stream_properties info() {
        effigy_stream_properties out;
        std::memset(&out, 0, sizeof out);
        out.size = sizeof out;
        note(effigy_stream_info(raw_, &out));
        return out;
    }

    // The next frame; false at the end.
    bool next(picture &out) {
        effigy_picture raw = out.raw();
        const effigy_status status = note(effigy_stream_next_picture(raw_, &raw));
        out.pts = raw.pts;
        return status == EFFIGY_STATUS_OK;
    }
};

} // namespace effigy

#endif
