// kill -9 at a step of one's choice, for one process that has this library preloaded: it ends on the spot before its
// Nth call that changes files. A write(2) at that place is cut in half: a file that is torn. Calls are counted whatever
// thread makes them; output and errors do not count. Postern's tests build it (HaltedProgram).
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static _Atomic long calls;
static long last;          // 0: never
static int has_no_exchange; // as file systems that know no RENAME_EXCHANGE

__attribute__((constructor)) static void read_place(void) {
    const char *text = getenv("POSTERN_TEST_HALT");
    if (text == NULL) abort(); // a test that goes on to the end would show nothing
    last = atol(text);
    has_no_exchange = getenv("POSTERN_TEST_NO_EXCHANGE") != NULL;
}

static void end(void) {
    syscall(SYS_kill, getpid(), SIGKILL);
    for (;;) pause();
}

static int is_last(void) { return atomic_fetch_add(&calls, 1) + 1 == last; }

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define CHANGES(type, name, parameters, arguments)                                                                     \
    type name parameters {                                                                                             \
        if (is_last()) end();                                                                                          \
        return REAL(name) arguments;                                                                                   \
    }

CHANGES(int, rename, (const char *a, const char *b), (a, b))
CHANGES(int, renameat, (int f, const char *a, int g, const char *b), (f, a, g, b))
CHANGES(int, link, (const char *a, const char *b), (a, b))
CHANGES(int, linkat, (int f, const char *a, int g, const char *b, int h), (f, a, g, b, h))
CHANGES(int, unlink, (const char *a), (a))
CHANGES(int, unlinkat, (int f, const char *a, int h), (f, a, h))
CHANGES(int, mkdir, (const char *a, mode_t m), (a, m))
CHANGES(int, mkdirat, (int f, const char *a, mode_t m), (f, a, m))
CHANGES(int, rmdir, (const char *a), (a))
CHANGES(int, fchown, (int f, uid_t u, gid_t g), (f, u, g))
CHANGES(int, fchmod, (int f, mode_t m), (f, m))
CHANGES(int, futimens, (int f, const struct timespec t[2]), (f, t))
CHANGES(int, fsync, (int f), (f))
CHANGES(int, fdatasync, (int f), (f))
CHANGES(int, ftruncate, (int f, off_t o), (f, o))
CHANGES(int, ftruncate64, (int f, off64_t o), (f, o))

int renameat2(int f, const char *a, int g, const char *b, unsigned int h) {
    if (is_last()) end();
    if (has_no_exchange) {
        errno = EINVAL;
        return -1;
    }
    return REAL(renameat2)(f, a, g, b, h);
}

ssize_t write(int file, const void *octets, size_t count) {
    if (file > 2 && is_last()) {
        syscall(SYS_write, file, octets, count / 2);
        end();
    }
    return REAL(write)(file, octets, count);
}

ssize_t pwrite(int file, const void *octets, size_t count, off_t place) {
    if (is_last()) {
        syscall(SYS_pwrite64, file, octets, count / 2, place);
        end();
    }
    return REAL(pwrite)(file, octets, count, place);
}

ssize_t pwrite64(int file, const void *octets, size_t count, off64_t place) {
    if (is_last()) {
        syscall(SYS_pwrite64, file, octets, count / 2, place);
        end();
    }
    return REAL(pwrite64)(file, octets, count, place);
}
