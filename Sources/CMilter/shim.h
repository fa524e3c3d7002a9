// libmilter for Swift. The one function below exists because Swift cannot call C variadics (smfi_setmlreply).
#ifndef POSTERN_CMILTER_SHIM_H
#define POSTERN_CMILTER_SHIM_H

#include <stddef.h>
#include <libmilter/mfapi.h>

/// smfi_setmlreply(3) with an array of at most 8 lines; no line may hold CR or LF.
static inline int postern_setmlreply(SMFICTX *context, const char *code, const char *status, char *const *lines, int count) {
#define POSTERN_LINE(i) (count > (i) ? lines[i] : (char *)NULL)
    return smfi_setmlreply(context, code, status, POSTERN_LINE(0), POSTERN_LINE(1), POSTERN_LINE(2), POSTERN_LINE(3),
                           POSTERN_LINE(4), POSTERN_LINE(5), POSTERN_LINE(6), POSTERN_LINE(7), (char *)NULL);
#undef POSTERN_LINE
}

#endif
