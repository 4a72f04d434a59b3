/*
 * Where each member of each structure of version 1.5 lies, how long it is, and what each constant is: one per line of standard output.
 */
#ifndef LAYOUT_H
#define LAYOUT_H

#include <stdio.h>

#include "effigy.h"

#define MEMBER(type, name)                                                               \
    printf("%s.%s %lu %lu\n", #type, #name, (unsigned long)offsetof(effigy_##type, name), \
           (unsigned long)sizeof(((effigy_##type *)0)->name))
#define CONSTANT(name) printf("%s %ld\n", #name, (long)(EFFIGY_##name))

static void layout_of_settings(void)
{
    MEMBER(decoder_settings, size);
    MEMBER(decoder_settings, device);
    MEMBER(decoder_settings, precision);
    MEMBER(decoder_settings, threads);
    MEMBER(decoder_settings, reserved);
    MEMBER(decoder_settings, detail);
    MEMBER(decoder_settings, more_reserved);
    MEMBER(encoder_settings, size);
    MEMBER(encoder_settings, start_pts);
    MEMBER(encoder_settings, camera_width);
    MEMBER(encoder_settings, camera_height);
    MEMBER(encoder_settings, time_base_num);
    MEMBER(encoder_settings, time_base_den);
    MEMBER(encoder_settings, frame_ticks);
    MEMBER(encoder_settings, quality);
    MEMBER(encoder_settings, redundancy);
    MEMBER(encoder_settings, frames_per_packet);
    MEMBER(encoder_settings, intra_interval);
    MEMBER(encoder_settings, aligned);
    MEMBER(encoder_settings, inline_identity);
    MEMBER(encoder_settings, smoothing);
    MEMBER(encoder_settings, device);
    MEMBER(encoder_settings, precision);
    MEMBER(encoder_settings, threads);
    MEMBER(encoder_settings, reserved);
    MEMBER(encoder_settings, search_steps);
    MEMBER(encoder_settings, more_reserved);
    MEMBER(encoder_settings, residual_bytes);
    MEMBER(encoder_settings, reserved_too);
    MEMBER(encoder_settings, frame_budget_us);
    MEMBER(encoder_settings, reserved_last);
    MEMBER(enroller_settings, size);
    MEMBER(enroller_settings, preset);
    MEMBER(enroller_settings, aligned);
    MEMBER(enroller_settings, tune_steps);
    MEMBER(enroller_settings, seed);
    MEMBER(enroller_settings, identity_bytes);
    MEMBER(enroller_settings, device);
    MEMBER(enroller_settings, precision);
    MEMBER(enroller_settings, threads);
    MEMBER(enroller_settings, name);
}

static void layout_of_results(void)
{
    MEMBER(stream_header_info, size);
    MEMBER(stream_header_info, resolution);
    MEMBER(stream_header_info, camera_width);
    MEMBER(stream_header_info, camera_height);
    MEMBER(stream_header_info, frame_ticks);
    MEMBER(stream_header_info, time_base_num);
    MEMBER(stream_header_info, time_base_den);
    MEMBER(picture, size);
    MEMBER(picture, format);
    MEMBER(picture, colour);
    MEMBER(picture, width);
    MEMBER(picture, height);
    MEMBER(picture, planes);
    MEMBER(picture, strides);
    MEMBER(picture, sizes);
    MEMBER(picture, pts);
    MEMBER(frame_info, size);
    MEMBER(frame_info, pts);
    MEMBER(frame_info, origin);
    MEMBER(frame_info, has_placement);
    MEMBER(frame_info, x);
    MEMBER(frame_info, y);
    MEMBER(frame_info, side);
    MEMBER(frame_info, roll);
    MEMBER(frame_info, yaw);
    MEMBER(frame_info, pitch);
    MEMBER(decoder_statistics, size);
    MEMBER(decoder_statistics, packets);
    MEMBER(decoder_statistics, late);
    MEMBER(decoder_statistics, duplicates);
    MEMBER(decoder_statistics, orphans);
    MEMBER(decoder_statistics, refused);
    MEMBER(decoder_statistics, received);
    MEMBER(decoder_statistics, repeated);
    MEMBER(decoder_statistics, concealed);
    MEMBER(decoder_statistics, recoveries);
    MEMBER(decoder_statistics, waiting);
    MEMBER(stream_properties, size);
    MEMBER(stream_properties, width);
    MEMBER(stream_properties, height);
    MEMBER(stream_properties, time_base_num);
    MEMBER(stream_properties, time_base_den);
    MEMBER(stream_properties, frames);
    MEMBER(stream_properties, decoded);
    MEMBER(stream_properties, damaged);
    MEMBER(stream_properties, lost);
    MEMBER(stream_properties, concealed);
}

static void layout_of_constants(void)
{
    CONSTANT(MAX_PACKET);
    CONSTANT(STATUS_OK);
    CONSTANT(STATUS_END);
    CONSTANT(STATUS_AGAIN);
    CONSTANT(STATUS_IO);
    CONSTANT(STATUS_MALFORMED);
    CONSTANT(STATUS_UNSUPPORTED);
    CONSTANT(STATUS_LIMIT);
    CONSTANT(STATUS_MISUSE);
    CONSTANT(STATUS_NO_CONTENT);
    CONSTANT(STATUS_DEVICE);
    CONSTANT(STATUS_CANCELLED);
    CONSTANT(STATUS_PANIC);
    CONSTANT(STATUS_NULL);
    CONSTANT(FORMAT_RGB24);
    CONSTANT(FORMAT_RGBA);
    CONSTANT(FORMAT_BGRA);
    CONSTANT(FORMAT_I420);
    CONSTANT(FORMAT_NV12);
    CONSTANT(COLOUR_BT601);
    CONSTANT(COLOUR_BT709);
    CONSTANT(FRAME_ORIGIN_RECEIVED);
    CONSTANT(FRAME_ORIGIN_REPEATED);
    CONSTANT(FRAME_ORIGIN_CONCEALED);
    CONSTANT(FEATURE_ENCODE);
    CONSTANT(FEATURE_ALIGN);
    CONSTANT(FEATURE_CUDA);
}

#endif
