// libarchive for Swift: writing and reading compressed tar files. What Swift cannot see: file types are cast macros.
// Source: archive_read(3), archive_write(3), archive_entry(3).
#ifndef POSTERN_CARCHIVE_SHIM_H
#define POSTERN_CARCHIVE_SHIM_H

#include <archive.h>
#include <archive_entry.h>

static const unsigned int PST_AE_IFREG = AE_IFREG;

#endif
