// hiredis for Swift: the protocol only, written and read; sockets, deadlines and TLS are ours. What is defined here: a
// reader that makes no array for a count that a wrong or hostile server merely claims (hiredis allocates it at once).
#ifndef POSTERN_CHIREDIS_SHIM_H
#define POSTERN_CHIREDIS_SHIM_H

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <hiredis/hiredis.h>

/* Most elements of one array; hiredis itself bounds how deep arrays lie in arrays (7 to 9 levels). */
#define PST_MAX_ELEMENTS 65536

#if HIREDIS_MAJOR >= 1
typedef size_t pst_count;
#else
typedef int pst_count;
#endif

struct pst_functions {
    redisReplyObjectFunctions ours;
    redisReplyObjectFunctions theirs;
};

static inline void *pst_array(const redisReadTask *task, pst_count elements) {
    const struct pst_functions *functions = (const struct pst_functions *)task->privdata;
    if (elements > PST_MAX_ELEMENTS) return NULL; /* the reader says: out of memory */
    return functions->theirs.createArray(task, elements);
}

/* NULL without memory. Freed by pst_reader_free. */
static inline redisReader *pst_reader_create(void) {
    redisReader *reader = redisReaderCreate();
    struct pst_functions *functions = (struct pst_functions *)malloc(sizeof(struct pst_functions));
    if (reader == NULL || functions == NULL) {
        if (reader != NULL) redisReaderFree(reader);
        free(functions);
        return NULL;
    }
    functions->theirs = *reader->fn;
    functions->ours = *reader->fn;
    functions->ours.createArray = pst_array;
    reader->fn = &functions->ours;
    reader->privdata = functions;
    return reader;
}

static inline void pst_reader_free(redisReader *reader) {
    void *functions = reader->privdata;
    redisReaderFree(reader); /* uses them for a reply that is half there */
    free(functions);
}

/* -1: what came is no reply; 0: not whole yet; 1: a reply, which freeReplyObject frees. */
static inline int pst_reader_next(redisReader *reader, redisReply **reply) {
    void *made = NULL;
    *reply = NULL;
    if (redisReaderGetReply(reader, &made) != REDIS_OK) return -1;
    *reply = (redisReply *)made;
    return made == NULL ? 0 : 1;
}

/* Whether nothing lies behind the last reply, not even a part of another. */
static inline int pst_reader_is_between(const redisReader *reader) {
    if (reader->pos != reader->len) return 0;
    if (reader->ridx == -1) return 1;
#if HIREDIS_MAJOR >= 1
    return reader->ridx == 0 && reader->task[0]->type == -1;
#else
    return reader->ridx == 0 && reader->rstack[0].type == -1; /* it waits for a reply's first octet */
#endif
}

/* What the reader says is wrong: a C string in a fixed array, which Swift sees as a tuple. */
static inline const char *pst_reader_error(const redisReader *reader) { return reader->errstr; }

#endif
