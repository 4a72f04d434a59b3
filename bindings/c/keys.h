/*
 * Single keys from standard input, without waiting for them: a terminal is told to hand out each key at once, and told back at the end.
 */
#ifndef EFFIGY_KEYS_H
#define EFFIGY_KEYS_H

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

static struct termios keys_before;

static void keys_close(void)
{
    (void)tcsetattr(STDIN_FILENO, TCSANOW, &keys_before);
}

static void keys_killed(int number)
{
    keys_close();
    (void)signal(number, SIG_DFL);
    (void)raise(number);
}

/* The file to poll for keys. */
static int keys_open(void)
{
    struct termios wanted;
    struct sigaction action;

    if (tcgetattr(STDIN_FILENO, &keys_before) == 0) {
        wanted = keys_before;
        wanted.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
        wanted.c_cc[VMIN] = 1;
        wanted.c_cc[VTIME] = 0;
        memset(&action, 0, sizeof action);
        action.sa_handler = keys_killed;
        if (tcsetattr(STDIN_FILENO, TCSANOW, &wanted) == 0 && atexit(keys_close) == 0) {
            (void)sigaction(SIGINT, &action, NULL);
            (void)sigaction(SIGTERM, &action, NULL);
        }
    }
    return STDIN_FILENO;
}

/* The key that poll has seen; 0 when there will be none any more. */
static int keys_read(int file)
{
    unsigned char key;

    return read(file, &key, 1) == 1 ? key : 0;
}

#endif
