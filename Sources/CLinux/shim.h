// A call of Linux for Swift. glibc declares it for _GNU_SOURCE only, which Swift's Glibc module does not define.
// Source: renameat2(2).
#ifndef POSTERN_CLINUX_SHIM_H
#define POSTERN_CLINUX_SHIM_H

/* Both names are there afterwards, each with the other's file; one step. */
static const unsigned int PST_RENAME_EXCHANGE = 2;
extern int renameat2(int old_folder, const char *old_name, int new_folder, const char *new_name, unsigned int flags);

#endif
