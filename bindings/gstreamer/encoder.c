/*
 * effigyenc. In: raw pictures from a camera, or upright crops. Out: a buffer per packet, whose duration is that of its frames; the
 * stream's header in codec_data and streamheader, and as a first buffer of its own.
 *
 * Which packets need no other is not told by the library, so the element decides itself: it asks for each such packet and lets the
 * library choose none.
 */
#include "encoder.h"

GST_DEBUG_CATEGORY_EXTERN(effigyenc_debug);
#define GST_CAT_DEFAULT effigyenc_debug

/* Ticks in a second, at least about: fine enough for the clock of a camera. */
enum { USUAL_TICKS = 90000, USUAL_RATE = 25 };

/* --- making and ending --- */

gboolean effigy_gst_enc_start(GstVideoEncoder *base)
{
    GstEffigyEnc *self = EFFIGY_GST_ENC(base);

    effigy_gst_log();
    if (!effigy_gst_load(GST_ELEMENT(self), &self->common, &self->pack, &self->identity)) {
        return FALSE;
    }
    GST_OBJECT_LOCK(self);
    memset(&self->counted, 0, sizeof self->counted);
    GST_OBJECT_UNLOCK(self);
    return TRUE;
}

static void end_encoder(GstEffigyEnc *self)
{
    effigy_encoder_free(self->encoder);
    self->encoder = NULL;
    gst_clear_buffer(&self->header);
    g_clear_pointer(&self->converter, gst_video_converter_free);
    self->pending = 0;
}

gboolean effigy_gst_enc_stop(GstVideoEncoder *base)
{
    GstEffigyEnc *self = EFFIGY_GST_ENC(base);

    end_encoder(self);
    effigy_identity_free(self->identity);
    effigy_pack_free(self->pack);
    self->identity = NULL;
    self->pack = NULL;
    return TRUE;
}

/* Stops the work when the element is shut down meanwhile. */
static int32_t tell_progress(const char *stage, uint64_t done, uint64_t total, void *user)
{
    GstVideoEncoder *base = user;

    GST_DEBUG_OBJECT(base, "%s: %" G_GUINT64_FORMAT " of %" G_GUINT64_FORMAT, stage, (guint64)done, (guint64)total);
    return GST_PAD_IS_FLUSHING(GST_VIDEO_ENCODER_SINK_PAD(base));
}

/* A tick such that the usual distance of two frames is a whole number of them. */
static void choose_ticks(GstEffigyEnc *self)
{
    const guint64 num = (guint64)MAX(GST_VIDEO_INFO_FPS_N(&self->input), 0), den = (guint64)MAX(GST_VIDEO_INFO_FPS_D(&self->input), 1);
    guint64 ticks, tick_den, common;

    self->tick_num = 1;
    self->tick_den = USUAL_TICKS;
    self->frame_ticks = USUAL_TICKS / USUAL_RATE;
    if (num == 0) {
        return;
    }
    ticks = MAX((USUAL_TICKS * den + num / 2) / num, 1);
    tick_den = num * ticks;
    common = (guint64)gst_util_greatest_common_divisor_int64((gint64)den, (gint64)tick_den);
    if (ticks <= G_MAXINT32 && tick_den / common <= G_MAXUINT32) {
        self->tick_num = (guint32)(den / common);
        self->tick_den = (guint32)(tick_den / common);
        self->frame_ticks = (guint32)ticks;
    }
}

static effigy_status make_encoder(GstEffigyEnc *self)
{
    effigy_encoder_settings settings;
    effigy_status status = effigy_encoder_settings_init(&settings, sizeof settings);

    if (status != EFFIGY_STATUS_OK) {
        return status;
    }
    GST_OBJECT_LOCK(self);
    self->used = self->chosen;
    settings.device = self->common.device;
    settings.precision = self->common.precision;
    settings.threads = self->common.threads;
    GST_OBJECT_UNLOCK(self);
    settings.camera_width = (guint32)GST_VIDEO_INFO_WIDTH(&self->input);
    settings.camera_height = (guint32)GST_VIDEO_INFO_HEIGHT(&self->input);
    settings.time_base_num = self->tick_num;
    settings.time_base_den = self->tick_den;
    settings.frame_ticks = self->frame_ticks;
    settings.quality = self->used.quality;
    settings.redundancy = self->used.redundancy;
    settings.frames_per_packet = self->used.frames_per_packet;
    settings.intra_interval = G_MAXUINT32;
    settings.aligned = self->used.aligned;
    settings.inline_identity = self->used.inline_identity;
    settings.smoothing = self->used.smoothing;
    settings.search_steps = self->used.search_steps;
    settings.frame_budget_us = self->used.frame_budget;
    settings.residual_bytes = self->used.residual_bytes;
    self->base_pts = GST_CLOCK_TIME_NONE;
    self->since_key = 0;
    self->key_wanted = TRUE;
    return effigy_encoder_new(self->pack, self->identity, &settings, tell_progress, self, &self->encoder);
}

/* The header as a buffer, and the side of the pictures it announces, a u16 with the low byte first: "Header" in docs/bitstream.md. */
static effigy_status read_header(GstEffigyEnc *self, guint32 *side)
{
    enum { SIDE_AT = 46, SIDE_BYTES = 2 };
    effigy_status status;
    size_t length = 0;
    guint8 *bytes;

    if ((status = effigy_encoder_header(self->encoder, NULL, 0, &length)) != EFFIGY_STATUS_OK) {
        return status;
    }
    bytes = g_malloc(length);
    status = effigy_encoder_header(self->encoder, bytes, length, &length);
    if (status == EFFIGY_STATUS_OK && length < SIDE_AT + SIDE_BYTES) {
        status = EFFIGY_STATUS_MALFORMED;
    }
    if (status != EFFIGY_STATUS_OK) {
        g_free(bytes);
        return status;
    }
    *side = GST_READ_UINT16_LE(bytes + SIDE_AT);
    self->header = gst_buffer_new_wrapped(bytes, length);
    GST_BUFFER_FLAG_SET(self->header, GST_BUFFER_FLAG_HEADER);
    return status;
}

/* Has the base class send the header before the next packet. */
static void send_header(GstEffigyEnc *self)
{
    gst_video_encoder_set_headers(GST_VIDEO_ENCODER(self), g_list_append(NULL, gst_buffer_ref(self->header)));
}

/* Says downstream what the packets are. */
static gboolean announce(GstEffigyEnc *self, GstVideoCodecState *input, guint32 side)
{
    GstVideoEncoder *base = GST_VIDEO_ENCODER(self);
    GstCaps *caps = gst_caps_new_empty_simple("video/x-effigy");
    GValue headers = G_VALUE_INIT, header = G_VALUE_INIT;
    GstVideoCodecState *output;
    GstClockTime frame;

    g_value_init(&headers, GST_TYPE_ARRAY);
    g_value_init(&header, GST_TYPE_BUFFER);
    gst_value_set_buffer(&header, self->header);
    gst_value_array_append_and_take_value(&headers, &header);
    gst_structure_take_value(gst_caps_get_structure(caps, 0), "streamheader", &headers);
    output = gst_video_encoder_set_output_state(base, caps, input);
    /* The pictures that come out of the packets, not those of the camera. */
    output->info.width = (gint)side;
    output->info.height = (gint)side;
    output->info.par_n = 1;
    output->info.par_d = 1;
    output->info.chroma_site = GST_VIDEO_CHROMA_SITE_UNKNOWN;
    memset(&output->info.colorimetry, 0, sizeof output->info.colorimetry);
    output->codec_data = gst_buffer_ref(self->header);
    gst_video_codec_state_unref(output);
    send_header(self);
    frame = gst_util_uint64_scale(GST_SECOND, (guint64)self->frame_ticks * self->tick_num, self->tick_den);
    gst_video_encoder_set_latency(base, (self->used.frames_per_packet - 1) * frame, (self->used.frames_per_packet - 1) * frame);
    return gst_video_encoder_negotiate(base);
}

static void choose_converter(GstEffigyEnc *self)
{
    gint32 format, colour;

    g_clear_pointer(&self->converter, gst_video_converter_free);
    if (!effigy_gst_layout(&self->input, &format, &colour)) {
        GST_INFO_OBJECT(self, "full range, or an unusual matrix: pictures are converted to RGB first");
        gst_video_info_set_format(&self->rgb, GST_VIDEO_FORMAT_RGB, (guint)self->input.width, (guint)self->input.height);
        self->rgb.fps_n = self->input.fps_n;
        self->rgb.fps_d = self->input.fps_d;
        self->converter = gst_video_converter_new(&self->input, &self->rgb, NULL);
    }
}

static GstFlowReturn end_packet(GstEffigyEnc *self);

/* Makes the encoder for these pictures, and announces its packets. */
static gboolean begin(GstEffigyEnc *self, GstVideoCodecState *state)
{
    effigy_status status;
    guint32 side = 0;

    choose_ticks(self);
    choose_converter(self);
    status = make_encoder(self);
    if (status == EFFIGY_STATUS_OK) {
        status = read_header(self, &side);
    }
    if (status != EFFIGY_STATUS_OK && status != EFFIGY_STATUS_CANCELLED) {
        effigy_gst_fail(GST_ELEMENT(self), status, "encoder");
    }
    return status == EFFIGY_STATUS_OK && announce(self, state, side);
}

/* After a failure there is no encoder: the next caps, also equal ones, make a new one and announce it. */
gboolean effigy_gst_enc_set_format(GstVideoEncoder *base, GstVideoCodecState *state)
{
    GstEffigyEnc *self = EFFIGY_GST_ENC(base);
    const GstVideoInfo before = self->input, *now = &state->info;
    const gboolean ended = end_packet(self) == GST_FLOW_OK;

    self->input = *now;
    if (ended && self->encoder != NULL && before.width == now->width && before.height == now->height && before.fps_n == now->fps_n &&
        before.fps_d == now->fps_d) {
        choose_converter(self);
        return TRUE;
    }
    end_encoder(self);
    if (!ended || !begin(self, state)) {
        end_encoder(self);
        return FALSE;
    }
    return TRUE;
}

/* --- packets --- */

/* Hands out a packet as the first of the frames that are in it; the others are done with it. */
static GstFlowReturn hand_out(GstEffigyEnc *self, const guint8 *packet, gsize size)
{
    GstVideoEncoder *base = GST_VIDEO_ENCODER(self);
    GList *all = gst_video_encoder_get_frames(base), *at;
    GstVideoCodecFrame *first = NULL, *last = NULL;
    GstFlowReturn flow = GST_FLOW_OK, done;
    guint number;

    for (at = all, number = 0; at != NULL && number < self->pending; at = at->next, number++) {
        first = first == NULL ? at->data : first;
        last = at->data;
    }
    if (first != NULL) {
        first->output_buffer = gst_buffer_new_memdup(packet, size);
        if (GST_CLOCK_TIME_IS_VALID(last->pts) && GST_CLOCK_TIME_IS_VALID(last->duration) && GST_CLOCK_TIME_IS_VALID(first->pts)) {
            first->duration = last->pts + last->duration - first->pts;
        }
        if (self->key) {
            GST_VIDEO_CODEC_FRAME_SET_SYNC_POINT(first);
        }
        if (self->key && self->used.repeat_header) {
            send_header(self);
        }
        GST_OBJECT_LOCK(self);
        self->counted.packets++;
        self->counted.key_packets += self->key;
        self->counted.bytes += size;
        GST_OBJECT_UNLOCK(self);
    }
    for (at = all, number = 0; at != NULL; at = at->next, number++) {
        if (number < self->pending) {
            done = gst_video_encoder_finish_frame(base, gst_video_codec_frame_ref(at->data));
            flow = flow == GST_FLOW_OK ? done : flow;
        }
        gst_video_codec_frame_unref(at->data);
    }
    g_list_free(all);
    self->since_key = (self->key ? 0 : self->since_key) + self->pending;
    self->pending = 0;
    return flow;
}

static GstFlowReturn hand_out_all(GstEffigyEnc *self)
{
    GstFlowReturn flow = GST_FLOW_OK;
    guint8 packet[EFFIGY_MAX_PACKET];
    effigy_status status = EFFIGY_STATUS_OK;
    size_t size;

    while (flow == GST_FLOW_OK && (status = effigy_encoder_receive(self->encoder, packet, sizeof packet, &size, NULL)) == EFFIGY_STATUS_OK) {
        flow = hand_out(self, packet, size);
    }
    if (status != EFFIGY_STATUS_OK && status != EFFIGY_STATUS_AGAIN) {
        effigy_gst_fail(GST_ELEMENT(self), status, "receive a packet");
        return GST_FLOW_ERROR;
    }
    return flow;
}

/* Hands out the packet that is being filled, with what it has. */
static GstFlowReturn end_packet(GstEffigyEnc *self)
{
    effigy_status status;

    if (self->encoder == NULL || self->pending == 0) {
        return GST_FLOW_OK;
    }
    if ((status = effigy_encoder_flush(self->encoder)) != EFFIGY_STATUS_OK) {
        effigy_gst_fail(GST_ELEMENT(self), status, "end a packet");
        return GST_FLOW_ERROR;
    }
    return hand_out_all(self);
}

/* --- frames --- */

/* Time stamps in ticks rise whatever those of the pictures do; the first is 0. */
static gint64 choose_time(GstEffigyEnc *self, GstClockTime pts)
{
    gint64 ticks;

    if (!GST_CLOCK_TIME_IS_VALID(self->base_pts)) {
        self->base_pts = GST_CLOCK_TIME_IS_VALID(pts) ? pts : 0;
        self->base_ticks = 0;
        self->last_ticks = -1;
    }
    if (GST_CLOCK_TIME_IS_VALID(pts) && pts >= self->base_pts) {
        ticks = self->base_ticks +
                (gint64)gst_util_uint64_scale_round(pts - self->base_pts, self->tick_den, (guint64)self->tick_num * GST_SECOND);
        if (ticks > self->last_ticks) {
            return ticks;
        }
    }
    /* No time stamp, or one that went back: the next place in the usual distance, from which time goes on. */
    ticks = self->last_ticks < 0 ? 0 : self->last_ticks + self->frame_ticks;
    if (GST_CLOCK_TIME_IS_VALID(pts)) {
        self->base_pts = pts;
        self->base_ticks = ticks;
    }
    return ticks;
}

/* Whether the packet that begins now shall need no other, and the request for that. */
static effigy_status begin_packet(GstEffigyEnc *self)
{
    if (self->used.redundancy > 0) {
        /* What is repeated is what such packets predict from, so none needs another: docs/bitstream.md. */
        self->key = TRUE;
        /* A residual may be missing all the same. */
        return self->key_wanted ? effigy_encoder_request_intra(self->encoder) : EFFIGY_STATUS_OK;
    }
    self->key = self->key_wanted || self->since_key + self->used.frames_per_packet > self->used.intra_interval;
    return self->key ? effigy_encoder_request_intra(self->encoder) : EFFIGY_STATUS_OK;
}

static effigy_status code_picture(GstEffigyEnc *self, const GstVideoInfo *info, GstBuffer *buffer, GstClockTime pts, gfloat *confidence)
{
    effigy_status status = EFFIGY_STATUS_MISUSE;
    effigy_picture picture;
    GstVideoFrame mapped;

    if (!gst_video_frame_map(&mapped, info, buffer, GST_MAP_READ)) {
        GST_ELEMENT_ERROR(self, STREAM, FORMAT, ("a picture cannot be mapped"), (NULL));
        return EFFIGY_STATUS_CANCELLED;
    }
    if (effigy_gst_picture(info, &mapped, &picture)) {
        picture.pts = choose_time(self, pts);
        status = self->pending == 0 ? begin_packet(self) : EFFIGY_STATUS_OK;
        if (status == EFFIGY_STATUS_OK) {
            status = effigy_encoder_send(self->encoder, &picture, confidence);
        }
        self->last_ticks = status == EFFIGY_STATUS_OK ? picture.pts : self->last_ticks;
    } else {
        GST_ELEMENT_ERROR(self, STREAM, FORMAT, ("a picture has planes of no known layout"), (NULL));
        status = EFFIGY_STATUS_CANCELLED;
    }
    gst_video_frame_unmap(&mapped);
    return status;
}

/* As code_picture, for pictures that have to be converted first. */
static effigy_status convert_picture(GstEffigyEnc *self, GstBuffer *buffer, GstClockTime pts, gfloat *confidence)
{
    GstBuffer *rgb = gst_buffer_new_allocate(NULL, GST_VIDEO_INFO_SIZE(&self->rgb), NULL);
    effigy_status status = EFFIGY_STATUS_CANCELLED;
    GstVideoFrame from, to;

    if (rgb != NULL && gst_video_frame_map(&from, &self->input, buffer, GST_MAP_READ)) {
        if (gst_video_frame_map(&to, &self->rgb, rgb, GST_MAP_WRITE)) {
            gst_video_converter_frame(self->converter, &from, &to);
            gst_video_frame_unmap(&to);
            status = EFFIGY_STATUS_OK;
        }
        gst_video_frame_unmap(&from);
    }
    if (status == EFFIGY_STATUS_OK) {
        status = code_picture(self, &self->rgb, rgb, pts, confidence);
    } else {
        GST_ELEMENT_ERROR(self, STREAM, FORMAT, ("a picture cannot be converted to RGB"), (NULL));
    }
    gst_clear_buffer(&rgb);
    return status;
}

GstFlowReturn effigy_gst_enc_handle_frame(GstVideoEncoder *base, GstVideoCodecFrame *frame)
{
    GstEffigyEnc *self = EFFIGY_GST_ENC(base);
    GstFlowReturn flow = GST_FLOW_OK;
    gfloat confidence = 0.0f;
    effigy_status status;

    if (self->encoder == NULL) {
        gst_video_codec_frame_unref(frame);
        return GST_FLOW_NOT_NEGOTIATED;
    }
    if (GST_VIDEO_CODEC_FRAME_IS_FORCE_KEYFRAME(frame)) {
        flow = end_packet(self);
        self->key_wanted = TRUE;
    }
    if (flow != GST_FLOW_OK) {
        gst_video_codec_frame_unref(frame);
        return flow;
    }
    status = self->converter != NULL ? convert_picture(self, frame->input_buffer, frame->pts, &confidence)
                                     : code_picture(self, &self->input, frame->input_buffer, frame->pts, &confidence);
    GST_OBJECT_LOCK(self);
    self->counted.frames++;
    self->counted.no_face += status == EFFIGY_STATUS_NO_CONTENT;
    self->counted.confidence = confidence;
    GST_OBJECT_UNLOCK(self);
    if (status == EFFIGY_STATUS_NO_CONTENT) {
        GST_DEBUG_OBJECT(self, "no face has been seen yet");
        return gst_video_encoder_finish_frame(base, frame);
    }
    /* The base class keeps it until its packet is out. */
    gst_video_codec_frame_unref(frame);
    if (status != EFFIGY_STATUS_OK) {
        if (status != EFFIGY_STATUS_CANCELLED) {
            effigy_gst_fail(GST_ELEMENT(self), status, "encode");
        }
        return GST_FLOW_ERROR;
    }
    self->key_wanted = FALSE;
    self->pending++;
    return hand_out_all(self);
}

GstFlowReturn effigy_gst_enc_finish(GstVideoEncoder *base)
{
    return end_packet(EFFIGY_GST_ENC(base));
}

/* Forgets the packet that is being filled; receivers begin anew, so the next one needs no other. */
gboolean effigy_gst_enc_flush(GstVideoEncoder *base)
{
    GstEffigyEnc *self = EFFIGY_GST_ENC(base);
    guint8 packet[EFFIGY_MAX_PACKET];
    size_t size;

    if (self->encoder != NULL) {
        (void)effigy_encoder_flush(self->encoder);
        while (effigy_encoder_receive(self->encoder, packet, sizeof packet, &size, NULL) == EFFIGY_STATUS_OK) {
        }
    }
    self->pending = 0;
    self->key_wanted = TRUE;
    return TRUE;
}
