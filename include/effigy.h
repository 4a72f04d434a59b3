/*
 * effigy: coding of talking heads. Generated from src/capi by cbindgen: do not edit. docs/c-interface.md shows how to use it.
 *
 * Every function that can fail returns an effigy_status; what it says of failure in general is not repeated everywhere: the
 * outputs are as before unless the comment says otherwise, and effigy_last_error has the words.
 *
 * Handles belong to the caller, who ends them with the matching free function. Buffers, strings and structures that are passed in
 * stay the caller's and are not kept beyond the call.
 *
 * Threads: a handle may move between threads but is used by one at a time, also as an argument of a call on another handle.
 * Different handles may be used by different threads at the same time. A free function is a use.
 */

#ifndef EFFIGY_H
#define EFFIGY_H

#include <stddef.h>
#include <stdint.h>

/**
 * Version of the C interface. It grows when a function is added and its first part when one changes: `major * 1000 + minor`.
 */
#define EFFIGY_ABI_VERSION 1005

/**
 * Most bytes of a packet.
 */
#define EFFIGY_MAX_PACKET 16384

/**
 * What a function of this library reports: 0 is success, above 0 success with news, below 0 failure.
 * `effigy_last_error` has the words to a failure.
 */
enum effigy_status
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * Done.
     */
    EFFIGY_STATUS_OK = 0,
    /**
     * The stream is over; nothing was written.
     */
    EFFIGY_STATUS_END = 1,
    /**
     * Nothing to hand out yet: give more first. Nothing was written.
     */
    EFFIGY_STATUS_AGAIN = 2,
    /**
     * A file or a pipe could not be read or written.
     */
    EFFIGY_STATUS_IO = -1,
    /**
     * The bytes do not follow their format: damaged, or something else.
     */
    EFFIGY_STATUS_MALFORMED = -2,
    /**
     * Valid input that this build or version cannot handle.
     */
    EFFIGY_STATUS_UNSUPPORTED = -3,
    /**
     * The input asks for more than a limit of this library.
     */
    EFFIGY_STATUS_LIMIT = -4,
    /**
     * The call does not fit its arguments or the state of its handle.
     */
    EFFIGY_STATUS_MISUSE = -5,
    /**
     * The input holds nothing to work on.
     */
    EFFIGY_STATUS_NO_CONTENT = -6,
    /**
     * The tensor library or a child process failed: out of memory, no such device, not installed.
     */
    EFFIGY_STATUS_DEVICE = -7,
    /**
     * The caller asked to stop.
     */
    EFFIGY_STATUS_CANCELLED = -8,
    /**
     * A mistake inside this library. The handle in use is broken: free it.
     */
    EFFIGY_STATUS_PANIC = -9,
    /**
     * A pointer that must not be NULL is NULL.
     */
    EFFIGY_STATUS_NULL = -10,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum effigy_status effigy_status;
#else
typedef int32_t effigy_status;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * How the bytes of a picture are ordered.
 */
enum effigy_format
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * One plane, three bytes a pixel: R G B.
     */
    EFFIGY_FORMAT_RGB24 = 0,
    /**
     * One plane, four bytes a pixel: R G B A. Written with A 255; A is not read.
     */
    EFFIGY_FORMAT_RGBA = 1,
    /**
     * One plane, four bytes a pixel: B G R A. Written with A 255; A is not read.
     */
    EFFIGY_FORMAT_BGRA = 2,
    /**
     * Three planes: Y, and at half the width and height, rounded up, U and V, each the mean of its two by two pixels (centred).
     */
    EFFIGY_FORMAT_I420 = 3,
    /**
     * Two planes: Y, and at half the width and height, rounded up, pairs of U and V, centred likewise.
     */
    EFFIGY_FORMAT_NV12 = 4,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum effigy_format effigy_format;
#else
typedef int32_t effigy_format;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * Which Y, U and V a colour has in the formats that have them. RGB formats ignore it.
 */
enum effigy_colour
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * ITU-R BT.601, limited range: most cameras and WebRTC. Full-range YUV is to be converted first.
     */
    EFFIGY_COLOUR_BT601 = 0,
    /**
     * ITU-R BT.709, limited range: high-definition video.
     */
    EFFIGY_COLOUR_BT709 = 1,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum effigy_colour effigy_colour;
#else
typedef int32_t effigy_colour;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * Where a frame comes from, in numbers.
 */
enum effigy_frame_origin
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * From its own packet.
     */
    EFFIGY_FRAME_ORIGIN_RECEIVED = 0,
    /**
     * Its packet is lost; a later one repeats it coarsely.
     */
    EFFIGY_FRAME_ORIGIN_REPEATED = 1,
    /**
     * Made up.
     */
    EFFIGY_FRAME_ORIGIN_CONCEALED = 2,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum effigy_frame_origin effigy_frame_origin;
#else
typedef int32_t effigy_frame_origin;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * What a build of the library can do, as bits of `effigy_features`.
 */
enum effigy_feature
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * Encoders and enrolment for aligned crops.
     */
    EFFIGY_FEATURE_ENCODE = 1,
    /**
     * Encoders and enrolment for camera pictures: the face is found and followed.
     */
    EFFIGY_FEATURE_ALIGN = 2,
    /**
     * A CUDA device can be used now.
     */
    EFFIGY_FEATURE_CUDA = 4,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum effigy_feature effigy_feature;
#else
typedef uint32_t effigy_feature;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * A decoder of packets. Made by `effigy_decoder_new`, ended by `effigy_decoder_free`. One thread at a time. Since version 1.1.
 */
typedef struct effigy_decoder effigy_decoder;

/**
 * A live encoder. Made by `effigy_encoder_new`, ended by `effigy_encoder_free`. One thread at a time. Since version 1.1.
 */
typedef struct effigy_encoder effigy_encoder;

/**
 * Pictures of a person who is to be enrolled. Made by `effigy_enroller_new`, ended by `effigy_enroller_free`. One thread at a time.
 * Since version 1.1.
 */
typedef struct effigy_enroller effigy_enroller;

/**
 * A person: what a stream's numbers are relative to. Made by `effigy_identity_load`, `effigy_identity_load_memory` or
 * `effigy_enroller_run`, ended by `effigy_identity_free`. One thread at a time. Since version 1.1.
 */
typedef struct effigy_identity effigy_identity;

/**
 * A loaded model pack. Made by `effigy_pack_load`, ended by `effigy_pack_free`. One thread at a time.
 */
typedef struct effigy_pack effigy_pack;

/**
 * A stream that is being decoded. Made by `effigy_stream_open` or `effigy_stream_open_memory`, ended by
 * `effigy_stream_free`. One thread at a time; different streams may be used by different threads.
 */
typedef struct effigy_stream effigy_stream;

/**
 * Called for each message of the log, from any thread, possibly from several at once: `level` is 1 for errors, 2 for warnings, 3 for
 * information and 4 for details, and `text` lives for the call. Call nothing of this library from it.
 */
typedef void (*effigy_log_fn)(int32_t level, const char *text, void *user);

/**
 * How to decode. Fill it with `effigy_decoder_settings_init`, then change what should differ.
 */
typedef struct {
    /**
     * Bytes of this structure, set by `effigy_decoder_settings_init`.
     */
    size_t size;
    /**
     * 0 a CUDA device if there is one, else the processor; 1 the processor; 2 and up the CUDA device of this number less 2.
     */
    int32_t device;
    /**
     * Number format of the convolutions: 0 the fastest that suits the device, 1 single, 2 bfloat16, 3 half.
     */
    int32_t precision;
    /**
     * Threads on the processor, a setting of the whole process; 0: what libtorch has, which is `OMP_NUM_THREADS` or one per core until a
     * handle sets another.
     */
    uint32_t threads;
    /**
     * For later versions; 0.
     */
    uint32_t reserved;
    /**
     * Not 0: pictures have twice the pack's side, with the detail of the identity that is shown if it has one; packs that draw more than 256
     * pixels stay as they are. `effigy_decoder_info` tells the side. Since version 1.5.
     */
    uint32_t detail;
    /**
     * For later versions; 0. Since version 1.5.
     */
    uint32_t more_reserved;
} effigy_decoder_settings;

/**
 * What a stream of packets says about itself. Set `size` before the call.
 */
typedef struct {
    /**
     * In: `sizeof(effigy_stream_header_info)`. Out: the bytes the library filled.
     */
    size_t size;
    /**
     * Side of the decoded pictures, pixels: the model pack's (128 for the built-in one), whatever the camera's size, or twice that
     * (`effigy_decoder_settings.detail`).
     */
    uint32_t resolution;
    /**
     * Width of the camera picture, pixels.
     */
    uint32_t camera_width;
    /**
     * Height of the camera picture, pixels.
     */
    uint32_t camera_height;
    /**
     * Usual distance of two frames, ticks.
     */
    uint32_t frame_ticks;
    /**
     * One tick of a time stamp lasts `time_base_num / time_base_den` seconds.
     */
    uint32_t time_base_num;
    /**
     * See `time_base_num`.
     */
    uint32_t time_base_den;
} effigy_stream_header_info;

/**
 * A picture in the caller's memory. The bytes stay the caller's. Set `size` before the call.
 */
typedef struct {
    /**
     * The bytes the caller has, `sizeof(effigy_picture)`.
     */
    size_t size;
    /**
     * An `effigy_format`.
     */
    int32_t format;
    /**
     * An `effigy_colour`; 0 for the RGB formats.
     */
    int32_t colour;
    /**
     * Pixels per row.
     */
    uint32_t width;
    /**
     * Rows.
     */
    uint32_t height;
    /**
     * First byte of each plane that the format has; the others are ignored. An encoder only reads them.
     */
    uint8_t *planes[3];
    /**
     * Bytes from one row to the next, at least those of a row.
     */
    size_t strides[3];
    /**
     * Bytes that may be touched at each plane, at least `stride * (rows - 1)` and a row.
     */
    size_t sizes[3];
    /**
     * Time stamp in ticks of the stream's time base: encoders read it, decoders write it.
     */
    int64_t pts;
} effigy_picture;

/**
 * What is known of a frame beside its picture. Set `size` before the call.
 */
typedef struct {
    /**
     * In: `sizeof(effigy_frame_info)`. Out: the bytes the library filled.
     */
    size_t size;
    /**
     * Time stamp, ticks of the stream's time base.
     */
    int64_t pts;
    /**
     * An `effigy_frame_origin`.
     */
    int32_t origin;
    /**
     * Not 0: `x`, `y` and `side` are known.
     */
    int32_t has_placement;
    /**
     * Centre of the crop in the camera picture, pixels from the left edge.
     */
    float x;
    /**
     * Centre of the crop in the camera picture, pixels from the top edge.
     */
    float y;
    /**
     * Side of the crop in the camera picture, pixels. The crop may reach beyond the picture.
     */
    float side;
    /**
     * Rotation of the crop in the camera picture, degrees clockwise. The decoded picture is upright.
     */
    float roll;
    /**
     * Head turned left or right, degrees; positive turns the face towards the right edge of the picture. Level and straight ahead lie a few
     * degrees off 0, differently for each identity.
     */
    float yaw;
    /**
     * Head nodding, degrees; positive looks up. As `yaw`, it compares frames of one identity; it is no absolute measure.
     */
    float pitch;
} effigy_frame_info;

/**
 * Counts since the stream was opened or reset. Set `size` before the call.
 */
typedef struct {
    /**
     * In: `sizeof(effigy_decoder_statistics)`. Out: the bytes the library filled.
     */
    size_t size;
    /**
     * Packets that were decoded.
     */
    uint64_t packets;
    /**
     * Packets that came after their frames were due.
     */
    uint64_t late;
    /**
     * Packets that came more than once.
     */
    uint64_t duplicates;
    /**
     * Packets that could not be decoded, because one before them was missing.
     */
    uint64_t orphans;
    /**
     * Datagrams that are no valid packet, or too far ahead.
     */
    uint64_t refused;
    /**
     * Frames handed out as received.
     */
    uint64_t received;
    /**
     * Frames handed out from a coarse repetition.
     */
    uint64_t repeated;
    /**
     * Frames handed out that were made up.
     */
    uint64_t concealed;
    /**
     * Gaps that ended with a frame from a packet.
     */
    uint64_t recoveries;
    /**
     * Frames that wait for `effigy_decoder_receive` now.
     */
    uint64_t waiting;
} effigy_decoder_statistics;

/**
 * How to encode. Fill it with `effigy_encoder_settings_init`, then set the camera's size, the time base and what should differ.
 */
typedef struct {
    /**
     * Bytes of this structure, set by `effigy_encoder_settings_init`.
     */
    size_t size;
    /**
     * Time stamp of the first frame, ticks, if it is known: time stamps near it cost least. Any other first one, negative too, is as good.
     * Usual: 0.
     */
    int64_t start_pts;
    /**
     * Width of the camera picture, pixels, 1 to 16384; to be set. With `aligned`, 0 stands for the identity's resolution.
     */
    uint32_t camera_width;
    /**
     * Height of the camera picture, pixels.
     */
    uint32_t camera_height;
    /**
     * One tick of a time stamp lasts `time_base_num / time_base_den` seconds. Usual: 1/90000.
     */
    uint32_t time_base_num;
    /**
     * See `time_base_num`.
     */
    uint32_t time_base_den;
    /**
     * Usual distance of two frames, ticks. Usual: 3600, 25 frames per second.
     */
    uint32_t frame_ticks;
    /**
     * Fineness of the numbers, 0 to 100; 12.5 points more halve the steps. Usual: 75.
     */
    float quality;
    /**
     * Frames that each packet repeats coarsely, against loss, 0 to 16. Usual: 0.
     */
    uint32_t redundancy;
    /**
     * Frames in a packet, 1 to 64: fewer come sooner, more cost less. Usual: 1.
     */
    uint32_t frames_per_packet;
    /**
     * Most frames from one intra packet to the next. Usual: 100.
     */
    uint32_t intra_interval;
    /**
     * Not 0: pictures are aligned crops already, of exactly the identity's resolution. Usual: 0.
     */
    int32_t aligned;
    /**
     * Not 0: the header carries the identity. Usual: 0, it names it by its hash.
     */
    int32_t inline_identity;
    /**
     * Share of the last frame's numbers that is kept, 0 to less than 1: calms noise, delays motion. Usual: 0.15.
     */
    float smoothing;
    /**
     * 0 a CUDA device if there is one, else the processor; 1 the processor; 2 and up the CUDA device of this number less 2.
     */
    int32_t device;
    /**
     * Number format of the convolutions: 0 the fastest that suits the device, 1 single, 2 bfloat16, 3 half.
     */
    int32_t precision;
    /**
     * Threads on the processor, a setting of the whole process; 0: what libtorch has, which is `OMP_NUM_THREADS` or one per core until a
     * handle sets another.
     */
    uint32_t threads;
    /**
     * For later versions; 0.
     */
    uint32_t reserved;
    /**
     * Most steps of the search per frame, 0 to 16, unless there is time for more (`frame_budget_us`). A step draws the face four times; a second one, which only frames that are far off make, helps lively faces. The first frame that shows the
     * person takes up to eight more, whatever the budget, and draws the face up to 66 times more, once. 0: the numbers are read by a network alone, which costs a fifth of a step and is far less like the person. Usual: 1. Since version 1.2.
     */
    uint32_t search_steps;
    /**
     * For later versions; 0. Since version 1.2.
     */
    uint32_t more_reserved;
    /**
     * What the numbers miss (other hair, another light, what moves in the background) is sent as a picture that changes slowly, in at most so many bytes a frame on average, 0 to 200 (to 85 with 64 frames in a packet). It
     * travels with the packets, and the encoder draws every fourth frame for it. 0: none, as with `search_steps` 0. Usual: 6. Since version 1.3; programs made for earlier ones send none.
     */
    float residual_bytes;
    /**
     * For later versions; 0. Since version 1.3.
     */
    uint32_t reserved_too;
    /**
     * Microseconds that `effigy_encoder_send` should take. What is left of them after `search_steps` steps is spent on more of them, up to 16: on a fast machine faces come nearer.
     * What is found depends on how fast the machine is, then, and it is always busy. About two thirds of the distance of two frames leave room for what else there is to do.
     * 0: no more steps, as with `search_steps` 0. At most 1000000. Usual: 0. Since version 1.4.
     */
    uint32_t frame_budget_us;
    /**
     * For later versions; 0. Since version 1.4.
     */
    uint32_t reserved_last;
} effigy_encoder_settings;

/**
 * Called during long work, from the thread that asked for it: `stage` is a name in English that lives for the call, `done` of
 * `total` steps are finished (0: their number is not known). Return 0 to go on and anything else to stop at the next step.
 */
typedef int32_t (*effigy_progress_fn)(const char *stage, uint64_t done, uint64_t total, void *user);

/**
 * How to enrol. Fill it with `effigy_enroller_settings_init`, then change what should differ.
 */
typedef struct {
    /**
     * Bytes of this structure, set by `effigy_enroller_settings_init`.
     */
    size_t size;
    /**
     * Amount of work: 0 a preview, 1 the usual, 2 three times as much. Usual: 1.
     */
    int32_t preset;
    /**
     * Not 0: pictures are aligned crops already, of exactly the pack's resolution. Usual: 0.
     */
    int32_t aligned;
    /**
     * Steps of the tuning; the first fit of the latent takes no more. 0: the preset's.
     */
    uint64_t tune_steps;
    /**
     * Start of all randomness: same seed, same machine, same result.
     */
    uint64_t seed;
    /**
     * Most bytes of the identity, 16000 or more; 0: 150000.
     */
    uint32_t identity_bytes;
    /**
     * 0 a CUDA device if there is one, else the processor; 1 the processor; 2 and up the CUDA device of this number less 2.
     */
    int32_t device;
    /**
     * Number format of the convolutions: 0 the fastest that suits the device, 1 single, 2 bfloat16, 3 half.
     */
    int32_t precision;
    /**
     * Threads on the processor, a setting of the whole process; 0: what libtorch has, which is `OMP_NUM_THREADS` or one per core until a
     * handle sets another.
     */
    uint32_t threads;
    /**
     * Name stored in the identity, NUL-terminated UTF-8, read during `effigy_enroller_new` alone; NULL: none.
     */
    const char *name;
} effigy_enroller_settings;

/**
 * What a stream says about itself. Set `size` before the call.
 */
typedef struct {
    /**
     * In: the bytes the caller has, `sizeof(effigy_stream_properties)`. Out: the bytes the library filled. Later versions add
     * members at the end, and callers built before them go on working.
     */
    size_t size;
    /**
     * Pixels per row of a decoded picture.
     */
    uint32_t width;
    /**
     * Rows of a decoded picture.
     */
    uint32_t height;
    /**
     * One tick of a time stamp lasts `time_base_num / time_base_den` seconds.
     */
    uint32_t time_base_num;
    /**
     * See `time_base_num`.
     */
    uint32_t time_base_den;
    /**
     * Frames in the stream that can be decoded; 0 while that is not known, which may be until its end.
     */
    uint64_t frames;
    /**
     * Frames handed out so far.
     */
    uint64_t decoded;
    /**
     * Damaged stretches passed over so far, also behind the last frame that is out: several are read at once. Decoding goes on behind them.
     */
    uint64_t damaged;
    /**
     * Frames known to be missing so far, by gaps in their numbers; as `damaged`.
     */
    uint64_t lost;
    /**
     * Of the frames handed out, those that were made up or came from a coarse repetition. Since version 1.1.
     */
    uint64_t concealed;
} effigy_stream_properties;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * The version of the library as text, such as "0.1.0". The text is part of the library: never free it.
 */
const char *effigy_version(void);

/**
 * The version of this interface: 1000 times the major part plus the minor part. Compare `effigy_abi_version() / 1000`
 * with `EFFIGY_ABI_VERSION / 1000`: when they differ, header and library do not fit.
 */
uint32_t effigy_abi_version(void);

/**
 * A few words of English for a status number; for an unknown number, "unknown status". The text is part of the library:
 * never free it.
 */
const char *effigy_status_text(int32_t status);

/**
 * Copies the message of the calling thread's most recent failure, as UTF-8 with a final NUL, cut to fit.
 *
 * `text` may be NULL when `size` is 0; otherwise it points to `size` writable bytes, which stay the caller's. Returns the
 * length of the whole message in bytes, without the NUL; a `size` that is not greater cut the message. Success does not
 * clear the message.
 *
 * Required: `text` is NULL or points to `size` writable bytes.
 */
size_t effigy_last_error(char *text,
                         size_t size);

/**
 * What this build can do: the sum of the `effigy_feature` numbers that it has.
 */
uint32_t effigy_features(void);

/**
 * Sends the library's log to `call`, which gets `user` with each message; NULL ends that. `level` is the least important
 * kind that is sent: 0 none, 1 errors, 2 warnings, 3 information, 4 details. The log is one for the process.
 *
 * `call` comes from any thread that works in the library. `user` stays the caller's and must live until another call of this
 * function has returned and no other thread is inside the library.
 *
 * Required: `call` is NULL or a function that neither throws nor jumps out.
 */
effigy_status effigy_set_log(effigy_log_fn call,
                             void *user,
                             int32_t level);

/**
 * Puts the usual settings into `settings`. `size` is `sizeof(effigy_decoder_settings)`.
 *
 * Required: `settings` is NULL or points to `size` writable bytes.
 */
effigy_status effigy_decoder_settings_init(effigy_decoder_settings *settings, size_t size);

/**
 * Makes a decoder for streams of this identity. `settings` may be NULL for the usual ones. `pack`, `identity` and `settings`
 * are only used during the call and stay the caller's.
 *
 * On success `*decoder` is a decoder that the caller owns and ends with `effigy_decoder_free`. On failure it is NULL and nothing
 * has to be freed.
 *
 * Required: `pack` and `identity` are NULL or live; `settings` is NULL or points to `settings->size` readable bytes; `decoder` is NULL
 * or points to a writable pointer.
 */
effigy_status effigy_decoder_new(effigy_pack *pack,
                                 effigy_identity *identity,
                                 const effigy_decoder_settings *settings,
                                 effigy_decoder **decoder);

/**
 * Begins a stream: `size` bytes at `header` are what `effigy_encoder_header` gave, or the front of a stream's file up to its first
 * packet. It must come whole and unchanged, so send it by a safe way. Counts and frames of an earlier stream are forgotten.
 *
 * Misuse for a stream of another pack or identity. On failure the decoder is as before.
 *
 * Required: `decoder` is NULL or live; `header` is NULL or points to `size` readable bytes.
 */
effigy_status effigy_decoder_open(effigy_decoder *decoder,
                                  const uint8_t *header,
                                  size_t size);

/**
 * Describes the stream that was opened. Set `info->size` before the call.
 *
 * Required: `decoder` is NULL or live; `info` is NULL or points to `info->size` writable bytes.
 */
effigy_status effigy_decoder_info(effigy_decoder *decoder, effigy_stream_header_info *info);

/**
 * Takes a packet: `size` bytes at `packet`, copied during the call. It makes its frames due, and those before them that are
 * missing; fetch them with `effigy_decoder_receive`. With `packet` NULL and `size` 0 a packet is known to be lost: as many frames as
 * the last packet had become due and will be made up. Where the stream has redundancy, rather send the next packet at once: it
 * repeats what is missing.
 *
 * Failure leaves the decoder as it was, with the packet counted as refused: go on with the next one. `EFFIGY_STATUS_LIMIT` with more
 * than 1000 frames due (fetch them), or for a packet more than 1000 frames ahead (reset the decoder to jump).
 *
 * Required: `decoder` is NULL or live; `packet` is NULL or points to `size` readable bytes.
 */
effigy_status effigy_decoder_send(effigy_decoder *decoder,
                                  const uint8_t *packet,
                                  size_t size);

/**
 * Fetches the next frame that packets have made due, in order: `EFFIGY_STATUS_AGAIN` when there is none yet, and after
 * `effigy_decoder_flush` `EFFIGY_STATUS_END`. For programs with a jitter buffer of their own.
 *
 * `picture` describes where it goes, with the width and height of `effigy_decoder_info`; its `pts` is set. With `picture` NULL the
 * frame is passed over without being drawn, which saves nearly all the work. `info` may be NULL; else set `info->size`. A call with
 * unfit arguments takes no frame.
 *
 * Required: `decoder` is NULL or live; `picture` is NULL or describes writable memory; `info` is NULL or points to `info->size`
 * writable bytes.
 */
effigy_status effigy_decoder_receive(effigy_decoder *decoder,
                                     effigy_picture *picture,
                                     effigy_frame_info *info);

/**
 * Gives the frame that is due now by the caller's clock: received if its packet has come, else repeated or made up. Call it once
 * per frame, `frame_ticks` apart, beginning as long after the first packet as late ones should be waited for; packets may come in
 * any order meanwhile. `EFFIGY_STATUS_AGAIN` before the first packet. Arguments as in `effigy_decoder_receive`; use one of the two.
 *
 * Required: as in `effigy_decoder_receive`.
 */
effigy_status effigy_decoder_play(effigy_decoder *decoder,
                                  effigy_picture *picture,
                                  effigy_frame_info *info);

/**
 * Says that no packet follows for now: once all frames that are due are fetched, `effigy_decoder_receive` gives `EFFIGY_STATUS_END`.
 * A later packet goes on with the stream.
 *
 * Required: `decoder` is NULL or live.
 */
effigy_status effigy_decoder_flush(effigy_decoder *decoder);

/**
 * Forgets all packets, frames and counts, and starts the same stream anew at whatever packet comes next: after a seek, or an
 * interruption of many seconds.
 *
 * Required: `decoder` is NULL or live.
 */
effigy_status effigy_decoder_reset(effigy_decoder *decoder);

/**
 * Shows another person from the next frame on, moved by the stream: the distance from the sender's calm face is added to this
 * person's. With the stream's own identity all is as before. `pack` must be the one that the decoder was made with; both arguments are
 * only used during the call. On failure nothing changes.
 *
 * Required: `decoder`, `pack` and `identity` are NULL or live.
 */
effigy_status effigy_decoder_swap_identity(effigy_decoder *decoder,
                                           effigy_pack *pack,
                                           effigy_identity *identity);

/**
 * Tells what became of packets and frames. Set `statistics->size` before the call.
 *
 * Required: `decoder` is NULL or live; `statistics` is NULL or points to `statistics->size` writable bytes.
 */
effigy_status effigy_decoder_get_statistics(effigy_decoder *decoder, effigy_decoder_statistics *statistics);

/**
 * Sets `*wanted` to 1 while frames are made up that only a packet without predecessors can end, or a residual is missing: then ask the sender for one
 * (`effigy_encoder_request_intra`), again after a round trip if none has come. Else sets it to 0.
 *
 * Required: `decoder` is NULL or live; `wanted` is NULL or writable.
 */
effigy_status effigy_decoder_needs_intra(effigy_decoder *decoder,
                                         int32_t *wanted);

/**
 * Like `effigy_last_error`, for the most recent failure of a call with this decoder, by whatever thread.
 *
 * Required: `decoder` is NULL or live; `text` is NULL or points to `size` writable bytes.
 */
size_t effigy_decoder_last_error(effigy_decoder *decoder, char *text, size_t size);

/**
 * Ends a decoder. NULL is allowed and does nothing.
 *
 * Required: `decoder` is NULL or came from `effigy_decoder_new` and has not been freed.
 */
void effigy_decoder_free(effigy_decoder *decoder);

/**
 * Puts the usual settings into `settings`. `size` is `sizeof(effigy_encoder_settings)`.
 *
 * Required: `settings` is NULL or points to `size` writable bytes.
 */
effigy_status effigy_encoder_settings_init(effigy_encoder_settings *settings, size_t size);

/**
 * Makes an encoder of this person. It learns how they look, which takes seconds; `progress` may be NULL, is called from this thread
 * with `user`, and may stop the work. `pack`, `identity` and `settings` are only used during the call and stay the caller's.
 *
 * On success `*encoder` is an encoder that the caller owns and ends with `effigy_encoder_free`. On failure it is NULL and nothing
 * has to be freed. `EFFIGY_STATUS_UNSUPPORTED` in builds without an encoder (`effigy_features`), and for packs that can only
 * decode.
 *
 * Required: `pack` and `identity` are NULL or live; `settings` is NULL or points to `settings->size` readable bytes; `progress` is NULL
 * or a function that neither throws nor jumps out; `encoder` is NULL or points to a writable pointer.
 */
effigy_status effigy_encoder_new(effigy_pack *pack,
                                 effigy_identity *identity,
                                 const effigy_encoder_settings *settings,
                                 effigy_progress_fn progress,
                                 void *user,
                                 effigy_encoder **encoder);

/**
 * Copies the front of the stream, which a receiver needs once, whole and by a safe way (`effigy_decoder_open`), to `data`, which has
 * `size` bytes, and sets `*length` to its length. With `data` NULL and `size` 0 only the length is told. It never changes. A file of
 * this and all packets behind it is a stream that `effigy_stream_open` reads, if the identity is inside.
 *
 * Required: `encoder` is NULL or live; `data` is NULL or points to `size` writable bytes; `length` is NULL or writable.
 */
effigy_status effigy_encoder_header(effigy_encoder *encoder,
                                    uint8_t *data,
                                    size_t size,
                                    size_t *length);

/**
 * Codes a camera picture, in any format; it is only read, during the call. It has the size in the settings (with `aligned`: the identity's
 * resolution). Its time stamp must be above the one before; a gap in the time stamps makes no frames, here or at the receiver: only
 * packets that are missing do.
 * `confidence` may be NULL; it receives 0 to 1, how surely the face was followed: at 0 the last placement is held.
 *
 * `EFFIGY_STATUS_NO_CONTENT` while no face has been seen: go on with the next picture. `EFFIGY_STATUS_LIMIT` while 1024 packets wait to
 * be received. After a failure the picture is not taken.
 *
 * Required: `encoder` is NULL or live; `picture` is NULL or describes readable memory; `confidence` is NULL or writable.
 */
effigy_status effigy_encoder_send(effigy_encoder *encoder,
                                  const effigy_picture *picture,
                                  float *confidence);

/**
 * Fetches the next packet: up to `capacity` bytes to `data`, its length to `*size`, the time stamp of its first frame to `*pts`, which
 * may be NULL. `EFFIGY_STATUS_AGAIN` when there is none: send more pictures, or flush. A packet has at most
 * `EFFIGY_MAX_PACKET` bytes, and usually under 100; one that does not fit is misuse and stays, with `*size` set.
 *
 * Required: `encoder` is NULL or live; `data` is NULL or points to `capacity` writable bytes; `size` and `pts` are NULL or writable.
 */
effigy_status effigy_encoder_receive(effigy_encoder *encoder,
                                     uint8_t *data,
                                     size_t capacity,
                                     size_t *size,
                                     int64_t *pts);

/**
 * Makes the next packet one that needs no other, and soon the residual, too: a receiver asks for it, or joins.
 *
 * Required: `encoder` is NULL or live.
 */
effigy_status effigy_encoder_request_intra(effigy_encoder *encoder);

/**
 * Ends the packet that is being filled, so that `effigy_encoder_receive` gives it; nothing happens if none is. Encoding may go on.
 *
 * Required: `encoder` is NULL or live.
 */
effigy_status effigy_encoder_flush(effigy_encoder *encoder);

/**
 * Like `effigy_last_error`, for the most recent failure of a call with this encoder, by whatever thread.
 *
 * Required: `encoder` is NULL or live; `text` is NULL or points to `size` writable bytes.
 */
size_t effigy_encoder_last_error(effigy_encoder *encoder, char *text, size_t size);

/**
 * Ends an encoder. NULL is allowed and does nothing.
 *
 * Required: `encoder` is NULL or came from `effigy_encoder_new` and has not been freed.
 */
void effigy_encoder_free(effigy_encoder *encoder);

/**
 * Loads the identity in the file `path` (NUL-terminated, UTF-8).
 *
 * On success `*identity` is an identity that the caller owns and ends with `effigy_identity_free`. On failure it is NULL and
 * nothing has to be freed.
 *
 * Required: `path` is NULL or a NUL-terminated string; `identity` is NULL or points to a writable pointer.
 */
effigy_status effigy_identity_load(const char *path,
                                   effigy_identity **identity);

/**
 * Loads an identity from memory: `size` bytes at `data`, copied during the call. Otherwise like `effigy_identity_load`.
 *
 * Required: `data` is NULL or points to `size` readable bytes; `identity` is NULL or points to a writable pointer.
 */
effigy_status effigy_identity_load_memory(const uint8_t *data, size_t size, effigy_identity **identity);

/**
 * Copies the identity's file to `data`, which has `size` bytes, and sets `*length` to its length. With `data` NULL and `size` 0
 * only the length is told. A buffer that is too small is misuse; `*length` is set all the same.
 *
 * Required: `identity` is NULL or live; `data` is NULL or points to `size` writable bytes; `length` is NULL or writable.
 */
effigy_status effigy_identity_bytes(effigy_identity *identity,
                                    uint8_t *data,
                                    size_t size,
                                    size_t *length);

/**
 * Ends an identity. Decoders and encoders made with it are not affected. NULL is allowed and does nothing.
 *
 * Required: `identity` is NULL or came from this library and has not been freed.
 */
void effigy_identity_free(effigy_identity *identity);

/**
 * Puts the usual settings into `settings`. `size` is `sizeof(effigy_enroller_settings)`.
 *
 * Required: `settings` is NULL or points to `size` writable bytes.
 */
effigy_status effigy_enroller_settings_init(effigy_enroller_settings *settings, size_t size);

/**
 * Begins an enrolment. `settings` may be NULL for the usual ones; `pack` and `settings` are only used during the call.
 *
 * On success `*enroller` is owned by the caller, who ends it with `effigy_enroller_free`. On failure it is NULL and nothing has
 * to be freed. `EFFIGY_STATUS_UNSUPPORTED` in builds that cannot enrol.
 *
 * Required: `pack` is NULL or live; `settings` is NULL or points to `settings->size` readable bytes; `enroller` is NULL or points to a
 * writable pointer.
 */
effigy_status effigy_enroller_new(effigy_pack *pack,
                                  const effigy_enroller_settings *settings,
                                  effigy_enroller **enroller);

/**
 * Adds the next picture of the person, in any format; it is copied. `EFFIGY_STATUS_NO_CONTENT` while no face has been seen: such a
 * picture is not taken, go on with the next.
 *
 * Required: `enroller` is NULL or live; `picture` is NULL or describes readable memory.
 */
effigy_status effigy_enroller_add(effigy_enroller *enroller,
                                  const effigy_picture *picture);

/**
 * Fits the identity to the pictures that were added: minutes. `progress` may be NULL; it is called from this thread, with `user`,
 * and may stop the work, which then ends with `EFFIGY_STATUS_CANCELLED`. The pictures stay: the call may be repeated.
 *
 * On success `*identity` is an identity that the caller owns and ends with `effigy_identity_free`. On failure it is NULL and
 * nothing has to be freed. `pack` is only used during the call and must be the one that the enroller was made with.
 *
 * Required: `enroller` and `pack` are NULL or live; `progress` is NULL or a function that neither throws nor jumps out; `identity` is
 * NULL or points to a writable pointer.
 */
effigy_status effigy_enroller_run(effigy_enroller *enroller,
                                  effigy_pack *pack,
                                  effigy_progress_fn progress,
                                  void *user,
                                  effigy_identity **identity);

/**
 * Like `effigy_last_error`, for the most recent failure of a call with this enroller, by whatever thread.
 *
 * Required: `enroller` is NULL or live; `text` is NULL or points to `size` writable bytes.
 */
size_t effigy_enroller_last_error(effigy_enroller *enroller, char *text, size_t size);

/**
 * Ends an enroller. NULL is allowed and does nothing.
 *
 * Required: `enroller` is NULL or came from `effigy_enroller_new` and has not been freed.
 */
void effigy_enroller_free(effigy_enroller *enroller);

/**
 * Loads the model pack in the file `path` (NUL-terminated, UTF-8) and verifies it.
 *
 * On success `*pack` is a pack that the caller owns and ends with `effigy_pack_free`. On failure `*pack` is NULL and
 * nothing has to be freed.
 *
 * Required: `path` is NULL or a NUL-terminated string; `pack` is NULL or points to a writable pointer.
 */
effigy_status effigy_pack_load(const char *path, effigy_pack **pack);

/**
 * Ends a pack. Streams opened with it are not affected. NULL is allowed and does nothing.
 *
 * Required: `pack` is NULL or came from `effigy_pack_load` and has not been freed.
 */
void effigy_pack_free(effigy_pack *pack);

/**
 * Opens the stream in the file `path` (NUL-terminated, UTF-8). The stream must carry its identity, and must have been made
 * with this `pack`, which is only used during the call and stays the caller's.
 *
 * On success `*stream` is a stream that the caller owns and ends with `effigy_stream_free`. On failure `*stream` is NULL
 * and nothing has to be freed.
 *
 * Required: `pack` is NULL or a live pack; `path` is NULL or a NUL-terminated string; `stream` is NULL or points to a
 * writable pointer.
 */
effigy_status effigy_stream_open(effigy_pack *pack,
                                 const char *path,
                                 effigy_stream **stream);

/**
 * Opens the stream whose bytes are in memory: `size` bytes at `data`, copied during the call. Otherwise like
 * `effigy_stream_open`.
 *
 * Required: `pack` is NULL or a live pack; `data` is NULL or points to `size` readable bytes; `stream` is NULL or points
 * to a writable pointer.
 */
effigy_status effigy_stream_open_memory(effigy_pack *pack,
                                        const uint8_t *data,
                                        size_t size,
                                        effigy_stream **stream);

/**
 * Describes a stream. Set `info->size` to `sizeof(effigy_stream_properties)` before the call. May be called at any time.
 *
 * Required: `stream` is NULL or a live stream; `info` is NULL or points to `info->size` writable bytes.
 */
effigy_status effigy_stream_info(effigy_stream *stream,
                                 effigy_stream_properties *info);

/**
 * From the next frame on pictures have twice the pack's side, with the detail of the stream's identity if it has one; packs that draw more
 * than 256 pixels stay as they are. `effigy_stream_info` tells the side. Pictures that are
 * drawn already and not out yet are enlarged at once; if the device fails then, all stays as it was. Since version 1.5.
 *
 * Required: `stream` is NULL or a live stream.
 */
effigy_status effigy_stream_show_detail(effigy_stream *stream);

/**
 * Decodes the next frame into `rgb`: rows from the top, each `3 * width` bytes R G B, `stride` bytes from one row to the next.
 * The bytes between rows stay as they are.
 *
 * `size` is the number of bytes at `rgb`, at least `stride * (height - 1) + 3 * width`; they stay the caller's. `pts`
 * receives the time stamp in ticks and may be NULL. Returns `EFFIGY_STATUS_END`, and writes nothing, after the last frame.
 * Damaged packets are passed over and counted in `effigy_stream_info`; frames missing in the middle are made up, at most 250 in a
 * row. A call with unfit arguments takes no frame. Several frames are read and drawn at once, so that some calls take long and
 * those that follow them next to no time; after `EFFIGY_STATUS_DEVICE` all of them are gone; `EFFIGY_STATUS_IO` comes behind the frames
 * before it. A pipe that is still being written is better read packet by packet (`effigy_decoder_new`).
 *
 * Required: `stream` is NULL or a live stream; `rgb` is NULL or points to `size` writable bytes; `pts` is NULL or
 * writable.
 */
effigy_status effigy_stream_next(effigy_stream *stream,
                                 uint8_t *rgb,
                                 size_t stride,
                                 size_t size,
                                 int64_t *pts);

/**
 * Decodes the next frame into `picture`, in any format; its `pts` is set. Its width and height must be those of
 * `effigy_stream_info`. Otherwise like `effigy_stream_next`. Since version 1.1.
 *
 * Required: `stream` is NULL or a live stream; `picture` is NULL or describes writable memory.
 */
effigy_status effigy_stream_next_picture(effigy_stream *stream, effigy_picture *picture);

/**
 * Like `effigy_last_error`, for the most recent failure of a call with this stream, by whatever thread. Since version 1.1.
 *
 * Required: `stream` is NULL or a live stream; `text` is NULL or points to `size` writable bytes.
 */
size_t effigy_stream_last_error(effigy_stream *stream,
                                char *text,
                                size_t size);

/**
 * Ends a stream. NULL is allowed and does nothing.
 *
 * Required: `stream` is NULL or came from `effigy_stream_open` or `effigy_stream_open_memory` and has not been freed.
 */
void effigy_stream_free(effigy_stream *stream);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* EFFIGY_H */
