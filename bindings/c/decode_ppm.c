/*
 * Decodes a stream to numbered PPM pictures with the C interface of effigy.
 *
 *     decode_ppm [--detail] PACK STREAM FOLDER
 *
 * With --detail pictures are twice as large, with the detail of the stream's identity if it has one.
 *
 * Build: cc -I include bindings/c/decode_ppm.c -L target/release -leffigy -Wl,-rpath,"$PWD/target/release" -o decode_ppm
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "effigy.h"

/* Says what failed and in whose words, and returns the exit status for main. */
static int failed(const char *what, effigy_status status)
{
    char message[512] = "";

    effigy_last_error(message, sizeof message);
    fprintf(stderr, "decode_ppm: %s: %s (%s)\n", what, effigy_status_text(status), message);
    return 1;
}

static int write_ppm(const char *folder, unsigned long number, const unsigned char *rgb, unsigned width, unsigned height)
{
    char path[4096];
    FILE *file;
    int length = snprintf(path, sizeof path, "%s/frame-%06lu.ppm", folder, number);
    size_t bytes = (size_t)3 * width * height;
    int good;

    if (length < 0 || (size_t)length >= sizeof path) {
        fprintf(stderr, "decode_ppm: the folder's name is too long\n");
        return 1;
    }
    file = fopen(path, "wb");
    if (file == NULL) {
        perror(path);
        return 1;
    }
    good = fprintf(file, "P6\n%u %u\n255\n", width, height) > 0 && fwrite(rgb, 1, bytes, file) == bytes;
    if (fclose(file) != 0 || !good) {
        perror(path);
        return 1;
    }
    return 0;
}

/* Writes every frame of the stream; returns the exit status. */
static int decode(effigy_stream *stream, const char *folder)
{
    effigy_stream_properties info;
    effigy_status status;
    unsigned char *rgb;
    size_t stride, bytes;
    unsigned long number = 0;
    int64_t pts = 0;
    int result = 0;

    info.size = sizeof info;
    status = effigy_stream_info(stream, &info);
    if (status != EFFIGY_STATUS_OK) {
        return failed("info", status);
    }
    stride = (size_t)3 * info.width;
    bytes = stride * info.height;
    rgb = malloc(bytes);
    if (rgb == NULL) {
        fprintf(stderr, "decode_ppm: no memory for a picture\n");
        return 1;
    }
    while (result == 0 && (status = effigy_stream_next(stream, rgb, stride, bytes, &pts)) == EFFIGY_STATUS_OK) {
        double seconds = (double)pts * info.time_base_num / info.time_base_den;

        result = write_ppm(folder, number, rgb, info.width, info.height);
        printf("frame %lu at %.3f s\n", number, seconds);
        number++;
    }
    if (result == 0 && status != EFFIGY_STATUS_END) {
        result = failed("next frame", status);
    }
    free(rgb);
    return result;
}

int main(int count, char **arguments)
{
    effigy_pack *pack = NULL;
    effigy_stream *stream = NULL;
    effigy_status status;
    int detail, result;

    if (effigy_abi_version() / 1000 != EFFIGY_ABI_VERSION / 1000) {
        fprintf(stderr, "decode_ppm: made for interface %d, the library has %u\n", EFFIGY_ABI_VERSION,
                (unsigned)effigy_abi_version());
        return 1;
    }
    if (count == 2 && strcmp(arguments[1], "--version") == 0) {
        printf("effigy %s, C interface %u\n", effigy_version(), (unsigned)effigy_abi_version());
        return 0;
    }
    detail = count > 1 && strcmp(arguments[1], "--detail") == 0;
    if (detail) {
        count--;
        arguments++;
    }
    if (count != 4) {
        fprintf(stderr, "usage: decode_ppm [--detail] PACK STREAM FOLDER\n");
        return 2;
    }
    status = effigy_pack_load(arguments[1], &pack);
    if (status != EFFIGY_STATUS_OK) {
        return failed(arguments[1], status);
    }
    status = effigy_stream_open(pack, arguments[2], &stream);
    effigy_pack_free(pack); /* the stream keeps what it needs */
    if (status != EFFIGY_STATUS_OK) {
        return failed(arguments[2], status);
    }
    if (detail && (status = effigy_stream_show_detail(stream)) != EFFIGY_STATUS_OK) {
        result = failed("detail", status);
    } else {
        result = decode(stream, arguments[3]);
    }
    effigy_stream_free(stream);
    return result;
}
