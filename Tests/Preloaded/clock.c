// A wall clock that a test sets, for one process that has this library preloaded: the true time and an offset, which is
// read from a file that is mapped, so that it is in force at once. The monotonic clock is left alone. Only
// clock_gettime(2), which WallClock asks; not time(2) and gettimeofday(2). Postern's tests build it (FakeClock).
// Debian's libfaketime does not do: it calls setenv(3) before main, after which Swift 6.3 finds no arguments.
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static const volatile int64_t *offset; // seconds; aligned, so a read is never of two halves

__attribute__((constructor)) static void map(void) {
    const char *path = getenv("POSTERN_TEST_CLOCK");
    int file = path == NULL ? -1 : open(path, O_RDONLY | O_CLOEXEC);
    void *found = file < 0 ? MAP_FAILED : mmap(NULL, sizeof *offset, PROT_READ, MAP_SHARED, file, 0);
    if (found == MAP_FAILED) abort(); // a test that lives by the true clock would show nothing
    offset = found;
    close(file);
}

int clock_gettime(clockid_t clock, struct timespec *time) {
    long status = syscall(SYS_clock_gettime, clock, time);
    if (status == 0 && clock == CLOCK_REALTIME && offset != NULL) time->tv_sec += *offset;
    return (int)status;
}
