/*
 * A call between two processes over UDP on this machine: one encodes a clip of an enrolled person in real time, the other plays what
 * arrives by its own clock. Some packets are lost and some delayed on purpose.
 *
 *     call [--aligned] [--fps N] [--loss PERCENT] [--jitter MS] [--delay MS] [--redundancy N] [--seed N] [--other IDENTITY]
 *          PACK IDENTITY IN.y4m > OUT.y4m
 *
 * With --other the key s shows that person instead of the caller, moved by the call, and s again the caller.
 *
 * Datagrams: 12 bytes laid out like the head of RTP (version and payload type, sequence number, time stamp, source), then one
 * packet. The receiver's jitter buffer is the decoder itself: datagrams go in as they come, and effigy_decoder_play takes the
 * frame that is due, --delay after the first datagram; when all that comes is too late, it waits anew. Once a second it writes what became of the packets to standard error. The
 * stream's header goes by a pipe here, as it would by the signalling of a real call; so would requests for an intra packet, which
 * go back by UDP. Nothing here is encrypted or authenticated: a real call uses SRTP.
 *
 * Build: cc -I include bindings/c/call.c -L target/release -leffigy -Wl,-rpath,"$PWD/target/release" -o call
 */
#define _POSIX_C_SOURCE 200809L

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "effigy.h"
#include "keys.h"
#include "udp.h"
#include "y4m.h"

enum { HEAD = 12, UDP_AND_IP = 8 + 20, DATAGRAM = HEAD + EFFIGY_MAX_PACKET, MOST_HEADER = 1 << 20, HELD = 64 };
static const unsigned char BYE = 0xcb; /* RTCP's number for a goodbye */
static const unsigned char ASK = 0xce; /* RTCP's number for payload-specific feedback */

typedef struct {
    int aligned;
    unsigned fps; /* 0: the clip's own */
    double loss, jitter, delay;
    unsigned redundancy;
    unsigned long seed;
    const char *pack, *identity, *clip, *other;
} options;

/* A datagram that the network holds back. */
typedef struct {
    double when;
    size_t size;
    unsigned char *bytes;
} held;

static int failed(const char *who, const char *what, effigy_status status)
{
    char message[512] = "";

    effigy_last_error(message, sizeof message);
    fprintf(stderr, "call: %s: %s: %s (%s)\n", who, what, effigy_status_text(status), message);
    return 1;
}

static int system_failed(const char *what)
{
    fprintf(stderr, "call: %s: %s\n", what, strerror(errno));
    return 1;
}

/* --- the sender --- */

typedef struct {
    const options *chosen;
    int socket;
    struct sockaddr_in peer;
    effigy_encoder *encoder;
    held queue[HELD];
    unsigned long seed, sequence, lost, asked, bytes;
} sender;

/* Sends what the network has held back long enough; all of it with `all`. */
static void deliver(sender *self, int all)
{
    int at;

    for (at = 0; at < HELD; at++) {
        held *one = &self->queue[at];

        if (one->bytes != NULL && (all || one->when <= now())) {
            (void)sendto(self->socket, one->bytes, one->size, 0, (struct sockaddr *)&self->peer, sizeof self->peer);
            free(one->bytes);
            one->bytes = NULL;
        }
    }
}

/* Gives a datagram to the network, which may lose or delay it. */
static void transmit(sender *self, const unsigned char *packet, size_t size, int64_t pts)
{
    unsigned char *bytes;
    int at = 0;

    self->sequence++;
    self->bytes += (unsigned long)size;
    if (chance(&self->seed) * 100.0 < self->chosen->loss) {
        self->lost++;
        return;
    }
    while (at < HELD && self->queue[at].bytes != NULL) {
        at++;
    }
    bytes = at < HELD ? malloc(HEAD + size) : NULL;
    if (bytes == NULL) {
        self->lost++;
        return;
    }
    bytes[0] = 0x80;
    bytes[1] = 96;
    bytes[2] = (unsigned char)(self->sequence >> 8);
    bytes[3] = (unsigned char)self->sequence;
    put32(bytes + 4, (unsigned long)pts);
    put32(bytes + 8, 0xef191);
    memcpy(bytes + HEAD, packet, size);
    self->queue[at].bytes = bytes;
    self->queue[at].size = HEAD + size;
    self->queue[at].when = now() + chance(&self->seed) * self->chosen->jitter;
    deliver(self, 0);
}

/* Waits until `when`, delivers meanwhile, and listens for requests. */
static void wait_until(sender *self, double when)
{
    for (;;) {
        struct pollfd ready = {0, POLLIN, 0};
        double left = when - now();
        unsigned char request[16];

        ready.fd = self->socket;
        if (poll(&ready, 1, left > 5.0 ? 5 : left > 0.0 ? (int)left : 0) > 0 &&
            recv(self->socket, request, sizeof request, 0) > 0 && request[0] == ASK) {
            (void)effigy_encoder_request_intra(self->encoder);
            self->asked++;
        }
        deliver(self, 0);
        if (left <= 0.0) {
            return;
        }
    }
}

/* Encodes the clip at its own pace. */
static int send_clip(sender *self, FILE *clip, effigy_picture *camera, double interval)
{
    static unsigned char packet[EFFIGY_MAX_PACKET];
    double begun = now(), seconds;
    long number;
    int goodbye;

    for (number = 0; y4m_read(clip, camera); number++) {
        effigy_status status;
        size_t size;
        int64_t pts;

        camera->pts = number;
        wait_until(self, begun + (double)number * interval);
        status = effigy_encoder_send(self->encoder, camera, NULL);
        if (status == EFFIGY_STATUS_NO_CONTENT) {
            continue;
        }
        if (status != EFFIGY_STATUS_OK) {
            return failed("sender", "encode", status);
        }
        while (effigy_encoder_receive(self->encoder, packet, sizeof packet, &size, &pts) == EFFIGY_STATUS_OK) {
            transmit(self, packet, size, pts);
        }
    }
    wait_until(self, now() + self->chosen->jitter);
    deliver(self, 1);
    for (goodbye = 0; goodbye < 3; goodbye++) {
        (void)sendto(self->socket, &BYE, 1, 0, (struct sockaddr *)&self->peer, sizeof self->peer);
    }
    seconds = (double)(number > 0 ? number : 1) * interval / 1000.0;
    fprintf(stderr, "call: sender: %ld frames, %lu packets, %lu lost on purpose; %lu intra asked for; %.0f bytes/s, %.0f with RTP, UDP and IPv4\n",
            number, self->sequence, self->lost, self->asked, (double)self->bytes / seconds,
            (double)(self->bytes + self->sequence * (HEAD + UDP_AND_IP)) / seconds);
    return 0;
}

/* Writes the stream's header with its length before it. */
static int signal_header(effigy_encoder *encoder, int pipe)
{
    size_t length = 0, written = 0;
    unsigned char *bytes = malloc(4 + MOST_HEADER);
    effigy_status status = bytes == NULL ? EFFIGY_STATUS_DEVICE : effigy_encoder_header(encoder, bytes + 4, MOST_HEADER, &length);

    if (status != EFFIGY_STATUS_OK) {
        free(bytes);
        return failed("sender", "header", status);
    }
    put32(bytes, (unsigned long)length);
    while (written < 4 + length) {
        ssize_t part = write(pipe, bytes + written, 4 + length - written);

        if (part <= 0) {
            free(bytes);
            return system_failed("header");
        }
        written += (size_t)part;
    }
    free(bytes);
    return 0;
}

static int run_sender(const options *chosen, int socket, struct sockaddr_in peer, int pipe)
{
    y4m_head head;
    const char *wrong = "cannot be read";
    FILE *clip = fopen(chosen->clip, "rb");
    effigy_encoder_settings settings;
    effigy_pack *pack = NULL;
    effigy_identity *identity = NULL;
    effigy_picture camera;
    effigy_status status;
    sender self;
    int result = 1;

    memset(&self, 0, sizeof self);
    self.chosen = chosen;
    self.socket = socket;
    self.peer = peer;
    self.seed = chosen->seed;
    memset(&camera, 0, sizeof camera);
    if (clip == NULL || (wrong = y4m_read_head(clip, &head)) != NULL) {
        fprintf(stderr, "call: %s: %s\n", chosen->clip, wrong);
        goto end;
    }
    if (chosen->fps > 0) {
        head.rate_num = chosen->fps;
        head.rate_den = 1;
    }
    effigy_encoder_settings_init(&settings, sizeof settings);
    settings.camera_width = head.width;
    settings.camera_height = head.height;
    settings.time_base_num = head.rate_den;
    settings.time_base_den = head.rate_num;
    settings.frame_ticks = 1;
    settings.redundancy = chosen->redundancy;
    settings.aligned = chosen->aligned;
    settings.threads = 1;
    if ((status = effigy_pack_load(chosen->pack, &pack)) != EFFIGY_STATUS_OK ||
        (status = effigy_identity_load(chosen->identity, &identity)) != EFFIGY_STATUS_OK ||
        (status = effigy_encoder_new(pack, identity, &settings, NULL, NULL, &self.encoder)) != EFFIGY_STATUS_OK) {
        failed("sender", "encoder", status);
        goto end;
    }
    if (y4m_make(&camera, head.width, head.height) && signal_header(self.encoder, pipe) == 0) {
        /* The other side opens its decoder meanwhile; it says so with any datagram. */
        struct pollfd ready = {0, POLLIN, 0};
        unsigned char byte;

        ready.fd = socket;
        if (poll(&ready, 1, 60000) > 0 && recv(socket, &byte, 1, 0) > 0) {
            result = send_clip(&self, clip, &camera, 1000.0 * head.rate_den / head.rate_num);
        }
    }
end:
    effigy_encoder_free(self.encoder);
    effigy_identity_free(identity);
    effigy_pack_free(pack);
    free(camera.planes[0]);
    if (clip != NULL) {
        fclose(clip);
    }
    return result;
}

/* --- the receiver --- */

typedef struct {
    int socket, over;
    struct sockaddr_in peer;
    effigy_pack *pack;
    effigy_identity *persons[2]; /* the caller, and whom to show instead */
    int person, keys;            /* who is shown; the file of keys, below 0 for none */
    effigy_decoder *decoder;
    effigy_picture shown;
    unsigned long datagrams, skipped, waits;
    effigy_decoder_statistics before; /* sums up to the last reset */
    uint64_t late, received;          /* as they were at the last frame received */
} receiver;

/* Takes what has arrived; 1 if it was a packet of the stream. */
static int take(receiver *self)
{
    static unsigned char bytes[DATAGRAM];
    ssize_t size = recv(self->socket, bytes, sizeof bytes, MSG_DONTWAIT);

    if (size == 1 && bytes[0] == BYE) {
        self->over = 1;
    }
    if (size <= HEAD || bytes[0] != 0x80) {
        return 0;
    }
    self->datagrams++;
    /* A refused packet is counted by the decoder, and no reason to stop. */
    return effigy_decoder_send(self->decoder, bytes + HEAD, (size_t)size - HEAD) == EFFIGY_STATUS_OK;
}

static effigy_decoder_statistics statistics(receiver *self)
{
    effigy_decoder_statistics counts;

    memset(&counts, 0, sizeof counts);
    counts.size = sizeof counts;
    (void)effigy_decoder_get_statistics(self->decoder, &counts);
    return counts;
}

static void tell(receiver *self, const char *when)
{
    effigy_decoder_statistics now = statistics(self), *before = &self->before;

    fprintf(stderr, "call: receiver: %s: %lu datagrams, late %lu; frames received %lu, repeated %lu, made up %lu, not drawn %lu; %lu gaps ended, %lu waits\n",
            when, self->datagrams, (unsigned long)(before->late + now.late), (unsigned long)(before->received + now.received),
            (unsigned long)(before->repeated + now.repeated), (unsigned long)(before->concealed + now.concealed), self->skipped,
            (unsigned long)(before->recoveries + now.recoveries), self->waits);
}

/* Whether all that comes is too late: then it starts the stream anew, and the clock with its next packet. */
static int behind(receiver *self)
{
    effigy_decoder_statistics now = statistics(self);

    if (now.received > self->received) {
        self->received = now.received;
        self->late = now.late;
    }
    if (now.late < self->late + 3) {
        return 0;
    }
    self->before.late += now.late;
    self->before.received += now.received;
    self->before.repeated += now.repeated;
    self->before.concealed += now.concealed;
    self->before.recoveries += now.recoveries;
    self->late = self->received = 0;
    self->waits++;
    (void)sendto(self->socket, &ASK, 1, 0, (struct sockaddr *)&self->peer, sizeof self->peer);
    return effigy_decoder_reset(self->decoder) == EFFIGY_STATUS_OK;
}

/* Shows the frame that is due; one that is later than the next one would be is passed over. */
static int show(receiver *self, int late)
{
    effigy_status status = effigy_decoder_play(self->decoder, late ? NULL : &self->shown, NULL);
    int32_t wanted = 0;

    if (status != EFFIGY_STATUS_OK) {
        return status == EFFIGY_STATUS_AGAIN ? 0 : failed("receiver", "play", status);
    }
    self->skipped += (unsigned long)late;
    if (!late) {
        (void)y4m_write(stdout, &self->shown); /* what cannot be written shows at the end */
    }
    if (effigy_decoder_needs_intra(self->decoder, &wanted) == EFFIGY_STATUS_OK && wanted) {
        (void)sendto(self->socket, &ASK, 1, 0, (struct sockaddr *)&self->peer, sizeof self->peer);
    }
    return 0;
}

/* Shows the other person, or the caller again. */
static void swap(receiver *self)
{
    int next = !self->person;
    effigy_status status = effigy_decoder_swap_identity(self->decoder, self->pack, self->persons[next]);

    if (status == EFFIGY_STATUS_OK) {
        self->person = next;
        fprintf(stderr, "call: receiver: %s is shown\n", next ? "the other person" : "the caller");
    } else {
        (void)failed("receiver", "swap", status);
    }
}

/* Takes what comes within `wait` milliseconds; true if it is a datagram of frames. */
static int hear(receiver *self, int wait)
{
    struct pollfd ready[2] = {{0, POLLIN, 0}, {0, POLLIN, 0}};
    int key;

    ready[0].fd = self->socket;
    ready[1].fd = self->keys;
    if (poll(ready, 2, wait) <= 0) {
        return 0;
    }
    if (ready[1].revents != 0) {
        if ((key = keys_read(self->keys)) == 0) {
            self->keys = -1;
        } else if (key == 's') {
            swap(self);
        }
    }
    return ready[0].revents != 0 && take(self);
}

/* Plays until the sender has said goodbye and the delay is over. */
static int play_call(receiver *self, double delay, double interval)
{
    double due = 0.0, report = now() + 1000.0, end = 0.0, begun = now();

    for (;;) {
        double time = now(), next = due > 0.0 && due < report ? due : report;

        if (due == 0.0 && !self->over && time > begun + 60000.0) {
            fprintf(stderr, "call: receiver: nothing has come for a minute\n");
            return 1;
        }
        if (hear(self, next > time ? (int)(next - time) + 1 : 0) && due == 0.0) {
            due = now() + delay;
        }
        time = now();
        if (due > 0.0 && time >= due) {
            if (show(self, time > due + interval) != 0) {
                return 1;
            }
            due = behind(self) ? 0.0 : due + interval;
        }
        if (time >= report) {
            tell(self, "so far");
            report += 1000.0;
        }
        if (self->over && end == 0.0) {
            end = time + delay;
        }
        if (end > 0.0 && time >= end && (due == 0.0 || due >= end)) {
            tell(self, "in all");
            return 0;
        }
    }
}

/* Reads what signal_header has written; NULL if it does not come. */
static unsigned char *read_header(int pipe, size_t *length)
{
    unsigned char head[4], *bytes;
    size_t got = 0, want = 4;

    while (got < want) {
        ssize_t part = read(pipe, head + got, want - got);

        if (part <= 0) {
            return NULL;
        }
        got += (size_t)part;
    }
    want = ((size_t)head[0] << 24) | ((size_t)head[1] << 16) | ((size_t)head[2] << 8) | head[3];
    bytes = want > 0 && want <= MOST_HEADER ? malloc(want) : NULL;
    for (got = 0; bytes != NULL && got < want;) {
        ssize_t part = read(pipe, bytes + got, want - got);

        if (part <= 0) {
            free(bytes);
            return NULL;
        }
        got += (size_t)part;
    }
    *length = want;
    return bytes;
}

static int run_receiver(const options *chosen, int socket, struct sockaddr_in peer, int pipe)
{
    effigy_decoder_settings settings;
    effigy_stream_header_info info;
    unsigned char *header = NULL;
    effigy_status status;
    size_t length = 0;
    receiver self;
    int result = 1;

    memset(&self, 0, sizeof self);
    self.socket = socket;
    self.peer = peer;
    self.keys = -1;
    info.size = sizeof info;
    effigy_decoder_settings_init(&settings, sizeof settings);
    settings.threads = 1;
    if ((status = effigy_pack_load(chosen->pack, &self.pack)) != EFFIGY_STATUS_OK ||
        (status = effigy_identity_load(chosen->identity, &self.persons[0])) != EFFIGY_STATUS_OK ||
        (chosen->other != NULL && (status = effigy_identity_load(chosen->other, &self.persons[1])) != EFFIGY_STATUS_OK) ||
        (status = effigy_decoder_new(self.pack, self.persons[0], &settings, &self.decoder)) != EFFIGY_STATUS_OK) {
        failed("receiver", "decoder", status);
        goto end;
    }
    if (chosen->other != NULL) {
        self.keys = keys_open();
    }
    header = read_header(pipe, &length);
    if (header == NULL) {
        fprintf(stderr, "call: receiver: the sender gave no header\n");
        goto end;
    }
    if ((status = effigy_decoder_open(self.decoder, header, length)) != EFFIGY_STATUS_OK ||
        (status = effigy_decoder_info(self.decoder, &info)) != EFFIGY_STATUS_OK) {
        failed("receiver", "header", status);
        goto end;
    }
    if (y4m_make(&self.shown, info.resolution, info.resolution)) {
        double interval = 1000.0 * info.frame_ticks * info.time_base_num / info.time_base_den;

        y4m_write_head(stdout, info.resolution, info.time_base_den, info.time_base_num);
        (void)sendto(socket, "+", 1, 0, (struct sockaddr *)&peer, sizeof peer);
        result = play_call(&self, chosen->delay, interval);
    }
end:
    effigy_decoder_free(self.decoder);
    effigy_identity_free(self.persons[0]);
    effigy_identity_free(self.persons[1]);
    effigy_pack_free(self.pack);
    free(header);
    free(self.shown.planes[0]);
    return fflush(stdout) == 0 && !ferror(stdout) ? result : system_failed("output");
}

static int parse(int count, char **arguments, options *chosen)
{
    int at;

    for (at = 1; at + 1 < count && strncmp(arguments[at], "--", 2) == 0; at++) {
        const char *name = arguments[at], *value = arguments[at + 1];

        if (strcmp(name, "--aligned") == 0) {
            chosen->aligned = 1;
            continue;
        } else if (strcmp(name, "--fps") == 0) {
            chosen->fps = (unsigned)strtoul(value, NULL, 10);
        } else if (strcmp(name, "--loss") == 0) {
            chosen->loss = atof(value);
        } else if (strcmp(name, "--jitter") == 0) {
            chosen->jitter = atof(value);
        } else if (strcmp(name, "--delay") == 0) {
            chosen->delay = atof(value);
        } else if (strcmp(name, "--redundancy") == 0) {
            chosen->redundancy = (unsigned)strtoul(value, NULL, 10);
        } else if (strcmp(name, "--seed") == 0) {
            chosen->seed = strtoul(value, NULL, 10);
        } else if (strcmp(name, "--other") == 0) {
            chosen->other = value;
        } else {
            break;
        }
        at++;
    }
    if (count - at != 3) {
        fprintf(stderr, "usage: call [--aligned] [--fps N] [--loss PERCENT] [--jitter MS] [--delay MS] [--redundancy N] [--seed N] "
                        "[--other IDENTITY] PACK IDENTITY IN.y4m\n");
        return 2;
    }
    chosen->pack = arguments[at];
    chosen->identity = arguments[at + 1];
    chosen->clip = arguments[at + 2];
    return 0;
}

int main(int count, char **arguments)
{
    options chosen = {0, 0, 0.0, 20.0, 80.0, 2, 1, NULL, NULL, NULL, NULL};
    struct sockaddr_in here, there;
    int sockets[2], ends[2], status = 0, result;
    pid_t child;

    if ((result = parse(count, arguments, &chosen)) != 0) {
        return result;
    }
    sockets[0] = open_socket(&here);
    sockets[1] = open_socket(&there);
    if (sockets[0] < 0 || sockets[1] < 0 || pipe(ends) != 0) {
        return system_failed("sockets");
    }
    /* Before the library has done anything: its threads would not survive a fork. */
    child = fork();
    if (child < 0) {
        return system_failed("fork");
    }
    if (child == 0) {
        close(ends[0]);
        close(sockets[1]);
        _exit(run_sender(&chosen, sockets[0], there, ends[1]));
    }
    close(ends[1]);
    close(sockets[0]);
    result = run_receiver(&chosen, sockets[1], here, ends[0]);
    if (waitpid(child, &status, 0) != child || !WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        result = 1;
    }
    return result;
}
