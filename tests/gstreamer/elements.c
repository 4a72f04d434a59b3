/*
 * What the two elements do, buffer by buffer and event by event, on the pack and the identities that tests/gstreamer.rs writes.
 *
 *     elements CASE PACK IDENTITY OTHER
 *
 * Ends with status 0 if the case holds; else with a message. Pictures are 32 x 32 at 25 frames per second.
 */
#include <string.h>

#include <gst/check/gstharness.h>
#include <gst/video/video.h>

#include "effigy.h"

enum { SIDE = 32 };

#define FRAME (40 * GST_MSECOND)
#define RAW "video/x-raw,width=32,height=32,framerate=25/1,format="

static const char *pack_path, *identity_path, *other_path;

static GstHarness *element(const char *name, const char *more)
{
    gchar *line = g_strdup_printf("%s threads=1 device=1 precision=single pack=%s identity=%s %s", name, pack_path, identity_path, more);
    GstHarness *harness = gst_harness_new_parse(line);

    g_free(line);
    return harness;
}

static guint64 stat_of(GstHarness *harness, const char *field)
{
    GstElement *encoder = gst_harness_find_element(harness, "effigyenc");
    GstStructure *stats = NULL;
    guint64 value = G_MAXUINT64;

    gst_harness_get(harness, encoder != NULL ? "effigyenc" : "effigydec", "stats", &stats, NULL);
    gst_clear_object(&encoder);
    g_assert_nonnull(stats);
    g_assert_true(gst_structure_get_uint64(stats, field, &value));
    gst_structure_free(stats);
    return value;
}

/* A pattern that moves. */
static void paint(guint8 *rgb, gsize stride, guint number)
{
    guint x, y;

    for (y = 0; y < SIDE; y++) {
        for (x = 0; x < SIDE; x++) {
            rgb[y * stride + 3 * x] = (guint8)(8 * x + 5 * number);
            rgb[y * stride + 3 * x + 1] = (guint8)(8 * y);
            rgb[y * stride + 3 * x + 2] = (guint8)(4 * (x + y) + 11 * number);
        }
    }
}

static void stamp(GstBuffer *buffer, guint number)
{
    GST_BUFFER_PTS(buffer) = number * FRAME;
    GST_BUFFER_DURATION(buffer) = FRAME;
}

static GstBuffer *picture(guint number)
{
    guint8 *rgb = g_malloc(3 * SIDE * SIDE);
    GstBuffer *buffer = gst_buffer_new_wrapped(rgb, 3 * SIDE * SIDE);

    paint(rgb, 3 * SIDE, number);
    stamp(buffer, number);
    return buffer;
}

static gboolean is_key(GstBuffer *packet)
{
    return !GST_BUFFER_FLAG_IS_SET(packet, GST_BUFFER_FLAG_DELTA_UNIT);
}

typedef struct {
    GPtrArray *packets;
    GstCaps *caps;
} stream;

/* Moves what has come out to `list`, headers left out. */
static void collect(GstHarness *harness, GPtrArray *list)
{
    GstBuffer *buffer;

    while ((buffer = gst_harness_try_pull(harness)) != NULL) {
        if (GST_BUFFER_FLAG_IS_SET(buffer, GST_BUFFER_FLAG_HEADER)) {
            gst_buffer_unref(buffer);
        } else {
            g_ptr_array_add(list, buffer);
        }
    }
}

static void ask_for_key(GstHarness *harness)
{
    g_assert_true(gst_harness_push_upstream_event(harness, gst_video_event_new_upstream_force_key_unit(GST_CLOCK_TIME_NONE, FALSE, 0)));
}

/* Codes `count` pictures, with a request for a key packet before picture `key_at`. */
static stream encode(const char *more, guint count, guint key_at)
{
    GstHarness *harness = element("effigyenc aligned=true", more);
    stream result;
    guint number;

    result.packets = g_ptr_array_new_with_free_func((GDestroyNotify)gst_buffer_unref);
    gst_harness_set_src_caps_str(harness, RAW "RGB");
    for (number = 0; number < count; number++) {
        if (number == key_at) {
            ask_for_key(harness);
        }
        g_assert_cmpint(gst_harness_push(harness, picture(number)), ==, GST_FLOW_OK);
    }
    gst_harness_push_event(harness, gst_event_new_eos());
    collect(harness, result.packets);
    result.caps = gst_pad_get_current_caps(harness->sinkpad);
    g_assert_cmpuint(stat_of(harness, "frames"), ==, count);
    g_assert_cmpuint(stat_of(harness, "packets"), ==, result.packets->len);
    gst_harness_teardown(harness);
    return result;
}

static GstBuffer *packet(const stream *from, guint number)
{
    g_assert_cmpuint(number, <, from->packets->len);
    return gst_buffer_copy(g_ptr_array_index(from->packets, number));
}

static GstHarness *decoder(const stream *from, const char *more, const char *sink_caps)
{
    GstHarness *harness = element("effigydec", more);

    gst_harness_set_sink_caps_str(harness, sink_caps);
    gst_harness_set_src_caps(harness, gst_caps_ref(from->caps));
    return harness;
}

static void push(GstHarness *harness, GstBuffer *buffer)
{
    g_assert_cmpint(gst_harness_push(harness, buffer), ==, GST_FLOW_OK);
}

/* Takes the next picture, which is that of this frame. */
static GstBuffer *shown(GstHarness *harness, guint number, gboolean made_up)
{
    GstBuffer *buffer = gst_harness_try_pull(harness);

    g_assert_nonnull(buffer);
    g_assert_cmpuint(GST_BUFFER_PTS(buffer), ==, number * FRAME);
    g_assert_cmpuint(GST_BUFFER_DURATION(buffer), ==, FRAME);
    g_assert_cmpint(GST_BUFFER_FLAG_IS_SET(buffer, GST_BUFFER_FLAG_CORRUPTED), ==, made_up);
    return buffer;
}

static void expect(GstHarness *harness, guint number, gboolean made_up)
{
    gst_buffer_unref(shown(harness, number, made_up));
}

static void expect_none(GstHarness *harness)
{
    g_assert_null(gst_harness_try_pull(harness));
}

/* Requests for key packets that have gone upstream. */
static guint requests(GstHarness *harness)
{
    GstEvent *event;
    guint found = 0;

    while ((event = gst_harness_try_pull_upstream_event(harness)) != NULL) {
        found += gst_video_event_is_force_key_unit(event);
        gst_event_unref(event);
    }
    return found;
}

/* GAP events that have gone downstream. */
static guint gaps(GstHarness *harness)
{
    GstEvent *event;
    guint found = 0;

    while ((event = gst_harness_try_pull_event(harness)) != NULL) {
        found += GST_EVENT_TYPE(event) == GST_EVENT_GAP;
        gst_event_unref(event);
    }
    return found;
}

static void push_gap(GstHarness *harness, guint number, guint frames, gboolean missing)
{
    GstEvent *event = gst_event_new_gap(number * FRAME, frames * FRAME);

    gst_event_set_gap_flags(event, missing ? GST_GAP_FLAG_MISSING_DATA : 0);
    g_assert_true(gst_harness_push_event(harness, event));
}

static void end(stream *from)
{
    g_ptr_array_unref(from->packets);
    gst_caps_unref(from->caps);
}

static GstBuffer *header_of(const stream *from)
{
    GstBuffer *header = NULL;

    g_assert_true(gst_structure_get(gst_caps_get_structure(from->caps, 0), "codec_data", GST_TYPE_BUFFER, &header, NULL));
    return header;
}

/* --- the library itself, to compare with --- */

static effigy_decoder *plain_decoder(const stream *from)
{
    effigy_decoder_settings settings;
    effigy_identity *identity = NULL;
    effigy_decoder *made = NULL;
    effigy_pack *pack = NULL;
    GstBuffer *header = header_of(from);
    GstMapInfo mapped;

    effigy_decoder_settings_init(&settings, sizeof settings);
    settings.device = 1;
    settings.precision = 1;
    settings.threads = 1;
    g_assert_cmpint(effigy_pack_load(pack_path, &pack), ==, EFFIGY_STATUS_OK);
    g_assert_cmpint(effigy_identity_load(identity_path, &identity), ==, EFFIGY_STATUS_OK);
    g_assert_cmpint(effigy_decoder_new(pack, identity, &settings, &made), ==, EFFIGY_STATUS_OK);
    g_assert_true(gst_buffer_map(header, &mapped, GST_MAP_READ));
    g_assert_cmpint(effigy_decoder_open(made, mapped.data, mapped.size), ==, EFFIGY_STATUS_OK);
    gst_buffer_unmap(header, &mapped);
    gst_buffer_unref(header);
    effigy_identity_free(identity);
    effigy_pack_free(pack);
    return made;
}

static void plain_send(effigy_decoder *to, GstBuffer *buffer)
{
    GstMapInfo mapped;

    g_assert_true(gst_buffer_map(buffer, &mapped, GST_MAP_READ));
    g_assert_cmpint(effigy_decoder_send(to, mapped.data, mapped.size), ==, EFFIGY_STATUS_OK);
    gst_buffer_unmap(buffer, &mapped);
}

/* Frames that this packet alone gives as received. */
static guint64 alone(const stream *from, guint number)
{
    effigy_decoder *one = plain_decoder(from);
    effigy_decoder_statistics counts = {0};

    plain_send(one, g_ptr_array_index(from->packets, number));
    while (effigy_decoder_receive(one, NULL, NULL) == EFFIGY_STATUS_OK) {
    }
    counts.size = sizeof counts;
    g_assert_cmpint(effigy_decoder_get_statistics(one, &counts), ==, EFFIGY_STATUS_OK);
    effigy_decoder_free(one);
    return counts.received;
}

/* --- cases --- */

static void keys(void)
{
    stream coded = encode("intra-interval=4", 14, 6);
    const guint expected[] = {1, 0, 0, 0, 1, 0, 1, 0, 0, 0, 1, 0, 0, 0};
    guint number;

    g_assert_cmpuint(coded.packets->len, ==, 14);
    for (number = 0; number < 14; number++) {
        GstBuffer *one = g_ptr_array_index(coded.packets, number);

        g_assert_cmpint(is_key(one), ==, (gint)expected[number]);
        g_assert_cmpuint(alone(&coded, number), ==, expected[number]);
        g_assert_cmpuint(GST_BUFFER_PTS(one), ==, number * FRAME);
    }
    end(&coded);
    coded = encode("redundancy=2", 3, 99);
    for (number = 0; number < 3; number++) {
        g_assert_true(is_key(g_ptr_array_index(coded.packets, number)));
        g_assert_cmpuint(alone(&coded, number), >=, 1);
    }
    end(&coded);
}

static void several(void)
{
    /* The request ends the packet that is being filled, so that the next one begins with the frame it was made for. */
    const guint first[] = {0, 3, 5, 8, 11}, frames[] = {3, 2, 3, 3, 1};
    stream coded = encode("frames-per-packet=3 intra-interval=100", 12, 5);
    GstHarness *harness = element("effigyenc aligned=true", "frames-per-packet=3");
    guint number;

    g_assert_cmpuint(coded.packets->len, ==, 5);
    for (number = 0; number < 5; number++) {
        GstBuffer *one = g_ptr_array_index(coded.packets, number);

        g_assert_cmpuint(GST_BUFFER_PTS(one), ==, first[number] * FRAME);
        g_assert_cmpuint(GST_BUFFER_DURATION(one), ==, frames[number] * FRAME);
        g_assert_cmpint(is_key(one), ==, number == 0 || number == 2);
    }
    gst_harness_set_src_caps_str(harness, RAW "RGB");
    g_assert_cmpuint(gst_harness_query_latency(harness), ==, 2 * FRAME);
    gst_harness_teardown(harness);

    harness = decoder(&coded, "", RAW "RGB");
    for (number = 0; number < 5; number++) {
        push(harness, packet(&coded, number));
    }
    for (number = 0; number < 12; number++) {
        expect(harness, number, FALSE);
    }
    expect_none(harness);
    gst_harness_teardown(harness);
    end(&coded);
}

static void losses(void)
{
    stream coded = encode("intra-interval=100", 14, 12);
    GstHarness *harness = decoder(&coded, "", RAW "RGB");
    guint number;

    for (number = 0; number < 5; number++) {
        push(harness, packet(&coded, number));
        expect(harness, number, FALSE);
    }
    g_assert_cmpuint(requests(harness), ==, 0);
    /* 5 and 6 are known to be lost: made up at once, and a key packet is asked for. */
    push_gap(harness, 5, 2, TRUE);
    expect(harness, 5, TRUE);
    expect(harness, 6, TRUE);
    expect_none(harness);
    g_assert_cmpuint(gaps(harness), ==, 0);
    g_assert_cmpuint(requests(harness), ==, 1);
    /* The same news again is no other loss. */
    push_gap(harness, 5, 2, TRUE);
    expect_none(harness);
    /* A pause is none: the news goes on, nothing is made up, until packet 8 shows that 7 is missing. */
    push_gap(harness, 7, 1, FALSE);
    expect_none(harness);
    g_assert_cmpuint(gaps(harness), ==, 1);
    push(harness, packet(&coded, 8));
    expect(harness, 7, TRUE);
    expect(harness, 8, TRUE);
    /* 200 ms after the first request there is another, not before. */
    g_assert_cmpuint(requests(harness), ==, 0);
    push(harness, packet(&coded, 9));
    push(harness, packet(&coded, 10));
    g_assert_cmpuint(requests(harness), ==, 1);
    expect(harness, 9, TRUE);
    expect(harness, 10, TRUE);
    push(harness, packet(&coded, 12));
    expect(harness, 11, TRUE);
    expect(harness, 12, FALSE);
    push(harness, packet(&coded, 13));
    expect(harness, 13, FALSE);
    g_assert_cmpuint(stat_of(harness, "received"), ==, 7);
    g_assert_cmpuint(stat_of(harness, "concealed"), ==, 7);
    g_assert_cmpuint(stat_of(harness, "lost"), ==, 2);
    g_assert_cmpuint(stat_of(harness, "orphans"), ==, 3);
    g_assert_cmpuint(stat_of(harness, "recovered"), ==, 1);
    g_assert_cmpuint(stat_of(harness, "refused"), ==, 0);
    /* Damage is counted and passed over. */
    {
        GstBuffer *damaged = gst_buffer_copy_deep(g_ptr_array_index(coded.packets, 13));

        gst_buffer_memset(damaged, 4, 0x55, 3);
        push(harness, damaged);
    }
    g_assert_cmpuint(stat_of(harness, "refused"), ==, 1);
    expect_none(harness);
    gst_harness_teardown(harness);
    end(&coded);
}

static void repeats(void)
{
    stream coded = encode("redundancy=2", 6, 99);
    GstHarness *harness = decoder(&coded, "conceal-gaps=false", RAW "RGB");

    g_assert_cmpuint(gst_harness_query_latency(harness), ==, FRAME);
    push(harness, packet(&coded, 0));
    push(harness, packet(&coded, 1));
    expect(harness, 0, FALSE);
    expect(harness, 1, FALSE);
    push_gap(harness, 2, 1, TRUE);
    expect_none(harness);
    push(harness, packet(&coded, 3));
    expect(harness, 2, FALSE);
    expect(harness, 3, FALSE);
    g_assert_cmpuint(stat_of(harness, "repeated"), ==, 1);
    g_assert_cmpuint(stat_of(harness, "concealed"), ==, 0);
    g_assert_cmpuint(requests(harness), ==, 0);
    gst_harness_teardown(harness);
    end(&coded);
}

static gboolean equal(GstBuffer *one, GstBuffer *other)
{
    GstMapInfo mapped;
    gboolean result;

    g_assert_true(gst_buffer_map(other, &mapped, GST_MAP_READ));
    result = gst_buffer_get_size(one) == mapped.size && gst_buffer_memcmp(one, 0, mapped.data, mapped.size) == 0;
    gst_buffer_unmap(other, &mapped);
    return result;
}

static void swaps(void)
{
    stream coded = encode("", 4, 99);
    GstHarness *changing = decoder(&coded, "", RAW "RGB"), *plain = decoder(&coded, "", RAW "RGB");
    GstBus *bus = gst_bus_new();
    GstMessage *message;
    guint number;

    gst_element_set_bus(changing->element, bus);
    for (number = 0; number < 4; number++) {
        GstBuffer *one, *other;

        if (number > 0) {
            gst_harness_set(changing, "effigydec", "identity", number == 1 ? other_path : number == 2 ? "/no/such.identity" : identity_path, NULL);
        }
        push(changing, packet(&coded, number));
        push(plain, packet(&coded, number));
        one = shown(changing, number, FALSE);
        other = shown(plain, number, FALSE);
        /* The file that is not there changes nothing. */
        g_assert_cmpint(equal(one, other), ==, number == 0 || number == 3);
        message = gst_bus_pop_filtered(bus, GST_MESSAGE_WARNING | GST_MESSAGE_ERROR);
        g_assert_cmpint(message != NULL, ==, number == 2);
        if (message != NULL) {
            g_assert_cmpint(GST_MESSAGE_TYPE(message), ==, GST_MESSAGE_WARNING);
            gst_message_unref(message);
        }
        gst_buffer_unref(one);
        gst_buffer_unref(other);
    }
    gst_element_set_bus(changing->element, NULL);
    gst_object_unref(bus);
    gst_harness_teardown(changing);
    gst_harness_teardown(plain);
    end(&coded);
}

static void flushes(void)
{
    stream coded = encode("intra-interval=6", 14, 99);
    GstHarness *harness = decoder(&coded, "", RAW "RGB"), *encoder = element("effigyenc aligned=true", "frames-per-packet=2");
    GPtrArray *packets = g_ptr_array_new_with_free_func((GDestroyNotify)gst_buffer_unref);
    GstSegment segment;
    guint number;

    gst_segment_init(&segment, GST_FORMAT_TIME);
    push(harness, packet(&coded, 0));
    push(harness, packet(&coded, 1));
    expect(harness, 0, FALSE);
    expect(harness, 1, FALSE);
    /* A seek: without it, 2 to 11 would be made up. */
    gst_harness_push_event(harness, gst_event_new_flush_start());
    gst_harness_push_event(harness, gst_event_new_flush_stop(TRUE));
    gst_harness_push_event(harness, gst_event_new_segment(&segment));
    push(harness, packet(&coded, 12));
    expect(harness, 12, FALSE);
    expect_none(harness);
    g_assert_cmpuint(stat_of(harness, "received"), ==, 3);
    g_assert_cmpuint(stat_of(harness, "concealed"), ==, 0);
    gst_harness_teardown(harness);
    end(&coded);

    gst_harness_set_src_caps_str(encoder, RAW "RGB");
    for (number = 0; number < 7; number++) {
        if (number == 3) {
            gst_harness_push_event(encoder, gst_event_new_flush_start());
            gst_harness_push_event(encoder, gst_event_new_flush_stop(TRUE));
            gst_harness_push_event(encoder, gst_event_new_segment(&segment));
        }
        push(encoder, picture(number));
    }
    collect(encoder, packets);
    /* 0 1, then 2 is forgotten, 3 4 needs no other, 5 6. */
    g_assert_cmpuint(packets->len, ==, 3);
    g_assert_cmpuint(GST_BUFFER_PTS(g_ptr_array_index(packets, 1)), ==, 3 * FRAME);
    g_assert_true(is_key(g_ptr_array_index(packets, 1)));
    g_assert_false(is_key(g_ptr_array_index(packets, 2)));
    g_ptr_array_unref(packets);
    gst_harness_teardown(encoder);
}

/* The packet that the first picture gives as these bytes with these caps. */
static GstBuffer *first_packet(const char *caps, GstBuffer *buffer)
{
    GstHarness *harness = element("effigyenc", "aligned=true");
    GPtrArray *packets = g_ptr_array_new_with_free_func((GDestroyNotify)gst_buffer_unref);
    GstBuffer *result;

    gst_harness_set_src_caps_str(harness, caps);
    stamp(buffer, 0);
    push(harness, buffer);
    collect(harness, packets);
    g_assert_cmpuint(packets->len, ==, 1);
    result = gst_buffer_ref(g_ptr_array_index(packets, 0));
    g_ptr_array_unref(packets);
    gst_harness_teardown(harness);
    return result;
}

static void layouts(void)
{
    const gsize stride = 3 * SIDE + 20, offset = 64;
    gsize offsets[GST_VIDEO_MAX_PLANES] = {offset};
    gint strides[GST_VIDEO_MAX_PLANES] = {(gint)stride};
    GstBuffer *tight = first_packet(RAW "RGB", picture(3)), *wide, *other;
    guint8 *bytes = g_malloc0(offset + stride * SIDE), rgb[3 * SIDE * SIDE];
    guint at;

    paint(bytes + offset, stride, 3);
    wide = gst_buffer_new_wrapped(bytes, offset + stride * SIDE);
    gst_buffer_add_video_meta_full(wide, 0, GST_VIDEO_FORMAT_RGB, SIDE, SIDE, 1, offsets, strides);
    other = first_packet(RAW "RGB", wide);
    g_assert_true(equal(tight, other));
    gst_buffer_unref(other);

    paint(rgb, 3 * SIDE, 3);
    bytes = g_malloc0(4 * SIDE * SIDE);
    for (at = 0; at < SIDE * SIDE; at++) {
        bytes[4 * at] = rgb[3 * at + 2];
        bytes[4 * at + 1] = rgb[3 * at + 1];
        bytes[4 * at + 2] = rgb[3 * at];
    }
    other = first_packet(RAW "BGRx", gst_buffer_new_wrapped(bytes, 4 * SIDE * SIDE));
    g_assert_true(equal(tight, other));
    gst_buffer_unref(other);
    gst_buffer_unref(tight);

    /* Grey 126 of the limited range is grey 128 of the full one. */
    {
        const gsize size = SIDE * SIDE * 3 / 2;
        guint8 *limited = g_malloc(size), *full = g_malloc(size);

        memset(limited, 128, size);
        memset(full, 128, size);
        memset(limited, 126, SIDE * SIDE);
        tight = first_packet(RAW "I420,colorimetry=bt601", gst_buffer_new_wrapped(limited, size));
        other = first_packet(RAW "I420,colorimetry=1:4:0:0", gst_buffer_new_wrapped(full, size));
        g_assert_true(equal(tight, other));
        gst_buffer_unref(tight);
        gst_buffer_unref(other);
    }
}

static void formats(void)
{
    static const struct {
        const char *caps;
        gint32 format, colour;
        gsize size;
    } kinds[] = {{"format=RGB", EFFIGY_FORMAT_RGB24, 0, 3 * SIDE * SIDE},
                 {"format=RGBA", EFFIGY_FORMAT_RGBA, 0, 4 * SIDE * SIDE},
                 {"format=BGRx", EFFIGY_FORMAT_BGRA, 0, 4 * SIDE * SIDE},
                 {"format=I420", EFFIGY_FORMAT_I420, EFFIGY_COLOUR_BT601, SIDE * SIDE * 3 / 2},
                 {"format=I420,colorimetry=bt709", EFFIGY_FORMAT_I420, EFFIGY_COLOUR_BT709, SIDE * SIDE * 3 / 2},
                 {"format=NV12,colorimetry=bt601", EFFIGY_FORMAT_NV12, EFFIGY_COLOUR_BT601, SIDE * SIDE * 3 / 2}};
    stream coded = encode("", 1, 99);
    guint number;

    for (number = 0; number < G_N_ELEMENTS(kinds); number++) {
        gchar *caps = g_strdup_printf("video/x-raw,%s", kinds[number].caps);
        GstHarness *harness = decoder(&coded, "", caps);
        effigy_decoder *plain = plain_decoder(&coded);
        effigy_picture direct = {0};
        guint8 *bytes = g_malloc0(kinds[number].size);
        GstBuffer *drawn;

        direct.size = sizeof direct;
        direct.format = kinds[number].format;
        direct.colour = kinds[number].colour;
        direct.width = SIDE;
        direct.height = SIDE;
        direct.planes[0] = bytes;
        direct.planes[1] = bytes + SIDE * SIDE;
        direct.planes[2] = bytes + SIDE * SIDE * 5 / 4;
        direct.strides[0] = kinds[number].size / SIDE;
        if (direct.format >= EFFIGY_FORMAT_I420) {
            direct.strides[0] = SIDE;
            direct.strides[1] = direct.format == EFFIGY_FORMAT_I420 ? SIDE / 2 : SIDE;
            direct.strides[2] = SIDE / 2;
        }
        direct.sizes[0] = direct.strides[0] * SIDE;
        direct.sizes[1] = direct.strides[1] * SIDE / 2;
        direct.sizes[2] = direct.strides[2] * SIDE / 2;
        plain_send(plain, g_ptr_array_index(coded.packets, 0));
        g_assert_cmpint(effigy_decoder_receive(plain, &direct, NULL), ==, EFFIGY_STATUS_OK);
        push(harness, packet(&coded, 0));
        drawn = shown(harness, 0, FALSE);
        g_assert_cmpuint(gst_buffer_get_size(drawn), ==, kinds[number].size);
        g_assert_cmpint(gst_buffer_memcmp(drawn, 0, bytes, kinds[number].size), ==, 0);
        gst_buffer_unref(drawn);
        gst_harness_teardown(harness);
        effigy_decoder_free(plain);
        g_free(bytes);
        g_free(caps);
    }
    end(&coded);
}

static void headers(void)
{
    stream coded = encode("repeat-header=true intra-interval=2", 4, 99);
    GstHarness *harness = element("effigydec", "");
    GstBuffer *header = header_of(&coded);
    guint number;

    /* Without codec_data nothing is shown until a header comes; the same one again is passed over. */
    gst_harness_set_sink_caps_str(harness, RAW "RGB");
    gst_harness_set_src_caps_str(harness, "video/x-effigy");
    push(harness, packet(&coded, 0));
    expect_none(harness);
    for (number = 0; number < 4; number++) {
        GstBuffer *bare = gst_buffer_copy_deep(header);

        GST_BUFFER_FLAG_UNSET(bare, GST_BUFFER_FLAG_HEADER);
        push(harness, bare);
        push(harness, packet(&coded, number));
        expect(harness, number, FALSE);
        expect_none(harness);
    }
    g_assert_cmpuint(stat_of(harness, "received"), ==, 4);
    g_assert_cmpuint(stat_of(harness, "refused"), ==, 0);
    gst_harness_teardown(harness);

    /* The encoder sends it before each key packet. */
    harness = element("effigyenc aligned=true", "repeat-header=true intra-interval=2");
    gst_harness_set_src_caps_str(harness, RAW "RGB");
    for (number = 0; number < 4; number++) {
        push(harness, picture(number));
    }
    for (number = 0; number < 6; number++) {
        GstBuffer *one = gst_harness_try_pull(harness);

        g_assert_nonnull(one);
        g_assert_cmpint(equal(one, header), ==, number == 0 || number == 3);
        gst_buffer_unref(one);
    }
    expect_none(harness);
    gst_harness_teardown(harness);
    gst_buffer_unref(header);
    end(&coded);
}

static void restarts(void)
{
    stream coded = encode("intra-interval=100", 16, 8);
    GstHarness *harness = decoder(&coded, "", RAW "RGB");
    guint number;

    for (number = 0; number < 10; number++) {
        push(harness, packet(&coded, number));
        expect(harness, number, FALSE);
    }
    (void)requests(harness);
    /* The sender starts again, with the same header: after three packets that are too late, the stream is taken to be another. */
    for (number = 0; number < 2; number++) {
        GstBuffer *one = packet(&coded, number);

        stamp(one, number + 10);
        push(harness, one);
        expect_none(harness);
    }
    for (number = 2; number < 12; number++) {
        GstBuffer *one = packet(&coded, number);

        stamp(one, number + 10);
        push(harness, one);
        expect(harness, number + 10, number < 8);
    }
    g_assert_cmpuint(requests(harness), >=, 1);
    g_assert_cmpuint(stat_of(harness, "received"), ==, 14);
    g_assert_cmpuint(stat_of(harness, "late"), ==, 3);
    gst_harness_teardown(harness);
    end(&coded);
}

/* Stops the element, whose files and counts end with that, and starts it again. */
static void start_again(GstHarness *harness)
{
    g_assert_cmpint(gst_element_set_state(harness->element, GST_STATE_NULL), ==, GST_STATE_CHANGE_SUCCESS);
    g_assert_cmpint(gst_element_set_state(harness->element, GST_STATE_PLAYING), ==, GST_STATE_CHANGE_SUCCESS);
    gst_harness_push_event(harness, gst_event_new_stream_start("again"));
}

static void again(void)
{
    stream coded = encode("", 3, 99);
    GstHarness *encoder = element("effigyenc aligned=true", ""), *shows = decoder(&coded, "", RAW "RGB");
    GPtrArray *packets = g_ptr_array_new_with_free_func((GDestroyNotify)gst_buffer_unref);
    GstSegment segment;
    guint round, number;

    gst_segment_init(&segment, GST_FORMAT_TIME);
    gst_harness_set_src_caps_str(encoder, RAW "RGB");
    for (round = 0; round < 2; round++) {
        for (number = 0; number < 3; number++) {
            push(encoder, picture(number));
            push(shows, packet(&coded, number));
            expect(shows, number, FALSE);
        }
        g_assert_cmpuint(stat_of(encoder, "packets"), ==, 3);
        g_assert_cmpuint(stat_of(shows, "received"), ==, 3);
        if (round == 0) {
            start_again(encoder);
            start_again(shows);
            gst_harness_set_src_caps_str(encoder, RAW "RGB");
            gst_harness_set_src_caps(shows, gst_caps_ref(coded.caps));
            gst_harness_push_event(encoder, gst_event_new_segment(&segment));
            gst_harness_push_event(shows, gst_event_new_segment(&segment));
        }
    }
    collect(encoder, packets);
    g_assert_cmpuint(packets->len, ==, 6);
    for (number = 0; number < 6; number++) {
        g_assert_true(equal(g_ptr_array_index(packets, number), g_ptr_array_index(coded.packets, number % 3)));
    }
    g_ptr_array_unref(packets);
    gst_harness_teardown(encoder);
    gst_harness_teardown(shows);
    end(&coded);
}

static const struct {
    const char *name;
    void (*run)(void);
} cases[] = {{"keys", keys},       {"several", several}, {"losses", losses},   {"repeats", repeats}, {"swaps", swaps},
             {"flushes", flushes}, {"layouts", layouts}, {"formats", formats}, {"headers", headers}, {"restarts", restarts},
             {"again", again}};

int main(int count, char **arguments)
{
    guint number;

    if (count != 5) {
        g_printerr("usage: elements CASE PACK IDENTITY OTHER\n");
        return 2;
    }
    gst_init(NULL, NULL);
    pack_path = arguments[2];
    identity_path = arguments[3];
    other_path = arguments[4];
    for (number = 0; number < G_N_ELEMENTS(cases); number++) {
        if (strcmp(cases[number].name, arguments[1]) == 0) {
            cases[number].run();
            gst_deinit();
            return 0;
        }
    }
    g_printerr("no case %s\n", arguments[1]);
    return 2;
}
