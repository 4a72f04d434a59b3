/*
 * The plugin: `effigyenc` makes packets of camera pictures of an enrolled person, `effigydec` makes pictures of them. README.md shows
 * pipelines.
 */
#include "shared.h"

static gboolean init(GstPlugin *plugin)
{
    const guint32 have = effigy_abi_version();

    if (have / 1000 != EFFIGY_ABI_VERSION / 1000 || have < EFFIGY_ABI_VERSION) {
        g_warning("effigy: libeffigy.so has interface %u, this plugin needs %u", (unsigned)have, (unsigned)EFFIGY_ABI_VERSION);
        return FALSE;
    }
    /* No rank: neither works without its files being named, so nothing should choose them by itself. */
    return gst_element_register(plugin, "effigyenc", GST_RANK_NONE, effigy_gst_enc_get_type()) &&
           gst_element_register(plugin, "effigydec", GST_RANK_NONE, effigy_gst_dec_get_type());
}

GST_PLUGIN_DEFINE(GST_VERSION_MAJOR, GST_VERSION_MINOR, effigy, "effigy: coding of talking heads", init, VERSION, "MIT/X11", PACKAGE,
                  PACKAGE)
