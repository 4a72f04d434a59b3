/*
 * What the two elements do, buffer by buffer and event by event, on the pack and the identities that tests/gstreamer.rs writes.
 *
 *     elements CASE PACK IDENTITY OTHER
 *     elements fails PIPELINE
 *
 * Ends with status 0 if the case holds; else with a message. Pictures are 32 x 32 at 25 frames per second. The second form runs a pipeline
 * that must fail and prints its first error; gst-launch-1.0 waits for ever if the error comes before it listens.
 */
#include "harness.h"
#include "network.h"

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

static guint logs_set;
static int32_t log_level;
static effigy_log_fn log_call;

/* Stands before the library's own for the plugin too: a program's symbols come first. */
effigy_status effigy_set_log(effigy_log_fn call, void *user, int32_t level)
{
    (void)user;
    logs_set++;
    log_call = call;
    log_level = level;
    return EFFIGY_STATUS_OK;
}

static void hear(GstDebugCategory *category, GstDebugLevel level, const gchar *file, const gchar *function, gint line, GObject *object,
                 GstDebugMessage *message, gpointer heard)
{
    (void)file, (void)function, (void)line, (void)object;
    if (strcmp(gst_debug_category_get_name(category), "effigy") == 0 && level == GST_LEVEL_WARNING) {
        g_assert_cmpstr(gst_debug_message_get(message), ==, "a word");
        (*(guint *)heard)++;
    }
}

/* A program's own log of the library stays until somebody wants to read it as GStreamer's. */
static void logs(void)
{
    guint round, heard = 0;

    for (round = 0; round < 3; round++) {
        GstHarness *harness;

        if (round == 1) {
            gst_debug_set_threshold_for_name("effigy", GST_LEVEL_WARNING);
        }
        harness = element("effigydec", "");
        g_assert_cmpuint(logs_set, ==, round > 0);
        gst_harness_teardown(harness);
    }
    g_assert_cmpint(log_level, ==, 2);
    gst_debug_add_log_function(hear, &heard, NULL);
    log_call(2, "a word", NULL);
    gst_debug_remove_log_function(hear);
    g_assert_cmpuint(heard, ==, 1);
}

/* What the caps say of the pictures: their side, which the encoder reads from its header; 0 without caps. */
static gint announced(GstHarness *harness)
{
    GstCaps *caps = gst_pad_get_current_caps(harness->sinkpad);
    gint width = 0, height = 0;

    if (caps != NULL) {
        g_assert_true(gst_structure_get(gst_caps_get_structure(caps, 0), "width", G_TYPE_INT, &width, "height", G_TYPE_INT, &height, NULL));
        g_assert_cmpint(width, ==, height);
        gst_caps_unref(caps);
    }
    return width;
}

static void refusals(void)
{
    gchar *tail = g_strdup_printf("name=coder ! capsfilter name=only caps=video/x-effigy,width=%d", SIDE + 1);
    GstHarness *harness = element("effigyenc aligned=true", tail);
    GstCaps *any = gst_caps_new_any(), *caps = gst_caps_from_string(RAW "RGB");
    GstSegment segment;
    GstBuffer *one;

    /* Downstream does not take the packets; then it does, and the same caps come again. */
    (void)gst_harness_push_event(harness, gst_event_new_caps(caps));
    gst_segment_init(&segment, GST_FORMAT_TIME);
    gst_harness_push_event(harness, gst_event_new_segment(&segment));
    g_assert_cmpint(announced(harness), ==, 0);
    g_assert_cmpint(gst_harness_push(harness, picture(0)), ==, GST_FLOW_NOT_NEGOTIATED);
    gst_harness_set(harness, "capsfilter", "caps", any, NULL);
    g_assert_true(gst_harness_push_event(harness, gst_event_new_caps(caps)));
    g_assert_cmpint(announced(harness), ==, SIDE);
    push(harness, picture(0));
    one = gst_harness_pull(harness);
    g_assert_true(GST_BUFFER_FLAG_IS_SET(one, GST_BUFFER_FLAG_HEADER));
    gst_buffer_unref(one);
    one = gst_harness_pull(harness);
    g_assert_true(is_key(one));
    gst_buffer_unref(one);
    expect_none(harness);
    gst_caps_unref(any);
    gst_caps_unref(caps);
    gst_harness_teardown(harness);
    g_free(tail);
}

/* An element that nobody ends: what looks for such things must find it. */
static void forgets(void)
{
    g_assert_nonnull(gst_element_factory_make("effigydec", NULL));
}

static void fails(const char *line)
{
    GstElement *pipeline = gst_parse_launch(line, NULL);
    GError *error = NULL;
    GstMessage *message;
    GstBus *bus;

    g_assert_nonnull(pipeline);
    bus = gst_element_get_bus(pipeline);
    (void)gst_element_set_state(pipeline, GST_STATE_PLAYING);
    message = gst_bus_timed_pop_filtered(bus, GST_CLOCK_TIME_NONE, GST_MESSAGE_ERROR | GST_MESSAGE_EOS);
    g_assert_cmpint(GST_MESSAGE_TYPE(message), ==, GST_MESSAGE_ERROR);
    gst_message_parse_error(message, &error, NULL);
    g_print("%s\n", error->message);
    g_error_free(error);
    gst_message_unref(message);
    g_assert_cmpint(gst_element_set_state(pipeline, GST_STATE_NULL), ==, GST_STATE_CHANGE_SUCCESS);
    gst_object_unref(bus);
    gst_object_unref(pipeline);
}

static const struct {
    const char *name;
    void (*run)(void);
} cases[] = {{"keys", keys},       {"several", several}, {"losses", losses},   {"repeats", repeats}, {"swaps", swaps},
             {"flushes", flushes}, {"layouts", layouts}, {"formats", formats}, {"headers", headers}, {"restarts", restarts},
             {"again", again},     {"changes", changes}, {"forgets", forgets}, {"logs", logs}, {"refusals", refusals}, {"drops", drops}};

int main(int count, char **arguments)
{
    guint number;

    gst_init(NULL, NULL);
    if (count == 3 && strcmp(arguments[1], "fails") == 0) {
        fails(arguments[2]);
        gst_deinit();
        return 0;
    }
    if (count != 5) {
        g_printerr("usage: elements CASE PACK IDENTITY OTHER | elements fails PIPELINE\n");
        return 2;
    }
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
