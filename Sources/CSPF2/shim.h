// libspf2 for Swift. Its headers do not include what they need. A Swift name for its message handlers is missing,
// since they are variables (SPF_warning_handler ...): they are made silent here.
#ifndef POSTERN_CSPF2_SHIM_H
#define POSTERN_CSPF2_SHIM_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <sys/types.h>
#include <sys/socket.h>
#include <netinet/in.h>
#include <arpa/inet.h>
#include <arpa/nameser.h>
#include <netdb.h>
#include <spf2/spf.h>

static void postern_spf2_ignore(const char *file, int line, const char *message) {
    (void)file;
    (void)line;
    (void)message;
}

// Warnings belong to the response, not to standard error. An error ends the process, as the library's authors have it.
static inline void postern_spf2_silence(void) {
    SPF_warning_handler = postern_spf2_ignore;
    SPF_info_handler = postern_spf2_ignore;
    SPF_debug_handler = postern_spf2_ignore;
}

// Writes the data of record `index`; the union's members are one buffer of at least sizeof(SPF_dns_rr_data_t).
static inline int postern_spf2_set(SPF_dns_rr_t *rr, int index, const void *octets, size_t count) {
    // One octet more: texts end in NUL, and the buffer is not cleared by the library.
    if (SPF_dns_rr_buf_realloc(rr, index, count + 1) != SPF_E_SUCCESS) return 0;
    memcpy(rr->rr[index], octets, count);
    ((char *)rr->rr[index])[count] = 0;
    if (rr->num_rr <= index) rr->num_rr = index + 1;
    return 1;
}

#endif
