// Compiled so that each declaration of ours meets libarchive's: one that differs does not compile.
#include <archive.h>
#include <archive_entry.h>

#include "CArchive.h"

_Static_assert(PST_ARCHIVE_OK == ARCHIVE_OK, "ARCHIVE_OK");
_Static_assert(PST_ARCHIVE_EOF == ARCHIVE_EOF, "ARCHIVE_EOF");
_Static_assert(PST_ARCHIVE_FILTER_ZSTD == ARCHIVE_FILTER_ZSTD, "ARCHIVE_FILTER_ZSTD");
_Static_assert(0100000 == AE_IFREG, "AE_IFREG");
