/*
 * Encodes a clip of an enrolled person into a file that effigy_stream_open, `decode_ppm` and `effigy decode` read.
 *
 *     encode [--aligned] [--quality N] PACK IDENTITY OUT.effigy < IN.y4m
 *
 * The input is Y4M with 8-bit 4:2:0; with --aligned it is the upright crop already, of exactly the identity's resolution. A file is
 * the stream's header, here with the identity inside, and the packets behind it, so nothing has to be sought back in it. This is the live
 * encoder: `effigy encode` searches each frame and comes closer.
 *
 *     ffmpeg -i clip.mp4 -pix_fmt yuv420p -f yuv4mpegpipe - | encode builtin.safetensors me.identity clip.effigy
 *
 * Build: cc -I include bindings/c/encode.c -L target/release -leffigy -Wl,-rpath,"$PWD/target/release" -o encode
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "effigy.h"
#include "y4m.h"

typedef struct {
    effigy_pack *pack;
    effigy_identity *identity;
    effigy_encoder *encoder;
    effigy_picture picture;
    FILE *out;
    unsigned long frames, no_face, bytes;
} session;

static int failed(const char *what, effigy_status status)
{
    char message[512] = "";

    effigy_last_error(message, sizeof message);
    fprintf(stderr, "encode: %s: %s (%s)\n", what, effigy_status_text(status), message);
    return 1;
}

static int write_bytes(session *job, const unsigned char *bytes, size_t size)
{
    if (fwrite(bytes, 1, size, job->out) != size) {
        perror("encode: output");
        return 1;
    }
    return 0;
}

/* The header's length first, then the header. */
static int write_header(session *job)
{
    unsigned char *header;
    size_t length = 0;
    effigy_status status = effigy_encoder_header(job->encoder, NULL, 0, &length);
    int wrong;

    if (status != EFFIGY_STATUS_OK || (header = malloc(length)) == NULL) {
        return failed("header", status);
    }
    status = effigy_encoder_header(job->encoder, header, length, &length);
    wrong = status == EFFIGY_STATUS_OK ? write_bytes(job, header, length) : failed("header", status);
    free(header);
    return wrong;
}

/* Writes every packet that is ready. */
static int write_packets(session *job)
{
    static unsigned char packet[EFFIGY_MAX_PACKET];
    effigy_status status;
    size_t size;

    while ((status = effigy_encoder_receive(job->encoder, packet, sizeof packet, &size, NULL)) == EFFIGY_STATUS_OK) {
        job->bytes += (unsigned long)size;
        if (write_bytes(job, packet, size) != 0) {
            return 1;
        }
    }
    return status == EFFIGY_STATUS_AGAIN ? 0 : failed("receive a packet", status);
}

static int encode(session *job)
{
    effigy_status status;

    while (y4m_read(stdin, &job->picture)) {
        job->picture.pts = (int64_t)job->frames++;
        status = effigy_encoder_send(job->encoder, &job->picture, NULL);
        if (status == EFFIGY_STATUS_NO_CONTENT) {
            job->no_face++;
            continue;
        }
        if (status != EFFIGY_STATUS_OK) {
            return failed("encode", status);
        }
        if (write_packets(job) != 0) {
            return 1;
        }
    }
    status = effigy_encoder_flush(job->encoder);
    return status == EFFIGY_STATUS_OK ? write_packets(job) : failed("flush", status);
}

/* Loads what is needed and makes the encoder; it learns how the person looks, which takes seconds. */
static int set_up(session *job, char **files, int aligned, float quality)
{
    effigy_encoder_settings settings;
    y4m_head head;
    const char *wrong = y4m_read_head(stdin, &head);
    effigy_status status;

    if (wrong != NULL) {
        fprintf(stderr, "encode: input: %s\n", wrong);
        return 1;
    }
    if ((status = effigy_pack_load(files[0], &job->pack)) != EFFIGY_STATUS_OK) {
        return failed(files[0], status);
    }
    if ((status = effigy_identity_load(files[1], &job->identity)) != EFFIGY_STATUS_OK) {
        return failed(files[1], status);
    }
    if ((status = effigy_encoder_settings_init(&settings, sizeof settings)) != EFFIGY_STATUS_OK) {
        return failed("settings", status);
    }
    settings.camera_width = head.width;
    settings.camera_height = head.height;
    settings.time_base_num = head.rate_den;
    settings.time_base_den = head.rate_num;
    settings.frame_ticks = 1;
    settings.frames_per_packet = 25; /* a file may wait for a second's frames, which costs fewer bytes */
    settings.inline_identity = 1;
    settings.aligned = aligned;
    if (quality >= 0.0f) {
        settings.quality = quality;
    }
    if ((status = effigy_encoder_new(job->pack, job->identity, &settings, NULL, NULL, &job->encoder)) != EFFIGY_STATUS_OK) {
        return failed("encoder", status);
    }
    if (!y4m_make(&job->picture, head.width, head.height)) {
        fprintf(stderr, "encode: no memory\n");
        return 1;
    }
    if ((job->out = fopen(files[2], "wb")) == NULL) {
        perror(files[2]);
        return 1;
    }
    return write_header(job);
}

int main(int count, char **arguments)
{
    session job;
    int at = 1, aligned = 0, wrong;
    float quality = -1.0f;

    for (; at < count && strncmp(arguments[at], "--", 2) == 0; at++) {
        if (strcmp(arguments[at], "--aligned") == 0) {
            aligned = 1;
        } else if (strcmp(arguments[at], "--quality") == 0 && at + 1 < count) {
            quality = (float)atof(arguments[++at]);
        } else {
            break;
        }
    }
    if (count - at != 3 || strncmp(arguments[at], "--", 2) == 0) {
        fprintf(stderr, "usage: encode [--aligned] [--quality N] PACK IDENTITY OUT.effigy < IN.y4m\n");
        return 2;
    }
    memset(&job, 0, sizeof job);
    wrong = set_up(&job, arguments + at, aligned, quality) || encode(&job);
    if (job.out != NULL && fclose(job.out) != 0 && !wrong) {
        perror("encode: output");
        wrong = 1;
    }
    if (!wrong) {
        fprintf(stderr, "encode: %lu frames (%lu without a face), %lu bytes of packets\n", job.frames, job.no_face, job.bytes);
    }
    free(job.picture.planes[0]);
    effigy_encoder_free(job.encoder);
    effigy_identity_free(job.identity);
    effigy_pack_free(job.pack);
    return wrong;
}
