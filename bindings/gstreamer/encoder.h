/* effigyenc: see encoder.c for what it does and encoder_class.c for its properties. */
#ifndef EFFIGY_GST_ENCODER_H
#define EFFIGY_GST_ENCODER_H

#include "shared.h"

G_BEGIN_DECLS

typedef struct {
    gboolean aligned, inline_identity, repeat_header;
    gfloat quality, smoothing, residual_bytes;
    guint redundancy, frames_per_packet, intra_interval, search_steps, frame_budget;
} effigy_gst_choices;

typedef struct {
    guint64 frames, no_face, packets, key_packets, bytes;
    gfloat confidence;
} effigy_gst_sent;

typedef struct {
    GstVideoEncoder parent;

    /* Guarded by the object lock. */
    effigy_gst_common common;
    effigy_gst_choices chosen;
    effigy_gst_sent counted;

    /* Guarded by the stream lock from here on. `used` is what `chosen` was when the encoder was made. */
    effigy_gst_choices used;
    effigy_pack *pack;
    effigy_identity *identity;
    effigy_encoder *encoder;
    GstBuffer *header;
    GstVideoInfo input, rgb;
    /* For pictures that the library cannot read as they are. */
    GstVideoConverter *converter;

    guint32 tick_num, tick_den, frame_ticks;
    /* The picture at `base_pts` has the time stamp `base_ticks`. */
    GstClockTime base_pts;
    gint64 base_ticks, last_ticks;

    /* Frames in the packet that is being filled, whether it needs no other, and frames since the last such packet began. */
    guint pending;
    gboolean key;
    gboolean key_wanted;
    guint64 since_key;
} GstEffigyEnc;

#define EFFIGY_GST_ENC(object) ((GstEffigyEnc *)(object))

/* Methods of the base class. */
gboolean effigy_gst_enc_start(GstVideoEncoder *base);
gboolean effigy_gst_enc_stop(GstVideoEncoder *base);
gboolean effigy_gst_enc_set_format(GstVideoEncoder *base, GstVideoCodecState *state);
GstFlowReturn effigy_gst_enc_handle_frame(GstVideoEncoder *base, GstVideoCodecFrame *frame);
GstFlowReturn effigy_gst_enc_finish(GstVideoEncoder *base);
gboolean effigy_gst_enc_flush(GstVideoEncoder *base);

G_END_DECLS

#endif
