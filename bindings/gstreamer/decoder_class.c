/* The class of effigydec: its pads, its events, its properties and its statistics. */
#include "decoder.h"

GST_DEBUG_CATEGORY(effigydec_debug);

enum { PROPERTY_CONCEAL_GAPS = EFFIGY_GST_OWN, PROPERTY_DETAIL };

/* Time between two requests for a packet that needs no other, unless the property of the base class says otherwise. */
#define REQUEST_INTERVAL (200 * GST_MSECOND)

typedef struct {
    GstVideoDecoderClass parent_class;
} GstEffigyDecClass;

static GstStaticPadTemplate sink_template =
    GST_STATIC_PAD_TEMPLATE("sink", GST_PAD_SINK, GST_PAD_ALWAYS, GST_STATIC_CAPS("video/x-effigy"));
static GstStaticPadTemplate src_template =
    GST_STATIC_PAD_TEMPLATE("src", GST_PAD_SRC, GST_PAD_ALWAYS, GST_STATIC_CAPS(GST_VIDEO_CAPS_MAKE(EFFIGY_GST_FORMATS)));

G_DEFINE_TYPE(GstEffigyDec, effigy_gst_dec, GST_TYPE_VIDEO_DECODER)

static gboolean negotiate(GstVideoDecoder *base)
{
    GstEffigyDec *self = EFFIGY_GST_DEC(base);

    if (self->drawn) {
        /* Too late for a picture that is there already; the next one may have another format. */
        gst_pad_mark_reconfigure(GST_VIDEO_DECODER_SRC_PAD(base));
    } else if (self->header != NULL && !effigy_gst_dec_choose_output(self)) {
        return FALSE;
    }
    return GST_VIDEO_DECODER_CLASS(effigy_gst_dec_parent_class)->negotiate(base);
}

static gboolean sink_event(GstVideoDecoder *base, GstEvent *event)
{
    GstEffigyDec *self = EFFIGY_GST_DEC(base);
    const gboolean gap = GST_EVENT_TYPE(event) == GST_EVENT_GAP;
    gboolean result;

    if (GST_EVENT_TYPE(event) == GST_EVENT_SEGMENT || GST_EVENT_TYPE(event) == GST_EVENT_STREAM_START) {
        GST_VIDEO_DECODER_STREAM_LOCK(base);
        effigy_gst_dec_forget_time(self);
        GST_VIDEO_DECODER_STREAM_UNLOCK(base);
    }
    GST_VIDEO_DECODER_STREAM_LOCK(base);
    self->filled = FALSE;
    GST_VIDEO_DECODER_STREAM_UNLOCK(base);
    result = GST_VIDEO_DECODER_CLASS(effigy_gst_dec_parent_class)->sink_event(base, event);
    /* The base class takes the news of a gap that is filled as refused; it has freed the event. */
    GST_VIDEO_DECODER_STREAM_LOCK(base);
    result = result || (gap && self->filled);
    GST_VIDEO_DECODER_STREAM_UNLOCK(base);
    return result;
}

static GstStructure *statistics(GstEffigyDec *self)
{
    effigy_decoder_statistics all = self->before;

    effigy_gst_dec_add(&all, &self->counted);
    return gst_structure_new("effigydec-stats", "packets", G_TYPE_UINT64, all.packets, "lost", G_TYPE_UINT64, self->lost, "late", G_TYPE_UINT64,
                             all.late, "duplicates", G_TYPE_UINT64, all.duplicates, "orphans", G_TYPE_UINT64, all.orphans, "refused",
                             G_TYPE_UINT64, all.refused, "received", G_TYPE_UINT64, all.received, "repeated", G_TYPE_UINT64, all.repeated,
                             "concealed", G_TYPE_UINT64, all.concealed, "recovered", G_TYPE_UINT64, all.recoveries, NULL);
}

static void set_property(GObject *object, guint number, const GValue *value, GParamSpec *spec)
{
    GstEffigyDec *self = EFFIGY_GST_DEC(object);

    GST_OBJECT_LOCK(self);
    if (number == PROPERTY_CONCEAL_GAPS) {
        self->conceal_gaps = g_value_get_boolean(value);
    } else if (number == PROPERTY_DETAIL) {
        self->detail = g_value_get_boolean(value);
    } else if (!effigy_gst_set(&self->common, number, value)) {
        G_OBJECT_WARN_INVALID_PROPERTY_ID(object, number, spec);
    }
    /* What is set before the element starts is the stream's own identity. */
    self->swap_wanted = self->swap_wanted || number == EFFIGY_GST_IDENTITY;
    GST_OBJECT_UNLOCK(self);
}

static void get_property(GObject *object, guint number, GValue *value, GParamSpec *spec)
{
    GstEffigyDec *self = EFFIGY_GST_DEC(object);

    GST_OBJECT_LOCK(self);
    if (number == EFFIGY_GST_STATS) {
        g_value_take_boxed(value, statistics(self));
    } else if (number == PROPERTY_CONCEAL_GAPS) {
        g_value_set_boolean(value, self->conceal_gaps);
    } else if (number == PROPERTY_DETAIL) {
        g_value_set_boolean(value, self->detail);
    } else if (!effigy_gst_get(&self->common, number, value)) {
        G_OBJECT_WARN_INVALID_PROPERTY_ID(object, number, spec);
    }
    GST_OBJECT_UNLOCK(self);
}

static void finalize(GObject *object)
{
    GstEffigyDec *self = EFFIGY_GST_DEC(object);

    g_free(self->common.pack);
    g_free(self->common.identity);
    G_OBJECT_CLASS(effigy_gst_dec_parent_class)->finalize(object);
}

static void effigy_gst_dec_class_init(GstEffigyDecClass *class)
{
    GstElementClass *element_class = GST_ELEMENT_CLASS(class);
    GstVideoDecoderClass *base_class = GST_VIDEO_DECODER_CLASS(class);
    GObjectClass *gobject_class = G_OBJECT_CLASS(class);

    GST_DEBUG_CATEGORY_INIT(effigydec_debug, "effigydec", 0, "decoder of talking heads");
    gobject_class->set_property = set_property;
    gobject_class->get_property = get_property;
    gobject_class->finalize = finalize;
    effigy_gst_install(gobject_class, TRUE, "What became of packets and of frames");
    g_object_class_install_property(
        gobject_class, PROPERTY_CONCEAL_GAPS,
        g_param_spec_boolean("conceal-gaps", "Conceal gaps",
                             "Make frames up as soon as upstream tells of a loss; else wait for the next packet, which may repeat them", TRUE,
                             G_PARAM_READWRITE | G_PARAM_STATIC_STRINGS | GST_PARAM_MUTABLE_READY));
    g_object_class_install_property(
        gobject_class, PROPERTY_DETAIL,
        g_param_spec_boolean("detail", "Detail",
                             "Pictures of twice the pack's side, with the detail of identities that have one; packs that draw more than 256 pixels stay as they are",
                             FALSE, G_PARAM_READWRITE | G_PARAM_STATIC_STRINGS | GST_PARAM_MUTABLE_READY));
    gst_element_class_add_static_pad_template(element_class, &sink_template);
    gst_element_class_add_static_pad_template(element_class, &src_template);
    gst_element_class_set_static_metadata(element_class, "effigy decoder", "Codec/Decoder/Video", "Draws the person of an identity by packets",
                                          "effigy");
    base_class->start = effigy_gst_dec_start;
    base_class->stop = effigy_gst_dec_stop;
    base_class->set_format = effigy_gst_dec_set_format;
    base_class->negotiate = negotiate;
    base_class->handle_frame = effigy_gst_dec_handle_frame;
    base_class->handle_missing_data = effigy_gst_dec_handle_missing_data;
    base_class->flush = effigy_gst_dec_flush;
    base_class->sink_event = sink_event;
}

static void effigy_gst_dec_init(GstEffigyDec *self)
{
    GstVideoDecoder *base = GST_VIDEO_DECODER(self);

    self->conceal_gaps = TRUE;
    self->anchor_pts = GST_CLOCK_TIME_NONE;
    self->next_pts = GST_CLOCK_TIME_NONE;
    self->told_until = GST_CLOCK_TIME_NONE;
    gst_video_decoder_set_packetized(base, TRUE);
    gst_video_decoder_set_use_default_pad_acceptcaps(base, TRUE);
    GST_PAD_SET_ACCEPT_TEMPLATE(GST_VIDEO_DECODER_SINK_PAD(base));
    g_object_set(self, "min-force-key-unit-interval", (guint64)REQUEST_INTERVAL, NULL);
}
