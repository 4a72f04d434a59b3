/* effigydec: see decoder.c for what it does and decoder_class.c for its properties. */
#ifndef EFFIGY_GST_DECODER_H
#define EFFIGY_GST_DECODER_H

#include "shared.h"

G_BEGIN_DECLS

typedef struct {
    GstVideoDecoder parent;

    /* Guarded by the object lock. `counted` is what the library counts, `before` its sums up to the last reset; `lost`: losses that
     * upstream told of. */
    effigy_gst_common common;
    gboolean conceal_gaps, detail, swap_wanted;
    effigy_decoder_statistics counted, before;
    guint64 lost;

    /* Guarded by the stream lock from here on. */
    effigy_pack *pack;
    effigy_identity *identity;
    effigy_decoder *decoder;
    /* The header of the stream that was opened; NULL before. */
    GstBuffer *header;
    effigy_stream_header_info info;
    GstVideoInfo picture;
    GstVideoCodecState *input;
    /* Whether a picture has been drawn and not handed out. */
    gboolean drawn;
    /* Whether the gap that upstream has just told of is filled. */
    gboolean filled;
    guint astray;

    /* The frame with the time stamp `anchor_ticks` is shown at `anchor_pts`; the next one is expected at `next_pts`. */
    gint64 anchor_ticks;
    GstClockTime anchor_pts, next_pts;
    /* End of the last loss that upstream told of. */
    GstClockTime told_until;
    /* The last packet, as which pictures without a packet are handed out. */
    GstVideoCodecFrame *spare;
} GstEffigyDec;

#define EFFIGY_GST_DEC(object) ((GstEffigyDec *)(object))

/* Adds the counts of one time to those of the times before. */
void effigy_gst_dec_add(effigy_decoder_statistics *sum, const effigy_decoder_statistics *more);

/* Chooses the format that downstream prefers, and a matrix that it takes, for the stream that was opened. */
gboolean effigy_gst_dec_choose_output(GstEffigyDec *self);

/* Time begins anew with the next packet. */
void effigy_gst_dec_forget_time(GstEffigyDec *self);

/* Methods of the base class. */
gboolean effigy_gst_dec_start(GstVideoDecoder *base);
gboolean effigy_gst_dec_stop(GstVideoDecoder *base);
gboolean effigy_gst_dec_set_format(GstVideoDecoder *base, GstVideoCodecState *state);
GstFlowReturn effigy_gst_dec_handle_frame(GstVideoDecoder *base, GstVideoCodecFrame *frame);
gboolean effigy_gst_dec_handle_missing_data(GstVideoDecoder *base, GstClockTime from, GstClockTime duration);
gboolean effigy_gst_dec_flush(GstVideoDecoder *base);

G_END_DECLS

#endif
