/* A TCP proxy that makes a server seem further away, for contrib/bench/store: what is read is passed on so many
 * microseconds later, in either direction, and a round trip takes twice that longer. It sleeps, and never spins; a
 * connection has two threads, since the store's clients are few and have one command on the way each.
 * cc -O2 -o delay-proxy delay-proxy.c -lpthread; ./delay-proxy SERVER-PORT MICROSECONDS; prints its own port. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static long delay; /* nanoseconds, one way */

struct pair {
    int fd[2];
    atomic_int left; /* threads that use it */
};
struct way {
    struct pair *pair;
    int from;
};

static int all(int fd, const char *octets, size_t count)
{
    while (count > 0) {
        ssize_t sent = send(fd, octets, count, MSG_NOSIGNAL);
        if (sent <= 0) return 0;
        octets += sent;
        count -= (size_t)sent;
    }
    return 1;
}

static void *relay(void *argument)
{
    struct way *way = argument;
    struct pair *pair = way->pair;
    int from = pair->fd[way->from], to = pair->fd[!way->from];
    char octets[65536];
    ssize_t count;
    while ((count = recv(from, octets, sizeof octets, 0)) > 0) {
        struct timespec due;
        clock_gettime(CLOCK_MONOTONIC, &due);
        due.tv_nsec += delay;
        due.tv_sec += due.tv_nsec / 1000000000;
        due.tv_nsec %= 1000000000;
        while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL) == EINTR) continue;
        if (!all(to, octets, (size_t)count)) break;
    }
    shutdown(from, SHUT_RD);
    shutdown(to, SHUT_WR);
    if (atomic_fetch_sub(&pair->left, 1) == 1) {
        close(pair->fd[0]);
        close(pair->fd[1]);
        free(pair);
    }
    free(way);
    return NULL;
}

static void begin(struct pair *pair)
{
    pair->left = 2;
    for (int side = 0; side < 2; side++) {
        int on = 1;
        pthread_t thread;
        struct way *way = malloc(sizeof *way);
        if (way == NULL) abort();
        way->pair = pair;
        way->from = side;
        setsockopt(pair->fd[side], IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        if (pthread_create(&thread, NULL, relay, way) != 0) abort();
        pthread_detach(thread);
    }
}

int main(int argc, char **argv)
{
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)}, server = here;
    socklen_t length = sizeof here;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    if (argc != 3) return fprintf(stderr, "usage: delay-proxy SERVER-PORT MICROSECONDS\n"), 64;
    server.sin_port = htons((unsigned short)atoi(argv[1]));
    delay = atol(argv[2]) * 1000;
    signal(SIGPIPE, SIG_IGN);
    prctl(PR_SET_TIMERSLACK, 1000UL); /* threads inherit it; 50 us otherwise */
    if (bind(listener, (struct sockaddr *)&here, sizeof here) != 0 || listen(listener, 512) != 0 ||
        getsockname(listener, (struct sockaddr *)&here, &length) != 0)
        return perror("delay-proxy"), 71;
    printf("%d\n", ntohs(here.sin_port));
    fflush(stdout);
    for (;;) {
        struct pair *pair = malloc(sizeof *pair);
        if (pair == NULL) abort();
        pair->fd[0] = accept(listener, NULL, NULL);
        pair->fd[1] = socket(AF_INET, SOCK_STREAM, 0);
        if (pair->fd[0] >= 0 && connect(pair->fd[1], (struct sockaddr *)&server, sizeof server) == 0) {
            begin(pair);
        } else {
            if (pair->fd[0] >= 0) close(pair->fd[0]);
            close(pair->fd[1]);
            free(pair);
        }
    }
}
