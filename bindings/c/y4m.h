/*
 * Just enough of Y4M for the programs beside this file: 8-bit 4:2:0, progressive. Input and output: streams of stdio, pictures of effigy.
 */
#ifndef EFFIGY_Y4M_H
#define EFFIGY_Y4M_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "effigy.h"

/* Largest side that the library takes. */
enum { Y4M_MOST = 16384 };

/* What the first line of a file says. */
typedef struct {
    unsigned width, height, rate_num, rate_den;
} y4m_head;

/* Reads the first line; NULL, or in a few words what is wrong with it. */
static const char *y4m_read_head(FILE *file, y4m_head *head)
{
    char line[256], *word;

    memset(head, 0, sizeof *head);
    if (fgets(line, sizeof line, file) == NULL || strncmp(line, "YUV4MPEG2 ", 10) != 0) {
        return "no Y4M";
    }
    for (word = strtok(line + 10, " \n"); word != NULL; word = strtok(NULL, " \n")) {
        if (word[0] == 'W') {
            head->width = (unsigned)strtoul(word + 1, NULL, 10);
        } else if (word[0] == 'H') {
            head->height = (unsigned)strtoul(word + 1, NULL, 10);
        } else if (word[0] == 'F' && sscanf(word + 1, "%u:%u", &head->rate_num, &head->rate_den) != 2) {
            return "a frame rate that is no fraction";
        } else if (word[0] == 'C' && (strncmp(word, "C420", 4) != 0 || strncmp(word, "C420p1", 6) == 0)) {
            return "not 8-bit 4:2:0";
        }
    }
    if (head->width == 0 || head->height == 0 || head->width > Y4M_MOST || head->height > Y4M_MOST) {
        return "no usable size";
    }
    return head->rate_num == 0 || head->rate_den == 0 ? "no frame rate" : NULL;
}

/* An I420 picture over one piece of memory, which the caller frees by its first plane; 0 without memory. */
static int y4m_make(effigy_picture *picture, unsigned width, unsigned height)
{
    size_t luma = (size_t)width * height, half = (width + 1) / 2, chroma = half * ((height + 1) / 2);
    unsigned char *bytes = malloc(luma + 2 * chroma);

    memset(picture, 0, sizeof *picture);
    picture->size = sizeof *picture;
    picture->format = EFFIGY_FORMAT_I420;
    picture->colour = EFFIGY_COLOUR_BT601;
    picture->width = width;
    picture->height = height;
    if (bytes == NULL) {
        return 0;
    }
    picture->planes[0] = bytes;
    picture->planes[1] = bytes + luma;
    picture->planes[2] = bytes + luma + chroma;
    picture->strides[0] = width;
    picture->strides[1] = picture->strides[2] = half;
    picture->sizes[0] = luma;
    picture->sizes[1] = picture->sizes[2] = chroma;
    return 1;
}

/* Reads the next picture; 0 at the end. A cut last picture is left out. */
static int y4m_read(FILE *file, effigy_picture *picture)
{
    char line[256];
    int plane;

    if (fgets(line, sizeof line, file) == NULL || strncmp(line, "FRAME", 5) != 0) {
        return 0;
    }
    for (plane = 0; plane < 3; plane++) {
        if (fread(picture->planes[plane], 1, picture->sizes[plane], file) != picture->sizes[plane]) {
            return 0;
        }
    }
    return 1;
}

/* Writes the first line of a file of square pictures. */
static inline void y4m_write_head(FILE *file, unsigned side, unsigned rate_num, unsigned rate_den)
{
    fprintf(file, "YUV4MPEG2 W%u H%u F%u:%u Ip A1:1 C420\n", side, side, rate_num, rate_den);
}

/* Writes a picture; 0 if that fails. */
static inline int y4m_write(FILE *file, const effigy_picture *picture)
{
    int plane, good = fputs("FRAME\n", file) >= 0;

    for (plane = 0; good && plane < 3; plane++) {
        good = fwrite(picture->planes[plane], 1, picture->sizes[plane], file) == picture->sizes[plane];
    }
    return good;
}

#endif
