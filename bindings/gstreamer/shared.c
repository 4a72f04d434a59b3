/* See shared.h. */
#include "shared.h"

GST_DEBUG_CATEGORY_STATIC(effigy_debug);
#define GST_CAT_DEFAULT effigy_debug

/* --- properties --- */

static GType precision_type(void)
{
    static gsize type = 0;
    static const GEnumValue values[] = {{0, "The fastest that suits the device", "auto"},
                                        {1, "Single precision", "single"},
                                        {2, "bfloat16", "bfloat16"},
                                        {3, "Half precision", "half"},
                                        {0, NULL, NULL}};

    if (g_once_init_enter(&type)) {
        g_once_init_leave(&type, g_enum_register_static("EffigyGstPrecision", values));
    }
    return type;
}

void effigy_gst_install(GObjectClass *gobject_class, gboolean swaps, const gchar *stats)
{
    const GParamFlags usual = G_PARAM_READWRITE | G_PARAM_STATIC_STRINGS, ready = usual | GST_PARAM_MUTABLE_READY;

    g_object_class_install_property(gobject_class, EFFIGY_GST_PACK,
                                    g_param_spec_string("pack", "Pack", "File of the model pack, UTF-8", NULL, ready));
    g_object_class_install_property(
        gobject_class, EFFIGY_GST_IDENTITY,
        g_param_spec_string("identity", "Identity",
                            swaps ? "File of the stream's identity; set while playing, another person is shown, moved by the stream"
                                  : "File of the identity of the person before the camera",
                            NULL, swaps ? usual | GST_PARAM_MUTABLE_PLAYING : ready));
    g_object_class_install_property(
        gobject_class, EFFIGY_GST_DEVICE,
        g_param_spec_int("device", "Device", "0: CUDA if there is one, else the processor; 1: the processor; 2 and up: CUDA 0 and up", 0,
                         G_MAXINT, 0, ready));
    g_object_class_install_property(
        gobject_class, EFFIGY_GST_PRECISION,
        g_param_spec_enum("precision", "Precision", "Number format of the convolutions", precision_type(), 0, ready));
    g_object_class_install_property(
        gobject_class, EFFIGY_GST_THREADS,
        g_param_spec_uint("threads", "Threads", "Threads on the processor, a setting of the whole process; 0: as it is", 0, 1024, 0, ready));
    g_object_class_install_property(
        gobject_class, EFFIGY_GST_STATS,
        g_param_spec_boxed("stats", "Statistics", stats, GST_TYPE_STRUCTURE, G_PARAM_READABLE | G_PARAM_STATIC_STRINGS));
}

gboolean effigy_gst_set(effigy_gst_common *common, guint number, const GValue *value)
{
    switch (number) {
    case EFFIGY_GST_PACK:
        g_free(common->pack);
        common->pack = g_value_dup_string(value);
        return TRUE;
    case EFFIGY_GST_IDENTITY:
        g_free(common->identity);
        common->identity = g_value_dup_string(value);
        return TRUE;
    case EFFIGY_GST_DEVICE:
        common->device = g_value_get_int(value);
        return TRUE;
    case EFFIGY_GST_PRECISION:
        common->precision = g_value_get_enum(value);
        return TRUE;
    case EFFIGY_GST_THREADS:
        common->threads = g_value_get_uint(value);
        return TRUE;
    default:
        return FALSE;
    }
}

gboolean effigy_gst_get(const effigy_gst_common *common, guint number, GValue *value)
{
    switch (number) {
    case EFFIGY_GST_PACK:
        g_value_set_string(value, common->pack);
        return TRUE;
    case EFFIGY_GST_IDENTITY:
        g_value_set_string(value, common->identity);
        return TRUE;
    case EFFIGY_GST_DEVICE:
        g_value_set_int(value, common->device);
        return TRUE;
    case EFFIGY_GST_PRECISION:
        g_value_set_enum(value, common->precision);
        return TRUE;
    case EFFIGY_GST_THREADS:
        g_value_set_uint(value, common->threads);
        return TRUE;
    default:
        return FALSE;
    }
}

/* --- failures --- */

gchar *effigy_gst_words(effigy_status status)
{
    gsize length = effigy_last_error(NULL, 0);
    gchar *text = g_malloc(length + 1);

    if (effigy_last_error(text, length + 1) == 0) {
        g_free(text);
        text = g_strdup(effigy_status_text(status));
    }
    return text;
}

static void post(GstElement *element, GstMessageType type, effigy_status status, const gchar *what)
{
    GQuark domain = GST_LIBRARY_ERROR;
    gint code = GST_LIBRARY_ERROR_FAILED;
    gchar *words = effigy_gst_words(status);

    switch (status) {
    case EFFIGY_STATUS_IO:
        domain = GST_RESOURCE_ERROR;
        code = GST_RESOURCE_ERROR_READ;
        break;
    case EFFIGY_STATUS_MALFORMED:
    case EFFIGY_STATUS_LIMIT:
        domain = GST_STREAM_ERROR;
        code = GST_STREAM_ERROR_DECODE;
        break;
    case EFFIGY_STATUS_UNSUPPORTED:
        domain = GST_STREAM_ERROR;
        code = GST_STREAM_ERROR_NOT_IMPLEMENTED;
        break;
    case EFFIGY_STATUS_MISUSE:
        code = GST_LIBRARY_ERROR_SETTINGS;
        break;
    default:
        break;
    }
    gst_element_message_full(element, type, domain, code, g_strdup_printf("%s: %s", what, words),
                             g_strdup_printf("status %d: %s", (int)status, effigy_status_text(status)), __FILE__, G_STRFUNC, __LINE__);
    g_free(words);
}

void effigy_gst_fail(GstElement *element, effigy_status status, const gchar *what)
{
    post(element, GST_MESSAGE_ERROR, status, what);
}

void effigy_gst_warn(GstElement *element, effigy_status status, const gchar *what)
{
    post(element, GST_MESSAGE_WARNING, status, what);
}

/* --- files --- */

effigy_identity *effigy_gst_load_identity(GstElement *element, const gchar *path, gboolean fatal)
{
    effigy_identity *identity = NULL;
    effigy_status status = effigy_identity_load(path, &identity);

    if (status != EFFIGY_STATUS_OK) {
        post(element, fatal ? GST_MESSAGE_ERROR : GST_MESSAGE_WARNING, status, "identity");
    }
    return identity;
}

gboolean effigy_gst_load(GstElement *element, const effigy_gst_common *common, effigy_pack **pack, effigy_identity **identity)
{
    gchar *pack_path, *identity_path;
    effigy_status status;

    *pack = NULL;
    *identity = NULL;
    GST_OBJECT_LOCK(element);
    pack_path = g_strdup(common->pack);
    identity_path = g_strdup(common->identity);
    GST_OBJECT_UNLOCK(element);
    if (pack_path == NULL || identity_path == NULL) {
        GST_ELEMENT_ERROR(element, RESOURCE, SETTINGS, ("property %s is not set: it names a file", pack_path == NULL ? "pack" : "identity"),
                          (NULL));
    } else if ((status = effigy_pack_load(pack_path, pack)) != EFFIGY_STATUS_OK) {
        effigy_gst_fail(element, status, "pack");
    } else {
        *identity = effigy_gst_load_identity(element, identity_path, TRUE);
    }
    if (*identity == NULL) {
        effigy_pack_free(*pack);
        *pack = NULL;
    }
    g_free(pack_path);
    g_free(identity_path);
    return *identity != NULL;
}

/* --- pictures --- */

gboolean effigy_gst_layout(const GstVideoInfo *info, gint32 *format, gint32 *colour)
{
    *colour = EFFIGY_COLOUR_BT601;
    switch (GST_VIDEO_INFO_FORMAT(info)) {
    case GST_VIDEO_FORMAT_RGB:
        *format = EFFIGY_FORMAT_RGB24;
        return TRUE;
    case GST_VIDEO_FORMAT_RGBA:
    case GST_VIDEO_FORMAT_RGBx:
        *format = EFFIGY_FORMAT_RGBA;
        return TRUE;
    case GST_VIDEO_FORMAT_BGRA:
    case GST_VIDEO_FORMAT_BGRx:
        *format = EFFIGY_FORMAT_BGRA;
        return TRUE;
    case GST_VIDEO_FORMAT_I420:
        *format = EFFIGY_FORMAT_I420;
        break;
    case GST_VIDEO_FORMAT_NV12:
        *format = EFFIGY_FORMAT_NV12;
        break;
    default:
        return FALSE;
    }
    if (info->colorimetry.matrix == GST_VIDEO_COLOR_MATRIX_BT709) {
        *colour = EFFIGY_COLOUR_BT709;
    } else if (info->colorimetry.matrix != GST_VIDEO_COLOR_MATRIX_BT601 && info->colorimetry.matrix != GST_VIDEO_COLOR_MATRIX_UNKNOWN) {
        return FALSE;
    }
    return info->colorimetry.range != GST_VIDEO_COLOR_RANGE_0_255;
}

gboolean effigy_gst_picture(const GstVideoInfo *info, GstVideoFrame *frame, effigy_picture *picture)
{
    guint plane;

    memset(picture, 0, sizeof *picture);
    picture->size = sizeof *picture;
    picture->width = (guint32)GST_VIDEO_INFO_WIDTH(info);
    picture->height = (guint32)GST_VIDEO_INFO_HEIGHT(info);
    for (plane = 0; plane < GST_VIDEO_FRAME_N_PLANES(frame); plane++) {
        /* Frames that say where their planes are have each mapped by itself; else all are in one piece. */
        const GstMapInfo *map = frame->meta != NULL ? &frame->map[plane] : &frame->map[0];
        guint8 *data = GST_VIDEO_FRAME_PLANE_DATA(frame, plane);
        gint stride = GST_VIDEO_FRAME_PLANE_STRIDE(frame, plane);

        if (plane > 2 || stride < 0 || data < map->data || data > map->data + map->size) {
            return FALSE;
        }
        picture->planes[plane] = data;
        picture->strides[plane] = (gsize)stride;
        picture->sizes[plane] = map->size - (gsize)(data - map->data);
    }
    return effigy_gst_layout(info, &picture->format, &picture->colour);
}

/* --- the log --- */

static void take_message(int32_t level, const char *text, void *user)
{
    static const GstDebugLevel levels[] = {GST_LEVEL_ERROR, GST_LEVEL_ERROR, GST_LEVEL_WARNING, GST_LEVEL_INFO, GST_LEVEL_DEBUG};

    (void)user;
    GST_CAT_LEVEL_LOG(effigy_debug, levels[CLAMP(level, 0, 4)], NULL, "%s", text);
}

/* The library's number for the least important kind that somebody reads: details are made into text for whoever reads them alone. */
static int32_t wanted_level(void)
{
    const GstDebugLevel threshold = gst_debug_category_get_threshold(effigy_debug);

    return threshold >= GST_LEVEL_DEBUG ? 4 : threshold >= GST_LEVEL_INFO ? 3 : threshold >= GST_LEVEL_WARNING ? 2 : threshold > GST_LEVEL_NONE;
}

void effigy_gst_log(void)
{
    static gsize listed = 0;
    static gint taken = 0;
    int32_t level;

    if (g_once_init_enter(&listed)) {
        GST_DEBUG_CATEGORY_INIT(effigy_debug, "effigy", 0, "log of the effigy library");
        g_once_init_leave(&listed, 1);
    }
    /* A program may have a log of the library already: it is replaced only for somebody who reads this one, and once. */
    level = wanted_level();
    if (level > 0 && g_atomic_int_compare_and_exchange(&taken, 0, 1) && effigy_set_log(take_message, NULL, level) != EFFIGY_STATUS_OK) {
        GST_CAT_INFO(effigy_debug, "the process has another log of the library");
    }
}
