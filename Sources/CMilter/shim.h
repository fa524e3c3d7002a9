// libmilter for Swift. Everything that Postern calls is imported as it is; smfi_setmlreply, a C variadic, is not needed
// since a reply of ours has one line.
#ifndef POSTERN_CMILTER_SHIM_H
#define POSTERN_CMILTER_SHIM_H

#include <stddef.h>
#include <libmilter/mfapi.h>
#include <libmilter/mfdef.h>

#endif
