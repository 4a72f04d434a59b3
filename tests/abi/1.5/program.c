/*
 * A program made for version 1.5 of the C interface. It uses every function and every structure of it and checks what they say.
 *
 *     program --layout                             where each member lies, and each constant
 *     program PACK IDENTITY STREAM PACKETS         exit status 0 if every result is as it was
 *
 * STREAM has its identity inside. PACKETS are records with their length before them, 4 bytes big-endian: first the front of a
 * stream of IDENTITY, then at least 8 packets of one frame each. The crops to encode are those that STREAM shows.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "effigy.h"
#include "layout.h"

enum { MOST = 1 << 20, CROPS = 6, PACKETS = 8, TICKS = 3600 };

typedef struct {
    const char *const *paths; /* pack, identity, stream, packets */
    effigy_pack *pack;
    effigy_identity *identity;
    unsigned side;
    unsigned char *crops[CROPS]; /* RGB */
    unsigned char *packets[1 + PACKETS];
    size_t sizes[1 + PACKETS];
} world;

static int wrong;

#define CHECK(what) (void)((what) || (wrong++, fprintf(stderr, "program: line %d: not so: %s\n", __LINE__, #what)))
#define DONE(what) done(what, #what, __LINE__)

static int done(effigy_status status, const char *what, int line)
{
    char message[512] = "";

    if (status == EFFIGY_STATUS_OK) {
        return 1;
    }
    effigy_last_error(message, sizeof message);
    fprintf(stderr, "program: line %d: %s: %s (%s)\n", line, what, effigy_status_text(status), message);
    wrong++;
    return 0;
}

/* Memory of exactly this size, so that a checker of memory sees a byte too many. */
static unsigned char *memory(size_t size)
{
    unsigned char *bytes = malloc(size);

    if (bytes == NULL) {
        fprintf(stderr, "program: no memory\n");
        exit(3);
    }
    return bytes;
}

/* A picture over memory of its own, which `end_picture` frees. Rows lie `gap` bytes further apart than they need. */
static effigy_picture make_picture(int32_t format, unsigned side, size_t gap)
{
    effigy_picture picture;
    size_t half = (side + 1) / 2, rows[3] = {0, 0, 0}, widths[3] = {0, 0, 0};
    int plane;

    memset(&picture, 0, sizeof picture);
    picture.size = sizeof picture;
    picture.format = format;
    picture.colour = EFFIGY_COLOUR_BT709;
    picture.width = picture.height = side;
    rows[0] = side;
    widths[0] = format == EFFIGY_FORMAT_RGB24 ? (size_t)3 * side : format <= EFFIGY_FORMAT_BGRA ? (size_t)4 * side : side;
    if (format == EFFIGY_FORMAT_I420) {
        rows[1] = rows[2] = widths[1] = widths[2] = half;
    } else if (format == EFFIGY_FORMAT_NV12) {
        rows[1] = half;
        widths[1] = 2 * half;
    }
    for (plane = 0; plane < 3 && rows[plane] > 0; plane++) {
        picture.strides[plane] = widths[plane] + gap;
        picture.sizes[plane] = picture.strides[plane] * (rows[plane] - 1) + widths[plane];
        picture.planes[plane] = memory(picture.sizes[plane]);
        memset(picture.planes[plane], 0, picture.sizes[plane]);
    }
    return picture;
}

static void end_picture(effigy_picture *picture)
{
    int plane;

    for (plane = 0; plane < 3; plane++) {
        free(picture->planes[plane]);
    }
}

static unsigned char *read_file(const char *path, size_t *size)
{
    unsigned char *bytes = memory(MOST), *fit;
    FILE *file = fopen(path, "rb");

    if (file == NULL) {
        perror(path);
        exit(3);
    }
    *size = fread(bytes, 1, MOST, file);
    fclose(file);
    fit = memory(*size);
    memcpy(fit, bytes, *size);
    free(bytes);
    return fit;
}

static void read_packets(world *all)
{
    size_t size, at = 0;
    unsigned char *bytes = read_file(all->paths[3], &size);
    int number;

    for (number = 0; number <= PACKETS && at + 4 <= size; number++) {
        const unsigned char *head = bytes + at;
        size_t length = ((size_t)head[0] << 24) | ((size_t)head[1] << 16) | ((size_t)head[2] << 8) | head[3];

        if (length > size - at - 4) {
            break;
        }
        all->packets[number] = memory(length);
        all->sizes[number] = length;
        memcpy(all->packets[number], head + 4, length);
        at += 4 + length;
    }
    CHECK(number == 1 + PACKETS);
    free(bytes);
}

/* --- what needs no handle --- */

static int heard;

static void hear(int32_t level, const char *text, void *user)
{
    CHECK(level >= 1 && level <= 4 && text != NULL && user == &heard);
}

static void check_words(void)
{
    static const int32_t statuses[] = {EFFIGY_STATUS_OK, EFFIGY_STATUS_END, EFFIGY_STATUS_AGAIN, EFFIGY_STATUS_IO, EFFIGY_STATUS_MALFORMED,
                                       EFFIGY_STATUS_UNSUPPORTED, EFFIGY_STATUS_LIMIT, EFFIGY_STATUS_MISUSE, EFFIGY_STATUS_NO_CONTENT,
                                       EFFIGY_STATUS_DEVICE, EFFIGY_STATUS_CANCELLED, EFFIGY_STATUS_PANIC, EFFIGY_STATUS_NULL};
    size_t at, length;
    char text[8];

    CHECK(effigy_abi_version() / 1000 == EFFIGY_ABI_VERSION / 1000 && effigy_abi_version() >= EFFIGY_ABI_VERSION);
    CHECK(strlen(effigy_version()) > 0);
    for (at = 0; at < sizeof statuses / sizeof *statuses; at++) {
        CHECK(strcmp(effigy_status_text(statuses[at]), "unknown status") != 0);
    }
    CHECK(strcmp(effigy_status_text(-12345), "unknown status") == 0);
    CHECK(effigy_set_log(hear, &heard, 99) == EFFIGY_STATUS_MISUSE);
    CHECK(effigy_set_log(hear, &heard, 4) == EFFIGY_STATUS_OK);
    CHECK(effigy_pack_load(NULL, NULL) == EFFIGY_STATUS_NULL);
    length = effigy_last_error(text, sizeof text);
    CHECK(length >= sizeof text && strlen(text) == sizeof text - 1);
}

/* --- files --- */

/* Decodes all, keeps the first frames as crops, and shows the others in the other formats; gives their number. Without keeping: twice as large. */
static unsigned long show_stream(world *all, effigy_stream *stream, int keep)
{
    effigy_stream_properties info;
    effigy_picture picture;
    unsigned long frames = 0;
    effigy_status status;
    int64_t pts = -1;
    unsigned side;
    char text[64];

    if (!keep) {
        DONE(effigy_stream_show_detail(stream));
    }
    memset(&info, 0, sizeof info);
    info.size = sizeof info;
    if (!DONE(effigy_stream_info(stream, &info))) {
        return 0;
    }
    side = info.width;
    if (keep) {
        all->side = side;
    }
    CHECK(side == (keep ? all->side : 2 * all->side));
    CHECK(info.size == sizeof info && info.width == info.height && info.time_base_num == 1 && info.decoded == 0);
    for (; keep && frames < CROPS; frames++) {
        size_t stride = (size_t)3 * side;

        all->crops[frames] = memory(stride * side);
        DONE(effigy_stream_next(stream, all->crops[frames], stride, stride * side, &pts));
    }
    picture = make_picture((int32_t)(keep ? EFFIGY_FORMAT_I420 : EFFIGY_FORMAT_NV12), side, 7);
    picture.width--;
    CHECK(effigy_stream_next_picture(stream, &picture) == EFFIGY_STATUS_MISUSE);
    CHECK(effigy_stream_last_error(stream, text, sizeof text) > 0);
    picture.width++;
    while ((status = effigy_stream_next_picture(stream, &picture)) == EFFIGY_STATUS_OK) {
        CHECK(picture.pts > pts && picture.planes[0][0] >= 16 && picture.planes[1][0] >= 16);
        pts = picture.pts;
        frames++;
    }
    CHECK(status == EFFIGY_STATUS_END);
    end_picture(&picture);
    DONE(effigy_stream_info(stream, &info));
    CHECK(info.frames == frames && info.decoded == frames && info.damaged == 0 && info.lost == 0 && info.concealed == 0);
    return frames;
}

static unsigned long check_files(world *all)
{
    effigy_stream *stream = NULL;
    unsigned long frames[2] = {0, 0};
    size_t size;
    unsigned char *bytes = read_file(all->paths[2], &size);

    CHECK(effigy_stream_open(all->pack, "no-such-stream", &stream) == EFFIGY_STATUS_IO && stream == NULL);
    if (DONE(effigy_stream_open(all->pack, all->paths[2], &stream))) {
        frames[0] = show_stream(all, stream, 1);
        effigy_stream_free(stream);
    }
    if (DONE(effigy_stream_open_memory(all->pack, bytes, size, &stream))) {
        frames[1] = show_stream(all, stream, 0);
        effigy_stream_free(stream);
    }
    free(bytes);
    CHECK(frames[0] == frames[1] && frames[0] > CROPS);
    return frames[0];
}

/* --- persons --- */

static int32_t count_calls(const char *stage, uint64_t done_steps, uint64_t total, void *user)
{
    CHECK(stage != NULL && (total == 0 || done_steps <= total));
    return ++*(int *)user < 0;
}

static void check_identity(world *all)
{
    effigy_identity *copy = NULL;
    unsigned char *bytes, *again;
    size_t length = 0, second = 0;

    if (!DONE(effigy_identity_load(all->paths[1], &all->identity)) ||
        !DONE(effigy_identity_bytes(all->identity, NULL, 0, &length))) {
        return;
    }
    bytes = memory(length);
    again = memory(length);
    CHECK(effigy_identity_bytes(all->identity, bytes, length - 1, &length) == EFFIGY_STATUS_MISUSE);
    DONE(effigy_identity_bytes(all->identity, bytes, length, &length));
    if (DONE(effigy_identity_load_memory(bytes, length, &copy))) {
        DONE(effigy_identity_bytes(copy, again, length, &second));
        CHECK(second == length && memcmp(bytes, again, length) == 0);
        effigy_identity_free(copy);
    }
    CHECK(effigy_identity_load_memory(bytes, length / 2, &copy) < 0 && copy == NULL);
    free(bytes);
    free(again);
}

/* A crop as a picture that an encoder may read. */
static effigy_picture crop_picture(const world *all, int number)
{
    effigy_picture picture = make_picture(EFFIGY_FORMAT_BGRA, all->side, 4);
    unsigned x, y;

    for (y = 0; y < all->side; y++) {
        for (x = 0; x < all->side; x++) {
            const unsigned char *from = all->crops[number] + 3 * ((size_t)y * all->side + x);
            unsigned char *to = picture.planes[0] + y * picture.strides[0] + 4 * (size_t)x;

            to[0] = from[2];
            to[1] = from[1];
            to[2] = from[0];
        }
    }
    picture.pts = (int64_t)number * TICKS;
    return picture;
}

static void check_enrolment(world *all)
{
    effigy_enroller_settings settings;
    effigy_enroller *enroller = NULL;
    effigy_identity *person = NULL;
    int calls = 0, number;
    char text[64];

    DONE(effigy_enroller_settings_init(&settings, sizeof settings));
    CHECK(settings.size == sizeof settings && settings.preset == 1 && settings.aligned == 0 && settings.identity_bytes == 0);
    settings.preset = 0;
    settings.aligned = 1;
    settings.tune_steps = 1;
    settings.threads = 1;
    settings.precision = 1;
    settings.name = "somebody";
    if ((effigy_features() & EFFIGY_FEATURE_ENCODE) == 0) {
        CHECK(effigy_enroller_new(all->pack, &settings, &enroller) == EFFIGY_STATUS_UNSUPPORTED && enroller == NULL);
        return;
    }
    if (!DONE(effigy_enroller_new(all->pack, &settings, &enroller))) {
        return;
    }
    CHECK(effigy_enroller_run(enroller, all->pack, NULL, NULL, &person) == EFFIGY_STATUS_NO_CONTENT && person == NULL);
    CHECK(effigy_enroller_last_error(enroller, text, sizeof text) > 0);
    for (number = 0; number < 2; number++) {
        effigy_picture picture = crop_picture(all, number);

        DONE(effigy_enroller_add(enroller, &picture));
        end_picture(&picture);
    }
    if (DONE(effigy_enroller_run(enroller, all->pack, count_calls, &calls, &person))) {
        CHECK(calls > 0);
        effigy_identity_free(person);
    }
    effigy_enroller_free(enroller);
}

/* --- packets --- */

static effigy_decoder *open_decoder(world *all, const unsigned char *header, size_t size, unsigned detail)
{
    effigy_decoder_settings settings;
    effigy_stream_header_info info;
    effigy_decoder *decoder = NULL;

    DONE(effigy_decoder_settings_init(&settings, sizeof settings));
    CHECK(settings.size == sizeof settings && settings.device == 0 && settings.precision == 0 && settings.threads == 0 && settings.detail == 0);
    settings.device = 1;
    settings.precision = 1;
    settings.threads = 1;
    settings.detail = detail;
    if (!DONE(effigy_decoder_new(all->pack, all->identity, &settings, &decoder))) {
        return NULL;
    }
    memset(&info, 0, sizeof info);
    info.size = sizeof info;
    CHECK(effigy_decoder_info(decoder, &info) == EFFIGY_STATUS_MISUSE);
    DONE(effigy_decoder_open(decoder, header, size));
    DONE(effigy_decoder_info(decoder, &info));
    CHECK(info.size == sizeof info && info.resolution == (detail ? 2 : 1) * all->side && info.camera_width > 0 && info.camera_height > 0);
    CHECK(info.frame_ticks == TICKS && info.time_base_num == 1 && info.time_base_den == 90000);
    return decoder;
}

/* Fetches the frame with this number; `by_clock`: as the one that is due now. */
static void expect_frame(effigy_decoder *decoder, unsigned side, int number, int32_t origin, int by_clock)
{
    effigy_picture picture = make_picture(number % 5, side, 3);
    effigy_frame_info info;

    memset(&info, 0xff, sizeof info);
    info.size = sizeof info;
    DONE(by_clock ? effigy_decoder_play(decoder, &picture, &info) : effigy_decoder_receive(decoder, &picture, &info));
    CHECK(info.size == sizeof info && info.pts == (int64_t)number * TICKS && picture.pts == info.pts);
    CHECK(info.origin == origin && info.has_placement != 0 && info.side > 0.0f && info.x > 0.0f && info.y > 0.0f);
    CHECK(info.roll > -180.0f && info.yaw > -180.0f && info.pitch > -180.0f);
    end_picture(&picture);
}

static effigy_decoder_statistics counts_of(effigy_decoder *decoder)
{
    effigy_decoder_statistics counts;

    memset(&counts, 0xff, sizeof counts);
    counts.size = sizeof counts;
    DONE(effigy_decoder_get_statistics(decoder, &counts));
    CHECK(counts.size == sizeof counts);
    return counts;
}

/* Packets 0 to 5 with number 2 lost, noise and a repetition; flush; reset; then by the clock. */
static void check_decoder(world *all)
{
    effigy_decoder *decoder = open_decoder(all, all->packets[0], all->sizes[0], 0);
    effigy_decoder_statistics counts;
    int32_t wanted = -1;
    int number;
    char text[64];

    if (decoder == NULL) {
        return;
    }
    CHECK(effigy_decoder_receive(decoder, NULL, NULL) == EFFIGY_STATUS_AGAIN);
    for (number = 0; number < 6; number++) {
        if (number == 2) {
            DONE(effigy_decoder_send(decoder, NULL, 0));
        } else {
            DONE(effigy_decoder_send(decoder, all->packets[1 + number], all->sizes[1 + number]));
        }
        if (number == 4) {
            DONE(effigy_decoder_swap_identity(decoder, all->pack, all->identity));
        }
        expect_frame(decoder, all->side, number, number < 2 ? EFFIGY_FRAME_ORIGIN_RECEIVED : EFFIGY_FRAME_ORIGIN_CONCEALED, 0);
    }
    DONE(effigy_decoder_needs_intra(decoder, &wanted));
    CHECK(wanted == 1);
    CHECK(effigy_decoder_send(decoder, (const uint8_t *)"noise", 5) < 0);
    CHECK(effigy_decoder_last_error(decoder, text, sizeof text) > 0);
    DONE(effigy_decoder_send(decoder, all->packets[1], all->sizes[1]));
    counts = counts_of(decoder);
    CHECK(counts.received == 2 && counts.concealed == 4 && counts.repeated == 0 && counts.refused == 1 && counts.waiting == 0);
    CHECK(counts.packets + counts.orphans >= 5 && counts.late + counts.duplicates == 1 && counts.recoveries == 0);
    DONE(effigy_decoder_flush(decoder));
    CHECK(effigy_decoder_receive(decoder, NULL, NULL) == EFFIGY_STATUS_END);
    DONE(effigy_decoder_reset(decoder));
    for (number = 0; number < 2; number++) {
        DONE(effigy_decoder_send(decoder, all->packets[2 - number], all->sizes[2 - number]));
    }
    for (number = 0; number < 3; number++) {
        expect_frame(decoder, all->side, number, number < 2 ? EFFIGY_FRAME_ORIGIN_RECEIVED : EFFIGY_FRAME_ORIGIN_CONCEALED, 1);
    }
    CHECK(counts_of(decoder).received == 2);
    effigy_decoder_free(decoder);
}

/* The first packet, twice as large. */
static void check_detail(world *all)
{
    effigy_decoder *decoder = open_decoder(all, all->packets[0], all->sizes[0], 1);

    if (decoder != NULL) {
        DONE(effigy_decoder_send(decoder, all->packets[1], all->sizes[1]));
        expect_frame(decoder, 2 * all->side, 0, EFFIGY_FRAME_ORIGIN_RECEIVED, 0);
        effigy_decoder_free(decoder);
    }
}

/* Fetches all packets that wait and gives them to the decoder, if there is one. */
static int pass_on(effigy_encoder *encoder, effigy_decoder *decoder)
{
    static unsigned char packet[EFFIGY_MAX_PACKET];
    effigy_status status;
    size_t size = 0;
    int64_t pts = -1;
    int count = 0;

    while ((status = effigy_encoder_receive(encoder, packet, sizeof packet, &size, &pts)) == EFFIGY_STATUS_OK) {
        CHECK(size > 0 && size <= EFFIGY_MAX_PACKET && pts >= 0 && pts % TICKS == 0);
        DONE(effigy_decoder_send(decoder, packet, size));
        count++;
    }
    CHECK(status == EFFIGY_STATUS_AGAIN);
    return count;
}

static int run_encoder(world *all, effigy_encoder *encoder, effigy_decoder *decoder)
{
    unsigned char byte;
    size_t size = 0;
    int number, packets = 0;

    for (number = 0; number < CROPS; number++) {
        effigy_picture picture = crop_picture(all, number);
        float confidence = -1.0f;

        if (number == 3) {
            DONE(effigy_encoder_request_intra(encoder));
        }
        DONE(effigy_encoder_send(encoder, &picture, &confidence));
        CHECK(confidence == 1.0f);
        CHECK(effigy_encoder_send(encoder, &picture, NULL) == EFFIGY_STATUS_MISUSE);
        end_picture(&picture);
        if (number % 2 == 1) {
            CHECK(number > 1 || (effigy_encoder_receive(encoder, &byte, 1, &size, NULL) == EFFIGY_STATUS_MISUSE && size > 1));
            packets += pass_on(encoder, decoder);
        }
    }
    DONE(effigy_encoder_flush(encoder));
    return packets + pass_on(encoder, decoder);
}

/* Crops to packets of up to two frames, and these to frames: all of them are received. Gives the number of packets. */
static int check_encoder(world *all)
{
    effigy_encoder_settings settings;
    effigy_encoder *encoder = NULL;
    effigy_decoder *decoder;
    unsigned char *header;
    size_t length = 0;
    int calls = 0, packets = 0, number;
    char text[64];

    DONE(effigy_encoder_settings_init(&settings, sizeof settings));
    CHECK(settings.size == sizeof settings && settings.time_base_num == 1 && settings.time_base_den == 90000);
    CHECK(settings.frame_ticks == TICKS && settings.frames_per_packet == 1 && settings.redundancy == 0 && settings.aligned == 0);
    CHECK(settings.start_pts == 0 && settings.intra_interval > 0 && settings.quality > 0.0f && settings.smoothing > 0.0f && settings.search_steps == 1 && settings.residual_bytes > 0.0f && settings.frame_budget_us == 0);
    settings.aligned = 1;
    settings.frames_per_packet = 2;
    settings.device = 1;
    settings.precision = 1;
    settings.threads = 1;
    if ((effigy_features() & EFFIGY_FEATURE_ENCODE) == 0) {
        CHECK(effigy_encoder_new(all->pack, all->identity, &settings, NULL, NULL, &encoder) == EFFIGY_STATUS_UNSUPPORTED);
        CHECK(encoder == NULL);
        return 0;
    }
    if (!DONE(effigy_encoder_new(all->pack, all->identity, &settings, count_calls, &calls, &encoder))) {
        return 0;
    }
    CHECK(calls > 0);
    DONE(effigy_encoder_header(encoder, NULL, 0, &length));
    header = memory(length);
    DONE(effigy_encoder_header(encoder, header, length, &length));
    decoder = open_decoder(all, header, length, 0);
    free(header);
    if (decoder != NULL) {
        packets = run_encoder(all, encoder, decoder);
        CHECK(effigy_encoder_last_error(encoder, text, sizeof text) > 0);
        for (number = 0; number < CROPS; number++) {
            expect_frame(decoder, all->side, number, EFFIGY_FRAME_ORIGIN_RECEIVED, 0);
        }
        CHECK(effigy_decoder_receive(decoder, NULL, NULL) == EFFIGY_STATUS_AGAIN);
        effigy_decoder_free(decoder);
    }
    effigy_encoder_free(encoder);
    return packets;
}

int main(int count, char **arguments)
{
    world all;
    unsigned long frames;
    int at, packets;

    if (count == 2 && strcmp(arguments[1], "--layout") == 0) {
        layout_of_settings();
        layout_of_results();
        layout_of_constants();
        return 0;
    }
    if (count != 5) {
        fprintf(stderr, "usage: program PACK IDENTITY STREAM PACKETS\n");
        return 2;
    }
    memset(&all, 0, sizeof all);
    all.paths = (const char *const *)(arguments + 1);
    check_words();
    read_packets(&all);
    if (!DONE(effigy_pack_load(all.paths[0], &all.pack))) {
        return 1;
    }
    frames = check_files(&all);
    check_identity(&all);
    check_decoder(&all);
    check_detail(&all);
    packets = check_encoder(&all);
    check_enrolment(&all);
    DONE(effigy_set_log(NULL, NULL, 0));
    printf("1.5: %lu frames of a file, 6 of packets, %d packets made\n", frames, packets);
    effigy_identity_free(all.identity);
    effigy_pack_free(all.pack);
    effigy_decoder_free(NULL);
    effigy_encoder_free(NULL);
    for (at = 0; at < CROPS; at++) {
        free(all.crops[at]);
    }
    for (at = 0; at <= PACKETS; at++) {
        free(all.packets[at]);
    }
    return wrong > 0;
}
