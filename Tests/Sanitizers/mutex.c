// Tells ThreadSanitizer of the two halves of Synchronization.Mutex that it cannot see. The compiler puts the fast paths,
// one atomic operation each, into our code, where they are instrumented. When a lock is contended, though, it is taken
// and handed on by functions of libswiftSynchronization, which is not, so that all that it guards would be reported as
// races. This library stands before those functions and adds their acquire and release. Nothing is suppressed: what no
// Mutex guards is still found. Used by contrib/test --sanitize=thread alone, preloaded.
// Source: Swift 6.3, stdlib/public/Synchronization/Mutex/LinuxImpl.swift.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>
#include <stdlib.h>

// Of the runtime in the sanitized program; absent in others that inherit the environment.
void __tsan_acquire(void *address) __attribute__((weak));
void __tsan_release(void *address) __attribute__((weak));

#define SWIFT __attribute__((swiftcall))
#define SELF __attribute__((swift_context)) void *self
#define LOCK "$s15Synchronization12_MutexHandleV9_lockSlowyys6UInt32VF"
#define UNLOCK "$s15Synchronization12_MutexHandleV11_unlockSlowyyF"

// Thread id in, the mutex as self: the address of its one word.
SWIFT void lock_slow(uint32_t thread, SELF) __asm__(LOCK);
SWIFT void unlock_slow(SELF) __asm__(UNLOCK);

static void *next(const char *symbol) {
    void *found = dlsym(RTLD_NEXT, symbol);
    if (found == NULL) abort(); // another release of Swift: look at its LinuxImpl.swift
    return found;
}

SWIFT void lock_slow(uint32_t thread, SELF) {
    SWIFT void (*real)(uint32_t, SELF) = next(LOCK);
    real(thread, self);
    if (__tsan_acquire) __tsan_acquire(self);
}

SWIFT void unlock_slow(SELF) {
    SWIFT void (*real)(SELF) = next(UNLOCK);
    if (__tsan_release) __tsan_release(self);
    real(self);
}
