// SQLite for Swift. What Swift cannot see: SQLITE_TRANSIENT is a cast macro, sqlite3_db_config and
// sqlite3_config are variadic.
#ifndef POSTERN_CSQLITE_SHIM_H
#define POSTERN_CSQLITE_SHIM_H

#include <stddef.h>
#include <sqlite3.h>

/* The octets are copied: they need not outlive the call. An empty blob is a blob, not NULL. */
static inline int pst_bind_blob(sqlite3_stmt *statement, int index, const void *octets, size_t count) {
    if (count == 0) return sqlite3_bind_zeroblob(statement, index, 0);
    return sqlite3_bind_blob64(statement, index, octets, count, SQLITE_TRANSIENT);
}

static inline int pst_bind_text(sqlite3_stmt *statement, int index, const void *octets, size_t count) {
    return sqlite3_bind_text64(statement, index, count == 0 ? "" : (const char *)octets, count, SQLITE_TRANSIENT,
                               SQLITE_UTF8);
}

/* No statistics of memory; for the whole process, before anything else. */
static inline int pst_configure(void) { return sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0); }

/* A file that was tampered with can run no code through its schema and cannot be tampered with through SQL. */
static inline int pst_defend(sqlite3 *database) {
    int code = sqlite3_db_config(database, SQLITE_DBCONFIG_DEFENSIVE, 1, (int *)0);
    if (code != SQLITE_OK) return code;
    return sqlite3_db_config(database, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, (int *)0);
}

/* Closing this connection does not write into the file: it is damaged, or it is no longer the one at its path. */
static inline int pst_leave_as_is(sqlite3 *database) {
    return sqlite3_db_config(database, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, (int *)0);
}

#endif
