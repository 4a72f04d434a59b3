/*
 * effigydec. In: a buffer per packet, the stream's header in codec_data or as a buffer of its own. Out: raw pictures of the pack's
 * resolution, or of twice as many pixels a side, one per frame, those of lost packets made up.
 *
 * A loss shows in two ways. Upstream may tell of it by a GAP event with the flag for missing data; it is filled at once. Or the next
 * packet shows by its number that some are missing; then they are filled before its own frames.
 */
#include "decoder.h"

GST_DEBUG_CATEGORY_EXTERN(effigydec_debug);
#define GST_CAT_DEFAULT effigydec_debug

/* Longest gap that is filled, frames: the limit that the library has for gaps in files. */
enum { MOST_CONCEALED = 250 };

/* Packets in a row that are too late or too far ahead, after which the stream is taken to have begun anew. */
enum { MOST_ASTRAY = 3 };

/* Longest distance of two frames that is believed. */
#define LONGEST_FRAME (3600 * GST_SECOND)

/* --- making and ending --- */

gboolean effigy_gst_dec_start(GstVideoDecoder *base)
{
    GstEffigyDec *self = EFFIGY_GST_DEC(base);
    effigy_decoder_settings settings;
    effigy_status status;

    effigy_gst_log();
    if (!effigy_gst_load(GST_ELEMENT(self), &self->common, &self->pack, &self->identity)) {
        return FALSE;
    }
    (void)effigy_decoder_settings_init(&settings, sizeof settings);
    GST_OBJECT_LOCK(self);
    settings.device = self->common.device;
    settings.precision = self->common.precision;
    settings.threads = self->common.threads;
    settings.detail = self->detail ? 1 : 0;
    self->swap_wanted = FALSE;
    memset(&self->counted, 0, sizeof self->counted);
    memset(&self->before, 0, sizeof self->before);
    self->lost = 0;
    GST_OBJECT_UNLOCK(self);
    status = effigy_decoder_new(self->pack, self->identity, &settings, &self->decoder);
    if (status != EFFIGY_STATUS_OK) {
        effigy_gst_fail(GST_ELEMENT(self), status, "decoder");
        (void)effigy_gst_dec_stop(base);
    }
    return status == EFFIGY_STATUS_OK;
}

void effigy_gst_dec_forget_time(GstEffigyDec *self)
{
    self->anchor_pts = GST_CLOCK_TIME_NONE;
    self->next_pts = GST_CLOCK_TIME_NONE;
    self->told_until = GST_CLOCK_TIME_NONE;
    g_clear_pointer(&self->spare, gst_video_codec_frame_unref);
}

gboolean effigy_gst_dec_stop(GstVideoDecoder *base)
{
    GstEffigyDec *self = EFFIGY_GST_DEC(base);

    effigy_gst_dec_forget_time(self);
    effigy_decoder_free(self->decoder);
    effigy_identity_free(self->identity);
    effigy_pack_free(self->pack);
    self->decoder = NULL;
    self->identity = NULL;
    self->pack = NULL;
    gst_clear_buffer(&self->header);
    g_clear_pointer(&self->input, gst_video_codec_state_unref);
    return TRUE;
}

/* --- statistics --- */

void effigy_gst_dec_add(effigy_decoder_statistics *sum, const effigy_decoder_statistics *more)
{
    sum->packets += more->packets;
    sum->late += more->late;
    sum->duplicates += more->duplicates;
    sum->orphans += more->orphans;
    sum->refused += more->refused;
    sum->received += more->received;
    sum->repeated += more->repeated;
    sum->concealed += more->concealed;
    sum->recoveries += more->recoveries;
}

/* Takes the library's counts over for the property, and returns the frames that are due. */
static guint64 count(GstEffigyDec *self)
{
    effigy_decoder_statistics now = {0};

    now.size = sizeof now;
    if (effigy_decoder_get_statistics(self->decoder, &now) != EFFIGY_STATUS_OK) {
        return 0;
    }
    GST_OBJECT_LOCK(self);
    self->counted = now;
    GST_OBJECT_UNLOCK(self);
    return now.waiting;
}

/* The library's counts, which have just been taken over, begin anew. */
static void count_anew(GstEffigyDec *self)
{
    GST_OBJECT_LOCK(self);
    effigy_gst_dec_add(&self->before, &self->counted);
    memset(&self->counted, 0, sizeof self->counted);
    GST_OBJECT_UNLOCK(self);
}

/* --- the format of the pictures --- */

/* Usual distance of two frames; 0 if the header tells none that is of use. */
static GstClockTime frame_duration(const GstEffigyDec *self)
{
    const guint64 ticks = (guint64)self->info.frame_ticks * self->info.time_base_num;
    const GstClockTime duration = gst_util_uint64_scale_round(GST_SECOND, ticks, self->info.time_base_den);

    return duration <= LONGEST_FRAME ? duration : 0;
}

/* Whether pictures with this colorimetry may go downstream. */
static gboolean takes(GstCaps *allowed, GstVideoFormat format, const gchar *colorimetry)
{
    GstCaps *caps = gst_caps_new_simple("video/x-raw", "format", G_TYPE_STRING, gst_video_format_to_string(format), NULL);
    gboolean result;

    if (colorimetry != NULL) {
        gst_caps_set_simple(caps, "colorimetry", G_TYPE_STRING, colorimetry, NULL);
    }
    result = gst_caps_can_intersect(allowed, caps);
    gst_caps_unref(caps);
    return result;
}

gboolean effigy_gst_dec_choose_output(GstEffigyDec *self)
{
    GstVideoDecoder *base = GST_VIDEO_DECODER(self);
    GstCaps *allowed = gst_pad_get_allowed_caps(GST_VIDEO_DECODER_SRC_PAD(base));
    GstVideoFormat format = GST_VIDEO_FORMAT_I420;
    const gchar *colorimetry = GST_VIDEO_COLORIMETRY_BT601;
    GstVideoCodecState *output;

    if (allowed != NULL && !gst_caps_is_empty(allowed)) {
        GstCaps *first = gst_caps_fixate(gst_caps_copy_nth(allowed, 0));
        const gchar *name = gst_structure_get_string(gst_caps_get_structure(first, 0), "format");

        format = name != NULL ? gst_video_format_from_string(name) : format;
        gst_caps_unref(first);
    }
    if (format != GST_VIDEO_FORMAT_I420 && format != GST_VIDEO_FORMAT_NV12) {
        colorimetry = GST_VIDEO_COLORIMETRY_SRGB;
    } else if (allowed != NULL && !takes(allowed, format, colorimetry) && takes(allowed, format, GST_VIDEO_COLORIMETRY_BT709)) {
        colorimetry = GST_VIDEO_COLORIMETRY_BT709;
    }
    gst_clear_caps(&allowed);
    output = gst_video_decoder_set_output_state(base, format, self->info.resolution, self->info.resolution, self->input);
    if (output == NULL) {
        return FALSE;
    }
    (void)gst_video_colorimetry_from_string(&output->info.colorimetry, colorimetry);
    output->info.chroma_site = GST_VIDEO_CHROMA_SITE_UNKNOWN;
    output->info.par_n = 1;
    output->info.par_d = 1;
    if (output->info.fps_n == 0 && frame_duration(self) > 0) {
        const guint64 num = self->info.time_base_den, den = (guint64)self->info.time_base_num * self->info.frame_ticks;
        const guint64 common = (guint64)gst_util_greatest_common_divisor_int64((gint64)num, (gint64)den);

        if (num / common <= G_MAXINT && den / common <= G_MAXINT) {
            output->info.fps_n = (gint)(num / common);
            output->info.fps_d = (gint)(den / common);
        }
    }
    self->picture = output->info;
    gst_video_codec_state_unref(output);
    return TRUE;
}

static gboolean same(GstBuffer *one, GstBuffer *other)
{
    GstMapInfo mapped;
    gboolean result = FALSE;

    if (gst_buffer_get_size(one) == gst_buffer_get_size(other) && gst_buffer_map(one, &mapped, GST_MAP_READ)) {
        result = gst_buffer_memcmp(other, 0, mapped.data, mapped.size) == 0;
        gst_buffer_unmap(one, &mapped);
    }
    return result;
}

/* Begins the stream with this header, unless it has begun with it already. */
static effigy_status open_stream(GstEffigyDec *self, GstBuffer *header)
{
    GstVideoDecoder *base = GST_VIDEO_DECODER(self);
    effigy_status status = EFFIGY_STATUS_OK;
    GstClockTime wait;
    GstMapInfo mapped;

    if (self->header != NULL && same(self->header, header)) {
        return status;
    }
    if (!gst_buffer_map(header, &mapped, GST_MAP_READ)) {
        return EFFIGY_STATUS_NO_CONTENT;
    }
    (void)count(self);
    self->info.size = sizeof self->info;
    if ((status = effigy_decoder_open(self->decoder, mapped.data, mapped.size)) == EFFIGY_STATUS_OK) {
        count_anew(self);
        status = effigy_decoder_info(self->decoder, &self->info);
    }
    gst_buffer_unmap(header, &mapped);
    if (status != EFFIGY_STATUS_OK) {
        return status;
    }
    gst_buffer_replace(&self->header, header);
    effigy_gst_dec_forget_time(self);
    self->astray = 0;
    GST_OBJECT_LOCK(self);
    wait = self->conceal_gaps ? 0 : frame_duration(self);
    GST_OBJECT_UNLOCK(self);
    gst_video_decoder_set_latency(base, wait, wait);
    return effigy_gst_dec_choose_output(self) ? status : EFFIGY_STATUS_MISUSE;
}

gboolean effigy_gst_dec_set_format(GstVideoDecoder *base, GstVideoCodecState *state)
{
    GstEffigyDec *self = EFFIGY_GST_DEC(base);
    effigy_status status;

    g_clear_pointer(&self->input, gst_video_codec_state_unref);
    self->input = gst_video_codec_state_ref(state);
    if (state->codec_data == NULL) {
        GST_INFO_OBJECT(self, "no codec_data: the stream's header is expected as a buffer");
        return TRUE;
    }
    status = open_stream(self, state->codec_data);
    if (status != EFFIGY_STATUS_OK) {
        effigy_gst_fail(GST_ELEMENT(self), status, "header in codec_data");
    }
    return status == EFFIGY_STATUS_OK;
}

/* --- pictures --- */

/* When the frame with this time stamp is to be shown. */
static GstClockTime place(const GstEffigyDec *self, gint64 ticks)
{
    const guint64 num = (guint64)self->info.time_base_num * GST_SECOND, den = self->info.time_base_den;
    guint64 distance;

    if (!GST_CLOCK_TIME_IS_VALID(self->anchor_pts)) {
        return GST_CLOCK_TIME_NONE;
    }
    if (ticks < self->anchor_ticks) {
        distance = gst_util_uint64_scale_round((guint64)self->anchor_ticks - (guint64)ticks, num, den);
        return distance < self->anchor_pts ? self->anchor_pts - distance : 0;
    }
    distance = gst_util_uint64_scale_round((guint64)ticks - (guint64)self->anchor_ticks, num, den);
    return distance < G_MAXINT64 - MIN(self->anchor_pts, G_MAXINT64) ? self->anchor_pts + distance : GST_CLOCK_TIME_NONE;
}

/* Sets when a frame is shown. The first frame of a packet that came is shown at the packet's time, which may be NONE. */
static void set_time(GstEffigyDec *self, GstVideoCodecFrame *frame, const effigy_frame_info *info, GstClockTime *packet)
{
    const GstClockTime duration = frame_duration(self);

    if (GST_CLOCK_TIME_IS_VALID(*packet) &&
        (info->origin == EFFIGY_FRAME_ORIGIN_RECEIVED || !GST_CLOCK_TIME_IS_VALID(self->anchor_pts))) {
        self->anchor_ticks = info->pts;
        self->anchor_pts = *packet;
        *packet = GST_CLOCK_TIME_NONE;
    }
    frame->pts = place(self, info->pts);
    frame->duration = duration > 0 ? duration : GST_CLOCK_TIME_NONE;
    if (GST_CLOCK_TIME_IS_VALID(frame->pts)) {
        /* Not before the frame that came before it, which may have been made up for a later time than it had. */
        if (GST_CLOCK_TIME_IS_VALID(self->next_pts) && frame->pts + duration < self->next_pts) {
            frame->pts = self->next_pts - duration;
        }
        self->next_pts = frame->pts + duration;
    }
}

/* Draws the frame that is due next; NULL in `*buffer` for one that is too late to be drawn. */
static effigy_status draw(GstEffigyDec *self, gboolean late, GstBuffer **buffer, effigy_frame_info *info)
{
    GstVideoDecoder *base = GST_VIDEO_DECODER(self);
    effigy_status status = EFFIGY_STATUS_CANCELLED;
    effigy_picture picture;
    GstVideoFrame mapped;

    info->size = sizeof *info;
    *buffer = NULL;
    if (late) {
        return effigy_decoder_receive(self->decoder, NULL, info);
    }
    *buffer = gst_video_decoder_allocate_output_buffer(base);
    if (*buffer == NULL || !gst_video_frame_map(&mapped, &self->picture, *buffer, GST_MAP_READWRITE)) {
        gst_clear_buffer(buffer);
        return status;
    }
    if (effigy_gst_picture(&self->picture, &mapped, &picture)) {
        status = effigy_decoder_receive(self->decoder, &picture, info);
    }
    gst_video_frame_unmap(&mapped);
    if (status != EFFIGY_STATUS_OK) {
        gst_clear_buffer(buffer);
    }
    return status;
}

/*
 * Hands out the frames that are due, all as `frame`, which stays the caller's: the base class takes a frame's picture and times when it is
 * finished, and may be given it again with others.
 */
static GstFlowReturn show(GstEffigyDec *self, GstVideoCodecFrame *frame, GstClockTime packet)
{
    GstVideoDecoder *base = GST_VIDEO_DECODER(self);
    const gboolean late = gst_video_decoder_get_max_decode_time(base, frame) < 0;
    GstFlowReturn flow = GST_FLOW_OK;
    guint64 left;

    for (left = count(self); left > 0 && flow == GST_FLOW_OK; left--) {
        effigy_frame_info info = {0};
        GstBuffer *buffer;
        const effigy_status status = draw(self, late, &buffer, &info);

        if (status == EFFIGY_STATUS_AGAIN || status == EFFIGY_STATUS_END) {
            break;
        }
        if (status != EFFIGY_STATUS_OK) {
            if (GST_PAD_IS_FLUSHING(GST_VIDEO_DECODER_SRC_PAD(base))) {
                return GST_FLOW_FLUSHING;
            }
            if (status != EFFIGY_STATUS_CANCELLED) {
                effigy_gst_fail(GST_ELEMENT(self), status, "receive a frame");
                return GST_FLOW_ERROR;
            }
            return gst_pad_has_current_caps(GST_VIDEO_DECODER_SRC_PAD(base)) ? GST_FLOW_ERROR : GST_FLOW_NOT_NEGOTIATED;
        }
        set_time(self, frame, &info, &packet);
        gst_clear_buffer(&frame->output_buffer);
        GST_VIDEO_CODEC_FRAME_FLAG_UNSET(frame, GST_VIDEO_CODEC_FRAME_FLAG_CORRUPTED);
        if (info.origin == EFFIGY_FRAME_ORIGIN_CONCEALED) {
            GST_VIDEO_CODEC_FRAME_FLAG_SET(frame, GST_VIDEO_CODEC_FRAME_FLAG_CORRUPTED);
        }
        gst_video_codec_frame_ref(frame);
        if (buffer == NULL) {
            flow = gst_video_decoder_drop_frame(base, frame);
        } else {
            frame->output_buffer = buffer;
            self->drawn = TRUE;
            flow = gst_video_decoder_finish_frame(base, frame);
            self->drawn = FALSE;
        }
    }
    (void)count(self);
    return flow;
}

/* Asks upstream for a packet that needs no other, if only that ends a gap or brings back a residual. */
static void request(GstEffigyDec *self, GstVideoCodecFrame *frame)
{
    int32_t wanted = 0;

    if (effigy_decoder_needs_intra(self->decoder, &wanted) == EFFIGY_STATUS_OK && wanted) {
        gst_video_decoder_request_sync_point(GST_VIDEO_DECODER(self), frame, 0);
    }
}

/* --- packets --- */

/* Starts the stream anew at the next packet. */
static void reset(GstEffigyDec *self)
{
    if (self->decoder != NULL && self->header != NULL) {
        (void)count(self);
        count_anew(self);
        (void)effigy_decoder_reset(self->decoder);
    }
    self->anchor_pts = GST_CLOCK_TIME_NONE;
    self->astray = 0;
}

/* Gives a packet to the library. One that is refused, whatever for, is counted and passed over. */
static effigy_status take(GstEffigyDec *self, GstBuffer *buffer)
{
    const gboolean jump = GST_BUFFER_IS_DISCONT(buffer);
    effigy_status status;
    GstMapInfo mapped;
    guint64 late, later;

    GST_OBJECT_LOCK(self);
    late = self->counted.late;
    GST_OBJECT_UNLOCK(self);
    if (!gst_buffer_map(buffer, &mapped, GST_MAP_READ)) {
        return EFFIGY_STATUS_NO_CONTENT;
    }
    status = effigy_decoder_send(self->decoder, mapped.data, mapped.size);
    (void)count(self);
    GST_OBJECT_LOCK(self);
    later = self->counted.late;
    GST_OBJECT_UNLOCK(self);
    if ((status == EFFIGY_STATUS_LIMIT && mapped.size <= EFFIGY_MAX_PACKET) || (status == EFFIGY_STATUS_OK && later > late)) {
        self->astray++;
        if (self->astray >= MOST_ASTRAY || (jump && status == EFFIGY_STATUS_LIMIT)) {
            GST_INFO_OBJECT(self, "the stream goes on elsewhere");
            reset(self);
            status = effigy_decoder_send(self->decoder, mapped.data, mapped.size);
        }
    } else if (status == EFFIGY_STATUS_OK) {
        self->astray = 0;
    }
    gst_buffer_unmap(buffer, &mapped);
    return status;
}

/* Shows another person if the property asks for it. */
static void swap(GstEffigyDec *self)
{
    effigy_identity *identity;
    effigy_status status;
    gchar *path;

    GST_OBJECT_LOCK(self);
    path = self->swap_wanted ? g_strdup(self->common.identity) : NULL;
    self->swap_wanted = FALSE;
    GST_OBJECT_UNLOCK(self);
    if (path == NULL) {
        return;
    }
    if ((identity = effigy_gst_load_identity(GST_ELEMENT(self), path, FALSE)) != NULL) {
        status = effigy_decoder_swap_identity(self->decoder, self->pack, identity);
        if (status != EFFIGY_STATUS_OK) {
            effigy_gst_warn(GST_ELEMENT(self), status, "show another person");
        }
        effigy_identity_free(identity);
    }
    g_free(path);
}

/* Whether a buffer begins as headers do. No packet does: that begins with the kind of its record, docs/bitstream.md. */
static gboolean begins_stream(GstBuffer *buffer)
{
    static const guint8 magic[] = {0x89, 0x45, 0x46, 0x47, 0x59, 0x0d, 0x0a, 0x1a};

    return gst_buffer_memcmp(buffer, 0, magic, sizeof magic) == 0;
}

/*
 * Whether a buffer is no packet but the stream's header, which is then taken. Networks lose the flag, and a sender that starts again may
 * have another header. A damaged one is counted as a packet that is refused.
 */
static gboolean take_header(GstEffigyDec *self, GstBuffer *buffer, GstFlowReturn *flow)
{
    effigy_status status;

    if (self->header != NULL && !GST_BUFFER_FLAG_IS_SET(buffer, GST_BUFFER_FLAG_HEADER) && !begins_stream(buffer)) {
        return FALSE;
    }
    status = open_stream(self, buffer);
    if (status == EFFIGY_STATUS_MALFORMED && self->header != NULL) {
        return FALSE;
    }
    if (status != EFFIGY_STATUS_OK && status != EFFIGY_STATUS_MALFORMED) {
        effigy_gst_fail(GST_ELEMENT(self), status, "header");
        *flow = GST_FLOW_ERROR;
    } else if (status != EFFIGY_STATUS_OK) {
        GST_WARNING_OBJECT(self, "no header yet, and this buffer is none");
    }
    return TRUE;
}

GstFlowReturn effigy_gst_dec_handle_frame(GstVideoDecoder *base, GstVideoCodecFrame *frame)
{
    GstEffigyDec *self = EFFIGY_GST_DEC(base);
    GstFlowReturn flow = GST_FLOW_OK;
    effigy_status status;
    gchar *words;

    if (take_header(self, frame->input_buffer, &flow)) {
        gst_video_decoder_release_frame(base, frame);
        return flow;
    }
    swap(self);
    status = take(self, frame->input_buffer);
    if (status == EFFIGY_STATUS_PANIC) {
        effigy_gst_fail(GST_ELEMENT(self), status, "decode");
        flow = GST_FLOW_ERROR;
    } else if (status != EFFIGY_STATUS_OK) {
        words = effigy_gst_words(status);
        GST_INFO_OBJECT(self, "packet refused: %s", words);
        g_free(words);
    }
    if (flow == GST_FLOW_OK) {
        flow = show(self, frame, frame->pts);
        request(self, frame);
    }
    g_clear_pointer(&self->spare, gst_video_codec_frame_unref);
    self->spare = gst_video_codec_frame_ref(frame);
    /* For a frame that was never finished, and its events; else it only gives up the reference. */
    gst_video_decoder_release_frame(base, frame);
    return flow;
}

/* Whether frames before `end` are missing that have not come, been made up or been told of. */
static gboolean is_loss(GstEffigyDec *self, GstClockTime end, GstClockTime frame)
{
    if ((GST_CLOCK_TIME_IS_VALID(self->next_pts) && end <= self->next_pts + frame / 2) ||
        (GST_CLOCK_TIME_IS_VALID(self->told_until) && end <= self->told_until + frame / 2)) {
        return FALSE;
    }
    self->told_until = end;
    return TRUE;
}

/* Fills a gap that upstream knows to be a loss; TRUE, which sends the news on, if it stays open. */
gboolean effigy_gst_dec_handle_missing_data(GstVideoDecoder *base, GstClockTime from, GstClockTime duration)
{
    GstEffigyDec *self = EFFIGY_GST_DEC(base);
    const GstClockTime frame = self->header != NULL ? frame_duration(self) : 0;
    const GstClockTime end = from + (GST_CLOCK_TIME_IS_VALID(duration) ? duration : frame);
    const gboolean loss = end >= from && is_loss(self, end, frame);
    GstClockTime begun;
    gboolean wanted;

    GST_OBJECT_LOCK(self);
    wanted = self->conceal_gaps;
    self->lost += loss;
    GST_OBJECT_UNLOCK(self);
    if (!wanted || self->spare == NULL || frame == 0 || !GST_CLOCK_TIME_IS_VALID(self->next_pts)) {
        return TRUE;
    }
    begun = self->next_pts;
    if (end < from || (end > begun && (end - begun) / frame > MOST_CONCEALED)) {
        return TRUE;
    }
    self->spare->deadline = gst_segment_to_running_time(&base->input_segment, GST_FORMAT_TIME, begun);
    while (self->next_pts + frame / 2 < end) {
        const GstClockTime last = self->next_pts;

        if (effigy_decoder_send(self->decoder, NULL, 0) != EFFIGY_STATUS_OK ||
            show(self, self->spare, GST_CLOCK_TIME_NONE) != GST_FLOW_OK || self->next_pts <= last) {
            break;
        }
    }
    request(self, self->spare);
    self->filled = TRUE;
    return FALSE;
}

gboolean effigy_gst_dec_flush(GstVideoDecoder *base)
{
    GstEffigyDec *self = EFFIGY_GST_DEC(base);

    reset(self);
    effigy_gst_dec_forget_time(self);
    return TRUE;
}
