/*
 * What the two elements share: pictures of GStreamer as pictures of effigy, packs and identities from files, failures in effigy's words
 * on the bus, and the properties that both have.
 */
#ifndef EFFIGY_GST_SHARED_H
#define EFFIGY_GST_SHARED_H

#include <gst/gst.h>
#include <gst/video/video.h>

#include "effigy.h"

G_BEGIN_DECLS

/* Formats that the library reads and writes; it does not read the fourth byte of a pixel and writes 255. */
#define EFFIGY_GST_FORMATS "{ I420, NV12, RGB, RGBA, BGRA, RGBx, BGRx }"

/* One buffer is one packet; codec_data is the header of the stream. */
#define EFFIGY_GST_CAPS "video/x-effigy, width = " GST_VIDEO_SIZE_RANGE ", height = " GST_VIDEO_SIZE_RANGE ", framerate = " GST_VIDEO_FPS_RANGE

/* Where and how to compute, and for whom: properties of both elements. Guarded by the object lock. */
typedef struct {
    gchar *pack, *identity;
    gint device, precision;
    guint threads;
} effigy_gst_common;

/* Numbers of the properties in `effigy_gst_common`; an element's own begin behind them. */
enum {
    EFFIGY_GST_PACK = 1,
    EFFIGY_GST_IDENTITY,
    EFFIGY_GST_DEVICE,
    EFFIGY_GST_PRECISION,
    EFFIGY_GST_THREADS,
    EFFIGY_GST_STATS,
    EFFIGY_GST_OWN
};

/* Adds the shared properties, and `stats`. `swaps`: `identity` may be set while the element plays. */
void effigy_gst_install(GObjectClass *gobject_class, gboolean swaps, const gchar *stats);

/* Sets or gets a shared property other than `stats`; FALSE for another number. With the object lock held. */
gboolean effigy_gst_set(effigy_gst_common *common, guint number, const GValue *value);
gboolean effigy_gst_get(const effigy_gst_common *common, guint number, GValue *value);

/* Loads the files that the properties name. After a failure, which is on the bus, both are NULL. */
gboolean effigy_gst_load(GstElement *element, const effigy_gst_common *common, effigy_pack **pack, effigy_identity **identity);

/* Loads the identity in a file; NULL after a failure, which is on the bus: as an error, or as a warning where the element can go on. */
effigy_identity *effigy_gst_load_identity(GstElement *element, const gchar *path, gboolean fatal);

/* Puts the failure of the last call of this thread on the bus, in the library's words. */
void effigy_gst_fail(GstElement *element, effigy_status status, const gchar *what);
void effigy_gst_warn(GstElement *element, effigy_status status, const gchar *what);

/* The library's words on the last failure of this thread; to be freed. */
gchar *effigy_gst_words(effigy_status status);

/* The library's format of pictures like `info`, and its matrix. A full range, or a matrix that it does not have: FALSE. */
gboolean effigy_gst_layout(const GstVideoInfo *info, gint32 *format, gint32 *colour);

/* Describes the pixels of a mapped frame. `info` is what was negotiated: a frame's own may be larger. FALSE: no layout of the library's. */
gboolean effigy_gst_picture(const GstVideoInfo *info, GstVideoFrame *frame, effigy_picture *picture);

/* Sends the library's log, which is one for the process, to GStreamer's, category `effigy`: once, and only if that is read. */
void effigy_gst_log(void);

GType effigy_gst_enc_get_type(void);
GType effigy_gst_dec_get_type(void);

G_END_DECLS

#endif
