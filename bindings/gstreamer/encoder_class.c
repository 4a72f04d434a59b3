/* The class of effigyenc: its pads, its properties and its statistics. */
#include "encoder.h"

GST_DEBUG_CATEGORY(effigyenc_debug);

enum {
    PROPERTY_ALIGNED = EFFIGY_GST_OWN,
    PROPERTY_QUALITY,
    PROPERTY_REDUNDANCY,
    PROPERTY_FRAMES_PER_PACKET,
    PROPERTY_INTRA_INTERVAL,
    PROPERTY_SMOOTHING,
    PROPERTY_SEARCH_STEPS,
    PROPERTY_FRAME_BUDGET,
    PROPERTY_RESIDUAL_BYTES,
    PROPERTY_INLINE_IDENTITY,
    PROPERTY_REPEAT_HEADER
};

typedef struct {
    GstVideoEncoderClass parent_class;
} GstEffigyEncClass;

static GstStaticPadTemplate sink_template =
    GST_STATIC_PAD_TEMPLATE("sink", GST_PAD_SINK, GST_PAD_ALWAYS, GST_STATIC_CAPS(GST_VIDEO_CAPS_MAKE(EFFIGY_GST_FORMATS)));
static GstStaticPadTemplate src_template = GST_STATIC_PAD_TEMPLATE("src", GST_PAD_SRC, GST_PAD_ALWAYS, GST_STATIC_CAPS(EFFIGY_GST_CAPS));

G_DEFINE_TYPE(GstEffigyEnc, effigy_gst_enc, GST_TYPE_VIDEO_ENCODER)

static gboolean propose_allocation(GstVideoEncoder *base, GstQuery *query)
{
    /* Planes may lie anywhere, with any stride. */
    gst_query_add_allocation_meta(query, GST_VIDEO_META_API_TYPE, NULL);
    return GST_VIDEO_ENCODER_CLASS(effigy_gst_enc_parent_class)->propose_allocation(base, query);
}

static GstStructure *statistics(GstEffigyEnc *self)
{
    const effigy_gst_sent *now = &self->counted;

    return gst_structure_new("effigyenc-stats", "frames", G_TYPE_UINT64, now->frames, "no-face", G_TYPE_UINT64, now->no_face, "packets",
                             G_TYPE_UINT64, now->packets, "key-packets", G_TYPE_UINT64, now->key_packets, "bytes", G_TYPE_UINT64, now->bytes,
                             "confidence", G_TYPE_FLOAT, now->confidence, NULL);
}

static void set_property(GObject *object, guint number, const GValue *value, GParamSpec *spec)
{
    GstEffigyEnc *self = EFFIGY_GST_ENC(object);
    effigy_gst_choices *chosen = &self->chosen;

    GST_OBJECT_LOCK(self);
    switch (number) {
    case PROPERTY_ALIGNED:
        chosen->aligned = g_value_get_boolean(value);
        break;
    case PROPERTY_QUALITY:
        chosen->quality = g_value_get_float(value);
        break;
    case PROPERTY_REDUNDANCY:
        chosen->redundancy = g_value_get_uint(value);
        break;
    case PROPERTY_FRAMES_PER_PACKET:
        chosen->frames_per_packet = g_value_get_uint(value);
        break;
    case PROPERTY_INTRA_INTERVAL:
        chosen->intra_interval = g_value_get_uint(value);
        break;
    case PROPERTY_SMOOTHING:
        chosen->smoothing = g_value_get_float(value);
        break;
    case PROPERTY_SEARCH_STEPS:
        chosen->search_steps = g_value_get_uint(value);
        break;
    case PROPERTY_FRAME_BUDGET:
        chosen->frame_budget = g_value_get_uint(value);
        break;
    case PROPERTY_RESIDUAL_BYTES:
        chosen->residual_bytes = g_value_get_float(value);
        break;
    case PROPERTY_INLINE_IDENTITY:
        chosen->inline_identity = g_value_get_boolean(value);
        break;
    case PROPERTY_REPEAT_HEADER:
        chosen->repeat_header = g_value_get_boolean(value);
        break;
    default:
        if (!effigy_gst_set(&self->common, number, value)) {
            G_OBJECT_WARN_INVALID_PROPERTY_ID(object, number, spec);
        }
    }
    GST_OBJECT_UNLOCK(self);
}

static void get_property(GObject *object, guint number, GValue *value, GParamSpec *spec)
{
    GstEffigyEnc *self = EFFIGY_GST_ENC(object);
    const effigy_gst_choices *chosen = &self->chosen;

    GST_OBJECT_LOCK(self);
    switch (number) {
    case EFFIGY_GST_STATS:
        g_value_take_boxed(value, statistics(self));
        break;
    case PROPERTY_ALIGNED:
        g_value_set_boolean(value, chosen->aligned);
        break;
    case PROPERTY_QUALITY:
        g_value_set_float(value, chosen->quality);
        break;
    case PROPERTY_REDUNDANCY:
        g_value_set_uint(value, chosen->redundancy);
        break;
    case PROPERTY_FRAMES_PER_PACKET:
        g_value_set_uint(value, chosen->frames_per_packet);
        break;
    case PROPERTY_INTRA_INTERVAL:
        g_value_set_uint(value, chosen->intra_interval);
        break;
    case PROPERTY_SMOOTHING:
        g_value_set_float(value, chosen->smoothing);
        break;
    case PROPERTY_SEARCH_STEPS:
        g_value_set_uint(value, chosen->search_steps);
        break;
    case PROPERTY_FRAME_BUDGET:
        g_value_set_uint(value, chosen->frame_budget);
        break;
    case PROPERTY_RESIDUAL_BYTES:
        g_value_set_float(value, chosen->residual_bytes);
        break;
    case PROPERTY_INLINE_IDENTITY:
        g_value_set_boolean(value, chosen->inline_identity);
        break;
    case PROPERTY_REPEAT_HEADER:
        g_value_set_boolean(value, chosen->repeat_header);
        break;
    default:
        if (!effigy_gst_get(&self->common, number, value)) {
            G_OBJECT_WARN_INVALID_PROPERTY_ID(object, number, spec);
        }
    }
    GST_OBJECT_UNLOCK(self);
}

static void finalize(GObject *object)
{
    GstEffigyEnc *self = EFFIGY_GST_ENC(object);

    g_free(self->common.pack);
    g_free(self->common.identity);
    G_OBJECT_CLASS(effigy_gst_enc_parent_class)->finalize(object);
}

static void install_properties(GObjectClass *gobject_class)
{
    const GParamFlags ready = G_PARAM_READWRITE | G_PARAM_STATIC_STRINGS | GST_PARAM_MUTABLE_READY;
    effigy_encoder_settings usual;

    (void)effigy_encoder_settings_init(&usual, sizeof usual);
    effigy_gst_install(gobject_class, FALSE, "Pictures, pictures without a face, packets, those that need no other, bytes");
    g_object_class_install_property(gobject_class, PROPERTY_ALIGNED,
                                    g_param_spec_boolean("aligned", "Aligned",
                                                         "Pictures are upright crops already, of exactly the identity's resolution",
                                                         usual.aligned != 0, ready));
    g_object_class_install_property(gobject_class, PROPERTY_QUALITY,
                                    g_param_spec_float("quality", "Quality", "Fineness of the numbers; 12.5 more halve the steps", 0.0f, 100.0f,
                                                       usual.quality, ready));
    g_object_class_install_property(gobject_class, PROPERTY_REDUNDANCY,
                                    g_param_spec_uint("redundancy", "Redundancy", "Frames that each packet repeats coarsely, against loss", 0, 16,
                                                      usual.redundancy, ready));
    g_object_class_install_property(gobject_class, PROPERTY_FRAMES_PER_PACKET,
                                    g_param_spec_uint("frames-per-packet", "Frames per packet", "Frames in a packet: fewer come sooner, more cost less",
                                                      1, 64, usual.frames_per_packet, ready));
    g_object_class_install_property(gobject_class, PROPERTY_INTRA_INTERVAL,
                                    g_param_spec_uint("intra-interval", "Intra interval", "Most frames from one packet that needs no other to the next",
                                                      1, G_MAXUINT, usual.intra_interval, ready));
    g_object_class_install_property(gobject_class, PROPERTY_SMOOTHING,
                                    g_param_spec_float("smoothing", "Smoothing",
                                                       "Share of the last frame's numbers that is kept: calms noise, delays motion", 0.0f, 0.999f,
                                                       usual.smoothing, ready));
    g_object_class_install_property(gobject_class, PROPERTY_SEARCH_STEPS,
                                    g_param_spec_uint("search-steps", "Search steps",
                                                      "Most steps of the search per frame unless there is time for more, each of which draws the face four times; 0: read by a network alone",
                                                      0, 16, usual.search_steps, ready));
    g_object_class_install_property(gobject_class, PROPERTY_FRAME_BUDGET,
                                    g_param_spec_uint("frame-budget", "Frame budget",
                                                      "Microseconds that a frame should take: what is left of them is spent on more steps; 0: no more",
                                                      0, 1000000, usual.frame_budget_us, ready));
    g_object_class_install_property(gobject_class, PROPERTY_RESIDUAL_BYTES,
                                    g_param_spec_float("residual-bytes", "Residual bytes",
                                                       "Bytes a frame, on average, for a slow picture of what the numbers miss; 0: none", 0.0f, 200.0f,
                                                       usual.residual_bytes, ready));
    g_object_class_install_property(gobject_class, PROPERTY_INLINE_IDENTITY,
                                    g_param_spec_boolean("inline-identity", "Inline identity", "The header carries the identity: for files",
                                                         usual.inline_identity != 0, ready));
    g_object_class_install_property(
        gobject_class, PROPERTY_REPEAT_HEADER,
        g_param_spec_boolean("repeat-header", "Repeat header",
                             "Send the header before each packet that needs no other, for receivers that join; not for files", FALSE, ready));
}

static void effigy_gst_enc_class_init(GstEffigyEncClass *class)
{
    GstElementClass *element_class = GST_ELEMENT_CLASS(class);
    GstVideoEncoderClass *base_class = GST_VIDEO_ENCODER_CLASS(class);
    GObjectClass *gobject_class = G_OBJECT_CLASS(class);

    GST_DEBUG_CATEGORY_INIT(effigyenc_debug, "effigyenc", 0, "encoder of talking heads");
    gobject_class->set_property = set_property;
    gobject_class->get_property = get_property;
    gobject_class->finalize = finalize;
    install_properties(gobject_class);
    gst_element_class_add_static_pad_template(element_class, &sink_template);
    gst_element_class_add_static_pad_template(element_class, &src_template);
    gst_element_class_set_static_metadata(element_class, "effigy encoder", "Codec/Encoder/Video",
                                          "Makes packets of some ten bytes of pictures of an enrolled person", "effigy");
    base_class->start = effigy_gst_enc_start;
    base_class->stop = effigy_gst_enc_stop;
    base_class->set_format = effigy_gst_enc_set_format;
    base_class->handle_frame = effigy_gst_enc_handle_frame;
    base_class->finish = effigy_gst_enc_finish;
    base_class->flush = effigy_gst_enc_flush;
    base_class->propose_allocation = propose_allocation;
}

static void effigy_gst_enc_init(GstEffigyEnc *self)
{
    effigy_encoder_settings usual;

    (void)effigy_encoder_settings_init(&usual, sizeof usual);
    self->chosen.aligned = usual.aligned != 0;
    self->chosen.inline_identity = usual.inline_identity != 0;
    self->chosen.quality = usual.quality;
    self->chosen.smoothing = usual.smoothing;
    self->chosen.search_steps = usual.search_steps;
    self->chosen.frame_budget = usual.frame_budget_us;
    self->chosen.residual_bytes = usual.residual_bytes;
    self->chosen.redundancy = usual.redundancy;
    self->chosen.frames_per_packet = usual.frames_per_packet;
    self->chosen.intra_interval = usual.intra_interval;
}
