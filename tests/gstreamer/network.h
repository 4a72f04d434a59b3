/*
 * Cases of elements.c in which packets meet a network: lost ones, headers among them, and senders that start again. Included there alone.
 */
#ifndef EFFIGY_GST_NETWORK_H
#define EFFIGY_GST_NETWORK_H

#include "harness.h"

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
    g_assert_cmpuint(stat_of(harness, "lost"), ==, 1);
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
    /* One loss, though it is told twice before anything fills it. */
    push_gap(harness, 2, 1, TRUE);
    push_gap(harness, 2, 1, TRUE);
    expect_none(harness);
    push(harness, packet(&coded, 3));
    expect(harness, 2, FALSE);
    expect(harness, 3, FALSE);
    /* That frame 3 is lost is no news: it has come. That 4 is lost is. */
    push_gap(harness, 3, 1, TRUE);
    g_assert_cmpuint(stat_of(harness, "lost"), ==, 1);
    push_gap(harness, 4, 1, TRUE);
    g_assert_cmpuint(stat_of(harness, "lost"), ==, 2);
    g_assert_cmpuint(stat_of(harness, "repeated"), ==, 1);
    g_assert_cmpuint(stat_of(harness, "concealed"), ==, 0);
    g_assert_cmpuint(requests(harness), ==, 0);
    gst_harness_teardown(harness);
    end(&coded);
}

typedef struct {
    guint lost, at;
} network;

/* Drops the packets whose bits are set in `lost`; the header is always there, in the caps. */
static GstPadProbeReturn carry(GstPad *pad, GstPadProbeInfo *info, gpointer user)
{
    network *way = user;

    (void)pad;
    if (GST_BUFFER_FLAG_IS_SET(GST_PAD_PROBE_INFO_BUFFER(info), GST_BUFFER_FLAG_HEADER)) {
        return GST_PAD_PROBE_DROP;
    }
    return (way->lost >> way->at++) & 1 ? GST_PAD_PROBE_DROP : GST_PAD_PROBE_OK;
}

static void drops(void)
{
    /* Nothing; single ones; the first three; the last two; up to what is repeated; more than that, made up but for the last two. */
    static const struct {
        guint lost, shown, repeated, concealed;
    } ways[] = {{0x000, 12, 0, 0}, {0x248, 12, 3, 0}, {0x007, 9, 0, 0}, {0xc00, 10, 0, 0}, {0x0d8, 12, 4, 0}, {0x1f0, 12, 2, 3}};
    gchar *line = g_strdup_printf("redundancy=2 ! identity name=way ! effigydec threads=1 device=1 precision=single pack=%s identity=%s",
                                  pack_path, identity_path);
    guint round, number;

    for (round = 0; round < G_N_ELEMENTS(ways); round++) {
        GstHarness *harness = element("effigyenc aligned=true", line);
        GstElement *way = gst_bin_get_by_name(GST_BIN(harness->element), "way");
        GstPad *pad = gst_element_get_static_pad(way, "src");
        network state = {ways[round].lost, 0};
        GstStructure *stats = NULL;

        gst_pad_add_probe(pad, GST_PAD_PROBE_TYPE_BUFFER, carry, &state, NULL);
        gst_harness_set_sink_caps_str(harness, RAW "RGB");
        gst_harness_set_src_caps_str(harness, RAW "RGB");
        for (number = 0; number < 12; number++) {
            push(harness, picture(number));
        }
        g_assert_cmpuint(state.at, ==, 12);
        gst_harness_get(harness, "effigydec", "stats", &stats, NULL);
        g_assert_cmpuint(gst_harness_buffers_in_queue(harness), ==, ways[round].shown);
        g_assert_cmpuint(field_of(stats, "repeated"), ==, ways[round].repeated);
        g_assert_cmpuint(field_of(stats, "concealed"), ==, ways[round].concealed);
        gst_structure_free(stats);
        gst_object_unref(pad);
        gst_object_unref(way);
        gst_harness_teardown(harness);
    }
    g_free(line);
}

/* The stream's header as a network delivers it: without the flag. */
static GstBuffer *bare_header(const stream *from)
{
    GstBuffer *header = header_of(from), *bare = gst_buffer_copy_deep(header);

    GST_BUFFER_FLAG_UNSET(bare, GST_BUFFER_FLAG_HEADER);
    gst_buffer_unref(header);
    return bare;
}

static void headers(void)
{
    stream coded = encode("repeat-header=true intra-interval=2", 4, 99);
    GstHarness *harness = element("effigydec", "");
    GstBuffer *header;
    guint number;

    /* Without codec_data nothing is shown until a header comes; the same one again is passed over. */
    gst_harness_set_sink_caps_str(harness, RAW "RGB");
    gst_harness_set_src_caps_str(harness, "video/x-effigy");
    push(harness, packet(&coded, 0));
    expect_none(harness);
    for (number = 0; number < 4; number++) {
        push(harness, bare_header(&coded));
        push(harness, packet(&coded, number));
        expect(harness, number, FALSE);
        expect_none(harness);
    }
    g_assert_cmpuint(stat_of(harness, "received"), ==, 4);
    g_assert_cmpuint(stat_of(harness, "refused"), ==, 0);
    gst_harness_teardown(harness);

    /* The encoder sends it before each key packet. */
    harness = element("effigyenc aligned=true", "repeat-header=true intra-interval=2");
    header = header_of(&coded);
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

static void changes(void)
{
    stream fine = encode("quality=90", 6, 99), coarse = encode("quality=30", 6, 99);
    GstHarness *harness = element("effigydec", ""), *plain = decoder(&coarse, "", RAW "RGB");
    GstBuffer *damaged = bare_header(&coarse), *one, *other;
    guint number;

    gst_harness_set_sink_caps_str(harness, RAW "RGB");
    gst_harness_set_src_caps_str(harness, "video/x-effigy");
    push(harness, bare_header(&fine));
    for (number = 0; number < 3; number++) {
        push(harness, packet(&fine, number));
        expect(harness, number, FALSE);
    }
    /* A damaged header begins nothing: byte 46 is of the resolution, and the CRC does not hold. */
    gst_buffer_memset(damaged, 46, 0x55, 1);
    push(harness, damaged);
    g_assert_cmpuint(stat_of(harness, "refused"), ==, 1);
    push(harness, packet(&fine, 3));
    expect(harness, 3, FALSE);
    /* The sender starts again with other steps: pictures are those of its packets from the first on. */
    push(harness, bare_header(&coarse));
    for (number = 0; number < 6; number++) {
        GstBuffer *late = packet(&coarse, number);

        stamp(late, number + 4);
        push(harness, late);
        push(plain, packet(&coarse, number));
        one = shown(harness, number + 4, FALSE);
        other = shown(plain, number, FALSE);
        g_assert_true(equal(one, other));
        gst_buffer_unref(one);
        gst_buffer_unref(other);
    }
    expect_none(harness);
    g_assert_cmpuint(stat_of(harness, "received"), ==, 10);
    g_assert_cmpuint(stat_of(harness, "refused"), ==, 1);
    g_assert_cmpuint(stat_of(harness, "late"), ==, 0);
    gst_harness_teardown(harness);
    gst_harness_teardown(plain);
    end(&fine);
    end(&coarse);
}

#endif
