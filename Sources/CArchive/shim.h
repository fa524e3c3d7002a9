// libarchive for Swift: writing and reading compressed tar files. What Swift cannot see: file types are cast macros.
// Source: archive_read(3), archive_write(3), archive_entry(3).
#ifndef POSTERN_CARCHIVE_SHIM_H
#define POSTERN_CARCHIVE_SHIM_H

// archive.h would bring struct stat into this module, and Swift then takes it for ours wherever it is used. It needs none.
#include <sys/types.h>
#ifndef _SYS_STAT_H
#define _SYS_STAT_H 1
#include <archive.h>
#include <archive_entry.h>
#undef _SYS_STAT_H
#else
#include <archive.h>
#include <archive_entry.h>
#endif

static const unsigned int PST_AE_IFREG = AE_IFREG;

#endif
