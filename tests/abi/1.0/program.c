/*
 * A program made for version 1.0 of the C interface: it decodes a file, and its effigy_stream_properties ends with `lost`.
 *
 *     program --layout                             where each member lies, and each constant
 *     program PACK IDENTITY STREAM PACKETS         decodes STREAM twice; exit status 0 if every result is as it was
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "effigy.h"

enum { TAIL = 32 };

static int wrong;

#define CHECK(what) (void)((what) || (wrong++, fprintf(stderr, "program: line %d: not so: %s\n", __LINE__, #what)))

static void layout(void)
{
#define MEMBER(name)                                                                                       \
    printf("effigy_stream_properties.%s %lu %lu\n", #name, (unsigned long)offsetof(effigy_stream_properties, name), \
           (unsigned long)sizeof(((effigy_stream_properties *)0)->name))
#define CONSTANT(name) printf("%s %ld\n", #name, (long)(name))
    MEMBER(size);
    MEMBER(width);
    MEMBER(height);
    MEMBER(time_base_num);
    MEMBER(time_base_den);
    MEMBER(frames);
    MEMBER(decoded);
    MEMBER(damaged);
    MEMBER(lost);
    CONSTANT(EFFIGY_STATUS_OK);
    CONSTANT(EFFIGY_STATUS_END);
    CONSTANT(EFFIGY_STATUS_IO);
    CONSTANT(EFFIGY_STATUS_MALFORMED);
    CONSTANT(EFFIGY_STATUS_UNSUPPORTED);
    CONSTANT(EFFIGY_STATUS_LIMIT);
    CONSTANT(EFFIGY_STATUS_MISUSE);
    CONSTANT(EFFIGY_STATUS_NO_CONTENT);
    CONSTANT(EFFIGY_STATUS_DEVICE);
    CONSTANT(EFFIGY_STATUS_CANCELLED);
    CONSTANT(EFFIGY_STATUS_PANIC);
    CONSTANT(EFFIGY_STATUS_NULL);
}

/* Decodes all frames; behind the structure that this program knows, memory stays as it is. */
static unsigned long decode(effigy_stream *stream)
{
    struct {
        effigy_stream_properties info;
        unsigned char tail[TAIL];
    } place;
    unsigned long frames = 0;
    unsigned char *rgb;
    size_t stride, bytes;
    int64_t pts = -1, before = -1;
    int at;

    memset(&place, 0x5a, sizeof place);
    place.info.size = sizeof place.info;
    CHECK(effigy_stream_info(stream, &place.info) == EFFIGY_STATUS_OK);
    CHECK(place.info.size == sizeof place.info && place.info.width == place.info.height && place.info.decoded == 0);
    stride = (size_t)3 * place.info.width + 5;
    bytes = stride * (place.info.height - 1) + (size_t)3 * place.info.width;
    rgb = malloc(bytes);
    if (rgb == NULL) {
        CHECK(!"memory");
        return 0;
    }
    CHECK(effigy_stream_next(stream, rgb, stride, bytes - 1, &pts) == EFFIGY_STATUS_MISUSE);
    while (effigy_stream_next(stream, rgb, stride, bytes, &pts) == EFFIGY_STATUS_OK) {
        CHECK(pts > before);
        before = pts;
        frames++;
    }
    CHECK(effigy_stream_next(stream, rgb, stride, bytes, NULL) == EFFIGY_STATUS_END);
    CHECK(effigy_stream_info(stream, &place.info) == EFFIGY_STATUS_OK);
    CHECK(place.info.decoded == frames && place.info.frames == frames && place.info.damaged == 0 && place.info.lost == 0);
    for (at = 0; at < TAIL; at++) {
        CHECK(place.tail[at] == 0x5a);
    }
    free(rgb);
    return frames;
}

int main(int count, char **arguments)
{
    effigy_pack *pack = NULL;
    effigy_stream *stream = NULL;
    unsigned char *bytes = malloc(1 << 20);
    unsigned long frames[2] = {0, 0};
    char text[64] = "";
    FILE *file;
    size_t size;

    if (count == 2) {
        free(bytes);
        layout();
        return 0;
    }
    if (count != 5 || bytes == NULL || (file = fopen(arguments[3], "rb")) == NULL) {
        free(bytes);
        return 2;
    }
    size = fread(bytes, 1, 1 << 20, file);
    fclose(file);
    CHECK(effigy_abi_version() / 1000 == 1 && strlen(effigy_version()) > 0);
    CHECK(effigy_pack_load("no-such-pack", &pack) == EFFIGY_STATUS_IO && pack == NULL);
    CHECK(effigy_last_error(text, sizeof text) > 0 && strlen(text) > 0);
    CHECK(strcmp(effigy_status_text(EFFIGY_STATUS_END), "end of stream") == 0);
    CHECK(effigy_pack_load(arguments[1], &pack) == EFFIGY_STATUS_OK);
    CHECK(effigy_stream_open_memory(pack, bytes, 100, &stream) == EFFIGY_STATUS_MALFORMED && stream == NULL);
    if (effigy_stream_open(pack, arguments[3], &stream) == EFFIGY_STATUS_OK) {
        frames[0] = decode(stream);
        effigy_stream_free(stream);
    }
    if (effigy_stream_open_memory(pack, bytes, size, &stream) == EFFIGY_STATUS_OK) {
        effigy_pack_free(pack); /* the stream keeps what it needs */
        pack = NULL;
        frames[1] = decode(stream);
        effigy_stream_free(stream);
    }
    effigy_pack_free(pack);
    free(bytes);
    CHECK(frames[0] > 0 && frames[0] == frames[1]);
    printf("1.0: %lu frames of a file and of memory\n", frames[0]);
    return wrong > 0;
}
