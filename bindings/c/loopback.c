/*
 * Encodes a clip of an enrolled person live, loses some packets on purpose, decodes the rest and writes what a receiver would see.
 *
 *     loopback [--aligned] [--rgb WxH] [--loss PERCENT] [--redundancy N] [--seed N] [--device N] [--precision N] [--threads N]
 *              [--timing] PACK IDENTITY < IN.y4m > OUT.y4m
 *
 * The input is Y4M with 8-bit 4:2:0, or with --rgb raw RGB of that size at 25 frames per second; with --aligned it is the upright
 * crop already, of exactly the identity's resolution. A camera clip can be piped in:
 *
 *     ffmpeg -i clip.mp4 -pix_fmt yuv420p -f yuv4mpegpipe - | loopback --loss 5 PACK IDENTITY > out.y4m
 *
 * Device and precision are numbers as in effigy_decoder_settings; with 0 a trial chooses the precision, so that pictures may differ a little
 * from run to run.
 *
 * With --timing it says how long each call takes per frame: the median, what one frame in ten exceeds, the
 * longest, and the median of the processor's time, which other work on the machine does not lengthen by waiting.
 *
 * Build: cc -I include bindings/c/loopback.c -L target/release -leffigy -Wl,-rpath,"$PWD/target/release" -o loopback
 */
#define _POSIX_C_SOURCE 200809L

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "effigy.h"
#include "y4m.h"

/* The way of a frame. With --aligned the first is without the search for the face, so that the difference shows its share. */
enum { ENCODE, FETCH, UNPACK, SHOW, WHOLE, STAGES };
static const char *const stage_names[STAGES] = {"picture to numbers and packet", "fetch the packet", "unpack it", "render and convert", "all of it"};

enum { WARM = 5, MOST_TIMED = 100000 };

/* Milliseconds: by the wall, and of the processor by all threads of this program. */
typedef struct {
    double wall, processor;
} instant;

/* What each stage took, frame by frame. */
typedef struct {
    instant *taken[STAGES], now[STAGES];
    size_t frames;
} timing;

typedef struct {
    int aligned, rgb, timing;
    unsigned width, height, rate_num, rate_den;
    double loss;
    unsigned redundancy, threads;
    int device, precision;
    unsigned long seed;
    const char *pack, *identity;
} options;

typedef struct {
    effigy_pack *pack;
    effigy_identity *identity;
    effigy_encoder *encoder;
    effigy_decoder *decoder;
    effigy_picture camera, shown;
    timing times;
    unsigned long frames, no_face, packets, lost, bytes, shown_frames, requests;
} session;

static int failed(const char *what, effigy_status status)
{
    char message[512] = "";

    effigy_last_error(message, sizeof message);
    fprintf(stderr, "loopback: %s: %s (%s)\n", what, effigy_status_text(status), message);
    return 1;
}

static double milliseconds(clockid_t clock)
{
    struct timespec time;

    clock_gettime(clock, &time);
    return (double)time.tv_sec * 1e3 + (double)time.tv_nsec / 1e6;
}

static instant clock_now(void)
{
    instant time;

    time.wall = milliseconds(CLOCK_MONOTONIC);
    time.processor = milliseconds(CLOCK_PROCESS_CPUTIME_ID);
    return time;
}

/* Adds the time since `begun` to a stage of the frame that is under way. */
static void took(session *call, int stage, instant begun)
{
    instant time = clock_now();

    call->times.now[stage].wall += time.wall - begun.wall;
    call->times.now[stage].processor += time.processor - begun.processor;
}

/* Keeps the times of a frame that has come out on the other side. */
static void keep_times(timing *times)
{
    int stage;

    for (stage = 0; stage < STAGES && times->taken[stage] != NULL && times->frames < MOST_TIMED; stage++) {
        times->taken[stage][times->frames] = times->now[stage];
    }
    times->frames += times->frames < MOST_TIMED;
}

static int by_wall(const void *left, const void *right)
{
    double a = ((const instant *)left)->wall, b = ((const instant *)right)->wall;

    return (a > b) - (a < b);
}

static int by_processor(const void *left, const void *right)
{
    double a = ((const instant *)left)->processor, b = ((const instant *)right)->processor;

    return (a > b) - (a < b);
}

/* The first frames are left out: libraries and caches warm up. */
static void report_times(timing *times)
{
    size_t count = times->frames > WARM ? times->frames - WARM : 0;
    int stage;

    for (stage = 0; stage < STAGES && count > 0 && times->taken[stage] != NULL; stage++) {
        instant *taken = times->taken[stage] + WARM;
        double processor;

        qsort(taken, count, sizeof *taken, by_processor);
        processor = taken[count / 2].processor;
        qsort(taken, count, sizeof *taken, by_wall);
        fprintf(stderr, "loopback: %-30s %8.2f ms, one in ten above %8.2f, at most %8.2f; processor %8.2f\n", stage_names[stage],
                taken[count / 2].wall, taken[count - 1 - count / 10].wall, taken[count - 1].wall, processor);
    }
}

/* A repeatable random number, 0 to less than 1. */
static double chance(unsigned long *seed)
{
    *seed = (*seed * 1103515245UL + 12345UL) & 0x7fffffffUL;
    return (double)(*seed >> 8) / (double)(1UL << 23);
}

/* Takes size and frame rate from the input. */
static int read_head(options *chosen)
{
    y4m_head head;
    const char *wrong = y4m_read_head(stdin, &head);

    if (wrong != NULL) {
        fprintf(stderr, "loopback: input: %s\n", wrong);
        return 1;
    }
    chosen->width = head.width;
    chosen->height = head.height;
    chosen->rate_num = head.rate_num;
    chosen->rate_den = head.rate_den;
    return 0;
}

/* Reads the next picture: 1 if there is one, 0 at the end. */
static int read_picture(const options *chosen, effigy_picture *picture)
{
    return chosen->rgb ? fread(picture->planes[0], 1, picture->sizes[0], stdin) == picture->sizes[0] : y4m_read(stdin, picture);
}

/* The picture that is read into; 0 without memory. */
static int make_camera(const options *chosen, effigy_picture *picture)
{
    if (!y4m_make(picture, chosen->width, chosen->height)) {
        return 0;
    }
    if (chosen->rgb) {
        free(picture->planes[0]);
        picture->format = EFFIGY_FORMAT_RGB24;
        picture->strides[0] = 3 * (size_t)chosen->width;
        picture->sizes[0] = picture->strides[0] * chosen->height;
        picture->planes[0] = malloc(picture->sizes[0]);
    }
    return picture->planes[0] != NULL;
}

/* Writes every frame that is due. */
static int show(session *call)
{
    effigy_status status;
    instant begun = clock_now();

    while ((status = effigy_decoder_receive(call->decoder, &call->shown, NULL)) == EFFIGY_STATUS_OK) {
        took(call, SHOW, begun);
        call->shown_frames++;
        if (!y4m_write(stdout, &call->shown)) {
            perror("loopback: output");
            return 1;
        }
        begun = clock_now();
    }
    return status == EFFIGY_STATUS_AGAIN || status == EFFIGY_STATUS_END ? 0 : failed("receive a frame", status);
}

/* What a network does with a packet, and what the receiver makes of it. */
static int transmit(const options *chosen, session *call, unsigned long *seed, const unsigned char *packet, size_t size)
{
    effigy_status status = EFFIGY_STATUS_OK;
    instant begun = clock_now();
    int32_t wanted = 0;

    call->packets++;
    call->bytes += (unsigned long)size;
    if (chance(seed) * 100.0 < chosen->loss) {
        call->lost++;
        /* With redundancy the next packet repeats what is missing; without, somebody has to make it up. */
        if (chosen->redundancy == 0) {
            status = effigy_decoder_send(call->decoder, NULL, 0);
        }
    } else {
        status = effigy_decoder_send(call->decoder, packet, size);
    }
    took(call, UNPACK, begun);
    if (status != EFFIGY_STATUS_OK) {
        return failed("send to the decoder", status);
    }
    if (show(call) != 0) {
        return 1;
    }
    status = effigy_decoder_needs_intra(call->decoder, &wanted);
    if (status == EFFIGY_STATUS_OK && wanted) {
        call->requests++;
        status = effigy_encoder_request_intra(call->encoder);
    }
    return status == EFFIGY_STATUS_OK ? 0 : failed("ask for an intra packet", status);
}

/* Encodes the whole input. */
static int run(const options *chosen, session *call)
{
    static unsigned char packet[EFFIGY_MAX_PACKET];
    unsigned long seed = chosen->seed;
    effigy_status status;
    size_t size;

    while (read_picture(chosen, &call->camera)) {
        instant begun = clock_now(), fetched;

        memset(call->times.now, 0, sizeof call->times.now);
        call->camera.pts = (int64_t)call->frames++;
        status = effigy_encoder_send(call->encoder, &call->camera, NULL);
        took(call, ENCODE, begun);
        if (status == EFFIGY_STATUS_NO_CONTENT) {
            call->no_face++;
            continue;
        }
        if (status != EFFIGY_STATUS_OK) {
            return failed("encode", status);
        }
        for (fetched = clock_now();
             (status = effigy_encoder_receive(call->encoder, packet, sizeof packet, &size, NULL)) == EFFIGY_STATUS_OK;
             fetched = clock_now()) {
            took(call, FETCH, fetched);
            if (transmit(chosen, call, &seed, packet, size) != 0) {
                return 1;
            }
        }
        if (status != EFFIGY_STATUS_AGAIN) {
            return failed("receive a packet", status);
        }
        took(call, WHOLE, begun);
        keep_times(&call->times);
    }
    status = effigy_decoder_flush(call->decoder);
    return status == EFFIGY_STATUS_OK ? show(call) : failed("flush", status);
}

/* Both compute in the same way. */
static effigy_status make_both(const options *chosen, session *call, const char **what)
{
    effigy_encoder_settings sending;
    effigy_decoder_settings showing;
    effigy_status status = effigy_encoder_settings_init(&sending, sizeof sending);

    sending.camera_width = chosen->width;
    sending.camera_height = chosen->height;
    sending.time_base_num = chosen->rate_den;
    sending.time_base_den = chosen->rate_num;
    sending.frame_ticks = 1;
    sending.redundancy = chosen->redundancy;
    sending.aligned = chosen->aligned;
    sending.device = chosen->device;
    sending.precision = chosen->precision;
    sending.threads = chosen->threads; /* of the whole process: the decoder has them too */
    *what = "encoder";
    if (status == EFFIGY_STATUS_OK) {
        status = effigy_encoder_new(call->pack, call->identity, &sending, NULL, NULL, &call->encoder);
    }
    if (status != EFFIGY_STATUS_OK) {
        return status;
    }
    *what = "decoder";
    if ((status = effigy_decoder_settings_init(&showing, sizeof showing)) == EFFIGY_STATUS_OK) {
        showing.device = chosen->device;
        showing.precision = chosen->precision;
        status = effigy_decoder_new(call->pack, call->identity, &showing, &call->decoder);
    }
    return status;
}

/* Makes encoder and decoder, hands the stream's header from one to the other, and prepares the pictures. */
static int set_up(options *chosen, session *call)
{
    effigy_stream_header_info info;
    unsigned char *header;
    const char *what;
    effigy_status status;
    size_t length = 0;
    int stage;

    if ((status = effigy_pack_load(chosen->pack, &call->pack)) != EFFIGY_STATUS_OK) {
        return failed(chosen->pack, status);
    }
    if ((status = effigy_identity_load(chosen->identity, &call->identity)) != EFFIGY_STATUS_OK) {
        return failed(chosen->identity, status);
    }
    if ((status = make_both(chosen, call, &what)) != EFFIGY_STATUS_OK) {
        return failed(what, status);
    }
    status = effigy_encoder_header(call->encoder, NULL, 0, &length);
    header = status == EFFIGY_STATUS_OK ? malloc(length) : NULL;
    if (header == NULL) {
        return failed("header", status);
    }
    status = effigy_encoder_header(call->encoder, header, length, &length);
    if (status == EFFIGY_STATUS_OK) {
        status = effigy_decoder_open(call->decoder, header, length);
    }
    free(header);
    info.size = sizeof info;
    if (status != EFFIGY_STATUS_OK || (status = effigy_decoder_info(call->decoder, &info)) != EFFIGY_STATUS_OK) {
        return failed("header", status);
    }
    if (!make_camera(chosen, &call->camera) || !y4m_make(&call->shown, info.resolution, info.resolution)) {
        fprintf(stderr, "loopback: no memory for pictures\n");
        return 1;
    }
    for (stage = 0; chosen->timing && stage < STAGES; stage++) {
        call->times.taken[stage] = malloc(MOST_TIMED * sizeof *call->times.taken[stage]);
    }
    y4m_write_head(stdout, info.resolution, chosen->rate_num, chosen->rate_den);
    return 0;
}

static int usage(void)
{
    fprintf(stderr, "usage: loopback [--aligned] [--rgb WxH] [--loss PERCENT] [--redundancy N] [--seed N] "
                    "[--device N] [--precision N] [--threads N] [--timing] PACK IDENTITY\n");
    return 2;
}

static int parse(int count, char **arguments, options *chosen)
{
    int at;

    for (at = 1; at < count && strncmp(arguments[at], "--", 2) == 0; at++) {
        const char *name = arguments[at], *value = at + 1 < count ? arguments[at + 1] : "";

        if (strcmp(name, "--aligned") == 0) {
            chosen->aligned = 1;
            continue;
        }
        if (strcmp(name, "--timing") == 0) {
            chosen->timing = 1;
            continue;
        }
        if (strcmp(name, "--rgb") == 0 && sscanf(value, "%ux%u", &chosen->width, &chosen->height) == 2 &&
            chosen->width > 0 && chosen->height > 0 && chosen->width <= 16384 && chosen->height <= 16384) {
            chosen->rgb = 1;
        } else if (strcmp(name, "--loss") == 0) {
            chosen->loss = atof(value);
        } else if (strcmp(name, "--redundancy") == 0) {
            chosen->redundancy = (unsigned)strtoul(value, NULL, 10);
        } else if (strcmp(name, "--device") == 0) {
            chosen->device = atoi(value);
        } else if (strcmp(name, "--precision") == 0) {
            chosen->precision = atoi(value);
        } else if (strcmp(name, "--threads") == 0) {
            chosen->threads = (unsigned)strtoul(value, NULL, 10);
        } else if (strcmp(name, "--seed") == 0) {
            chosen->seed = strtoul(value, NULL, 10);
        } else {
            return usage();
        }
        at++;
    }
    if (count - at != 2) {
        return usage();
    }
    chosen->pack = arguments[at];
    chosen->identity = arguments[at + 1];
    return 0;
}

static void report(const session *call)
{
    effigy_decoder_statistics counts;

    counts.size = sizeof counts;
    if (effigy_decoder_get_statistics(call->decoder, &counts) != EFFIGY_STATUS_OK) {
        return;
    }
    fprintf(stderr, "loopback: %lu frames (%lu without a face), %lu packets of %.1f bytes, %lu lost, %lu intra asked for\n", call->frames,
            call->no_face, call->packets, call->packets > 0 ? (double)call->bytes / (double)call->packets : 0.0, call->lost, call->requests);
    fprintf(stderr, "loopback: %lu frames shown: %lu received, %lu repeated, %lu made up\n", call->shown_frames,
            (unsigned long)counts.received, (unsigned long)counts.repeated, (unsigned long)counts.concealed);
}

int main(int count, char **arguments)
{
    options chosen = {0, 0, 0, 0, 0, 25, 1, 0.0, 0, 0, 0, 0, 1, NULL, NULL};
    session call;
    int result, stage;

    memset(&call, 0, sizeof call);
    if (effigy_abi_version() / 1000 != EFFIGY_ABI_VERSION / 1000) {
        fprintf(stderr, "loopback: made for interface %d, the library has %u\n", EFFIGY_ABI_VERSION, (unsigned)effigy_abi_version());
        return 1;
    }
    if ((result = parse(count, arguments, &chosen)) != 0 || (!chosen.rgb && (result = read_head(&chosen)) != 0)) {
        return result;
    }
    result = set_up(&chosen, &call);
    if (result == 0) {
        result = run(&chosen, &call);
        report(&call);
        report_times(&call.times);
    }
    effigy_encoder_free(call.encoder);
    effigy_decoder_free(call.decoder);
    effigy_identity_free(call.identity);
    effigy_pack_free(call.pack);
    free(call.camera.planes[0]);
    free(call.shown.planes[0]);
    for (stage = 0; stage < STAGES; stage++) {
        free(call.times.taken[stage]);
    }
    if (fflush(stdout) != 0) {
        perror("loopback: output");
        result = 1;
    }
    return result;
}
