// zlib for Swift: reading gzip files. Source: zlib.h.
#ifndef POSTERN_CZLIB_SHIM_H
#define POSTERN_CZLIB_SHIM_H
#include <zlib.h>
#endif
