/*
 * effigy: decoding of talking-head streams. Generated from src/capi by cbindgen: do not edit.
 *
 * Every function that can fail returns an effigy_status. Handles belong to the caller, who ends them with the matching free
 * function; a handle may move between threads but is used by one at a time.
 */

#ifndef EFFIGY_H
#define EFFIGY_H

#include <stddef.h>
#include <stdint.h>

/**
 * Version of the C interface. It grows when a function is added and its first part when one changes: `major * 1000 + minor`.
 */
#define EFFIGY_ABI_VERSION 1000

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
 * A loaded model pack. Made by `effigy_pack_load`, ended by `effigy_pack_free`. One thread at a time.
 */
typedef struct effigy_pack effigy_pack;

/**
 * A stream that is being decoded. Made by `effigy_stream_open` or `effigy_stream_open_memory`, ended by
 * `effigy_stream_free`. One thread at a time; different streams may be used by different threads.
 */
typedef struct effigy_stream effigy_stream;

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
     * Damaged stretches passed over so far; decoding goes on behind them.
     */
    uint64_t damaged;
    /**
     * Frames known to be missing so far, by gaps in their numbers.
     */
    uint64_t lost;
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
 * Decodes the next frame into `rgb`: rows from the top, each `3 * width` bytes R G B, `stride` bytes from one row to the next.
 * The bytes between rows stay as they are.
 *
 * `size` is the number of bytes at `rgb`, at least `stride * (height - 1) + 3 * width`; they stay the caller's. `pts`
 * receives the time stamp in ticks and may be NULL. Returns `EFFIGY_STATUS_END`, and writes nothing, after the last frame.
 * Damaged packets are passed over and counted in `effigy_stream_info`. A call with unfit arguments takes no frame.
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
 * Ends a stream. NULL is allowed and does nothing.
 *
 * Required: `stream` is NULL or came from `effigy_stream_open` or `effigy_stream_open_memory` and has not been freed.
 */
void effigy_stream_free(effigy_stream *stream);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* EFFIGY_H */
