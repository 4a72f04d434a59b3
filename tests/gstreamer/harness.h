/* What the cases of elements.c share: elements in a harness, pictures in, packets between, what comes out, and the library beside them. */
#ifndef EFFIGY_GST_HARNESS_H
#define EFFIGY_GST_HARNESS_H

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

static guint64 field_of(const GstStructure *stats, const char *field)
{
    guint64 value = G_MAXUINT64;

    g_assert_nonnull(stats);
    g_assert_true(gst_structure_get_uint64(stats, field, &value));
    return value;
}

static guint64 stat_of(GstHarness *harness, const char *field)
{
    GstElement *encoder = gst_harness_find_element(harness, "effigyenc");
    GstStructure *stats = NULL;
    guint64 value;

    gst_harness_get(harness, encoder != NULL ? "effigyenc" : "effigydec", "stats", &stats, NULL);
    gst_clear_object(&encoder);
    value = field_of(stats, field);
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

static gboolean equal(GstBuffer *one, GstBuffer *other)
{
    GstMapInfo mapped;
    gboolean result;

    g_assert_true(gst_buffer_map(other, &mapped, GST_MAP_READ));
    result = gst_buffer_get_size(one) == mapped.size && gst_buffer_memcmp(one, 0, mapped.data, mapped.size) == 0;
    gst_buffer_unmap(other, &mapped);
    return result;
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

#endif
